import io
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from assignbench.data.damage import ends_early, format_of, is_endless, what_is_wrong
from assignbench.data.dataset import ImageInfo
from assignbench.data.pictures import read_header, read_picture
from assignbench.errors import DataError

NOISE = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
MARKED = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "AVIF", "MPO")  # formats whose end is looked at


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(NOISE).save(buffer, kind)
    return buffer.getvalue()


def early(content: bytes, kind: str) -> bool:
    with Image.open(io.BytesIO(content)) as picture:
        return ends_early(io.BytesIO(content), kind, picture)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty; get it again"),
        (b"\0" * 5000, "it begins with zeros only"),
        (b"  <!DOCTYPE html><html>not found", "it is an HTML page: the download failed"),
        (b"<html><body>403", "it is an HTML page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code>', "it is XML, probably a server's answer"),
        (b'<?xml version="1.0"?><svg width="3">', "a drawing in SVG, which cannot be read; convert it"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "run: git lfs pull"),
        (b"hello\nyou", "it is no picture but text, 'hello'"),
        ("\ufeffgrüße".encode("utf-16"), "it is no picture but text"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "it is a HEIC picture, which cannot be read; convert it"),
        (b"\0\0\0\x18ftypisom\0\0\0\0", "it is a film"),
        (b"%PDF-1.4\n%\xe2\xe3", "it is a PDF document"),
        (b"PK\x03\x04\x14\0", "it is a ZIP archive"),
        (b"\xff\x0a\x01\x02", "it is a JPEG XL picture, which cannot be read"),
        (b"\x00\x05\x16\x07\0\x02", "macOS's notes on a file"),
        (b"\x80\x81\x82\x01\x02", "it is no picture, or a damaged one"),
        (b"\xff\xd8\xff\xe0 nonsense \xff\xd9", "it begins as JPEG and is damaged further on"),
        (b"II*\0\x08\0\0\0\0\0", "a TIFF that is damaged or of a kind that cannot be read"),
    ],
)
def test_what_is_no_picture_is_named(content, words, tmp_path):
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    for reading in (read_picture, lambda image: read_header(image.path)):
        with pytest.raises(DataError, match=r"x\.jpg.*" + re.escape(words)) as caught:
            reading(ImageInfo(1, path, 40, 30))
        assert "identify" not in str(caught.value)


def test_a_folder_and_a_file_that_may_not_be_read_are_named(tmp_path):
    assert what_is_wrong(tmp_path) == "it is a folder"
    assert what_is_wrong(tmp_path / "none" / "x").startswith("the system says: ")
    with pytest.raises(DataError, match="it is a folder"):
        read_picture(ImageInfo(1, tmp_path, 40, 30))


@pytest.mark.parametrize("kind", MARKED)
def test_a_whole_picture_does_not_end_early(kind):
    content = encoded(kind)
    assert format_of(content) in (kind, "JPEG")
    assert not early(content, kind)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(kind=st.sampled_from(MARKED), lost=st.floats(0.05, 0.6))
def test_a_picture_that_ends_early_is_noticed_or_has_no_header(kind, lost):
    content = encoded(kind)
    cut = content[: int(len(content) * (1 - lost))]
    try:
        noticed = early(cut, kind)
    except (OSError, SyntaxError):
        return  # the header is gone
    assert noticed


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP"])
def test_a_truncated_picture_is_told_in_our_words(kind, tmp_path):
    path, content = tmp_path / "cut.bin", encoded(kind)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=rf"it ends after {len(content) // 2:,} bytes, before the picture does"):
        read_picture(ImageInfo(1, path, 40, 30))


def test_zeros_in_place_of_the_last_part_are_noticed_though_they_can_be_decoded():
    content = encoded("JPEG")
    assert not is_endless(content)
    assert not is_endless(content + b"appended")
    zeros = content[:-300] + bytes(300)
    with Image.open(io.BytesIO(zeros)) as picture:
        picture.load()
    assert is_endless(zeros)
    assert not is_endless(b"\xff\xd8")
    assert not is_endless(b"")


@pytest.mark.parametrize("tail", [b"\0" * 7, b"\r\n", b"appended by a camera"])
def test_what_a_tool_appends_stops_nothing(tail, tmp_path):
    path = tmp_path / "more.jpg"
    path.write_bytes(encoded("JPEG") + tail)
    read_header(path)
    assert read_picture(ImageInfo(1, path, 40, 30)).shape == (30, 40, 3)
