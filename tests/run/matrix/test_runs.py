"""Whole runs on a handful of small pictures: resume equals going on, batches do not matter, failures are said."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from io import StringIO
from pathlib import Path
from shutil import copytree
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

from assignbench.comparison.table import compare
from assignbench.core import Setting
from assignbench.data.load.batch import Batch
from assignbench.data.spec.locate import open_dataset
from assignbench.errors import DataError, RunError, SystemProblem, UsageError
from assignbench.run.matrix import matrix
from assignbench.run.matrix.execute import learned
from assignbench.run.matrix.matrix import MatrixOutcome
from assignbench.run.results.finished import find_runs
from assignbench.run.results.json_lines import read_lines
from assignbench.run.results.names import DETECTIONS, LEARNED, WEIGHTS
from assignbench.run.results.record import FILE, RunRecord, read_record
from assignbench.run.scoring import detect, evaluators
from assignbench.run.scoring.predict import predict
from assignbench.run.scoring.reopen import AGAIN, evaluate_run, open_run, unchanged
from assignbench.run.training import train
from assignbench.run.training.checkpoint import checkpoints, load_tensors
from assignbench.run.training.learner import Learner, Step
from assignbench.run.training.step import Trainer

Go = Callable[..., tuple[MatrixOutcome, str]]
Finished = Callable[..., tuple[RunRecord, Path]]


@pytest.fixture
def go(small_runs: Go, tmp_path: Path) -> Go:
    """Make small runs in the folder ``runs``; returns their outcome and what was printed."""
    return partial(small_runs, output=tmp_path / "runs")


@pytest.fixture
def data(few_pictures: Path) -> Path:
    """The data root."""
    return few_pictures.parent


@pytest.fixture
def run(finished_run: Finished, tmp_path: Path) -> tuple[RunRecord, Path]:
    """The record of a finished run, and a copy of its folder to write into."""
    record, folder = finished_run("autoassign")
    return record, Path(copytree(folder, tmp_path / "runs" / record.run_id))


def folder_of(outcome: MatrixOutcome, output: Path) -> Path:
    return output / outcome.records[0].run_id


def test_a_run_leaves_what_it_promises_and_is_not_repeated(go: Go, tmp_path: Path) -> None:
    outcome, text = go(strategies=("autoassign", "atss"))
    assert outcome.exit_code == 0
    folder = folder_of(outcome, tmp_path / "runs")
    names = {path.name for path in folder.iterdir()}
    assert {
        "record.json",
        "config.json",
        "losses.jsonl",
        "assignment.jsonl",
        WEIGHTS,
        DETECTIONS,
        LEARNED,
    } <= names
    assert not checkpoints(folder / train.CHECKPOINTS)
    assert [row["iteration"] for row in read_lines(folder / train.LOSSES)] == [1, 2, 3, 4]
    record = outcome.records[0]
    assert record.dataset.train.images == 7
    assert set(record.per_class) == set(record.dataset.classes)
    assert set(record.learned) == set(record.dataset.classes)
    assert json.loads((folder / LEARNED).read_text()) == record.learned
    assert record.true_offsets is not None
    assert record.config["train.iterations"].origin == "--set"
    assert record.assignment["objects"]
    assert outcome.records[1].learned == {}
    assert not (tmp_path / "runs" / outcome.records[1].run_id / LEARNED).exists()
    assert "learned by the strategy" in text

    before = (folder / "record.json").read_bytes()
    again, text = go(strategies=("autoassign", "atss"))
    assert text.count("done already") == 2
    assert again.records == outcome.records
    assert (folder / "record.json").read_bytes() == before


def test_both_protocols_leave_records_that_stand_side_by_side(go: Go, data: Path, tmp_path: Path) -> None:
    short = "train.iterations=2"
    controlled, _ = go(short, strategies=("atss",))
    default, text = go(short, strategies=("retinanet", "atss"), protocol="published")
    official, _ = go(short, strategies=("atss",), protocol="published", preset="official")
    assert "retinanet: preset mmdet (mmdetection 3.3.0, retinanet_r50_fpn_1x_coco); " in text
    assert "model.pyramid = c5_plain" in text
    records = [*controlled.records, *default.records, *official.records]
    assert len({record.run_id for record in records}) == 4
    assert [record.preset for record in records] == [None, "mmdet", "mmdet", "official"]
    assert [record.row for record in records[1:]] == ["retinanet (mmdet)", "atss (mmdet)", "atss (official)"]

    config = default.records[1].config
    assert (config["evaluate.score"].value, config["evaluate.score"].origin) == ("product", "preset mmdet")
    assert (config["assigner.reference"].value, config["assigner.reference"].origin) == (True, "preset mmdet")
    assert (config["train.batch"].value, config["train.batch"].origin) == (2, "--set")
    assert config["train.warmup"].origin == "--set"
    assert config["assigner.text"].value == "atss"
    assert official.records[0].config["train.bias_lr"].value == 2.0

    table = compare(find_runs(tmp_path / "runs").records)
    assert [(block.protocol, [row.strategy for row in block.rows]) for block in table.blocks] == [
        ("controlled", ["atss"]),
        ("published", ["atss (mmdet)", "atss (official)", "retinanet (mmdet)"]),
    ]

    # evaluated again, each is the detector that it was trained as
    for record in (default.records[1], official.records[0]):
        printed = StringIO()
        _, result = evaluate_run(tmp_path / "runs" / record.run_id, data, "cpu", Console(file=printed, width=200))
        assert result.metrics == record.metrics
        assert "equal those of the record" in printed.getvalue()


def test_a_preset_nobody_has_starts_nothing(go: Go, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Plain declares no published preset"):
        go(strategies=("atss", "plain"), protocol="published")
    with pytest.raises(UsageError, match="RetinaNet has no preset 'official'"):
        go(strategies=("atss", "retinanet"), protocol="published", preset="official")
    with pytest.raises(UsageError, match="is for --protocol published"):
        go(preset="mmdet")
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_trains_nothing(go: Go, tmp_path: Path) -> None:
    outcome, text = go(dry_run=True, seeds=(0, 1))
    assert outcome.records == ()
    assert text.count("to do") == 2
    assert "from recipe tiny: " in text  # where each setting comes from
    assert "train.lr=" in text
    assert not (tmp_path / "runs").exists()


def test_options_of_a_strategy_are_not_read_as_markup(go: Go) -> None:
    _, text = go(dry_run=True, strategies=("autoassign[center=none]",))
    assert "autoassign[center=none] on mini" in text


@pytest.mark.parametrize(("strategy", "stop"), [("autoassign", 1), ("fcos", 3)])
def test_resume_equals_going_on(
    go: Go,
    finished_run: Finished,
    tmp_path: Path,
    interrupted: Callable[[int], AbstractContextManager[None]],
    strategy: str,
    stop: int,
) -> None:
    straight, one = finished_run(strategy)  # without any checkpoint
    with interrupted(stop):
        go("train.checkpoint_every=1", strategies=(strategy,))
    with pytest.raises(UsageError, match="unfinished"):
        go("train.checkpoint_every=1", strategies=(strategy,))
    resumed, _ = go("train.checkpoint_every=1", strategies=(strategy,), resume=True)

    other = folder_of(resumed, tmp_path / "runs")
    weights, again = load_tensors(one / WEIGHTS), load_tensors(other / WEIGHTS)
    for name, value in weights.items():
        assert torch.equal(value, again[name]), name
    for name in (DETECTIONS, train.LOSSES, train.STATISTICS):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    assert straight.metrics == resumed.records[0].metrics


def test_a_run_goes_on_with_the_threads_that_it_was_begun_with(
    go: Go, interrupted: Callable[[int], AbstractContextManager[None]], tmp_path: Path
) -> None:
    own = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        straight, _ = go()
        torch.set_num_threads(2)
        other, _ = go(output=tmp_path / "two")
        torch.set_num_threads(1)
        with interrupted(2):
            go("train.checkpoint_every=1", output=tmp_path / "resumed")
        torch.set_num_threads(2)
        resumed, _ = go("train.checkpoint_every=1", output=tmp_path / "resumed", resume=True)
        assert torch.get_num_threads() == 2, "the next run has its own"
    finally:
        torch.set_num_threads(own)
    (one,), (two,), (again,) = straight.records, other.records, resumed.records
    assert one.weights_sha256 != two.weights_sha256, "threads decide nothing here: this test sees nothing"
    assert again.weights_sha256 == one.weights_sha256
    assert again.detections_sha256 == one.detections_sha256
    assert again.environment.cpu_threads == 1
    assert any("threads: 1, as the run was begun" in note for note in again.notes)


def test_a_finished_training_goes_straight_to_evaluation(
    go: Go, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_: object) -> None:
        raise RunError("the disk of detections is gone")

    real = matrix.execute.__globals__["write_detections"]
    monkeypatch.setitem(matrix.execute.__globals__, "write_detections", broken)
    outcome, text = go()
    assert outcome.errors == (1,)
    assert "the disk of detections is gone" in text
    assert list((tmp_path / "runs").glob("*/failures.jsonl"))
    monkeypatch.setitem(matrix.execute.__globals__, "write_detections", real)
    outcome, text = go(resume=True)
    assert outcome.exit_code == 0
    assert "4/4" not in text  # nothing was trained
    assert outcome.records[0].assignment["objects"]  # and yet the statistics are there


def test_evaluation_does_not_depend_on_the_batch(go: Go, finished_run: Finished, tmp_path: Path) -> None:
    record, one = finished_run("autoassign")
    files = []
    for batch in (1, 5):
        other, _ = go(f"evaluate.batch={batch}", output=tmp_path / f"batch{batch}")
        assert other.records[0].run_id == record.run_id
        files.append(json.loads((folder_of(other, tmp_path / f"batch{batch}") / DETECTIONS).read_text()))
    files.append(json.loads((one / DETECTIONS).read_text()))
    for rows in files[1:]:
        assert len(rows) == len(files[0])
        for row, first in zip(rows, files[0], strict=True):
            assert (row["image_id"], row["category_id"]) == (first["image_id"], first["category_id"])
            assert row["score"] == pytest.approx(first["score"], abs=1e-5)
            assert row["bbox"] == pytest.approx(first["bbox"], abs=0.02)


def test_evaluating_again_finds_the_same(run: tuple[RunRecord, Path], data: Path) -> None:
    record, folder = run
    text = StringIO()
    _, result = evaluate_run(folder, data, "cpu", Console(file=text, width=200))
    assert result.metrics == record.metrics
    assert (folder / AGAIN).read_bytes() == (folder / DETECTIONS).read_bytes()
    assert "equal those of the record" in text.getvalue()


def test_a_run_with_added_outputs_is_rebuilt_with_them(go: Go, data: Path, tmp_path: Path) -> None:
    texts = ("retinanet+implicit_objectness", "fcos[centerness=false]+iou+implicit_objectness")
    outcome, _ = go("train.iterations=1", strategies=texts, protocol="published")
    for record, added in zip(outcome.records, (("implicit_objectness",), ("implicit_objectness", "iou")), strict=True):
        folder = tmp_path / "runs" / record.run_id
        assert record.assigner.extras == added
        assert record.assigner.label.endswith("+".join(("", *added)))
        finished = open_run(folder)
        cell = finished.learner.head.priors_per_cell
        layers = finished.learner.detector.head.extra_outputs
        assert {name: layer.out_channels for name, layer in layers.items()} == dict.fromkeys(added, cell)
        assert finished.notes == ()
        _, result = evaluate_run(folder, data, "cpu", Console(file=StringIO()))
        assert result.metrics == record.metrics
        assert (folder / AGAIN).read_bytes() == (folder / DETECTIONS).read_bytes()
        picture = open_dataset(str(data / "mini.yaml"), data).evaluation.images[0].path
        assert predict(folder, [picture], tmp_path / "out", 0.0, "cpu")


def test_evaluating_on_other_data_is_refused(run: tuple[RunRecord, Path], few_pictures: Path) -> None:
    text = few_pictures.read_text()
    try:
        few_pictures.write_text(text.replace("seed: 3", "seed: 4"))
        with pytest.raises(DataError, match="no longer the data"):
            evaluate_run(run[1], few_pictures.parent, "cpu", Console(file=StringIO()))
    finally:
        few_pictures.write_text(text)


def test_other_pictures_under_the_same_names_are_other_data(finished_run: Finished, few_pictures: Path) -> None:
    record, _ = finished_run("autoassign")
    dataset = open_dataset(str(few_pictures), few_pictures.parent).evaluation
    assert unchanged(dataset, record.dataset.evaluation, record, "evaluated") is dataset
    picture = dataset.images[2].path
    content = picture.read_bytes()
    try:
        picture.write_bytes(content + b" ")
        with pytest.raises(DataError, match=r"the pictures of mini\.yaml are no longer those that .* was evaluated on"):
            unchanged(dataset, record.dataset.evaluation, record, "evaluated")
    finally:
        picture.write_bytes(content)


def test_the_record_of_another_run_is_not_taken_for_this_ones(go: Go, tmp_path: Path) -> None:
    outcome, _ = go(seeds=(0, 1))
    first, second = (tmp_path / "runs" / record.run_id / FILE for record in outcome.records)
    second.write_bytes(first.read_bytes())
    again, said = go(seeds=(0, 1))
    assert (again.exit_code, [record.seed for record in again.records]) == (1, [0])
    assert f"is the record of another run, {outcome.records[0].run_id}" in said
    _, planned = go(seeds=(0, 1), dry_run=True)
    assert "will fail: " in planned


def test_damaged_weights_are_refused(run: tuple[RunRecord, Path], data: Path) -> None:
    _, folder = run
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[: len(content) // 2])
    with pytest.raises(RunError, match="damaged"):
        evaluate_run(folder, data, "cpu", Console(file=StringIO()))


def test_predicting_draws_and_writes(run: tuple[RunRecord, Path], few_pictures: Path, tmp_path: Path) -> None:
    record, folder = run
    picture = open_dataset(str(few_pictures), few_pictures.parent).evaluation.images[0].path
    written = predict(folder, [picture], tmp_path / "out", 0.0, "cpu").files
    assert [path.suffix for path in written] == [".json", ".png"]
    content = json.loads(written[0].read_text())
    assert all(row["class"] in record.dataset.classes for row in content["detections"])
    with pytest.raises(UsageError, match="several pictures"):
        predict(folder, [picture, picture], tmp_path / "out", 0.0, "cpu")
    with pytest.raises(DataError):
        predict(folder, [tmp_path / "none.jpg"], tmp_path / "out", 0.0, "cpu")
    with pytest.raises(UsageError, match="no finished run"):
        predict(tmp_path, [picture], tmp_path / "out", 0.0, "cpu")


def test_a_loss_that_is_not_finite_stops_the_run_and_names_it(
    go: Go, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    poison(monkeypatch, at=1)
    outcome, text = go(strategies=("autoassign", "plain"))
    assert outcome.errors == (1,)
    assert [record.assigner.name for record in outcome.records] == ["plain"]  # the others go on
    assert "iteration 1: loss bag is not finite, in images" in text


def poison(monkeypatch: pytest.MonkeyPatch, at: int) -> list[tuple[int, ...]]:
    """Make loss "bag" NaN in one step, counted from 1; returns the indices of the images that each step saw."""
    real = Learner.forward
    seen: list[tuple[int, ...]] = []

    def poisoned(self: Learner, batch: Batch, timed: bool = False, progress: float = 0.0) -> Step:
        seen.append(batch.indices)
        step = real(self, batch, timed, progress)
        if len(seen) != at:
            return step
        return replace(step, losses={**step.losses, "bag": float("nan") * step.losses["bag"]})

    monkeypatch.setattr(Learner, "forward", poisoned)
    return seen


def test_losses_are_looked_at_an_iteration_later_and_the_message_names_the_right_one(
    go: Go, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = poison(monkeypatch, at=3)
    outcome, text = go("train.iterations=9", "train.log_every=9", "train.checkpoint_every=9", "train.batch=1")
    assert outcome.errors == (1,)
    assert len(seen) == 4  # the fourth was at work already
    images = open_dataset(str(data / "mini.yaml"), data).train.images
    assert f"iteration 3: loss bag is not finite, in images {images[seen[2][0]].id}\n" in text


def test_a_step_that_fails_after_losses_that_were_not_finite_is_not_blamed(
    go: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = poison(monkeypatch, at=2)
    real = Trainer.learn

    def fails(self: Trainer, batch: Batch, *, last: bool, timed: bool, progress: float) -> Step:
        step = real(self, batch, last=last, timed=timed, progress=progress)
        if len(seen) == 3:
            raise ValueError("NaN all over")
        return step

    monkeypatch.setattr(Trainer, "learn", fails)
    outcome, text = go("train.log_every=9", "train.checkpoint_every=9")
    assert outcome.errors == (1,)
    assert "iteration 2: loss bag is not finite" in text
    assert "failed: autoassign on mini, seed 0: ValueError" not in text


@pytest.mark.parametrize("written", ["log", "checkpoint", "epoch", "end"])
def test_nothing_is_written_after_losses_that_are_not_finite(
    go: Go, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, written: str
) -> None:
    """The poisoned iteration is the one after which something is due; 7 images in batches of 2: epochs end after 4."""
    every = {"train.log_every": 9, "train.checkpoint_every": 9, "train.iterations": 9}
    at = {"log": 2, "checkpoint": 2, "epoch": 4, "end": 3}[written]
    key = {"log": "train.log_every", "checkpoint": "train.checkpoint_every", "end": "train.iterations"}.get(written)
    if key:
        every[key] = at
    seen = poison(monkeypatch, at)
    outcome, text = go(*(f"{key}={value}" for key, value in every.items()))
    assert outcome.errors == (1,)
    assert f"iteration {at}: loss bag is not finite" in text
    assert len(seen) == at
    (folder,) = (tmp_path / "runs").iterdir()
    assert not checkpoints(folder / train.CHECKPOINTS)
    assert not read_lines(folder / train.LOSSES)
    assert not read_lines(folder / train.STATISTICS)
    assert not (folder / WEIGHTS).exists()


def test_a_gpu_that_runs_out_of_memory_in_training_may_do_better_another_time(
    go: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr(Learner, "forward", full)
    outcome, text = go()
    assert outcome.exit_code == 6
    assert "training on 2 images of " in text
    assert " pixels at once does not fit into memory" in text
    assert "train.accumulation" in text


def test_a_gpu_that_runs_out_of_memory_in_evaluation_is_too(go: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    monkeypatch.setattr(detect, "detect", full)
    outcome, text = go()
    assert outcome.exit_code == 6
    assert "detecting in 3 images of 64 × 96 pixels at once does not fit into memory" in " ".join(text.split())
    assert "lower evaluate.batch" in text


def test_micro_steps_share_the_global_batch(go: Go) -> None:
    with pytest.raises(UsageError, match="does not divide"):
        go("train.batch=3", "train.accumulation=2")
    outcome, _ = go("train.accumulation=2")
    assert outcome.exit_code == 0
    assert "micro-steps" in " ".join(outcome.records[0].notes)


@pytest.fixture
def things(tmp_path: Path) -> Path:
    """A folder in COCO's layout: one training picture, one evaluation picture, no areas."""
    root = tmp_path / "coco"
    for split in ("train2017", "val2017"):
        (root / split).mkdir(parents=True)
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / split / "1.jpg")
        document = {
            "images": [{"id": 1, "file_name": "1.jpg", "width": 64, "height": 64}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [9, 9, 30, 30]}],
            "categories": [{"id": 1, "name": "thing"}],
        }
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(document))
    return root


@pytest.mark.parametrize("damaged", ["train2017", "val2017"])
def test_a_damaged_picture_costs_no_training(go: Go, things: Path, tmp_path: Path, damaged: str) -> None:
    victim = things / damaged / "1.jpg"
    whole = victim.read_bytes()
    victim.write_bytes(whole[:900])
    _, planned = go(strategies=("plain",), dataset=f"coco:{things}", dry_run=True)
    assert "area missing, taken from the box" in planned
    with pytest.raises(DataError, match=r"(?s)1 of 1 pictures cannot be used, nothing was trained.*1\.jpg \(image 1\)"):
        go(strategies=("plain",), dataset=f"coco:{things}")
    assert not list((tmp_path / "runs").iterdir())
    if damaged == "val2017":  # mending it does not change what the run is called
        victim.write_bytes(whole)
        _, mended = go(strategies=("plain",), dataset=f"coco:{things}", dry_run=True)
        lines = [line for line in mended.splitlines() if not line.startswith("caveat")]  # it is the taught one again
        assert lines == planned.splitlines()


def test_changed_evaluation_pictures_are_said_and_evaluated_again(
    go: Go, things: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = partial(go, strategies=("plain",), dataset=f"coco:{things}")
    before, _ = go(seeds=(0, 1))
    folders = [tmp_path / "runs" / record.run_id for record in before.records]
    weights = [(folder / WEIGHTS).read_bytes() for folder in folders]
    monkeypatch.setattr(matrix, "execute", lambda *_, **__: pytest.fail("trained again"))
    picture = things / "val2017" / "1.jpg"
    content = picture.read_bytes()
    Image.new("RGB", (64, 64), (9, 200, 9)).save(picture)
    with pytest.raises(DataError, match="which evaluates its weights again"):
        evaluate_run(folders[0], things, "cpu", Console(file=StringIO()))

    one, said = go()
    assert "its evaluation pictures are others now" in said
    assert one.records[0].run_id == before.records[0].run_id
    assert one.records[0].dataset.evaluation.content != before.records[0].dataset.evaluation.content
    assert one.records[0].detections_sha256 != before.records[0].detections_sha256
    assert "its evaluation pictures are others now" in one.records[0].notes[-1]
    with pytest.raises(UsageError, match=r"the evaluation pictures of .* were changed between runs"):
        compare(find_runs(tmp_path / "runs").records)

    both, said = go(seeds=(0, 1))
    assert said.count("done already") == said.count("others now: evaluating its weights again") == 1
    assert both.exit_code == 0
    compare(find_runs(tmp_path / "runs").records)
    text = StringIO()
    evaluate_run(folders[1], things, "cpu", Console(file=text, width=200))
    assert "equal those of the record" in text.getvalue()

    picture.write_bytes(content)
    again, _ = go(seeds=(0, 1))
    assert [record.detections_sha256 for record in again.records] == [
        record.detections_sha256 for record in before.records
    ]
    assert [(folder / WEIGHTS).read_bytes() for folder in folders] == weights


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ({}, {}),
        ({"tau": [0.5]}, {"all": {"tau": 0.5}}),
        ({"mu": [1.0, 2.0]}, {"cat": {"mu": 1.0}, "dog": {"mu": 2.0}}),
        ({"mu": [1.0, 2.0], "tau": [0.5]}, {"cat": {"mu": 1.0, "tau": 0.5}, "dog": {"mu": 2.0, "tau": 0.5}}),
        ({"tau": [0.5], "mu": [1.0, 2.0]}, {"cat": {"mu": 1.0, "tau": 0.5}, "dog": {"mu": 2.0, "tau": 0.5}}),
    ],
)
def test_what_a_strategy_learned_is_written_by_class(said: dict[str, list[float]], written: dict[str, object]) -> None:
    columns = {name: torch.tensor(values) for name, values in said.items()}
    learner = SimpleNamespace(assigner=SimpleNamespace(learned=lambda: columns, setting=Setting(classes=2)))
    assert learned(learner, ("cat", "dog")) == written  # type: ignore[arg-type]


FAULTY = """
import torch
from dataclasses import replace
from assignbench.core import Assigner, Head, hard_assignment
class Base(Assigner):
    head = Head()
    def __init__(self, setting, *, fault: str = "none") -> None:
        super().__init__(setting)
        if fault == "constructor":
            raise TypeError("no such thing")
        self.fault = fault
    def forward(self, predictions, priors, targets):
        none = torch.zeros(0, dtype=torch.int64)
        record = hard_assignment(none, none, targets)
        if self.fault == "raises":
            raise KeyError("missing")
        if self.fault == "nothing":
            return None
        if self.fault == "background":
            return replace(record, background=torch.full((targets.images, len(priors)), -3.0))
        if self.fault == "leaves":
            raise SystemExit(3)
        if self.fault == "gradient":  # its loss is 0, and the slope of a root at 0 is infinite
            x = predictions.regression.mean()
            return replace(record, losses={"own": (x - x.detach()).square().sqrt()})
        if self.fault == "gradients off":
            torch.set_grad_enabled(False)
        return record
    def learned(self):
        return {"scale": torch.ones(5)} if self.fault == "learned" else {}
"""


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("raises", "KeyError: 'missing' (FILE:16)"),
        ("nothing", "must return an Assignment, not NoneType"),
        ("leaves", "SystemExit: 3 (FILE:22)"),
        ("background", "Base puts out an impossible assignment: background must be finite and at least 0"),
        ("gradient", "the network after iteration 1: "),
        ("gradients off", "Base.forward leaves torch changed by torch.set_grad_enabled"),
        ("learned", "Base.learned()['scale'] must hold one number, or one for each of 7 classes, not 5"),
    ],
)
def test_what_a_strategy_does_wrong_is_said_and_the_others_go_on(
    go: Go, tmp_path: Path, fault: str, message: str
) -> None:
    file = tmp_path / "faulty.py"
    file.write_text(FAULTY)
    outcome, text = go("train.iterations=1", strategies=(f"{file}:Base[fault={fault}]", "plain"))
    assert outcome.errors == (1,)
    assert len(outcome.records) == 1
    assert message.replace("FILE", str(file)) in text


def test_a_constructor_that_refuses_stops_everything_before_it_starts(go: Go, tmp_path: Path) -> None:
    file = tmp_path / "faulty.py"
    file.write_text(FAULTY)
    with pytest.raises(UsageError, match=r"TypeError: no such thing \(.*faulty.py:10\)"):
        go(strategies=("plain", f"{file}:Base[fault=constructor]"))
    with pytest.raises(UsageError, match="tau must be positive"):
        go(strategies=("plain", "autoassign[tau=0]"))
    assert not (tmp_path / "runs").exists()


def test_an_output_that_cannot_be_written_is_said_at_the_start(go: Go, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemProblem, match="cannot write into"):
        go(output=tmp_path / "file" / "runs")


def test_altered_weights_are_refused(run: tuple[RunRecord, Path], data: Path) -> None:
    _, folder = run
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-3] ^= 1
    (folder / WEIGHTS).write_bytes(content)
    with pytest.raises(RunError, match="was altered"):
        evaluate_run(folder, data, "cpu", Console(file=StringIO()))


def test_the_same_thing_twice_is_refused(go: Go) -> None:
    with pytest.raises(UsageError, match="strategy is asked for twice"):
        go(strategies=("atss", "atss"))
    with pytest.raises(UsageError, match="seed is asked for twice"):
        go(seeds=(1, 1))


def test_what_the_fast_evaluator_scored_is_the_same_run_and_says_so(
    go: Go, finished_run: Finished, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("faster_coco_eval")
    plain, _ = finished_run("autoassign")
    monkeypatch.setattr(evaluators, "_process", evaluators._Process())
    outcome, text = go("evaluate.evaluator=fast", seeds=(0, 1), output=tmp_path / "fast")
    fast = outcome.records[0]
    assert fast.run_id == plain.run_id  # the evaluator decides nothing
    assert plain.scored_by == f"pycocotools {plain.environment.pycocotools}"
    for record in outcome.records:
        assert record.scored_by.startswith("faster-coco-eval ")
        assert record.scored_by.endswith(f", checked against {plain.scored_by} on the first file")
        assert record.notes[0] == f"scored by {record.scored_by}"
    assert text.count(f"scored by {fast.scored_by}") == 2
    assert set(fast.metrics) == set(plain.metrics)
    assert all(abs((fast.metrics[name] or 0) - (plain.metrics[name] or 0)) <= 1e-12 for name in plain.metrics)
    _, again = evaluate_run(tmp_path / "fast" / fast.run_id, data, "cpu", Console(file=StringIO()))
    assert again.evaluator == fast.scored_by


def test_a_missing_evaluator_is_said_before_training(go: Go, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluators, "find_spec", lambda name: None)
    with pytest.raises(SystemProblem, match=r"pip install 'assignbench\[fast\]'"):
        go("evaluate.evaluator=fast")
    assert not (tmp_path / "runs").exists()


def test_what_must_be_known_of_the_data_is_said_before_training_and_kept(
    small_runs: Callable[..., tuple[MatrixOutcome, str]], miniatures: ModuleType, tmp_path: Path
) -> None:
    miniatures.write_coco(tmp_path / "set")
    split = "{annotations: annotations/instances_train2017.json, images: train2017}"
    file = tmp_path / "set" / "dataset.yaml"
    file.write_text(f"format: coco\ntrain: {split}\nevaluation: {split}\n")
    said = "evaluated on its training pictures: all 4 evaluation pictures are also taught"
    outcome, text = small_runs(strategies=("fcos",), dataset=str(file), output=tmp_path / "runs")
    assert outcome.exit_code == 0, text
    (record,) = outcome.records
    assert (record.dataset.name, record.dataset.caveats) == ("set", (said,))
    assert read_record(tmp_path / "runs" / record.run_id / "record.json") == record
    assert text.index(f"caveat: set, {said}") < text.index("1/4  ")
    assert f"set: {said}" in compare(outcome.records).notes
