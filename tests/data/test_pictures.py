import io
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assignbench.data import pictures
from assignbench.data.dataset import ImageInfo
from assignbench.data.load.transforms import Geometry, move_picture, resized
from assignbench.data.pictures import LOOKED_AT, files_digest, picture_size, read_picture
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
