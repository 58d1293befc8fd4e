"""How a job ended, and what follows: whether it goes on, is tried again, or has failed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from assignbench.engines.engine import Look
from assignbench.engines.job import LOG
from assignbench.errors import DeviceFault, RunError, Stopped
from assignbench.files import read_regular
from assignbench.run.results.json_lines import read_lines
from assignbench.run.results.names import CHECKPOINTS, FAILURES

FAULTS = 2  # times that memory which was short, a device's fault, or a crash is forgiven
STANDSTILLS = 10  # times in a row that a worker may be lost without the run having come further

CRASHES = tuple(128 + number for number in (4, 6, 7, 8, 11))  # SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV
INTERRUPTED = 130
ERROR = "error: "  # how a command begins to say what is wrong


@dataclass(frozen=True)
class Tries:
    """What one run has behind it."""

    faults: int = 0
    standstills: int = 0
    furthest: int = -1  # iteration of the newest checkpoint when the last worker was lost


@dataclass(frozen=True)
class Verdict:
    """What is to be done after an end without a record."""

    again: bool
    reason: str  # one line
    tries: Tries
    code: int  # exit code of the run, if it is not tried again


def judged(look: Look, folder: Path, tries: Tries) -> Verdict:
    """What follows from an end without a record.

    A worker that was lost or pre-empted, or that saved a checkpoint and left, did nothing wrong: the run goes on. If it
    comes no further, `STANDSTILLS` times in a row, something kills it. Short memory, faults of a device and crashes may
    be another program's doing: they are forgiven `FAULTS` times. A wrong request, wrong data, or a run that fails by
    itself would fail again, and a job that a person interrupts is not wanted.

    Args:
        look: at the job that has ended.
        folder: of the run.
        tries: what it has behind it.
    """
    fault = look.code == DeviceFault.exit_code or look.code in CRASHES
    lost = look.code is None or look.code == Stopped.exit_code or look.code > 128
    if lost and not fault and look.code != INTERRUPTED:
        reached = furthest(folder)
        standstills = 0 if reached > tries.furthest else tries.standstills + 1
        after = Tries(tries.faults, standstills, reached)
        reason = look.cause or (
            "stopped with a checkpoint" if look.code == Stopped.exit_code else "its worker was lost"
        )
        if standstills <= STANDSTILLS:
            return Verdict(True, reason, after, 1)
        return Verdict(False, f"{reason}, {standstills} times without coming further", after, 1)
    said = "interrupted" if look.code == INTERRUPTED else last_failure(folder) or last_error(folder)
    reason = look.cause or said or f"exit code {look.code} without a record"
    if fault:
        after = Tries(tries.faults + 1, tries.standstills, tries.furthest)
        return Verdict(after.faults <= FAULTS, reason, after, look.code or 1)
    return Verdict(False, reason, tries, look.code or 1)


def furthest(folder: Path) -> int:
    """Iteration of a run's newest checkpoint; −1: it has none."""
    names = (path.name.removeprefix("iteration-") for path in (folder / CHECKPOINTS).glob("iteration-*"))
    return max((int(name) for name in names if name.isdecimal()), default=-1)


def last_failure(folder: Path) -> str:
    """What a run's last failure said, in one line; "": it has none, or it cannot be read."""
    try:
        rows = read_lines(folder / FAILURES)
    except RunError:
        return ""
    return str(rows[-1].get("error", "")).replace("\n", "; ") if rows else ""


def last_error(folder: Path) -> str:
    """The last error that a job has printed, in one line; "": none."""
    try:
        lines = read_regular(folder / LOG).splitlines()
    except (OSError, ValueError):
        return ""
    return next((line.removeprefix(ERROR) for line in reversed(lines) if line.startswith(ERROR)), "")
