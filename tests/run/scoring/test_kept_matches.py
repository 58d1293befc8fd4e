"""The matches of a run: the evaluator's, kept beside its detections, and never those of another run."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from assignbench.comparison.influences import NUMBERS, influences, value_of
from assignbench.data.dataset import Dataset
from assignbench.data.spec.locate import data_root, open_dataset, open_evaluation
from assignbench.errors import DataError, RunError
from assignbench.run.results.record import RunRecord
from assignbench.run.scoring.foreign import read_foreign
from assignbench.run.scoring.kept_matches import FILE, kept_matches, matches_of, matches_of_run

SHORT = ("train.iterations=2", "train.warmup=1")


@pytest.fixture
def run(finished_run: Callable[..., tuple[RunRecord, Path]], tmp_path: Path) -> tuple[RunRecord, Path]:
    record, folder = finished_run("plain", *SHORT)
    shutil.copytree(folder, tmp_path / folder.name)
    return record, tmp_path / folder.name


def unopened(spec: str) -> Dataset:
    raise AssertionError(f"{spec} was opened")


def test_a_run_keeps_its_matches_and_they_give_the_numbers_of_its_record(run: tuple[RunRecord, Path]) -> None:
    record, folder = run
    matches, reason = matches_of_run(folder, record, unopened)
    assert matches is not None
    assert reason == ""
    for metric in NUMBERS:
        stated = record.metrics[metric]
        assert value_of(matches, metric) == (pytest.approx(np.nan, nan_ok=True) if stated is None else stated)
    found = influences(matches, [*NUMBERS, "AR100"])
    assert set(found) == set(NUMBERS)
    assert found["AP"].shape == (2, record.dataset.evaluation.images)


def test_another_tool_s_dump_of_its_detections_gives_the_numbers_of_its_record(
    run: tuple[RunRecord, Path], tmp_path: Path
) -> None:
    record, folder = run
    entries = json.loads((folder / "detections.json").read_text())
    assert entries
    dump = [{"id": number, "segmentation": [], **entry} for number, entry in enumerate(entries)]
    (tmp_path / "dump.json").write_text(json.dumps(dump[::-1]))
    dataset = open_evaluation(record.dataset.spec, data_root(None))
    matches = matches_of(dataset, read_foreign(dataset, tmp_path / "dump.json").rows)
    for metric in NUMBERS:
        stated = record.metrics[metric]
        assert value_of(matches, metric) == (pytest.approx(np.nan, nan_ok=True) if stated is None else stated)


def test_lost_matches_are_made_again_from_the_detections(run: tuple[RunRecord, Path]) -> None:
    record, folder = run
    kept = kept_matches(folder, record.detections_sha256, record.dataset.evaluation.fingerprint)
    assert kept is not None
    (folder / FILE).unlink()
    found, _ = matches_of_run(folder, record, lambda spec: open_dataset(spec, data_root(None)).evaluation)
    assert found is not None
    assert kept_matches(folder, record.detections_sha256, record.dataset.evaluation.fingerprint) is not None
    for name in ("image", "label", "right", "counted", "objects", "taken"):
        assert np.array_equal(getattr(found, name), getattr(kept, name))


def test_what_belongs_to_another_run_or_rule_is_not_taken(
    run: tuple[RunRecord, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    record, folder = run
    fingerprint = record.dataset.evaluation.fingerprint
    assert kept_matches(folder, "0" * 64, fingerprint) is None
    assert kept_matches(folder, record.detections_sha256, "0" * 64) is None
    with monkeypatch.context() as patch:
        patch.setattr("assignbench.run.scoring.kept_matches.RULE", "coco 1")
        assert kept_matches(folder, record.detections_sha256, fingerprint) is None
    (folder / FILE).unlink()
    detections = folder / "detections.json"

    def gone(spec: str) -> Dataset:
        raise DataError(f"{Path(spec).name} is gone\nlook for it")

    assert matches_of_run(folder, record, gone) == (None, "mini.yaml is gone")
    detections.write_text(detections.read_text(encoding="utf-8") + " ", encoding="utf-8")
    assert matches_of_run(folder, record, unopened) == (None, "its detections are not those of its record")
    detections.unlink()
    assert matches_of_run(folder, record, unopened) == (None, "its detections are not there")


def test_a_damaged_file_is_said(run: tuple[RunRecord, Path]) -> None:
    record, folder = run
    (folder / FILE).write_bytes((folder / FILE).read_bytes()[:50])
    with pytest.raises(RunError, match=r"matches\.safetensors is damaged: .*; remove it, it is made again"):
        matches_of_run(folder, record, unopened)
