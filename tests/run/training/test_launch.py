"""Two processes on the CPU, started as a user starts them: same evaluation, same training, no hang.

Pictures are of several shapes. That training is the same up to rounding is held more closely by `test_several`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from assignbench.lock import exclusive
from assignbench.run.matrix.sharing import LOCK

MINI = """\
format: shapes
description: a few
seed: 5
train: 6
evaluation: 5
short_side: 64
long_side: 128
smallest: 12
largest: 50
"""
SETTINGS = {
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


def launch(folder: Path, *arguments: str, processes: int) -> subprocess.CompletedProcess[str]:
    """``assignbench …`` by `accelerate launch`, or alone."""
    command = [sys.executable, "-m", "assignbench", *arguments]
    if processes > 1:  # word for word what the README says
        launcher = (sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", str(processes))
        command = [*launcher, "-m", "assignbench", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240, check=False
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("launch")
    (path / "mini.yaml").write_text(MINI)
    return path


@pytest.fixture(scope="module")
def runs(folder: Path) -> dict[int, Path]:
    """The folder of the same run, made by one process and by two."""
    found = {}
    for processes in (1, 2):
        settings = [text for key, value in SETTINGS.items() for text in ("--set", f"{key}={value}")]
        output = folder / f"runs{processes}"
        done = launch(
            folder,
            *(
                "run",
                "--dataset",
                "mini.yaml",
                "--data-root",
                str(folder),
                "--output",
                str(output),
                *settings,
            ),
            processes=processes,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.count("autoassign on") == 1  # said once, by the main process
        (record,) = output.glob("*/record.json")
        found[processes] = record.parent
    return found


def test_two_processes_train_as_one_does(runs: dict[int, Path]) -> None:
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


def test_two_processes_evaluate_as_one_does(folder: Path, runs: dict[int, Path]) -> None:
    files = []
    for processes in (1, 2):
        done = launch(folder, "eval", str(runs[1]), "--data-root", str(folder), processes=processes)
        assert done.returncode == 0, done.stdout + done.stderr
        files.append((runs[1] / "evaluation.json").read_bytes())
    assert files[0] == files[1] == (runs[1] / "detections.json").read_bytes()


def start(folder: Path, *arguments: str, processes: int = 1) -> subprocess.Popen[str]:
    """As `launch`, without waiting for the end."""
    launcher = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", str(processes)] if processes > 1 else []
    settings = [text for key, value in SETTINGS.items() for text in ("--set", f"{key}={value}")]
    command = [
        sys.executable,
        *launcher,
        "-m",
        "assignbench",
        "run",
        "--dataset",
        "mini.yaml",
        "--data-root",
        str(folder),
    ]
    return subprocess.Popen(
        [*command, *settings, *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def test_commands_share_the_runs_of_a_folder(folder: Path) -> None:
    both = [start(folder, "--assigner", "plain,fcos,atss", "--output", "runs4") for _ in range(2)]
    said = [process.communicate(timeout=240)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    files = list((folder / "runs4").glob("*/losses.jsonl"))
    assert len(files) == 3
    for file in files:
        assert [json.loads(line)["iteration"] for line in file.read_text().splitlines()] == [1, 2]
        trained = re.compile(rf": runs4/{file.parent.name}$", re.MULTILINE)
        assert sum(len(trained.findall(text)) for text in said) == 1, said


def test_two_processes_wait_together_for_another_command(folder: Path, runs: dict[int, Path]) -> None:
    taken = folder / "runs5" / runs[1].name
    taken.mkdir(parents=True)
    with start(folder, "--output", "runs5", processes=2) as process:
        assert process.stdout is not None
        with exclusive(taken / LOCK, bool):
            line = next((line for line in process.stdout if "waiting for" in line), "")
            assert "waiting for process" in line
        rest = process.stdout.read()
    assert process.returncode == 0, rest
    assert (taken / "record.json").is_file()


def test_a_process_whose_batch_holds_no_object_does_not_hang(folder: Path) -> None:
    # a COCO data set of two pictures, one of them without any object: each process gets one
    from PIL import Image

    root = folder / "halves"
    for split in ("train2017", "val2017"):
        (root / split).mkdir(parents=True)
        for number in (1, 2):
            Image.new("RGB", (64, 64), (90, 120, 40 * number)).save(root / split / f"{number}.png")
        document = {
            "images": [{"id": n, "file_name": f"{n}.png", "width": 64, "height": 64} for n in (1, 2)],
            "annotations": [
                {
                    "id": 1,
                    "image_id": 1,
                    "category_id": 1,
                    "bbox": [10, 10, 30, 30],
                    "area": 900,
                    "iscrowd": 0,
                }
            ],
            "categories": [{"id": 1, "name": "thing"}],
        }
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(document))
    settings = [text for key, value in SETTINGS.items() for text in ("--set", f"{key}={value}")]
    done = launch(
        folder,
        *(
            "run",
            "--assigner",
            "autoassign,fcos",
            "--dataset",
            f"coco:{root}",
            "--output",
            "runs3",
            *settings,
        ),
        processes=2,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((folder / "runs3").glob("*/record.json"))) == 2
