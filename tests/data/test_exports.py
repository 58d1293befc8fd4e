"""Folders as four more tools leave them on the disk, opened by their path alone."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assignbench.data.dataset import Dataset
from assignbench.data.spec.locate import locate, open_dataset

WIDTH, HEIGHT = 120, 90
CLASSES = ("bolt", "nut")
Objects = list[tuple[int, int, int, int, int]]  # class, x0 y0 x1 y1


def truth(number: int) -> Objects:
    """Objects of a picture, in whole pixels, so that every format can state them."""
    return [(number % 2, 10 + number, 20, 50 + number, 60), (1 - number % 2, 70, 5 + number, 100, 40 + number)]


def picture(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, format="JPEG")


def fiftyone(folder: Path) -> dict[str, Objects]:
    """One list in labels.json, pictures in data/, ids from 0 and no area."""
    images, annotations = [], []
    for number in range(10):
        name = f"{number:06}.jpg"
        picture(folder / "data" / name, number)
        images.append({"id": number, "file_name": name, "height": HEIGHT, "width": WIDTH, "license": None})
        for label, x0, y0, x1, y1 in truth(number):
            one = {"id": len(annotations), "image_id": number, "category_id": label, "iscrowd": 0}
            annotations.append({**one, "bbox": [x0, y0, x1 - x0, y1 - y0], "supercategory": None})
    categories = [{"id": at, "name": name, "supercategory": None} for at, name in enumerate(CLASSES)]
    content = {"info": {}, "licenses": [], "categories": categories, "images": images, "annotations": annotations}
    (folder / "labels.json").write_text(json.dumps(content))
    return {f"{number:06}.jpg": truth(number) for number in range(10)}


def label_studio(folder: Path) -> dict[str, Objects]:
    """YOLO's labels with classes.txt and notes.json; the names begin with a code."""
    for number in range(10):
        stem = f"{number:08x}-bild_{number}"
        picture(folder / "images" / f"{stem}.jpg", number)
        yolo_labels(folder / "labels" / f"{stem}.txt", number)
    (folder / "classes.txt").write_text("\n".join(CLASSES))
    notes = [{"id": at, "name": name} for at, name in enumerate(CLASSES)]
    (folder / "notes.json").write_text(json.dumps({"categories": notes, "info": {"contributor": "Label Studio"}}))
    return {f"{number:08x}-bild_{number}.jpg": truth(number) for number in range(10)}


def labelimg_xml(folder: Path) -> dict[str, Objects]:
    """VOC's XML beside each picture, with the path of another machine, capitals in the suffix, blanks and accents."""
    for number in range(10):
        name = f"Schraube groß {number}"
        picture(folder / f"{name}.JPG", number)
        found = "".join(
            f"<object><name>{CLASSES[label]}</name><pose>Unspecified</pose><truncated>0</truncated>"
            f"<difficult>0</difficult><bndbox><xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin><xmax>{x1}</xmax>"
            f"<ymax>{y1}</ymax></bndbox></object>"
            for label, x0, y0, x1, y1 in truth(number)
        )
        size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
        path = f"<path>C:\\Users\\me\\{name}.JPG</path><source><database>Unknown</database></source>"
        text = f"<annotation><folder>me</folder><filename>{name}.JPG</filename>{path}{size}{found}</annotation>"
        (folder / f"{name}.xml").write_text(text, encoding="utf-8")
    return {f"Schraube groß {number}.JPG": truth(number) for number in range(10)}


def labelimg_yolo(folder: Path) -> dict[str, Objects]:
    """Pictures, labels and classes.txt in one folder for each split."""
    for split, numbers in (("train", range(7)), ("valid", range(7, 10))):
        for number in numbers:
            picture(folder / split / f"{number}.jpeg", number)
            yolo_labels(folder / split / f"{number}.txt", number)
        (folder / split / "classes.txt").write_text("".join(f"{name}\r\n" for name in CLASSES))
    return {f"{number}.jpeg": truth(number) for number in range(10)}


def yolo_labels(file: Path, number: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = (
        (label, (x0 + x1) / 2 / WIDTH, (y0 + y1) / 2 / HEIGHT, (x1 - x0) / WIDTH, (y1 - y0) / HEIGHT)
        for label, x0, y0, x1, y1 in truth(number)
    )
    file.write_text("".join(f"{label} {x:.6f} {y:.6f} {w:.6f} {h:.6f}\n" for label, x, y, w, h in rows))


def objects_of(dataset: Dataset) -> dict[str, Objects]:
    found = {}
    for index, image in enumerate(dataset.images):
        own = dataset.objects_of(index)
        boxes = dataset.boxes[own].round(2).tolist()
        found[image.path.name] = [(label, *box) for label, box in zip(dataset.labels[own].tolist(), boxes, strict=True)]
    return found


@pytest.mark.parametrize(
    "write", [fiftyone, label_studio, labelimg_xml, labelimg_yolo], ids=lambda write: write.__name__
)
def test_a_folder_of_a_tool_opens_right(tmp_path: Path, write: Callable[[Path], dict[str, Objects]]) -> None:
    (tmp_path / "set").mkdir()
    wanted = write(tmp_path / "set")
    splits = open_dataset(str(tmp_path / "set"), tmp_path)
    assert splits.train.classes == CLASSES
    taught, scored = objects_of(splits.train), objects_of(splits.evaluation)
    assert not set(taught) & set(scored)
    assert {**taught, **scored} == {name: [tuple(map(float, one)) for one in rows] for name, rows in wanted.items()}
    assert len(scored) in (2, 3)


def test_pictures_are_said_to_lie_where_they_lie(tmp_path: Path) -> None:
    folder = tmp_path / "cells-ls"
    fiftyone(folder)
    (folder / "data").rename(folder / "images")  # Label Studio's result.json counts names from its own folder
    content = json.loads((folder / "labels.json").read_text())
    for image in content["images"]:
        image["file_name"] = f"images/{image['file_name']}"
    (folder / "labels.json").unlink()
    (folder / "result.json").write_text(json.dumps(content))
    said = "Label Studio's export as COCO: result.json with the pictures in images"
    assert locate(str(folder), tmp_path).chosen == (said,)
    splits = open_dataset(str(folder), tmp_path)
    assert (splits.train.split, splits.evaluation.split) == ("train (cells-ls)", "evaluation (cells-ls)")
