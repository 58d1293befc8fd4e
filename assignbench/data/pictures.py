"""Picture files to pixels: every odd file becomes correct RGB or an error that names it."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from assignbench.data.damage import ends_early, is_endless, what_is_wrong
from assignbench.data.images import AS_STORED, ImageInfo, Stored
from assignbench.errors import DataError
from assignbench.files import open_regular

LOOKED_AT = 1000  # pictures of a split whose file sizes stand for all: a million would take minutes on a network's disk
MOST_PIXELS = 1 << 29  # of a picture: 1.6 GB of RGB; a header that states more is damaged, or not for a detector
TURNED = (5, 6, 7, 8)  # EXIF orientations that exchange width and height
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF
_UPRIGHT = {  # what makes each EXIF orientation the picture that is shown
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Image.MAX_IMAGE_PIXELS = None  # `MOST_PIXELS` holds in its place: Pillow warns of 90 million and refuses 179 million
warnings.filterwarnings("ignore", module=r"PIL\.")  # of damaged tags, which say nothing of the pixels


def read_picture(image: ImageInfo) -> NDArray[np.uint8]:
    """Decode a picture to RGB: ``[H, W, 3]``, the first frame of an animation, transparency ignored.

    EXIF's orientation is applied where `Stored.upright` says so: annotations in COCO and VOC refer to the stored
    pixel grid, YOLO's to the picture as it is shown. Of TIFF it always is, since Pillow does it.

    Raises:
        DataError: when the file is missing, damaged, truncated or of an unsupported kind, or when its
            size is not the annotation's: boxes would silently sit in the wrong place.
    """
    return np.array(read_rgb(image))


def read_rgb(image: ImageInfo) -> Image.Image:
    """As `read_picture`, and not yet copied out of Pillow's memory."""
    return _decoded(image, None)[0]


def decoded(image: ImageInfo, content: bytes | None = None) -> tuple[NDArray[np.uint8], int | None]:
    """As `read_picture`, with the brightest value if the file holds 16 bits a channel of an unstated range; else None.

    ``content``: the file's bytes, where they have been read. Of colour, Pillow drops the lower eight bits: then the
    brightest value is at most what is returned.
    """
    picture, brightest = _decoded(image, content)
    return np.array(picture), brightest


def _decoded(image: ImageInfo, content: bytes | None) -> tuple[Image.Image, int | None]:
    try:
        with (
            open_regular(image.path) if content is None else io.BytesIO(content) as stream,
            Image.open(stream) as picture,
        ):
            refuse_huge(picture)
            rgb, brightest = _rgb(picture, image.stored)
    except MemoryError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"no picture {image.path} (image {image.id})") from error
    except DataError as error:
        raise DataError(f"{image.path} (image {image.id}) cannot be decoded: {error}") from error
    except Exception as error:  # Pillow raises half a dozen unrelated types on damaged files
        reason = what_is_wrong(image.path)
        raise DataError(f"{image.path} (image {image.id}) cannot be decoded: {reason}") from error
    refuse_other_size(image, rgb.width, rgb.height)
    return rgb, brightest


@dataclass(frozen=True)
class Header:
    """What a picture file says before anything is decoded."""

    size: tuple[int, int]  # width, height; of the shown picture where `Stored.upright` says so
    deep: bool  # more than 8 bits a channel
    early: bool  # its end shows that a part is missing, or a tool has appended something: see `ends_early`
    turned: bool  # viewers turn or mirror it, as its EXIF tag says


def read_header(path: Path, stored: Stored = AS_STORED) -> Header:
    """Look at the first and the last bytes of a picture.

    Raises:
        DataError: when there is no picture or no header to read.
    """
    try:
        with open_regular(path) as stream, Image.open(stream) as picture:
            refuse_huge(picture)
            width, height = picture.size
            turn = orientation(picture)
            deep = picture.mode.startswith("I") or _depth(picture) > 8
            early = ends_early(stream, picture.format or "", picture)
    except FileNotFoundError as error:
        raise DataError(f"no picture {path}") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder; name pictures, as {path}/*.jpg") from error
    except DataError as error:
        raise DataError(f"{path} cannot be decoded: {error}") from error
    except Exception as error:  # as above
        raise DataError(f"the header of {path} cannot be read: {what_is_wrong(path)}") from error
    size = (height, width) if stored.upright and turn in TURNED else (width, height)
    return Header(size, deep, early, turn != 1)


def header_size(path: Path, stored: Stored = AS_STORED) -> tuple[int, int]:
    """As `picture_size`, or zeros: that a picture is missing or damaged is found when pictures are looked at."""
    try:
        return picture_size(path, stored)
    except DataError:
        return 0, 0


def picture_size(path: Path, stored: Stored = AS_STORED) -> tuple[int, int]:
    """`Header.size`; errors as `read_header`."""
    return read_header(path, stored).size


def orientation(picture: Image.Image) -> int:
    """EXIF's, as far as decoding has not applied it; 1: as stored. Damaged tags turn nothing, as viewers have it."""
    if picture.format == "TIFF":  # Pillow turns it as it decodes, and states the size that it then has
        return 1
    try:
        # the own method of PNG would decode the whole picture to see what follows it
        value = Image.Image.getexif(picture).get(ExifTags.Base.Orientation, 1)
    except Exception:  # half a dozen unrelated types
        return 1
    return value if value in range(1, 9) else 1


def is_turned(content: bytes) -> bool:
    """`Header.turned` of a file's bytes; what cannot be read is not."""
    try:
        with Image.open(io.BytesIO(content)) as picture:
            return orientation(picture) != 1
    except Exception:  # as above
        return False


def refuse_huge(picture: Image.Image) -> None:
    """Raises DataError, without the file's name: the header states more than `MOST_PIXELS`."""
    if picture.width * picture.height > MOST_PIXELS:
        raise DataError(
            f"it is {picture.width}×{picture.height} pixels, and {MOST_PIXELS:,} are the most that can be read; "
            "cut it into tiles, or make it smaller with its boxes"
        )


def refuse_other_size(image: ImageInfo, width: int, height: int) -> None:
    """Raises DataError: a picture's size, as `picture_size` gives it, is not the annotation's."""
    if (width, height) != (image.width, image.height):
        how = "applied" if image.stored.upright else "not applied"
        raise DataError(
            f"{image.path} (image {image.id}) is {width}×{height} pixels, its annotation says "
            f"{image.width}×{image.height}; correct one of them (EXIF rotations are {how}; "
            "assignbench data check --fix turns the boxes of pictures that are shown turned; upright: true in the YAML "
            "file of the data set applies them)"
        )


def refuse_endless(image: ImageInfo, content: bytes) -> None:
    """Raises DataError: a JPEG that can be decoded though its last part is missing; ``content``: the file's bytes."""
    if content.startswith(b"\xff\xd8") and is_endless(content):
        raise DataError(
            f"{image.path} (image {image.id}) cannot be decoded: it has no end, so a part of it was lost; get it again"
        )


def dim(brightest: int | None) -> str | None:
    """What to say of 16-bit pictures whose brightest value is this, over a whole split; None: nothing."""
    if (found := nearly_black(brightest)) is None:
        return None
    reason, bits = found
    return (
        f"{reason}; say in the YAML file of the data set how many bits a value has, bits: {bits} (0 … {2**bits - 1}), "
        "or bits: 16 if it is right as it is"
    )


def nearly_black(brightest: int | None) -> tuple[str, int] | None:
    """As `dim`: only why, and how many bits their values take; what to do depends on whose pictures they are."""
    if brightest is None or brightest >= 1 << 15:
        return None
    bits = max(8, brightest.bit_length())
    return f"no value of its 16-bit pictures is above {brightest}, of 65535, so they would be nearly black", bits


def refuse_dim(images: Sequence[ImageInfo], whose: str) -> None:
    """Of pictures that come from no data set, so that no YAML file can say how many bits a value has.

    Raises:
        DataError: those of 16 bits, all together, use fewer; or one cannot be decoded.
    """
    if not images or images[0].stored.bits is not None:
        return
    brightest = None
    for image in images:
        if read_header(image.path, image.stored).deep:
            _, value = decoded(image)
            brightest = max(brightest or 0, value) if value is not None else brightest
            if brightest is not None and nearly_black(brightest) is None:
                return
    if (found := nearly_black(brightest)) is not None:
        reason, bits = found
        raise DataError(
            f"{whose}: {reason}; convert them to 8 bits a channel (values of {bits} bits are divided by "
            f"{2 ** (bits - 8)})"
        )


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


def _rgb(picture: Image.Image, stored: Stored) -> tuple[Image.Image, int | None]:
    """Eight bits a channel, decoded, and the brightest value of more bits, see `decoded`."""
    depth = _depth(picture)
    if depth <= 8 and 2 in _tag(picture, _SAMPLE_FORMAT):  # Pillow takes −1 for 255
        raise DataError("8-bit values with a sign; convert it to values from 0 to 255")
    turn = orientation(picture) if stored.upright else 1
    brightest = None
    if picture.mode.startswith("I"):  # grey of more than 8 bits
        grey, brightest = _grey(picture, depth, stored.bits)
        rgb = Image.fromarray(grey).convert("RGB")
    elif picture.mode == "F":
        raise DataError("floating-point pixels; convert it to 8 bits a channel")
    else:
        if picture.mode == "P":  # through RGBA, since a palette with transparency warns on its way to RGB
            picture = picture.convert("RGBA")
        rgb = picture if picture.mode == "RGB" else picture.convert("RGB")
        rgb.load()  # while the file is open
        if depth == 16 and stored.bits is None:
            brightest = (int(np.asarray(rgb).max()) << 8) + 255
        elif depth == 16 and stored.bits != 16:
            raise DataError(
                f"16 bits a channel and colours, where only grey can have bits: {stored.bits}; convert it to 8 bits "
                "a channel"
            )
    return (rgb if turn == 1 else rgb.transpose(_UPRIGHT[turn])), brightest


def _grey(picture: Image.Image, depth: int, bits: int | None) -> tuple[NDArray[np.uint8], int | None]:
    """Grey of more than 8 bits; Pillow alone would cut it off at white instead of scaling."""
    if depth > 16:
        raise DataError(f"{depth}-bit pixels; convert it to 8 bits a channel")
    ranged = any(tile[0] == "ppm" for tile in getattr(picture, "tile", ()))  # the header states the largest value
    values = np.asarray(picture).astype(np.int32)
    brightest = int(values.max())
    if values.min() < 0 or brightest >= 1 << 16:
        raise DataError("grey values below 0 or beyond 16 bits; convert it to 8 bits a channel")
    if ranged:  # to which Pillow has scaled
        return (values >> 8).astype(np.uint8), None
    used = depth if 8 < depth < 16 else bits or 16
    if brightest >= 1 << used:
        raise DataError(f"a grey value of {brightest}, and bits: {used} ends at {2**used - 1}; state more bits")
    if 0 in _tag(picture, _PHOTOMETRIC):  # 0 is white; Pillow turns it round in 8 bits alone
        values = (1 << used) - 1 - values
    return (values >> (used - 8)).astype(np.uint8), brightest if used == 16 and bits is None else None


def _tag(picture: Image.Image, number: int) -> tuple[object, ...]:
    """The values of a tag of TIFF; none where there is no such tag."""
    stated = getattr(picture, "tag_v2", {}).get(number, ()) if picture.format == "TIFF" else ()
    return stated if isinstance(stated, tuple) else (stated,)


def _depth(picture: Image.Image) -> int:
    """Bits a channel as the file states them, of PNG and TIFF; else 8. Asked before decoding."""
    tile = getattr(picture, "tile", ())
    if picture.format == "PNG" and tile:
        return 16 if "16" in str(tile[0].args) else 8
    return max((int(str(bits)) for bits in _tag(picture, _BITS)), default=8)
