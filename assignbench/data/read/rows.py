"""Pictures and objects as a reader finds them, one after the other, of formats that have no ids: they count from 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from assignbench.data.images import ImageInfo, Images
from assignbench.data.read.annotations import Annotations
from assignbench.data.read.findings import Finding, Kind
from assignbench.data.read.raw import RawSplit, said

Box = tuple[float, float, float, float]  # x0 y0 x1 y1 in pixels


@dataclass(frozen=True)
class Object:
    """One object of a picture."""

    name: str  # of its class
    box: Box
    crowd: bool | None = False  # None: not stated
    flags: tuple[int, ...] = ()


@dataclass(eq=False)
class Rows:
    """What was read of a split so far."""

    part: str
    source: Path  # file that messages name
    images: list[ImageInfo] = field(default_factory=list)
    objects: list[tuple[int, Object]] = field(default_factory=list)  # number of the picture
    remarks: dict[tuple[Kind, str], list[tuple[int, str]]] = field(default_factory=dict)  # kind, table → place, text

    def picture(self, path: Path, size: tuple[int, int]) -> None:
        """One more picture; size 0: neither stated nor to be had from the file."""
        self.images.append(ImageInfo(len(self.images) + 1, path, *size))

    def object(self, found: Object) -> None:
        """One more object of the last picture."""
        self.objects.append((len(self.images), found))

    def say(self, kind: Kind, *texts: str) -> None:
        """About what was set aside: no picture and no object that stays."""
        self.remarks.setdefault((kind, "nothing"), []).extend((-1, text) for text in texts)

    def say_of_picture(self, kind: Kind, text: str) -> None:
        """About the last picture."""
        self.remarks.setdefault((kind, "images"), []).append((len(self.images) - 1, text))

    def say_of_object(self, kind: Kind, text: str) -> None:
        """About the last object."""
        self.remarks.setdefault((kind, "annotations"), []).append((len(self.objects) - 1, text))

    def split(self, categories: Sequence[tuple[int, str]], flags: Sequence[str] = (), **fields: Any) -> RawSplit:
        """All of it; ``flags`` names those of the objects, ``fields`` are further ones of `RawSplit`."""
        found = [one for _, one in self.objects]
        numbers = {name: number for number, name in categories}
        free = max(numbers.values(), default=0) + 1
        names = dict.fromkeys(one.name for one in found if one.name not in numbers)
        strange = dict(enumerate(names, start=free))
        numbers |= {name: number for number, name in strange.items()}
        crowd = [-1 if one.crowd is None else int(one.crowd) for one in found]
        annotations = Annotations.of(
            range(1, len(found) + 1),
            [owner for owner, _ in self.objects],
            [numbers[one.name] for one in found],
            [one.box for one in found],
            crowd,
            {key: [one.flags[column] for one in found] for column, key in enumerate(flags)},
        )
        return RawSplit(
            part=self.part,
            source=self.source,
            categories=categories,
            images=Images.of(self.images),
            annotations=annotations,
            strange=strange,
            findings=[self._finding(kind, table, rows) for (kind, table), rows in self.remarks.items()],
            **fields,
        )

    def _finding(self, kind: Kind, table: Any, rows: Sequence[tuple[int, str]]) -> Finding:
        texts = [text for _, text in rows]
        if table == "nothing":
            return said(kind, self.part, texts)
        return Finding(kind, self.part, table, np.array([place for place, _ in rows], dtype=np.int64), tuple(texts))
