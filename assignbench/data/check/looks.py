"""Every picture file is opened and decoded as training would; what is odd about it is noted, not raised."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from PIL import Image

from assignbench.data.damage import ends_early, what_is_wrong
from assignbench.data.folders import SUFFIXES
from assignbench.data.images import ImageInfo, Stored
from assignbench.data.pictures import TURNED, decoded, orientation, refuse_endless, refuse_huge
from assignbench.errors import DataError

__all__ = ["TURNED", "Look", "brightest_of", "look_at_all", "suffix_fits", "suffix_of"]

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
    brightest: int | None = None  # value of a picture of 16 bits whose range is not stated; see `pictures.dim`


def look_at_all(
    paths: Sequence[str],
    *,
    quick: bool,
    threads: int,
    watch: Callable[[int], None] = lambda _: None,
    bits: int | None = None,
) -> dict[str, Look]:
    """Look at files; decoding is Pillow's and leaves Python's lock free, so threads suffice.

    Args:
        paths: each is looked at once.
        quick: headers only.
        threads: how many work at once, ≥ 1.
        watch: called with the number of pictures done.
        bits: of grey values, see `Stored`.
    """
    distinct = list(dict.fromkeys(paths))
    groups = [distinct[start : start + _TOGETHER] for start in range(0, len(distinct), _TOGETHER)]
    found: dict[str, Look] = {}
    look = partial(_look_at_some, quick=quick, stored=Stored(bits=bits))
    with warnings.catch_warnings(), ThreadPoolExecutor(threads) as pool:
        warnings.simplefilter("ignore")  # Pillow's, of large pictures and damaged tags
        try:
            for group, looks in zip(groups, pool.map(look, groups), strict=True):
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


def brightest_of(looks: Iterable[Look]) -> int | None:
    """Over a whole split; None: no picture of 16 bits whose range is not stated."""
    return max((look.brightest for look in looks if look.brightest is not None), default=None)


def _look_at_some(paths: Sequence[str], *, quick: bool, stored: Stored) -> list[Look]:
    return [_look(path, quick=quick, stored=stored) for path in paths]


def _look(path: str, *, quick: bool, stored: Stored) -> Look:
    if not Path(path).is_file():
        return Look("missing", "it is a folder" if Path(path).is_dir() else "no such file")
    try:
        with Path(path).open("rb") as stream, Image.open(stream) as picture:
            refuse_huge(picture)
            size, format_ = picture.size, picture.format or ""
            turned, early = orientation(picture), ends_early(stream, format_, picture)
    except MemoryError:
        raise
    except DataError as error:
        return Look("unreadable", str(error))
    except Exception:  # half a dozen unrelated types
        return Look("unreadable", what_is_wrong(Path(path)))
    look = Look(size=size, orientation=turned, format=format_)
    if quick:
        return look
    try:
        image = ImageInfo(0, Path(path), *size, stored)
        pixels, brightest = decoded(image)
        if early:
            refuse_endless(image, Path(path).read_bytes())
    except DataError as error:
        return replace(look, problem="damaged", message=str(error).partition(" cannot be decoded: ")[2] or str(error))
    digest = hashlib.blake2b(f"{pixels.shape}".encode(), digest_size=16)
    digest.update(pixels.data)
    return replace(look, digest=digest.digest(), brightest=brightest)
