"""What one split is tried for: ids, references, classes, boxes; whole columns at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from assignbench.data.read import findings as kinds
from assignbench.data.read.annotations import Annotations, Objects, areas_of
from assignbench.data.read.findings import Finding, Kind
from assignbench.data.read.mend import blocks, mend
from assignbench.data.read.plain import doubtful
from assignbench.data.read.raw import RawSplit, positions, repeated, said

LARGEST = 1e9  # pixels; a coordinate beyond this is a damaged number, not a place
_TINY = 16  # pixels of a picture's side
_SOME = 4  # boxes that show a habit
_MANY = 1 << 20  # boxes: of so many, not all are fractions and a few of them degenerate
CLEARLY = 0.02  # of a side: what no rounding explains
SOME_BELOW = 0.05  # of all boxes: below a pixel. COCO's samples hold none; a tool that mixes units, a part of its files
_SMALLER = 0.9  # of the picture: a box is not all of it


def refusals(raw: RawSplit) -> Iterator[Finding]:
    """What no split may hold, by its entries alone; kinds without an item, too."""
    images, annotations = raw.images, raw.annotations
    numbers = _numbers(raw)
    if raw.own_ids:
        yield raw.finding(kinds.IMAGE_ID_REPEATED, "images", repeated(images.ids)[0])
        yield raw.finding(kinds.CATEGORY_ID_REPEATED, "categories", repeated(numbers)[0])
        yield raw.finding(kinds.ANNOTATION_ID_REPEATED, "annotations", repeated(annotations.ids)[1])
    names = np.unique([name for _, name in raw.categories], return_inverse=True)[1].reshape(-1)
    yield raw.finding(kinds.CATEGORY_NAME_REPEATED, "categories", repeated(names.astype(np.int64))[1])
    orphans = np.flatnonzero(raw.owners < 0)
    owners = annotations.image_ids[orphans].tolist()
    texts = {number: f"there is no image {text!r:.40}" for number, text in raw.strange_images.items()}
    details = [texts.get(number, "there is no such image") for number in owners]
    yield raw.finding(kinds.ANNOTATION_ORPHAN, "annotations", orphans, details)
    unknown = np.flatnonzero(positions(annotations.category_ids, numbers) < 0)
    stray = annotations.category_ids[unknown].tolist()
    details = [
        f"there is no category {raw.strange.get(number, number)!r:.40}"
        if raw.own_ids or number not in raw.strange
        else f"the class {raw.strange[number]!r} is not among those of the training split or of the list of classes"
        for number in stray
    ]
    yield raw.finding(kinds.CATEGORY_UNKNOWN, "annotations", unknown, details)
    wild = np.flatnonzero(~_finite(annotations))
    wrong = f"is not finite or beyond {LARGEST:g} pixels; correct or remove it"
    details = [f"the box {box} {wrong}" for box in annotations.boxes[wild].tolist()]
    yield raw.finding(kinds.BOX_NOT_FINITE, "annotations", wild, details)
    if _fractions(raw):
        text = "no box is larger than a pixel: are these fractions? Boxes are in pixels; multiply them by the size"
        yield said(kinds.BOXES_FRACTIONS, raw.part, [text])
    if crossed := _crossed(raw):
        text = (
            f"{crossed} of {len(annotations)} boxes end before they begin: are these x, y, width, height, or another "
            "order? VOC's numbers are xmin, ymin, xmax, ymax, and COCO's x, y, width, height"
        )
        yield said(kinds.BOXES_CROSSED, raw.part, [text])


def repairs(raw: RawSplit) -> Iterator[Finding]:
    """What reading puts right or only says, by the entries alone; boxes are `mended`'s."""
    annotations = raw.annotations
    yield raw.finding(kinds.PICTURE_TWICE, "images", _again(list(raw.images.names())))
    yield raw.finding(kinds.CROWD_MISSING, "annotations", annotations.crowd < 0)
    yield raw.finding(kinds.AREA_MISSING, "annotations", np.isnan(annotations.areas))
    yield raw.finding(kinds.AREA_OF_PICTURE, "annotations", of_picture(raw))
    places, details = _alike([name for _, name in raw.categories])
    yield raw.finding(kinds.CLASS_ALIKE, "categories", np.array(places, dtype=np.int64), details)
    odd = [place for place, (_, name) in enumerate(raw.categories) if doubtful(name)]
    yield raw.finding(kinds.CLASS_DOUBTFUL, "categories", np.array(odd, dtype=np.int64))
    yield raw.finding(kinds.BOXES_BEYOND, "annotations", _beyond(raw))
    yield raw.finding(kinds.BOXES_BELOW, "annotations", _below(raw))


def remarks(raw: RawSplit) -> Iterator[Finding]:
    """What is good to know, or counts elsewhere."""
    images, annotations = raw.images, raw.annotations
    numbers = _numbers(raw)
    if raw.own_ids:
        yield raw.finding(kinds.ANNOTATION_ID_ZERO, "annotations", annotations.ids == 0)
        yield raw.finding(kinds.ID_ZERO, "images", images.ids == 0)
        yield raw.finding(kinds.ID_ZERO, "categories", numbers == 0)
        if len(numbers) and (missing := int(numbers.max() - numbers.min()) + 1 - len(np.unique(numbers))):
            text = f"{missing} of {numbers.min()} … {numbers.max()} are not in use"
            yield said(kinds.CATEGORY_GAPS, raw.part, [text])
    yield raw.finding(kinds.IMAGE_EMPTY, "images", ~np.isin(images.ids, annotations.image_ids))
    yield raw.finding(kinds.CATEGORY_UNUSED, "categories", ~np.isin(numbers, annotations.category_ids))
    yield raw.finding(kinds.CROWD, "annotations", annotations.crowd > 0)
    solid = np.all(annotations.boxes[:, 2:] > annotations.boxes[:, :2], axis=1)
    yield raw.finding(kinds.AREA_ZERO, "annotations", _finite(annotations) & solid & (annotations.areas == 0))


def boxes(raw: RawSplit, sizes: NDArray[np.int64], training: bool) -> Iterator[Finding]:
    """What `mend` does to boxes that are finite and of a picture whose size is known, ``[image, 2]``, not 0."""
    image = raw.owners
    inside = _finite(raw.annotations) & (image >= 0)
    inside[inside] = sizes[image[inside], 0] > 0
    placed = np.flatnonzero(inside)
    _, _, marks = mended(raw.annotations.take(inside), image[inside], sizes, training)
    for kind, marked in marks.items():
        yield raw.finding(kind, "annotations", placed[marked])


def mended(
    annotations: Annotations, image: NDArray[np.int64], sizes: NDArray[np.int64], training: bool
) -> tuple[NDArray[np.float64], NDArray[np.bool_], dict[Kind, NDArray[np.bool_]]]:
    """What reading does to boxes that are finite and of a known image: boxes, which to keep, what was done."""
    objects = Objects(
        ids=annotations.ids,
        image=image,
        labels=annotations.category_ids,
        boxes=annotations.boxes,
        area=annotations.areas,
        crowd=annotations.crowd > 0,
        flags={},
    )
    marks: dict[Kind, NDArray[np.bool_]] = {}
    done, keep = mend(objects, sizes, training, marks.__setitem__)
    return done.boxes, keep, marks


def alike(name: str) -> str:
    """The same for names that differ only in case, spaces or hyphens."""
    return re.sub(r"[\s_-]+", "", name).casefold()


def _numbers(raw: RawSplit) -> NDArray[np.int64]:
    return np.array([number for number, _ in raw.categories], dtype=np.int64)


def _finite(annotations: Annotations) -> NDArray[np.bool_]:
    boxes = annotations.boxes
    if len(boxes) and boxes.min() > -LARGEST and boxes.max() < LARGEST:  # NaN compares false
        return np.ones(len(boxes), dtype=np.bool_)
    return np.all(np.abs(boxes) < LARGEST, axis=1)


def _fractions(raw: RawSplit) -> bool:
    """Whether every box lies in the first pixel of pictures that have more; −1 is VOC's 0, counted from 1."""
    boxes = raw.annotations.boxes
    solid = boxes[np.all(boxes[:, 2:] > boxes[:, :2], axis=1)] if len(boxes) < _MANY else boxes
    return bool(len(solid) and not _small_pictures(raw) and solid.min() >= -1 and solid.max() <= 1 + 1e-6)


def _crossed(raw: RawSplit) -> int:
    """How many boxes end before they begin, if these are more than a third; else 0.

    A hand that draws from the lower right corner exchanges both axes, even in all boxes, and a click has no size. Some
    boxes with one axis alone show that the numbers are others. VOC's reader has put the former in order, and says so.
    """
    boxes = raw.annotations.boxes
    wide, high = boxes[:, 2] < boxes[:, 0], boxes[:, 3] < boxes[:, 1]
    exchanged = sum(one.count for one in raw.findings if one.kind is kinds.CORNERS_EXCHANGED)
    count = int(np.count_nonzero(wide | high)) + exchanged
    return count if np.count_nonzero(wide != high) >= _SOME and 3 * count > len(boxes) else 0


def _small_pictures(raw: RawSplit) -> bool:
    """Whether no picture is large enough to tell fractions from pixels; a size that is not stated may be large."""
    sizes = raw.images.sizes
    return not len(sizes) or bool(sizes.min() > 0 and sizes.max() <= _TINY)


def _below(raw: RawSplit) -> NDArray[np.bool_]:
    """Boxes with both sides below a pixel, or in the first pixel, if a good share of many is so."""
    boxes = raw.annotations.boxes
    marked = np.zeros(len(boxes), dtype=np.bool_)
    if len(boxes) < _SOME or _small_pictures(raw):
        return marked
    for some in blocks(len(boxes)):
        marked[some] = below_a_pixel(boxes[some])
    return marked if enough_below(marked) else np.zeros(len(boxes), dtype=np.bool_)


def below_a_pixel(boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """``[box]`` which of ``[box, 4]`` x0 y0 x1 y1 have an area, and both sides below a pixel or end in the first.

    What VOC writes as fractions counts from 1, and has sides above a pixel then, but ends in the first.
    """
    with np.errstate(invalid="ignore", over="ignore"):  # of boxes that are refused
        x0, y0, x1, y1 = boxes.T
        width, height = x1 - x0, y1 - y0
        return (width > 0) & (height > 0) & ((np.maximum(width, height) < 1) | (np.maximum(x1, y1) <= 1))


def enough_below(marked: NDArray[np.bool_]) -> bool:
    """Whether boxes below a pixel are so many that they are no slips of the hand."""
    return int(np.count_nonzero(marked)) >= max(_SOME, SOME_BELOW * len(marked))


def _beyond(raw: RawSplit) -> NDArray[np.bool_]:
    """Boxes that reach clearly beyond a side of their pictures, if they are most of many."""
    boxes, sizes = raw.annotations.boxes, raw.images.sizes
    beyond = np.zeros(len(boxes), dtype=np.bool_)
    if len(boxes) < _SOME or not len(sizes):
        return beyond
    own = sizes.astype(np.float64)
    own[sizes[:, 0] == 0] = np.inf
    smallest, image = own.min(axis=0), raw.owners
    for some in blocks(len(boxes)):
        # a quick look first: most boxes fit into any picture
        large = some.start + np.flatnonzero(_leave(boxes[some], smallest))
        beyond[large] = _leave(boxes[large], own[image[large]]) & (image[large] >= 0)
    return beyond if 2 * np.count_nonzero(beyond) > len(boxes) else np.zeros(len(boxes), dtype=np.bool_)


def _leave(boxes: NDArray[np.float64], sizes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """``[object]`` whether boxes reach clearly beyond pictures of these sizes: ``[2]``, or ``[object, 2]``."""
    x0, y0, x1, y1 = np.ascontiguousarray(boxes.T)
    (width, height), (across, down) = sizes.T, CLEARLY * sizes.T
    return (x1 > width + across) | (y1 > height + down) | (x0 < -across) | (y0 < -down)


def of_picture(raw: RawSplit) -> NDArray[np.bool_]:
    """``[object]`` whether an area is that of the picture, and not nearly that of the box."""
    annotations, whole = raw.annotations, raw.images.sizes.prod(axis=1)
    marked = np.zeros(len(annotations), dtype=np.bool_)
    if not whole.any():
        return marked
    large = np.flatnonzero(annotations.areas > 0.99 * whole[whole > 0].min())  # few are as large as any picture
    image = raw.owners[large]
    own = np.where(image >= 0, whole[image], 0)
    with np.errstate(invalid="ignore", over="ignore"):  # of boxes that are refused
        smaller = areas_of(annotations.boxes[large]) < _SMALLER * own
    marked[large] = (own > 0) & (np.abs(annotations.areas[large] - own) < 0.001 * own) & smaller
    return marked


def _again(texts: Sequence[str]) -> NDArray[np.bool_]:
    """Which texts came before."""
    if len(set(texts)) == len(texts):
        return np.zeros(len(texts), dtype=np.bool_)
    seen: set[str] = set()
    marks = np.zeros(len(texts), dtype=np.bool_)
    for place, text in enumerate(texts):
        marks[place] = text in seen
        seen.add(text)
    return marks


def _alike(names: Sequence[str]) -> tuple[list[int], list[str]]:
    """Places of names that are like one before but not equal to it, and the two of them."""
    first: dict[str, str] = {}
    hits = [
        (place, f"{first[alike(name)]!r} and {name!r}")
        for place, name in enumerate(names)
        if first.setdefault(alike(name), name) != name
    ]
    return [place for place, _ in hits], [text for _, text in hits]
