"""From the folder where it was unpacked to the place where it is looked for."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Iterator
from pathlib import Path

from assignbench.errors import SystemProblem
from assignbench.files import replaceable


def publish(staged: Path, folder: Path, last: Collection[Path]) -> int:
    """Move everything below ``staged`` to the same place below ``folder``; folders are merged.

    What need not be merged arrives in one step; ``last`` arrives after all the rest, so that it is there only
    when everything is, whenever the process may be killed.

    Args:
        staged: on the same disk as ``folder``.
        folder: may exist.
        last: files or folders below ``folder`` by whose presence others judge that all is there.

    Returns:
        How many files were replaced.

    Raises:
        OSError: the disk, or permissions.
        SystemProblem: a folder to merge with lies on another disk, or a device or a pipe is in the place of a file.
    """
    if hasattr(os, "sync"):  # Windows has none
        os.sync()  # a power cut after the renaming must not leave files that are empty
    moves = list(_moves(staged, folder))
    moves.sort(key=lambda move: any(one == move[1] or move[1] in one.parents for one in last))
    replaced = 0
    for source, target in moves:
        target = replaceable(target) if source.is_file() else target
        replaced += target.exists()
        try:
            source.replace(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            raise SystemProblem(
                f"{target.parent} is on another disk than {staged.parent}, data cannot be moved there in one step; "
                "choose a --data-root on that disk, or unpack by hand"
            ) from error
    return replaced


def _moves(staged: Path, folder: Path) -> Iterator[tuple[Path, Path]]:
    """The largest pieces that can be moved as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in sorted(staged.iterdir()):
        target = folder / source.name
        if source.is_dir() and target.is_dir():
            yield from _moves(source, target)
        else:
            yield source, target
