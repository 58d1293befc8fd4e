"""A finished run, evaluated with a bag of views: rows of multi-scale testing."""

from __future__ import annotations

from pathlib import Path

from accelerate import Accelerator

from assignbench.errors import AssignbenchError
from assignbench.files import read_json, sha256_of
from assignbench.run.matrix.plan import Run
from assignbench.run.results.record import RunRecord
from assignbench.run.scoring.detect import detections_of
from assignbench.run.scoring.evaluate import Evaluation, evaluate, write_detections
from assignbench.run.scoring.reopen import AGAIN, open_run
from assignbench.run.scoring.test_time import said, stamped, write_bag
from assignbench.run.scoring.views import Bag, load_bag
from assignbench.run.training.processes import main_process


def with_views(run: Run, record: RunRecord, bag_name: str, folder: Path, accelerator: Accelerator) -> Evaluation:
    """The numbers of a run with test-time augmentation; detections that are there already are only scored.

    Args:
        run: finished.
        record: of it.
        bag_name: a shipped bag or a file.
        folder: of the run; gets the detections, as from ``assignbench eval --tta``.
        accelerator: what to detect on.

    Raises:
        AssignbenchError: the bag or the run cannot be used, or memory is short.
    """
    settings = run.recipe.recipe
    bag = load_bag(bag_name, settings.data, settings.evaluate)
    file, dataset = stamped(folder / AGAIN, bag), run.splits.evaluation
    if not is_whole(file, bag, record.weights_sha256):
        learner = open_run(folder).learner.to(accelerator.device)
        found = detections_of(
            learner.detector, dataset, accelerator, data=settings.data, settings=settings.evaluate, bag=bag
        )
        with main_process(accelerator) as writes:
            if writes:
                write_detections(dataset, found, file)
                write_bag(bag, file, record.weights_sha256)
    return said(evaluate(dataset, file, settings.evaluate.evaluator), bag)


def is_whole(file: Path, bag: Bag, weights_sha256: str) -> bool:
    """Whether these are the detections of this bag by these weights: their description is written last."""
    try:
        content = read_json(file.with_suffix(".bag.json"))
        noted = content["digest"], content["weights_sha256"], content["detections_sha256"]
        return noted == (bag.digest, weights_sha256, sha256_of(file))
    except (AssignbenchError, KeyError, TypeError):
        return False
