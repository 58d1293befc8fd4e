"""A split as its files state it, before anything is refused or put right: what `check` looks at and `fix` changes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from assignbench.data.read.annotations import Annotations
from assignbench.data.read.findings import Finding, Kind


@dataclass(frozen=True, eq=False)
class RawImages:
    """Image entries in file order."""

    ids: NDArray[np.int64]  # [image]
    sizes: NDArray[np.int64]  # [image, 2] width, height as stated; 0: not stated
    paths: Sequence[str]  # [image]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class RawSplit:
    """One split; ids may repeat, point nowhere, and so on."""

    part: str  # "train" or "evaluation"
    source: Path  # file that messages name
    categories: Sequence[tuple[int, str]]  # in file order
    images: RawImages
    annotations: Annotations  # in file order
    own_ids: bool = False  # the file states ids; otherwise they count pictures and objects from 1
    upright: bool = False  # boxes refer to the picture as it is shown, EXIF rotation applied
    classes: Sequence[str] | None = None  # what the specification demands
    strange: dict[int, str] = field(default_factory=dict)  # category id → a name that is not among the categories
    folders: Sequence[Path] = ()  # where files without an entry would be found
    readable: bool = True  # False: everything else is empty
    findings: Sequence[Finding] = ()  # what reading alone showed

    def finding(self, kind: Kind, table: Any, marked: NDArray[Any], details: Sequence[str] = ()) -> Finding:
        """From a mask or places."""
        places = np.flatnonzero(marked) if marked.dtype == np.bool_ else marked
        return Finding(kind, self.part, table, places.astype(np.int64), tuple(details))


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
        if self.annotation is not None:
            text = f"annotation {self.annotation} of image {self.image}"
        elif self.image is not None:
            text = f"image {self.image} ({Path(self.file or '').name})"
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
    names: dict[int, str] = {}
    if finding.table == "annotations":
        names = dict(zip(raw.images.ids.tolist(), raw.images.paths, strict=True))
    for rank, at in enumerate(finding.places[:most].tolist()):
        place = int(at)
        detail = finding.details[rank] if finding.details else None
        if finding.table == "images":
            yield Item(image=int(raw.images.ids[place]), file=raw.images.paths[place], detail=detail)
        elif finding.table == "categories":
            yield Item(category=raw.categories[place][0], detail=detail or raw.categories[place][1])
        else:
            image = int(raw.annotations.image_ids[place])
            yield Item(image, int(raw.annotations.ids[place]), None, names.get(image), detail)


def repeated(values: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which values occur more than once, and which of those are not the first of their kind."""
    order = np.argsort(values, kind="stable")
    same = values[order][1:] == values[order][:-1]
    every, later = np.zeros(len(values), dtype=np.bool_), np.zeros(len(values), dtype=np.bool_)
    every[order[1:][same]] = every[order[:-1][same]] = later[order[1:][same]] = True
    return every, later


def positions(values: NDArray[np.int64], known: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first place of each value in ``known``, in any order; −1 where it is absent."""
    if not len(known):
        return np.full(len(values), -1, dtype=np.int64)
    order = np.argsort(known, kind="stable")
    place = np.minimum(np.searchsorted(known[order], values), len(known) - 1)
    return np.where(known[order][place] == values, order[place], -1)
