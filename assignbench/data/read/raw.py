"""A split as its files state it, before anything is refused or put right.

Every reader gives a `RawSplit`, with what could not be understood set aside as findings. The gate (`build`) refuses
it or makes a `Dataset` of it; `check` lists all that is odd; `fix` changes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assignbench.data.images import Images
from assignbench.data.read.annotations import Annotations
from assignbench.data.read.findings import FILE_UNREADABLE, Finding, Kind, Table

NOWHERE: NDArray[np.int64] = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class RawSplit:
    """One split; ids may repeat, point nowhere, and so on."""

    part: str  # "train", "evaluation" or "test"
    source: Path  # file that messages name
    categories: Sequence[tuple[int, str]]  # in file order
    images: Images  # in file order; size 0: neither stated nor to be had from the picture
    annotations: Annotations  # in file order
    own_ids: bool = False  # the file states ids; otherwise they count pictures and objects from 1
    classes: Sequence[str] | None = None  # what the specification demands
    strange: Mapping[int, str] = field(default_factory=dict)  # category id → a name that is not among the categories
    strange_images: Mapping[int, str] = field(default_factory=dict)  # image id → the text for it, which no image has
    folders: Sequence[Path] = ()  # where files without an entry would be found
    readable: bool = True  # False: everything else is empty
    findings: Sequence[Finding] = ()  # what reading alone showed
    offsets: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # see `Dataset.offsets`
    missing: tuple[int, ...] | None = None  # places of pictures that are not there; None: nobody has looked

    @cached_property
    def owners(self) -> NDArray[np.int64]:
        """``[object]`` place of each annotation's picture; −1: there is none."""
        return positions(self.annotations.image_ids, self.images.ids)

    def finding(self, kind: Kind, table: Table, marked: NDArray[Any], details: Sequence[str] = ()) -> Finding:
        """From a mask or places."""
        places = np.flatnonzero(marked) if marked.dtype == np.bool_ else marked
        return Finding(kind, self.part, table, places.astype(np.int64), tuple(details))

    def only(self, chosen: NDArray[np.bool_]) -> RawSplit:
        """The pictures that are marked, ``[image]``, and their objects; ids that the file does not state count anew.

        What was found keeps to the pictures and objects that stay; a finding that belongs to neither stays as it is.
        """
        images, annotations = self.images, self.annotations
        kept = np.isin(annotations.image_ids, images.ids[chosen])
        findings = [among(finding, {"images": chosen, "annotations": kept}) for finding in self.findings]
        images, annotations = images.take(chosen), annotations.take(kept)
        if not self.own_ids:
            numbers = np.arange(1, len(images) + 1)
            owners = numbers[np.searchsorted(images.ids, annotations.image_ids)]
            images = replace(images, ids=numbers)
            annotations = replace(annotations, ids=np.arange(1, len(annotations) + 1), image_ids=owners)
        findings = [finding for finding in findings if finding.count]
        return replace(self, images=images, annotations=annotations, findings=findings)


def unreadable(part: str, source: Path, message: str, *, own_ids: bool = False) -> RawSplit:
    """A split of which nothing can be read, and why."""
    return RawSplit(
        part=part,
        source=source,
        categories=[],
        images=Images.of([]),
        annotations=Annotations.of([], [], [], [], []),
        own_ids=own_ids,
        readable=False,
        findings=[said(FILE_UNREADABLE, part, [message])],
    )


def said(kind: Kind, part: str, texts: Sequence[str]) -> Finding:
    """A finding of sentences alone: about no entry that was kept."""
    return Finding(kind, part, "nothing", NOWHERE, tuple(texts))


def among(finding: Finding, chosen: Mapping[str, NDArray[np.bool_]]) -> Finding:
    """A finding whose places count in what was chosen."""
    if finding.table not in chosen:
        return finding
    mask = chosen[finding.table]
    stay = mask[finding.places]
    places = (np.cumsum(mask) - 1)[finding.places[stay]]
    details = tuple(text for text, stays in zip(finding.details, stay.tolist(), strict=False) if stays)
    return replace(finding, places=places, details=details)


@dataclass(frozen=True)
class Item:
    """One thing that was found, as it is shown and written."""

    image: int | None = None
    annotation: int | None = None
    category: int | None = None
    file: str | None = None
    detail: str | None = None

    def __str__(self) -> str:
        # Python spells odd file names with halves of characters, which no terminal takes
        return self._text().encode("utf-8", "backslashreplace").decode()

    def _text(self) -> str:
        name = f" ({Path(self.file).name})" if self.file else ""
        if self.annotation is not None:
            text = f"annotation {self.annotation} of image {self.image}{name}"
        elif self.image is not None:
            text = f"image {self.image}{name}"
        elif self.category is not None:
            text = f"category {self.category}"
        else:
            return self.detail or ""
        return f"{text}: {self.detail}" if self.detail else text

    def as_json(self) -> dict[str, Any]:
        """What is known of it."""
        return {key: value for key, value in vars(self).items() if value is not None}


def items(raw: RawSplit, finding: Finding, most: int | None = None) -> Iterator[Item]:
    """The things that were found, or the first of them, each with its ids."""
    if finding.table == "nothing":
        yield from (Item(detail=text) for text in finding.details[:most])
        return
    places = finding.places[:most].tolist()
    owners = {} if finding.table != "annotations" else _places_of(raw, finding.places[:most])
    for rank, place in enumerate(places):
        detail = finding.details[rank] if finding.details else None
        if finding.table == "images":
            yield Item(image=int(raw.images.ids[place]), file=str(raw.images[place].path), detail=detail)
        elif finding.table == "categories":
            yield Item(category=raw.categories[place][0], detail=detail or raw.categories[place][1])
        else:
            image = int(raw.annotations.image_ids[place])
            file = str(raw.images[owners[image]].path) if owners[image] >= 0 else None
            yield Item(image, int(raw.annotations.ids[place]), None, file, detail)


def _places_of(raw: RawSplit, annotations: NDArray[np.int64]) -> dict[int, int]:
    """Image id of some annotations → place of the image; −1: there is none."""
    wanted = raw.annotations.image_ids[annotations]
    return dict(zip(wanted.tolist(), positions(wanted, raw.images.ids).tolist(), strict=True))


def repeated(values: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which values occur more than once, and which of those are not the first of their kind."""
    if np.all(values[1:] > values[:-1]):  # as most files number their entries
        return np.zeros(len(values), dtype=np.bool_), np.zeros(len(values), dtype=np.bool_)
    order = np.argsort(values, kind="stable")
    same = values[order][1:] == values[order][:-1]
    every, later = np.zeros(len(values), dtype=np.bool_), np.zeros(len(values), dtype=np.bool_)
    every[order[1:][same]] = every[order[:-1][same]] = later[order[1:][same]] = True
    return every, later


DENSE = 16  # times as many numbers as ids between the first and the last: COCO's image ids take up 5


def positions(values: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first place of each value in ``known``, in any order; −1 where it is absent."""
    if not len(known):
        return np.full(len(values), -1, dtype=np.int64)
    first, last = int(known.min()), int(known.max())
    if last - first < DENSE * len(known) + (1 << 16):  # ids mostly are: looked up in a table, ten times as fast
        table = np.full(last - first + 2, -1, dtype=np.int64)
        table[known[::-1] - first] = np.arange(len(known))[::-1]  # of equal ids the first stays
        if len(values) and values.min() >= first and values.max() <= last:
            return table[values - first]
        inside = (values >= first) & (values <= last)
        return table[np.where(inside, values - first, last - first + 1)]
    order = np.argsort(known, kind="stable")
    place = np.minimum(np.searchsorted(known[order], values), len(known) - 1)
    return np.where(known[order][place] == values, order[place], -1)
