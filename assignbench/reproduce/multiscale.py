"""A finished run, evaluated with a set of views: rows of multi-scale testing."""

from __future__ import annotations

from pathlib import Path

from accelerate import Accelerator

from assignbench.errors import AssignbenchError, RunError
from assignbench.files import read_json, sha256_of
from assignbench.run.matrix.plan import Run
from assignbench.run.results.record import RunRecord
from assignbench.run.scoring.detect import detections_of
from assignbench.run.scoring.detections import read_detections
from assignbench.run.scoring.evaluate import Evaluation, evaluate, write_detections
from assignbench.run.scoring.kept_matches import matches_of
from assignbench.run.scoring.matches import Matches
from assignbench.run.scoring.reopen import AGAIN, open_run
from assignbench.run.scoring.test_time import with_views_in_name, with_views_noted, write_views
from assignbench.run.scoring.views import ViewSet, load_views
from assignbench.run.training.processes import main_process


def with_views(run: Run, record: RunRecord, views_name: str, folder: Path, accelerator: Accelerator) -> Evaluation:
    """The numbers of a run with test-time augmentation; detections that are there already are only scored.

    Args:
        run: finished.
        record: of it.
        views_name: a shipped set or a file.
        folder: of the run; gets the detections, as from ``assignbench eval --tta``.
        accelerator: what to detect on.

    Raises:
        AssignbenchError: the set of views or the run cannot be used, or memory is short.
    """
    settings = run.recipe.recipe
    view_set = load_views(views_name, settings.data, settings.evaluate)
    file, dataset = with_views_in_name(folder / AGAIN, view_set), run.splits.evaluation
    if not is_whole(file, view_set, record.weights_sha256):
        learner = open_run(folder).learner.to(accelerator.device)
        found = detections_of(
            learner.detector, dataset, accelerator, data=settings.data, settings=settings.evaluate, view_set=view_set
        )
        with main_process(accelerator) as writes:
            if writes:
                write_detections(dataset, found, file)
                write_views(view_set, file, record.weights_sha256)
    return with_views_noted(evaluate(dataset, file, settings.evaluate.evaluator), view_set)


def matches_with_views(run: Run, record: RunRecord, views_name: str, folder: Path) -> Matches:
    """The matches of a finished run as `with_views` has scored it; they are kept nowhere.

    Args:
        run: finished, and scored with these views.
        record: of it.
        views_name: a shipped set or a file.
        folder: of the run.

    Raises:
        AssignbenchError: the set of views cannot be used, or the detections are not there.
    """
    settings = run.recipe.recipe
    view_set = load_views(views_name, settings.data, settings.evaluate)
    dataset, file = run.splits.evaluation, with_views_in_name(folder / AGAIN, view_set)
    if not is_whole(file, view_set, record.weights_sha256):
        raise RunError(f"{file} is not what was scored; remove it, and repeat the command")
    return matches_of(dataset, read_detections(dataset, file))


def is_whole(file: Path, view_set: ViewSet, weights_sha256: str) -> bool:
    """Whether these are the detections of these views by these weights: their description is written last."""
    try:
        content = read_json(file.with_suffix(".views.json"))
        noted = content["digest"], content["weights_sha256"], content["detections_sha256"]
        return noted == (view_set.digest, weights_sha256, sha256_of(file))
    except (AssignbenchError, KeyError, TypeError):
        return False
