"""The matches of a run in a file beside its detections, so that a comparison needs neither the data nor pycocotools.

The file names the detections and the data that it was made of; matches of others are no matches of this run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from assignbench.data.dataset import Dataset
from assignbench.errors import AssignbenchError, RunError, SystemProblem
from assignbench.files import sha256_of, written
from assignbench.run.results.names import DETECTIONS
from assignbench.run.results.record import RunRecord
from assignbench.run.scoring.detections import DetectionRows, read_detections
from assignbench.run.scoring.matches import THRESHOLDS, Found, Matches, Objects, match
from assignbench.sealed import as_metadata, facts_in

FILE = "matches.safetensors"
ARRAYS = ("image", "label", "right", "counted", "objects", "taken")
RULE = "coco 3"  # of matching; another one makes other matches


def matches_of(dataset: Dataset, rows: DetectionRows) -> Matches:
    """Hold the content of a detections file against its data set.

    Args:
        dataset: one that `evaluate` accepts. Pictures are numbered by rising id, and so are classes.
        rows: as `read_detections` gives them.
    """
    return match(objects_of(dataset), found_of(dataset, rows), len(dataset.images), len(dataset.classes))


def objects_of(dataset: Dataset) -> Objects:
    """What there is to be found, in the order of the data set's objects. Classes are numbered by rising category id."""
    box = np.hstack([dataset.boxes[:, :2], dataset.boxes[:, 2:] - dataset.boxes[:, :2]])
    images, categories = _ids(dataset)
    number, label = (np.argsort(np.argsort(each)) for each in (images, categories))
    return Objects(number[dataset.image], label[dataset.labels], box, dataset.area, dataset.crowd)


def found_of(dataset: Dataset, rows: DetectionRows) -> Found:
    """What was found, in the order of the rows. Classes are numbered as in `objects_of`."""
    images, categories = (np.sort(each) for each in _ids(dataset))
    return Found(
        np.searchsorted(images, rows.image_id), np.searchsorted(categories, rows.category_id), rows.bbox, rows.score
    )


def class_names(dataset: Dataset) -> tuple[str, ...]:
    """The classes in the order of `Matches`: by rising category id."""
    return tuple(name for _, name in sorted(zip(dataset.category_ids, dataset.classes, strict=True)))


def _ids(dataset: Dataset) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of the pictures and of the classes."""
    return (
        np.array([image.id for image in dataset.images], dtype=np.int64),
        np.array(dataset.category_ids, dtype=np.int64),
    )


def keep_matches(dataset: Dataset, detections: Path) -> Matches:
    """Write the matches of a detections file beside it.

    Raises:
        RunError: as `read_detections`.
        SystemProblem: the file cannot be written.
    """
    found = matches_of(dataset, read_detections(dataset, detections))
    file = detections.with_name(FILE)
    arrays = {
        "image": found.image,
        "label": found.label,
        "right": np.packbits(found.right, axis=-1),
        "counted": np.packbits(found.counted, axis=-1),
        "objects": found.objects,
        "taken": np.packbits(found.taken, axis=0),
    }
    arrays = {key: np.ascontiguousarray(each) for key, each in arrays.items()}
    facts = {
        "rule": RULE,
        "detections": sha256_of(detections),
        "data": dataset.fingerprint,
        "sha256": digest_of(arrays),
    }
    try:
        with written(file) as temporary:
            save_file(arrays, temporary, as_metadata(facts))
    except SafetensorError as error:  # what it says of a disk that is full
        raise SystemProblem(f"cannot write {file}: {error}; check space and permissions") from error
    return found


def digest_of(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Of what the file holds: its header says nothing of that."""
    digest = hashlib.sha256()
    for key in sorted(arrays):
        digest.update(f"{key} {arrays[key].dtype} {arrays[key].shape}".encode())
        digest.update(arrays[key].data)
    return digest.hexdigest()


def kept_matches(folder: Path, detections_sha256: str, fingerprint: str) -> Matches | None:
    """The matches in the folder of a run.

    Args:
        folder: of the run.
        detections_sha256: digest of the detections that its record names.
        fingerprint: of the data it was evaluated on.

    Returns:
        None: there are none, or they are those of other detections, other data or another rule.

    Raises:
        RunError: the file is damaged.
    """
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        with safe_open(file, "np") as opened:
            facts = facts_in(opened.metadata())
            stated = facts.pop("sha256", None)
            if stated is None or facts != {"rule": RULE, "detections": detections_sha256, "data": fingerprint}:
                return None
            arrays = {key: opened.get_tensor(key) for key in ARRAYS}
    except (OSError, SafetensorError, ValueError) as error:
        raise RunError(f"{file} is damaged: {error}; remove it, it is made again") from error
    if stated != digest_of(arrays):
        raise RunError(f"{file} is damaged: its sha256 does not fit; remove it, it is made again")
    count = len(arrays["image"])
    sides = {key: array.ndim for key, array in arrays.items()}
    if sides != {"image": 1, "label": 1, "right": 3, "counted": 3, "objects": 3, "taken": 2}:
        raise RunError(f"{file} is damaged: its arrays are of other shapes; remove it, it is made again")

    def bits(key: str, axis: int, count: int) -> NDArray[np.bool_]:
        return np.unpackbits(arrays[key], axis=axis, count=count).astype(np.bool_)

    return Matches(
        arrays["objects"].shape[1],
        arrays["image"],
        arrays["label"],
        bits("right", -1, count),
        bits("counted", -1, count),
        arrays["objects"],
        bits("taken", 0, len(THRESHOLDS)),
    )


def lacking(folder: Path, record: RunRecord) -> str:
    """Why a run's detections cannot be looked into; "": they are those of its record.

    Args:
        folder: of the run.
        record: of the run.
    """
    detections = folder / DETECTIONS
    if not detections.is_file():
        return "its detections are not there"
    return "" if sha256_of(detections) == record.detections_sha256 else "its detections are not those of its record"


def matches_of_run(folder: Path, record: RunRecord, opened: Callable[[str], Dataset]) -> tuple[Matches | None, str]:
    """The matches of a finished run: those that were kept, or made again from its detections.

    Args:
        folder: of the run.
        record: of the run.
        opened: opens the evaluation split of a data set by what names it.

    Returns:
        The matches and "", or None and the reason.

    Raises:
        RunError: the file of matches is damaged.
    """
    facts = record.dataset.evaluation
    if (found := kept_matches(folder, record.detections_sha256, facts.fingerprint)) is not None:
        return found, ""
    if reason := lacking(folder, record):
        return None, reason
    try:
        dataset = opened(record.dataset.spec)
        if dataset.fingerprint != facts.fingerprint:
            return None, f"{record.dataset.name} is no longer the data that it was evaluated on"
        try:
            return keep_matches(dataset, folder / DETECTIONS), ""
        except SystemProblem:  # a folder of somebody else's, or a full disk: they are made again next time
            return matches_of(dataset, read_detections(dataset, folder / DETECTIONS)), ""
    except AssignbenchError as error:
        return None, str(error).partition("\n")[0]
