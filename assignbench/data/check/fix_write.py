"""The repaired copy on the disk: annotations as COCO JSON, a YAML file that opens it, and the list of changes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assignbench.data.check.check import Check
from assignbench.data.check.fix import Change, Fixed, fix_split
from assignbench.data.check.looks import Look, suffix_of
from assignbench.data.check.rules import split_findings
from assignbench.data.check.splits import joint_findings
from assignbench.data.images import Images
from assignbench.data.read.findings import (
    CLASS_NOT_TRAINED,
    FILE_UNREADABLE,
    LABELS_OTHERWISE,
    PICTURE_ROTATED,
    Finding,
    Severity,
)
from assignbench.data.read.raw import Item, RawSplit
from assignbench.data.spec.locate import open_dataset
from assignbench.errors import DataError, UsageError
from assignbench.files import written_folder

SPEC = "dataset.yaml"
REPORT = "fix_report.json"

SHOWN = 3  # details of an error that is left
_BLOCK = 50_000  # entries written at once


@dataclass(frozen=True)
class Repaired:
    """Where the copy is, and what was changed."""

    spec: Path
    report: Path
    changes: tuple[Change, ...]
    left: tuple[Finding, ...] = ()  # errors that no rule can put right: the copy has them, too


def refuse_full_folder(folder: Path) -> None:
    """Before anything is read: the copy goes into a folder of its own.

    Raises:
        UsageError: something is there already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"--fix {folder}: it exists and is not empty; name a new folder")


def write_fixed(check: Check, folder: Path, *, copy_pictures: bool = False) -> Repaired:
    """Write a repaired copy; the data set itself is left as it is.

    Args:
        check: what was found.
        folder: new or empty; it appears when all is written.
        copy_pictures: copy the pictures, too, instead of pointing to where they are.

    Raises:
        UsageError: the folder is not empty.
        DataError: an annotation file cannot be read at all, or nothing would be left.
        SystemProblem: the disk is full or read-only.
    """
    refuse_full_folder(folder)
    for finding in check.findings:
        if finding.kind is FILE_UNREADABLE:
            raise DataError(f"nothing can be repaired while a file cannot be read: {finding.details[0]}")
        if finding.kind is LABELS_OTHERWISE:  # a copy would have the wrong boxes, which nothing could tell any more
            raise DataError(f"nothing can be repaired while labels mean something else: {finding.details[0]}")
    fixed = [fix_split(raw, check.findings, check.looks) for raw in (check.train, check.evaluation)]
    for one in fixed:
        if not len(one.raw.images):
            raise DataError(f"{one.raw.source}: no picture of the {one.raw.part} split can be kept")
    classes, train, added = _classes(*fixed)
    splits = [train, fixed[1].raw]
    changes = (*fixed[0].changes, *fixed[1].changes, *added)
    left = _errors_in([replace(raw, classes=classes) for raw in splits], check.looks)
    with written_folder(folder) as staged:
        folders = [_write_split(raw, check.looks, staged, copy_pictures) for raw in splits]
        _write(staged / SPEC, _yaml(check, classes, folders))
        _write(staged / REPORT, _report(check, splits, changes, left))
        try:
            open_dataset(str(staged / SPEC), staged)
        except DataError as error:
            raise DataError(f"the repaired copy would be refused, too: {error}") from error
        if hasattr(os, "sync"):  # Windows has none
            os.sync()
        if folder.exists():
            folder.rmdir()
    return Repaired(folder / SPEC, folder / REPORT, changes, left)


def _errors_in(splits: list[RawSplit], looks: dict[str, Look]) -> tuple[Finding, ...]:
    """What `check_dataset` would find in the copy, whose pictures have been looked at already."""
    train, evaluation = splits
    found = [
        *split_findings(train, looks),
        *split_findings(evaluation, looks),
        *joint_findings(train, evaluation, looks),
    ]
    return tuple(one for one in found if one.kind.severity is Severity.ERROR)


def _classes(train: Fixed, evaluation: Fixed) -> tuple[list[str], RawSplit, list[Change]]:
    """The classes in their order; those that only the evaluation knows are taught, without objects."""
    numbers = {name: number for number, name in train.raw.categories}
    classes = list(train.raw.classes or sorted(numbers, key=lambda name: numbers[name]))
    new = [name for _, name in (*train.raw.categories, *evaluation.raw.categories) if name not in classes]
    new = list(dict.fromkeys(new))
    if not new:
        return classes, train.raw, []
    free = max(numbers.values(), default=0) + 1
    absent = [name for name in new if name not in numbers]
    categories = [*train.raw.categories, *((free + place, name) for place, name in enumerate(absent))]
    added = tuple(Item(detail=name) for name in new)
    return (
        [*classes, *new],
        replace(train.raw, categories=categories),
        [Change("train", CLASS_NOT_TRAINED, CLASS_NOT_TRAINED.remedy, added)],
    )


def _write_split(raw: RawSplit, looks: dict[str, Look], folder: Path, copy_pictures: bool) -> str:
    """Write the annotations of a split; returns where its pictures are, relative to the copy or absolute."""
    paths = [os.path.abspath(path) for path in raw.images.paths()]  # noqa: PTH100  # links stay links
    common = os.path.commonpath([os.path.dirname(path) for path in paths])  # noqa: PTH120
    names = [Path(os.path.relpath(path, common)).as_posix() for path in paths]
    if copy_pictures:
        names = _copy(paths, names, looks, raw.images, folder / raw.part)
    _write(folder / f"annotations_{raw.part}.json", _coco(raw, names))
    return raw.part if copy_pictures else common


def _copy(paths: list[str], names: list[str], looks: dict[str, Look], images: Images, folder: Path) -> list[str]:
    """Copy pictures under suffixes that say what they are."""
    proper = [suffix_of(name, looks[path].format) for name, path in zip(names, images.paths(), strict=True)]
    if len(set(proper)) < len(set(names)):  # two would become one
        proper = names
    for path, name in zip(paths, proper, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / name)
    return [Path(name).as_posix() for name in proper]


def _coco(raw: RawSplit, names: list[str]) -> Iterator[str]:
    yield '{"images": ['
    rows = zip(raw.images.ids.tolist(), names, *raw.images.sizes.T.tolist(), strict=True)
    keys = ("id", "file_name", "width", "height")
    yield from _blocks([dict(zip(keys, row, strict=True)) for row in rows])
    yield '],\n"annotations": ['
    found = raw.annotations
    for start in range(0, len(found), _BLOCK):
        some = slice(start, start + _BLOCK)
        columns = (found.ids[some], found.image_ids[some], found.category_ids[some])
        boxes, areas, crowd = corners_to_coco(found.boxes[some]), found.areas[some], found.crowd[some]
        every = (*(column.tolist() for column in columns), boxes.tolist(), areas.tolist(), crowd.tolist())
        keys = ("id", "image_id", "category_id", "bbox", "area", "iscrowd")
        yield ",\n" if start else "\n"
        yield from _blocks([dict(zip(keys, row, strict=True)) for row in zip(*every, strict=True)])
    yield '],\n"categories": ['
    yield from _blocks([{"id": number, "name": name} for number, name in raw.categories])
    yield "]}\n"


def _blocks(rows: list[dict[str, object]]) -> Iterator[str]:
    for start in range(0, len(rows), _BLOCK):
        yield (",\n" if start else "") + ",\n".join(map(json.dumps, rows[start : start + _BLOCK]))


def corners_to_coco(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """``x0 y0 x1 y1 → x y width height``; read back, ``x + width`` is ``x1`` again (for x0 ≥ 0)."""
    return np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), axis=1)


def _yaml(check: Check, classes: list[str], folders: list[str]) -> Iterator[str]:
    yield f"# Repaired copy of {check.name}; every change is in {REPORT}.\n"
    yield f"format: coco\ndescription: {json.dumps(f'repaired copy of {check.name}')}\n"
    for part, folder in zip(("train", "evaluation"), folders, strict=True):
        yield f"{part}:\n  annotations: annotations_{part}.json\n  images: {json.dumps(folder, ensure_ascii=False)}\n"
    if (bits := check.train.images.stored.bits) is not None:
        yield f"bits: {bits}\n"
    if any(look.orientation != 1 for look in check.looks.values()) and not any(
        one.kind is PICTURE_ROTATED for one in check.findings
    ):
        yield "upright: false\n"  # which boxes of the copy fit is settled
    if check.official is not None:  # what was difficult is a crowd in the copy: neither required nor an error in either
        yield f"official: {check.official.protocol}\n"
        if check.official.lists is not None:
            yield f"lists: {json.dumps(str(check.official.lists), ensure_ascii=False)}\n"
    yield "classes:\n" + "".join(f"  - {json.dumps(name, ensure_ascii=False)}\n" for name in classes)


def _report(
    check: Check, splits: list[RawSplit], changes: tuple[Change, ...], left: tuple[Finding, ...]
) -> Iterator[str]:
    before = (check.train, check.evaluation)
    content = {
        "of": check.spec,
        "splits": {
            after.part: {
                what: [len(getattr(split, what)) for split in (one, after)]
                for what in ("images", "annotations", "categories")
            }
            for one, after in zip(before, splits, strict=True)
        },
        "not_kept": "what the copy has no place for: segmentations, licences, flags of WIDER FACE, class offsets",
        "changes": [
            {
                "split": change.part,
                "finding": change.kind.name,
                "change": change.done,
                "count": len(change.items),
                "items": [item.as_json() for item in change.items],
            }
            for change in changes
        ],
        "errors_left": [
            {"split": one.part, "finding": one.kind.name, "count": one.count, "details": list(one.details[:SHOWN])}
            for one in left
        ],
    }
    yield json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _write(file: Path, parts: Iterator[str]) -> None:
    with file.open("x", encoding="utf-8", newline="\n", errors="surrogateescape") as stream:
        stream.writelines(parts)
        stream.flush()
        os.fsync(stream.fileno())
