"""From a specification to the files it needs, and to the data set they hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NoReturn

from assignbench.data.dataset import Dataset, Official
from assignbench.data.read.coco import read_coco
from assignbench.data.read.voc import VocList, read_voc
from assignbench.data.read.widerface import read_widerface
from assignbench.data.read.yolo import YoloFolder, read_yolo
from assignbench.data.spec.schema import CocoSpec, CocoSplit, VocSpec, VocSplit, WiderfaceSpec, YoloSpec
from assignbench.errors import UsageError

Readable = CocoSpec | VocSpec | WiderfaceSpec | YoloSpec
Part = Literal["train", "evaluation", "test"]


def files_of(spec: Readable, base: Path, part: Part) -> list[Path]:
    """Files and folders that a split cannot be read without; pictures not one by one.

    Raises:
        UsageError: the data set has no test split.
    """
    if isinstance(spec, VocSpec):
        lists = _lists(_voc_part(spec, part), base)
        folders = [one.folder / kind for one in lists for kind in ("Annotations", "JPEGImages")]
        return [*(one.file for one in lists), *folders]
    if isinstance(spec, YoloSpec):
        return [base / place for place in _yolo_part(spec, part)]
    split = _coco_part(spec, part)
    return [base / split.annotations, base / split.images]


def open_part(spec: Readable, base: Path, part: Part, *, name: str, classes: Sequence[str] | None) -> Dataset:
    """Read one split.

    Args:
        spec: what to read.
        base: folder that its paths are relative to.
        part: which split.
        name: what tables print.
        classes: those of the training split; None: the specification's, or those of the split itself.

    Raises:
        UsageError: the data set has no test split.
        DataError: as the readers.
    """
    training = part == "train"
    if isinstance(spec, VocSpec):
        lists = _lists(_voc_part(spec, part), base)
        dataset = read_voc(
            lists,
            name=name,
            split=_named(part, [f"{one.folder.name} {one.list}" for one in lists]),
            training=training,
            classes=classes or spec.classes,
            pixel_origin=spec.pixel_origin,
        )
        return replace(dataset, official=Official("voc"))
    if isinstance(spec, YoloSpec):
        places = [base / place for place in _yolo_part(spec, part)]
        split = _named(part, [place.parent.name if place.name == "images" else place.name for place in places])
        return read_yolo(yolo_folder(spec, base), places, name=name, split=split, training=training)
    place = _coco_part(spec, part)
    file, pictures = base / place.annotations, base / place.images
    if isinstance(spec, WiderfaceSpec):
        dataset = read_widerface(file, pictures, name=name, split=_named(part, [file.stem]), training=training)
        lists = None if spec.lists is None else base / spec.lists
        return replace(dataset, official=Official("widerface", lists))
    return read_coco(
        file,
        pictures,
        name=name,
        split=_named(part, [place.images.name]),
        training=training,
        classes=classes or spec.classes,
        labelled=part != "test",
        folders=spec.folders,
        left_out=spec.left_out,
    )


def yolo_folder(spec: YoloSpec, base: Path) -> YoloFolder:
    """As the reader wants it."""
    train, evaluation = (tuple(base / place for place in places or ()) for places in (spec.train, spec.evaluation))
    return YoloFolder(base / "data.yaml", tuple(spec.classes), train, evaluation)


def _coco_part(spec: CocoSpec | WiderfaceSpec, part: Part) -> CocoSplit:
    split = getattr(spec, part, None)
    return split if split is not None else _refuse_test()


def _voc_part(spec: VocSpec, part: Part) -> list[VocSplit]:
    return spec.train if part == "train" else (spec.evaluation or []) if part == "evaluation" else _refuse_test()


def _yolo_part(spec: YoloSpec, part: Part) -> list[Path]:
    return spec.train if part == "train" else (spec.evaluation or []) if part == "evaluation" else _refuse_test()


def _refuse_test() -> NoReturn:
    raise UsageError("this data set has no test split without annotations; coco has one")


def _lists(splits: Sequence[VocSplit], base: Path) -> list[VocList]:
    return [VocList(base / split.folder, split.list or "") for split in splits]


def _named(part: Part, own: Sequence[str]) -> str:
    return f"{part} ({' + '.join(own)})"
