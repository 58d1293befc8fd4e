"""Every picture file is opened and decoded as training would; what is odd about it is noted, not raised."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PIL import ExifTags, Image

from assignbench.data.images import ImageInfo
from assignbench.data.pictures import SUFFIXES, read_picture
from assignbench.errors import DataError

TURNED = (5, 6, 7, 8)  # EXIF orientations that exchange width and height

_TOGETHER = 64  # pictures that a thread takes at a time


@dataclass(frozen=True)
class Look:
    """What a look at one file showed."""

    problem: str = ""  # "missing", "unreadable" or "damaged"
    message: str = ""  # why, in words
    size: tuple[int, int] = (0, 0)  # width, height of the stored pixels
    orientation: int = 1  # of EXIF; 1: as stored
    format: str = ""  # of the content: "JPEG"
    digest: bytes = b""  # of the decoded pixels; empty: not decoded


def look_at_all(
    paths: Sequence[str], *, quick: bool, threads: int, watch: Callable[[int], None] = lambda _: None
) -> dict[str, Look]:
    """Look at files; decoding is Pillow's and leaves Python's lock free, so threads suffice.

    Args:
        paths: each is looked at once.
        quick: headers only.
        threads: how many work at once, ≥ 1.
        watch: called with the number of pictures done.
    """
    distinct = list(dict.fromkeys(paths))
    groups = [distinct[start : start + _TOGETHER] for start in range(0, len(distinct), _TOGETHER)]
    found: dict[str, Look] = {}
    with warnings.catch_warnings(), ThreadPoolExecutor(threads) as pool:
        warnings.simplefilter("ignore")  # Pillow's, of large pictures and damaged tags
        try:
            for group, looks in zip(groups, pool.map(partial(_look_at_some, quick=quick), groups), strict=True):
                found.update(zip(group, looks, strict=True))
                watch(len(found))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return found


def suffix_fits(path: str, format_: str) -> bool:
    """Whether a file's suffix is one of its content's format; formats that Pillow gives no suffix fit any."""
    suffix = os.path.splitext(path)[1].lower()  # noqa: PTH122  # a million of them
    known = Image.registered_extensions()
    own = {text for text, name in known.items() if name == format_}
    return not own or suffix in own or (format_ == "MPO" and suffix in (".jpg", ".jpeg"))


def suffix_of(path: str, format_: str) -> str:
    """The path with a suffix of its content's format."""
    if suffix_fits(path, format_):
        return path
    usual = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "TIFF": ".tif", "GIF": ".gif", "BMP": ".bmp"}
    own = (text for text, name in Image.registered_extensions().items() if name == format_ and text in SUFFIXES)
    suffix = usual.get(format_) or next(own, None)
    return path if suffix is None else str(Path(path).with_suffix(suffix))


def _look_at_some(paths: Sequence[str], *, quick: bool) -> list[Look]:
    return [_look(path, quick=quick) for path in paths]


def _look(path: str, *, quick: bool) -> Look:
    if not Path(path).is_file():
        return Look("missing", "no such file")
    try:
        with Image.open(path) as picture:
            size, format_ = picture.size, picture.format or ""
            orientation = _orientation(picture)
    except MemoryError:
        raise
    except Exception as error:  # half a dozen unrelated types
        return Look("unreadable", str(error).replace(f" {path!r}", ""))
    look = Look(size=size, orientation=orientation, format=format_)
    if quick:
        return look
    try:
        pixels = read_picture(ImageInfo(0, Path(path), *size))
    except DataError as error:
        return Look("damaged", str(error.__cause__ or error), size, orientation, format_)
    digest = hashlib.blake2b(f"{pixels.shape}".encode(), digest_size=16)
    digest.update(pixels.data)
    return Look(size=size, orientation=orientation, format=format_, digest=digest.digest())


def _orientation(picture: Image.Image) -> int:
    """Damaged tags turn nothing, as viewers have it."""
    try:
        value = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # as above
        return 1
    return value if value in range(1, 9) else 1
