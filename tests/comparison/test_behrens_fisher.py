"""The tail of Student's error plus a normal one, against scipy's numbers and a simulation."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import integrate, stats

from assignbench.comparison.behrens_fisher import half_width, smallest_found, tail


@pytest.mark.parametrize("freedom", [1, 2, 4, 18.5, 1e5])
@pytest.mark.parametrize("size", [0.1, 1.0, 3.0, 30.0])
def test_one_part_alone_is_student_and_the_other_normal(freedom: float, size: float) -> None:
    assert tail(size, 1, 0, freedom) == pytest.approx(2 * stats.t.sf(size, freedom), rel=1e-9)
    assert tail(size, 0, 4, freedom) == pytest.approx(2 * stats.norm.sf(size / 2), rel=1e-9)
    assert half_width(1, 0, freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-8)
    assert half_width(0, 4, freedom) == pytest.approx(2 * stats.norm.ppf(0.975), rel=1e-8)


@pytest.mark.parametrize("freedom", [2, 18])
@pytest.mark.parametrize("main", [0.1, 1.0, 9.0])
@pytest.mark.parametrize("size", [0.5, 4.0])
def test_both_parts_are_the_integral_over_students_density(freedom: int, main: float, size: float) -> None:
    def inside(t: float) -> float:
        return stats.t.pdf(t, freedom) * (stats.norm.sf((size - t) / main**0.5) + stats.norm.sf((size + t) / main**0.5))

    edges = [-np.inf, -20, -size, 0, size, 20, np.inf]
    parts = [integrate.quad(inside, low, high, epsrel=1e-11)[0] for low, high in pairwise(edges)]
    assert tail(size, 1, main, freedom) == pytest.approx(sum(parts), rel=1e-8)


def test_without_any_error_nothing_is_said() -> None:
    assert np.isnan(tail(1.0, 0.0, 0.0, 2))


def test_arrays_are_their_elements() -> None:
    sizes, seeds, mains = np.array([0.1, 2.0, 5.0]), np.array([1.0, 0.2, 0.0]), np.array([0.0, 0.3, 1.0])
    together = tail(sizes, seeds, mains, 4)
    assert together.tolist() == [float(tail(*each, 4)) for each in zip(sizes, seeds, mains, strict=True)]
    halves = half_width(seeds, mains, 4)
    np.testing.assert_allclose(tail(halves, seeds, mains, 4), 0.05, rtol=1e-9)


@pytest.mark.parametrize(("seed", "main", "seeds"), [(0.15, 0.02, 3), (1.0, 0.0, 3), (0.15, 0.02, 8)])
def test_the_smallest_difference_is_found_four_times_in_five(seed: float, main: float, seeds: int) -> None:
    random, freedom, draws = np.random.default_rng(0), seeds - 1, 4000
    truth = smallest_found(seed / seeds, main, freedom)
    mean = random.normal(truth, np.sqrt(seed / seeds + main), draws)
    estimate = seed / seeds * random.chisquare(freedom, draws) / freedom
    assert (tail(mean, estimate, main, freedom) < 0.05).mean() == pytest.approx(0.8, abs=0.025)
