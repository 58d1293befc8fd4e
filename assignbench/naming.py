"""What to call strategies side by side: of files with one name, by as much of the path as tells them apart."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import PurePath


@dataclass(frozen=True, order=True)
class Known:
    """What is known of a strategy, in a run that is planned or done."""

    name: str  # "mine.py:S", without options
    origin: str  # the file's path, where it comes from one
    code: str  # digest of its source


def names_apart(strategies: Iterable[Known]) -> dict[Known, str]:
    """Each strategy's name among the others.

    A name stays as it is where it stands for one code, wherever that lies. Else the folders of the files go before it:
    ``v1/mine.py:S`` and ``v2/mine.py:S``.
    """
    every = sorted(set(strategies))
    files: dict[str, dict[str, str]] = {}  # name → code → the file that holds it
    for one in every:
        if one.name.startswith(f"{PurePath(one.origin).name}:"):
            files.setdefault(one.name, {}).setdefault(one.code, one.origin)
    folders = {name: _folders(set(codes.values())) for name, codes in files.items()}
    return {
        one: f"{folders[one.name][files[one.name][one.code]]}{one.name}" if one.name in files else one.name
        for one in every
    }


def _folders(files: Collection[str]) -> dict[str, str]:
    """File → the last of its folders, as few as tell it apart: ``"v1/"``; ``""`` where it is the only one."""
    parts = {file: PurePath(file).parent.parts for file in files}
    counts = range(1 + max(map(len, parts.values())))
    last = (
        {file: "".join(f"{part}/" for part in own[max(0, len(own) - n) :]) for file, own in parts.items()}
        for n in counts
    )
    return next(folders for folders in last if len(set(folders.values())) == len(files))
