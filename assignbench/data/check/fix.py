"""A split without what `check` found wrong: every change by a rule, every change written down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from assignbench.data.check.looks import TURNED, Look
from assignbench.data.check.rules import known_sizes
from assignbench.data.read import findings as kinds
from assignbench.data.read.annotations import Annotations, areas_of
from assignbench.data.read.findings import Finding, Kind, Table
from assignbench.data.read.raw import Item, RawSplit, items, positions, repeated
from assignbench.data.read.rules import mended, of_picture

_LEFT_OUT = (
    kinds.PICTURE_MISSING,
    kinds.PICTURE_UNREADABLE,
    kinds.PICTURE_DAMAGED,
    kinds.PICTURE_SIZE,
    kinds.LABELS_UNREADABLE,
    kinds.OVERLAP_FILE,
    kinds.OVERLAP_CONTENT,
)
_SAID = (  # what reading left aside or put right
    kinds.ENTRY_MALFORMED,
    kinds.LISTED_AGAIN,
    kinds.SIZE_MISSING,
    kinds.LINE_RESPELT,
    kinds.CORNERS_EXCHANGED,
    kinds.PICTURE_RESPELT,
    kinds.WHOLE_WITH_POINT,
    kinds.NUMBER_IN_TEXT,
    kinds.ID_IN_TEXT,
    kinds.ID_NUMBERED,
    kinds.CROWD_BOOLEAN,
    kinds.BOX_FROM_POLYGON,
    kinds.BOX_FROM_MASK,
    kinds.CATEGORY_PARENT,
    kinds.NAME_BLANKS,
)
_DROPPED = (kinds.ANNOTATION_ORPHAN, kinds.CATEGORY_UNKNOWN, kinds.BOX_NOT_FINITE)


@dataclass(frozen=True)
class Change:
    """Something that was changed, and to what."""

    part: str
    kind: Kind  # why
    done: str
    items: tuple[Item, ...]


@dataclass(frozen=True, eq=False)
class Fixed:
    """A split as it is written."""

    raw: RawSplit
    changes: tuple[Change, ...]


def fix_split(raw: RawSplit, findings: Iterable[Finding], looks: Mapping[str, Look]) -> Fixed:
    """Repair what can be repaired, leave out what cannot.

    Boxes are dropped and clipped as the readers do it: an evaluation split keeps what official scores need.

    Args:
        raw: the split.
        findings: all of the data set; those of the other split do not count.
        looks: what the pictures showed.
    """
    mine = [finding for finding in findings if finding.part == raw.part]
    return _Repair(raw, looks).all(mine)


class _Repair:
    """A split on its way, and what was done to it."""

    def __init__(self, raw: RawSplit, looks: Mapping[str, Look]) -> None:
        self.raw, self.looks = raw, looks
        self.sizes = known_sizes(raw, looks)
        self.keep_image = np.ones(len(raw.images), dtype=np.bool_)
        self.keep = np.ones(len(raw.annotations), dtype=np.bool_)
        self.boxes = raw.annotations.boxes.copy()
        self.changes: list[Change] = []

    def all(self, findings: Sequence[Finding]) -> Fixed:
        for finding in findings:
            if finding.kind is kinds.ENTRY_MALFORMED and finding.table == "images":
                self.keep_image[finding.places] = False  # or the object would be taught as background
                self._write_down(finding.kind, finding, kinds.LABELS_UNREADABLE.remedy)
            elif finding.kind in _SAID:
                self._write_down(finding.kind, finding)
            elif finding.kind in _LEFT_OUT:
                self.keep_image[finding.places] = False
                self._write_down(finding.kind, finding)
            elif finding.kind in _DROPPED:
                self.keep[finding.places] = False
                self._write_down(finding.kind, finding)
        self._repeated_images()
        turned = [place for one in findings if one.kind is kinds.PICTURE_TURNED for place in one.places.tolist()]
        self._turned([*turned, *self._shown_turned()])
        self._objects_of_lost_images()
        categories, category_ids = self._categories()
        annotations = replace(
            self.raw.annotations, boxes=self.boxes, category_ids=category_ids, ids=self._ids(), flags={}
        )
        annotations = self._boxes(annotations)
        annotations = self._fields(annotations)
        images = self.raw.images
        kept = np.flatnonzero(self.keep_image)
        raw = replace(
            self.raw,
            categories=categories,
            images=replace(images, sizes=self.sizes, stored=replace(images.stored, upright=False)).take(kept),
            annotations=annotations,
            findings=(),
        )
        return Fixed(raw, tuple(self.changes))

    def _write_down(self, kind: Kind, finding: Finding, done: str | None = None) -> None:
        if finding.count:
            self.changes.append(Change(self.raw.part, kind, done or kind.remedy, tuple(items(self.raw, finding))))

    def _mark(
        self, kind: Kind, table: Table, marked: NDArray[np.bool_], details: Sequence[str] = (), done: str | None = None
    ) -> None:
        self._write_down(kind, self.raw.finding(kind, table, marked, details), done)

    def _repeated_images(self) -> None:
        """Entries that say the same stand for one picture; of others nobody can tell whose the objects are."""
        images = self.raw.images
        if not self.raw.own_ids:
            return
        every, later = repeated(images.ids)
        said: dict[int, set[tuple[object, ...]]] = {}
        for place in np.flatnonzero(every).tolist():
            said.setdefault(int(images.ids[place]), set()).add((images.name(place), *images.sizes[place].tolist()))
        one = np.array([len(said.get(number, ())) == 1 for number in images.ids.tolist()], dtype=np.bool_)
        self.keep_image &= ~(every & ~one) & ~(later & one)
        self._mark(kinds.IMAGE_ID_REPEATED, "images", every & ~one)
        self._mark(kinds.IMAGE_ID_REPEATED, "images", later & one, done="equal entry kept once")

    def _shown_turned(self) -> list[int]:
        """Pictures whose boxes refer to what viewers show, where that is not what is stored: the copy's do."""
        if not self.raw.images.stored.upright:
            return []
        looks = [self.looks.get(path) for path in self.raw.images.paths()]
        return [place for place, look in enumerate(looks) if look is not None and look.orientation != 1]

    def _turned(self, places: Sequence[int]) -> None:
        image = self.raw.owners
        done = np.zeros(len(self.raw.images), dtype=np.bool_)
        for place in places:
            if not self.keep_image[place]:
                continue
            look = self.looks[str(self.raw.images[place].path)]
            own = image == place
            boxes = self.boxes[own]
            self.boxes[own] = stored_boxes(boxes, look.orientation, *look.size)
            self.sizes[place] = look.size
            done[place] = True
        self._mark(kinds.PICTURE_TURNED, "images", done)

    def _objects_of_lost_images(self) -> None:
        images = self.raw.images
        lost = np.isin(self.raw.annotations.image_ids, images.ids[~self.keep_image])
        lost &= ~np.isin(self.raw.annotations.image_ids, images.ids[self.keep_image])
        kind = Kind("object-of-left-out", kinds.Severity.NOTE, "its picture is left out")
        self._mark(kind, "annotations", self.keep & lost, done="dropped with its picture")
        self.keep &= ~lost

    def _categories(self) -> tuple[list[tuple[int, str]], NDArray[np.int64]]:
        """Categories with ids and names of their own, and the category of each annotation."""
        rows = self.raw.categories
        distinct = list(dict.fromkeys(rows))
        ids = [number for number, _ in distinct]
        doubtful = {number for number in ids if ids.count(number) > 1}
        lost = np.isin(self.raw.annotations.category_ids, list(doubtful))
        self._mark(kinds.CATEGORY_ID_REPEATED, "categories", np.array([row[0] in doubtful for row in rows], dtype=bool))
        self._mark(kinds.CATEGORY_ID_REPEATED, "annotations", self.keep & lost, done="dropped with its category")
        self.keep &= ~lost
        first: dict[str, int] = {}
        category_ids = self.raw.annotations.category_ids.copy()
        merged = []
        for number, name in distinct:
            if number not in doubtful and first.setdefault(name, number) != number:
                category_ids[category_ids == number] = first[name]
                merged.append((number, name))
        self._mark(kinds.CATEGORY_NAME_REPEATED, "categories", np.array([row in merged for row in rows], dtype=bool))
        return [(number, name) for name, number in first.items()], category_ids

    def _ids(self) -> NDArray[np.int64]:
        """Annotation ids from 1, each once."""
        ids = self.raw.annotations.ids.copy()
        later, zero = repeated(np.where(self.keep, ids, -1 - np.arange(len(ids))))[1] & self.keep, ids == 0
        change = np.flatnonzero((later | zero) & self.keep)
        start = max(0, int(ids.max(initial=0))) + 1
        if start + len(change) >= 2**63:
            start = int(np.setdiff1d(np.arange(1, len(ids) + 2), ids)[0])
            change = np.flatnonzero(self.keep)
        ids[change] = np.arange(start, start + len(change))
        for kind, marked in ((kinds.ANNOTATION_ID_REPEATED, later), (kinds.ANNOTATION_ID_ZERO, zero & ~later)):
            marked = marked & self.keep
            self._mark(kind, "annotations", marked, [f"now {number}" for number in ids[marked].tolist()])
        return ids

    def _boxes(self, annotations: Annotations) -> Annotations:
        """As the readers would; what they would keep stays."""
        kept = np.flatnonzero(self.keep)
        kept_images = np.flatnonzero(self.keep_image)
        some = annotations.take(self.keep)
        place = positions(some.image_ids, self.raw.images.ids[kept_images])
        boxes, keep, marks = mended(some, place, self.sizes[kept_images], self.raw.part == "train")
        for kind, marked in marks.items():
            places = kept[marked]
            details = [f"from {_corners(self.boxes[one])}" for one in places.tolist()]
            self._write_down(kind, self.raw.finding(kind, "annotations", places, details))
        self.keep[kept[~keep]] = False
        return replace(some, boxes=boxes).take(keep)

    def _fields(self, annotations: Annotations) -> Annotations:
        kept = np.flatnonzero(self.keep)
        areas = areas_of(annotations.boxes)
        if not self.raw.own_ids:  # nobody stated any
            return replace(annotations, areas=areas, crowd=np.maximum(annotations.crowd, 0))
        whole = self.raw.finding(kinds.AREA_OF_PICTURE, "annotations", of_picture(self.raw))
        marks = {
            kinds.AREA_MISSING: np.isnan(annotations.areas),
            kinds.AREA_ZERO: annotations.areas == 0,
            kinds.AREA_OF_PICTURE: np.isin(kept, whole.places),
            kinds.CROWD_MISSING: annotations.crowd < 0,
        }
        for kind, marked in marks.items():
            self._write_down(kind, self.raw.finding(kind, "annotations", kept[marked]))
        unusable = marks[kinds.AREA_MISSING] | marks[kinds.AREA_ZERO] | marks[kinds.AREA_OF_PICTURE]
        stated = np.where(unusable, areas, annotations.areas)
        return replace(annotations, areas=stated, crowd=np.maximum(annotations.crowd, 0))


def stored_boxes(boxes: NDArray[np.float64], orientation: int, width: int, height: int) -> NDArray[np.float64]:
    """Boxes on the picture as viewers show it → on the stored pixels, ``width`` × ``height`` of them."""
    x0, y0, x1, y1 = boxes.T
    left, right, up, down = x0, x1, y0, y1
    if orientation in TURNED:  # the shown picture's x runs along the stored picture's y
        left, right, up, down = y0, y1, x0, x1
    if orientation in (2, 3, 7, 8):
        left, right = width - right, width - left
    if orientation in (3, 4, 6, 7):
        up, down = height - down, height - up
    return np.stack((left, up, right, down), axis=1)


def _corners(box: NDArray[np.float64]) -> str:
    return "[" + ", ".join(f"{value:g}" for value in box.tolist()) + "]"
