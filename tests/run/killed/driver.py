"""Kill a real ``assignbench run`` at many points, go on with it, and look at what is left: ``driver.py FOLDER WHICH``.

A process of its own, which has imported everything and computed nothing with torch yet: each command is a fork of it,
so that none waits for imports. WHICH is ``some`` (the first operation of every second kind, some moments), ``all``
(every file operation, many moments), or numbers of operations with commas. A line is printed for each point; the last
line of the output is the table in JSON.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import random
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

SETTINGS = (
    "model.backbone=miniature",
    "model.channels=32",
    "model.towers=1",
    "data.short_side=64",
    "data.long_side=96",
    "data.workers=0",
    "train.iterations=4",
    "train.batch=4",  # of seven pictures: an epoch ends after the second iteration
    "train.warmup=1",
    "train.log_every=1",
    "train.statistics_every=1",
    "train.checkpoint_every=1",
    "train.snapshots=[1,3]",
    "train.precision=no",
    "evaluate.batch=3",
    "evaluate.score_threshold=0.005",
)
STRATEGIES = "autoassign" if "some" in sys.argv else "autoassign,atss"  # two runs take twice as long
MOMENTS = {"some": 4, "all": 40}  # random ones
STOPS = {"some": 3, "all": 20}  # by SIGTERM
RANKS = {"some": 1, "all": 6}  # of each of two processes
GRACE = 5.0  # seconds that a launcher leaves the others, when one of its processes has died
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink")
TIMES = ("seconds", "started", "finished", "images_per_second", "sha256")  # of a record
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC


@dataclass(frozen=True)
class Point:
    """One way to die, and what came of it."""

    how: str  # "SIGKILL at operation 17: os.rename config.json"
    again: str  # how the command that went on died, too; "": it did not
    outcome: str  # "same bytes", or what differs
    leftovers: tuple[str, ...]  # files that an uninterrupted command does not leave


def command(output: str, *more: str) -> list[str]:
    """What a user types."""
    settings = [word for text in SETTINGS for word in ("--set", text)]
    run = [
        "run",
        "--assigner",
        STRATEGIES,
        "--dataset",
        "mini.yaml",
        "--recipe",
        "tiny",
        "--device",
        "cpu",
        "--output",
        output,
    ]
    return [*run, *settings, *more]


def operation(folder: Path, event: str, given: tuple[Any, ...]) -> str | None:
    """The file operation below a folder that an audit event tells of: "os.rename record.json"; None: none."""
    if event == "open":
        path, mode, flags = given
        writes = any(letter in mode for letter in "wax+") if mode else bool(flags & WRITES)
        if not writes or isinstance(path, int):
            return None
    elif event in CHANGES:
        path = given[0]
        below = given[-1] not in (-1, None)  # relative to an open folder, as rmtree has it
        if below and not Path(os.fsdecode(path)).is_absolute():
            return f"{event} {os.fsdecode(path)}"
    else:
        return None
    absolute = Path(os.path.abspath(os.fsdecode(path)))  # noqa: PTH100  # links stay
    if not absolute.is_relative_to(folder):
        return None
    return f"{event} {absolute.name}"


def observed(folder: Path, tell: Callable[[int, str], object]) -> None:
    """From now on each file operation below the folder is told of, with its number, before it is done."""
    count = 0

    def hook(event: str, given: tuple[Any, ...]) -> None:
        nonlocal count
        if event == "open" or event in CHANGES:
            found = operation(folder, event, given)
            if found is not None:
                count += 1
                tell(count, found)

    sys.addaudithook(hook)


def nothing() -> None:
    """Do nothing more."""


def forked(
    folder: Path, arguments: Sequence[str], prepare: Callable[[], None], finish: Callable[[], object] = nothing
) -> int:
    """Start a command in a fork, between two other things; its number."""
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    with contextlib.suppress(BaseException):
        log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        prepare()
        code = main(list(arguments))
        finish()
        os._exit(code)
    os._exit(99)


def ended(process: int) -> int:
    """Exit code of a command, −9 when it was killed."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def go(folder: Path, arguments: Sequence[str], prepare: Callable[[], None] | None = None) -> int:
    """Run a command to its end; its exit code."""
    return ended(forked(folder, arguments, prepare or nothing))


def difference(wanted: Path, found: Path) -> str:
    """Of two files, "" when their bytes are the same; of records all but times count."""
    if wanted.name != "record.json":
        return "" if wanted.read_bytes() == found.read_bytes() else f"other {wanted.parent.name}/{wanted.name}"
    one, two = (json.loads(file.read_bytes()) for file in (wanted, found))
    keys = [key for key in one | two if key not in TIMES and one.get(key) != two.get(key)]
    return f"other {', '.join(keys)} in {wanted.parent.name}/{wanted.name}" if keys else ""


def files(output: Path) -> dict[str, Path]:
    """Everything below a folder, by name."""
    return {str(path.relative_to(output)): path for path in sorted(output.rglob("*")) if not path.is_dir()}


def differences(reference: Path, output: Path) -> tuple[str, tuple[str, ...]]:
    """Outcome and leftovers of a point."""
    wanted, found = files(reference), files(output)
    lacking = [name for name in wanted if name not in found]
    other = [difference(path, found[name]) for name, path in wanted.items() if name in found]
    outcome = "; ".join([*(f"no {name}" for name in lacking), *filter(None, other)])
    return outcome or "same bytes", tuple(name for name in found if name not in wanted)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def launched(folder: Path, arguments: Sequence[str], prepare: Sequence[Callable[[], None]]) -> list[int]:
    """Start a command as several processes, each with the environment that torchrun gives; their numbers."""
    world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(len(prepare))}
    world["LOCAL_WORLD_SIZE"] = world["WORLD_SIZE"]

    def ready(rank: int) -> Callable[[], None]:
        def ready() -> None:
            os.environ.update(world, RANK=str(rank), LOCAL_RANK=str(rank))
            prepare[rank]()

        return ready

    return [forked(folder, arguments, ready(rank)) for rank in range(len(prepare))]


def all_ended(processes: Sequence[int]) -> list[int]:
    """Exit codes; when one has died the others are told to leave, and killed a moment later, as torchrun does."""
    codes: dict[int, int] = {}
    until: float | None = None
    while len(codes) < len(processes):
        for process in processes:
            if process not in codes:
                done, status = os.waitpid(process, os.WNOHANG)
                if done:
                    codes[process] = os.waitstatus_to_exitcode(status)
        left = [process for process in processes if process not in codes]
        if any(codes.values()):
            if until is None:
                until = time.monotonic() + GRACE
                for process in left:
                    os.kill(process, signal.SIGTERM)
            elif time.monotonic() > until:
                for process in left:
                    os.kill(process, signal.SIGKILL)
        time.sleep(0.02)
    return [codes[process] for process in processes]


def dies_at(folder: Path, number: int) -> Callable[[], None]:
    """Prepares a command to be killed at a file operation, counted from 1."""

    def tell(count: int, _: str) -> None:
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return lambda: observed(folder, tell)


class Harness:
    """Kills and goes on, in one folder; every first command finds nothing there, drawn pictures and caches included."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.reference = folder, folder / "reference"
        self.operations: list[str] = []
        self.seconds = 0.0

    def straight(self) -> None:
        """The uninterrupted command, and the operations it does."""
        note = self.folder.with_name(f"{self.folder.name}-operations")

        def prepare() -> None:
            log = os.open(note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            observed(self.folder, lambda _, what: os.write(log, f"{what}\n".encode()))

        self.clear()
        start = time.perf_counter()
        code = go(self.folder, command("reference"), prepare)
        self.seconds = time.perf_counter() - start
        if code:
            raise SystemExit(f"the uninterrupted command ended with {code}: {(self.folder / 'log').read_text()}")
        self.operations = note.read_text().splitlines()
        for record in self.reference.glob("*/record.json"):
            if not json.loads(record.read_bytes())["detections"]:
                raise SystemExit("a run without detections proves nothing")

    def killed_at(self, number: int, again: int | None = None) -> Point:
        """SIGKILL at a file operation, counted from 1, and of the command that goes on at another."""
        self.clear()
        how = f"SIGKILL at operation {number} of {len(self.operations)}: {self.operations[number - 1]}"
        code = go(self.folder, command("out"), dies_at(self.folder, number))
        if code != -signal.SIGKILL:
            how += f" (it ended with {code})"
        second = ""
        if again is not None:
            code = go(self.folder, command("out", "--resume"), dies_at(self.folder, again))
            second = f"SIGKILL at operation {again}" if code == -signal.SIGKILL else f"it had ended before {again}"
        return self.gone_on(how, second)

    def signalled_after(self, seconds: float, number: int) -> Point:
        """A signal at a moment."""
        self.clear()
        process = forked(self.folder, command("out"), nothing)
        time.sleep(seconds)
        os.kill(process, number)
        code = ended(process)
        how = f"{signal.Signals(number).name} after {seconds:.2f} s"
        allowed = (75, 0) if number == signal.SIGTERM else (-number, 0)
        outcome = self.gone_on(how)
        if code not in allowed:
            return Point(how, "", f"exit code {code}", outcome.leftovers)
        return outcome

    def gone_on(self, how: str, again: str = "") -> Point:
        """The same command with --resume, and what it ends in."""
        code = go(self.folder, command("out", "--resume"))
        return self.judged(how, again, self.reference, code)

    def judged(self, how: str, again: str, reference: Path, code: int) -> Point:
        """A point, by what is left."""
        outcome, leftovers = differences(reference, self.folder / "out")
        return Point(how, again, f"exit code {code}; {outcome}" if code else outcome, leftovers)

    def clear(self) -> None:
        """Nothing is there, but the references."""
        for name in ("out", "datasets", "cache"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def ranks_killed(self, count: int, draw: random.Random) -> Iterator[Point]:
        """Of two processes the main one at file operations, the other at moments; they go on as two."""
        reference = self.folder / "reference2"
        self.clear()
        start = time.perf_counter()
        if any(all_ended(launched(self.folder, command("reference2"), (nothing, nothing)))):
            raise SystemExit(f"two processes fail: {(self.folder / 'log').read_text()}")
        seconds = time.perf_counter() - start
        for rank in (0, 1) * count:
            self.clear()
            number, moment = draw.randrange(40, len(self.operations)), draw.uniform(0.3, 0.9) * seconds
            prepare = (dies_at(self.folder, number) if rank == 0 else nothing, nothing)
            processes = launched(self.folder, command("out"), prepare)
            if rank == 1:
                time.sleep(moment)
                os.kill(processes[1], signal.SIGKILL)
            all_ended(processes)
            codes = all_ended(launched(self.folder, command("out", "--resume"), (nothing, nothing)))
            when = f"after {moment:.2f} s" if rank else f"at operation {number}"
            yield self.judged(f"SIGKILL of process {rank} of two {when}", "", reference, max(codes, key=abs))

    def chosen(self, which: str) -> list[int]:
        """Numbers of operations to die at."""
        count = len(self.operations)
        if which == "all":
            return list(range(1, count + 1))
        if which != "some":
            return [int(word) for word in which.split(",")]
        kinds = [re.sub(r"[0-9a-f]{6,}|[0-9]+", "#", operation) for operation in self.operations]
        return sorted({kinds.index(kind) + 1 for kind in kinds})[
            ::2
        ]  # a name's other operations stand for every second


def points(harness: Harness, which: str) -> Iterator[Point]:
    """Every way to die, one after another."""
    draw = random.Random(0)  # noqa: S311
    for place, number in enumerate(harness.chosen(which)):
        again = draw.randrange(1, len(harness.operations)) if place % 4 == 3 else None
        yield harness.killed_at(number, again)
    for _ in range(MOMENTS.get(which, 0)):
        yield harness.signalled_after(draw.uniform(0.02, 1.0) * harness.seconds, signal.SIGKILL)
    for _ in range(STOPS.get(which, 0)):
        yield harness.signalled_after(draw.uniform(0.02, 1.0) * harness.seconds, signal.SIGTERM)
    yield from harness.ranks_killed(RANKS.get(which, 0), draw)


def loaded(folder: Path) -> None:
    """Import all that a command does, and what it keeps in memory; forks then need not look at it for garbage."""
    note = folder.with_name(f"{folder.name}-modules")
    code = ended(forked(folder, command("warm"), nothing, lambda: note.write_text("\n".join(sys.modules))))
    if code:
        raise SystemExit(f"the first command ended with {code}: {(folder / 'log').read_text()}")
    for name in note.read_text().splitlines():
        if name != "__main__":
            with contextlib.suppress(Exception):  # some exist only in what imports them
                importlib.import_module(name)
    from assignbench.plugins import resolve, source_digest
    from assignbench.run.matrix.plan import code_digest

    code_digest()
    for name in STRATEGIES.split(","):
        source_digest(resolve(name))
    shutil.rmtree(folder / "warm")
    gc.collect()
    gc.freeze()


def work(folder: Path, which: str) -> NoReturn:
    """The whole harness."""
    os.chdir(folder)
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    loaded(folder)
    harness = Harness(folder)
    harness.straight()
    print(f"{len(harness.operations)} file operations, {harness.seconds:.1f} s", flush=True)  # noqa: T201
    found = []
    for point in points(harness, which):
        found.append(point)
        print(f"{point.how} | {point.again} | {point.outcome} | {', '.join(point.leftovers)}", flush=True)  # noqa: T201
    print(json.dumps({"operations": harness.operations, "points": [asdict(point) for point in found]}))  # noqa: T201
    raise SystemExit(0)


if __name__ == "__main__":
    from assignbench.cli.main import main

    work(Path(sys.argv[1]).resolve(), sys.argv[2])
