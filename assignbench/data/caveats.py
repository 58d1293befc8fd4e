"""What a reader of a number must know of the data behind it: what was taught, left aside, or does not count."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from assignbench.data.dataset import Dataset, Splits
from assignbench.data.images import Images
from assignbench.data.read.findings import FRAMES_DIVIDED
from assignbench.errors import RunError
from assignbench.files import sha256_of

CROWDED = 0.2  # of the regions of a split; VOC 2007, whose difficult objects are many, stays just below


@lru_cache(maxsize=16)
def caveats(splits: Splits) -> tuple[str, ...]:
    """One sentence each; (): nothing unusual.

    Pictures of both splits are one file, through links and other spellings of a path, or files of one name with the
    same bytes. ``data check`` looks at the pixels, and finds copies of other names, too.
    """
    evaluation = caveats_of_split(splits.evaluation, scored=True)
    return (*_taught_too(splits), *caveats_of_split(splits.train, scored=False), *evaluation)


def caveats_of_split(dataset: Dataset, *, scored: bool) -> tuple[str, ...]:
    """Those that one split has by itself: nothing to find, pictures left aside, frames of videos, many crowds.

    Args:
        dataset: the split.
        scored: detections are scored on it; a split that is taught without objects is refused elsewhere.
    """
    found = []
    if scored and dataset.crowd.all():
        found.append(f"{dataset.split}: no picture has an object that counts, so there is no AP; correct its labels")
    if count := sum(repair.count for repair in dataset.repairs if repair.how == "left aside"):
        pictures = "1 picture is" if count == 1 else f"{count:,} pictures are"
        found.append(f"{dataset.split}: {pictures} left aside")
    frames = sum(repair.count for repair in dataset.repairs if repair.kind == FRAMES_DIVIDED.done)
    if scored and frames:
        found.append(
            f"{dataset.split}: {frames:,} of {len(dataset):,} pictures are frames of videos, by their names, whose "
            "neighbours are taught: AP is too high"
        )
    crowd, every = int(dataset.crowd.sum()), len(dataset.crowd)
    if every and crowd > CROWDED * every:
        share = f"{crowd:,} of {every:,} regions ({crowd / every:.0%})"
        found.append(f"{dataset.split}: {share} are crowd or difficult, neither taught nor required")
    return tuple(found)


def taught_too(splits: Splits) -> NDArray[np.bool_]:
    """``[evaluation image]`` whether it is a training picture, too."""
    train, evaluation = (_paths(dataset) for dataset in (splits.train, splits.evaluation))
    real = _resolver()
    taught = set(map(real, train))
    shared = np.array([real(path) in taught for path in evaluation], dtype=np.bool_)
    for index, twins in _of_one_name(train, evaluation, np.flatnonzero(~shared).tolist()):
        shared[index] = any(_same_bytes(evaluation[index], twin) for twin in twins)
    return shared


def _taught_too(splits: Splits) -> Iterator[str]:
    shared = taught_too(splits)
    count, every = int(shared.sum()), len(shared)
    if count and count == every:
        yield f"evaluated on its training pictures: all {every:,} evaluation pictures are also taught"
    elif count:
        yield f"{count:,} of {every:,} evaluation pictures are also taught"


def _paths(dataset: Dataset) -> list[str]:
    """Of every picture; joined as text, since a million `Path` objects take seconds."""
    images = dataset.images
    if not isinstance(images, Images):
        return [str(image.path) for image in images]
    return [os.path.join(images.folder, name) for name in images.names()]  # noqa: PTH118


def _resolver() -> Callable[[str], str]:
    """What finds the file that a path leads to; folders are listed once, and files that are no links not looked at."""

    @cache
    def folder_of(folder: str) -> tuple[str, frozenset[str]]:
        try:
            with os.scandir(folder or ".") as entries:
                links = frozenset(entry.name for entry in entries if entry.is_symlink())
        except OSError:  # whoever reads the pictures says so
            links = frozenset()
        return os.path.realpath(folder), links

    def real(path: str) -> str:
        folder, name = os.path.split(path)
        resolved, links = folder_of(folder)
        return os.path.realpath(path) if name in links else f"{resolved}{os.sep}{name}"

    return real


def _of_one_name(train: Iterable[str], evaluation: list[str], some: list[int]) -> Iterator[tuple[int, list[str]]]:
    """Of these evaluation pictures those whose file name a training picture has, and the paths of these."""
    names = {os.path.basename(evaluation[index]) for index in some}  # noqa: PTH119
    twins: dict[str, list[str]] = {}
    for path in train:
        if (name := os.path.basename(path)) in names:  # noqa: PTH119
            twins.setdefault(name, []).append(path)
    for index in some:
        if found := twins.get(os.path.basename(evaluation[index])):  # noqa: PTH119
            yield index, found


def _same_bytes(one: str, other: str) -> bool:
    a, b = Path(one), Path(other)
    try:
        return a.stat().st_size == b.stat().st_size and sha256_of(a) == sha256_of(b)
    except (OSError, RunError):  # whoever reads the pictures says so
        return False
