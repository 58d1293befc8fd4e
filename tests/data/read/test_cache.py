"""Parsed annotations: kept by content, verified, shared, and never needed."""

import json
import multiprocessing
import os
import subprocess
import sys
import threading
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from assignbench.data.dataset import Dataset, describe
from assignbench.data.images import Images
from assignbench.data.read import cache
from assignbench.data.read.annotations import Annotations
from assignbench.data.read.build import build_dataset
from assignbench.data.read.raw import RawSplit
from assignbench.data.read.stored import load, save
from assignbench.data.spec import opening
from assignbench.data.spec.locate import open_dataset, open_evaluation
from assignbench.errors import DataError


@pytest.fixture(autouse=True)
def place(monkeypatch, tmp_path) -> Path:
    """Every file is large enough; the cache is empty."""
    monkeypatch.setattr(cache, "SMALLEST", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return tmp_path / "xdg" / "assignbench" / "annotations"


@pytest.fixture
def parsed(monkeypatch) -> list[Path]:
    """Files that were parsed, one entry each time."""
    files: list[Path] = []
    original = opening.read_coco

    def counting(file: Path, *rest: Any, **named: Any) -> RawSplit:
        files.append(file)
        return original(file, *rest, **named)

    monkeypatch.setattr(opening, "read_coco", counting)
    return files


def same(one: Dataset, other: Dataset) -> bool:
    arrays = ("boxes", "labels", "image", "area", "crowd", "annotation_ids", "sizes")
    facts = ("name", "split", "classes", "category_ids", "repairs", "fingerprint", "offsets")
    return (
        all(np.array_equal(getattr(one, key), getattr(other, key)) for key in arrays)
        and all(getattr(one, key) == getattr(other, key) for key in facts)
        and list(one.images) == list(other.images)
    )


def test_a_second_start_parses_nothing_and_finds_the_same(coco, parsed, place, monkeypatch):
    content = coco.content()
    content["categories"][0]["assignbench_offset"] = [0.25, -0.5]
    content["annotations"][0]["bbox"] = [-5, 20, 30, 40]  # so that there is a repair
    spec = coco.write(content, content)
    first = open_dataset(spec, Path())
    assert len(parsed) == 2
    second = open_dataset(spec, Path())
    assert len(parsed) == 2
    monkeypatch.setattr(cache, "SMALLEST", 1 << 30)
    third = open_dataset(spec, Path())
    for one, other, plain in zip(*((each.train, each.evaluation) for each in (first, second, third)), strict=True):
        assert same(one, other)
        assert same(one, plain)
    assert second.train.repairs
    assert not second.train.boxes.flags.writeable
    assert sorted(path.suffix for path in place.iterdir() if path.suffix != ".lock") == [".arrays", ".arrays"]


def test_the_key_is_the_content_the_question_and_the_reader(coco, parsed, monkeypatch):
    spec = coco.write()
    open_dataset(spec, Path())
    train = coco.folder / "annotations" / "instances_train2017.json"
    stamp = train.stat()

    text = train.read_text()
    changed = text.replace('"bbox": [10, 20, 30, 40]', '"bbox": [10, 20, 30, 41]')
    assert len(changed) == len(text)
    train.write_text(changed)
    os.utime(train, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # same size, same date
    assert open_dataset(spec, Path()).train.boxes[-1].tolist() == [10, 20, 40, 61]
    assert len(parsed) == 3

    train.write_text(text)  # as it was: found again
    assert open_dataset(spec, Path()).train.boxes[-1].tolist() == [10, 20, 40, 60]
    assert len(parsed) == 3

    file = yaml.safe_dump(
        {
            "format": "coco",
            "train": {"annotations": str(train), "images": str(coco.folder / "train2017")},
            "evaluation": {"annotations": str(train), "images": str(coco.folder / "train2017")},
        }
    )
    asked = coco.folder / "asked.yaml"
    asked.write_text(file)
    open_evaluation(str(asked), Path())
    assert len(parsed) == 4  # the same file, for the evaluation
    for number, other in enumerate(("classes: [dog, cat]", "left_out: [a.png]"), start=5):
        asked.write_text(f"{file}{other}\n")
        open_evaluation(str(asked), Path())
        assert len(parsed) == number
    monkeypatch.setattr(cache, "_reader", lambda: "another version")
    open_evaluation(str(asked), Path())
    assert len(parsed) == 7


def test_every_module_between_file_and_arrays_counts_as_the_reader():
    """Whatever read_coco imports of the package's data, decides what the arrays hold."""
    code = (
        "import sys, assignbench.data.read.coco.coco; print(*(module.__file__ for name, module in sys.modules.items() "
        "if name.startswith('assignbench.data.') and not module.__file__.endswith('__init__.py')))"
    )
    files = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert {Path(file) for file in files} <= set(cache.reader_files())


@pytest.mark.parametrize("damage", ["cut", "flip", "header", "empty", "text"])
def test_a_damaged_file_is_noticed_said_and_replaced(coco, parsed, place, damage):
    spec = coco.write()
    sound = open_dataset(spec, Path())
    for file in place.glob("*.arrays"):
        data = bytearray(file.read_bytes())
        if damage == "cut":
            data = data[:-100]
        elif damage == "flip":
            data[-50] ^= 1
        elif damage == "header":
            data = data.replace(b'"boxes"', b'"boxed"', 1)
        file.unlink()  # never written in place: whoever has it mapped would see it change
        file.write_bytes({"empty": b"", "text": b"hello\n"}.get(damage, bytes(data)))
    again = open_dataset(spec, Path())
    assert len(parsed) == 4
    assert same(again.train, sound.train)
    assert any("was damaged" in line and "parsed again" in line for line in describe(again.train))
    assert not any("damaged" in line for line in describe(open_dataset(spec, Path()).train))
    assert len(parsed) == 4


def test_any_flipped_byte_is_noticed(coco, place):
    open_dataset(coco.write(), Path())
    file = min(place.glob("*.arrays"))
    data = file.read_bytes()
    for at in range(0, len(data), 7):
        broken = bytearray(data)
        broken[at] ^= 4
        file.write_bytes(broken)
        found, remark = cache._load(file, "n", "s", Path())
        if found is not None:  # white space between header and arrays says nothing
            assert data[at : at + 1] == b" "
        else:
            assert "was damaged" in str(remark)


def test_without_a_place_to_keep_it_all_goes_on_and_says_so(coco, parsed, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    train = open_dataset(coco.write(), Path()).train
    assert len(train.boxes) == 3
    assert "cannot be kept (cannot write" in describe(train)[-1]
    assert train.shared is None


def test_a_full_disk_leaves_nothing_behind(coco, place, monkeypatch):
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    train = open_dataset(coco.write(), Path()).train
    assert "No space left on device" in describe(train)[-1]
    assert [path for path in place.iterdir() if path.suffix != ".lock"] == []


def test_errors_are_never_remembered(coco):
    content = coco.content()
    content["annotations"][0]["bbox"] = [1, 2, 3]
    spec = coco.write(content)
    for _ in range(2):
        with pytest.raises(DataError, match="'bbox' must be"):
            open_dataset(spec, Path())


def test_pictures_are_asked_for_each_time(coco):
    spec = coco.write()
    open_dataset(spec, Path())
    (coco.folder / "train2017" / "b.png").unlink()
    with pytest.raises(DataError, match="1 of 2 pictures are missing"):
        open_dataset(spec, Path())


def test_a_data_set_that_moved_is_found_with_its_new_folders(coco, parsed, tmp_path):
    open_dataset(coco.write(), Path())
    coco.folder.rename(tmp_path / "moved")
    train = open_dataset(f"coco:{tmp_path / 'moved'}", Path()).train
    assert len(parsed) == 2
    assert train.name == "coco:moved"
    assert all(image.path.is_file() for image in train.images)


def test_a_file_that_changes_while_it_is_read_is_refused(coco, monkeypatch):
    spec = coco.write()
    original = cache._digest
    train = coco.folder / "annotations" / "instances_train2017.json"

    def then_changed(file: Path) -> str:
        found = original(file)
        if file == train:
            file.write_text(json.dumps(coco.content(annotations=[])))
        return found

    monkeypatch.setattr(cache, "_digest", then_changed)
    with pytest.raises(DataError, match="changed while it was read"):
        open_dataset(spec, Path())


def test_of_several_at_once_one_parses(coco, parsed):
    spec = coco.write()
    threads = [threading.Thread(target=open_dataset, args=(spec, Path())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(parsed) == 2


def test_room_is_made_for_the_newest(coco, place, monkeypatch):
    monkeypatch.setattr(cache, "KEPT", 2)
    for number in range(3):
        open_dataset(coco.write(coco.content(info={"number": number})), Path())
    assert len(list(place.glob("*.arrays"))) == 2


def big(place: Path, images: int = 100_000, each: int = 6) -> Dataset:
    """A cached data set of some 45 MB."""
    count = images * each
    ids = np.arange(1, images + 1, dtype=np.int64)
    sizes = np.full((images, 2), 640, dtype=np.int64)
    corners = np.random.default_rng(0).uniform(0, 300, (count, 4))
    boxes = np.hstack([corners[:, :2], corners[:, :2] + corners[:, 2:] + 1])
    raw = RawSplit(
        part="train",
        source=place,
        categories=[(1, "thing")],
        images=Images.named(place, ids, sizes, [f"{number:012}.jpg" for number in ids.tolist()]),
        annotations=Annotations.of(range(1, count + 1), np.repeat(ids, each), [1] * count, boxes, [False] * count),
    )
    dataset = build_dataset(raw, name="big", split="train", classes=None, training=True)
    stored = place / "big.arrays"
    save(dataset, stored)
    return load(stored, "big", "train", place)


def private_memory() -> float:
    """MB that belong to this process alone and cannot be dropped."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:")) / 1e3


def hold(dataset: Dataset, answers: "multiprocessing.Queue[tuple[float, float]]") -> None:
    """In another process: read everything, and say what that cost."""
    import torch  # noqa: F401 - as every loader process does; it takes more memory than the arrays

    total = float(dataset.boxes.sum() + dataset.labels.sum() + dataset.area.sum() + dataset.sizes.sum())
    assert dataset.images[-1].path.name == "000000100000.jpg"
    answers.put((total, private_memory()))


def held(dataset: Dataset) -> tuple[float, float]:
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=hold, args=(dataset, answers))
    process.start()
    answer = answers.get(timeout=60)
    process.join()
    return answer


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's account of memory")
def test_a_loader_process_holds_no_copy(tmp_path, monkeypatch):
    monkeypatch.setattr("assignbench.data.read.build.absent", lambda *_: [])
    shared = big(tmp_path)
    copied = replace(shared)  # whatever is made of it is no longer what lies in the file
    assert copied.shared is None
    assert len(ForkingPickler.dumps(shared)) < 2_000
    assert len(ForkingPickler.dumps(copied)) > 30e6
    (total, with_file), (same_total, with_copy) = held(shared), held(copied)
    assert total == same_total
    assert with_copy - with_file > 30  # MB; what is left is Python and numpy

    (tmp_path / "big.arrays").unlink()  # somebody cleans up while a run goes on
    assert held(shared)[0] == total
