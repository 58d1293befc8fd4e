"""Ids that a file writes as text (``"0001"``, a UUID) become numbers; the same text is the same number everywhere.

While the file is read, a text stands in the arrays of ids as a provisional number, far below every number that a
file may state itself; when all is read, `TextIds.settle` puts the final numbers in.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_LOWEST = -(2**63)
SMALLEST = _LOWEST + (1 << 40)  # the smallest number that a file may state
LARGEST = 2**63 - 1
_WHOLE = re.compile(r"-?[0-9]{1,19}")


@dataclass(frozen=True)
class Settled:
    """What the ids that are text have become."""

    spelt: bool  # every text spells its number
    columns: list[tuple[NDArray[np.int64], tuple[str, ...]]]  # places of texts, and for each "'0001' is 1"
    strange: dict[int, str]  # number → the text that it stands for, of those that nobody has


@dataclass(frozen=True)
class TextIds:
    """The ids of one kind (of pictures, of categories, of annotations) that are text."""

    texts: dict[str, int] = field(default_factory=dict)  # text → its place among them

    def provisional(self, text: str) -> int:
        """What stands for a text in an array of ids until `settle`."""
        return _LOWEST + self.texts.setdefault(text, len(self.texts))

    def settle(self, *columns: NDArray[np.int64]) -> Settled:
        """Replace what is provisional, in place.

        Args:
            columns: ``[item]`` all ids of this kind: of those who have it, and of those who refer to it.
        """
        places = [np.flatnonzero(column < SMALLEST) for column in columns]
        which = [column[rows] - _LOWEST for column, rows in zip(columns, places, strict=True)]
        numbers = np.zeros(0, dtype=np.int64)
        spelt = True
        if self.texts:
            masked = (np.delete(column, rows) for column, rows in zip(columns, places, strict=True))
            found, spelt = numbers_of(list(self.texts), np.unique(np.concatenate(list(masked))))
            numbers = np.array(found, dtype=np.int64)
            for column, rows, texts in zip(columns, places, which, strict=True):
                column[rows] = numbers[texts]
        said = [f"{text!r:.40} is {number}" for text, number in zip(self.texts, numbers.tolist(), strict=True)]
        details = [tuple(said[text] for text in texts.tolist()) for texts in which]
        nobodys = ~np.isin(numbers, columns[0])
        strange = {number: text for text, number, no in zip(self.texts, numbers.tolist(), nobodys, strict=True) if no}
        return Settled(spelt, list(zip(places, details, strict=True)), strange)


def numbers_of(texts: Sequence[str], stated: NDArray[np.int64]) -> tuple[list[int], bool]:
    """A number for each text, and whether it is the one that the text spells.

    Args:
        texts: all different.
        stated: the numbers in use beside them, ascending.

    Returns:
        The numbers that the texts spell, ``"0001"`` being 1; if one of them spells none, or two spell the same:
        the first free numbers from 1, in the sorted order of the texts.
    """
    if all(map(_WHOLE.fullmatch, texts)):
        spelt = [int(text) for text in texts]
        if len(set(spelt)) == len(spelt) and SMALLEST <= min(spelt, default=0) <= max(spelt, default=0) <= LARGEST:
            return spelt, True
    candidates = np.arange(1, len(texts) + len(stated) + 1)
    free = candidates[~np.isin(candidates, stated)][: len(texts)].tolist()
    number = dict(zip(sorted(texts), free, strict=True))
    return [number[text] for text in texts], False
