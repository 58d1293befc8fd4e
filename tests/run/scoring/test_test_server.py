"""The archive for a server that alone knows the objects."""

import json
import os
import re
import zipfile
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console
from torch import nn

from assignbench.config import load_recipe
from assignbench.errors import SystemProblem, UsageError
from assignbench.run.scoring import reopen, test_server
from assignbench.run.scoring.evaluate import Detections


@pytest.fixture
def run(miniatures, monkeypatch, tmp_path, make_record):
    """Submits a run of ATSS that finds one dog in the second picture of COCO's test-dev, in miniature."""
    folder = tmp_path / "data" / "coco"
    miniatures.write_coco(folder)
    content = json.loads((folder / "annotations" / "instances_val2017.json").read_text())
    del content["annotations"]
    (folder / "annotations" / "image_info_test-dev2017.json").write_text(json.dumps(content))
    (folder / "val2017").rename(folder / "test2017")

    def submitting(spec: str = "coco", tta: str | None = None) -> Path:
        record = make_record(dataset=spec)
        record = record.model_copy(
            update={"dataset": record.dataset.model_copy(update={"classes": ("cat", "dog"), "spec": spec})}
        )
        learner = nn.Module()
        learner.detector = nn.Identity()
        recipe = load_recipe("tiny")
        finished = SimpleNamespace(record=record, recipe=recipe, learner=learner, notes=("a note",))
        monkeypatch.setattr(test_server, "open_run", lambda _, *, trust: finished)
        box = np.array([[8.0, 8.0, 40.0, 120.0]])
        found = [Detections(1, box, np.array([0.5]), np.array([1]))]
        monkeypatch.setattr(reopen, "detections_of", lambda *_, **__: found)
        return test_server.submit_run(tmp_path / "run", tmp_path / "data", "cpu", Console(file=StringIO()), tta=tta)

    return submitting


def test_the_archive_holds_the_results_under_the_servers_names(run, tmp_path):
    archive = run()
    assert archive == tmp_path / "run" / "submission" / "detections_test-dev2017_atss_results.zip"
    with zipfile.ZipFile(archive) as packed:
        assert packed.namelist() == ["detections_test-dev2017_atss_results.json"]
        rows = json.loads(packed.read(packed.namelist()[0]))
    assert rows == [{"image_id": 2, "category_id": 9, "bbox": [8.0, 8.0, 32.0, 112.0], "score": 0.5}]
    assert sorted(path.suffix for path in archive.parent.iterdir()) == [".json", ".zip"]


def test_the_set_of_views_enters_the_archives_name(run):
    assert re.fullmatch(r"detections_test-dev2017_atss-tta-flip-[0-9a-f]{8}_results\.zip", run(tta="flip").name)


def test_a_data_set_without_such_a_split_is_refused(run, miniatures, tmp_path):
    with pytest.raises(UsageError, match="no test split"):
        run(miniatures.write_voc(tmp_path / "voc").spec)


def test_a_full_disk_leaves_no_half_archive(run, tmp_path, monkeypatch):
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    archive = run()
    archive.unlink()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SystemProblem, match="No space left on device"):
        test_server.pack(archive.with_suffix(".json"))
    assert [path.suffix for path in archive.parent.iterdir()] == [".json"]


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("atss", "atss"),
        ("autoassign[tau=0.5]", "autoassign-tau-0-5"),
        ("my_own.py:Best", "my-own-py-Best"),
        ("[]", "run"),
    ],
)
def test_names_have_no_underscores_of_their_own(label, name):
    assert test_server.plain(label) == name
