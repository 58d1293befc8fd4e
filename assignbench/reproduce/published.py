"""The published numbers, from reports/published_results.csv."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from assignbench.errors import UsageError
from assignbench.paths import published_results

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")


@dataclass(frozen=True)
class Published:
    """One row of a published table."""

    dataset: str
    split: str
    values: Mapping[str, float]  # metric, or "AP of motorcycle", → percent points; only what was published

    @property
    def where(self) -> str:
        """Data set and split, for a header."""
        return f"{self.dataset} {self.split}" if "not stated" not in self.split else f"{self.dataset}, split not stated"


def published(table: str, row: int, dataset: str | None = None) -> Published:
    """The values of a row, those of single classes included.

    Args:
        table: as the CSV names it: "3".
        row: number in that table.
        dataset: where the row has several; None: it has one.

    Raises:
        UsageError: there is no such row, or it has several data sets and none was named.
    """
    lines = [line for line in _lines() if (line["table"], line["row"]) == (table, str(row))]
    lines = [line for line in lines if dataset in (None, line["dataset"])]
    what = f"table {table}, row {row}" + (f", {dataset}" if dataset else "")
    if not lines:
        raise UsageError(f"no published value of {what} in {published_results()}")
    if len({line["dataset"] for line in lines}) > 1:
        raise UsageError(f"{what} has values of several data sets in {published_results()}; name one")
    values: dict[str, float] = {}
    for line in lines:
        _, _, name = line["setting"].partition("class=")
        if name in ("", "all"):
            values.update({metric: float(line[metric]) for metric in METRICS if line[metric]})
        else:
            values[class_column(name)] = float(line["AP"])
    return Published(lines[0]["dataset"], lines[0]["split"], values)


def class_column(name: str) -> str:
    """The column of a single class."""
    return f"AP of {name}"


@cache
def _lines() -> tuple[Mapping[str, str], ...]:
    with published_results().open(encoding="utf-8", newline="") as file:
        return tuple(csv.DictReader(file))
