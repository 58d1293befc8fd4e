"""The gallery of a report: the pictures on which strategies differ most, and what their runs made of each.

Which pictures: `contrasts`. Where influences have two kinds, those of left-out pictures count: without the picture the
difference of the two rows would lie lower by what is said of it.

Each row is shown with one seed: what it detects (`detected`), and where it teaches the objects (`assigned`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from assignbench.comparison.checks import check_comparable
from assignbench.comparison.influences import Floats
from assignbench.data.dataset import Dataset
from assignbench.data.pictures import read_picture
from assignbench.errors import DataError, UsageError
from assignbench.report.assigned import Locations, assigned_locations
from assignbench.report.contrasts import COUNT, Contrast, choose
from assignbench.report.detected import Detected, TrueObject, detected, shown_from, true_objects
from assignbench.run.results.names import DETECTIONS
from assignbench.run.results.record import RunRecord, named_apart
from assignbench.run.scoring.detections import read_detections
from assignbench.run.scoring.kept_matches import lacking
from assignbench.run.scoring.reopen import unchanged
from assignbench.run.training.device import device_of

SIDE, QUALITY = 480, 80  # the longer side of a picture in pixels at most; of its JPEG


@dataclass(frozen=True)
class Panel:
    """What one row made of one picture."""

    row: str
    run_id: str
    seed: int  # of the run that is shown
    influence: float | None  # of the picture on AP, percent points, mean over the row's seeds; None: not known
    detected: Detected | None  # None: a remark says why
    locations: Locations | None  # None: not asked for, or a remark says why
    remarks: tuple[str, ...]  # what is missing and why, and what has changed since the run was trained


@dataclass(frozen=True)
class Picture:
    """One picture of the gallery."""

    id: int
    name: str  # of its file
    width: int  # pixels of the original picture
    height: int
    jpeg: bytes | None  # longer side at most `SIDE` pixels; None: it cannot be read, and a note says why
    objects: tuple[TrueObject, ...]  # in the order of the annotations, crowd regions among them
    contrast: Contrast  # the largest
    panels: tuple[Panel, ...]  # one a row

    @property
    def required(self) -> int:
        """Objects that are no crowd regions."""
        return sum(not one.crowd for one in self.objects)


@dataclass(frozen=True)
class Gallery:
    """The pictures on which the rows of one data set differ most."""

    dataset: str
    split: str
    rows: tuple[str, ...]  # in the order of the panels
    pictures: tuple[Picture, ...]  # the largest difference first
    notes: tuple[str, ...]  # what is missing or was chosen by rule


def gallery(
    folders: Mapping[str, Path],
    records: Sequence[RunRecord],
    influences: Mapping[str, Mapping[str, Floats]],
    dataset: Dataset,
    *,
    baseline: str | None = None,
    count: int = COUNT,
    locations: bool = True,
    device: str = "auto",
    progress: Callable[[str], None] = lambda _: None,
) -> Gallery:
    """Choose pictures, and gather what the runs made of them.

    Args:
        folders: run id → folder.
        records: runs of one data set under one protocol.
        influences: run id → metric → ``[kind, image]``, pictures by rising id; runs without any choose no picture.
        dataset: the split that they were evaluated on.
        baseline: the row that the others are held against; None: every pair of rows, or of many rows every one against
            that of the highest AP.
        count: pictures at most.
        locations: whether to show where the runs teach the objects: one forward pass a picture and row.
        device: on which that is done: auto, cpu or cuda.
        progress: is told what is being done.

    Raises:
        UsageError: no records, some that must not stand in one table, an unknown baseline, a negative count, or
            influences of other pictures.
        DataError: the data set is not the one that the runs were evaluated on.
        RunError: a detections file is damaged.
        SystemProblem: there is no such device.
    """
    if not records:
        raise UsageError("a gallery needs finished runs; start one with: assignbench run")
    device_of(device)  # before anything is read
    records = named_apart(records)
    check_comparable(records)
    for record in {one.dataset.evaluation.pictures: one for one in records}.values():
        unchanged(dataset, record.dataset.evaluation, record, "evaluated")
    moved = {run_id: told["AP"][-1] for run_id, told in influences.items() if "AP" in told}
    chosen, notes = choose(records, moved, len(dataset), baseline, count)
    places = [place for place, _ in chosen]
    shown = shown_runs(records, baseline)
    if len({record.seed for record in shown}) > 1:
        told = ", ".join(f"{record.row} with seed {record.seed}" for record in shown)
        notes.append(f"the rows share no seed; shown are {told}")
    columns = []  # of panels, one a row
    for record in shown if places else ():
        same_row = [moved[one.run_id] for one in records if one.row == record.row and one.run_id in moved]
        influence = np.mean(same_row, axis=0)[places].tolist() if same_row else [None] * len(places)
        progress(f"detections of {record.row}")
        folder, remarks = folders[record.run_id], []
        found, reason = _detected(folder, record, dataset, places)
        remarks += [f"no detections are shown: {reason}"] if found is None else []
        where = None
        if locations:
            where, told = assigned_locations(folder, record, dataset, places, device, progress)
            remarks += [f"no locations: {one}" if where is None else one for one in told]
        columns.append(
            [
                Panel(record.row, record.run_id, record.seed, *parts, tuple(remarks))
                for parts in zip(influence, found or [None] * len(places), where or [None] * len(places), strict=True)
            ]
        )
    pictures = []
    for (place, contrast), *panels in zip(chosen, *columns, strict=True):
        jpeg, problem = _jpeg(dataset, place)
        notes += [problem] if jpeg is None else []
        info, objects = dataset.images[place], true_objects(dataset, place)
        pictures.append(
            Picture(info.id, info.path.name, info.width, info.height, jpeg, objects, contrast, tuple(panels))
        )
    rows = tuple(record.row for record in shown)
    return Gallery(dataset.name, dataset.split, rows, tuple(pictures), tuple(notes))


def shown_runs(records: Sequence[RunRecord], baseline: str | None = None) -> list[RunRecord]:
    """The run of each row that is shown: of the lowest seed that all rows have, or, without one, of its own lowest.

    Rows stand as in the table: the baseline first, then by alphabet.
    """
    rows: dict[str, dict[int, RunRecord]] = {}
    for record in records:
        rows.setdefault(record.row, {})[record.seed] = record
    shared = set.intersection(*(set(runs) for runs in rows.values())) if rows else set()
    order = sorted(rows, key=lambda row: (row != baseline, row))
    return [rows[row][min(shared or rows[row])] for row in order]


def _detected(
    folder: Path, record: RunRecord, dataset: Dataset, places: Sequence[int]
) -> tuple[list[Detected] | None, str]:
    """The detections of a run in some pictures and "", or None and the reason."""
    if reason := lacking(folder, record):
        return None, reason
    rows = read_detections(dataset, folder / DETECTIONS)
    least = shown_from(dataset, rows)
    return [detected(dataset, place, rows, least) for place in places], ""


def _jpeg(dataset: Dataset, place: int) -> tuple[bytes | None, str]:
    """A picture, small, and "", or None and the reason."""
    try:
        return as_jpeg(read_picture(dataset.images[place])), ""
    except DataError as error:
        return None, str(error).partition("\n")[0]


def as_jpeg(pixels: NDArray[np.uint8]) -> bytes:
    """A picture ``[height, width, 3]``, made smaller where its longer side has more than `SIDE` pixels."""
    picture, file = Image.fromarray(pixels), BytesIO()
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    picture.save(file, "JPEG", quality=QUALITY, optimize=True)
    return file.getvalue()
