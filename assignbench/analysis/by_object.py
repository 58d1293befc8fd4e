"""Average recall of groups of objects: where one strategy finds what another one misses.

    t_o   the part of the ten thresholds of IoU at which object o was found             of `Matches`, area "all"
    n_i   objects of the group on picture i, n = Σ n_i
    R     Σ_i Σ_{o on i} t_o / n                                                        average recall of the group
    u_i   (Σ_{o on i} t_o − R n_i) / n                                                  influence of a picture, Σ u = 0

R is a ratio of two sums over pictures; u_i is its derivative by the weight of the picture, and R without the picture
is (Σ_o t_o − Σ_{o on i} t_o) / (n − n_i). Which of the two counts is said in `comparison.influences`. Crowd regions
are no objects here: they are in no group, and nobody's neighbour.

Unlike pycocotools' ARs, ARm and ARl every object competes for the detections, also those of other groups, and a
detection may have any size: an object's t_o is the same in every way to group.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assignbench.analysis.parts import Family, Floats, Measure, Measured, Part, PartDifference, part_differences
from assignbench.comparison.influences import kinds, left_out
from assignbench.comparison.twolevel import About
from assignbench.comparison.verdicts import Spread
from assignbench.data.stats.meeting import meeting_pairs
from assignbench.errors import UsageError
from assignbench.run.scoring.matches import AREAS, Matches, Objects

SIZES = ("small", "medium", "large")
CROWDING = (0.0, 0.25, 0.5)  # IoU with the strongest neighbour: the largest of each group but the last
ALONE, OTHER_CLASS, SAME_CLASS = range(3)


@dataclass(frozen=True)
class Groups:
    """One way to sort the objects of the data."""

    names: tuple[str, ...]
    group: NDArray[np.int64]  # [object] place in names; −1: a crowd region
    image: NDArray[np.int64]  # [object]
    images: int

    def parts(self) -> tuple[Part, ...]:
        """Every group; one may have no objects."""
        real = self.group >= 0
        each = self.group[real]
        shown = np.unique(each * self.images + self.image[real]) // self.images  # once for each picture
        objects, pictures = (np.bincount(some, minlength=len(self.names)).tolist() for some in (each, shown))
        return tuple(Part(*facts) for facts in zip(self.names, objects, pictures, strict=True))


def by_size(objects: Objects, images: int) -> Groups:
    """By the annotated area: small below 32² pixels, large from 96² on.

    COCO counts an object of exactly 32² or 96² pixels on both sides, here it is on the upper one.
    """
    lows = [AREAS[name][0] for name in SIZES[1:]]
    return _groups(SIZES, np.searchsorted(lows, objects.area, side="right"), objects, images)


def by_crowding(objects: Objects, images: int) -> Groups:
    """By the largest IoU with another object of the picture, of any class: 0, up to ¼, up to ½, above."""
    strongest = np.zeros(len(objects.image))
    for one, other, common in _overlapping(objects):
        area = objects.box[:, 2] * objects.box[:, 3]
        overlap = common / (area[one] + area[other] - common)
        for each in (one, other):
            np.maximum.at(strongest, each, overlap)
    names = ("no overlap", "IoU up to 0.25", "IoU 0.25 to 0.5", "IoU above 0.5")
    return _groups(names, np.searchsorted(CROWDING, strongest), objects, images)


def by_centre(objects: Objects, images: int) -> Groups:
    """By what else stands at the centre of the object's box: nothing, a box of another class, one of its own class.

    Where boxes of both kinds hold the centre, its own class counts. A box holds what lies strictly inside it.
    """
    low, high = objects.box[:, :2], objects.box[:, :2] + objects.box[:, 2:]
    centre = (low + high) / 2
    at_centre = np.full(len(objects.image), ALONE)
    for one, other, _ in _overlapping(objects):
        for whose, holder in ((one, other), (other, one)):
            inside = ((low[holder] < centre[whose]) & (centre[whose] < high[holder])).all(axis=1)
            whose, holder = whose[inside], holder[inside]
            same = objects.label[whose] == objects.label[holder]
            np.maximum.at(at_centre, whose, np.where(same, SAME_CLASS, OTHER_CLASS))
    names = ("no other object", "an object of another class", "an object of the same class")
    return _groups(names, at_centre, objects, images)


def by_label(objects: Objects, images: int, names: Sequence[str]) -> Groups:
    """By class.

    Args:
        objects: of the data.
        images: number of pictures.
        names: of all classes, in the order of the labels (`kept_matches.class_names`).
    """
    return _groups(tuple(names), objects.label, objects, images)


def group_values(matches: Matches, groups: Groups) -> Floats:
    """``[group]`` average recall in percent points; NaN: it has no objects.

    Raises:
        UsageError: the matches and the groups are of different data.
    """
    objects, found = (_sums(groups, each) for each in (np.ones(len(groups.group)), _found(matches, groups)))
    with np.errstate(invalid="ignore"):
        return 100 * found / objects


def group_measure(matches: Matches, groups: Groups) -> Measure:
    """Average recall of groups of one run; it holds a number for each object, not the matches.

    Raises:
        UsageError: the matches and the groups are of different data.
    """
    share = _found(matches, groups)

    def measure(some: slice) -> Measured:
        objects, found = _held(groups, np.ones(len(share)), some), _held(groups, share, some)
        count, total = (each.sum(axis=1, keepdims=True) for each in (objects, found))
        with np.errstate(divide="ignore", invalid="ignore"):  # a group without objects, or on one picture
            value = total / count
            left = (total - found) / np.where(count - objects > 0, count - objects, np.nan)
        slope = (found - np.nan_to_num(value) * objects) / np.maximum(count, 1)
        moved = kinds(slope, left, left_out(groups.images, (objects > 0).sum(axis=1)))
        return Measured(100 * value[:, 0], 100 * moved)

    return measure


def group_differences(
    groups: Groups,
    rows: Mapping[str, Mapping[int, Measure]],
    pairs: Sequence[tuple[str, str]],
    family: Family = "holm",
    about: About = "strategies",
    spread: Spread = "auto",
) -> dict[tuple[str, str], tuple[PartDifference, ...]]:
    """Judge pairs of strategies group by group.

    Args:
        groups: one way to sort the objects.
        rows: strategy → seed → run, as `group_measure` gives it with these groups.
        pairs: names of strategies, first − second.
        family: as `part_differences`; for groups by class rather "benjamini-hochberg".
        about: the question, see `twolevel`.
        spread: as `verdicts`.
    """
    return part_differences(groups.parts(), groups.images, rows, pairs, family, about, spread)


def _groups(names: tuple[str, ...], group: NDArray[np.int64], objects: Objects, images: int) -> Groups:
    return Groups(names, np.where(objects.crowd, -1, group), objects.image, images)


def _found(matches: Matches, groups: Groups) -> Floats:
    """``[object]`` t_o."""
    if matches.images != groups.images or matches.taken.shape[1] != len(groups.group):
        raise UsageError(
            f"the matches are of {matches.taken.shape[1]} objects on {matches.images} pictures, the groups of "
            f"{len(groups.group)} on {groups.images}; both must be of one set of pictures"
        )
    return matches.taken.mean(axis=0)


def _sums(groups: Groups, values: Floats) -> Floats:
    """``[group]``."""
    real = groups.group >= 0
    sums = np.bincount(groups.group[real], weights=values[real], minlength=len(groups.names))
    return sums.astype(np.float64)


def _held(groups: Groups, values: Floats, some: slice) -> Floats:
    """``[group, image]`` sums of values of objects, for some groups that stand one after the other."""
    first, end, _ = some.indices(len(groups.names))
    chosen = (groups.group >= first) & (groups.group < end)
    cell = (groups.group[chosen] - first) * groups.images + groups.image[chosen]
    count = max(end - first, 0)
    held = np.bincount(cell, weights=values[chosen], minlength=count * groups.images)
    return held.reshape(count, groups.images).astype(np.float64)


def _overlapping(objects: Objects) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], Floats]]:
    """Pairs of objects of one picture whose boxes overlap, each once, and their common pixels²; no crowd regions."""
    real = np.flatnonzero(~objects.crowd)
    low, high = objects.box[:, :2], objects.box[:, :2] + objects.box[:, 2:]
    for one, other in meeting_pairs(np.hstack([low, high])[real], objects.image[real]):
        one, other = real[one], real[other]
        side = np.minimum(high[one], high[other]) - np.maximum(low[one], low[other])
        meet = (side > 0).all(axis=1)
        yield one[meet], other[meet], side[meet].prod(axis=1)
