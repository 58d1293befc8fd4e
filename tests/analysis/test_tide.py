"""TIDE's errors: pictures worked by hand, a reading of the rules in loops, and pycocotools on what was put right."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from assignbench.analysis import tide as module
from assignbench.analysis.tide import SPECIAL, TYPES, Errors, tide
from assignbench.comparison.influences import value_of
from assignbench.run.scoring.evaluators import by_pycocotools
from assignbench.run.scoring.matches import Found, Objects, choose, match

Box = tuple[float, float, float, float]
A, B, FAR = (0, 0, 100, 100), (300, 0, 100, 100), (600, 0, 100, 100)
THIRD = (50, 0, 100, 100)  # IoU ⅓ with A


def errors(
    objects: list[tuple[int, Box]], found: list[tuple[int, Box, float]], classes: int = 2, crowd: tuple[int, ...] = ()
) -> Errors:
    """Of one picture; objects: class, box. Detections: class, box, score."""
    box = np.array([one for _, one in objects], dtype=float).reshape(-1, 4)
    crowded = np.isin(np.arange(len(objects)), crowd)
    labels = np.array([label for label, _ in objects], dtype=np.int64)
    truth = Objects(np.zeros(len(objects), np.int64), labels, box, box[:, 2:].prod(axis=1), crowded)
    places = np.zeros(len(found), np.int64), np.array([label for label, _, _ in found], dtype=np.int64)
    boxes = np.array([one for _, one, _ in found], dtype=float).reshape(-1, 4)
    detections = Found(*places, boxes, np.array([score for *_, score in found], dtype=float))
    return tide(truth, detections, choose(truth, detections, classes), classes)


def check(found: Errors, base: float, gains: dict[str, float], counts: dict[str, int]) -> None:
    assert found.ap50 == pytest.approx(base)
    nothing = dict.fromkeys((*TYPES, *SPECIAL), 0.0)
    assert dict(found.gains) == pytest.approx({**nothing, **gains})
    assert found.counts == {**dict.fromkeys((*TYPES, *SPECIAL), 0), **counts}


def test_the_wrong_class() -> None:
    counts = {"classification": 1, "false positives": 1, "false negatives": 1}
    check(errors([(0, A)], [(1, A, 0.9)]), 0, {"classification": 100}, counts)


def test_the_wrong_place() -> None:
    counts = {"localisation": 1, "false positives": 1, "false negatives": 1}
    check(errors([(0, A)], [(0, THIRD, 0.9)]), 0, {"localisation": 100}, counts)


def test_both_wrong_points_to_no_object() -> None:
    """So that the object is missed; and nothing of its class is found, which no stretched recall can change."""
    counts = {"both": 1, "missed": 1, "false positives": 1, "false negatives": 1}
    check(errors([(0, A)], [(1, THIRD, 0.9)]), 0, {}, counts)


def test_a_duplicate() -> None:
    """Precision 1 up to recall ½, 51 of the 101 levels, then ⅔."""
    found = errors([(0, A), (0, B)], [(0, A, 0.9), (0, A, 0.8), (0, B, 0.7)])
    gain = 100 * 50 / 3 / 101
    counts = {"duplicate": 1, "false positives": 1}
    check(found, 100 - gain, {"duplicate": gain, "false positives": gain}, counts)


def test_background() -> None:
    counts = {"background": 1, "false positives": 1}
    found = errors([(0, A)], [(0, FAR, 0.95), (0, A, 0.9)])
    check(found, 50, {"background": 50, "false positives": 50}, counts)


def test_a_missed_object() -> None:
    gain = 100 * 50 / 101
    counts = {"missed": 1, "false negatives": 1}
    found = errors([(0, A), (0, B)], [(0, A, 0.9)])
    check(found, 100 - gain, {"missed": gain, "false negatives": gain}, counts)


def test_of_two_that_have_found_one_object_the_higher_score_stays() -> None:
    """The background comes between; the one of the wrong class takes the object, the right one goes."""
    found = errors([(0, A)], [(1, A, 0.9), (0, FAR, 0.8), (0, A, 0.6)])
    counts = {"classification": 1, "background": 1, "false positives": 2}
    check(found, 50, {"classification": 50, "background": 50, "false positives": 50}, counts)
    found = errors([(0, A)], [(1, A, 0.3), (0, FAR, 0.8), (0, A, 0.6)])
    check(found, 50, {"background": 50, "false positives": 50}, counts)


def test_the_own_class_is_looked_at_first() -> None:
    found = errors([(0, A), (1, THIRD)], [(0, THIRD, 0.9)])
    assert found.counts["localisation"] == 1
    assert found.counts["missed"] == 1  # the other object, which it covers


@pytest.mark.parametrize(
    ("height", "kind"), [(50, "duplicate"), (49, "localisation"), (10, "localisation"), (9, "background")]
)
def test_the_upper_side_has_the_threshold(height: int, kind: str) -> None:
    found = errors([(0, A)], [(0, A, 0.9), (0, (0, 0, 100, height), 0.8)])
    assert {name: found.counts[name] for name in TYPES if found.counts[name]} == {kind: 1}


def test_crowd_regions_hold_no_errors_and_are_not_missed() -> None:
    found = errors([(0, A), (0, B)], [(0, A, 0.9), (0, B, 0.95), (0, (310, 10, 5, 5), 0.5), (1, B, 0.4)], crowd=(1,))
    check(found, 100, {}, {"background": 1, "false positives": 1})  # a crowd region of another class is no object


def test_nothing_to_find_and_nothing_found() -> None:
    found = errors([], [(0, A, 0.9)])
    assert np.isnan([found.ap50, *found.gains.values()]).all()
    assert found.counts["background"] == 1
    check(errors([(0, A)], []), 0, {}, {"missed": 1, "false negatives": 1})


def iou(a: np.ndarray, b: np.ndarray) -> float:
    side = np.maximum(np.minimum(a[:2] + a[2:], b[:2] + b[2:]) - np.maximum(a[:2], b[:2]), 0)
    return float(side.prod() / (a[2:].prod() + b[2:].prod() - side.prod()))


def average(rows: list[tuple[int, float, bool]], required: np.ndarray, measured: np.ndarray) -> float:
    """AP50 of rows of class, score and whether it is right."""
    values = []
    for label in np.flatnonzero(measured):
        own = sorted((row for row in rows if row[0] == label), key=lambda row: -row[1])
        right = np.cumsum([row[2] for row in own]) if own else np.zeros(0)
        levels = (
            [
                max(
                    (
                        right[place] / (place + 1)
                        for place in range(len(own))
                        if right[place] / required[label] >= level
                    ),
                    default=0,
                )
                for level in np.linspace(0, 1, 101)
            ]
            if required[label]
            else [0]
        )
        values.append(np.mean(levels))
    return 100 * float(np.mean(values))


def in_loops(objects: Objects, found: Found, classes: int) -> tuple[dict[str, float], dict[str, int]]:
    """The rules, detection by detection. What each has taken comes from the matching, which has tests of its own."""
    choices = choose(objects, found, classes)
    real = np.flatnonzero(~objects.crowd)
    rows, kinds, goals = [], [], []
    for choice, detection in enumerate(choices.detection):
        target, label = int(choices.target[0, choice]), int(found.label[detection])
        rows.append((label, float(found.score[detection]), target >= 0))
        if not choices.counted[0, 0, choice]:
            kinds.append("none"), goals.append(-1)
            continue
        best = {True: (0.0, -1), False: (0.0, -1)}  # of the own class, of others
        for other in real[objects.image[real] == found.image[detection]]:
            own = bool(objects.label[other] == label)
            best[own] = max(best[own], (iou(found.box[detection], objects.box[other]), int(other)))
        (own, mine), (else_, theirs) = best[True], best[False]
        if target >= 0:
            kind, goal = "right", target
        elif own >= 0.5:
            kind, goal = "duplicate", -1
        elif own >= 0.1:
            kind, goal = "localisation", mine
        elif else_ >= 0.5:
            kind, goal = "classification", theirs
        else:
            kind, goal = ("both" if else_ >= 0.1 else "background"), -1
        kinds.append(kind), goals.append(goal)
    required = np.bincount(objects.label[real], minlength=classes)
    taken = {goal for kind, goal in zip(kinds, goals, strict=True) if kind == "right"}
    unfound = [one for one in real.tolist() if one not in taken]
    missed = [one for one in unfound if one not in goals]

    def ap(change: Callable[[int], Any], without: list[int] = []) -> float:  # noqa: B006
        changed = [change(number) for number in range(len(rows)) if kinds[number] != "none"]
        less = required - np.bincount(objects.label[without], minlength=classes) if without else required
        return average([row for row in changed if row is not None], less, required > 0)

    def pointed(kind: str) -> Callable[[int], Any]:
        def change(number: int) -> Any:
            if kinds[number] not in ("right", kind):
                return rows[number]
            rivals = [one for one, goal in enumerate(goals) if goal == goals[number] and kinds[one] in ("right", kind)]
            first = min(rivals, key=lambda one: (-rows[one][1], one))
            return (int(objects.label[goals[number]]), rows[number][1], True) if number == first else None

        return change

    base = ap(lambda number: rows[number])
    gains = {kind: ap(pointed(kind)) - base for kind in ("classification", "localisation")}
    for gone in ("both", "duplicate", "background"):
        gains[gone] = ap(lambda number, gone=gone: None if kinds[number] == gone else rows[number]) - base
    gains["missed"] = ap(lambda number: rows[number], missed) - base
    gains["false positives"] = ap(lambda number: rows[number] if kinds[number] == "right" else None) - base
    gains["false negatives"] = ap(lambda number: rows[number], unfound) - base
    counts = {kind: kinds.count(kind) for kind in TYPES}
    wrong = len(kinds) - kinds.count("none") - kinds.count("right")
    counts |= {"missed": len(missed), "false positives": wrong, "false negatives": len(unfound)}
    return {"AP50": base, **gains}, counts


@pytest.mark.parametrize("seed", range(8))
def test_a_reading_in_loops_finds_the_same(
    world: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    objects, found = world(100 * seed, 6, 3, 40, 0.7, crowd=0.1)
    if seed % 2:  # many ties, of boxes as well
        found = Found(found.image, found.label, np.maximum(found.box.round(-2), 1), found.score.round(1))
        objects = Objects(
            objects.image, objects.label, np.maximum(objects.box.round(-2), 1), objects.area, objects.crowd
        )
        monkeypatch.setattr(module, "_CHUNK", 7)
    gains, counts = in_loops(objects, found, 3)
    result = tide(objects, found, choose(objects, found, 3), 3)
    assert {"AP50": result.ap50, **result.gains} == pytest.approx(gains)
    assert result.counts == counts
    assert result.ap50 == pytest.approx(100 * value_of(match(objects, found, 6, 3), "AP50"))
    if not seed % 2:
        assert all(counts.values())


@pytest.mark.parametrize("seed", range(4))
def test_pycocotools_finds_the_gain_in_a_file_that_was_put_right(
    documents: Callable[..., tuple[dict[str, Any], dict[str, Any]]], seed: int
) -> None:
    truth, results = documents(seed, 5, 3, 60, 250)
    images, classes = (sorted(one["id"] for one in truth[key]) for key in ("images", "categories"))

    def columns(entries: list[dict[str, Any]]) -> tuple[Any, Any, Any]:
        keys = ((images, "image_id"), (classes, "category_id"))
        places = [np.searchsorted(ids, [one[key] for one in entries]) for ids, key in keys]
        return *places, np.array([one["bbox"] for one in entries])

    area, crowd = (np.array([one[key] for one in truth["annotations"]]) for key in ("area", "iscrowd"))
    objects = Objects(*columns(truth["annotations"]), area, crowd.astype(bool))
    found = Found(*columns(results["annotations"]), np.array([one["score"] for one in results["annotations"]]))
    choices = choose(objects, found, 3)
    result = tide(objects, found, choices, 3)
    assert result.ap50 == pytest.approx(100 * by_pycocotools(truth, results).stats[1])
    wrong = choices.detection[choices.counted[0, 0] & ~choices.right[0, 0]]
    kept = [one for place, one in enumerate(results["annotations"]) if place not in set(wrong.tolist())]
    better = by_pycocotools(truth, {**results, "annotations": kept}).stats[1]
    assert result.gains["false positives"] == pytest.approx(100 * better - result.ap50)
    taken = set(choices.target[0].tolist())
    kept = [one for place, one in enumerate(truth["annotations"]) if one["iscrowd"] or place in taken]
    kept = [{**one, "id": number} for number, one in enumerate(kept, start=1)]
    better = by_pycocotools({**truth, "annotations": kept}, results).precision[0, :, :, 0, 2]
    better = np.maximum(better, 0).mean()  # all classes have objects; −1: none of them has been found
    assert result.gains["false negatives"] == pytest.approx(100 * better - result.ap50)
