"""What `check` says of one split: what its reading showed, its entries, its pictures, its boxes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from assignbench.data.check.looks import TURNED, Look, brightest_of, suffix_fits
from assignbench.data.pictures import dim
from assignbench.data.read import findings as kinds
from assignbench.data.read.findings import Finding, Kind
from assignbench.data.read.raw import RawSplit, said
from assignbench.data.read.rules import boxes, refusals, remarks, repairs


def split_findings(raw: RawSplit, looks: Mapping[str, Look]) -> list[Finding]:
    """Everything about one split, what its reading showed first; empty kinds are left out.

    Args:
        raw: the split.
        looks: path → what a look at it showed; empty: nobody looked.
    """
    if not raw.readable:
        return list(raw.findings)
    sizes = known_sizes(raw, looks)
    unstated = (raw.images.sizes[:, 0] == 0) & (sizes[:, 0] > 0)
    found = [*raw.findings, raw.finding(kinds.SIZE_MISSING, "images", unstated)]
    found += [*refusals(raw), *repairs(raw), *remarks(raw)]
    if looks:
        found += _pictures(raw, looks)
    found += boxes(raw, sizes, True)
    return [finding for finding in found if finding.count]


def known_sizes(raw: RawSplit, looks: Mapping[str, Look]) -> NDArray[np.int64]:
    """``[image, 2]`` sizes as stated, else of the stored picture, else 0."""
    sizes = raw.images.sizes.copy()
    for place in np.flatnonzero(sizes[:, 0] == 0).tolist():
        look = looks.get(str(raw.images[place].path))
        if look is not None:
            sizes[place] = _size(raw, look)
    return sizes


def _size(raw: RawSplit, look: Look) -> tuple[int, int]:
    """Width and height of the grid that boxes refer to."""
    width, height = look.size
    return (height, width) if raw.images.stored.upright and look.orientation in TURNED else (width, height)


def _pictures(raw: RawSplit, looks: Mapping[str, Look]) -> Iterator[Finding]:
    found: dict[Kind, list[tuple[int, str]]] = {}
    first: dict[bytes, str] = {}
    as_stored = False
    for place, (path, stated) in enumerate(zip(raw.images.paths(), raw.images.sizes.tolist(), strict=True)):
        look = looks[path]
        for kind, detail in _remarks(raw, path, (stated[0], stated[1]), look):
            found.setdefault(kind, []).append((place, detail))
        as_stored |= look.orientation in TURNED and (stated[0], stated[1]) == look.size != look.size[::-1]
        if look.digest and first.setdefault(look.digest, path) != path:
            found.setdefault(kinds.PICTURE_COPY, []).append((place, f"as {first[look.digest]}"))
    shown = found.get(kinds.PICTURE_TURNED, [])
    if shown and not as_stored:  # a tool does it with all pictures, also with those whose size cannot show it
        habit = f"like {len(shown)} whose size shows it"
        shown += [(place, f"{detail}, {habit}") for place, detail in found.pop(kinds.PICTURE_ROTATED, [])]
    if (text := dim(brightest_of(looks[path] for path in raw.images.paths()))) is not None:
        yield said(kinds.PICTURES_DIM, raw.part, [text])
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
    turned, size = look.orientation in TURNED, _size(raw, look)
    if stated[0] and size[0] and stated != size:
        if turned and stated == look.size[::-1]:
            yield kinds.PICTURE_TURNED, f"EXIF orientation {look.orientation}, stored as {_by(look.size)}"
        else:
            yield kinds.PICTURE_SIZE, f"{_by(size)}, its annotation says {_by(stated)}"
    elif look.orientation != 1 and raw.images.stored.assumed:
        yield kinds.PICTURE_ROTATED, f"EXIF orientation {look.orientation}"


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"
