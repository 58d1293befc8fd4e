"""The recipe decides: a variable of Accelerate's or torch's changes no weight, or ends the command with code 2."""

from __future__ import annotations

import re
from io import StringIO
from pathlib import Path

import accelerate
import pytest
import torch
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils.launch import prepare_simple_launcher_cmd_env
from rich.console import Console

from assignbench.config import Matrix, load_recipe
from assignbench.errors import UsageError
from assignbench.run.matrix.matrix import run_matrix
from assignbench.run.results.names import WEIGHTS
from assignbench.run.training.device import device_of
from assignbench.run.training.surroundings import (
    KEPT,
    MPI,
    REFUSED,
    REFUSED_ON_GPU,
    REFUSED_WITH_COMPILE,
    SET_ASIDE,
    refuse,
    refuse_half_a_launch,
    set_aside,
)

SETTINGS = (
    "model.backbone=miniature",
    "model.channels=32",
    "model.towers=0",
    "data.short_side=64",
    "data.long_side=64",
    "data.workers=0",
    "train.iterations=2",
    "train.batch=2",
    "train.warmup=1",
    "train.precision=no",
    "evaluate.batch=2",
)
# What accelerate launch --num_processes 1 sets without any option (accelerate 1.15).
LAUNCHER = {
    "ACCELERATE_MIXED_PRECISION": "no",
    "ACCELERATE_DYNAMO_BACKEND": "NO",
    "ACCELERATE_DYNAMO_MODE": "default",
    "ACCELERATE_DYNAMO_USE_FULLGRAPH": "False",
    "ACCELERATE_DYNAMO_USE_DYNAMIC": "False",
    "ACCELERATE_DYNAMO_USE_REGIONAL_COMPILATION": "False",
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "1",
    "ACCELERATE_USE_FSDP": "false",
}
TEMPTATIONS = {
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4",
    "ACCELERATE_MIXED_PRECISION": "bf16",
    "ACCELERATE_DYNAMO_BACKEND": "EAGER",
    "ACCELERATE_DOWNCAST_BF16": "true",
    "ACCELERATE_TORCH_DEVICE": "meta",
    "ACCELERATE_SPLIT_BATCHES": "true",
    "ACCELERATE_USE_FSDP": "true",
    "ACCELERATE_USE_DEEPSPEED": "true",
    "ACCELERATE_USE_MEGATRON_LM": "true",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "true",
    "ACCELERATE_USE_SAGEMAKER": "true",
    "ONEDNN_DEFAULT_FPMATH_MODE": "BF16",
    "DNNL_DEFAULT_FPMATH_MODE": "any",
}


@pytest.fixture(autouse=True)
def _fresh_accelerate():
    """Accelerate keeps its state in the classes; every test starts without, and leaves none that it made."""
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def weights(folder: Path, output: Path) -> bytes:
    """Those of a training of two steps."""
    matrix = Matrix(
        strategies=("fcos",),
        datasets=(str(folder / "mini.yaml"),),
        recipe=load_recipe("tiny", SETTINGS),
        seeds=(0,),
        protocol="controlled",
        preset=None,
        data_root=folder,
        output=output,
        resume=False,
        dry_run=False,
        device="cpu",
    )
    text = StringIO()
    outcome = run_matrix(matrix, Console(file=text, width=200))
    assert outcome.exit_code == 0, text.getvalue()
    return (output / outcome.records[0].run_id / WEIGHTS).read_bytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("surroundings")
    (path / "mini.yaml").write_text(
        "format: shapes\ndescription: a few\nseed: 3\ntrain: 4\nevaluation: 2\n"
        "short_side: 64\nlong_side: 64\nsmallest: 12\nlargest: 50\n"
    )
    return path


@pytest.fixture(scope="module")
def untempted(folder: Path) -> bytes:
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    found = weights(folder, folder / "untempted")
    AcceleratorState._reset_state(reset_partial_state=True)
    return found


@pytest.mark.parametrize(("name", "value"), TEMPTATIONS.items(), ids=list(TEMPTATIONS))
def test_a_variable_changes_no_weight_or_is_refused(
    name: str,
    value: str,
    folder: Path,
    untempted: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(name, value)
    if name in {variable.name for variable in REFUSED}:
        with pytest.raises(UsageError, match=f"{name}={value} would .*; .+") as caught:
            weights(folder, tmp_path)
        assert caught.value.exit_code == 2
        return
    assert weights(folder, tmp_path) == untempted
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{name}={value} is set aside: it would ")


FILE_OF_DEFAULTS = """
compute_environment: LOCAL_MACHINE
debug: true
distributed_type: MULTI_CPU
downcast_bf16: "yes"
dynamo_config: {dynamo_backend: INDUCTOR, dynamo_mode: max-autotune, dynamo_use_dynamic: true}
mixed_precision: bf16
num_machines: 1
num_processes: 2
use_cpu: true
"""


def test_the_launcher_s_file_of_defaults_changes_no_weight(
    folder: Path,
    untempted: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is set comes from the launcher itself."""
    file = tmp_path / "default_config.yaml"
    file.write_text(FILE_OF_DEFAULTS)
    command = ["--config_file", str(file), "--num_processes", "1", "-m", "assignbench", "run"]
    arguments, *_ = _validate_launch_command(launch_command_parser().parse_args(command))
    _, environment = prepare_simple_launcher_cmd_env(arguments)
    asked = {name: value for name, value in environment.items() if name.startswith("ACCELERATE_")}
    assert (asked["ACCELERATE_MIXED_PRECISION"], asked["ACCELERATE_DYNAMO_BACKEND"]) == ("bf16", "INDUCTOR")
    for name, value in asked.items():
        monkeypatch.setenv(name, value)
    capsys.readouterr()
    assert weights(folder, tmp_path / "runs") == untempted
    said = [line.partition(" is set aside")[0] for line in capsys.readouterr().err.splitlines()]
    assert said == ["ACCELERATE_DYNAMO_BACKEND=INDUCTOR", "ACCELERATE_MIXED_PRECISION=bf16"]


def test_every_known_variable_is_tried() -> None:
    assert {variable.name for variable in (*SET_ASIDE, *REFUSED)} <= set(TEMPTATIONS)


def test_nothing_that_accelerate_reads_gets_through() -> None:
    """Every name in its sources, with a value that is no default: refused, or taken away, or known to be harmless."""
    sources = "\n".join(file.read_text(encoding="utf-8") for file in Path(accelerate.__file__).parent.rglob("*.py"))
    names = sorted(set(re.findall(r"ACCELERATE_[A-Z0-9_]*[A-Z0-9]", sources)))
    assert len(names) > 30
    for name in names:
        environment = {name: "4"}
        try:
            refuse(environment, REFUSED)
        except UsageError:
            continue
        said = set_aside(environment, "no")
        assert environment.keys() <= KEPT
        assert len(said) <= 1


def test_what_a_launcher_sets_by_itself_is_passed_over_in_silence() -> None:
    environment = dict(LAUNCHER)
    refuse(environment, REFUSED)
    assert set_aside(environment, "no") == []


def test_a_launcher_may_say_what_the_recipe_says() -> None:
    assert set_aside({"ACCELERATE_MIXED_PRECISION": "bf16"}, "bf16") == []
    assert len(set_aside({"ACCELERATE_MIXED_PRECISION": "bf16"}, "fp16")) == 1


def test_what_changes_no_number_stays() -> None:
    environment = {"ACCELERATE_LOG_LEVEL": "info", "ACCELERATE_USE_CPU": "True", "PATH": "/bin"}
    before = dict(environment)
    assert set_aside(environment, "no") == []
    assert environment == before


@pytest.mark.parametrize("variable", [*REFUSED_ON_GPU, *REFUSED_WITH_COMPILE], ids=lambda variable: variable.name)
def test_what_matters_to_some_runs_is_refused_there(variable) -> None:
    with pytest.raises(UsageError, match=f"{variable.name}=1 would"):
        refuse({variable.name: "1"}, [variable])
    refuse({variable.name: ""}, [variable])


def test_the_launcher_s_cpu_is_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_of("auto").type == "cuda"
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    assert device_of("auto").type == "cpu"
    with pytest.raises(UsageError, match="--device"):
        device_of("cuda")


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"ACCELERATE_USE_CPU": "maybe"}, "ACCELERATE_USE_CPU=maybe is neither true nor false"),
        ({"ACCELERATE_USE_CPU": ""}, "ACCELERATE_USE_CPU= is neither"),
        ({"WORLD_SIZE": "2", "RANK": "0"}, "WORLD_SIZE=2 is set, but MASTER_ADDR and MASTER_PORT are not"),
        ({"LOCAL_RANK": "0"}, "LOCAL_RANK=0 is set, but WORLD_SIZE and RANK and MASTER_ADDR and MASTER_PORT are not"),
        *(({name: "2"}, f"{name}=2 is set, but MASTER_ADDR is not: the processes cannot meet") for name in MPI),
    ],
)
def test_half_a_launch_is_refused(environment: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        refuse_half_a_launch(environment)


def test_a_whole_launch_is_none() -> None:
    refuse_half_a_launch({})
    refuse_half_a_launch({"ACCELERATE_USE_CPU": "False", "WORLD_SIZE": "1"})
    refuse_half_a_launch(dict.fromkeys(MPI, "1") | {"LOCAL_RANK": "-1"})
    refuse_half_a_launch(dict.fromkeys(("RANK", "MASTER_ADDR", "MASTER_PORT"), "0") | {"WORLD_SIZE": "2"})
