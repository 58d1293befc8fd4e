"""What to call strategies and data sets side by side: of one name, by as much of the path as tells them apart."""

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import PurePath


@dataclass(frozen=True, order=True)
class Known:
    """What is known of a strategy, in a run that is planned or done."""

    name: str  # "mine.py:S", without options
    origin: str  # the file's path, where it comes from one
    code: str  # digest of its source


@dataclass(frozen=True, order=True)
class KnownData:
    """What is known of a data set, in a run that is planned or done."""

    name: str  # as records keep it: "coco:data", "mine.yaml"
    spec: str  # what opens it again: "coco:/a/data", "/a/mine.yaml"; of a built-in data set its name
    content: str  # digest of both splits


_NAMELESS = frozenset({"dataset.yaml", "dataset.yml", "data.yaml", "data.yml"})  # every tool's; the folder tells more


def file_name(file: PurePath) -> str:
    """What tables call the data set of a YAML file: its own name, or its folder's where it is called as any other."""
    return file.parent.name if file.name in _NAMELESS and file.parent.name else file.name


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


def data_names_apart(sets: Iterable[KnownData]) -> dict[KnownData, str]:
    """Each data set's name among the others.

    A name stays as it is where it stands for one content, wherever that lies. Else the folders that it lies in go
    before it: ``coco:a/data`` and ``coco:b/data``. A place that holds another content than before keeps its one name.
    """
    every = sorted(set(sets))
    names = {one: _data_name(one, {other.spec for other in every}) for one in every}
    places: dict[str, dict[str, str]] = {}  # name → content → where it lies
    for one in every:
        if (place := _place(one)) is not None:
            places.setdefault(names[one], {}).setdefault(one.content, place)
    folders = {name: _folders(set(found.values())) for name, found in places.items()}

    def apart(one: KnownData) -> str:
        kind, colon, name = names[one].rpartition(":")
        before = folders[names[one]][places[names[one]][one.content]] if _place(one) is not None else ""
        return f"{kind}{colon}{before}{name}"

    return {one: apart(one) for one in every}


def is_opened_by(spec: str, wanted: str) -> bool:
    """Whether what a user types opens the data set of a run: its folder or YAML file, with or without format and split.

    Args:
        spec: of the run: "coco:/a/data?split=0.8", "/a/data/dataset.yaml", "shapes".
        wanted: "data", "coco:data", "data/dataset.yaml", …; relative to the current folder.
    """
    (kind, place, more), (own_kind, own_place, own_more) = _parts(wanted), _parts(spec)
    if not PurePath(own_place).is_absolute() or kind not in ("", own_kind) or more not in ("", own_more):
        return False
    own = PurePath(own_place)
    return PurePath(os.path.abspath(place)) in (own, own.parent if own.name in _NAMELESS else own)  # noqa: PTH100


def _parts(spec: str) -> tuple[str, str, str]:
    """Format, place and what follows a question mark."""
    whole, _, more = spec.partition("?")
    kind, _, place = whole.rpartition(":")
    return (kind, place, more) if kind.isalpha() else ("", whole, more)


def _data_name(one: KnownData, specs: Collection[str]) -> str:
    """The name by itself; of two files of one folder that would both go by its name, the file's with it."""
    file = PurePath(one.spec)
    if file.name not in _NAMELESS:
        return one.name
    beside = sum(PurePath(spec).parent == file.parent and PurePath(spec).name in _NAMELESS for spec in specs)
    return file_name(file) if beside == 1 else f"{file.parent.name}/{file.name}"


def _place(one: KnownData) -> str | None:
    """The path that the name is the last part of; None: a built-in data set lies nowhere in particular."""
    kind, colon, _ = one.name.rpartition(":")
    path = PurePath(one.spec.removeprefix(f"{kind}{colon}"))
    if not path.is_absolute():
        return None
    return str(path.parent if path.name in _NAMELESS else path)


def _folders(files: Collection[str]) -> dict[str, str]:
    """File → the last of its folders, as few as tell it apart: ``"v1/"``; ``""`` where it is the only one."""
    parts = {file: PurePath(file).parent.parts for file in files}
    counts = range(1 + max(map(len, parts.values())))
    last = (
        {file: "".join(f"{part}/" for part in own[max(0, len(own) - n) :]) for file, own in parts.items()}
        for n in counts
    )
    return next(folders for folders in last if len(set(folders.values())) == len(files))
