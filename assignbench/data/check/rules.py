"""What one split is tried for: ids, references, boxes, pictures; whole columns at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from assignbench.data.check.looks import TURNED, Look, suffix_fits
from assignbench.data.read import findings as kinds
from assignbench.data.read.annotations import Annotations, Objects
from assignbench.data.read.build import LARGEST
from assignbench.data.read.findings import Finding, Kind
from assignbench.data.read.mend import mend
from assignbench.data.read.raw import RawSplit, positions, repeated

# What `mend` tells, by the first words.
_MENDED: dict[str, Kind] = {
    "box of zero or negative size": kinds.BOX_DEGENERATE,
    "box wholly outside": kinds.BOX_OUTSIDE,
    "box clipped": kinds.BOX_CLIPPED,
    "box thinner": kinds.BOX_THIN,
    "repeated box": kinds.BOX_REPEATED,
}


def split_findings(raw: RawSplit, looks: Mapping[str, Look]) -> list[Finding]:
    """Everything about one split, what its reading showed first; empty kinds are left out.

    Args:
        raw: the split.
        looks: path → what a look at it showed; empty: nobody looked.
    """
    if not raw.readable:
        return list(raw.findings)
    found = [*raw.findings, *_entries(raw)]
    if looks:
        found += _pictures(raw, looks)
    found += _objects(raw, looks)
    return [finding for finding in found if finding.count]


def known_sizes(raw: RawSplit, looks: Mapping[str, Look]) -> NDArray[np.int64]:
    """``[image, 2]`` sizes as stated, else of the stored picture, else 0."""
    sizes = raw.images.sizes.copy()
    for place in np.flatnonzero(sizes[:, 0] == 0).tolist():
        look = looks.get(raw.images.paths[place])
        if look is not None:
            sizes[place] = look.size
    return sizes


def mended(
    annotations: Annotations, image: NDArray[np.int64], sizes: NDArray[np.int64], training: bool
) -> tuple[NDArray[np.float64], NDArray[np.bool_], dict[Kind, NDArray[np.bool_]]]:
    """What the readers would do to boxes that are finite and of a known image: boxes, which to keep, what was done."""
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

    def note(repair: str, marked: NDArray[np.bool_]) -> None:
        (kind,) = (kind for words, kind in _MENDED.items() if repair.startswith(words))
        marks[kind] = marked

    done, keep = mend(objects, sizes[image].astype(np.float64).reshape(-1, 2), training, note)
    return done.boxes, keep, marks


def _entries(raw: RawSplit) -> Iterator[Finding]:
    images, annotations = raw.images, raw.annotations
    numbers = np.array([number for number, _ in raw.categories], dtype=np.int64)
    names = np.unique([name for _, name in raw.categories], return_inverse=True)[1].reshape(-1)
    if raw.own_ids:
        yield raw.finding(kinds.IMAGE_ID_REPEATED, "images", repeated(images.ids)[0])
        yield raw.finding(kinds.ANNOTATION_ID_REPEATED, "annotations", repeated(annotations.ids)[1])
        yield raw.finding(kinds.CATEGORY_ID_REPEATED, "categories", repeated(numbers)[0])
        yield raw.finding(kinds.ANNOTATION_ID_ZERO, "annotations", annotations.ids == 0)
        yield raw.finding(kinds.ID_ZERO, "images", images.ids == 0)
        yield raw.finding(kinds.ID_ZERO, "categories", numbers == 0)
        if len(numbers) and (missing := int(numbers.max() - numbers.min()) + 1 - len(np.unique(numbers))):
            text = f"{missing} of {numbers.min()} … {numbers.max()} are not in use"
            yield Finding(kinds.CATEGORY_GAPS, raw.part, "nothing", numbers[:0], (text,))
    yield raw.finding(kinds.CATEGORY_NAME_REPEATED, "categories", repeated(names.astype(np.int64))[1])
    yield raw.finding(kinds.PICTURE_TWICE, "images", _again(raw.images.paths))
    yield raw.finding(kinds.IMAGE_EMPTY, "images", ~np.isin(images.ids, annotations.image_ids))
    yield raw.finding(kinds.CATEGORY_UNUSED, "categories", ~np.isin(numbers, annotations.category_ids))
    yield raw.finding(kinds.ANNOTATION_ORPHAN, "annotations", ~np.isin(annotations.image_ids, images.ids))
    unknown = np.flatnonzero(~np.isin(annotations.category_ids, numbers))
    stray = annotations.category_ids[unknown].tolist()
    details = [repr(raw.strange[number]) if number in raw.strange else f"category {number}" for number in stray]
    yield raw.finding(kinds.CATEGORY_UNKNOWN, "annotations", unknown, details)
    yield raw.finding(kinds.CROWD, "annotations", annotations.crowd > 0)
    yield raw.finding(kinds.CROWD_MISSING, "annotations", annotations.crowd < 0)


def _objects(raw: RawSplit, looks: Mapping[str, Look]) -> Iterator[Finding]:
    annotations = raw.annotations
    finite = np.all(np.abs(annotations.boxes) < LARGEST, axis=1)  # NaN compares false
    yield raw.finding(
        kinds.BOX_NOT_FINITE, "annotations", ~finite, [str(box) for box in annotations.boxes[~finite].tolist()]
    )
    image = positions(annotations.image_ids, raw.images.ids)
    sizes = known_sizes(raw, looks)
    inside = finite & (image >= 0)
    inside[inside] = sizes[image[inside], 0] > 0
    placed = np.flatnonzero(inside)
    _, _, marks = mended(annotations.take(inside), image[inside], sizes, True)
    for kind, marked in marks.items():
        yield raw.finding(kind, "annotations", placed[marked])
    yield raw.finding(kinds.AREA_MISSING, "annotations", np.isnan(annotations.areas))
    solid = np.all(annotations.boxes[:, 2:] > annotations.boxes[:, :2], axis=1)
    yield raw.finding(kinds.AREA_ZERO, "annotations", finite & solid & (annotations.areas == 0))


def _pictures(raw: RawSplit, looks: Mapping[str, Look]) -> Iterator[Finding]:
    found: dict[Kind, list[tuple[int, str]]] = {}
    first: dict[bytes, str] = {}
    for place, (path, stated) in enumerate(zip(raw.images.paths, raw.images.sizes.tolist(), strict=True)):
        look = looks[path]
        for kind, detail in _remarks(raw, path, (stated[0], stated[1]), look):
            found.setdefault(kind, []).append((place, detail))
        if look.digest and first.setdefault(look.digest, path) != path:
            found.setdefault(kinds.PICTURE_COPY, []).append((place, f"as {first[look.digest]}"))
    for kind, rows in found.items():
        places = np.array([place for place, _ in rows], dtype=np.int64)
        yield raw.finding(kind, "images", places, [detail for _, detail in rows])


def _remarks(raw: RawSplit, path: str, stated: tuple[int, int], look: Look) -> Iterator[tuple[Kind, str]]:
    if look.problem:
        kind = {
            "missing": kinds.PICTURE_MISSING,
            "unreadable": kinds.PICTURE_UNREADABLE,
            "damaged": kinds.PICTURE_DAMAGED,
        }[look.problem]
        yield kind, look.message
    if look.format and not suffix_fits(path, look.format):
        yield kinds.PICTURE_MISLABELLED, f"its content is {look.format}"
    turned = look.orientation in TURNED
    if look.orientation != 1 and raw.upright:
        yield kinds.PICTURE_TURNED, f"EXIF orientation {look.orientation}"
    elif stated[0] and look.size[0] and stated != look.size:
        if turned and stated == look.size[::-1]:
            yield kinds.PICTURE_TURNED, f"EXIF orientation {look.orientation}, stored as {_by(look.size)}"
        else:
            yield kinds.PICTURE_SIZE, f"{_by(look.size)}, its annotation says {_by(stated)}"
    elif look.orientation != 1:
        yield kinds.PICTURE_ROTATED, f"EXIF orientation {look.orientation}"


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"


def _again(texts: Sequence[str]) -> NDArray[np.bool_]:
    """Which texts came before."""
    seen: set[str] = set()
    marks = np.zeros(len(texts), dtype=np.bool_)
    for place, text in enumerate(texts):
        marks[place] = text in seen
        seen.add(text)
    return marks
