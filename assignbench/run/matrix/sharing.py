"""Commands that share an output folder: each run is trained by one of them, and the others take what is left.

So a table is spread over GPUs, or machines that share a disk, by giving the same command once for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from accelerate import Accelerator

from assignbench.errors import RunError
from assignbench.files import make_folder
from assignbench.lock import USUAL, Rhythm, Taken, exclusive, holder_of, patiently
from assignbench.run.training.processes import from_main

LOCK = ".lease"
_WAITING, _HELD, _TAKEN, _FAILED = range(4)


@contextmanager
def claimed(
    folder: Path, accelerator: Accelerator, say: Callable[[str], None] | None, rhythm: Rhythm = USUAL
) -> Iterator[bool]:
    """Hold a run's folder; every process of a command must call this.

    Args:
        folder: of the run; it is made.
        accelerator: of the command's processes: the main one holds the lock for all.
        say: is told once who is waited for; None: nobody is, a folder that is taken is left to its holder.
        rhythm: how often to look.

    Yields:
        Whether the folder is held.

    Raises:
        SystemProblem: the folder or the lock's files cannot be written.
        RunError: on the other processes, when the main one failed.
    """
    wait = None if say is None else patiently(say)

    def waiting(holder: str) -> bool:
        if wait is None:
            return False
        from_main(_WAITING, accelerator)  # at every look, so that the others do not wait too long for a word
        return wait(holder)

    with ExitStack() as stack:
        if accelerator.is_main_process:
            try:
                make_folder(folder)
                stack.enter_context(exclusive(folder / LOCK, waiting, rhythm))
                word = _HELD
            except Taken:
                word = _TAKEN
            except BaseException:
                from_main(_FAILED, accelerator)
                raise
            from_main(word, accelerator)
        else:
            while (word := from_main(0, accelerator)) == _WAITING:  # listening
                pass
            if word == _FAILED:
                raise RunError("the main process failed; its message says why")
        yield word == _HELD


def trained_by(folder: Path) -> str | None:
    """Who is at a run, to be shown; None: nobody that is known."""
    return holder_of(folder / LOCK)
