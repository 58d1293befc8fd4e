"""The influences of a run: those that its matches give, and never those of another run."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from assignbench import kept_influences as module
from assignbench.comparison.influences import NUMBERS, influences
from assignbench.errors import RunError
from assignbench.kept_influences import FILE, keep_influences, kept_influences
from assignbench.run.scoring.kept_matches import digest_of, matches_of_run
from assignbench.sealed import as_metadata


def unopened(spec):
    raise AssertionError(f"{spec} was opened")


@pytest.fixture
def run(finished_run, tmp_path):
    record, folder = finished_run("plain", "train.iterations=2", "train.warmup=1")
    shutil.copytree(folder, tmp_path / folder.name)
    matches, _ = matches_of_run(tmp_path / folder.name, record, unopened)
    return record, tmp_path / folder.name, matches


def test_what_is_kept_is_what_is_computed(run):
    record, folder, matches = run
    assert kept_influences(folder, record) is None
    made = keep_influences(folder, record, matches)
    kept = kept_influences(folder, record)
    computed = influences(matches, tuple(NUMBERS))
    for metric in NUMBERS:
        assert np.array_equal(kept[metric], computed[metric])
        assert np.array_equal(made[metric], computed[metric])


def test_those_of_other_detections_data_or_rules_are_not_taken(run, monkeypatch):
    record, folder, matches = run
    keep_influences(folder, record, matches)
    assert kept_influences(folder, record.model_copy(update={"detections_sha256": "0" * 64})) is None
    split = record.dataset.evaluation.model_copy(update={"fingerprint": "0" * 64})
    other = record.model_copy(update={"dataset": record.dataset.model_copy(update={"evaluation": split})})
    assert kept_influences(folder, other) is None
    monkeypatch.setattr(module, "RULE", "influences 0")
    assert kept_influences(folder, record) is None


@pytest.mark.parametrize("how", ["cut", "short", "nan"])
def test_a_damaged_file_is_refused(run, how):
    record, folder, matches = run
    keep_influences(folder, record, matches)
    file = folder / FILE
    if how == "cut":
        file.write_bytes(file.read_bytes()[:-9])
    else:
        arrays = load_file(file)
        arrays["AP"] = arrays["AP"][:, 1:].copy() if how == "short" else arrays["AP"] * np.nan
        facts = module._facts(record) | {"sha256": digest_of(arrays)}
        save_file(arrays, file, as_metadata(facts))
    with pytest.raises(RunError, match="is damaged"):
        kept_influences(folder, record)


def test_matches_with_another_ap_are_refused(run):
    record, folder, matches = run
    wrong = record.model_copy(update={"metrics": {**record.metrics, "AP": 0.9}})
    with pytest.raises(RunError, match="another AP than the record"):
        keep_influences(folder, wrong, matches)
    assert not (folder / FILE).exists()


def test_a_disk_that_takes_nothing_ends_nothing(run, monkeypatch):
    record, folder, matches = run

    def full(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "replace", full)
    assert set(keep_influences(folder, record, matches)) == set(NUMBERS)
    assert kept_influences(folder, record) is None
