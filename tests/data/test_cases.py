"""Data sets as annotation tools write them, each opened by its folder alone: the right boxes, or a refusal in words.

The folders are written by the script of the cases, where it lies beside the checkout; skipped elsewhere.
"""

import json
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest

from assignbench.data.dataset import Dataset
from assignbench.data.spec.locate import open_dataset
from assignbench.errors import DataError

SCRIPT = Path(__file__).parents[3] / "shared" / "cases" / "make.py"

pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason=f"no cases in {SCRIPT.parent}")

# What is not read, and a part of the sentence that says so.
REFUSED = {
    "csv": "a table (labels.csv), which is not supported",
    "kitti": "convert",
    "labelme": "convert",
    "y_dupkey": "data.yaml, line 4: key 'nc' is given twice",
    "y_numnames": "data.yaml: class 0 must be text, not 0; put it in quotes",
    "y_pose": "im20.txt, line 1: 5 columns; a class, a box and 3 keypoints of 3 numbers are 14",
    "y_pose2": "im20.txt, line 1: 5 columns; a class, a box and 3 keypoints of 2 numbers are 11",
}

# Whose labels the script replaced: what they say in pixels of 160 × 120, of every training picture.
REPLACED = {"y_sci": (60, 45, 100, 75), "y_obb": (16, 12, 64, 60)}

TOLERANCE = {"coco_intbox": 1.0}  # pixels; the boxes were rounded

# What must have been said of some of them, in a remark or a repair.
SAID = {
    "cvat_coco": "there is one list of pictures: 80 % of them are taught",
    "coco_nosize": "size missing, taken from the picture",
    "coco_polyonly": "box missing, taken around the polygon",
    "coco_strid": "numeric id written as text",
    "labelstudio_win": "picture found under another spelling of its name",
    "roboflow_coco": "category without objects that only groups others, left out",
    "voc_float": "pixels are counted from 0 in both splits, since",
    "voc_list_flag": "line with a suffix, a flag, commas or a class like 1.0",
    "y_floatclass": "line with a suffix, a flag, commas or a class like 1.0",
    "y_noval": "images/val is not used",
    "y_twoyaml": "not read: hyp.yaml",
}


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cases")
    subprocess.run([sys.executable, str(SCRIPT), str(folder)], check=True)
    return folder


def truth(cases: Path) -> dict[str, list[tuple[int, float, float, float, float]]]:
    """Picture → class and corners of its objects."""
    files = (json.loads((cases / f"truth_{split}.json").read_text()) for split in ("train", "val"))
    return {name: [(c, x, y, x + w, y + h) for c, x, y, w, h in boxes] for name, boxes in chain(*files)}


def read(dataset: Dataset) -> dict[str, list[tuple[int, float, float, float, float]]]:
    """The same of a data set."""
    found = {}
    for index, image in enumerate(dataset.images):
        own = dataset.objects_of(index)
        rows = zip(dataset.labels[own].tolist(), dataset.boxes[own].tolist(), strict=True)
        found[image.path.name] = [(label, *box) for label, box in rows]
    return found


def test_every_folder_opens_right_or_is_refused_in_words(cases: Path) -> None:
    wanted = truth(cases)
    names = sorted(path.name for path in cases.iterdir() if path.is_dir())
    assert len(names) > 60
    wrong = []
    for name in names:
        try:
            splits = open_dataset(str(cases / name), Path())
        except DataError as error:
            if REFUSED.get(name, "\0") not in str(error):
                wrong.append(f"{name}: refused: {error}")
            continue
        if name in REFUSED:
            wrong.append(f"{name}: opened")
            continue
        classes = ("yes", "no") if name == "y_yesno" else ("cat", "toy car")
        if splits.train.classes != classes:
            wrong.append(f"{name}: {splits.train.classes}")
        for dataset in (splits.train, splits.evaluation):
            for picture, objects in read(dataset).items():
                truly = wanted[picture]
                if dataset is splits.train and name in REPLACED:
                    truly = [(0, *REPLACED[name])]
                if not equal(objects, truly, TOLERANCE.get(name, 0.02)):
                    wrong.append(f"{name}: {picture} has {objects}, not {truly}")
        said = [*map(str, splits.train.repairs), *splits.train.remarks]
        if name in SAID and not any(SAID[name] in text for text in said):
            wrong.append(f"{name}: it says only {said}")
    assert not wrong, "\n".join(wrong)


def equal(found: list[tuple[int, float, float, float, float]], wanted: list[tuple[float, ...]], near: float) -> bool:
    """Whether two lists hold the same objects, in any order."""
    pairs = zip(sorted(found), sorted(wanted), strict=False)
    close = all(one[0] == other[0] and one[1:] == pytest.approx(other[1:], abs=near) for one, other in pairs)
    return len(found) == len(wanted) and close


def test_the_yaml_files_beside_them_open_right(cases: Path) -> None:
    wanted = truth(cases)
    files = sorted(cases.glob("*/my*.yaml"))
    assert len(files) > 5
    for file in files:
        splits = open_dataset(str(file), Path())
        for picture, objects in chain(read(splits.train).items(), read(splits.evaluation).items()):
            assert equal(objects, wanted[picture], 0.02), f"{file}: {picture}"
