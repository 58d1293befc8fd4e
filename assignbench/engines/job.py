"""A job: one run of a matrix, as a command that any machine can be given."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from assignbench.document import fitted
from assignbench.errors import UsageError
from assignbench.machine import THREADS, own_cores
from assignbench.strict_yaml import parse_yaml, read_yaml

LOG = "job.log"  # in a run's folder: what its job printed
TEXTS = ("memory", "time", "partition", "account")  # never numbers, whatever they look like
TETHER = "--tethered"  # the option by which a job ends, with a checkpoint, when its worker does


@dataclass(frozen=True)
class Job:
    """One run, and the command that brings it to its record."""

    run_id: str
    title: str  # for the screen: "atss on shapes, seed 0"
    arguments: tuple[str, ...]  # of assignbench: "run", "--assigner", "atss", …, "--only", RUN
    folder: Path  # of the run; absolute

    def command(self, *more: str) -> list[str]:
        """What a worker starts, with this process's Python; the folder it starts in is on its path if on this one's."""
        alone = [] if {"", str(Path.cwd())} & set(sys.path) else ["-P"]
        return [sys.executable, *alone, "-m", "assignbench", *self.arguments, *more]

    @property
    def line(self) -> str:
        """The same for a shell, in one line.

        Raises:
            UsageError: a name in it cannot stand in one line.
        """
        if odd := [word for word in self.arguments if any(ord(letter) < 32 or ord(letter) == 127 for letter in word)]:
            raise UsageError(f"{odd[0]!r} holds a line end or another control character; give the file another name")
        return shlex.join(["assignbench", *self.arguments])


class Needs(BaseModel):
    """What one job asks of the machines."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    cpus: Annotated[int, Field(gt=0, le=4096)] | None = None  # threads of a process; None: as this command has
    gpus: Annotated[int, Field(ge=0, le=4096)] | None = None  # a node; None: one where the device is a GPU
    nodes: Annotated[int, Field(gt=0, le=4096)] = 1  # SLURM: machines that train one run together
    memory: str | None = None  # SLURM, a node: "32G"
    time: str | None = None  # SLURM: "8:00:00", or minutes; a run that needs longer goes on in a second job
    partition: str | None = None  # SLURM
    account: str | None = None  # SLURM
    more: Mapping[str, JsonValue] = {}  # SLURM: options of sbatch by their long names, "qos", "constraint", …

    @property
    def threads(self) -> str | None:
        """Of each process. None, on GPUs: as many as it finds cores.

        On CPUs they are as many as this command has: their number decides how sums are rounded.
        """
        if self.cpus is not None:
            return str(self.cpus)
        stated = os.environ.get(THREADS, "").partition(",")[0].strip()  # OpenMP has one number for each level
        own = stated if stated.isdecimal() and int(stated) > 0 else str(own_cores())
        return None if self.gpus else own

    def beside(self, *known: str) -> list[str]:
        """Names of what else is asked for."""
        return sorted(self.model_fields_set.difference(known))


def needs_of(texts: Sequence[str]) -> Needs:
    """``partition=gpu``, ``more.qos=high``, or the name of a YAML file with such keys; the later one decides.

    Raises:
        UsageError: there is no such key or file, or a value does not fit.
    """
    values: dict[str, object] = {}
    more: dict[str, object] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals and text in Needs.model_fields:
            raise UsageError(f"--needs {text}: its value is missing; write {text}=…")
        if not equals:
            found = read_yaml(Path(text))
            if not isinstance(found, dict):
                raise UsageError(f"{text}: what a job needs is a mapping, as in: partition: gpu")
            values.update(found)
        elif key.startswith("more."):
            more[key.removeprefix("more.")] = parse_yaml(value, f"--needs {text}")
        else:
            values[key] = value if key in TEXTS else parse_yaml(value, f"--needs {text}")
    if more:
        given = values.get("more", {})
        values["more"] = {**given, **more} if isinstance(given, dict) else given
    return fitted(values, Needs, "--needs")
