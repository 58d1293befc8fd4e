import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


def save_picture(path: Path, width: int, height: int) -> None:
    """A picture whose pixels tell where they are: red grows to the right, green downwards."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = np.linspace(0, 255, width)
    pixels[..., 1] = np.linspace(0, 255, height)[:, None]
    Image.fromarray(pixels).save(path)


class CocoMaker:
    """Small data sets in COCO's layout."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def annotation(self, number: int, bbox: Any, **replaced: Any) -> dict[str, Any]:
        """One annotation; of picture 7 and category 9 unless told otherwise."""
        fields = {"id": number, "image_id": 7, "category_id": 9, "bbox": bbox, "area": 10.0, "iscrowd": 0}
        return fields | replaced

    def content(self, **replaced: Any) -> dict[str, Any]:
        """Two pictures, 100 × 80 and 60 × 90; two objects and a crowd of two classes with odd ids."""
        return {
            "images": [
                {"id": 7, "file_name": "a.png", "width": 100, "height": 80},
                {"id": 3, "file_name": "b.png", "width": 60, "height": 90},
            ],
            "annotations": [
                self.annotation(12, [10, 20, 30, 40]),
                self.annotation(11, [50, 5, 20, 10], category_id=2),
                self.annotation(5, [0, 0, 60, 45], image_id=3, iscrowd=1),
            ],
            "categories": [{"id": 9, "name": "dog"}, {"id": 2, "name": "cat"}],
        } | replaced

    def write(self, train: Any = None, val: Any = None) -> str:
        """Write both splits; content given as text is written as it is. Returns the spec."""
        (self.folder / "annotations").mkdir(parents=True, exist_ok=True)
        for split, content in (("train2017", train), ("val2017", val)):
            save_picture(self.folder / split / "a.png", 100, 80)
            save_picture(self.folder / split / "b.png", 60, 90)
            text = content if isinstance(content, str) else json.dumps(content or self.content())
            (self.folder / "annotations" / f"instances_{split}.json").write_text(text)
        return f"coco:{self.folder}"


class VocMaker:
    """Small data sets in VOC's layout; every picture has 50 × 40 pixels."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def object(self, name: str, *corners: object, difficult: object = 0) -> str:
        """One object of an annotation."""
        keys = ("xmin", "ymin", "xmax", "ymax")
        box = "".join(f"<{key}>{value}</{key}>" for key, value in zip(keys, corners, strict=True))
        return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{box}</bndbox></object>"

    def xml(self, *objects: str, size: str = "<width>50</width><height>40</height>") -> str:
        """The annotation of a picture."""
        return f"<annotation><size>{size}</size>{''.join(objects)}</annotation>"

    def write(self, **lists: dict[str, str]) -> str:
        """Write lists of pictures: list name → {picture name → XML}. Returns the spec."""
        for kind in ("ImageSets/Main", "Annotations"):
            (self.folder / kind).mkdir(parents=True, exist_ok=True)
        for name, pictures in lists.items():
            lines = "".join(f"{stem}\n" for stem in pictures)
            (self.folder / "ImageSets" / "Main" / f"{name}.txt").write_text(lines)
            for stem, xml in pictures.items():
                (self.folder / "Annotations" / f"{stem}.xml").write_text(xml)
                save_picture(self.folder / "JPEGImages" / f"{stem}.png", 50, 40)
        return f"voc:{self.folder}"


@pytest.fixture(name="save_picture", scope="session")
def _save_picture() -> Callable[[Path, int, int], None]:
    return save_picture


@pytest.fixture
def coco(tmp_path: Path) -> CocoMaker:
    return CocoMaker(tmp_path / "coco_set")


@pytest.fixture
def voc(tmp_path: Path) -> VocMaker:
    return VocMaker(tmp_path / "voc_set")
