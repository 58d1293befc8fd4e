"""Detections on a split whose objects only the publisher knows, as its server wants them."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from rich.console import Console

from assignbench.data.spec.locate import data_root as resolve_data_root
from assignbench.data.spec.locate import open_test
from assignbench.files import make_folder, written
from assignbench.run.scoring.evaluate import write_detections
from assignbench.run.scoring.reopen import detect_again, open_run
from assignbench.run.scoring.test_time import write_views
from assignbench.run.scoring.views import load_views
from assignbench.run.training.device import build_accelerator
from assignbench.run.training.processes import main_process

FOLDER = "submission"  # in the folder of the run


def submit_run(
    folder: Path,
    data_root: Path | None,
    device: str,
    console: Console,
    *,
    tta: str | None = None,
    trust: bool = False,
) -> Path:
    """Detect with a run's weights on the test split of its data set.

    Args:
        folder: of the run.
        data_root: folder of the data sets.
        device: auto, cpu or cuda.
        console: where to print.
        tta: name or file of a set of views; its name and digest follow the strategy's.
        trust: as `open_run`.

    Returns:
        The archive for COCO's server, ``detections_test-dev2017_STRATEGY_results.zip``; the JSON file in it lies
        beside it.

    Raises:
        UsageError: as `open_run`, no such set of views, or its data set has no test split.
        DataError: the test split is not there, or its classes are not those of the run.
        SystemProblem: the files cannot be written.
    """
    finished = open_run(folder, trust=trust)
    record, recipe = finished.record, finished.recipe.recipe
    dataset, images = open_test(record.dataset.spec, resolve_data_root(data_root), record.dataset.classes)
    view_set = None if tta is None else load_views(tta, recipe.data, recipe.evaluate)
    accelerator = build_accelerator(device, "no")  # as `evaluate_run`
    console.quiet = console.quiet or not accelerator.is_main_process
    for note in finished.notes:
        console.print(f"note: {note}")
    found = detect_again(finished.learner, dataset, recipe, view_set, accelerator, console)
    name = record.assigner.label if view_set is None else f"{record.assigner.label} tta {view_set.label}"
    file = folder / FOLDER / f"detections_{images}_{plain(name)}_results.json"
    with main_process(accelerator) as writes:
        if writes:
            make_folder(file.parent)
            count = write_detections(dataset, found, file)
            write_views(view_set, file, record.weights_sha256)
            console.print(f"{count} detections in {len(dataset)} pictures of {images}", soft_wrap=True)
            pack(file)
    return file.with_suffix(".zip")


def plain(label: str) -> str:
    """A label as a part of a file name; the server tells its parts by the underscores.

    >>> plain("autoassign[tau=0.5]")
    'autoassign-tau-0-5'
    """
    return re.sub(r"[^A-Za-z0-9]+", "-", label).strip("-") or "run"


def _archive(file: Path) -> zipfile.ZipFile:
    """A new one; files of any time can go in, those of a clock that has lost its battery, too."""
    return zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False)


def pack(file: Path) -> Path:
    """The file alone in an archive beside it, written whole or not at all.

    Raises:
        SystemProblem: the archive cannot be written.
    """
    archive = file.with_suffix(".zip")
    with written(archive) as temporary, _archive(temporary) as packed:
        packed.write(file, file.name)
    return archive
