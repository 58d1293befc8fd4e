"""From a specification to the files it needs, to what they state, and to the data set they hold."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from assignbench.data.dataset import Dataset, Official
from assignbench.data.images import Stored
from assignbench.data.read.build import build_dataset
from assignbench.data.read.cache import remembered
from assignbench.data.read.coco.coco import read_coco
from assignbench.data.read.coco.pieces import Digest
from assignbench.data.read.findings import FRAMES_DIVIDED, Severity
from assignbench.data.read.picture_names import respelt
from assignbench.data.read.raw import RawSplit
from assignbench.data.read.voc import VocList, read_voc
from assignbench.data.read.widerface import read_widerface
from assignbench.data.read.yolo import read_yolo
from assignbench.data.spec.division import taught
from assignbench.data.spec.schema import CocoSpec, CocoSplit, VocSpec, VocSplit, WiderfaceSpec, YoloSpec
from assignbench.errors import UsageError

Readable = CocoSpec | VocSpec | WiderfaceSpec | YoloSpec
Part = Literal["train", "evaluation", "test"]

_FRAME = re.compile(r"frame[ _-]?\d+[^/]*$", re.IGNORECASE)  # as CVAT and ffmpeg call them


def files_of(spec: Readable, base: Path, part: Part) -> list[Path]:
    """Files and folders that a split cannot be read without; pictures not one by one.

    Raises:
        UsageError: the data set has no test split.
    """
    if isinstance(spec, VocSpec):
        lists = _voc_lists(spec, base, part)
        return [*(one.file for one in lists), *(place for one in lists for place in (one.annotations, one.images))]
    if isinstance(spec, YoloSpec):
        return _yolo_places(spec, base, part)
    split = _coco_split(spec, part)
    return [base / split.annotations, base / split.images]


def read_part(
    spec: Readable, base: Path, part: Part, *, classes: Sequence[str] | None = None, digest: Digest | None = None
) -> RawSplit:
    """What the files of a split state: of a divided list, the share of this split.

    Args:
        spec: what to read.
        base: folder that its paths are relative to.
        part: which split.
        classes: those of the training split; None: the specification's.
        digest: gets every byte of a COCO file.

    Raises:
        UsageError: the data set has no test split.
    """
    classes = _classes(spec, classes)
    if isinstance(spec, VocSpec):
        raw = read_voc(_voc_lists(spec, base, part), part, classes=classes, pixel_origin=spec.pixel_origin)
    elif isinstance(spec, YoloSpec):
        places = _yolo_places(spec, base, part)
        raw = read_yolo(places, part, source=base, classes=spec.classes, keypoints=spec.keypoints)
    elif isinstance(spec, WiderfaceSpec):
        split = _coco_split(spec, part)
        raw = read_widerface(base / split.annotations, base / split.images, part)
    else:
        split = _coco_split(spec, part)
        raw = read_coco(
            base / split.annotations,
            base / split.images,
            part,
            digest or hashlib.sha256(),
            classes=spec.classes,
            labelled=part != "test",
            folders=spec.folders,
            left_out=spec.left_out,
        )
    if spec.split is not None and len(raw.images):
        chosen = taught(list(raw.images.names()), spec.split)
        raw = _share(raw, chosen if part == "train" else ~chosen, part)
    upright = isinstance(spec, YoloSpec) if spec.upright is None else spec.upright
    stored = Stored(upright, spec.bits, stated=spec.upright is not None)
    return respelt(replace(raw, images=replace(raw.images, stored=stored)))


def _share(raw: RawSplit, chosen: NDArray[np.bool_], part: Part) -> RawSplit:
    """One side of a list; what belongs to no picture is said on the side that is taught."""
    own = raw.only(chosen)
    findings = list(own.findings)
    if part != "train":
        findings = [one for one in findings if one.table != "nothing" or one.kind.severity is Severity.ERROR]
    frames = [at for at, name in enumerate(own.images.names()) if _FRAME.search(name)]
    if 2 * len(frames) > len(own.images):
        findings.append(own.finding(FRAMES_DIVIDED, "images", np.array(frames, dtype=np.int64)))
    return replace(own, findings=findings)


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
        DataError: as `build_dataset`.
    """
    split = f"{part} ({' + '.join(_own_names(spec, base, part))})"
    wanted = _classes(spec, classes)

    def built(digest: Digest) -> Dataset:
        return build_dataset(  # which frees what was read as soon as it can
            read_part(spec, base, part, classes=classes, digest=digest),
            name=name,
            split=split,
            classes=wanted,
            training=part == "train",
        )

    if isinstance(spec, CocoSpec):
        place = _coco_split(spec, part)
        choices = {
            "part": part,
            "classes": None if wanted is None else list(wanted),
            "folders": spec.folders,
            "left_out": sorted(spec.left_out),
            "split": spec.split,
            "bits": spec.bits,
            "upright": spec.upright,
        }
        file, pictures = base / place.annotations, base / place.images
        dataset = remembered(file, choices, built, name=name, split=split, pictures=pictures)
    else:
        dataset = built(hashlib.sha256())
    return dataset.scored_by(official_of(spec, base))


def official_of(spec: Readable, base: Path) -> Official | None:
    """Whose own metrics the data set has; ``base`` is what the paths of ``spec`` are relative to."""
    if isinstance(spec, VocSpec):
        return Official("voc")
    if isinstance(spec, YoloSpec) or (isinstance(spec, CocoSpec) and spec.official is None):
        return None
    protocol = spec.official if isinstance(spec, CocoSpec) and spec.official else "widerface"
    return Official(protocol, None if spec.lists is None else base / spec.lists)


def _classes(spec: Readable, classes: Sequence[str] | None) -> Sequence[str] | None:
    if isinstance(spec, WiderfaceSpec):
        return None
    return classes or spec.classes


def _own_names(spec: Readable, base: Path, part: Part) -> list[str]:
    """What the publisher calls a split: the names of its lists or folders."""
    if isinstance(spec, VocSpec):
        return [f"{one.folder.name} {one.list or ''}".strip() for one in _voc_lists(spec, base, part)]
    if isinstance(spec, YoloSpec):
        places = _yolo_places(spec, base, part)
        return [place.parent.name if place.name == "images" else place.name for place in places]
    split = _coco_split(spec, part)
    if isinstance(spec, WiderfaceSpec):
        return [split.annotations.stem]
    return [Path(os.path.normpath(base / split.images)).name]  # of ".", the folder's own


def _coco_split(spec: CocoSpec | WiderfaceSpec, part: Part) -> CocoSplit:
    if part == "test":
        return getattr(spec, "test", None) or _refuse_test()
    return spec.train if part == "train" or spec.evaluation is None else spec.evaluation


def _voc_lists(spec: VocSpec, base: Path, part: Part) -> list[VocList]:
    if part == "test":
        _refuse_test()
    splits = spec.train if part == "train" or spec.evaluation is None else spec.evaluation
    return [_voc_list(base / split.folder, split) for split in splits]


def _voc_list(folder: Path, split: VocSplit) -> VocList:
    return VocList(folder, split.list, folder / split.annotations, folder / split.images)


def _yolo_places(spec: YoloSpec, base: Path, part: Part) -> list[Path]:
    if part == "test":
        _refuse_test()
    places = spec.train if part == "train" or spec.evaluation is None else spec.evaluation
    return [base / place for place in places]


def _refuse_test() -> NoReturn:
    raise UsageError("this data set has no test split without annotations; coco has one")
