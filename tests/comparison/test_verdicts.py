"""What is said of a row is what was found out about it: no verdict is no rank, no bold and no comparison."""

import numpy as np
import pytest

from assignbench.comparison.legend import legend
from assignbench.comparison.twolevel import Runs
from assignbench.comparison.verdicts import corrected_for, verdicts


def row(*values: float, first: int = 0) -> Runs:
    """Seeds and values, with pictures that hardly matter."""
    random = np.random.default_rng(int(10 * sum(values)))
    seeds = range(first, first + len(values))
    return Runs(dict(zip(seeds, values, strict=True)), {seed: random.normal(0, 0.01, (1, 40)) for seed in seeds})


def test_a_row_without_a_verdict_is_not_among_the_best_and_has_no_rank():
    rows = {"good": row(30.0, 30.2, 29.9), "poor": row(12.0, 12.3, 12.1), "once": row(5.0)}
    found = verdicts("AP", rows, "poor")
    assert found.rows == ("good", "poor", "once")
    assert found.judged == ("good", "poor")
    assert found.best == {"good"}
    assert found.ranks == {"good": (1, 1), "poor": (2, 2)}
    assert found.tells_apart
    told = " ".join(legend(found, "poor"))
    assert "Best: good (1 pair, Holm). Not judged: once." in told
    assert "nothing is decided" not in told


def test_a_row_with_seeds_of_its_own_is_not_judged():
    rows = {"a": row(30.0, 30.2, 29.9), "b": row(12.0, 12.3, 12.1), "apart": row(5.0, 5.1, 5.2, first=7)}
    found = verdicts("AP", rows)
    assert found.judged == ("a", "b")
    assert "apart" not in found.ranks
    assert "apart" not in found.best


def test_the_legend_speaks_of_the_question_that_has_verdicts():
    rows = {"a": row(30.0, 30.2, 29.9), "b": row(12.0, 12.3, 12.1), "c": row(5.0), "d": row(6.0)}
    (first, *_) = legend(verdicts("AP", rows), None)
    assert "seeds 0, 1, 2 and 40 pictures like these" in first
    assert "‡" in first  # the pairs of single seeds


def test_what_is_corrected_for_is_what_is_counted():
    rows = {"a": row(30.0, 30.2, 29.9), "b": row(29.0, 29.9, 29.4), "c": row(29.3, 29.1, 29.9), "d": row(6.0)}
    found = verdicts("AP", rows, "a")
    assert len(found.baseline) == 3
    assert corrected_for(found.baseline) == 2
    least = min(found.baseline, key=lambda one: 1 if one.p_family is None else one.difference.p)
    assert least.p_family == pytest.approx(2 * least.difference.p)
    assert "correction for 2 comparisons" in legend(found, "a")[0] or "*" not in legend(found, "a")[0]


def test_equal_runs_say_that_nothing_is_known_of_the_error():
    same = Runs({0: 30.0, 1: 30.0, 2: 30.0}, {seed: np.zeros((1, 40)) for seed in range(3)})
    told = " ".join(legend(verdicts("AP", {"a": same, "b": same}, "a"), "a"))
    assert "every seed and every picture says the same" in told
    assert "takes three seeds" not in told
