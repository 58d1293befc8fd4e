"""The built-in data set: generated pictures on disk, in COCO's format, so that they take COCO's path.

Every picture is drawn from its own seed (version, seed, split, number): nothing depends on order. On one
platform equal parameters give equal bytes; across platforms the last bits of floating point may differ.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from PIL import Image

from assignbench.data.read.coco.entry import OFFSET_KEY
from assignbench.data.shapes.forms import FORMS
from assignbench.data.shapes.scene import Drawn, draw_scene
from assignbench.errors import SystemProblem
from assignbench.files import read_regular

VERSION = 1  # to be raised with every change of what is drawn: it enters all seeds and the folder's name

SPLITS = ("train", "val")


@dataclass(frozen=True)
class ShapesParameters:
    """Everything that the pictures depend on, besides `VERSION`."""

    seed: int  # ≥ 0
    train: int  # pictures
    evaluation: int  # pictures
    short_side: int  # pixels, of every picture
    long_side: int  # pixels; long sides are drawn between the two, half of the pictures stand upright
    smallest: float  # pixels of an object's longer side
    largest: float  # pixels; no object is longer than nine tenths of the short side
    turned: bool = False  # each object by 0 to 3 quarter turns; a class has no offset of its own then


def prepare_shapes(parameters: ShapesParameters, data_root: Path) -> Path:
    """Draw the data set unless an intact copy is there; a damaged one is drawn again.

    Any number of processes may call this at once: one draws, the others wait.

    Returns:
        The folder: ``annotations/instances_{train,val}.json``, ``train/``, ``val/``, ``manifest.json``.

    Raises:
        SystemProblem: when the folder cannot be written.
    """
    wanted = {"version": VERSION, **asdict(parameters)}
    name = "shapes-" + hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()[:10]
    folder = data_root / name
    if _intact(folder, wanted):
        return folder
    try:
        data_root.mkdir(parents=True, exist_ok=True)
        with FileLock(data_root / f".{name}.lock"):
            if not _intact(folder, wanted):  # another process may have been quicker
                for leftover in data_root.glob(f".{name}-*"):  # of processes that were killed
                    shutil.rmtree(leftover)
                draft = data_root / f".{name}-{os.getpid()}"
                _write(parameters, draft)
                _write_json(draft / "manifest.json", {**wanted, "digest": _digest(draft)})
                if folder.exists():
                    shutil.rmtree(folder)
                draft.rename(folder)
    except OSError as error:
        raise SystemProblem(
            f"the data set shapes cannot be written below {data_root}: {error.strerror or error}; "
            "free space or choose another --data-root"
        ) from error
    return folder


def _intact(folder: Path, wanted: Mapping[str, object]) -> bool:
    """Whether the folder holds what its manifest says, to the last byte (0.1 s for 600 pictures)."""
    try:
        manifest = json.loads(read_regular(folder / "manifest.json"))
        return manifest == {**wanted, "digest": _digest(folder)}
    except (OSError, ValueError):  # absent, unreadable or truncated: not intact
        return False


def _digest(folder: Path) -> str:
    """sha256 over names and contents of everything but the manifest."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "manifest.json":
            digest.update(f"{path.relative_to(folder).as_posix()}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _write(parameters: ShapesParameters, folder: Path) -> None:
    """Pictures first, then both annotation files: the offsets are means over all objects drawn."""
    counts = (parameters.train, parameters.evaluation)
    scenes = [
        list(_write_pictures(parameters, folder / split, number, count))
        for number, (split, count) in enumerate(zip(SPLITS, counts, strict=True))
    ]
    categories = _categories([drawn for split in scenes for _, _, drawn in split])
    (folder / "annotations").mkdir()
    for split, pictures in zip(SPLITS, scenes, strict=True):
        _write_json(folder / "annotations" / f"instances_{split}.json", _coco(pictures, categories))


def _write_pictures(
    parameters: ShapesParameters, folder: Path, split: int, count: int
) -> Iterator[tuple[int, int, list[Drawn]]]:
    """Draw and store a split; yields width, height and objects of each picture."""
    folder.mkdir(parents=True)
    for number in range(count):
        random = np.random.default_rng((VERSION, parameters.seed, split, number))
        long_side = int(random.integers(parameters.short_side, parameters.long_side + 1))
        upright = random.random() < 0.5
        width, height = sorted((parameters.short_side, long_side), reverse=not upright)
        sizes = parameters.smallest, parameters.largest
        pixels, drawn = draw_scene(random, width=width, height=height, sizes=sizes, turned=parameters.turned)
        Image.fromarray(pixels).save(folder / _file_name(number), quality=92, subsampling=0)
        yield width, height, drawn


def _file_name(number: int) -> str:
    return f"{number + 1:06}.jpg"


def _categories(scenes: Sequence[Sequence[Drawn]]) -> list[dict[str, object]]:
    """COCO categories, with the mean offset of the visible mass from the box centre, in box sizes."""
    categories = []
    for label, name in enumerate(FORMS):
        category: dict[str, object] = {"id": label + 1, "name": name}
        offsets = [drawn.offset for scene in scenes for drawn in scene if drawn.label == label]
        if offsets:
            category[OFFSET_KEY] = (np.mean(offsets, axis=0).round(3) + 0.0).tolist()  # not −0.0
        categories.append(category)
    return categories


def _coco(
    pictures: Sequence[tuple[int, int, Sequence[Drawn]]], categories: Sequence[Mapping[str, object]]
) -> dict[str, object]:
    """One split as COCO stores it; ids count from 1, coordinates are rounded to 0.01 pixels as COCO's are."""
    images, annotations = [], []
    for number, (width, height, scene) in enumerate(pictures):
        images.append({"id": number + 1, "file_name": _file_name(number), "width": width, "height": height})
        for drawn in scene:
            x0, y0, x1, y1 = drawn.box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number + 1,
                    "category_id": drawn.label + 1,
                    "bbox": [round(value, 2) for value in (x0, y0, x1 - x0, y1 - y0)],
                    "area": round(drawn.area, 2),
                    "iscrowd": 0,
                }
            )
    return {"images": images, "annotations": annotations, "categories": list(categories)}


def _write_json(file: Path, content: Mapping[str, object]) -> None:
    file.write_text(json.dumps(content), encoding="utf-8")
