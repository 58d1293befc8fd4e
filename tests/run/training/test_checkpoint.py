"""Checkpoints: whole or absent; a damaged one is passed over and said."""

import os
import shutil
import signal
from pathlib import Path

import pytest
import torch
from torch import nn

from assignbench.errors import RunError, SystemProblem
from assignbench.run.training import checkpoint
from assignbench.run.training.checkpoint import Progress, checkpoints, load_newest, save_checkpoint


def model_and_optimizer(steps: int = 0) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for step in range(steps):
        optimizer.zero_grad()
        model(torch.ones(5, 3) * step + torch.arange(5.0)[:, None]).square().sum().backward()
        optimizer.step()
    return model, optimizer


def progress(iteration: int, run_id: str = "run") -> Progress:
    return Progress(iteration, run_id, {"total": 1.5}, ((1.0, 2.0),), {}, {"losses.jsonl": "0" * 64}, 2)


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    model, optimizer = model_and_optimizer(3)
    save_checkpoint(tmp_path, model, optimizer, progress(3))
    other, its_optimizer = model_and_optimizer()
    found, notes = load_newest(tmp_path, other, its_optimizer, "run")
    assert found == progress(3)
    assert notes == ()
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])
    state, restored = optimizer.state_dict()["state"], its_optimizer.state_dict()["state"]
    assert state.keys() == restored.keys()
    for index, entries in state.items():
        for name, value in entries.items():
            assert torch.equal(value, restored[index][name])


@pytest.mark.parametrize("rule", [torch.optim.SGD, torch.optim.AdamW])
def test_states_lie_in_memory_as_their_parameters_do(tmp_path: Path, rule: type[torch.optim.Optimizer]) -> None:
    """Fused optimizers pair numbers by their place in memory, whatever the strides say."""

    def start() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = nn.Conv2d(4, 8, 3).to(memory_format=torch.channels_last)
        options = {"momentum": 0.9} if rule is torch.optim.SGD else {}
        return model, rule(model.parameters(), lr=0.1, fused=True, **options)

    def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        model(torch.arange(200.0).sin().view(2, 4, 5, 5)).square().sum().backward()
        optimizer.step()

    model, optimizer = start()
    step(model, optimizer)
    save_checkpoint(tmp_path, model, optimizer, progress(1))
    other, its_optimizer = start()
    load_newest(tmp_path, other, its_optimizer, "run")
    for parameter, entries in its_optimizer.state.items():
        assert {value.stride() for value in entries.values() if value.shape == parameter.shape} == {parameter.stride()}
    step(model, optimizer)
    step(other, its_optimizer)
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_nothing_saved_is_no_error(tmp_path: Path) -> None:
    assert load_newest(tmp_path, *model_and_optimizer(), "run") == (None, ())


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for iteration in (1, 2, 10):
        save_checkpoint(tmp_path, *model_and_optimizer(1), progress(iteration))
    assert [path.name for path in checkpoints(tmp_path)] == ["iteration-0000002", "iteration-0000010"]


@pytest.mark.parametrize("name", [checkpoint.MODEL, checkpoint.OPTIMIZER, checkpoint.MANIFEST])
@pytest.mark.parametrize("damage", ["truncate", "flip"])
def test_a_damaged_checkpoint_is_passed_over_and_said(tmp_path: Path, name: str, damage: str) -> None:
    for iteration in (1, 2):
        save_checkpoint(tmp_path, *model_and_optimizer(iteration), progress(iteration))
    file = checkpoints(tmp_path)[-1] / name
    content = bytearray(file.read_bytes())
    if damage == "truncate":
        content = content[: len(content) // 2]
    else:
        content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    found, notes = load_newest(tmp_path, *model_and_optimizer(), "run")
    assert found is not None
    assert found.iteration == 1
    assert "iteration-0000002" in notes[0]


def test_damaged_checkpoints_only_are_an_error(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, *model_and_optimizer(1), progress(1))
    (path / checkpoint.MODEL).write_bytes(b"")
    with pytest.raises(RunError, match="no checkpoint"):
        load_newest(tmp_path, *model_and_optimizer(), "run")


def test_another_runs_checkpoint_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, *model_and_optimizer(1), progress(1, "other"))
    with pytest.raises(RunError, match="another run"):
        load_newest(tmp_path, *model_and_optimizer(), "run")


def test_a_save_that_dies_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path, *model_and_optimizer(1), progress(1))

    def full(*_: object) -> None:
        raise SystemProblem("no space left")

    monkeypatch.setattr(checkpoint, "write_sealed", full)
    with pytest.raises(SystemProblem):
        save_checkpoint(tmp_path, *model_and_optimizer(2), progress(2))
    assert [path.name for path in tmp_path.iterdir()] == ["iteration-0000001"]
    found, _ = load_newest(tmp_path, *model_and_optimizer(), "run")
    assert found == progress(1)


def test_a_killed_save_is_not_taken_for_a_checkpoint(tmp_path: Path) -> None:
    path = save_checkpoint(tmp_path, *model_and_optimizer(1), progress(1))
    shutil.copytree(path, tmp_path / ".iteration-0000002.tmp")
    found, _ = load_newest(tmp_path, *model_and_optimizer(), "run")
    assert found == progress(1)


def test_ctrl_c_while_a_checkpoint_is_read_is_heard_when_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Safetensors would make an error of its own of it."""
    read = []

    def load_file(path: Path) -> dict[str, torch.Tensor]:
        os.kill(os.getpid(), signal.SIGINT)
        read.append(path)
        return {}

    monkeypatch.setattr(checkpoint, "load_file", load_file)
    (tmp_path / "model.safetensors").touch()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            checkpoint.load_tensors(tmp_path / "model.safetensors")
        assert read == [tmp_path / "model.safetensors"]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
