"""Everything that was put right or left aside in the data of a run, one line each, beside the record."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from assignbench.data.dataset import Repair, Splits
from assignbench.files import written
from assignbench.plain_text import csv_field

REPAIRS = "repairs.csv"


def write_repairs(folder: Path, splits: Splits) -> None:
    """Write ``repairs.csv``: split, repair, ids of picture and annotation, detail; nothing where nothing was repaired.

    Raises:
        SystemProblem: the disk is full, the folder is read-only, ….
    """
    rows = [(part, one) for part in ("train", "evaluation") for one in getattr(splits, part).repairs]
    if not rows:
        return
    with written(folder / REPAIRS) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(("split", "repair", "image", "annotation", "detail"))
        for part, one in rows:
            table.writerows(map(csv_field, (part, one.kind, *row)) for row in _items(one))


def _items(one: Repair) -> Iterator[tuple[int | str, int | str, str]]:
    """Image, annotation and detail of each item; empty where there is none."""
    yield from zip_longest(one.images.tolist(), one.annotations.tolist(), one.details, fillvalue="")
