"""Seeds that a difference takes: by hand, against the sentence below a table, and by simulation."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from assignbench.comparison.plan import (
    Parts,
    floor,
    measured,
    pictures_needed,
    plan,
    rescaled,
    seeds_needed,
    smallest,
    wanted,
)
from assignbench.comparison.power import noisy_share
from assignbench.comparison.twolevel import Runs
from assignbench.comparison.verdicts import differences, family_of, shared_by, verdicts
from assignbench.errors import UsageError

PARTS = Parts(4.0, 1.0, 0.25, 100, rows=2, comparisons=1, shared=False, seeds=(0, 1, 2), known=2.0)


def runs(*values: float, pictures: np.ndarray | None = None) -> Runs:
    some = None if pictures is None else dict(enumerate(pictures))
    return Runs(dict(enumerate(values)), some)


def test_the_floor_is_a_normal_test_by_the_pictures_alone() -> None:
    unit = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)  # 2.80; the other side is found once in a million
    assert floor(PARTS) == pytest.approx(unit * 0.5, rel=1e-5)
    assert smallest(PARTS, 10_000) == pytest.approx(unit * (4 / 10_000 + 0.25) ** 0.5, rel=1e-3)
    assert floor(replace(PARTS, main=None)) is None


def test_holm_takes_a_larger_difference() -> None:
    family = replace(PARTS, comparisons=10)
    unit = stats.norm.ppf(1 - 0.05 / 20) + stats.norm.ppf(0.8)
    assert floor(family) == pytest.approx(unit * 0.5, rel=1e-5)
    assert smallest(family, 5) > smallest(PARTS, 5)


def test_the_seeds_needed_are_the_first_that_suffice() -> None:
    for parts in (PARTS, replace(PARTS, rows=10, comparisons=45, shared=True)):
        for difference in (smallest(parts, 3) + 0.01, 2.5):
            seeds = seeds_needed(parts, difference)
            assert seeds is not None
            assert smallest(parts, seeds) <= difference
            assert seeds == 3 or smallest(parts, seeds - 1) > difference
    least = floor(PARTS)
    assert least is not None
    assert seeds_needed(PARTS, least) is None
    assert seeds_needed(PARTS, least * 1.00001) is None  # beyond what anyone trains
    assert seeds_needed(replace(PARTS, main=None), 0.5) is not None


def test_more_pictures_lower_the_pictures_part_and_each_runs_own() -> None:
    more = rescaled(PARTS, 400)
    assert (more.one, more.cross, more.main, more.images) == (3.25, 0.25, 0.0625, 400)
    assert rescaled(more, 100) == PARTS
    with pytest.raises(UsageError, match="only be reckoned with where pictures have a part"):
        rescaled(replace(PARTS, main=None, images=None), 400)


def test_the_pictures_needed_suffice_and_a_few_less_do_not() -> None:
    pictures = pictures_needed(PARTS, 1.3, 20)
    assert pictures is not None
    assert smallest(rescaled(PARTS, pictures), 20) <= 1.3
    assert smallest(rescaled(PARTS, int(pictures * 0.98)), 20) > 1.3
    assert pictures_needed(PARTS, 1.0, 20) is None  # three of the four that a seed moves are no picture's
    found = wanted(PARTS, 1.0)
    assert found.seeds is None
    assert found.pictures == pytest.approx(100 * (floor(PARTS) or 0) ** 2)


def table(rows: int, seeds: int, random: np.random.Generator, spread: float, shift: float = 0) -> dict[str, Runs]:
    """Equal rows but for the first: 64 pictures, of which a part is each run's own."""
    images, shape = 64, (rows, seeds, 1, 64)
    u = random.normal(0, 0.8, (rows, 1, 1, images)) + random.normal(0, 0.6, shape)
    u *= 1.3 / images**0.5
    values = u.sum(axis=(-1, -2)) + random.normal(0, spread, (rows, seeds)) + random.normal(size=seeds)
    values[0] += shift
    u -= u.mean(axis=-1, keepdims=True)
    return {f"row {k}": runs(*values[k], pictures=u[k]) for k in range(rows)}


def truth(rows: int, comparisons: int, spread: float) -> Parts:
    """Parts of a difference in `table`."""
    cross = 2 * (0.6 * 1.3) ** 2
    return Parts(2 * spread**2 + cross, cross, 2 * (0.8 * 1.3) ** 2, 64, rows, comparisons, rows > 3, (), 1)


def test_what_is_measured_is_what_was_put_in() -> None:
    random = np.random.default_rng(0)
    found = [measured(verdicts("AP", table(2, 10, random, 1.0))) for _ in range(400)]
    true = truth(2, 1, 1.0)
    assert np.mean([one.one for one in found]) == pytest.approx(true.one, rel=0.1)
    assert np.mean([one.cross for one in found]) == pytest.approx(true.cross, rel=0.1)
    assert np.mean([one.main or 0 for one in found]) == pytest.approx(true.main, rel=0.1)
    low, high = np.array([one.bounds for one in found]).T
    assert np.mean((low <= true.one) & (true.one <= high)) == pytest.approx(0.95, abs=0.03)
    assert {(one.rows, one.comparisons, one.shared, one.known) for one in found} == {(2, 1, False, 9)}


@pytest.mark.parametrize(("rows", "seeds", "spread"), [(2, 3, 1.0), (2, 5, 0.3), (6, 3, 1.0), (4, 10, 0.5)])
def test_what_it_names_is_found_four_times_in_five(rows: int, seeds: int, spread: float) -> None:
    random, draws = np.random.default_rng(seeds), 1500
    difference = smallest(truth(rows, rows - 1, spread), seeds)
    found, noisy = [], 0
    for _ in range(draws):
        some = table(rows, seeds, random, spread, difference)
        others = [("row 0", "row 1"), *((f"row {k}", "row 1") for k in range(2, rows))]
        one = family_of(differences(some, others, "strategies", shared_by(some)))[0]
        noisy += one.difference.noisy
        found += [one.decided] * (not one.difference.noisy)  # of rows of usual spread
    assert np.mean(found) == pytest.approx(0.8, abs=0.045)
    assert noisy / draws == pytest.approx(noisy_share(rows, seeds) if rows >= 4 else 0, abs=0.05)


@pytest.mark.parametrize(("rows", "baseline"), [(2, None), (3, None), (5, "row 0"), (5, None)])
def test_of_the_seeds_at_hand_it_says_what_the_table_says(rows: int, baseline: str | None) -> None:
    found = verdicts("AP", table(rows, 3, np.random.default_rng(1), 1.0), baseline)
    reckoned = plan(found, baseline)
    assert found.smallest == pytest.approx(smallest(reckoned.parts, 3))
    assert reckoned.steps[0].smallest == pytest.approx(found.smallest)
    assert reckoned.parts.shared == (rows == 5)


def test_without_influences_the_floor_is_unknown() -> None:
    rows = {"a": runs(40, 41, 43), "b": runs(39, 41, 40)}
    reckoned = plan(verdicts("AP", rows), difference=1.0)
    assert (reckoned.parts.main, reckoned.images, reckoned.floor) == (None, None, None)
    assert reckoned.parts.one == pytest.approx(np.var([1, 0, 3], ddof=1))
    assert [step.by_seeds for step in reckoned.steps] == [None] * 4
    assert reckoned.wanted is not None
    assert reckoned.wanted.pictures is reckoned.wanted.pictures_then is None
    with pytest.raises(UsageError, match="only be reckoned with"):
        plan(verdicts("AP", rows), images=100)


@pytest.mark.parametrize(
    ("rows", "baseline", "message"),
    [
        ({"a": runs(40, 41)}, None, "fewer than two strategies have a value"),
        ({"a": runs(40), "b": runs(41)}, None, "no two strategies have two seeds in common"),
        ({"a": runs(40, 41), "b": runs(41), "c": runs(40, 43)}, "b", "no strategy and b have two seeds in common"),
        ({"a": runs(40, 41), "b": runs(39, 40)}, None, "every seed says the same"),
    ],
)
def test_what_cannot_be_reckoned_is_refused(rows: dict[str, Runs], baseline: str | None, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan(verdicts("AP", rows, baseline), baseline)


def test_two_seeds_plan_for_rows_that_will_share() -> None:
    found = verdicts("AP", table(5, 2, np.random.default_rng(1), 1.0))
    parts = plan(found).parts
    assert (parts.known, parts.shared) == (1, True)
    assert not plan(found, spread="own").parts.shared
