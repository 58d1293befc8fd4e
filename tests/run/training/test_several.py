"""However many processes share a training, it is the same training."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from assignbench.run.training.checkpoint import load_tensors

UNEQUAL = """\
format: shapes
description: a few, of several shapes
seed: 5
train: 9
evaluation: 5
short_side: 64
long_side: 128
smallest: 12
largest: 40
"""

# The network is in float64 (see `several`): what is left is the rounding of pairs, targets and logs in float32.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trainings of three steps by 1, 2 and 4 processes: crops, sizes, mirrors and colours are drawn."""
    path = tmp_path_factory.mktemp("several")
    (path / "mini.yaml").write_text(UNEQUAL)
    command = [sys.executable, "-W", "error", str(Path(__file__).with_name("several.py")), str(path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return path


@pytest.mark.parametrize(
    ("strategy", "processes"),
    [("autoassign", 4), ("freeanchor", 2), ("atss", 2), ("fcos", 2), ("sapd", 2), ("metaanchor", 2)],
)
def test_processes_train_as_one_does(folder: Path, strategy: str, processes: int) -> None:
    """Losses of all steps and of validation, and all weights; ``fcos`` and ``metaanchor`` in two micro-steps."""
    files = [folder / f"{strategy}-{number}" for number in (1, processes)]
    one, several = ([json.loads(line) for line in (file / "losses.jsonl").read_text().splitlines()] for file in files)
    assert len(one) == 4
    assert "validation/total" in one[-1]
    for row, other in zip(one, several, strict=True):
        assert other == pytest.approx(row, rel=TOLERANCE)

    before, alone = (load_tensors(files[0] / f"{when}.safetensors") for when in ("before", "after"))
    shared = load_tensors(files[1] / "after.safetensors")
    for name, wanted in alone.items():
        assert not torch.equal(wanted, before[name]), f"{name} must have learned"
        off = (shared[name] - wanted).abs().max() / wanted.abs().max()
        assert off < TOLERANCE, f"{name} is off by {off:.1e} of its largest value"
