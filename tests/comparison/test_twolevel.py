"""Errors from seeds and from pictures: formulas by hand, false alarms by simulation."""

import numpy as np
import pytest
from scipy import stats

from assignbench.comparison.behrens_fisher import tail
from assignbench.comparison.families import holm
from assignbench.comparison.twolevel import Difference, Runs, difference, guarded, shared_spread


def known(difference: Difference | None) -> Difference:
    assert difference is not None
    return difference


def p_of(difference: Difference) -> float:
    assert difference.p is not None
    return difference.p


def runs(values: list[float], pictures: list[list[float]] | None = None, first: int = 0) -> Runs:
    seeds = range(first, first + len(values))
    some = None if pictures is None else {s: np.array([u]) for s, u in zip(seeds, pictures, strict=True)}
    return Runs(dict(zip(seeds, values, strict=True)), some)


def test_the_parts_by_hand() -> None:
    a = runs([41, 42, 46], [[1, -1, 0, 0], [1, 0, -1, 0], [1, -1, 0, 0]])
    b = runs([40, 40, 40], [[0, 0, 0, 0]] * 3)
    found = known(difference(a, b))
    assert (found.about, found.seeds, found.images, found.mean) == ("strategies", (0, 1, 2), 4, 3.0)
    assert found.seed == pytest.approx(7 / 3)  # 1, 2, 6: variance 7
    # mean influence: 1, −2/3, −1/3, 0; off it twice (0, −1/3, 1/3, 0), once (0, 2/3, −2/3, 0)
    picture, inter = (1 + 4 / 9 + 1 / 9) * 4 / 3, (2 * 2 / 9 + 8 / 9) / 6
    assert found.main == pytest.approx(picture - inter)
    assert found.inter == pytest.approx(inter)
    assert found.p == pytest.approx(float(tail(3, 7 / 3, picture - inter, 2)))
    assert found.half is not None
    assert tail(found.half, found.seed, found.main, 2) == pytest.approx(0.05)
    assert found.settles


def test_of_two_kinds_of_influence_the_one_with_the_larger_variance_counts() -> None:
    zero = Runs({0: 0.0, 1: 0.0}, {s: np.zeros((2, 4)) for s in (0, 1)})
    a = Runs({0: 1.0, 1: 2.0}, {s: np.array([[1.0, -1, 0, 0], [3, -3, 0, 0]]) for s in (0, 1)})
    assert known(difference(a, zero)).main == pytest.approx(18 * 4 / 3)


def test_the_question_follows_from_what_there_is() -> None:
    u = [[1.0, -1, 0, 0]] * 2
    one, several = known(difference(runs([3], u[:1]), runs([1], u[:1]))), known(difference(runs([3, 4]), runs([1, 1])))
    assert (one.about, one.settles, one.freedom, one.p) == ("networks", False, 1.0, None)
    assert (several.about, several.images, several.settles) == ("set", None, False)
    assert several.p == pytest.approx(stats.ttest_rel([3, 4], [1, 1]).pvalue)
    assert difference(runs([3]), runs([1])) is None  # one seed, no pictures
    assert difference(runs([3, 4]), runs([1, 1], first=2)) is None  # no seed in common
    assert known(difference(runs([3, 4], u), runs([1, 1], [[0.0] * 4] * 2), "set")).main == 0
    assert known(difference(runs([3, 4], u), runs([1, 1], [[0.0] * 4] * 2), "networks")).seed == 0


def test_equal_differences_without_pictures_say_nothing() -> None:
    found = known(difference(runs([2, 2, 2]), runs([1, 1, 1])))
    assert found.p is None
    assert found.half is None
    assert not found.settles


def test_shared_spread_is_that_of_two_way_residuals() -> None:
    values = np.array([[1.0, 2, 3], [2, 3, 4], [0, 1, 2]])  # rows differ, seeds differ, nothing is left
    assert shared_spread(values).spread.variance == pytest.approx(0, abs=1e-12)
    random = np.random.default_rng(0)
    many = [shared_spread(random.normal(size=(10, 3)) + random.normal(size=3)).spread for _ in range(400)]
    assert np.mean([one.variance for one in many]) == pytest.approx(2, rel=0.03)
    assert many[0].freedom == 18


def test_a_row_that_spreads_more_is_noisy_and_keeps_its_own_spread() -> None:
    random = np.random.default_rng(1)
    values = random.normal(size=(10, 3))
    values[4] = [-30, 0, 30]
    shared = shared_spread(values)
    assert shared.noisy[4]
    a, b = (runs(list(values[row])) for row in (4, 5))
    own = known(difference(a, b, "set"))
    judged = known(guarded(a, b, "set", shared, noisy=True))
    assert p_of(judged) >= p_of(own)
    assert judged.noisy
    calm = known(guarded(runs(list(values[0])), b, "set", shared, noisy=False))
    assert calm.freedom == 18
    assert calm.shared


def simulated(random: np.random.Generator, rows: int, seeds: int, seed_spread: float, odd: float = 1) -> list[Runs]:
    """Equal strategies: AP moves with the seed and with the pictures, a part of which is each run's own."""
    images, shape = 64, (rows, seeds, 64)
    u = (random.normal(0, 0.8, (rows, 1, images)) + random.normal(0, 0.6, shape)) * 1.3 / images**0.5
    spread = seed_spread * np.where(np.arange(rows) == 0, odd, 1.0)[:, None]
    value = u.sum(axis=-1) + random.normal(size=(rows, seeds)) * spread + random.normal(size=seeds)
    u -= u.mean(axis=-1, keepdims=True)
    return [Runs(dict(enumerate(value[k])), {s: u[k, s][None] for s in range(seeds)}) for k in range(rows)]


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("seed_spread", [0.3, 2.0])
def test_at_most_five_in_a_hundred_equal_strategies_differ(seeds: int, seed_spread: float) -> None:
    random, alarms, without = np.random.default_rng(seeds), [], []
    for _ in range(800):
        a, b = simulated(random, 2, seeds, seed_spread)
        found = known(difference(a, b))
        alarms.append(p_of(found) < 0.05)
        without.append(tail(found.mean, found.seed, 0, found.freedom) < 0.05)
    assert np.mean(alarms) <= 0.055 + 2 * (0.05 * 0.95 / 800) ** 0.5
    if seed_spread < 1:  # Student's t over seeds alone takes these pictures for all pictures
        assert np.mean(without) > 0.065


def test_a_noisy_row_raises_no_alarms_and_a_family_holds_together() -> None:
    random, alarms, families, pooled = np.random.default_rng(0), [], [], []
    for _ in range(150):
        rows = simulated(random, 6, 3, 1.0, odd=3)
        shared = shared_spread(np.array([list(one.values.values()) for one in rows]))
        pairs = [(a, b) for a in range(6) for b in range(a)]
        found = [
            known(guarded(rows[a], rows[b], "strategies", shared, bool(shared.noisy[a] or shared.noisy[b])))
            for a, b in pairs
        ]
        p = np.array([p_of(one) for one in found])
        alarms += p[[b == 0 for _, b in pairs]].tolist()
        families.append((holm(p) < 0.05).any())
        pooled += [float(tail(found[n].mean, shared.spread.variance / 3, found[n].main, 10)) for n in (0, 1, 3, 6, 10)]
    assert np.mean(np.array(alarms) < 0.05) <= 0.08
    assert np.mean(families) <= 0.09
    assert np.mean(np.array(pooled) < 0.05) > 0.1  # what the guard is for
