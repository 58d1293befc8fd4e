"""How a run ended: what a matrix and the engines say to each other. It imports nothing, so that `status` is fast."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    code: int  # 0: it has a record; else an exit code
    reason: str = ""  # why it has none
