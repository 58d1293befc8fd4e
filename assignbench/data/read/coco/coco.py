"""Reader of COCO instance annotations (https://cocodataset.org/#format-data), however large the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from assignbench.data.read.coco.file import read_json
from assignbench.data.read.coco.pieces import Digest
from assignbench.data.read.findings import PICTURE_LEFT_OUT
from assignbench.data.read.raw import RawSplit, said, unreadable
from assignbench.errors import DataError


def read_coco(
    file: Path,
    pictures: Path,
    part: str,
    digest: Digest,
    *,
    classes: Sequence[str] | None = None,
    labelled: bool = True,
    folders: int | None = None,
    left_out: Sequence[str] = (),
) -> RawSplit:
    """Read one split.

    Args:
        file: ``instances_*.json``, or ``image_info_*.json`` of a split whose objects are secret.
        pictures: folder that every ``file_name`` is relative to.
        part: "train", "evaluation" or "test".
        digest: gets every byte that was read.
        classes: what the specification demands.
        labelled: whether there must be annotations; otherwise there must be none.
        folders: how many folders of a ``file_name`` count; None: all of them.
        left_out: pictures that are dropped with their objects, counted and named.
    """
    try:
        raw = read_json(file, pictures, part, digest, labelled=labelled, folders=folders)
    except DataError as error:
        return unreadable(part, file, str(error), own_ids=True)
    raw = replace(raw, classes=classes)
    if not left_out:
        return raw
    names, leaving = list(raw.images.names()), frozenset(left_out)
    out = np.array([name in leaving for name in names], dtype=np.bool_)
    if not out.any():
        return raw
    kept = raw.only(~out)
    return replace(
        kept, findings=[*kept.findings, said(PICTURE_LEFT_OUT, part, [name for name in names if name in leaving])]
    )
