import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assignbench.data import decoding
from assignbench.data.dataset import Dataset, Splits
from assignbench.data.decoding import content_of, see_pictures
from assignbench.data.images import ImageInfo, Images, Stored
from assignbench.errors import DataError


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where digests are kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return tmp_path / "xdg" / "assignbench" / "pictures"


@pytest.fixture
def splits(tmp_path: Path) -> Splits:
    """Four training and five evaluation pictures of 40 × 30, noise."""

    def split(part: str, count: int) -> Dataset:
        (tmp_path / part).mkdir()
        names = [f"{number}.jpg" for number in range(count)]
        for number, name in enumerate(names):
            noise = np.random.default_rng(number).integers(0, 256, (30, 40, 3), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / part / name)
        sizes = np.full((count, 2), (40, 30), dtype=np.int64)
        images = Images.named(tmp_path / part, np.arange(1, count + 1), sizes, names)
        none = np.zeros(0)
        return Dataset(
            name="noise",
            split=part,
            classes=("a",),
            category_ids=(1,),
            images=images,
            boxes=np.zeros((0, 4)),
            labels=none.astype(np.int64),
            image=none.astype(np.int64),
            area=none,
            crowd=none.astype(bool),
            annotation_ids=none.astype(np.int64),
            repairs=(),
            fingerprint="0",
            offsets={},
        )

    return Splits("noise", split("train", 4), split("evaluation", 5))


def path(splits: Splits, part: str, index: int) -> Path:
    return getattr(splits, part).images[index].path


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def test_what_was_decoded_is_known_by_its_content(splits, kept):
    told: list[tuple[int, int]] = []
    first = see_pictures(splits, threads=2, watch=lambda done, total: told.append((done, total)))
    assert (first.decoded, first.looked_at, first.remarks) == (5, 4, ())
    assert told == [(5, 9), (9, 9)]
    assert first.content == content_of(splits.evaluation.images, 1)
    assert see_pictures(splits, threads=1) == replace(first, decoded=0)
    (file,) = kept.iterdir()
    assert file.stat().st_size == 32 + 5 * 16

    one, other = path(splits, "evaluation", 1), path(splits, "evaluation", 2)
    content = one.read_bytes()
    status = one.stat()
    one.write_bytes(other.read_bytes())  # the same pixels were decoded before, and yet the split is another
    changed = see_pictures(splits, threads=1)
    assert (changed.decoded, changed.content != first.content) == (0, True)
    noise = np.random.default_rng(9).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save(one)
    assert see_pictures(splits, threads=1).decoded == 1
    one.write_bytes(content)
    assert one.stat().st_size == status.st_size
    assert see_pictures(splits, threads=1).content == first.content


def test_the_same_size_and_date_do_not_deceive(splits):
    see_pictures(splits, threads=1)
    file = path(splits, "evaluation", 3)
    status, content = file.stat(), bytearray(file.read_bytes())
    content[-300:] = bytes(300)  # no end, zeros in its place
    file.write_bytes(content)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(DataError, match=r"3\.jpg \(image 4\)"):
        see_pictures(splits, threads=1)


def test_every_picture_that_cannot_be_used_is_named_or_counted(splits):
    for index in range(3):
        cut(path(splits, "evaluation", index))
    Image.new("RGB", (30, 40)).save(path(splits, "evaluation", 4))
    with pytest.raises(DataError, match=r"evaluation: 4 of 5 pictures cannot be used, nothing was trained") as caught:
        see_pictures(splits, threads=2)
    assert [name in str(caught.value) for name in ("0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg")] == [
        *(True, True, True, False, True)
    ]
    assert "ends after" in str(caught.value)
    assert "30×40 pixels, its annotation says 40×30" in str(caught.value)


def test_of_many_some_are_named(splits, monkeypatch):
    monkeypatch.setattr(decoding, "NAMED", 2)
    for index in range(5):
        path(splits, "evaluation", index).write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"5 of 5 .*") as caught:
        see_pictures(splits, threads=2)
    assert str(caught.value).count("HTML page") == 2
    assert str(caught.value).endswith("; and 3 more")


def test_what_was_good_is_kept_though_others_are_bad(splits):
    bad = path(splits, "evaluation", 0)
    content = bad.read_bytes()
    cut(bad)
    with pytest.raises(DataError):
        see_pictures(splits, threads=1)
    bad.write_bytes(content)
    assert see_pictures(splits, threads=1).decoded == 1


@pytest.mark.parametrize("index", [0, 3])
def test_a_training_picture_that_ends_early_is_found_by_its_end(splits, index):
    cut(path(splits, "train", index))
    with pytest.raises(DataError, match=rf"train: 1 of 4 pictures cannot be used(?s:.*){index}\.jpg"):
        see_pictures(splits, threads=2)


def test_what_a_tool_appended_to_a_training_picture_stops_nothing(splits):
    file = path(splits, "train", 2)
    file.write_bytes(file.read_bytes() + b"appended")
    assert see_pictures(splits, threads=2).looked_at == 4


def test_a_training_picture_of_another_size_is_found(splits):
    Image.new("RGB", (30, 40)).save(path(splits, "train", 2))
    with pytest.raises(DataError, match=r"2\.jpg \(image 3\) is 30×40 pixels"):
        see_pictures(splits, threads=2)


def test_of_very_many_training_pictures_some_are_looked_at_and_that_is_said(splits, monkeypatch):
    monkeypatch.setattr(decoding, "MOST_LOOKED_AT", 3)
    seen = see_pictures(splits, threads=1)
    assert seen.looked_at == 3
    assert "3 of 4 training pictures were looked at" in seen.remarks[0]


@pytest.mark.parametrize("damage", [b"", b"short", b"\0" * 112])
def test_damaged_digests_cost_time_only(splits, kept, damage):
    first = see_pictures(splits, threads=1)
    (file,) = kept.iterdir()
    file.write_bytes(damage)
    assert see_pictures(splits, threads=1) == first
    assert see_pictures(splits, threads=1).decoded == 0


def test_where_nothing_can_be_kept_that_is_said(splits, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for _ in range(2):
        seen = see_pictures(splits, threads=1)
        assert seen.decoded == 5
        assert "XDG_CACHE_HOME names another place" in seen.remarks[0]


def test_the_longest_unused_digests_make_room(splits, kept, monkeypatch):
    monkeypatch.setattr(decoding, "KEPT", 2)
    kept.mkdir(parents=True)
    for number in range(3):
        (kept / f"{number}.decoded").touch()
    see_pictures(splits, threads=1)
    assert len(list(kept.iterdir())) == 2


def in_grey(splits: Splits, part: str, brightest: int, bits: int | None = None) -> Splits:
    """Pictures of one split in 16 bits of grey."""
    dataset = getattr(splits, part)
    for image in dataset.images:
        values = np.linspace(0, brightest, 1200).astype(np.uint16).reshape(30, 40)
        Image.fromarray(values).save(image.path, "PNG")
    return replace(splits, **{part: replace(dataset, images=replace(dataset.images, stored=Stored(bits=bits)))})


@pytest.mark.parametrize("part", ["train", "evaluation"])
def test_twelve_bits_in_sixteen_are_found_before_training(splits, part):
    dark = in_grey(splits, part, 4000)
    for _ in range(2):  # not kept as something that turned out well
        with pytest.raises(DataError, match=rf"noise, {part}: no value .* above 4000, .* bits: 12 \(0"):
            see_pictures(dark, threads=2)
    see_pictures(in_grey(splits, part, 4000, bits=12), threads=2)
    see_pictures(in_grey(splits, part, 4000, bits=16), threads=2)
    see_pictures(in_grey(splits, part, 40_000), threads=2)
    with pytest.raises(DataError, match="a grey value of 4000, and bits: 11 ends at 2047"):
        see_pictures(in_grey(splits, part, 4000, bits=11), threads=2)


def turned_by_viewers(splits: Splits, **stored: bool) -> Splits:
    """The first picture of each split is to be shown upside down."""
    for dataset in (splits.train, splits.evaluation):
        exif = Image.Exif()
        exif[0x0112] = 3
        Image.new("RGB", (40, 30)).save(dataset.images[0].path, exif=exif)
    seen = {
        part: replace(dataset, images=replace(dataset.images, stored=Stored(**stored)))
        for part, dataset in (("train", splits.train), ("evaluation", splits.evaluation))
    }
    return Splits(splits.spec, **seen)


def test_pictures_that_viewers_turn_are_said_until_somebody_says_what_is_meant(splits):
    for _ in range(2):  # the second time by their digests
        train, evaluation = sorted(see_pictures(turned_by_viewers(splits), threads=2).remarks, reverse=True)
        assert train.startswith("train: viewers turn or mirror 1 of its pictures")
        assert evaluation.startswith("evaluation: viewers turn or mirror 1 of its pictures")
        assert "upright: true" in train
    for stored in ({"stated": True}, {"upright": True}):
        assert see_pictures(turned_by_viewers(splits, **stored), threads=2).remarks == ()


def test_one_bright_picture_speaks_for_the_split(splits):
    dark = in_grey(splits, "evaluation", 4000)
    Image.fromarray(np.full((30, 40), 40_000, np.uint16)).save(path(dark, "evaluation", 4), "PNG")
    see_pictures(dark, threads=2)


def test_an_absent_picture_is_named(splits):
    path(splits, "evaluation", 1).unlink()
    with pytest.raises(DataError, match=r"no picture .*1\.jpg \(image 2\)"):
        see_pictures(splits, threads=1)
    with pytest.raises(DataError, match=r"no picture .*1\.jpg"):
        content_of(splits.evaluation.images, 1)


def test_images_of_any_kind_will_do(splits):
    as_tuple = replace(splits.evaluation, images=tuple(splits.evaluation.images))
    assert isinstance(as_tuple.images[0], ImageInfo)
    assert see_pictures(replace(splits, evaluation=as_tuple), threads=1).content == content_of(as_tuple.images, 2)
