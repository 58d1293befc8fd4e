"""What computes jobs. Three do: `assignbench.engines.local`, `.slurm` and `.ray`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from assignbench.engines.job import Job

ENGINES = ("local", "slurm", "ray", "ray:ADDRESS")


@dataclass(frozen=True)
class Look:
    """How a job stands, as its engine sees it."""

    state: Literal["queued", "running", "ended"]
    where: str = ""  # host, node or slot, for the screen
    code: int | None = None  # exit code of a job that has ended; None: nobody knows, its worker was lost
    cause: str = ""  # why it ended, in the engine's words: "preempted", "node failed"; "": the exit code says it


class Engine(Protocol):
    """Takes jobs and says how they stand; whether a run is done is seen in its folder alone."""

    name: str
    survives: bool  # whether jobs go on when this process ends, and a later one can look at them
    poll: float  # seconds between two looks

    def submit(self, jobs: Sequence[Job]) -> list[str]:
        """Take jobs; a handle for each: text that says to `look` and `stop`, in a later process too, which it is.

        Raises:
            SystemProblem: the engine cannot be reached, or refuses them.
        """
        ...

    def look(self, handles: Sequence[str]) -> list[Look]:
        """How jobs stand, in the order of the handles; a job that the engine does not know has ended.

        Raises:
            SystemProblem: the engine cannot be reached.
        """
        ...

    def stop(self, handles: Sequence[str]) -> None:
        """End jobs: those that run save a checkpoint first. Waits until they have ended."""
        ...

    def close(self) -> None:
        """Let go of the engine; jobs of one that does not survive are stopped."""
        ...
