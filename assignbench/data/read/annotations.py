"""Annotations between a reader and the checks: columns as the file states them, then arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

EXAMPLES = 3  # annotations, ids or files named in a message; the rest is counted


@dataclass(frozen=True, eq=False)
class Annotations:
    """Annotations as a file states them, one entry per object; types are checked, nothing else."""

    ids: NDArray[np.int64]  # [object]
    image_ids: NDArray[np.int64]  # [object]
    category_ids: NDArray[np.int64]  # [object]
    boxes: NDArray[np.float64]  # [object, 4] x0 y0 x1 y1
    areas: NDArray[np.float64]  # [object] NaN: not stated
    crowd: NDArray[np.int8]  # [object] −1: not stated
    flags: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)  # name → [object], see `Dataset.flags`

    @classmethod
    def of(
        cls,
        ids: Sequence[int],
        image_ids: Sequence[int],
        category_ids: Sequence[int],
        boxes: Sequence[Sequence[float]],
        crowd: Sequence[int],
        flags: Mapping[str, Sequence[int]] | None = None,
    ) -> Annotations:
        """From lists; the area of an object is that of its box, and −1 for crowd says that it is not stated."""
        corners = np.array(boxes, dtype=np.float64).reshape(-1, 4)
        with np.errstate(over="ignore", invalid="ignore"):  # of a box that `build` refuses
            areas = areas_of(corners)
        return cls(
            ids=np.array(ids, dtype=np.int64),
            image_ids=np.array(image_ids, dtype=np.int64),
            category_ids=np.array(category_ids, dtype=np.int64),
            boxes=corners,
            areas=areas,
            crowd=np.array(crowd, dtype=np.int8),
            flags={name: np.array(values, dtype=np.int64) for name, values in (flags or {}).items()},
        )

    def take(self, chosen: NDArray[np.bool_]) -> Annotations:
        """The chosen ones."""
        return Annotations(**{name: array[chosen] for name, array in _columns(self)}, flags=_each(self.flags, chosen))

    def named(self, entry: int) -> str:
        """An annotation as messages call it."""
        return f"annotation {self.ids[entry]} of image {self.image_ids[entry]}"

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class Objects:
    """The flat arrays of a `Dataset`; in file order until they are taken."""

    ids: NDArray[np.int64]
    image: NDArray[np.int64]
    labels: NDArray[np.int64]
    boxes: NDArray[np.float64]
    area: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    flags: Mapping[str, NDArray[np.int64]]

    def take(self, order: NDArray[np.int64]) -> Objects:
        """The objects at ``order``, read-only from here on."""
        return taken(self.columns(), order)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Every array by its name, flags as ``flags.NAME``."""
        return {**dict(_columns(self)), **{f"flags.{name}": array for name, array in self.flags.items()}}

    def arrays(self) -> list[NDArray[Any]]:
        """Every array, the flags in the order of their names."""
        return [*(array for _, array in _columns(self)), *(array for _, array in sorted(self.flags.items()))]


def taken(columns: dict[str, NDArray[Any]], order: NDArray[np.int64] | slice) -> Objects:
    """The objects at ``order``, read-only; ``columns``, as `Objects.columns` gives them, is emptied on the way.

    Who keeps nothing else of millions of objects has one column twice in memory, and not all of them.
    """
    found: dict[str, NDArray[Any]] = {}
    while columns:
        name, column = columns.popitem()
        found[name] = column[order]
        found[name].setflags(write=False)
        del column
    flags = {name.removeprefix("flags."): found.pop(name) for name in sorted(found) if name.startswith("flags.")}
    return Objects(**found, flags=flags)


def areas_of(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """``[object, 4] → [object]`` pixels²."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _columns(table: Annotations | Objects) -> list[tuple[str, NDArray[Any]]]:
    return [(name, array) for name, array in vars(table).items() if name != "flags"]


def _each(flags: Mapping[str, NDArray[np.int64]], chosen: NDArray[np.int64] | NDArray[np.bool_]) -> dict[str, NDArray]:
    return {name: values[chosen] for name, values in flags.items()}
