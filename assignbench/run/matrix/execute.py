"""One run, whole: train, detect, evaluate, record."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from rich.console import Console
from rich.text import Text

from assignbench.config import flatten
from assignbench.core.assigner import learned_by
from assignbench.core.head import MAIN
from assignbench.data.caveats import caveats
from assignbench.data.dataset import Dataset
from assignbench.data.pictures import files_digest
from assignbench.detector.deformable import unrepeatable
from assignbench.errors import Stopped
from assignbench.files import replaceable, write_json_atomic
from assignbench.run.matrix.plan import Run, pictures_digest
from assignbench.run.results.environment import environment
from assignbench.run.results.json_lines import taken_away
from assignbench.run.results.names import CHECKPOINTS, CONFIG, DETECTIONS, LEARNED, LOSSES, STATISTICS, TRACKED, WEIGHTS
from assignbench.run.results.progress import ProgressFile
from assignbench.run.results.record import (
    AssignerFacts,
    DatasetFacts,
    ResolvedValue,
    RunRecord,
    Seconds,
    SplitFacts,
    write_record,
)
from assignbench.run.results.repairs import write_repairs
from assignbench.run.results.run_files import facts_of
from assignbench.run.scoring.detect import detections_of
from assignbench.run.scoring.evaluate import Evaluation, check_dataset, evaluate, write_detections
from assignbench.run.scoring.kept_matches import keep_matches
from assignbench.run.training.checkpoint import (
    checkpoints,
    iteration_in,
    remove,
    require_finite,
    save_tensors,
    total_parameters,
)
from assignbench.run.training.device import workers_of
from assignbench.run.training.learner import Learner, build_learner
from assignbench.run.training.processes import main_process
from assignbench.run.training.stopwatch import Began
from assignbench.run.training.trackers import Trackers
from assignbench.run.training.train import Trained, train
from assignbench.run.training.validation import validation_losses


def execute(
    run: Run,
    folder: Path,
    accelerator: Accelerator,
    *,
    resume: bool,
    console: Console,
    trackers: Sequence[str] = (),
) -> RunRecord | None:
    """Bring one run to its record, which is written last: a folder with a record holds a finished run.

    ``trackers`` are names of those that are told how it goes.

    Returns:
        The record, on the main process; None on the others.

    Raises:
        AssignbenchError: whatever went wrong, said in its message.
        Stopped: the system asked this process to leave.
    """
    progress = ProgressFile(folder if accelerator.is_main_process else None, run.recipe.recipe.train.iterations)
    threads = torch.get_num_threads()
    try:
        with kept_is_said(run, folder, console), tracking(run, folder, accelerator, trackers, console) as told:
            return executed(run, folder, accelerator, progress, told, resume=resume, console=console)
    finally:
        progress.remove()
        torch.set_num_threads(threads)  # a resumed training may have had others


@contextlib.contextmanager
def kept_is_said(run: Run, folder: Path, console: Console) -> Iterator[None]:
    """When a person or the system ends the block, say what is left of the run."""
    try:
        yield
    except (KeyboardInterrupt, Stopped):
        saved = checkpoints(folder / CHECKPOINTS)
        what = "ended before its first checkpoint, so that it begins anew"
        if saved:
            done, all_of_them = iteration_in(saved[-1]), run.recipe.recipe.train.iterations
            what = f"kept up to its checkpoint at iteration {done} of {all_of_them}, {folder}"
        console.print(Text.assemble((run.title, "bold"), f": {what}"), soft_wrap=True)
        raise


@contextlib.contextmanager
def tracking(
    run: Run, folder: Path, accelerator: Accelerator, names: Sequence[str], console: Console
) -> Iterator[Trackers]:
    """For the time of the block the trackers of a run; on all processes but the main one there are none."""

    def say(what: str) -> None:
        console.print(Text.assemble((run.title, "bold"), f": {what}"), soft_wrap=True)

    settings = {key: one.value for key, one in config_of(run).items()}
    trackers = Trackers(names if accelerator.is_main_process else (), folder / TRACKED, run.run_id, settings, say)
    try:
        yield trackers
    finally:
        trackers.finish()


def executed(
    run: Run,
    folder: Path,
    accelerator: Accelerator,
    progress: ProgressFile,
    trackers: Trackers,
    *,
    resume: bool,
    console: Console,
) -> RunRecord | None:
    """As `execute`, but that nothing is said at the end; ``progress`` and ``trackers`` are told how far it is."""
    began = Began()
    recipe = run.recipe.recipe
    progress.tell("reading", 0)
    check_dataset(run.splits.evaluation)
    learner = build_learner(
        run.candidate.cls,
        run.candidate.options,
        recipe.model,
        classes=len(run.splits.train.classes),
        seed=run.seed,
        protocol=run.candidate.protocol,
        extras=run.candidate.extras,
        loss=recipe.loss,
    )
    learned_by(learner.assigner)  # what it says is refused before hours of training, not after
    with main_process(accelerator) as writes:
        if writes:
            for path in folder.iterdir():  # what could not be replaced in the end is refused before hours of training
                if not path.is_dir():
                    replaceable(path)
            write_repairs(folder, run.splits)
            write_json_atomic(folder / CONFIG, {key: value.model_dump() for key, value in config_of(run).items()})
    trained = train(
        learner,
        run.splits.train,
        accelerator,
        settings=recipe.train,
        data=recipe.data,
        seed=run.seed,
        run_id=run.run_id,
        folder=folder,
        resume=resume,
        console=console,
        progress_file=progress,
        validate=partial(validation_losses, learner, run.splits.evaluation, accelerator, recipe.data, recipe.evaluate),
        trackers=trackers,
    )
    progress.tell("evaluating", recipe.train.iterations)
    require_finite(learner.state_dict(), f"the network after iteration {recipe.train.iterations}")
    evaluating = time.perf_counter()
    found = detections_of(
        learner.detector, run.splits.evaluation, accelerator, data=recipe.data, settings=recipe.evaluate
    )
    record = None
    with main_process(accelerator) as writes:
        if writes:
            require_own(folder, trained)
            write_detections(run.splits.evaluation, found, folder / DETECTIONS)
            result = evaluate(run.splits.evaluation, folder / DETECTIONS, recipe.evaluate.evaluator)
            keep_matches(run.splits.evaluation, folder / DETECTIONS)
            evaluated = time.perf_counter() - evaluating
            spent = {**trained.seconds, "total": trained.seconds["total"] + evaluated}
            spent["evaluation"] = trained.seconds.get("evaluation", 0.0) + evaluated
            save_tensors(folder / WEIGHTS, learner.state_dict())
            record = record_of(run, learner, trained, result, folder, accelerator, spent, began)
            if record.learned:
                write_json_atomic(folder / LEARNED, record.learned)
            progress.remove()
            require_own(folder, trained)
            write_record(folder, record)
            remove(folder / CHECKPOINTS)
    if record is not None:
        trackers.log(record.metrics, recipe.train.iterations)
    return record


def require_own(folder: Path, trained: Trained) -> None:
    """Whether the run's folder is still the one that it was begun in: only then may a record make it look whole.

    Raises:
        RunError: something is not there any more.
    """
    for log in trained.logs.values():
        log.settled()
    if not (folder / CONFIG).is_file():
        raise taken_away(folder / CONFIG, "repeat the command with --resume: it is written again")


def record_of(
    run: Run,
    learner: Learner,
    trained: Trained,
    result: Evaluation,
    folder: Path,
    accelerator: Accelerator,
    seconds: Mapping[str, float],
    began: Began,
) -> RunRecord:
    """Gather what there is to know about a finished run."""
    one, splits, recipe = run.candidate, run.splits, run.recipe.recipe
    files = facts_of(folder, (WEIGHTS, DETECTIONS, LOSSES, STATISTICS))
    return RunRecord(
        run_id=run.run_id,
        assigner=AssignerFacts(
            label=one.strategy.label,
            name=one.strategy.name,
            options=one.all_options,
            extras=one.strategy.extras,
            origin=one.strategy.origin,
            version=one.strategy.version,
            source_sha256=one.source_sha256,
        ),
        dataset=DatasetFacts(
            name=splits.train.name,
            spec=splits.spec,
            classes=splits.train.classes,
            train=split_facts(splits.train, pictures_digest(splits)),
            evaluation=split_facts(splits.evaluation, files_digest(splits.evaluation.images), run.content),
            upright=splits.train.stored.upright,
            bits=splits.train.stored.bits,
            caveats=caveats(splits),
        ),
        recipe=run.recipe.name,
        protocol=one.protocol.name,
        preset=one.protocol.preset_name,
        seed=run.seed,
        config=config_of(run),
        metrics=result.metrics,
        per_class=result.per_class,
        official_per_class=result.official_per_class,
        detections=result.detections,
        evaluator=result.evaluator,
        detections_sha256=files[DETECTIONS].sha256,
        weights_sha256=files[WEIGHTS].sha256,
        files=files,
        assignment=trained.statistics,
        branches=(MAIN, *(branch.name for branch in learner.head.beside)),
        suppression=learner.head.suppress,
        learned=learned(learner, splits.train.classes),
        true_offsets=dict(splits.train.offsets) or None,
        parameters=total_parameters(learner),
        iterations=recipe.train.iterations,
        seconds=Seconds(**{part: seconds.get(part, 0.0) for part in Seconds.model_fields}),
        images_per_second=trained.images_per_second,
        environment=environment(
            accelerator.num_processes,
            recipe.train.precision,
            accelerator.device,
            workers_of(recipe.data, accelerator.device),
        ),
        started=began.started,
        finished=began.now(),
        notes=(*trained.notes, *unrepeatable(learner, accelerator.device), *result.notes, *began.notes()),
    )


def config_of(run: Run) -> dict[str, ResolvedValue]:
    """The whole resolved configuration with the origin of each value."""
    one = run.candidate
    values = {
        key: ResolvedValue(value=value, origin=run.recipe.origins[key])
        for key, value in flatten(run.recipe.recipe).items()
    }
    values["assigner.text"] = ResolvedValue(value=one.strategy.text, origin="--assigner")
    for name, value in one.all_options.items():
        origin = f"preset {one.protocol.preset_name}" if name in one.options else "default"
        origin = "--assigner" if name in one.given else origin
        values[f"assigner.{name}"] = ResolvedValue(value=value, origin=origin)
    return values


def split_facts(dataset: Dataset, pictures: str, content: str | None = None) -> SplitFacts:
    """A split as the record describes it; ``pictures`` and ``content`` as there."""
    return SplitFacts(
        name=dataset.split,
        images=len(dataset),
        objects=len(dataset.boxes),
        crowd=int(dataset.crowd.sum()),
        repairs=tuple(str(repair) for repair in dataset.repairs),
        fingerprint=dataset.fingerprint,
        pictures=pictures,
        content=content,
    )


def learned(learner: Learner, classes: Sequence[str]) -> dict[str, dict[str, float]]:
    """What the strategy's own parameters say, by class, or under "all" where it is the same for all."""
    columns = learned_by(learner.assigner)
    if not columns:
        return {}
    labels = classes if max(map(len, columns.values())) == len(classes) else ("all",)
    return {
        label: {name: values[row if len(values) > 1 else 0] for name, values in columns.items()}
        for row, label in enumerate(labels)
    }
