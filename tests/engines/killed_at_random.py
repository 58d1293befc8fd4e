"""Eight runs on three workers, one of which is killed every few seconds until all runs are done: the same bytes?

    python tests/engines/killed_at_random.py local     # or ray, or slurm; minutes

It prints who died when, and ends with 1 unless every record is there and equal to that of one worker that was left in
peace. It is no part of the suite: the tests beside it kill where it is known to matter.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import ModuleType

import psutil

HERE = Path(__file__).parent
SEEDS = ("--seeds", "0,1,2,3")  # of two strategies
EVERY = (5.0, 12.0)  # seconds between two deaths
CHANCE = random.Random(0)  # noqa: S311  # no secret
SLOWLY = 0.1  # seconds an iteration, beside the time that it takes
PICTURES = """\
format: shapes
description: a few
seed: 3
train: 7
evaluation: 5
short_side: 64
long_side: 96
smallest: 12
largest: 50
"""
Kill = Callable[[int], str]  # kills somebody beside the process of that number; who it was, or ""


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def kill_one(processes: list[psutil.Process]) -> str:
    """One of the three workers' by SIGKILL; nobody dies where that one has nothing to do."""
    if CHANCE.random() * 3 >= len(processes):
        return ""
    victim = CHANCE.choice(processes)
    words = victim.cmdline()
    run = words[words.index("--only") + 1] if "--only" in words else "its worker"
    victim.send_signal(signal.SIGKILL)
    return f"process {victim.pid}, {run}"


def those(start: list[psutil.Process], word: str) -> list[psutil.Process]:
    found = []
    for process in start:
        with contextlib.suppress(psutil.Error):
            found += [process] if word in process.cmdline() else []
    return found


@contextmanager
def local() -> Iterator[tuple[list[str], dict[str, str], Kill]]:
    yield ["--jobs", "3"], {}, lambda own: kill_one(those(psutil.Process(own).children(), "--tethered"))


@contextmanager
def ray() -> Iterator[tuple[list[str], dict[str, str], Kill]]:
    words = [sys.executable, str(HERE / "small_ray.py"), "3"]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as cluster:
        assert cluster.stdout is not None
        assert cluster.stdin is not None
        address, alive, numbers = cluster.stdout.readline().strip(), [0, 1, 2], count(3)

        def kill(_: int) -> str:
            victim = CHANCE.choice(alive)
            alive.remove(victim)
            alive.append(next(numbers))
            for what in (f"kill {victim}", "add"):
                cluster.stdin.write(f"{what}\n")
                cluster.stdin.flush()
                cluster.stdout.readline()
            return f"node {victim}; node {alive[-1]} takes its place"

        yield ["--on", f"ray:{address}"], {}, kill
        cluster.stdin.close()


@contextmanager
def slurm() -> Iterator[tuple[list[str], dict[str, str], Kill]]:
    with load("small_slurm").small_slurm((2, 1)) as running:

        def kill(_: int) -> str:
            for node in ("node1", "node2"):
                with contextlib.suppress(AssertionError):  # it is up
                    running.ask("scontrol", "update", f"NodeName={node}", "State=RESUME")
            if CHANCE.random() < 0.3:
                node = CHANCE.choice(("node1", "node2"))
                running.ask("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=killed")
                return f"{node}, with all that ran there"
            own = [one for one in psutil.process_iter() if configured(one)]
            return kill_one(those(own, CHANCE.choice(("--tethered", "submitit.core._submit"))))

        def configured(process: psutil.Process) -> bool:
            with contextlib.suppress(psutil.Error):
                return process.environ().get("SLURM_CONF") == running.environment["SLURM_CONF"]
            return False

        yield ["--on", "slurm"], dict(running.environment), kill


def disturb(process: subprocess.Popen[bytes], kill: Kill, output: Path, began: float) -> int:
    """Kill somebody every few seconds until a process ends; how many died."""
    deaths = 0
    while process.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(CHANCE.uniform(*EVERY))
            break
        if who := kill(process.pid):
            deaths += 1
            done = len(list(output.glob("*/record.json")))
            say(f"{time.monotonic() - began:6.1f} s  killed: {who}  ({done} of 8 done)")
    return deaths


def main(engine: str) -> int:
    conftest = load("conftest")
    with tempfile.TemporaryDirectory(prefix="killed-", ignore_cleanup_errors=True) as name, ENGINES[engine]() as found:
        folder = Path(name)
        options, environment, kill = found
        (folder / "few.yaml").write_text(PICTURES)
        strategies = folder / "slow.py"
        strategies.write_text(conftest.STRATEGIES.replace("SECONDS = 4", f"SECONDS = {SLOWLY}"))
        command = conftest.Command(folder / "few.yaml", strategies, ("Slow", "SlowAutoAssign"))
        command.call(folder / "peace", *SEEDS)
        expected = conftest.facts_of(folder / "peace")
        with command.braked():
            words = command(folder / "war", *SEEDS, "--needs", "cpus=1", *options)
            began = time.monotonic()
            with subprocess.Popen(words, env={**os.environ, **environment}, stdout=subprocess.DEVNULL) as process:
                try:
                    deaths = disturb(process, kill, folder / "war", began)
                finally:
                    process.kill()
        same = conftest.facts_of(folder / "war") == expected
        records = len(list((folder / "war").glob("*/record.json")))
        left = [path for path in (folder / "war").glob("[!.]*/*") if path.suffix == ".tmp" or path.name.startswith(".")]
        equal = "equal" if same else "NOT EQUAL"
        say(
            f"{time.monotonic() - began:6.1f} s  {engine}: {deaths} deaths, exit code {process.returncode}, "
            f"{records} of 8 records, {equal} to those of one worker in peace, left over: {left or 'nothing'}"
        )
        return int(not same or records != 8 or bool(process.returncode))


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


ENGINES = {"local": local, "ray": ray, "slurm": slurm}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
