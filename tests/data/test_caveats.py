"""What a reader of a number must know of its data: overlap of the splits, pictures left aside, many crowds."""

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assignbench.data.caveats import caveats, caveats_of_split, taught_too
from assignbench.data.dataset import Dataset, Repair, Splits
from assignbench.data.images import ImageInfo, Images
from assignbench.data.read.findings import FRAMES_DIVIDED
from assignbench.data.spec.locate import open_dataset


@pytest.fixture
def picture(tmp_path: Path) -> Callable[[str, int], Path]:
    """A picture of its own for every seed."""

    def picture(name: str, seed: int) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)).save(path)
        return path

    return picture


def split(paths: Sequence[Path], part: str = "train", crowd: Sequence[bool] = (False,), repairs: Sequence[Repair] = ()):
    count = len(crowd)
    infos = [ImageInfo(number, path, 8, 8) for number, path in enumerate(paths, start=1)]
    return Dataset(
        name="cats",
        split=part,
        classes=("cat",),
        category_ids=(1,),
        images=Images.of(infos),
        boxes=np.tile([0.0, 0.0, 4.0, 4.0], (count, 1)),
        labels=np.zeros(count, np.int64),
        image=np.zeros(count, np.int64),
        area=np.full(count, 16.0),
        crowd=np.array(crowd, dtype=np.bool_),
        annotation_ids=np.arange(1, count + 1),
        repairs=tuple(repairs),
        fingerprint="f",
        offsets={},
    )


def told(train: Dataset, evaluation: Dataset) -> tuple[str, ...]:
    return caveats(Splits("cats", train, evaluation))


def test_nothing_unusual_is_nothing_said(picture):
    train, evaluation = ([picture(f"{part}/{n}.png", n + 10 * at) for n in range(3)] for at, part in enumerate("ab"))
    assert told(split(train), split(evaluation)) == ()
    assert told(split([]), split([])) == ()


def test_the_same_pictures_are_said_however_they_are_reached(picture, tmp_path):
    paths = [picture(f"images/{n}.png", n) for n in range(3)]
    every = "evaluated on its training pictures: all 3 evaluation pictures are also taught"
    (tmp_path / "linked").symlink_to(tmp_path / "images")
    (tmp_path / "each").mkdir()
    for path in paths:
        (tmp_path / "each" / f"as_{path.name}").symlink_to(path)
    shutil.copytree(tmp_path / "images", tmp_path / "copied")
    (tmp_path / "hard").mkdir()
    for path in paths:
        os.link(path, tmp_path / "hard" / path.name)
    for others in (
        paths,
        [tmp_path / "linked" / path.name for path in paths],
        [tmp_path / "linked" / ".." / "images" / path.name for path in paths],
        [tmp_path / "each" / f"as_{path.name}" for path in paths],
        [tmp_path / "copied" / path.name for path in paths],
        [tmp_path / "hard" / path.name for path in paths],
    ):
        assert told(split(paths), split(others)) == (every,)
        assert told(split(others), split(paths)) == (every,)


def test_a_part_is_counted(picture):
    train = [picture(f"train/{n}.png", n) for n in range(5)]
    evaluation = [train[3], picture("val/9.png", 9), train[0]]
    assert told(split(train), split(evaluation)) == ("2 of 3 evaluation pictures are also taught",)
    splits = Splits("cats", split(train), split(evaluation))
    assert taught_too(splits).tolist() == [True, False, True]
    in_a_tuple = replace(splits.evaluation, images=tuple(splits.evaluation.images))
    assert taught_too(Splits("cats", splits.train, in_a_tuple)).tolist() == [True, False, True]


def test_other_pictures_of_one_name_are_others(picture, tmp_path):
    train = [picture("train/0.png", 0), picture("train/1.png", 1)]
    evaluation = [picture("val/0.png", 5), tmp_path / "val" / "1.png"]  # the second is not there
    shutil.copyfile(evaluation[0], tmp_path / "longer.png")
    assert told(split(train), split(evaluation)) == ()
    same_length = bytearray(train[0].read_bytes())
    same_length[-20] ^= 1
    evaluation[0].write_bytes(bytes(same_length))
    assert told(split(train), split(evaluation)) == ()


def test_pictures_left_aside_are_counted_and_other_repairs_are_not(picture):
    paths = [picture("a.png", 1)]
    repairs = (Repair("hidden file", 3, (), how="left aside"), Repair("no picture", 1, (), how="left aside"))
    clipped = Repair("box clipped to the image", 8, ())
    train = split(paths, "train (a)", repairs=(*repairs, clipped))
    evaluation = split([picture("b.png", 2)], "evaluation (b)", repairs=(clipped,))
    assert told(train, evaluation) == ("train (a): 4 pictures are left aside",)
    assert told(split(paths, "train", repairs=repairs[1:]), evaluation) == ("train: 1 picture is left aside",)


def test_frames_that_chance_divides_are_said_of_what_is_scored(picture):
    frames = Repair(FRAMES_DIVIDED.done, 1, (), how="noted")
    train, evaluation = (
        split([picture(f"{part}.png", 1)], part, repairs=(frames,)) for part in ("train", "evaluation")
    )
    (said,) = told(train, evaluation)
    assert said.startswith("evaluation: 1 of 1 pictures are frames of videos")


@pytest.mark.parametrize(("crowds", "of", "said"), [(2, 10, False), (3, 10, True), (9, 10, True)])
def test_crowds_above_a_fifth_are_said(picture, crowds, of, said):
    crowd = [True] * crowds + [False] * (of - crowds)
    found = told(split([picture("a.png", 1)]), split([picture("b.png", 2)], "evaluation", crowd))
    share = f"evaluation: {crowds} of {of} regions ({10 * crowds} %) are crowd or difficult"
    assert found == ((f"{share.replace(' %', '%')}, neither taught nor required",) if said else ())


@pytest.mark.parametrize("crowd", [[], [True, True]], ids=["no objects", "crowds alone"])
def test_an_evaluation_without_an_object_is_said(picture, crowd):
    one, other = [picture("a.png", 1)], [picture("b.png", 2)]
    (line, *_) = told(split(one), split(other, "evaluation (b)", crowd))
    assert line == "evaluation (b): no picture has an object that counts, so there is no AP; correct its labels"
    assert not any("no AP" in line for line in told(split(one, crowd=crowd), split(other)))  # refused elsewhere
    assert caveats_of_split(split(other, crowd=crowd), scored=True)[0].endswith("no AP; correct its labels")


def test_a_data_set_that_is_evaluated_on_what_it_is_taught(coco):
    splits = open_dataset(coco.write(), coco.folder)  # the same two pictures in both folders
    (line, *crowded) = caveats(splits)
    assert line == "evaluated on its training pictures: all 2 evaluation pictures are also taught"
    assert len(crowded) == 2  # a crowd among three regions of each split
