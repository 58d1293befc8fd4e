import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from assignbench.comparison.paired import paired, student_cdf, student_quantile


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 8, 29, 30])
@pytest.mark.parametrize("t", [-40.0, -2.5, -0.1, 0.0, 0.3, 1.0, 4.3, 1000.0])
def test_students_t_is_scipys(freedom, t):
    assert student_cdf(t, freedom) == pytest.approx(float(stats.t.cdf(t, freedom)), abs=1e-14)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 40])
def test_its_quantile_is_scipys(freedom):
    assert student_quantile(0.975, freedom) == pytest.approx(float(stats.t.ppf(0.975, freedom)), rel=1e-12)


def test_three_seeds_by_hand():
    # differences 1, 2, 3: mean 2, deviation 1, error 1/√3; t = 2√3 with 2 degrees: ½ + t / 2√(2 + t²) = 0.9629
    found = paired({0: 41.0, 1: 42.0, 2: 43.0}, {0: 40.0, 1: 40.0, 2: 40.0})
    assert found is not None
    assert (found.seeds, found.mean) == ((0, 1, 2), pytest.approx(2))
    assert found.half == pytest.approx(4.302652729911275 / math.sqrt(3))
    assert found.confidence == pytest.approx(0.5 + math.sqrt(12) / (2 * math.sqrt(14)))
    assert not found.decided


def test_what_the_seeds_share_alone_counts():
    found = paired({0: 90.0, 1: 42.0, 2: 43.0}, {1: 40.0, 2: 41.0, 7: 0.0})
    assert found is not None
    assert (found.seeds, found.mean) == ((1, 2), pytest.approx(2))
    assert paired({0: 1.0}, {1: 1.0}) is None


def test_one_seed_says_nothing_about_noise():
    found = paired({3: 50.0}, {3: 10.0})
    assert found is not None
    assert (found.mean, found.half, found.confidence, found.decided) == (40.0, None, None, False)


@pytest.mark.parametrize(("gap", "confidence", "decided"), [(0.0, 0.5, False), (1.0, 1.0, True), (-1.0, 0.0, True)])
def test_seeds_that_all_say_the_same(gap, confidence, decided):
    found = paired({0: 40 + gap, 1: 42 + gap}, {0: 40.0, 1: 42.0})
    assert found is not None
    assert (found.half, found.confidence, found.decided) == (0.0, confidence, decided)


values = st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=2, max_size=6)


@settings(max_examples=40, derandomize=True, deadline=None)
@given(values)
def test_the_other_way_round_is_the_mirror_image(pairs):
    ours, theirs = ({seed: pair[side] for seed, pair in enumerate(pairs)} for side in (0, 1))
    found, mirror = paired(ours, theirs), paired(theirs, ours)
    assert found is not None
    assert mirror is not None
    assert (mirror.mean, mirror.half) == (pytest.approx(-found.mean), pytest.approx(found.half))
    assert mirror.confidence == pytest.approx(1 - found.confidence, abs=1e-9)
    assert mirror.decided == found.decided


@settings(max_examples=40, derandomize=True, deadline=None)
@given(values)
def test_decided_is_the_two_sided_test_at_five_percent(pairs):
    found = paired({seed: a for seed, (a, _) in enumerate(pairs)}, {seed: b for seed, (_, b) in enumerate(pairs)})
    assert found is not None
    assert found.confidence is not None
    if found.half and abs(abs(found.mean) - found.half) > 1e-6:
        assert found.decided == (not 0.025 < found.confidence < 0.975)
