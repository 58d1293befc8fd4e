"""Precision is settled before a run is named; what a machine lacks is said."""

import pytest
import torch

from assignbench.config import load_recipe
from assignbench.errors import DeviceFault, SystemProblem, UsageError
from assignbench.run.training import device
from assignbench.run.training.device import build_accelerator, device_of, memory_advice, settle_precision


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
    assert device_of("auto") == device_of("cpu") == torch.device("cpu")
    with pytest.raises(SystemProblem, match="no CUDA device"):
        build_accelerator("cuda", "no")
    with pytest.raises(UsageError, match="fp16 needs a GPU"):
        build_accelerator("auto", "fp16")
    with pytest.raises(UsageError, match="unknown device"):
        build_accelerator("gpu", "no")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
    ],
)
def test_short_memory_may_be_another_program_s_doing(error: Exception) -> None:
    with pytest.raises(DeviceFault, match=r"^use less$") as caught, memory_advice("use less"):
        raise error
    assert caught.value.exit_code == 6
    assert caught.value.__cause__ is error


@pytest.mark.skipif(not hasattr(torch, "AcceleratorError"), reason="this torch raises RuntimeError for it")
def test_a_fault_of_the_device_is_told_in_torch_s_words() -> None:
    with pytest.raises(DeviceFault, match=r"^CUDA error: an illegal memory access; the next process"):  # noqa: SIM117
        with memory_advice("use less"):
            raise torch.AcceleratorError("CUDA error: an illegal memory access\nCUDA kernel errors might …")


def test_other_errors_are_not_about_memory() -> None:
    with pytest.raises(RuntimeError, match="shape"), memory_advice("use less"):
        raise RuntimeError("shape")
