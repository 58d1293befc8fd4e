"""Precision is settled before a run is named; what a machine lacks is said."""

import pytest
import torch

from assignbench.config import load_recipe
from assignbench.errors import SystemProblem, UsageError
from assignbench.run import device
from assignbench.run.device import build_accelerator, settle_precision


@pytest.mark.parametrize(("amx", "precision"), [(True, "bf16"), (False, "no")])
def test_auto_becomes_what_the_cpu_is_good_at(monkeypatch: pytest.MonkeyPatch, amx: bool, precision: str) -> None:
    monkeypatch.setattr(device, "has_amx", lambda: amx)
    settled = settle_precision(load_recipe("tiny", ["train.precision=auto"]), "cpu")
    assert settled.recipe.train.precision == precision
    assert settled.origins["train.precision"] == "--set: auto, settled by the CPU"


def test_a_stated_precision_stays() -> None:
    recipe = load_recipe("tiny", ["train.precision=no"])
    assert settle_precision(recipe, "cpu") is recipe


def test_what_the_machine_lacks_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemProblem, match="no CUDA device"):
        build_accelerator("cuda", "no")
    with pytest.raises(UsageError, match="fp16 needs a GPU"):
        build_accelerator("auto", "fp16")
    with pytest.raises(UsageError, match="unknown device"):
        build_accelerator("gpu", "no")
