import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assignbench.comparison.twolevel import Runs
from assignbench.comparison.verdicts import verdicts
from assignbench.report.judged import against, estimates, family_of, halves, pairs_of, reach


def table(random, rows=5, seeds=3, pictures=40, step=2.0):
    def influences():
        u = random.normal(0, 0.05, (2, pictures))
        return u - u.mean(axis=1, keepdims=True)

    return {
        f"row {row}": Runs(
            {seed: 40 + step * row + random.normal(0, 0.3) for seed in range(seeds)},
            {seed: influences() for seed in range(seeds)},
        )
        for row in range(rows)
    }


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 6), st.integers(1, 4), st.floats(0, 2))
def test_a_baselines_family_is_what_verdicts_finds_with_that_baseline(seed, rows, seeds, step):
    runs = table(np.random.default_rng(seed), rows, seeds, step=step)
    found = verdicts("AP", runs)
    for baseline in runs:
        assert against(found, baseline) == verdicts("AP", runs, baseline).baseline


def test_pairs_in_columns_say_what_the_verdicts_say():
    runs = table(np.random.default_rng(0))
    found = verdicts("AP", runs)
    pairs = pairs_of(found, {row: each.values for row, each in runs.items()})
    assert len(pairs.a) == 10
    for place, one in enumerate(found.pairs):
        assert (f"row {pairs.a[place]}", f"row {pairs.b[place]}") == (one.a, one.b)
        assert pairs.half[place] == pytest.approx(one.difference.half, rel=1e-12)
        assert 0 < pairs.seeds_half[place] <= one.difference.half * (1 + 1e-9)
        assert np.mean([value for _, value in pairs.dots[place]]) == pytest.approx(one.difference.mean)
        sign = 1 if one.difference.mean > 0 else -1
        assert pairs.verdict[place] == (sign if one.decided else 0)
    assert set(pairs.verdict) >= {-1}  # a is the lower row: the test would see a turned sign


def test_a_family_has_a_place_for_every_row_and_none_for_the_baseline():
    runs = table(np.random.default_rng(1), step=5)
    found = verdicts("AP", {**runs, "empty": Runs({})})
    family = family_of(found, [*runs, "empty"], "row 1")
    assert family.verdict == (-1, None, 1, 1, 1, None)
    assert family.p_family[1] is family.p_family[5] is None


def test_one_seed_gives_an_interval_of_networks_and_no_verdict():
    runs = table(np.random.default_rng(2), seeds=1)
    found = verdicts("AP", runs)
    pairs = pairs_of(found, {row: each.values for row, each in runs.items()})
    assert set(pairs.about) == {"networks"}
    assert set(pairs.verdict) == {None}
    assert set(pairs.seeds_half) == {0.0}
    assert reach(found) is None
    assert {one.about for one in estimates(runs)} == {"networks"}


def test_estimates_by_hand():
    student = 4.302652729911275  # 97.5 % point with two degrees of freedom
    some = Runs({0: 39.0, 1: 40.0, 2: 41.0})
    (one, alone, low, nothing) = estimates({"a": some, "b": Runs({0: 7.0}), "c": Runs({0: 1.0, 1: 2.0}), "d": Runs({})})
    assert (one.mean, one.about, one.seeds) == (40.0, "set", 3)
    assert one.high == pytest.approx(40 + student / 3**0.5)
    assert (alone.mean, alone.low, alone.high, alone.about) == (7.0, None, None, None)
    assert low.low == 0.0  # no AP is below 0
    assert (nothing.mean, nothing.seeds) == (None, 0)


def test_pictures_widen_an_estimate():
    runs = table(np.random.default_rng(3), rows=1)
    (row,) = runs.values()
    (with_pictures,), (without,) = estimates({"a": row}), estimates({"a": Runs(row.values)})
    assert with_pictures.high > without.high
    assert (with_pictures.about, without.about) == ("strategies", "set")


def test_more_seeds_and_more_pictures_reach_further():
    runs = table(np.random.default_rng(4), rows=3)  # too few to share their spread
    found = verdicts("AP", runs)
    far = reach(found)
    assert far.now == found.smallest
    assert far.seeds == 3
    assert far.now > far.twice > far.floor >= 0
    assert reach(verdicts("AP", runs, "row 0")).now == pytest.approx(far.now)  # of all pairs, whatever the baseline
    alone = reach(verdicts("AP", {row: Runs(each.values) for row, each in runs.items()}))
    assert alone.floor == 0


def test_halves_of_nothing():
    assert halves([]) == ()
