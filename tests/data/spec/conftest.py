import json
from collections.abc import Callable
from pathlib import Path

import pytest

LABEL = "0 0.5 0.5 0.2 0.2\n"
XML = "<annotation><object><name>cat</name></object></annotation>"


@pytest.fixture
def lay_out(tmp_path: Path) -> Callable[..., Path]:
    """Write a folder from its paths: ``lay_out("train/a.jpg", "train/a.xml")``, or with contents as keywords."""

    def lay_out(*paths: str, folder: str = "set", **contents: str) -> Path:
        root = tmp_path / folder
        root.mkdir(exist_ok=True)
        for path in paths:
            place, _, content = path.partition(" = ")
            file = root / place
            file.parent.mkdir(parents=True, exist_ok=True)
            plain = {".txt": LABEL, ".xml": XML, ".json": coco_json("a.jpg")}.get(file.suffix, "")
            file.write_text(contents.get(content, content) if content else plain)
        return root

    return lay_out


def coco_json(*names: str) -> str:
    images = [{"id": place, "file_name": name, "width": 9, "height": 9} for place, name in enumerate(names)]
    annotation = {"id": 1, "image_id": 0, "category_id": 1, "bbox": [1, 1, 2, 2]}
    return json.dumps({"images": images, "annotations": [annotation], "categories": [{"id": 1, "name": "cat"}]})


@pytest.fixture(name="coco_json", scope="session")
def _coco_json() -> Callable[..., str]:
    return coco_json
