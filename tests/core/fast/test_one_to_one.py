"""The best one-to-one matching, against SciPy's on the whole matrix of each image."""

from itertools import pairwise

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from assignbench.core import Head, Priors, Targets, best_matching
from assignbench.core.priors import pyramid_priors

PRIORS = pyramid_priors(Head(), 64, 96)
NOWHERE = -1.0


def objects_of(image: list[int]) -> Targets:
    count = len(image)
    boxes = torch.tensor([[0.0, 0, 96, 64]]).repeat(count, 1)
    return Targets(boxes, torch.zeros(count, dtype=torch.int64), torch.tensor(image, dtype=torch.int64), 3)


def random_pairs(targets: Targets, places: int, most: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Up to ``most`` of the first places for each object, in order."""
    rows = torch.rand(len(targets), places, generator=generator).argsort(1)[:, :most]
    taken = torch.rand(rows.shape, generator=generator) < 0.8
    chosen = torch.zeros(len(targets), places, dtype=torch.bool).scatter(1, rows, taken)
    objects, locations = chosen.nonzero(as_tuple=True)
    return objects, locations


def best_sum(score: Tensor, objects: Tensor, locations: Tensor, targets: Targets, priors: Priors) -> float:
    """SciPy's, with a place of nothing for each object."""
    total = 0.0
    for image in range(targets.images):
        own = (targets.image == image).nonzero()[:, 0].tolist()
        table = torch.full((len(own), len(priors) + len(own)), NOWHERE, dtype=torch.float64)
        for n, j, value in zip(objects.tolist(), locations.tolist(), score.tolist(), strict=True):
            if n in own:
                table[own.index(n), j] = value
        rows, columns = linear_sum_assignment(table.numpy(), maximize=True)
        total += float(table[rows, columns].sum())
    return total


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(("places", "most"), [(40, 6), (8, 5), (5, 5), (3, 3)])
def test_its_sum_is_the_largest_there_is(seed: int, places: int, most: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    targets = objects_of(torch.randint(0, 3, (24,), generator=generator).tolist())
    objects, locations = random_pairs(targets, places, most, generator)
    score = torch.rand(len(objects), generator=generator)
    if seed % 3 == 0:
        score = (score * 4).round() / 4  # many equal ones
    chosen = best_matching(score, objects, locations, targets, PRIORS)
    owner, place = objects[chosen], locations[chosen]
    assert len(owner.unique()) == len(owner)
    assert len((targets.image[owner] * len(PRIORS) + place).unique()) == len(place)
    assert all(low < high for low, high in pairwise(owner.tolist()))
    ours = float(score[chosen].double().sum()) + NOWHERE * (len(targets) - len(owner))
    assert ours == pytest.approx(best_sum(score, objects, locations, targets, PRIORS), abs=1e-9)


def test_objects_move_on_where_that_is_better_for_all() -> None:
    """0 and 1 both want location 4; 0 loses less by moving on to 5. By themselves 0 would keep it."""
    targets = objects_of([0, 0])
    objects, locations = torch.tensor([0, 0, 1, 1]), torch.tensor([4, 5, 4, 5])
    chosen = best_matching(torch.tensor([0.9, 0.8, 0.7, 0.1]), objects, locations, targets, PRIORS)
    assert locations[chosen].tolist() == [5, 4]


def test_of_equal_objects_the_first_has_the_better_location() -> None:
    targets = objects_of([0, 0, 0])
    objects, locations = torch.arange(3).repeat_interleave(3), torch.tensor([1, 2, 3]).repeat(3)
    chosen = best_matching(torch.tensor([0.1, 0.5, 0.3]).repeat(3), objects, locations, targets, PRIORS)
    assert locations[chosen].tolist() == [2, 3, 1]


def test_who_has_no_location_left_gets_none() -> None:
    targets = objects_of([0, 0, 1])
    objects, locations = torch.tensor([0, 1]), torch.tensor([7, 7])
    assert best_matching(torch.tensor([0.2, 0.3]), objects, locations, targets, PRIORS).tolist() == [1]
    nothing = objects[:0]
    assert best_matching(torch.zeros(0), nothing, nothing, targets, PRIORS).tolist() == []


def test_what_is_not_a_number_is_worth_as_much_as_nothing() -> None:
    targets = objects_of([0, 0])
    objects, locations = torch.tensor([0, 0, 1, 1]), torch.tensor([4, 5, 4, 5])
    chosen = best_matching(torch.tensor([torch.nan, 0.2, torch.nan, 0.4]), objects, locations, targets, PRIORS)
    assert 3 in chosen.tolist()
