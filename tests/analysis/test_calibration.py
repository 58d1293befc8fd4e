"""Scores against precision: a count by hand, and laws."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from assignbench.analysis.calibration import Reliability, reliability
from assignbench.run.scoring.matches import Found, Objects, choose


def of(hits: list[bool], scores: list[float], crowd: bool = False) -> Reliability:
    """A detection for each of the objects, which stand on pictures of their own; it fits, or lies elsewhere."""
    image, zeros = np.arange(len(hits)), np.zeros(len(hits), dtype=np.int64)
    box = np.tile([0.0, 0.0, 10.0, 10.0], (len(hits), 1))
    objects = Objects(image, zeros, box, np.full(len(hits), 100.0), np.full(len(hits), crowd))
    off = np.where(np.array(hits, dtype=bool), 0.0, 50.0)[:, None] * [1, 0, 0, 0]
    found = Found(image, zeros, box + off, np.array(scores, dtype=float))
    return reliability(found, choose(objects, found, 1))


def test_bins_worked_by_hand() -> None:
    found = of([True, True, False, True, False], [0.97, 1.0, 0.96, 0.55, 0.31])
    assert {place: int(n) for place, n in enumerate(found.detections) if n} == {6: 1, 11: 1, 19: 3}
    np.testing.assert_allclose(found.score[[6, 11, 19]], [0.31, 0.55, 2.93 / 3])
    np.testing.assert_allclose(found.precision[[6, 11, 19]], [0, 1, 2 / 3])
    assert np.isnan(found.score[0])
    assert np.isnan(found.precision[0])
    assert found.error == pytest.approx((0.31 + 0.45 + 0.93) / 5)


def test_a_score_on_a_border_lies_above_it() -> None:
    borders = [round(place / 20, 6) for place in range(21)]
    assert of([True] * 21, borders).detections.tolist() == [1] * 19 + [2]


def test_scores_that_say_the_truth_have_no_error() -> None:
    hits = [True] * 3 + [False] * 7 + [True] * 8 + [False] * 2
    assert of(hits, [0.3] * 10 + [0.8] * 10).error == pytest.approx(0)
    assert of([True] * 4, [1.0] * 4).error == 0
    assert of([False] * 4, [1.0] * 4).error == 1


def test_what_does_not_count_has_no_part() -> None:
    nothing = of([True] * 3, [0.5] * 3, crowd=True)
    assert nothing.detections.sum() == 0
    assert np.isnan(nothing.error)
    assert np.isnan(of([], []).error)


def test_means_of_bins_are_those_of_the_detections(world: Callable[..., Any]) -> None:
    objects, found = world(0, 30, 3, 120)
    choices = choose(objects, found, 3)
    result = reliability(found, choices)
    counted = choices.counted[0, 0]
    assert result.detections.sum() == counted.sum()
    score = found.score[choices.detection[counted]]
    assert np.nansum(result.score * result.detections) == pytest.approx(score.sum())
    assert np.nansum(result.precision * result.detections) == pytest.approx(choices.right[0, 0].sum())
    some = (score >= 0.35) & (score < 0.4)
    assert result.precision[7] == pytest.approx(choices.right[0, 0, counted][some].mean())
