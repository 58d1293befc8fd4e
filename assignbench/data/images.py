"""The pictures of a split, by reference; nothing is decoded here.

Two million Python objects would fill the memory of every process that loads pictures, so a split keeps its
pictures as flat arrays and makes an `ImageInfo` when it is asked for one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Stored:
    """How the files of a split hold their pictures; the same for all of them."""

    upright: bool = False  # boxes refer to the picture as it is shown: EXIF's orientation is applied (YOLO)
    bits: int | None = None  # of a grey value in 16-bit pictures, 8 … 16: 12 means 0 … 4095; None: not stated, 16
    stated: bool = False  # the data set's file says `upright`; otherwise the usage of its format is assumed

    @property
    def assumed(self) -> bool:
        """Whether EXIF's orientation is not applied, though nobody has said so."""
        return not self.upright and not self.stated


AS_STORED = Stored()  # COCO and VOC: boxes refer to the stored grid


@dataclass(frozen=True)
class ImageInfo:
    """One picture, as its annotation describes it; nothing has been decoded yet."""

    id: int  # the original id (COCO), or the running number from 1 (VOC)
    path: Path
    width: int  # pixels of the grid that boxes refer to, see `Stored.upright`
    height: int
    stored: Stored = AS_STORED


@dataclass(frozen=True, eq=False)
class Images(Sequence[ImageInfo]):
    """Pictures as flat arrays; read-only, and a sequence of `ImageInfo` to whoever reads it."""

    folder: Path  # what the names are relative to
    ids: NDArray[np.int64]  # [image]
    sizes: NDArray[np.int64]  # [image, 2] width, height of the grid that boxes refer to
    text: NDArray[np.uint8]  # [byte] the names in UTF-8, one after the other
    ends: NDArray[np.int64]  # [image] where each name ends in the text
    stored: Stored = AS_STORED

    @classmethod
    def of(cls, infos: Iterable[ImageInfo]) -> Images:
        """The same pictures in this form.

        Raises:
            ValueError: they are stored in more than one way.
        """
        infos = list(infos)
        rows = [(info.id, info.path.as_posix(), info.width, info.height) for info in infos]
        sizes = np.array([row[2:] for row in rows], dtype=np.int64).reshape(-1, 2)
        ids = np.array([row[0] for row in rows], dtype=np.int64)
        (stored,) = {info.stored for info in infos} or {AS_STORED}
        return cls.named(Path(), ids, sizes, [row[1] for row in rows], stored)

    @classmethod
    def named(
        cls,
        folder: Path,
        ids: NDArray[np.int64],
        sizes: NDArray[np.int64],
        names: Sequence[str],
        stored: Stored = AS_STORED,
    ) -> Images:
        """From columns; names are relative to ``folder``, with slashes."""
        text = "".join(names).encode("utf-8", "surrogateescape")  # as Python spells odd file names
        each = names if text.isascii() else [name.encode("utf-8", "surrogateescape") for name in names]
        ends = np.cumsum(np.fromiter(map(len, each), dtype=np.int64, count=len(each)), dtype=np.int64)
        return cls(folder, ids, sizes, np.frombuffer(text, dtype=np.uint8), ends, stored)

    def take(self, chosen: NDArray[np.int64] | NDArray[np.bool_]) -> Images:
        """The pictures at ``chosen``, in that order."""
        order = np.arange(len(self))[chosen]
        names = [self.name(index) for index in order]
        return Images.named(self.folder, self.ids[order], self.sizes[order], names, self.stored)

    def name(self, index: int) -> str:
        """Path relative to the folder, with slashes."""
        first = int(self.ends[index - 1]) if index else 0
        return self.text[first : int(self.ends[index])].tobytes().decode("utf-8", "surrogateescape")

    def names(self) -> Iterator[str]:
        """All of `name`."""
        text, first = self.text.tobytes(), 0
        if text.isascii():  # as most are: decoded once, and not a million times
            letters = text.decode("ascii")
            for end in self.ends.tolist():
                yield letters[first:end]
                first = end
            return
        for end in self.ends.tolist():
            yield text[first:end].decode("utf-8", "surrogateescape")
            first = end

    def paths(self) -> list[str]:
        """Where each picture is."""
        folder = str(self.folder)
        return [name if folder == "." else os.path.join(folder, name) for name in self.names()]  # noqa: PTH118  # millions

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> ImageInfo: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[ImageInfo, ...]: ...
    def __getitem__(self, index: int | slice) -> ImageInfo | tuple[ImageInfo, ...]:
        if isinstance(index, slice):
            return tuple(self[one] for one in range(*index.indices(len(self))))
        at = range(len(self))[index]  # negative ones count from the end; beyond either end is an IndexError
        width, height = self.sizes[at].tolist()
        path = Path(os.path.join(self.folder, self.name(at)))  # noqa: PTH118  # half the time of folder / name
        return ImageInfo(int(self.ids[at]), path, width, height, self.stored)
