"""How much each picture moves what the claims are about, of every run that a claim needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from assignbench.comparison.influences import class_influences, influences, same_ap
from assignbench.data.dataset import Dataset
from assignbench.errors import AssignbenchError
from assignbench.reproduce.filled import Filled, off_centre_classes
from assignbench.reproduce.multiscale import matches_with_views
from assignbench.reproduce.schema import OFF_CENTRE
from assignbench.reproduce.sheet import Sheet
from assignbench.run.matrix.plan import Run
from assignbench.run.results.record import RunRecord
from assignbench.run.scoring.kept_matches import FILE, class_names, matches_of_run
from assignbench.run.scoring.matches import Matches


def with_pictures(sheet: Sheet, filled: Sequence[Filled], folder: Path) -> list[Filled]:
    """The lines of a sheet, with the influences of the pictures on what its claims are about.

    Args:
        sheet: the experiment.
        filled: its lines.
        folder: of the runs, which gets matches that have to be made again.
    """
    experiment = sheet.experiment
    wanted = {label for claim in experiment.claims for label in (claim.better, claim.worse)}
    off = off_centre_classes([record for one in filled for record in one.records.values()], experiment.off_centre)
    if not sheet.scale.decides:
        return [*filled]
    return [_with_pictures(one, off, folder) if one.line.row.label in wanted else one for one in filled]


def _with_pictures(one: Filled, off: Sequence[str], folder: Path) -> Filled:
    found, lacking = {}, {}
    for run in one.line.runs:
        if run.seed not in one.metrics:
            continue
        name = one.records[run.seed].run_id
        matches, reason = _matches(run, one, folder / name)
        if matches is None:
            lacking[name] = reason
            continue
        found[run.seed] = dict(influences(matches, ("AP",)))
        if off:
            found[run.seed][OFF_CENTRE] = class_influences(matches, columns_of(run.splits.evaluation, off))
    return replace(one, pictures=found, lacking=lacking)


def _matches(run: Run, one: Filled, folder: Path) -> tuple[Matches | None, str]:
    """The matches behind the numbers of a row, or None and the reason."""
    record: RunRecord = one.records[run.seed]
    try:
        if one.line.views:
            matches, reason = matches_with_views(run, record, one.line.views, folder), ""
        else:
            matches, reason = matches_of_run(folder, record, lambda _: run.splits.evaluation)
    except AssignbenchError as error:
        return None, str(error).partition("\n")[0]
    if matches is not None and not same_ap(matches, one.metrics[run.seed].get("AP")):
        return None, f"{FILE} gives another AP than the record; remove it, it is made again"
    return matches, reason


def columns_of(dataset: Dataset, classes: Sequence[str]) -> list[int]:
    """Numbers of classes in the evaluator's order, by rising category id."""
    names = class_names(dataset)
    return [names.index(name) for name in classes]
