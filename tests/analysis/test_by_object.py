"""Groups of objects against a look at every pair, and their recall against pycocotools' and a count by hand."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assignbench.analysis.by_object import (
    Groups,
    by_centre,
    by_crowding,
    by_label,
    by_size,
    group_differences,
    group_measure,
    group_values,
)
from assignbench.analysis.parts import Part, runs
from assignbench.comparison.twolevel import difference
from assignbench.comparison.verdicts import verdicts
from assignbench.errors import UsageError
from assignbench.run.scoring.evaluators import by_pycocotools
from assignbench.run.scoring.matches import Found, Matches, Objects, match


def objects_of(rows: list[tuple[int, int, int, int, int, int, bool]]) -> Objects:
    """Rows: picture, class, x, y, width, height, crowd."""
    rows = sorted(rows, key=lambda row: row[0])
    table = np.array([row[:6] for row in rows], dtype=np.int64).reshape(-1, 6)
    box = table[:, 2:].astype(float)
    crowd = np.array([row[6] for row in rows], dtype=bool)
    return Objects(table[:, 0], table[:, 1], box, box[:, 2:].prod(axis=1), crowd)


def row(label: int, *box: int, image: int = 0, crowd: bool = False) -> tuple[Any, ...]:
    return (image, label, *box, crowd)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    side = np.maximum(np.minimum(a[:2] + a[2:], b[:2] + b[2:]) - np.maximum(a[:2], b[:2]), 0)
    return float(side.prod() / (a[2:].prod() + b[2:].prod() - side.prod()))


SOME = st.lists(
    st.tuples(*[st.integers(0, 2)] * 2, *[st.integers(-9, 9)] * 2, *[st.integers(1, 12)] * 2, st.booleans()),
    max_size=14,
)


@given(SOME)
def test_crowding_and_centres_are_those_of_a_look_at_every_pair(rows: list[Any]) -> None:
    objects = objects_of(rows)
    crowding, centre = by_crowding(objects, 3), by_centre(objects, 3)
    for one, box in enumerate(objects.box):
        others = [
            other
            for other in np.flatnonzero(~objects.crowd & (objects.image == objects.image[one])).tolist()
            if other != one
        ]
        most = max((iou(box, objects.box[other]) for other in others), default=0.0)
        middle = box[:2] + box[2:] / 2
        at = [
            objects.label[other] == objects.label[one]
            for other in others
            if (objects.box[other, :2] < middle).all()
            and (middle < objects.box[other, :2] + objects.box[other, 2:]).all()
        ]
        expected = (
            0 if most == 0 else 1 if most <= 0.25 else 2 if most <= 0.5 else 3,
            2 if any(at) else 1 if at else 0,
        )
        assert (crowding.group[one], centre.group[one]) == ((-1, -1) if objects.crowd[one] else expected)


def test_borders_of_the_groups() -> None:
    objects = objects_of(
        [row(0, 0, 0, 32, 32), row(0, 900, 0, 31, 33), row(0, 0, 900, 96, 96), row(0, 500, 500, 96, 95)]
    )
    assert by_size(objects, 1).group.tolist() == [1, 0, 2, 1]
    quarter = [row(0, 0, 0, 10, 10), row(1, 6, 0, 10, 10)]  # 40 of 160, and 6 is right of the centre
    half = [row(0, 0, 50, 10, 10), row(1, 0, 50, 10, 5), row(1, 90, 90, 5, 5)]  # 50 of 100; the border has the centre
    objects = objects_of(quarter + half)
    assert by_crowding(objects, 1).group.tolist() == [1, 1, 2, 2, 0]
    assert by_centre(objects, 1).group.tolist() == [0, 0, 0, 1, 0]
    for box in ((5, 0, 9, 20), (0, 5, 20, 9), (-4, 0, 9, 20), (0, -4, 20, 9)):  # each border through (5, 5)
        assert by_centre(objects_of([row(0, 0, 0, 10, 10), row(1, *box)]), 1).group[0] == 0
    both = objects_of([row(0, 4, 4, 2, 2), row(1, 0, 0, 20, 9), row(0, 0, 0, 9, 20), row(0, 0, 0, 9, 9, crowd=True)])
    assert by_centre(both, 1).group.tolist() == [2, 0, 0, -1]  # both kinds hold (5, 5)


@pytest.mark.parametrize("seed", range(4))
def test_recall_by_class_is_pycocotools_average_recall(
    documents: Callable[..., tuple[dict[str, Any], dict[str, Any]]], seed: int
) -> None:
    truth, results = documents(seed, 5, 3, 70, 400)
    images, classes = (sorted(one["id"] for one in truth[key]) for key in ("images", "categories"))

    def columns(entries: list[dict[str, Any]]) -> tuple[Any, Any, Any]:
        places = [
            np.searchsorted(ids, [one[key] for one in entries])
            for ids, key in ((images, "image_id"), (classes, "category_id"))
        ]
        return *places, np.array([one["bbox"] for one in entries])

    area, crowd = (np.array([one[key] for one in truth["annotations"]]) for key in ("area", "iscrowd"))
    objects = Objects(*columns(truth["annotations"]), area, crowd.astype(bool))
    found = Found(*columns(results["annotations"]), np.array([one["score"] for one in results["annotations"]]))
    groups = by_label(objects, 5, ("a", "b", "c"))
    values = group_values(match(objects, found, 5, 3), groups)
    assert values.mean() == pytest.approx(100 * by_pycocotools(truth, results).stats[8])
    assert sum(part.objects for part in groups.parts()) == (~objects.crowd).sum()


def by_hand() -> tuple[Groups, Matches]:
    """Group 0: found at 10 and 5 of 10 thresholds on picture 0, at none on picture 1; group 2: nothing on picture 1."""
    taken = np.zeros((10, 5), dtype=bool)
    taken[:, 0] = taken[:5, 1] = True
    nothing = np.zeros(0, dtype=np.int32)
    bits = np.zeros((4, 10, 0), dtype=bool)
    matches = Matches(2, nothing, nothing, bits, bits, np.zeros((4, 2, 1), np.int32), taken)
    return Groups(("a", "b", "c"), np.array([0, 0, -1, 0, 2]), np.array([0, 0, 0, 1, 1]), 2), matches


def test_recall_and_influences_worked_by_hand() -> None:
    groups, matches = by_hand()
    assert groups.parts() == (Part("a", 3, 2), Part("b", 0, 0), Part("c", 1, 1))
    np.testing.assert_allclose(group_values(matches, groups), [50, np.nan, 0])
    found = group_measure(matches, groups)(slice(0, 3))
    np.testing.assert_allclose(found.values, [50, np.nan, 0])
    slope, left = found.influences
    np.testing.assert_allclose(slope, [[50 / 3, -50 / 3], [0, 0], [0, 0]], atol=1e-12)  # (1.5 − 0.5 · 2) / 3
    # without picture 0 the recall is 0, without picture 1 it is 75: mean 37.5
    np.testing.assert_allclose(left, [[0.5**0.5 * 37.5, -(0.5**0.5) * 37.5], [0, 0], [0, 0]], atol=1e-12)
    np.testing.assert_allclose(group_measure(matches, groups)(slice(2, 3)).values, [0])


@pytest.mark.parametrize("images", [40, 1200])
def test_influences_are_derivatives_and_left_out_pictures(world: Callable[..., Any], images: int) -> None:
    objects, found = world(0, images, 2, 4 * images)
    matches = match(objects, found, images, 2)
    groups = by_size(objects, images)
    measured = group_measure(matches, groups)(slice(0, 3))
    share, step = matches.taken.mean(axis=0), 1e-6

    def recall(weights: np.ndarray, group: int) -> float:
        some = groups.group == group
        return 100 * float((weights[objects.image] * share)[some].sum() / weights[objects.image][some].sum())

    for group in range(3):
        for image in (0, 7, images - 1):
            weights = np.ones(images)
            weights[image] += step
            slope = (recall(weights, group) - measured.values[group]) / step
            assert measured.influences[0, group, image] == pytest.approx(slope, abs=1e-4)
    assert len(measured.influences) == (2 if images <= 1000 else 1)
    np.testing.assert_allclose(measured.influences[0].sum(axis=-1), 0, atol=1e-9)
    if images <= 1000:
        left = [recall(np.where(np.arange(images) == image, 0.0, 1.0), 1) for image in range(images)]
        expected = np.sqrt((images - 1) / images) * (np.mean(left) - left)
        np.testing.assert_allclose(measured.influences[1, 1], expected, atol=1e-9)


def strategies(world: Callable[..., Any], groups_of: Callable[..., Groups], images: int, quality: float) -> Any:
    rows: dict[str, Any] = {"good": {}, "bad": {}}
    for number, (name, skill) in enumerate((("good", quality), ("bad", 1.0))):
        for seed in range(3):
            objects, found = world(50 * number + seed, images, 2, 5 * images, skill)
            groups = groups_of(objects, images)
            rows[name][seed] = group_measure(match(objects, found, images, 2), groups)
    return rows, groups


def test_a_better_strategy_is_found_and_an_equal_one_is_not(world: Callable[..., Any]) -> None:
    rows, groups = strategies(world, by_size, 150, 6.0)
    found = group_differences(groups, rows, [("good", "bad"), ("bad", "good")])
    assert all(one.decided and one.difference and one.difference.mean > 0 for one in found["good", "bad"])
    assert [one.p_family for one in found["bad", "good"]] == [one.p_family for one in found["good", "bad"]]
    equal, groups = strategies(world, by_size, 150, 1.0)
    assert not any(one.decided for one in group_differences(groups, equal, [("good", "bad")])["good", "bad"])


def test_a_group_is_judged_as_any_metric_is(world: Callable[..., Any]) -> None:
    rows, groups = strategies(world, by_size, 60, 2.0)
    each = {name: runs({seed: one(slice(0, 3)) for seed, one in seeds.items()}, 2) for name, seeds in rows.items()}
    (pair,) = verdicts("recall of large objects", each).pairs
    found = group_differences(groups, rows, [("good", "bad")])["good", "bad"][2]
    assert found.difference == pair.difference == difference(each["good"], each["bad"])


def test_few_pictures_give_a_number_and_no_verdict(world: Callable[..., Any]) -> None:
    def rare(objects: Objects, images: int) -> Groups:
        groups = by_size(objects, images)
        group = np.where(objects.image < 9, 0, 1)
        return replace(groups, names=("on nine", "on the others", "on none"), group=group)

    rows, groups = strategies(world, rare, 60, 3.0)
    few, many, none = group_differences(groups, rows, [("good", "bad")])["good", "bad"]
    assert (few.part.pictures, few.part.settles, many.part.settles) == (9, False, True)
    assert few.difference is not None
    assert few.difference.mean > 0
    assert (few.p_family, few.decided) == (None, False)
    assert many.difference is not None
    assert many.p_family == many.difference.p  # alone in its family
    assert many.decided
    assert (none.difference, none.p_family, none.decided) == (None, None, False)


def test_matches_of_other_data_are_refused() -> None:
    groups, matches = by_hand()
    for other in (replace(groups, images=3), replace(groups, group=groups.group[1:], image=groups.image[1:])):
        with pytest.raises(UsageError, match="both must be of one set of pictures"):
            group_values(matches, other)
        with pytest.raises(UsageError, match="the matches are of 5 objects on 2 pictures, the groups of"):
            group_measure(matches, other)
