"""Code that a run's folder or a file of weights names runs only if this user knows it (fault 4)."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from assignbench import trust
from assignbench.cli.main import main
from assignbench.errors import AssignbenchWarning
from assignbench.golden.verify import verify
from assignbench.run.results.record import RunRecord, write_record
from assignbench.run.scoring.weights import KEY
from assignbench.run.training.checkpoint import load_tensors, save_tensors

PICTURE = "picture.png"
COMMANDS: dict[str, tuple[str, ...]] = {
    "eval": ("eval", "RUN"),
    "eval test": ("eval", "RUN", "--split", "test"),
    "predict": ("predict", "RUN", PICTURE, "--output", "found"),
    "figure 1": ("figure", "1", "RUN", "OTHER"),
    "figure 3": ("figure", "3", "RUN"),
    "figure 4": ("figure", "4", "RUN"),
    "figure 5": ("figure", "5", "RUN", "OTHER"),
    "figure 6": ("figure", "6", "RUN"),
    "report": ("report", "RUNS"),
    "compare": ("compare", "RUNS"),
    "plan": ("plan", "RUNS"),
}
PLANNED = ("--dry-run", "--recipe", "tiny", "--set", "train.precision=no")
FORMS = ("FILE:Mine", "stranger:Mine", "dual[one='FILE:Mine']", "FILE:Mine[k=3]+implicit_objectness")


@pytest.fixture
def unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A user who has never named a file; returns where it would be kept."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(trust, "_NAMED", set())
    return tmp_path / "state" / "assignbench" / "trusted"


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A strategy that tells when it is imported, also as a module on the path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Image.new("RGB", (64, 64)).save(PICTURE)
    file = tmp_path / "stranger.py"
    file.write_text("import helper\nopen('was run', 'a').close()\nfrom assigners.retinanet import RetinaNet as Mine\n")
    (tmp_path / "helper.py").write_text("open('was run', 'a').close()\n")
    return file


@pytest.fixture
def folder(finished_run: Callable[..., tuple[RunRecord, Path]], tmp_path: Path) -> Callable[[str], Path]:
    """A stranger's folder of runs; one of them names the strategy."""

    def folder(text: str) -> Path:
        record, own = finished_run("retinanet")
        other, others = finished_run("atss")
        for one, place in ((record, own), (other, others)):
            shutil.copytree(place, tmp_path / "runs" / one.run_id, dirs_exist_ok=True)
        config = {**record.config, "assigner.text": record.config["assigner.text"].model_copy(update={"value": text})}
        write_record(tmp_path / "runs" / record.run_id, record.model_copy(update={"config": config}))
        return tmp_path / "runs" / record.run_id

    return folder


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_runs_code_that_a_record_names(command, form, folder, stranger, unknown, few_pictures, capsys):
    run = folder(form.replace("FILE", str(stranger)))
    other = next(one for one in run.parent.iterdir() if one != run)
    names = {"RUN": str(run), "OTHER": str(other), "RUNS": str(run.parent)}
    code = main([names.get(word, word) for word in COMMANDS[command]])
    assert not Path("was run").exists()
    if command.partition(" ")[0] in ("eval", "predict", "figure"):
        assert code == 2
        said = capsys.readouterr().err
        assert "which is not run" in said
        assert ("stranger:Mine" if form == "stranger:Mine" else str(stranger)) in said
        assert "--trust" in said


def test_a_file_of_weights_runs_no_code_either(finished_run, stranger, unknown, few_pictures, capsys):
    facts = {"strategy": f"{stranger}:Mine", "preset": "mmdet", "classes": 1, "class_names": None, "recipe": {}}
    facts |= {"toolbox": "mmdet", "checkpoint": "a", "checkpoint_sha256": "b"}
    save_tensors(
        Path("theirs.safetensors"),
        load_tensors(finished_run("retinanet")[1] / "weights.safetensors"),
        {KEY: json.dumps(facts)},
    )
    assert main(["eval", "--weights", "theirs.safetensors", "--dataset", str(few_pictures)]) == 2
    assert "theirs.safetensors names" in capsys.readouterr().err
    assert not Path("was run").exists()


def test_the_name_of_a_golden_vector_runs_no_code(finished_run, stranger, unknown):
    Path("vectors/network").mkdir(parents=True)
    weights = finished_run("retinanet")[1] / "weights.safetensors"
    shutil.copy(weights, "vectors/network/stranger.py:Mine.safetensors")
    (skipped,) = verify(Path("vectors")).skipped
    assert "not run" in skipped.reason
    assert not Path("was run").exists()


def test_trust_runs_it_this_once(folder, stranger, unknown, few_pictures):
    run = folder(f"{stranger}:Mine")
    assert main(["predict", str(run), PICTURE, "--trust"]) == 0
    assert Path("was run").exists()
    assert main(["predict", str(run), PICTURE]) == 2
    assert not unknown.exists()


def test_a_file_that_the_user_has_trained_with_runs_until_it_changes(folder, stranger, unknown, few_pictures, capsys):
    run = folder(f"{stranger}:Mine")
    trust.remember(f"{stranger}:Mine")
    assert unknown.stat().st_mode & 0o777 == 0o600
    trust._NAMED.clear()  # as another process
    assert main(["predict", str(run), PICTURE]) == 0
    for changed in (stranger, stranger.with_name("helper.py")):  # a docstring, too, is code to whoever runs it
        text = changed.read_text()
        changed.write_text(f'"""Now this."""\n{text}')
        assert main(["predict", str(run), PICTURE]) == 2, changed
        assert "has changed since" in capsys.readouterr().err
        changed.write_text(text)
    assert main(["predict", str(run), PICTURE]) == 0


@pytest.mark.parametrize("command", ["run", "check"])
def test_who_names_a_file_on_the_command_line_trusts_it(command, stranger, unknown, few_pictures):
    words = {
        "run": [
            "run",
            "--assigner",
            f"{stranger}:Mine",
            "--dataset",
            str(few_pictures),
            "--dry-run",
            "--set",
            "train.precision=no",
        ],
        "check": ["check", f"{stranger}:Mine"],
    }
    assert main(words[command]) == 0
    assert unknown.read_text().endswith(f" '{stranger}:Mine'\n")
    assert unknown.read_text().count("\n") == 1


def test_where_nothing_can_be_kept_it_is_said_and_the_run_goes_on(stranger, unknown, few_pictures):
    unknown.parent.parent.write_text("a file where the folder should be")
    words = [
        "run",
        "--assigner",
        f"{stranger}:Mine",
        "--dataset",
        str(few_pictures),
        "--dry-run",
        "--set",
        "train.precision=no",
    ]
    with pytest.warns(AssignbenchWarning, match="will ask for --trust"):
        assert main(words) == 0


def test_installed_strategies_run_by_name_and_by_module(unknown):
    for text in ("atss[k=9]", "assigners.atss:ATSS", "dual[one='atss']"):
        assert trust.require_known(text, "a record").load()
