"""One list of pictures, divided into what is taught and what is scored, by nothing but the pictures' names."""

from __future__ import annotations

import hashlib
import posixpath
import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from assignbench.errors import DataError

_COPY = re.compile(r"\.rf\.[^/]*$")  # Roboflow's augmented copies: cat_jpg.rf.HASH.jpg


def taught(names: Sequence[str], share: float) -> NDArray[np.bool_]:
    """Which pictures are taught; the others are scored.

    Pictures are ordered by a hash of their names, and the first of them are taught. Augmented copies of one picture
    stay together, so the number that is taught is the nearest to ``share`` that this allows, and at least one picture
    is on either side. The order of the names, the folder that all of them share, capitals, and how a system spells
    slashes and accents make no difference.

    Args:
        names: paths of the pictures, one for each.
        share: of the pictures, between 0 and 1.

    Returns:
        ``[picture]``

    Raises:
        DataError: there is nothing to divide.
    """
    hashes = [hashlib.sha256(one.encode("utf-8", "surrogateescape")).hexdigest() for one in _sources(names)]
    _, group, sizes = np.unique(np.array(hashes, dtype="S64"), return_inverse=True, return_counts=True)  # in order
    if len(sizes) < 2:
        what = f"{len(names)} copies of one picture" if len(names) > 1 else "fewer than two pictures"
        raise DataError(f"{what} cannot be divided into training and evaluation; state both lists")
    reached = np.cumsum(sizes)[:-1]  # the last group is never taught
    last = np.argmin(np.abs(reached - round(len(names) * share)))
    return group.reshape(-1) <= last


def _sources(names: Sequence[str]) -> list[str]:
    """What each picture is a copy of, below the folder that all of them share."""
    spelt = [unicodedata.normalize("NFC", posixpath.normpath(name.replace("\\", "/"))).casefold() for name in names]
    folders = [name.split("/")[:-1] for name in spelt]
    low, high = min(folders, default=[]), max(folders, default=[])
    shared = next((at for at, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))
    return [_COPY.sub("", "/".join(name.split("/")[shared:])) for name in spelt]
