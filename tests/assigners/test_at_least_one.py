"""At least one candidate: objects smaller than a stride are taught, all others get what they get without the option."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from assignbench.core import Assigner, Assignment, Setting, Targets, assign, centers, sides
from assignbench.core.priors import pyramid_priors
from assignbench.detector.objective import objective
from assignbench.errors import UsageError
from assignbench.options import option_schema
from assignbench.plugins import construct, known_strategies, load_class, resolve
from assignbench.synthetic import Problem, random_problem

CLASSES = 3
ALL = [
    one.name
    for one in known_strategies()
    if any(option.name == "at_least_one" for option in option_schema(load_class(resolve(one.name))))
]
STRATEGIES = [name for name in ALL if name != "soft_label"]  # there an object takes candidates of others, too
BOXES = [
    [20.0, 30, 100, 110],  # an object that has locations
    [5.0, 5, 8, 9],  # nearest to (4, 4) of P3
    [15.0, 15.0, 15.8, 15.8],  # beside (16, 16), a location of P5 alone, which is nearer than (12, 12) of P3
    [157.0, 125, 160, 128],  # in the corner
    [-6.0, 60, -2, 62],  # beside the picture
]
NEAREST = {1: (4.0, 4.0), 2: (12.0, 12.0), 3: (156.0, 124.0), 4: (4.0, 60.0)}


def built(name: str, **options: Any) -> Assigner:
    return construct(load_class(resolve(name)), options, Setting(classes=CLASSES))


def problem(assigner: Assigner, boxes: list[list[float]] = BOXES) -> Problem:
    batch = random_problem(assigner.head.controlled(), seed=0, classes=CLASSES, counts=(len(boxes),))
    return batch.with_targets(replace(batch.targets, boxes=torch.tensor(boxes)))


def decided(name: str, boxes: list[list[float]] = BOXES, **options: Any) -> tuple[Assignment, Problem]:
    assigner = built(name, **options)
    batch = problem(assigner, boxes)
    return assign(assigner, batch.view()), batch


def test_these_strategies_have_the_option() -> None:
    assert set(ALL) >= {"atss", "autoassign", "ddod", "dw", "fcos", "fovea", "ota", "plain", "poto", "soft_label"}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", STRATEGIES)
def test_every_object_is_taught_unless_another_one_has_its_location(name: str, seed: int) -> None:
    """Thirty objects of ¼ to 6 pixels, a few equal ones and one without area among them; images of different size."""
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(30, 2, generator=generator) * torch.tensor([96.0, 64.0])
    boxes = torch.cat((low, low + 0.25 + 6 * torch.rand(30, 2, generator=generator) ** 2), dim=1)
    boxes[1], boxes[3] = boxes[0], torch.cat((low[3], low[3]))
    missed = 0
    for option in (False, True):
        assigner = built(name, at_least_one=option)
        batch = random_problem(assigner.head.controlled(), seed=seed, classes=CLASSES, counts=(18, 12))
        batch = batch.with_targets(replace(batch.targets, boxes=boxes))
        batch = batch.padded(torch.tensor([[128, 160], [64, 96]]))
        pairs = assign(assigner, batch.view()).pairs
        taught = set(pairs.object[pairs.weight + pairs.box_weight > 0].tolist())
        image, finest = batch.targets.image, batch.priors.level == 0
        away = torch.cdist(centers(boxes), batch.priors.points[finest])
        away = away.masked_fill(~batch.priors.inside_at(image[:, None], finest.nonzero()[:, 0][None]), torch.inf)
        taken = set(zip(image[pairs.object].tolist(), pairs.location.tolist(), strict=True))
        alone = [n for n in range(30) if n not in taught and (int(image[n]), int(away[n].argmin())) not in taken]
        if option:
            assert alone == []
        else:
            missed = len(alone)
    assert missed > 10


@pytest.mark.parametrize("name", ALL)
def test_the_option_has_one_name_one_default_and_one_sentence(name: str) -> None:
    (option,) = (one for one in option_schema(load_class(resolve(name))) if one.name == "at_least_one")
    assert option.default is False
    docstring = load_class(resolve(name)).__doc__
    assert docstring is not None
    assert "at_least_one: whether an object without a candidate takes the nearest location." in docstring


@pytest.mark.parametrize("name", STRATEGIES)
def test_objects_smaller_than_a_stride_are_taught_at_the_nearest_location(name: str) -> None:
    without, _ = decided(name)
    record, batch = decided(name, at_least_one=True)
    # FoveaBox moves what lies beyond the outermost locations to these
    assert set(without.pairs.object.tolist()) == ({0, 3} if name == "fovea" else {0})
    for n, point in NEAREST.items():
        (location,) = record.pairs.location[record.pairs.object == n].tolist()
        assert tuple(batch.priors.points[location].tolist()) == point
        assert batch.priors.level[location] == 0


@pytest.mark.parametrize("name", STRATEGIES)
def test_other_objects_get_what_they_get_without_the_option(name: str) -> None:
    options: dict[str, Any] = {"counts": "none"} if name == "ddod" else {}  # else its levels weigh by what they hold
    (without, _), (record, _) = decided(name, **options), decided(name, **options, at_least_one=True)
    for part in ("location", "weight", "box_weight"):
        one, other = (getattr(each.pairs, part)[each.pairs.object == 0] for each in (record, without))
        assert_close(one, other, rtol=1e-6, atol=0)  # some processors round exp otherwise where a vector ends
    (without, _), (record, _) = decided(name, BOXES[:1]), decided(name, BOXES[:1], at_least_one=True)
    assert torch.equal(record.pairs.weight, without.pairs.weight)
    assert torch.equal(record.discounts.factor, without.discounts.factor)


@pytest.mark.parametrize("name", [name for name in STRATEGIES if name != "dw"])  # w⁻ is 1 where boxes are poor
def test_a_location_is_no_background_of_the_object_that_takes_it(name: str) -> None:
    record, _ = decided(name, at_least_one=True)
    (location,) = record.pairs.location[record.pairs.object == 1].tolist()
    assert record.discounts.factor[record.discounts.location == location].tolist() == [0]


@pytest.mark.parametrize("name", ["plain", "fcos", "autoassign"])
@pytest.mark.parametrize("preset", [None, "mmdet"])
def test_they_are_learned(name: str, preset: str | None) -> None:
    if name == "plain" and preset:
        return
    cls = load_class(resolve(name))
    published = cls.presets[preset] if preset else None
    assigner = built(name, **(published.options if published else {}), at_least_one=True)
    head = replace(published.head, extras=assigner.head.extras) if published else assigner.head.controlled()
    batch = random_problem(head, seed=0, classes=CLASSES, counts=(1,))
    batch = batch.with_targets(replace(batch.targets, boxes=torch.tensor(BOXES[1:2])))
    with torch.no_grad():
        batch.raw.regression.fill_(1.0 if preset else 0.0)
    view = batch.view(published.loss) if published else batch.view()
    record = assign(assigner, view)
    (location,) = record.pairs.location.tolist()
    losses = objective(record, view, head.extras)
    gradients = torch.autograd.grad(torch.stack(list(losses.values())).sum(), batch.leaves())
    assert gradients[0][0, location, batch.targets.labels[0]] < 0
    assert gradients[1][0, location].abs().sum() > 0
    if name == "fcos":  # its only location is as central as can be
        assert record.pairs.box_weight.tolist() == [1]
        assert gradients[2][0, location] < 0


def test_fcos_looks_on_the_level_that_fits() -> None:
    """A bar of 260 × 3 pixels between two rows of P5, whose range holds half of its length, 130 pixels."""
    bar = torch.tensor([[10.0, 30.0, 270.0, 33.0]])
    assigner = built("fcos", at_least_one=True)
    priors = pyramid_priors(assigner.head.controlled(), 128, 320)
    targets = Targets(bar, torch.tensor([0]), torch.tensor([0]), 1)
    assert len(built("fcos")(priors, targets).pairs) == 0
    record = assigner(priors, targets)
    (location,) = record.pairs.location.tolist()
    assert priors.level[location] == 2
    every = priors.points[priors.level == 2]
    off = (every - centers(bar)).square().sum(-1)
    assert torch.equal(priors.points[location], every[off.argmin()])
    assert sides(bar, priors.points[location][None]).amin() < 0


def test_fcos_without_its_parts_is_still_plain() -> None:
    parts = {"radius": 0.0, "scale_ranges": False, "centerness": False}
    (one, _), (other, _) = decided("fcos", **parts, at_least_one=True), decided("plain", at_least_one=True)
    for part in ("object", "location", "weight", "box_weight"):
        assert torch.equal(getattr(one.pairs, part), getattr(other.pairs, part))


def test_a_smaller_object_wins_a_location_that_two_take() -> None:
    record, _ = decided("plain", [[5.0, 5, 8, 9], [6.0, 6, 7, 7], [6.0, 6, 7, 7]], at_least_one=True)
    assert record.pairs.object.tolist() == [1]


def test_of_two_objects_of_a_class_that_take_one_location_the_last_sets_its_background() -> None:
    """They do not meet: the one lies left of the location, the other right of it."""
    assigner = built("autoassign", at_least_one=True, same_class="last")
    batch = problem(assigner, [[1.0, 3, 3, 5], [5.0, 3, 7, 5]])
    batch = batch.with_targets(replace(batch.targets, labels=torch.tensor([1, 1])))
    record = assign(assigner, batch.view())
    record.check(batch.predictions, batch.targets)
    assert record.pairs.location[0] == record.pairs.location[1]
    assert record.discounts.weight is not None
    assert record.discounts.weight.tolist() == [0, 1]


def test_soft_label_has_a_candidate_for_every_object() -> None:
    without, _ = decided("soft_label", BOXES[1:2])
    record, batch = decided("soft_label", BOXES[1:2], at_least_one=True)
    assert len(without.pairs) == 0
    assert batch.priors.points[record.pairs.location].tolist() == [[4, 4]]
    with pytest.raises(UsageError, match="at_least_one=true would change nothing"):
        built("soft_label", at_least_one=True, require_inside=True)
