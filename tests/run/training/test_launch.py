"""Two processes on the CPU, started as a user starts them: same evaluation, same training, no hang.

Pictures are of several shapes, and one of the two that are trained on holds no object: with two processes, one of them
never sees any. That training is the same up to rounding is held more closely by `test_several`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from assignbench.cli.main import main
from assignbench.lock import exclusive
from assignbench.run.results.names import LOCK

SETTINGS = {
    "model.backbone": "miniature",
    "model.channels": "32",
    "model.towers": "1",
    "data.short_side": "64",
    "data.long_side": "96",
    "data.workers": "0",
    "data.flip": "0",
    "train.iterations": "2",
    "train.batch": "2",
    "train.warmup": "1",
    "train.log_every": "1",
    "train.precision": "no",
    "evaluate.batch": "2",
    "evaluate.score_threshold": "0.005",
}


def write_split(root: Path, split: str, sizes: tuple[tuple[int, int], ...], objects: tuple[int, ...]) -> None:
    """A COCO split: pictures of these widths and heights, those whose numbers are listed with one object."""
    (root / split).mkdir(parents=True)
    for number, size in enumerate(sizes):
        Image.new("RGB", size, (90, 120, 40 * number)).save(root / split / f"{number}.png")
    document = {
        "images": [
            {"id": number, "file_name": f"{number}.png", "width": width, "height": height}
            for number, (width, height) in enumerate(sizes)
        ],
        "annotations": [
            {
                "id": number + 1,
                "image_id": number,
                "category_id": 1,
                "bbox": [10, 10, 30, 30],
                "area": 900,
                "iscrowd": 0,
            }
            for number in objects
        ],
        "categories": [{"id": 1, "name": "thing"}],
    }
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(document))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("launch")
    write_split(path / "mini", "train2017", ((64, 64), (96, 64)), objects=(0,))
    write_split(path / "mini", "val2017", ((64, 64), (96, 64), (64, 96), (64, 64), (80, 64)), objects=(0, 1, 2, 4))
    return path


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default", **more}


def command(*arguments: str, processes: int = 1) -> list[str]:
    """``assignbench …`` by `accelerate launch`, word for word as docs/guide/processes.md says, or alone."""
    launcher = ("-m", "accelerate.commands.launch", "--cpu", "--num_processes", str(processes))
    return [sys.executable, *(launcher if processes > 1 else ()), "-m", "assignbench", *arguments]


def training(output: str, *more: str) -> list[str]:
    """The arguments of a run of two iterations."""
    settings = [text for key, value in SETTINGS.items() for text in ("--set", f"{key}={value}")]
    return ["run", "--dataset", "coco:mini", "--recipe", "tiny", "--output", output, *settings, *more]


def start(folder: Path, arguments: list[str]) -> subprocess.Popen[str]:
    """Start a command whose output can be read while it runs."""
    return subprocess.Popen(
        arguments, cwd=folder, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


@pytest.fixture(scope="module")
def runs(folder: Path) -> dict[int, Path]:
    """The folder of the same run, made by one process and by two, which first had to wait for another command."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(training("runs1")) == 0
    (record,) = folder.glob("runs1/*/record.json")

    taken = folder / "runs2" / record.parent.name
    taken.mkdir(parents=True)
    with start(folder, command(*training("runs2"), processes=2)) as process:
        assert process.stdout is not None
        with exclusive(taken / LOCK, bool):
            waiting = next((line for line in process.stdout if "waiting for" in line), "")
            assert "waiting for process" in waiting
        said = process.stdout.read()
    assert process.returncode == 0, said
    assert said.count("autoassign on") <= 1  # by the main process alone
    return {1: record.parent, 2: taken}


def test_two_processes_train_as_one_does_once_another_command_is_done(runs: dict[int, Path]) -> None:
    one, two = ([json.loads(line) for line in (runs[n] / "losses.jsonl").read_text().splitlines()] for n in (1, 2))
    assert [row["iteration"] for row in one] == [row["iteration"] for row in two] == [1, 2]
    assert two[0] == pytest.approx(one[0], rel=1e-4)  # before AdamW's first step, which makes much of rounding
    record = json.loads((runs[2] / "record.json").read_text())
    assert record["environment"]["processes"] == 2
    # the learned prior has seen the gradients of both processes
    first, second = (json.loads((runs[n] / "learned.json").read_text()) for n in (1, 2))
    for name, prior in first.items():
        for key, value in prior.items():
            assert second[name][key] == pytest.approx(value, abs=2e-3)


def test_two_processes_evaluate_as_one_does(runs: dict[int, Path]) -> None:
    """What two found after their training, one finds again."""
    assert main(["eval", str(runs[2])]) == 0
    assert (runs[2] / "evaluation.json").read_bytes() == (runs[2] / "detections.json").read_bytes()


def test_commands_share_the_runs_of_a_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second, in this process, begins while the first is at its first run."""
    monkeypatch.chdir(folder)
    arguments = training("runs4", "--assigner", "plain,fcos")
    with start(folder, command(*arguments)) as process:
        assert process.stdout is not None
        begun = next(line for line in process.stdout if ": runs4/" in line)
        assert main(arguments) == 0
        said = [begun + process.stdout.read(), capsys.readouterr().out]
    assert process.returncode == 0, said
    files = list((folder / "runs4").glob("*/losses.jsonl"))
    assert len(files) == 2
    for file in files:
        assert [json.loads(line)["iteration"] for line in file.read_text().splitlines()] == [1, 2]
        trained = re.compile(rf": runs4/{file.parent.name}$", re.MULTILINE)
        assert sum(len(trained.findall(text)) for text in said) == 1, said
