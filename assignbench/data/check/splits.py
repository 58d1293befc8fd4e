"""What the two splits are tried for together: classes, pictures in both, files in neither."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import numpy as np

from assignbench.data.check.looks import Look
from assignbench.data.folders import is_picture
from assignbench.data.read import findings as kinds
from assignbench.data.read.findings import Finding
from assignbench.data.read.raw import RawSplit, said
from assignbench.data.read.rules import alike


def joint_findings(train: RawSplit, evaluation: RawSplit, looks: Mapping[str, Look]) -> list[Finding]:
    """Everything that concerns both splits; places are those of the split that the finding names."""
    if not (train.readable and evaluation.readable):
        return []
    found = (*_classes(train, evaluation), *_overlap(train, evaluation, looks), *_unlisted(train, evaluation))
    return [finding for finding in found if finding.count]


def _classes(train: RawSplit, evaluation: RawSplit) -> Iterator[Finding]:
    taught = {name: number for number, name in train.categories}
    scored = {name: number for number, name in evaluation.categories}
    wanted = set(train.classes or taught)
    for raw in (train, evaluation):
        places = [place for place, (_, name) in enumerate(raw.categories) if name not in wanted]
        details = [repr(raw.categories[place][1]) for place in places]
        yield raw.finding(kinds.CLASS_NOT_TRAINED, "categories", np.array(places, dtype=np.int64), details)
    yield said(kinds.CLASS_NOT_EVALUATED, "both", [name for name in taught if name not in scored])
    if train.own_ids:
        differing = [name for name in taught if scored.get(name, taught[name]) != taught[name]]
        texts = [f"{name!r} is {taught[name]} in training, {scored[name]} in evaluation" for name in differing]
        yield said(kinds.CLASS_ID_DIFFERS, "both", texts)
    others = {alike(name): name for name in scored if name not in taught}
    pairs = [(name, others[alike(name)]) for name in taught if alike(name) in others]
    yield said(kinds.CLASS_ALIKE, "both", [f"{one!r} and {other!r}" for one, other in pairs])


def _overlap(train: RawSplit, evaluation: RawSplit, looks: Mapping[str, Look]) -> Iterator[Finding]:
    files = {os.path.realpath(path) for path in evaluation.images.paths()}
    pixels: dict[bytes, str] = {}
    for path in evaluation.images.paths():
        if (look := looks.get(path)) is not None and look.digest:
            pixels.setdefault(look.digest, path)
    same_file: list[int] = []
    same_pixels: list[int] = []
    twins: list[str] = []
    for place, path in enumerate(train.images.paths()):
        look = looks.get(path)
        if os.path.realpath(path) in files:
            same_file.append(place)
        elif look is not None and look.digest in pixels:
            same_pixels.append(place)
            twins.append(f"as {pixels[look.digest]}")
    yield train.finding(kinds.OVERLAP_FILE, "images", np.array(same_file, dtype=np.int64))
    yield train.finding(kinds.OVERLAP_CONTENT, "images", np.array(same_pixels, dtype=np.int64), twins)
    if train.own_ids:
        shared = np.isin(train.images.ids, evaluation.images.ids)
        shared[[*same_file, *same_pixels]] = False
        yield train.finding(kinds.OVERLAP_ID, "images", shared)


def _unlisted(train: RawSplit, evaluation: RawSplit) -> Iterator[Finding]:
    listed = {os.path.normpath(path) for raw in (train, evaluation) for path in raw.images.paths()}
    folders = dict.fromkeys((*train.folders, *evaluation.folders))
    strangers = {
        path
        for folder in folders
        for below, _, names in os.walk(folder)
        for name in names
        if is_picture(name) and (path := os.path.normpath(os.path.join(below, name))) not in listed  # noqa: PTH118
    }
    yield said(kinds.PICTURE_UNLISTED, "both", sorted(strangers))
