"""Which pictures are shown, with what on them: everything that the files state, the odd parts marked."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from assignbench.data.check.rules import split_findings
from assignbench.data.images import ImageInfo
from assignbench.data.pictures import picture_size, read_picture
from assignbench.data.read.findings import Severity
from assignbench.data.read.raw import RawSplit, positions
from assignbench.data.show.draw import Shown, draw_picture
from assignbench.errors import DataError
from assignbench.files import written
from assignbench.overwriting import is_png_of, png_mark, refuse_strangers

COMMAND = "data show"
_SMALL = 320  # pixels; a picture whose longer side is shorter is enlarged, else names would cover it
_MOST_TIMES = 8

Resize = Callable[[int, int], tuple[int, int]]  # width, height → height, width


@dataclass(frozen=True, eq=False)
class Gallery:
    """A split, ready to be shown."""

    raw: RawSplit
    classes: tuple[str, ...]  # decide the colours
    names: dict[int, str]  # category id → class
    odd: dict[int, tuple[str, ...]]  # annotation, by its place → what is odd about it
    order: np.ndarray  # annotations sorted by image
    owners: np.ndarray  # place of the image of each of those; −1: none


def gallery(raw: RawSplit, classes: Sequence[str]) -> Gallery:
    """Look at the annotations once."""
    odd: dict[int, tuple[str, ...]] = {}
    for finding in split_findings(raw, {}):
        if finding.table == "annotations" and finding.kind.severity is not Severity.NOTE:
            for place in finding.places.tolist():
                odd[place] = (*odd.get(place, ()), finding.kind.name)
    owners = raw.owners
    order = np.argsort(owners, kind="stable")
    names = {**raw.strange, **dict(raw.categories)}
    return Gallery(raw, tuple(classes), names, odd, order, owners[order])


def choose(raw: RawSplit, count: int, seed: int) -> list[int]:
    """Some images, the same for the same seed, in file order."""
    order = np.random.default_rng(seed).permutation(len(raw.images))
    return sorted(order[:count].tolist())


def find(raw: RawSplit, ids: Sequence[int]) -> list[int]:
    """Images by id; those that the split does not have are left out."""
    places = positions(np.array(ids, dtype=np.int64), raw.images.ids)
    return [place for place in places.tolist() if place >= 0]


def picture_of(shown: Gallery, place: int, resize: Resize | None = None) -> Image.Image:
    """One picture with its objects.

    Args:
        shown: the split.
        place: of the image.
        resize: to network pixels; None: as it is stored, a small one in larger pixels.

    Raises:
        DataError: the picture cannot be read.
    """
    raw = shown.raw
    path = raw.images[place].path
    number, stated = int(raw.images.ids[place]), raw.images.sizes[place].tolist()
    stored = picture_size(path, raw.images.stored)
    pixels = Image.fromarray(read_picture(ImageInfo(number, path, *stored, raw.images.stored)))
    if resize is not None:
        height, width = resize(*stored)
        pixels = pixels.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=None)
    times = min(_MOST_TIMES, math.ceil(_SMALL / max(pixels.size)))
    title = f"{raw.part}, image {number}, {path.name}, {stored[0]} x {stored[1]}"
    if resize is not None:
        title += f" resized to {pixels.width} x {pixels.height}"
    if times > 1:
        title += f", shown x {times}"
        pixels = pixels.resize((times * pixels.width, times * pixels.height), Image.Resampling.NEAREST)
    scale = (pixels.width / stored[0], pixels.height / stored[1])
    first, last = np.searchsorted(shown.owners, (place, place + 1))
    objects = [_object(shown, int(one), scale) for one in shown.order[first:last]]
    if stated[0] and tuple(stated) != stored:
        title += f", BUT STATED AS {stated[0]} x {stated[1]}"
    return draw_picture(pixels, objects, title)


def _object(shown: Gallery, place: int, scale: tuple[float, float]) -> Shown:
    annotations = shown.raw.annotations
    category = int(annotations.category_ids[place])
    name = shown.names.get(category, f"category {category}")
    x0, y0, x1, y1 = (annotations.boxes[place] * (*scale, *scale)).tolist()
    odd = shown.odd.get(place, ())
    return Shown(
        number=int(annotations.ids[place]),
        name=name,
        colour=shown.classes.index(name) if name in shown.classes else None,
        box=(x0, y0, x1, y1) if all(map(math.isfinite, (x0, y0, x1, y1))) else None,
        crowd=bool(annotations.crowd[place] > 0),
        odd=odd,
    )


def file_name(shown: Gallery, place: int) -> str:
    """``train_7_a.png``."""
    stem = re.sub(r"[^\w.-]+", "_", shown.raw.images[place].path.stem, flags=re.ASCII)[:80]
    return f"{shown.raw.part}_{shown.raw.images.ids[place]}_{stem}.png"


def save_picture(picture: Image.Image, file: Path) -> None:
    """Write a PNG, whole or not at all, over nothing but what was written here.

    Raises:
        UsageError: another file is there.
        SystemProblem: the disk is full or read-only.
    """
    refuse_strangers(file, lambda found: is_png_of(found, COMMAND), COMMAND, "folder")
    with written(file) as temporary:
        picture.save(temporary, format="PNG", pnginfo=png_mark(COMMAND))


def refuse_unknown(ids: Sequence[int], splits: Sequence[RawSplit]) -> None:
    """Ids that no shown split has.

    Raises:
        DataError: naming the first.
    """
    known = np.concatenate([raw.images.ids for raw in splits])
    if absent := [number for number in ids if number not in known]:
        raise DataError(f"{splits[0].source}: there is no image {absent[0]}; check --images and --split")
