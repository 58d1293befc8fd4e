"""A finished run back in memory: to evaluate it again, or to predict with it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch
from accelerate import Accelerator
from rich.console import Console

from assignbench.config import ResolvedRecipe, recorded_recipe
from assignbench.data.dataset import Dataset
from assignbench.data.decoding import content_of
from assignbench.data.pictures import files_digest
from assignbench.data.spec.locate import data_root as resolve_data_root
from assignbench.data.spec.locate import open_dataset
from assignbench.errors import DataError, RunError
from assignbench.files import sha256_of
from assignbench.machine import THREADS, own_cores
from assignbench.options import check_options
from assignbench.plugins import extras_named, load_class, source_digest
from assignbench.recipe import Recipe
from assignbench.run.matrix.execute import split_facts
from assignbench.run.matrix.plan import Run
from assignbench.run.matrix.protocol import protocol_of
from assignbench.run.results.environment import processor
from assignbench.run.results.finished import no_run
from assignbench.run.results.json_lines import taken_away
from assignbench.run.results.names import DETECTIONS, WEIGHTS
from assignbench.run.results.record import FILE, RunRecord, SplitFacts, read_record, write_record
from assignbench.run.results.run_files import facts_of
from assignbench.run.scoring.detect import detections_of
from assignbench.run.scoring.evaluate import Detections, Evaluation, evaluate, write_detections
from assignbench.run.scoring.evaluators import check_evaluator
from assignbench.run.scoring.kept_matches import keep_matches
from assignbench.run.scoring.test_time import cost, with_views_in_name, with_views_noted, write_views
from assignbench.run.scoring.views import ViewSet, load_views
from assignbench.run.training.checkpoint import load_tensors, require_finite
from assignbench.run.training.device import build_accelerator
from assignbench.run.training.learner import Learner, build_learner
from assignbench.run.training.processes import main_process
from assignbench.trust import require_known

AGAIN = "evaluation.json"  # detections of the latest `eval`


@dataclass(frozen=True)
class Finished:
    """A run that has a record."""

    record: RunRecord
    recipe: ResolvedRecipe
    learner: Learner
    notes: tuple[str, ...]  # what differs from when it was trained


def open_run(folder: Path, *, trust: bool = False) -> Finished:
    """Rebuild a run's detector and load its weights.

    Args:
        folder: of the run.
        trust: run the strategy's code also where `require_known` refuses it.

    Raises:
        UsageError: the folder holds no finished run, or its strategy is gone, or code that the user does not know.
        RunError: the record or the weights are damaged or do not fit each other.
    """
    if not (folder / FILE).is_file():
        raise no_run(folder)
    record = read_record(folder / FILE)
    settings = {key: entry for key, entry in record.config.items() if not key.startswith("assigner.")}
    recipe = recorded_recipe(
        record.recipe,
        {key: entry.value for key, entry in settings.items()},
        {key: entry.origin for key, entry in settings.items()},
    )
    strategy = require_known(strategy_of(record, folder / FILE), str(folder / FILE), trust=trust)
    cls = load_class(strategy)
    notes = ()
    if source_digest(strategy) != record.assigner.source_sha256:
        notes = (f"the source of {strategy.label} has changed since this run was trained",)
    # the weights come from the run, so nothing pretrained is needed; frozen layers are frozen all the same
    protocol = protocol_of(cls, record.protocol, record.preset)
    learner = build_learner(
        cls,
        protocol.options(check_options(cls, strategy.options)),
        recipe.recipe.model,
        classes=len(record.dataset.classes),
        seed=record.seed,
        protocol=protocol,
        extras=extras_named(strategy.extras),
        loss=recipe.recipe.loss,
        pretrained=False,
    )
    tensors = load_tensors(folder / WEIGHTS)
    if sha256_of(folder / WEIGHTS) != record.weights_sha256:
        raise RunError(f"{folder / WEIGHTS} was altered: its sha256 is not the record's; the run has to be repeated")
    require_finite(tensors, str(folder / WEIGHTS))
    try:
        learner.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise RunError(f"{folder / WEIGHTS} does not fit the run's detector: {reason}") from error
    return Finished(record, recipe, learner, notes)


def strategy_of(record: RunRecord, file: Path) -> str:
    """What a record resolves to its strategy by.

    Raises:
        RunError: it does not say.
    """
    entry = record.config.get("assigner.text")
    if entry is None or not isinstance(entry.value, str):
        raise RunError(
            f"{file} does not say which strategy it is of (assigner.text); move its folder away and run again"
        )
    return entry.value


def unchanged(dataset: Dataset, facts: SplitFacts, record: RunRecord, used: str) -> Dataset:
    """A split of a run's data set, as it was then.

    Args:
        dataset: the split, opened now.
        facts: what the record says of it.
        record: of the run.
        used: "trained" or "evaluated", for the error.

    Raises:
        DataError: annotations or pictures are others now.
    """
    if dataset.fingerprint != facts.fingerprint:
        raise DataError(f"{record.dataset.name} is no longer the data that {record.run_id} was {used} on")
    if facts.pictures not in (None, files_digest(dataset.images)):
        raise _other_pictures(record, used, "their files are not as large")
    return dataset


def _by_rounding(record: RunRecord) -> str:
    """Why sums are made in another order here than in the record's process, where that is known."""
    then, threads = record.environment, torch.get_num_threads()
    if then.cpu_threads != threads:
        return f", by rounding: {threads} threads here, {then.cpu_threads} then ({THREADS}={then.cpu_threads})"
    return "" if then.cpu == processor() else f", by rounding: another processor then, {then.cpu}"


def _other_pictures(record: RunRecord, used: str, but: str) -> DataError:
    again = "; repeat the assignbench run that made it, which evaluates its weights again"
    return DataError(
        f"the pictures of {record.dataset.name} are no longer those that {record.run_id} was {used} on: "
        f"their names are the same, {but}{again if used == 'evaluated' else ''}"
    )


def score_again(run: Run, folder: Path, accelerator: Accelerator, why: str) -> RunRecord | None:
    """Detect and score with a finished run's weights on what its evaluation pictures are now.

    Its record is written anew, unless detections come out that equal those it names.

    Args:
        run: which.
        folder: of the run.
        accelerator: what to detect on.
        why: for the record's notes.

    Returns:
        The record, on the main process; None on the others.

    Raises:
        As `open_run`; DataError: a picture cannot be read.
    """
    finished, dataset, started = open_run(folder), run.splits.evaluation, time.perf_counter()
    record, recipe = finished.record, finished.recipe.recipe
    detector = finished.learner.to(accelerator.device).detector
    found = detections_of(detector, dataset, accelerator, data=recipe.data, settings=recipe.evaluate)
    with main_process(accelerator) as writes:
        if not writes:
            return None
        if not (folder / WEIGHTS).is_file():
            raise taken_away(folder / WEIGHTS, "its record stays as it was")
        write_detections(dataset, found, folder / DETECTIONS)
        result = evaluate(dataset, folder / DETECTIONS, recipe.evaluate.evaluator)
        keep_matches(dataset, folder / DETECTIONS)
        files = facts_of(folder, (DETECTIONS,))
        facts = split_facts(dataset, files_digest(dataset.images), run.content or record.dataset.evaluation.content)
        if (facts, files[DETECTIONS].sha256) == (record.dataset.evaluation, record.detections_sha256):
            return record
        remark = f"evaluated again on {datetime.now(UTC):%Y-%m-%d}: {why}"
        changed = {
            "dataset": record.dataset.model_copy(update={"evaluation": facts}),
            "metrics": result.metrics,
            "per_class": result.per_class,
            "official_per_class": result.official_per_class,
            "detections": result.detections,
            "evaluator": result.evaluator,
            "detections_sha256": files[DETECTIONS].sha256,
            "files": {**record.files, **files},
            "seconds": record.seconds.model_copy(update={"evaluation": time.perf_counter() - started}),
            "notes": tuple(dict.fromkeys((*record.notes, *result.notes, remark))),
        }
        record = record.model_copy(update=changed)
        write_record(folder, record)
    return record


def detect_again(
    learner: Learner,
    dataset: Dataset,
    recipe: Recipe,
    view_set: ViewSet | None,
    accelerator: Accelerator,
    console: Console,
) -> list[Detections]:
    """Detections of a split with trained weights; first it is said what the views cost."""
    if view_set is not None:
        console.print(f"{view_set.label}: {cost(view_set, dataset, recipe.data)}", soft_wrap=True)
    detector = learner.to(accelerator.device).detector
    return detections_of(detector, dataset, accelerator, data=recipe.data, settings=recipe.evaluate, view_set=view_set)


def evaluate_run(
    folder: Path,
    data_root: Path | None,
    device: str,
    console: Console,
    *,
    tta: str | None = None,
    trust: bool = False,
) -> tuple[RunRecord, Evaluation]:
    """Detect and score again with a run's weights; writes ``evaluation.json`` beside the record.

    Args:
        folder: of the run.
        data_root: folder of the data sets.
        device: auto, cpu or cuda.
        console: where to print.
        tta: name or file of a set of views; its name and digest stand in the file's name. None: as the run was.
        trust: as `open_run`.

    Raises:
        UsageError: as `open_run`, or no such set of views.
        DataError: the data set is not the one that the run was evaluated on.
    """
    finished = open_run(folder, trust=trust)
    record, recipe = finished.record, finished.recipe.recipe
    check_evaluator(recipe.evaluate.evaluator)
    view_set = None if tta is None else load_views(tta, recipe.data, recipe.evaluate)
    accelerator = build_accelerator(device, "no")  # evaluation is in float32, see `detect_images`
    console.quiet = console.quiet or not accelerator.is_main_process
    opened = open_dataset(record.dataset.spec, resolve_data_root(data_root)).evaluation
    dataset = unchanged(opened, record.dataset.evaluation, record, "evaluated")
    if record.dataset.evaluation.content not in (None, content_of(dataset.images, own_cores())):
        raise _other_pictures(record, "evaluated", "their files hold something else")
    for note in finished.notes:
        console.print(f"note: {note}")
    found = detect_again(finished.learner, dataset, recipe, view_set, accelerator, console)
    file = with_views_in_name(folder / AGAIN, view_set)
    with main_process(accelerator) as writes:
        if writes:
            write_detections(dataset, found, file)
            write_views(view_set, file, record.weights_sha256)
    result = with_views_noted(evaluate(dataset, file, recipe.evaluate.evaluator), view_set)
    same = sha256_of(file) == record.detections_sha256
    if same:
        console.print("detections equal those of the record")
        return record, result
    ap = [100 * (metrics["AP"] or 0.0) for metrics in (result.metrics, record.metrics)]
    if view_set is not None:
        console.print(f"AP {ap[0]:.4f} with {view_set.label}, {ap[1]:.4f} in the record, without", soft_wrap=True)
    else:
        console.print(
            f"detections differ from those of the record{_by_rounding(record)}; "
            f"AP {ap[0]:.4f} % here, {ap[1]:.4f} % there",
            soft_wrap=True,
        )
    return record, result
