"""Picture files to pixels: every odd file becomes correct RGB or an error that names it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from assignbench.data.dataset import ImageInfo
from assignbench.errors import DataError

LOOKED_AT = 1000  # pictures of a split whose file sizes stand for all: a million would take minutes on a network's disk
SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


@dataclass(frozen=True)
class Found:
    """What lies below a folder."""

    paths: list[Path]  # pictures, sorted
    left_aside: list[Path]  # hidden files and folders of systems and tools, sorted


def pictures_below(folder: Path) -> Found:
    """Every picture of a folder and its folders; hidden ones are left aside."""
    paths: list[Path] = []
    left_aside: list[Path] = []
    for below, _, names in os.walk(folder):
        for name in names:
            if Path(name).suffix.lower() in SUFFIXES:
                path = Path(below, name)
                hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.relative_to(folder).parts)
                (left_aside if hidden else paths).append(path)
    return Found(sorted(paths), sorted(left_aside))


def read_picture(image: ImageInfo) -> NDArray[np.uint8]:
    """Decode a picture to RGB: ``[H, W, 3]``, the first frame of an animation, transparency ignored.

    An EXIF rotation is not applied: annotations in COCO and VOC refer to the stored pixel grid.

    Raises:
        DataError: when the file is missing, damaged, truncated or of an unsupported kind, or when its
            size is not the annotation's: boxes would silently sit in the wrong place.
    """
    try:
        with Image.open(image.path) as picture:
            pixels = _rgb(picture)
    except MemoryError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"no picture {image.path} (image {image.id})") from error
    except Exception as error:  # Pillow raises half a dozen unrelated types on damaged files
        raise DataError(f"{image.path} (image {image.id}) cannot be decoded: {error}") from error
    height, width = pixels.shape[:2]
    if (width, height) != (image.width, image.height):
        raise _wrong_size(image, width, height)
    return pixels


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height from a picture's header.

    Raises:
        DataError: when there is no picture or no header to read.
    """
    try:
        with Image.open(path) as picture:
            return picture.size
    except FileNotFoundError as error:
        raise DataError(f"no picture {path}") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder; name pictures, as {path}/*.jpg") from error
    except UnidentifiedImageError as error:
        raise DataError(f"the header of {path} cannot be read: it is no picture, or a damaged one") from error
    except Exception as error:  # as above
        raise DataError(f"the header of {path} cannot be read: {error}; copy it again") from error


def header_size(path: Path) -> tuple[int, int]:
    """As `picture_size`, or zeros: that a picture is missing or damaged is found when pictures are looked at."""
    try:
        return picture_size(path)
    except DataError:
        return 0, 0


def check_headers(images: Iterable[ImageInfo]) -> None:
    """Read the headers of pictures that will be needed only after hours.

    Raises:
        DataError: one cannot be read, or does not have the size its annotation states.
    """
    for image in images:
        size = picture_size(image.path)
        if size != (image.width, image.height):
            raise _wrong_size(image, *size)


def files_digest(images: Sequence[ImageInfo]) -> str:
    """sha256 of the file sizes of up to `LOOKED_AT` pictures, evenly spread over a split.

    It tells pictures apart that were replaced under the same names: drawn anew, compressed or coloured otherwise, they
    hardly ever take as many bytes. A picture that is not there counts as such; whoever reads it says so.
    """
    chosen = np.unique(np.linspace(0, len(images) - 1, min(len(images), LOOKED_AT), dtype=np.int64))
    return hashlib.sha256(str([_bytes_of(images[index].path) for index in chosen.tolist()]).encode()).hexdigest()


def _bytes_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _wrong_size(image: ImageInfo, width: int, height: int) -> DataError:
    return DataError(
        f"{image.path} (image {image.id}) is {width}×{height} pixels, its annotation says "
        f"{image.width}×{image.height}; correct one of them (EXIF rotations are not applied)"
    )


def _rgb(picture: Image.Image) -> NDArray[np.uint8]:
    """Eight bits a channel; Pillow alone would cut sixteen bits off at white instead of scaling."""
    if picture.mode.startswith("I"):  # 16-bit grey, which Pillow may widen to 32
        grey = np.asarray(picture).astype(np.int64)
        if not 0 <= grey.min() <= grey.max() < 2**16:
            raise ValueError("grey values beyond 16 bits; convert it to 8 bits a channel")
        return np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, axis=2)
    if picture.mode == "F":
        raise ValueError("floating-point pixels; convert it to 8 bits a channel")
    if picture.mode == "P":  # through RGBA, since a palette with transparency warns on its way to RGB
        picture = picture.convert("RGBA")
    return np.array(picture.convert("RGB"))
