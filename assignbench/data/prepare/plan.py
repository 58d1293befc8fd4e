"""What a data set needs, what of it is there, and what is still to be fetched: looked up, nothing is changed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from assignbench.data.prepare.digest import identity
from assignbench.data.prepare.download import Part
from assignbench.data.spec.locate import known_datasets
from assignbench.data.spec.schema import DatasetSpec, ShapesSpec, load_spec
from assignbench.data.spec.sources import Published, Source
from assignbench.disk import existing, free_bytes, human
from assignbench.errors import SystemProblem, UsageError
from assignbench.suggest import did_you_mean

State = Literal["there", "downloaded", "begun", "absent"]


@dataclass(frozen=True)
class Step:
    """One source and its places."""

    source: Source
    archive: Path  # where it is downloaded to, or laid by hand
    folder: Path  # where it is unpacked to

    def lacking(self) -> str | None:
        """What should be there after unpacking and is not; None: all is there."""
        return lacking(self.source, self.folder)

    def begun(self) -> State:
        """How far a step is that is to be done."""
        if self.archive.is_file():
            return "downloaded"
        return "begun" if Part.of(self.archive).length() else "absent"

    def to_fetch(self) -> int | None:
        """Bytes still to be downloaded; None: not known."""
        if self.archive.is_file():
            return 0
        return None if self.source.size is None else max(0, self.source.size - Part.of(self.archive).length())

    def guide(self) -> str:
        """Which file belongs where, for a person."""
        origins = self.source.urls or ["the publisher, see the homepage"]
        return "\n    ".join([f"  {self.archive}", identity(self.source), *(f"from {one}" for one in origins)])


@dataclass(frozen=True)
class Plan:
    """A data set and all that it is made of."""

    name: str
    spec: DatasetSpec
    root: Path  # of everything below
    steps: tuple[Step, ...]
    reads: tuple[Path, ...]  # files and folders that a training of it opens; none where only a part was asked for

    @property
    def lock(self) -> Path:
        """Held while anything is written."""
        return self.root / f".{self.name}.lease"

    def missing(self) -> list[Step]:
        """The steps that are to be done, in order.

        Where several sources fill one folder and there are too few files, nobody knows whose are missing: all of
        these are to be done.
        """
        wanted: Counter[Path] = Counter()
        for step in self.steps:
            wanted.update({step.folder / step.source.inside(name): count for name, count in step.source.counts.items()})
        short = {folder for folder, count in wanted.items() if count_files(folder, count) < count}

        def is_missing(step: Step) -> bool:
            own = {step.folder / step.source.inside(name) for name in step.source.counts}
            return bool(own & short) or step.lacking() is not None

        return [step for step in self.steps if is_missing(step)]

    def states(self) -> list[State]:
        """How far each step is."""
        missing = self.missing()
        return [step.begun() if step in missing else "there" for step in self.steps]

    def unread(self) -> list[Path]:
        """What a training opens and is not there."""
        return [path for path in self.reads if not path.exists()]

    @property
    def published(self) -> Published:
        """Licence and homepage."""
        return self.spec if isinstance(self.spec, Published) else Published()


@dataclass(frozen=True)
class Room:
    """What one disk has to hold."""

    place: Path
    needed: int  # bytes; sources of unknown size are not in it
    free: int  # bytes


def plan(name: str, data_root: Path, splits: Sequence[str] = ()) -> Plan:
    """Find the sources of a data set.

    Args:
        name: a built-in name, or the path of a YAML file, whose paths are then relative to it.
        data_root: folder of the built-in data sets.
        splits: those wanted; none: all but the optional ones.

    Raises:
        UsageError: an unknown name or split, or a wrong file.
    """
    known = {info.name: info.origin for info in known_datasets()}
    if name in known:
        file, root, stem = known[name], data_root, name
    elif name.endswith((".yaml", ".yml")):
        file = Path(name).expanduser().resolve()
        root, stem = file.parent, file.stem
    elif name.partition(":")[0] in ("coco", "voc", "yolo") and ":" in name:
        raise UsageError(f"{name} is a folder of yours: there is nothing to fetch; known: {', '.join(known)}")
    else:
        hint = did_you_mean(name, known)
        raise UsageError(f"unknown data set {name!r}{hint}\nknown: {', '.join(known)}, or the path of a YAML file")
    spec = load_spec(file)
    if isinstance(spec, ShapesSpec):
        return Plan(stem, spec, root, (), ())
    steps = [
        Step(one, root / "archives" / stem / one.file, root / one.unpack_to)
        for source in _chosen(spec.sources, splits, name)
        for one in source.each()
    ]
    return Plan(stem, spec, root, tuple(steps), () if splits else tuple(root / path for path in _reads(spec)))


def _reads(spec: DatasetSpec) -> Iterator[Path]:
    """The paths of the splits, as the specification gives them."""
    for split in ("train", "evaluation"):
        parts = getattr(spec, split)
        for part in parts if isinstance(parts, list) else [parts]:
            yield from (value for _, value in part if isinstance(value, Path))


def _chosen(sources: Sequence[Source], splits: Sequence[str], name: str) -> list[Source]:
    offered = list(dict.fromkeys(source.split for source in sources if source.split))
    for split in splits:
        if split not in offered:
            hint = did_you_mean(split, offered)
            raise UsageError(f"{name} has no split {split!r}{hint}; it has {', '.join(offered) or 'none to choose'}")
    if not splits:
        return [source for source in sources if not source.optional]
    return [source for source in sources if source.split is None or source.split in splits]


def lacking(source: Source, folder: Path) -> str | None:
    """The first thing that a source should have brought and has not; None: all is there.

    Args:
        source: what to look for.
        folder: stands for its ``unpack_to``.
    """
    for need in source.needs:
        path = folder / source.inside(need)
        if not path.exists():
            return f"{path} is missing"
    for name, count in source.counts.items():
        path = folder / source.inside(name)
        found = count_files(path, count)
        if found < count:
            return f"{path} holds {found:,} files, not {count:,}"
    return None


def count_files(folder: Path, enough: int) -> int:
    """Files in a folder and below, hidden ones left out; counting ends at ``enough``."""
    count = 0
    for _, _, files in os.walk(folder, followlinks=True):
        count += sum(not file.startswith(".") for file in files)
        if count >= enough:
            return enough
    return count


def rooms(missing: Sequence[Step], *, keep_archives: bool) -> list[Room]:
    """Disk space that is needed for what is missing, disk by disk.

    Pictures hardly shrink in archives: their content is taken to be as large. It is measured before
    anything is unpacked.
    """
    needed: dict[int, int] = {}
    places: dict[int, Path] = {}

    def add(path: Path, count: int) -> None:
        place = existing(path)
        device = place.stat().st_dev
        places.setdefault(device, place)
        needed[device] = needed.get(device, 0) + count

    for step in missing:
        add(step.folder, step.source.size or 0)
    fetched = [(step.to_fetch() or 0, step.archive) for step in missing]
    for count, archive in fetched if keep_archives else sorted(fetched)[-1:]:
        add(archive, count)
    return [Room(places[device], count, free_bytes(places[device])) for device, count in needed.items()]


def require_rooms(missing: Sequence[Step], *, keep_archives: bool) -> None:
    """Refuse to start what cannot end.

    Raises:
        SystemProblem: a disk is too small.
    """
    for room in rooms(missing, keep_archives=keep_archives):
        if room.free < room.needed:
            hint = ""
            if keep_archives:
                least = sum(one.needed for one in rooms(missing, keep_archives=False) if one.place == room.place)
                hint = f"; {human(least)} are enough with --remove-archives" if least <= room.free else ""
            raise SystemProblem(
                f"about {human(room.needed)} are needed, but only {human(room.free)} are free on the disk of "
                f"{room.place}{hint}; free space or choose another --data-root"
            )
