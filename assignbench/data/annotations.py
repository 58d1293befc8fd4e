"""Annotations between a reader and the checks: lists as the file states them, then arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from assignbench.data.dataset import Repair

EXAMPLES = 3  # annotations, ids or files named in a message; the rest is counted


@dataclass
class Annotations:
    """Annotations as a file states them, one entry per object; types are checked, nothing else."""

    ids: list[int] = field(default_factory=list)
    image_ids: list[int] = field(default_factory=list)
    category_ids: list[int] = field(default_factory=list)
    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)  # x0 y0 x1 y1
    areas: list[float | None] = field(default_factory=list)  # None: not stated
    crowd: list[bool | None] = field(default_factory=list)  # None: not stated

    def named(self, entry: int) -> str:
        """An annotation as messages call it."""
        return f"annotation {self.ids[entry]} of image {self.image_ids[entry]}"


@dataclass(frozen=True, eq=False)
class Objects:
    """The flat arrays of a `Dataset`; in file order until they are taken."""

    ids: NDArray[np.int64]
    image: NDArray[np.int64]
    labels: NDArray[np.int64]
    boxes: NDArray[np.float64]
    area: NDArray[np.float64]
    crowd: NDArray[np.bool_]

    def take(self, order: NDArray[np.int64]) -> Objects:
        """The objects at ``order``, read-only from here on."""
        taken = {column.name: getattr(self, column.name)[order] for column in fields(self)}
        for array in taken.values():
            array.setflags(write=False)
        return Objects(**taken)


@dataclass(frozen=True)
class Ledger:
    """Every repair is written down here, with the ids of its first annotations."""

    annotations: Annotations
    files: Sequence[str]  # of each annotation's picture
    repairs: list[Repair] = field(default_factory=list)

    def count(self, kind: str, marked: NDArray[np.bool_]) -> None:
        """Write down the marked annotations, if any."""
        hits = np.flatnonzero(marked)
        if len(hits):
            examples = (f"{self.annotations.named(hit)} ({self.files[hit]})" for hit in hits[:EXAMPLES])
            self.repairs.append(Repair(kind, len(hits), tuple(examples)))
