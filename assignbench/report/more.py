"""What a page shows beside the numbers of records: detections, data and weights are looked into for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from assignbench.comparison.influences import Floats
from assignbench.data.dataset import Dataset
from assignbench.errors import AssignbenchError
from assignbench.report.charts import colours_of
from assignbench.report.drawing import drawn
from assignbench.report.drawn import DrawnGallery
from assignbench.report.errors import error_figures
from assignbench.report.facts import Facts, Shown, key_of
from assignbench.report.figure import Figure
from assignbench.report.gallery import gallery, shown_runs
from assignbench.report.page import More
from assignbench.report.where import where_figures
from assignbench.run.results.names import DETECTIONS
from assignbench.run.results.record import RunRecord, named_apart
from assignbench.run.scoring.detections import DetectionRows, read_detections
from assignbench.run.scoring.kept_matches import lacking, matches_of_run

MOST_ROWS = 8  # that a gallery looks at: the baseline and those of the highest AP


def more_of(
    facts: Facts,
    folders: Mapping[str, Path],
    records: Sequence[RunRecord],
    influences: Mapping[str, Mapping[str, Floats]],
    opened: Callable[[str], Dataset],
    *,
    pictures: int,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[More, tuple[str, ...]]:
    """Sections of the page, and notes on what they lack.

    Args:
        facts: of the page.
        folders: run id → folder.
        records: its finished runs.
        influences: run id → metric → influences of the pictures; other runs have no part here.
        opened: opens the evaluation split of a data set by what names it.
        pictures: of each data set's gallery at most; 0: there is none.
        progress: is told what is being done.

    Raises:
        RunError: a detections file or a file of matches is damaged.
    """
    where: list[Figure] = []
    errors: list[Figure] = []
    galleries: list[DrawnGallery] = []
    notes: list[str] = []
    records, colours = named_apart(records), colours_of(facts.rows)
    for number, block in enumerate(facts.blocks):
        here = [one for one in records if key_of(one.dataset.name, one.protocol) == block.key]
        own = [one for one in here if one.run_id in influences]
        if not own:
            notes.append(f"{block.dataset}: no detections are kept, so nothing is said of classes, pictures and errors")
            continue
        try:
            dataset = opened(own[0].dataset.spec)
        except AssignbenchError as error:
            reason = str(error).partition("\n")[0]
            notes.append(f"{block.dataset}: nothing is said of classes, pictures and errors: {reason}")
            continue
        if any(one.dataset.evaluation.fingerprint != dataset.fingerprint for one in own):
            notes.append(
                f"{block.dataset} is no longer the data that the runs were evaluated on: its pictures are left out"
            )
            continue
        progress(f"classes and groups of {block.dataset}")
        matches = (
            (one, found) for one in own if (found := matches_of_run(folders[one.run_id], one, opened)[0]) is not None
        )
        where += where_figures(block.key, dataset, matches, block.baseline, colours)
        progress(f"errors on {block.dataset}")
        shown = []
        for one in shown_runs(own, block.baseline):
            if reason := lacking(folders[one.run_id], one):
                notes.append(f"{block.dataset}: nothing is said of the errors of {one.row}: {reason}")
            else:
                shown.append((one, _reader(folders[one.run_id] / DETECTIONS, dataset)))
        errors += error_figures(block.key, dataset, shown, colours)
        if pictures:
            chosen = _best(block, own)
            base = block.baseline if any(one.row == block.baseline for one in chosen) else None
            found = gallery(folders, chosen, influences, dataset, baseline=base, count=pictures, progress=progress)
            galleries.append(drawn(found, f"picture-{number}"))
            left = len({one.row for one in own}) - len({one.row for one in chosen})
            if left:
                notes.append(
                    f"{block.dataset}: the pictures show {block.baseline} and the strategies of the highest AP; "
                    f"{left} more are left out"
                )
    return More(where or None, galleries or None, errors or None), tuple(notes)


def _reader(file: Path, dataset: Dataset) -> Callable[[], DetectionRows]:
    return lambda: read_detections(dataset, file)


def _best(block: Shown, records: Sequence[RunRecord]) -> list[RunRecord]:
    """The runs of the baseline and of the rows of the highest AP."""
    mean = {row: one.mean for row, one in zip(block.rows, block.metrics["AP"].estimates, strict=True)}
    rows = sorted({one.row for one in records}, key=lambda row: (row != block.baseline, -(mean[row] or 0.0), row))
    return [one for one in records if one.row in rows[:MOST_ROWS]]
