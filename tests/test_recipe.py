import pytest

from assignbench.config import load_recipe, settings
from assignbench.errors import UsageError


def test_evaluation_takes_the_largest_side_unless_it_has_its_own():
    assert load_recipe("1x").recipe.data.test_sides == (800, 1333)
    assert load_recipe("1x", ["data.short_side=[640, 960]"]).recipe.data.test_sides == (960, 1333)
    assert load_recipe("1x", ["data.test_short_side=900"]).recipe.data.test_sides == (900, 1333)
    assert load_recipe("widerface").recipe.data.test_sides == (1000, 2500)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.short_side_range=true"], r"data.short_side_range = true needs two ends; write data.short_side as"),
        (
            ["data.test_short_side=1500"],
            r"data.test_short_side = 1500 .* give a shorter side of 1500 pixels and a limi",
        ),
        (
            ["data.test_long_side=400"],
            r"data.test_long_side = 400 give a shorter side of 800 pixels and a limit of 400",
        ),
        (["data.crop=0"], r"data.crop = 0 .*> 0 and ≤ 1"),
        (["data.jitter=1.5"], r"data.jitter = 1.5 .*≥ 0 and ≤ 1"),
    ],
)
def test_augmentation_that_does_not_fit_is_refused(overrides, message):
    with pytest.raises(UsageError, match=message):
        load_recipe("1x", overrides)


def test_the_shipped_recipes_of_before_are_not_augmented_anew():
    for name in ("1x", "2x", "scratch", "small", "tiny"):
        data = load_recipe(name).recipe.data
        assert (data.crop, data.jitter, data.short_side_range) == (1, 0, False)


def test_what_a_batch_is_shared_by_is_said():
    """A training step is divided among processes; evaluation deals them whole batches (tests/data/test_streams.py)."""
    assert "over all processes" in settings()["train.batch"].meaning
    assert settings()["evaluate.batch"].meaning == "pictures per forward pass of a process; changes speed, not results"
