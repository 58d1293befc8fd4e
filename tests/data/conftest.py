"""Small data sets in COCO's and VOC's layout, written below tmp_path."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

WriteCoco = Callable[..., Path]
WriteVoc = Callable[..., Path]


def save_picture(path: Path, width: int, height: int) -> None:
    """Write a picture whose pixels tell where they are: red grows to the right, green downwards."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.linspace(0, 255, width)
    pixels[..., 1] = np.linspace(0, 255, height)[:, None]
    Image.fromarray(pixels).save(path)


def coco_content(**replaced: Any) -> dict[str, Any]:
    """Two pictures, 100 × 80 and 60 × 90, three objects of two classes with ids that are not 0, 1, …"""
    return {
        "images": [
            {"id": 7, "file_name": "a.png", "width": 100, "height": 80},
            {"id": 3, "file_name": "b.png", "width": 60, "height": 90},
        ],
        "annotations": [
            annotation(12, [10, 20, 30, 40]),
            annotation(11, [50, 5, 20, 10], category_id=2),
            annotation(5, [0, 0, 60, 45], image_id=3, iscrowd=1),
        ],
        "categories": [{"id": 9, "name": "dog"}, {"id": 2, "name": "cat"}],
    } | replaced


def annotation(number: int, bbox: Any, **replaced: Any) -> dict[str, Any]:
    """One annotation of picture 7."""
    fields = {"id": number, "image_id": 7, "category_id": 9, "bbox": bbox, "area": 10.0, "iscrowd": 0}
    return fields | replaced


@pytest.fixture
def coco_folder(tmp_path: Path) -> WriteCoco:
    """Write both splits of a folder in COCO's layout; a split given as text is written as it is."""

    def write(train: Any = None, val: Any = None) -> Path:
        folder = tmp_path / "coco_set"
        (folder / "annotations").mkdir(parents=True, exist_ok=True)
        for split, content in (("train2017", train), ("val2017", val)):
            save_picture(folder / split / "a.png", 100, 80)
            save_picture(folder / split / "b.png", 60, 90)
            text = content if isinstance(content, str) else json.dumps(content or coco_content())
            (folder / "annotations" / f"instances_{split}.json").write_text(text)
        return folder

    return write


def voc_object(name: str, *corners: object, difficult: object = 0) -> str:
    """One object of a VOC annotation."""
    box = "".join(
        f"<{key}>{value}</{key}>" for key, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    )
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{box}</bndbox></object>"


def voc_xml(objects: Iterable[str], size: str = "<width>50</width><height>40</height>") -> str:
    """A VOC annotation of a picture of 50 × 40 pixels."""
    return f"<annotation><size>{size}</size>{''.join(objects)}</annotation>"


@pytest.fixture
def voc_folder(tmp_path: Path) -> WriteVoc:
    """Write a folder in VOC's layout: ``lists`` maps list names to {picture name: XML}."""

    def write(**lists: dict[str, str]) -> Path:
        folder = tmp_path / "voc_set"
        for kind in ("ImageSets/Main", "Annotations"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        for name, pictures in lists.items():
            (folder / "ImageSets" / "Main" / f"{name}.txt").write_text("".join(f"{stem}\n" for stem in pictures))
            for stem, xml in pictures.items():
                (folder / "Annotations" / f"{stem}.xml").write_text(xml)
                save_picture(folder / "JPEGImages" / f"{stem}.png", 50, 40)
        return folder

    return write
