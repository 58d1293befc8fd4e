"""Influences of the pictures on what claims are about, of runs that were really made."""

import io
import shutil
from dataclasses import replace

import numpy as np
import pytest
import yaml
from rich.console import Console

from assignbench.comparison.influences import class_influences, influences
from assignbench.reproduce import conduct, outcomes
from assignbench.reproduce.pictures import columns_of, with_pictures
from assignbench.reproduce.sheet import Request
from assignbench.run.results.finished import find_runs
from assignbench.run.scoring.kept_matches import FILE, matches_of_run
from assignbench.run.training.device import build_accelerator

FAST = (
    *("model.backbone=miniature", "train.iterations=4", "train.batch=2", "train.warmup=1"),
    "evaluate.score_threshold=0.001",
)
CONTENT = {
    "title": "mine",
    "table": "9",
    "paper": "p",
    "off_centre": 0.01,
    "rows": [
        {"label": "a", "strategy": "plain"},
        {"label": "flipped", "strategy": "plain", "test_time": "flip"},
        {"label": "unclaimed", "strategy": "plain"},
    ],
    "claims": [{"says": "flipping helps", "better": "flipped", "worse": "a"}],
}


@pytest.fixture(scope="module")
def made(tiny, root, tmp_path_factory):
    """A sheet whose claims get verdicts, its filled lines, and the folder of the runs."""
    folder = tmp_path_factory.mktemp("out")
    file = folder / "mine.yaml"
    file.write_text(yaml.safe_dump(CONTENT), encoding="utf-8")
    request = Request("smoke", dataset=str(tiny), overrides=FAST, seeds=(0,))
    quiet = Console(file=io.StringIO())
    conduct.reproduce([str(file)], request, datasets=root, output=folder, device="cpu", dry_run=False, console=quiet)
    (sheet,) = conduct.sheets_of([str(file)], request, root, "cpu")
    sheet = replace(sheet, scale=sheet.scale.model_copy(update={"decides": True}))
    known = outcomes.Outcomes({record.run_id: record for record in find_runs(folder / "runs").records})
    accelerator = build_accelerator("cpu", "no")
    lines = [
        outcomes.filled(line, outcomes.evaluated_in_views(line, folder / "runs", accelerator, quiet, known), known)
        for line in sheet.lines
    ]
    return sheet, lines, folder / "runs"


def test_each_run_of_a_claim_gets_the_influences_of_its_own_detections(made):
    sheet, lines, runs = made
    before = {file: file.read_bytes() for file in runs.glob(f"*/{FILE}")}
    plain, flipped, unclaimed = with_pictures(sheet, lines, runs)
    assert {file: file.read_bytes() for file in runs.glob(f"*/{FILE}")} == before  # views leave them alone
    assert [one.lacking for one in (plain, flipped, unclaimed)] == [{}] * 3
    assert unclaimed.pictures == {}
    record = plain.records[0]
    matches, _ = matches_of_run(runs / record.run_id, record, lambda _: sheet.lines[0].runs[0].splits.evaluation)
    np.testing.assert_array_equal(plain.pictures[0]["AP"], influences(matches, ("AP",))["AP"])
    assert plain.pictures[0]["AP"].shape == flipped.pictures[0]["AP"].shape == (2, 4)
    assert np.abs(plain.pictures[0]["AP"]).max() > 0
    assert not np.array_equal(plain.pictures[0]["AP"], flipped.pictures[0]["AP"])
    assert plain.pictures[0].keys() == {"AP", "off-centre"}


def test_the_mean_of_all_classes_is_ap(made):
    sheet, lines, runs = made
    run, record = sheet.lines[0].runs[0], lines[0].records[0]
    matches, _ = matches_of_run(runs / record.run_id, record, lambda _: run.splits.evaluation)
    every = columns_of(run.splits.evaluation, run.splits.evaluation.classes)
    np.testing.assert_array_equal(class_influences(matches, every), influences(matches, ("AP",))["AP"])
    measured = [name for name in run.splits.evaluation.classes if record.per_class[name] is not None]
    parts = [class_influences(matches, columns_of(run.splits.evaluation, [name]))[0] for name in measured]
    np.testing.assert_allclose(np.mean(parts, axis=0), influences(matches, ("AP",))["AP"][0], atol=1e-12)


def test_classes_are_numbered_as_the_evaluator_does(splits):
    dataset = replace(splits.evaluation, classes=("b", "a"), category_ids=(9, 3))
    assert columns_of(dataset, ["b", "a"]) == [1, 0]


def test_what_is_missing_or_does_not_fit_is_said(made, tmp_path):
    sheet, lines, runs = made
    shutil.copytree(runs, tmp_path / "runs")
    for name in ("detections.json", FILE):
        for file in (tmp_path / "runs").glob(f"*/{name}"):
            file.unlink()
    plain, *_ = with_pictures(sheet, lines, tmp_path / "runs")
    assert [*plain.lacking.values()] == ["its detections are not there"]
    assert plain.pictures == {}
    odd = replace(lines[0], metrics={0: {**lines[0].metrics[0], "AP": 0.9}})
    plain, *_ = with_pictures(sheet, [odd, *lines[1:]], runs)
    (reason,) = plain.lacking.values()
    assert "gives another AP than the record" in reason
    assert plain.pictures == {}


def test_where_nothing_is_decided_nothing_is_read(made):
    sheet, lines, runs = made
    smoke = replace(sheet, scale=sheet.scale.model_copy(update={"decides": False}))
    assert with_pictures(smoke, lines, runs / "nowhere") == lines
