"""Pictures that grow: which sizes at which step, and what that costs."""

import pytest

from assignbench.config import load_recipe
from assignbench.data.load.augment import Augmentation, Growth
from assignbench.run.training.train import augmentation


def test_pictures_grow_in_three_equal_parts_to_their_size() -> None:
    drawn = Augmentation((192,), 256, 0.0, growth=Growth(0.5, 9))
    sides = [(drawn.at(step).short_side[0], drawn.at(step).long_side) for step in range(11)]
    assert sides == [(96, 128)] * 3 + [(128, 171)] * 3 + [(160, 213)] * 3 + [(192, 256)] * 2


@pytest.mark.parametrize("growth", [Growth(), Growth(1.0, 9), Growth(0.5, 0)])
def test_without_growth_nothing_changes(growth: Growth) -> None:
    drawn = Augmentation((40, 80), 200, 0.5, growth=growth)
    assert all(drawn.at(step) == drawn for step in range(12))
    assert growth.work(7) == 7


def test_a_step_costs_what_its_pixels_cost() -> None:
    growth = Growth(0.5, 9)
    assert growth.work(0) == 0
    assert growth.work(3) == pytest.approx(3 / 4)
    assert growth.work(9) == pytest.approx(3 * (1 / 4 + 4 / 9 + 25 / 36))
    assert growth.work(12) == pytest.approx(growth.work(9) + 3)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 100])
def test_pictures_never_shrink_and_end_at_their_size(steps: int) -> None:
    scales = [Growth(0.3, steps).scale(step) for step in range(steps + 3)]
    assert scales == sorted(scales)
    assert scales[0] == 0.3
    assert scales[steps:] == [1, 1, 1]


def test_a_recipe_says_for_how_long() -> None:
    recipe = load_recipe("tiny", ("data.grow_from=0.5", "data.grow_for=0.6")).recipe
    assert augmentation(recipe.data, 1000).growth == Growth(0.5, 600)
    assert augmentation(load_recipe("1x").recipe.data, 90_000).growth == Growth()
