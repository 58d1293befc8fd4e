import io
import re
from pathlib import Path

import pytest
import yaml
from accelerate import Accelerator
from rich.console import Console

from assignbench.errors import DataError, UsageError
from assignbench.reproduce import conduct as module
from assignbench.reproduce.sheet import Request
from assignbench.run.matrix import matrix
from assignbench.run.results.finished import find_runs

FAST = ("model.backbone=miniature", "train.iterations=1", "train.batch=2", "train.warmup=1", "evaluate.detections=5")
BROKEN = """
from assignbench.core import Assigner, Head

class Broken(Assigner):
    head = Head()
    source = "nobody"

    def forward(self, predictions, priors, targets):
        raise RuntimeError("out of luck")
"""


@pytest.fixture
def go(tiny, root, tmp_path):
    """Run experiments at smoke, smaller still: exit code and what was printed."""

    def go(*names, seeds=(0,), dry_run=False, overrides=FAST, dataset=None, conduct=None):
        text = io.StringIO()
        code = module.reproduce(
            [str(name) for name in names],
            Request("smoke", dataset=dataset or str(tiny), overrides=tuple(overrides), seeds=seeds),
            datasets=root,
            output=tmp_path / "out",
            device="cpu",
            dry_run=dry_run,
            console=Console(file=text, width=400),
            conduct=conduct,
        )
        return code, text.getvalue()

    return go


def write(file: Path, *rows, **more) -> Path:
    content = {"title": "mine", "table": "9", "paper": "p", "rows": list(rows), **more}
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return file


PLAIN, FCOS = {"label": "a", "strategy": "plain", "published": 1}, {"label": "b", "strategy": "fcos"}


def test_an_interrupted_command_continues_and_shared_runs_are_trained_once(go, tmp_path, monkeypatch):
    first = write(tmp_path / "one.yaml", PLAIN, FCOS, claims=[{"says": "b beats a", "better": "b", "worse": "a"}])
    second = write(tmp_path / "two.yaml", FCOS, {"label": "c", "strategy": "plain", "test_time": "flip"})
    real, calls = matrix.attempt, []

    def attempt(run, *arguments, **named):
        calls.append(run.candidate.strategy.label)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(run, *arguments, **named)

    monkeypatch.setattr(matrix, "attempt", attempt)
    with pytest.raises(KeyboardInterrupt):
        go(first, second)
    (done,) = find_runs(tmp_path / "out" / "runs").records
    assert done.assigner.label == "plain"

    code, said = go(first, second)
    assert (code, calls) == (0, ["plain", "fcos", "plain", "fcos"])
    assert f"done already, {tmp_path / 'out' / 'runs' / done.run_id}" in said
    assert "2 tables, 4 rows, 2 different runs" in said
    records = {record.assigner.label: record for record in find_runs(tmp_path / "out" / "runs").records}
    assert records["plain"].finished == done.finished
    page = (tmp_path / "out" / "smoke" / "one.md").read_text(encoding="utf-8")
    assert "at this scale nothing is learned" in page
    assert "NOT the paper's setting" in page
    assert (tmp_path / "out" / "smoke" / "one-claims.csv").is_file()
    assert "with test-time augmentation flip" in (tmp_path / "out" / "smoke" / "two.md").read_text(encoding="utf-8")


def test_a_table_is_written_as_soon_as_its_runs_have_ended(go, tmp_path, monkeypatch):
    first = write(tmp_path / "one.yaml", PLAIN, {"label": "c", "strategy": "atss"})
    second = write(tmp_path / "two.yaml", {"label": "c", "strategy": "atss"})
    written = []
    monkeypatch.setattr(module, "write_tables", lambda result, *_: written.append(result.sheet.name))

    def backwards(runs):
        real = Accelerator(cpu=True)
        for run in reversed(runs):
            yield (
                run,
                matrix.attempt(run, tmp_path / "out" / "runs", real, resume=True, console=Console(file=io.StringIO())),
            )

    code, said = go(first, second, conduct=backwards)
    assert code == 0
    assert written == ["two", "one"]
    assert "0 done, 2 to do" in said
    *_, summary = said.split("claims by verdict")
    assert summary.index("one") < summary.index("two")


def test_a_failed_run_marks_its_cell_and_the_exit_code(go, tmp_path):
    (tmp_path / "broken.py").write_text(BROKEN, encoding="utf-8")
    broken = {"label": "broken", "strategy": f"{tmp_path / 'broken.py'}:Broken"}
    claims = [{"says": "b beats broken", "better": "b", "worse": "broken"}]
    file = write(tmp_path / "mine.yaml", broken, FCOS, {"label": "d", "not_built": "nobody did"}, claims=claims)
    code, _ = go(file)
    assert code == 1
    page = re.sub(" +", " ", (tmp_path / "out" / "smoke" / "mine.md").read_text(encoding="utf-8"))
    assert "| broken | broken.py:Broken | 0 | – | failed: " in page
    assert "out of luck" in page
    assert "| d | | 0 | – | not built yet: nobody did |" in page
    assert "| not tested | broken: failed: " in page
    assert len(find_runs(tmp_path / "out" / "runs").records) == 1


def test_a_dry_run_measures_and_trains_nothing(go, tmp_path):
    file = write(tmp_path / "mine.yaml", PLAIN, FCOS)
    code, said = go(file, dry_run=True, seeds=(0, 1))
    assert code == 0
    assert said.count("to do") >= 4
    assert "measuring miniature, plain, recipe smoke" in said
    assert "measured: training steps and forward passes of the first strategy of each network" in said
    assert not (tmp_path / "out").exists()


def test_a_request_that_cannot_be_met_trains_nothing(go, tmp_path):
    file = write(tmp_path / "mine.yaml", PLAIN)
    with pytest.raises(DataError, match="nowhere"):
        go(file, dataset=f"coco:{tmp_path / 'nowhere'}")
    (tmp_path / "other").mkdir()
    namesake = write(tmp_path / "other" / "mine.yaml", FCOS)
    with pytest.raises(UsageError, match="two experiments are called mine"):
        go(file, namesake)
    with pytest.raises(UsageError, match="no row can be run"):
        go(write(tmp_path / "empty.yaml", {"label": "d", "not_built": "nobody did"}))
    mixed = {"label": "m", "strategy": "atss", "set": {"train.precision": "bf16"}}
    with pytest.raises(UsageError, match=r"differ in train.precision \(bf16, no\)"):
        go(write(tmp_path / "mixed.yaml", PLAIN, mixed))
    assert not (tmp_path / "out").exists()


def test_a_copied_record_is_not_a_result(go, tmp_path):
    file = write(tmp_path / "mine.yaml", PLAIN, FCOS)
    assert go(file)[0] == 0
    records = {record.assigner.label: record for record in find_runs(tmp_path / "out" / "runs").records}
    plain, fcos = (tmp_path / "out" / "runs" / records[name].run_id for name in ("plain", "fcos"))
    (fcos / "record.json").write_bytes((plain / "record.json").read_bytes())
    assert go(file)[0] == 1
    page = (tmp_path / "out" / "smoke" / "mine.md").read_text(encoding="utf-8")
    assert f"is the record of another run, {plain.name}" in page
    said = go(file, dry_run=True)[1]
    assert "will fail: " in said
    assert "will fail" not in said.replace(f"will fail: {fcos / 'record.json'}", "")


def test_detections_of_other_weights_are_made_anew(go, tmp_path):
    found = (*FAST, "evaluate.score_threshold=0.001")
    views = [{**row, "test_time": "flip"} for row in (PLAIN, FCOS)]
    file = write(tmp_path / "mine.yaml", *views)
    assert go(file, overrides=found)[0] == 0
    table = tmp_path / "out" / "smoke" / "mine.csv"
    right = table.read_text(encoding="utf-8")
    records = {record.assigner.label: record for record in find_runs(tmp_path / "out" / "runs").records}
    plain, fcos = (tmp_path / "out" / "runs" / records[name].run_id for name in ("plain", "fcos"))
    (copied,) = fcos.glob("evaluation.tta-flip-????????.json")
    before = (plain / copied.name).read_bytes()
    for name in (copied.name, f"{copied.stem}.views.json"):
        (plain / name).write_bytes((fcos / name).read_bytes())
    assert go(file, overrides=found)[0] == 0
    assert table.read_text(encoding="utf-8") == right
    assert (plain / copied.name).read_bytes() == before != (fcos / copied.name).read_bytes()


def test_a_dry_run_says_what_it_cannot_measure_and_goes_on(go, tmp_path):
    (tmp_path / "broken.py").write_text(BROKEN, encoding="utf-8")
    broken = {"label": "broken", "strategy": f"{tmp_path / 'broken.py'}:Broken"}
    file = write(tmp_path / "mine.yaml", broken, {**FCOS, "set": {"model.channels": 64}})
    code, said = go(file, dry_run=True)
    assert code == 0
    assert "RuntimeError: out of luck (" in said
    assert "miniature, fcos" in said
    assert "at least " in said


def test_a_reason_is_said_though_it_cannot_be_written_down(go, tmp_path):
    (tmp_path / "broken.py").write_text(BROKEN, encoding="utf-8")
    file = write(tmp_path / "mine.yaml", {"label": "broken", "strategy": f"{tmp_path / 'broken.py'}:Broken"})
    go(file)
    (log,) = (tmp_path / "out" / "runs").glob("*/failures.jsonl")
    log.unlink()
    log.mkdir()
    assert go(file)[0] == 1
    assert "out of luck" in (tmp_path / "out" / "smoke" / "mine.md").read_text(encoding="utf-8")
