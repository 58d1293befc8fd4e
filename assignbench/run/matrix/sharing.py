"""A run's folder is one process's at a time, over all machines that share the disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from accelerate import Accelerator

from assignbench.errors import RunError, SystemProblem
from assignbench.files import make_folder
from assignbench.lock import USUAL, Rhythm, Taken, exclusive, holder_of, patiently
from assignbench.run.results.names import CHECKPOINTS, LOCK
from assignbench.run.training.checkpoint import remove
from assignbench.run.training.processes import from_main

_WAITING, _HELD, _FAILED = range(3)


@contextmanager
def claimed(
    folder: Path, accelerator: Accelerator, say: Callable[[str], None], rhythm: Rhythm = USUAL
) -> Iterator[None]:
    """Hold a run's folder; every process of a command must call this.

    A folder that is held is waited for as long as a process that has died may seem to hold it, and not longer: a
    process that is at work may be so for days.

    Args:
        folder: of the run; it is made.
        accelerator: of the command's processes: the main one holds the lock for all.
        say: is told once who is waited for.
        rhythm: how often to look, and how long.

    Raises:
        SystemProblem: the folder or the lock's files cannot be written.
        RunError: another process is at work; or, on the other processes, the main one failed.
    """
    wait, began = patiently(say), time.monotonic()

    def waiting(holder: str) -> bool:
        from_main(_WAITING, accelerator)  # at every look, so that the others do not wait too long for a word
        return wait(holder) and time.monotonic() - began < 1.25 * rhythm.dead

    with ExitStack() as stack:
        if accelerator.is_main_process:
            try:
                make_folder(folder)
                stack.enter_context(exclusive(folder / LOCK, waiting, rhythm))
            except Taken as taken:
                from_main(_FAILED, accelerator)
                raise RunError(f"{taken} is at this run, {folder}; repeat the command when it has ended") from None
            except BaseException:
                from_main(_FAILED, accelerator)
                raise
            from_main(_HELD, accelerator)
        else:
            while (word := from_main(0, accelerator)) == _WAITING:  # listening
                pass
            if word == _FAILED:
                raise RunError("the main process failed; its message says why")
        yield


def tidy(folder: Path) -> None:
    """Take away what a command has left in the folder of a finished run, when it was killed after writing the record.

    Whoever is still at the run does so itself.
    """
    if not ((folder / LOCK).is_file() or (folder / CHECKPOINTS).is_dir()):
        return
    with suppress(Taken, SystemProblem), exclusive(folder / LOCK, lambda _: False):
        remove(folder / CHECKPOINTS)


def trained_by(folder: Path) -> str | None:
    """Who is at a run, to be shown; None: nobody that is known."""
    return holder_of(folder / LOCK)
