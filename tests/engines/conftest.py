from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from filelock import FileLock

from assignbench.engines.job import Job

HERE = Path(__file__).parent
STRATEGIES = """\
import time
from functools import wraps
from pathlib import Path

from assigners.atss import ATSS
from assigners.autoassign import AutoAssign
from assigners.fcos import FCOS


SECONDS = 4


def slowed(forward):
    @wraps(forward)
    def slow(*arguments, **named):
        end = time.monotonic() + SECONDS
        while Path(__file__).with_name("brake").exists() and time.monotonic() < end:
            time.sleep(0.05)
        return forward(*arguments, **named)

    return slow


class Slow(ATSS):
    forward = slowed(ATSS.forward)


class SlowFCOS(FCOS):
    forward = slowed(FCOS.forward)


class SlowAutoAssign(AutoAssign):
    forward = slowed(AutoAssign.forward)
"""  # an iteration takes so much longer while there is a file called brake
SETTINGS = {
    "model.backbone": "miniature",
    "train.precision": "no",
    "train.iterations": "20",
    "train.batch": "2",
    "train.checkpoint_every": "1",
    "train.log_every": "10",
    "evaluate.score_threshold": "0.005",
}
NOT_THE_SAME = ("started", "finished", "seconds", "images_per_second", "sha256")  # of a record; the last is its own
ONE_THREAD = {"OMP_NUM_THREADS": "1"}  # as `--needs cpus=1` has it


@dataclass(frozen=True)
class Command:
    """``assignbench run`` of three small runs, which take their time while the brake is on."""

    dataset: Path
    strategies: Path  # a file
    names: Sequence[str] = ("Slow", "SlowFCOS", "SlowAutoAssign")  # of strategies in it

    def __call__(self, output: Path, *more: str) -> list[str]:
        names = ",".join(f"{self.strategies}:{name}" for name in self.names)
        changes = [f"--set={key}={value}" for key, value in SETTINGS.items()]
        own = ["--assigner", names, "--dataset", str(self.dataset), "--recipe", "smoke", "--device", "cpu"]
        return [sys.executable, "-m", "assignbench", "run", *own, *changes, "--output", str(output), *more]

    def call(self, output: Path, *more: str) -> str:
        """What it prints, if it ends well."""
        environment = {**os.environ, **ONE_THREAD}
        done = subprocess.run(self(output, *more), env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    def jobs(self, output: Path) -> list[Job]:
        """Its runs as jobs."""
        lines = map(shlex.split, self.call(output, "--print-jobs").splitlines())
        ids = [(words[words.index("--only") + 1], words) for words in lines]
        return [Job(run, run, tuple(words[1:]), output / run) for run, words in ids]

    @contextmanager
    def braked(self) -> Iterator[Callable[[], None]]:
        """Yields what takes the brake off."""
        brake = self.strategies.with_name("brake")
        brake.touch()
        yield lambda: brake.unlink(missing_ok=True)
        brake.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def command(few_pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Command:
    file = tmp_path_factory.mktemp("strategies") / "slow.py"
    file.write_text(STRATEGIES)
    return Command(few_pictures, file)


def facts_of_run(folder: Path) -> dict[str, Any]:
    text = (folder / "record.json").read_text()
    record = json.loads(re.sub(r'/[^"]*/(slow\.py|mini\.yaml)', r"\1", text))  # workers of xdist have their own
    del record["environment"]["commit"]  # somebody may work on the code meanwhile
    files = ("weights.safetensors", "detections.json", "losses.jsonl", "assignment.jsonl")
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files}
    assert json.loads((folder / "detections.json").read_text()), "no detection: nothing is compared"
    assert not list(folder.glob("**/checkpoints")) + list(folder.glob("**/*.tmp")) + list(folder.glob(".lease*"))
    return {**digests, **{key: value for key, value in record.items() if key not in NOT_THE_SAME}}


def facts_of(output: Path) -> dict[str, Any]:
    """Everything that two folders of the same runs must have in common, by run and name."""
    folders = [file.parent for file in sorted(output.glob("*/record.json"))]
    return {f"{folder.name}: {key}": value for folder in folders for key, value in facts_of_run(folder).items()}


@pytest.fixture(scope="session")
def facts() -> Callable[[Path], dict[str, Any]]:
    return facts_of


@pytest.fixture(scope="session")
def undisturbed(
    command: Command, facts: Callable[[Path], dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Facts of the runs, made one after another by one process of whichever worker of xdist comes first."""
    own = tmp_path_factory.getbasetemp()
    output = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "undisturbed"
    with FileLock(f"{output}.lock"):
        if not output.exists():
            command.call(output)
    found = facts(output)
    assert sum(name.endswith(": weights_sha256") for name in found) == 3
    return found


@pytest.fixture(scope="session")
def eventually() -> Callable[[Callable[[], object], str], None]:
    """Wait until something is so; it must be within a minute or two, however busy the machine."""

    def eventually(so: Callable[[], object], what: str, seconds: float = 120.0) -> None:
        end = time.monotonic() + seconds
        while not so():
            assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}"
            time.sleep(0.05)

    return eventually


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def slurm() -> Iterator[Any]:
    """A `SmallSlurm`, to which this process submits."""
    pytest.importorskip("submitit", reason="submitit is not installed: pip install 'assignbench[slurm]'")
    small_slurm = script("small_slurm")
    if why := small_slurm.missing():
        pytest.skip(why)
    with small_slurm.small_slurm() as running, pytest.MonkeyPatch.context() as patch:
        for name, value in running.environment.items():
            patch.setenv(name, value)
        yield running


@dataclass(frozen=True)
class SmallRay:
    """Ray's cluster, as ``small_ray.py`` makes it."""

    address: str
    process: subprocess.Popen[str]

    def tell(self, what: str) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline().strip() == f"{what}: done"


@pytest.fixture
def ray_of() -> Iterator[Callable[[int], SmallRay]]:
    """Starts a Ray of so many nodes of one CPU each."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed, or has no wheel for this Python: pip install 'assignbench[ray]'")
    started = []

    def ray_of(nodes: int) -> SmallRay:
        words = [sys.executable, str(HERE / "small_ray.py"), str(nodes)]
        process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        started.append(process)
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address, "Ray did not start"
        return SmallRay(address, process)

    yield ray_of
    for process in started:
        with process:
            process.stdin.close()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
