"""What is wrong with a file that should be a picture, in words; whether a picture file ends too early."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from assignbench.files import open_regular

_HEAD = 1024  # bytes that say what a file is
_TAIL = 64  # bytes that hold the end marker, and a few that some tools append
_AGAIN = "get it again"
_CONVERT = "convert it to JPEG or PNG"

_BRANDS = {  # of the container that telephones and cameras use, at byte 8
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"), "a HEIC picture"),
    **dict.fromkeys((b"avif", b"avis"), "an AVIF picture"),
    **dict.fromkeys((b"isom", b"iso2", b"mp41", b"mp42", b"M4V ", b"qt  ", b"avc1"), "a film"),
    b"crx ": "a camera's raw picture",
}
_BEGINNINGS = {  # of what is no picture, or none that can be read here
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"\x00\x05\x16\x07": "macOS's notes on a file, not the file",
    b"\xff\x0a": "a JPEG XL picture",
    b"\x00\x00\x00\x0cJXL ": "a JPEG XL picture",
    b"\x76\x2f\x31\x01": "an OpenEXR picture",
    b"\x93NUMPY": "an array of numpy",
    b"\x1a\x45\xdf\xa3": "a film",
}
_PICTURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"II+\x00": "TIFF",
    b"MM\x00+": "TIFF",
    b"\x00\x00\x00\x0cjP  ": "JPEG2000",
    b"\xff\x4f\xff\x51": "JPEG2000",
}


def what_is_wrong(path: Path) -> str:
    """Why a file cannot be read as a picture and what to do: "it is an HTML page: …"; asked once reading has failed."""
    try:
        with open_regular(path) as stream:
            size = os.fstat(stream.fileno()).st_size
            head = stream.read(_HEAD)
            early = ends_early(stream, format_of(head))
    except IsADirectoryError:
        return "it is a folder"
    except PermissionError:
        return "it may not be read; change its permissions"
    except OSError as error:
        return f"the system says: {error.strerror}"
    except ValueError:
        return "no file can have such a name"
    if not size:
        return f"it is empty; {_AGAIN}"
    if not head.strip(b"\0") and size > 1:
        return f"it begins with zeros only: a copy or a disk has failed; {_AGAIN}"
    kind = format_of(head)
    if early:
        return f"it ends after {size:,} bytes, before the picture does: it was copied or downloaded in part; {_AGAIN}"
    if kind == "TIFF":
        return f"a TIFF that is damaged or of a kind that cannot be read; {_AGAIN}, or convert it to 8 bits a channel"
    if kind:
        return f"it begins as {kind} and is damaged further on; {_AGAIN}, or open it and save it anew"
    return _other(head)


def format_of(head: bytes) -> str:
    """A picture's format by its first bytes, in Pillow's words; empty: none that can be read."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis"):
        return "AVIF"
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return "PPM"
    return next((name for beginning, name in _PICTURES.items() if head.startswith(beginning)), "")


def ends_early(stream: BinaryIO, kind: str, opened: Image.Image | None = None) -> bool:
    """Whether a file's end shows that a part of the picture is missing, without decoding it.

    It may be wrong where a tool appended something: only decoding tells. Of kinds without a mark at the end, False.

    Args:
        stream: the file; read from and moved.
        kind: format, in Pillow's words.
        opened: the picture with its header read, which tells more of TIFF and PPM.
    """
    size = stream.seek(0, os.SEEK_END)
    if kind in ("JPEG", "MPO", "PNG", "GIF"):
        stream.seek(max(0, size - _TAIL))
        tail = stream.read().rstrip(b"\0\r\n ")
        if kind == "PNG":
            return b"IEND" not in tail
        return not tail.endswith(b";" if kind == "GIF" else b"\xff\xd9")
    if kind in ("WEBP", "BMP"):
        stream.seek(0)
        head = stream.read(8)
        stated = 8 + int.from_bytes(head[4:8], "little") if kind == "WEBP" else int.from_bytes(head[2:6], "little")
        return stated > size
    if kind == "AVIF":
        return _box_beyond(stream, size)
    if kind == "TIFF" and opened is not None:
        tags = getattr(opened, "tag_v2", {})
        pairs = ((273, 279), (324, 325))  # of strips and tiles: where each begins, how many bytes it has
        return any(
            begin + length > size
            for begins, lengths in pairs
            for begin, length in zip(tags.get(begins, ()), tags.get(lengths, ()), strict=False)
        )
    tile = getattr(opened, "tile", ())
    if kind == "PPM" and opened is not None and tile and tile[0].codec_name == "raw":
        bits = {"1": 1, "L": 8, "RGB": 24}.get(opened.mode, 16)
        return tile[0].offset + -(-opened.width * bits // 8) * opened.height > size
    return False


def is_endless(content: bytes) -> bool:
    """Whether a JPEG's pixels are never ended: zeros in their place are decoded to something, without an error."""
    place = 2
    while content[place : place + 1] == b"\xff":
        marker = content[place + 1 : place + 2]
        if marker == b"\xda":  # the pixels; among them, no other marker has these bytes
            return content.find(b"\xff\xd9", place) < 0
        place += 1 if marker == b"\xff" else 2 + int.from_bytes(content[place + 2 : place + 4], "big")
    return False


def _box_beyond(stream: BinaryIO, size: int) -> bool:
    """Whether one of the boxes that such a file consists of reaches beyond its end."""
    place = 0
    while place + 8 <= size:
        stream.seek(place)
        head = stream.read(16)
        length = int.from_bytes(head[:4], "big")
        length = int.from_bytes(head[8:16], "big") if length == 1 else length or size - place  # 0: up to the end
        if length < 8:
            return False  # no box: decoding says what it is
        place += length
    return place > size


def _other(head: bytes) -> str:
    """What a file is that does not begin as a picture."""
    if head.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, not the picture; run: git lfs pull"
    brand = _BRANDS.get(head[8:12]) if head[4:8] == b"ftyp" else None
    found = brand or next((name for beginning, name in _BEGINNINGS.items() if head.startswith(beginning)), None)
    if found is not None:
        picture = found.endswith("picture")
        return f"it is {found}{', which cannot be read' if picture else ''}; {_CONVERT if picture else _AGAIN}"
    text = _text(head)
    if text is None:
        return f"it is no picture, or a damaged one; {_AGAIN}"
    start = text.lstrip("\ufeff \t\r\n").lower()
    if start.startswith(("<!doctype html", "<html", "<head", "<body")):
        return f"it is an HTML page: the download failed; {_AGAIN}"
    if "<svg" in start:
        return f"it is a drawing in SVG, which cannot be read; {_CONVERT}"
    if start.startswith("<"):
        return f"it is XML, probably a server's answer to a download that failed; {_AGAIN}"
    first = text.strip().splitlines()[0] if text.strip() else ""
    return f"it is no picture but text, {first[:30]!r}; {_AGAIN}"


def _text(head: bytes) -> str | None:
    """The bytes as text, if they are some."""
    for encoding in ("utf-8", "utf-16") if head[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8",):
        try:
            text = head[: len(head) - len(head) % 2].decode(encoding) if encoding == "utf-16" else _whole(head)
        except UnicodeDecodeError:
            continue
        return text if all(one.isprintable() or one.isspace() for one in text.lstrip("\ufeff")) else None
    return None


def _whole(head: bytes) -> str:
    """UTF-8 whose last character may be cut."""
    try:
        return head.decode()
    except UnicodeDecodeError as error:
        if len(head) - error.start < 4 and len(head) == _HEAD:
            return head[: error.start].decode()
        raise
