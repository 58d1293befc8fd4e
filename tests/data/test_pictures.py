import io
import struct
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from assignbench.data import pictures
from assignbench.data.dataset import ImageInfo
from assignbench.data.images import Stored
from assignbench.data.load.transforms import Geometry, move_picture, resized
from assignbench.data.pictures import (
    LOOKED_AT,
    MOST_PIXELS,
    decoded,
    dim,
    files_digest,
    picture_size,
    read_header,
    read_picture,
)
from assignbench.errors import DataError

RAMP = np.linspace(0, 255, 40).astype(np.uint8)[None, :].repeat(30, axis=0)  # 40 × 30, growing to the right


def info(path: Path, width: int = 40, height: int = 30) -> ImageInfo:
    return ImageInfo(17, path, width, height)


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA", "CMYK", "YCbCr"])
def test_every_kind_of_pixel_becomes_rgb(mode, tmp_path):
    path = tmp_path / ("picture.jpg" if mode in ("CMYK", "YCbCr") else "picture.png")
    picture = Image.fromarray(RAMP).convert("RGB")
    (picture.quantize(64) if mode == "P" else picture.convert(mode)).save(path)
    pixels = read_picture(info(path))
    assert pixels.shape == (30, 40, 3)
    assert pixels.dtype == np.uint8
    tolerance = 255 if mode == "1" else 12  # one bit is dithered: only the means can be compared
    assert np.abs(pixels.astype(int) - RAMP[..., None]).max() <= tolerance
    assert abs(pixels.mean() - RAMP.mean()) < 6


def test_sixteen_bits_are_scaled_not_cut_off(tmp_path):
    Image.fromarray(RAMP.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    assert (read_picture(info(tmp_path / "deep.png")) == RAMP[..., None]).all()


def test_a_palette_with_transparency_does_not_warn(tmp_path):
    picture = Image.fromarray(RAMP).convert("P")
    picture.save(tmp_path / "clear.png", transparency=bytes(range(256)))
    assert (read_picture(info(tmp_path / "clear.png")) == RAMP[..., None]).all()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_taken(kind, tmp_path):
    first, other = Image.fromarray(RAMP).convert("RGB"), Image.new("RGB", (40, 30), (0, 255, 0))
    path = tmp_path / f"moving.{kind.lower()}"
    first.save(path, kind, save_all=True, append_images=[other], duration=100, lossless=True)
    with Image.open(path) as picture:
        assert getattr(picture, "n_frames", 1) == 2
    assert np.abs(read_picture(info(path)).astype(int) - RAMP[..., None]).max() <= 4  # GIF has 256 colours


@pytest.mark.parametrize(("width", "height"), [(1, 1), (20_000, 3), (2, 20_000)])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_tiny_and_huge_sides(width, height, suffix, tmp_path):
    path = tmp_path / f"odd.{suffix}"
    Image.new("RGB", (width, height), (10, 200, 90)).save(path)
    pixels = read_picture(info(path, width, height))
    assert pixels.shape == (height, width, 3)
    assert np.abs(pixels.astype(int) - (10, 200, 90)).max() <= 4
    geometry = Geometry(*resized(width, height, 800, 1333))
    picture = move_picture(pixels, geometry)
    assert min(picture.shape[1:]) >= 1
    assert max(picture.shape[1:]) <= 1333
    assert np.abs(picture.numpy().astype(int) - np.array([10, 200, 90])[:, None, None]).max() <= 4


@pytest.mark.parametrize("mode", ["LA", "RGBA", "PA"])
def test_transparency_is_ignored(mode, tmp_path):
    picture = Image.fromarray(RAMP).convert("RGBA")
    picture.putalpha(Image.fromarray(RAMP))
    path = tmp_path / ("clear.tiff" if mode == "PA" else "clear.png")
    (Image.fromarray(RAMP).convert("PA") if mode == "PA" else picture.convert(mode)).save(path)
    assert (read_picture(info(path)) == RAMP[..., None]).all()


def test_an_empty_file_is_refused_by_name(tmp_path):
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(DataError, match=r"empty\.jpg \(image 17\) cannot be decoded"):
        read_picture(info(tmp_path / "empty.jpg"))


def test_cmyk_without_black_is_not_inverted(tmp_path):
    Image.new("CMYK", (40, 30), (255, 0, 0, 0)).save(tmp_path / "cyan.tiff")  # cyan alone
    assert read_picture(info(tmp_path / "cyan.tiff"))[0, 0].tolist() == [0, 255, 255]


def test_an_exif_rotation_is_not_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turned by 90°
    Image.fromarray(RAMP).save(tmp_path / "turned.jpg", exif=exif)
    assert read_picture(info(tmp_path / "turned.jpg")).shape == (30, 40, 3)
    assert picture_size(tmp_path / "turned.jpg") == (40, 30)


def test_another_size_than_annotated_is_refused(tmp_path):
    Image.fromarray(RAMP).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png \(image 17\) is 40×30 pixels, its annotation says 30×40"):
        read_picture(info(tmp_path / "a.png", width=30, height=40))


def test_floating_point_pixels_are_refused(tmp_path):
    Image.fromarray(RAMP.astype(np.float32)).save(tmp_path / "a.tiff")
    with pytest.raises(DataError, match="floating-point pixels; convert it"):
        read_picture(info(tmp_path / "a.tiff"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("fraction", [0, 0.1, 0.5, 0.95])
def test_truncated_files_are_refused_by_name(kind, fraction, tmp_path):
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, kind)
    path = tmp_path / "cut.bin"
    path.write_bytes(buffer.getvalue()[: int(fraction * len(buffer.getvalue()))])
    with pytest.raises(DataError, match=r"cut\.bin \(image 17\) cannot be decoded"):
        read_picture(info(path))


def test_missing_files_are_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=r"no picture .*none\.jpg"):
        read_picture(info(tmp_path / "none.jpg"))
    with pytest.raises(DataError, match=r"no picture .*none\.jpg"):
        picture_size(tmp_path / "none.jpg")
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(DataError, match=r"header of .*text\.jpg cannot be read: it is no picture"):
        picture_size(tmp_path / "text.jpg")
    with pytest.raises(DataError, match="is a folder; name pictures"):
        picture_size(tmp_path)


def test_a_picture_replaced_under_its_name_is_noticed(tmp_path):
    images = [info(tmp_path / f"{number}.png") for number in range(3)]
    for image in images[:2]:
        image.path.write_bytes(b"four")
    before = files_digest(images)  # the last one is missing
    assert files_digest(images) == before
    for image, content in ((images[1], b"other"), (images[2], b"now it is there")):
        old = image.path.read_bytes() if image.path.exists() else None
        image.path.write_bytes(content)
        assert files_digest(images) != before
        if old is not None:
            image.path.write_bytes(old)
    assert files_digest([]) == files_digest(())


def test_of_many_pictures_some_are_looked_at_from_the_first_to_the_last(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(pictures, "_bytes_of", lambda path: seen.append(int(path.name)))
    files_digest([info(Path(str(number))) for number in range(5 * LOOKED_AT)])
    assert (len(seen), seen[0], seen[-1]) == (LOOKED_AT, 0, 5 * LOOKED_AT - 1)
    assert max(after - before for before, after in pairwise(seen)) <= 6


UPRIGHT = Stored(upright=True)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "WEBP"])
def test_upright_pictures_are_as_pillow_shows_them(kind, orientation, tmp_path):
    path, exif = tmp_path / f"turned.{kind.lower()}", Image.Exif()
    exif[0x0112] = orientation
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, kind, exif=exif)
    with Image.open(path) as picture:
        shown = np.array(ImageOps.exif_transpose(picture).convert("RGB"))
    height, width = shown.shape[:2]
    assert picture_size(path, UPRIGHT) == (width, height)
    found = read_picture(ImageInfo(1, path, width, height, UPRIGHT))
    assert (found == shown).all()
    assert found.flags.c_contiguous
    if width != 40:
        with pytest.raises(DataError, match="EXIF rotations are applied;"):
            read_picture(ImageInfo(1, path, 40, 30, UPRIGHT))


def test_a_sixteen_bit_picture_is_turned_too(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RAMP.astype(np.uint16) * 257).save(tmp_path / "deep.png", exif=exif)
    found = read_picture(ImageInfo(1, tmp_path / "deep.png", 30, 40, UPRIGHT))
    assert (found == np.rot90(RAMP, -1)[..., None]).all()


@pytest.mark.filterwarnings("ignore")  # as the module has it outside of tests
@pytest.mark.parametrize("exif", [b"", b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0nonsense", b"\0" * 50])
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_damaged_exif_data_turn_nothing(kind, exif, tmp_path):
    Image.fromarray(RAMP).save(tmp_path / "odd", kind, exif=exif)
    assert read_picture(ImageInfo(1, tmp_path / "odd", 40, 30, UPRIGHT)).shape == (30, 40, 3)
    assert picture_size(tmp_path / "odd", UPRIGHT) == (40, 30)


def deep(path: Path, values: np.ndarray) -> Path:
    """A PNG of 16 bits a channel: grey, or colour, which Pillow does not write."""
    colour = values.ndim == 3

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, 2 if colour else 0, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    return path


@pytest.mark.parametrize("bits", range(9, 17))
@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_a_stated_range_is_scaled_to_eight_bits(bits, suffix, tmp_path):
    path, step = tmp_path / f"deep.{suffix}", 1 << (bits - 8)
    values = RAMP.astype(np.uint16) * step + step - 1
    Image.fromarray(values).save(path)
    pixels, brightest = decoded(ImageInfo(1, path, 40, 30, Stored(bits=bits)))
    assert (pixels == RAMP[..., None]).all()
    assert brightest is None
    assert read_header(path).deep
    if bits < 16:
        Image.fromarray(values + 1).save(path)
        with pytest.raises(
            DataError, match=rf"deep\..*a grey value of {2**bits}, and bits: {bits} ends at {2**bits - 1}"
        ):
            decoded(ImageInfo(1, path, 40, 30, Stored(bits=bits)))


def test_an_unstated_range_of_twelve_bits_is_seen(tmp_path):
    path = deep(tmp_path / "grey.png", np.linspace(0, 4000, 1200).astype(np.uint16).reshape(30, 40))
    _, brightest = decoded(ImageInfo(1, path, 40, 30))
    assert brightest == 4000
    assert "above 4000, of 65535" in (dim(brightest) or "")
    assert "bits: 12 (0 … 4095)" in (dim(brightest) or "")
    assert dim(1 << 15) is dim(None) is None
    Image.fromarray(RAMP).save(path)
    assert decoded(info(path))[1] is None


def test_colours_of_sixteen_bits_are_scaled_and_their_range_cannot_be_stated(tmp_path):
    values = np.repeat(RAMP.astype(np.uint16)[..., None] * 16, 3, axis=2)  # up to 4080
    path = deep(tmp_path / "colour.png", values)
    pixels, brightest = decoded(info(path))
    assert (pixels == values >> 8).all()
    assert brightest == 4095
    assert decoded(ImageInfo(1, path, 40, 30, Stored(bits=16)))[1] is None
    with pytest.raises(DataError, match="only grey can have bits: 12; convert it"):
        decoded(ImageInfo(1, path, 40, 30, Stored(bits=12)))


def test_a_pgm_states_its_range_itself(tmp_path):
    path = tmp_path / "a.pgm"
    path.write_bytes(b"P5 40 30 4095\n" + (RAMP.astype(np.uint16) * 16 + 15).astype(">u2").tobytes())
    for stored in (Stored(), Stored(bits=12)):
        pixels, brightest = decoded(ImageInfo(1, path, 40, 30, stored))
        assert np.abs(pixels[..., 0].astype(int) - RAMP).max() <= 1
        assert brightest is None


def test_thirty_two_bits_are_refused(tmp_path):
    Image.fromarray(RAMP.astype(np.int32)).save(tmp_path / "a.tiff")
    with pytest.raises(DataError, match="32-bit pixels; convert it"):
        read_picture(info(tmp_path / "a.tiff"))


def test_a_picture_that_states_too_many_pixels_is_refused_in_our_words(tmp_path):
    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + head + struct.pack(">I", zlib.crc32(b"IHDR" + head))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + bytes(4))
    for reading in (picture_size, lambda path: read_picture(info(path, 30_000, 30_000))):
        with pytest.raises(DataError, match=rf"is 30000×30000 pixels, and {MOST_PIXELS:,} are the most"):
            reading(tmp_path / "a.png")


def test_a_large_picture_does_not_warn(tmp_path):
    Image.new("1", (13_500, 13_500)).save(tmp_path / "large.png")  # 182 million: Pillow alone would refuse
    assert picture_size(tmp_path / "large.png") == (13_500, 13_500)


def tiff(path: Path, values: np.ndarray, photometric: int, sample_format: int = 1) -> Path:
    """One strip without compression, as scanners write it."""
    height, width = values.shape
    data, bits = values.astype(values.dtype.newbyteorder("<")).tobytes(), 8 * values.dtype.itemsize
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1), (278, height)]
    tags += [(279, len(data)), (339, sample_format)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    path.write_bytes(
        b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + bytes(4)
    )
    return path


def test_where_zero_is_white_a_picture_is_turned_round_at_any_depth(tmp_path):
    deep_values = RAMP.astype(np.uint16) * 257
    for stored, values in ((Stored(), deep_values), (Stored(bits=12), RAMP.astype(np.uint16) * 16 + 15)):
        black, white = (tiff(tmp_path / f"{zero}.tiff", values, zero) for zero in (1, 0))
        as_is, turned = (decoded(ImageInfo(1, path, 40, 30, stored))[0] for path in (black, white))
        assert (as_is == RAMP[..., None]).all()
        assert (turned == 255 - RAMP[..., None]).all()
    eight = read_picture(info(tiff(tmp_path / "eight.tiff", RAMP, 0)))
    assert (eight == 255 - RAMP[..., None]).all(), "as Pillow does with 8 bits"


def test_values_with_a_sign_are_refused_in_eight_bits_and_where_they_are_negative(tmp_path):
    for values in ((RAMP // 2).astype(np.int8), RAMP.astype(np.int16) - 128):
        path = tiff(tmp_path / "signed.tiff", values, 1, sample_format=2)
        with pytest.raises(DataError, match=r"signed\.tiff .*(values with a sign|grey values below 0)"):
            read_picture(info(path))
    path = tiff(tmp_path / "fine.tiff", RAMP.astype(np.int16) * 64, 1, sample_format=2)
    assert (decoded(ImageInfo(1, path, 40, 30, Stored(bits=14)))[0] == RAMP[..., None]).all()
