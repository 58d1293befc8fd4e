"""Comparisons made up for the page: strategies that differ, with names that a stranger chose badly."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from assignbench.report.curves import curve
from assignbench.report.facts import METRICS, Facts, Logs, gather
from assignbench.run.results.record import RunRecord
from assignbench.run.results.unfinished import Unfinished

HOSTILE = ("<script>document.title='hacked'</script>", "a & b", "emoji 🚀", "שלום", "'\"><img src=x onerror=alert(1)>")
BINS = ("<16", "16-32", "32-64")


@pytest.fixture(scope="session")
def make_facts(make_record: Callable[..., RunRecord]) -> Callable[..., Facts]:
    """Facts of made-up runs: every row is two AP better than the one before it."""

    def make_facts(
        rows: Sequence[str] = ("atss", "fcos", "paa"),
        datasets: Sequence[str] = ("shapes",),
        seeds: Sequence[int] = (0, 1, 2),
        *,
        pictures: int | None = 40,
        step: float = 0.02,
        going_on: Sequence[Unfinished] = (),
        baseline: str | None = None,
        leave_out: Callable[[str, str, int], bool] = lambda *_: False,
        **more: Any,
    ) -> Facts:
        random = np.random.default_rng(0)
        records, moved, logs = [], {}, {}
        for dataset in datasets:
            for place, row in enumerate(rows):
                for seed in seeds:
                    luck = random.normal(0, 0.002)
                    if leave_out(row, dataset, seed):
                        continue
                    record = make_record(row, seed, 0.3 + step * place + luck, dataset=dataset, **more)
                    few = {name: record.metrics[name] for name in ("AP", "AP50", "APl")}
                    record = record.model_copy(update={"metrics": few})
                    records.append(record)
                    logs[record.run_id] = Logs(curve(losses()), curve(statistics(place)), curve(validation(place)))
                    if pictures is not None:
                        u = random.normal(0, 0.05, (1, pictures))
                        moved[record.run_id] = dict.fromkeys(METRICS, u - u.mean())
        return gather(records, logs=logs, pictures=moved, going_on=going_on, baseline=baseline)

    return make_facts


def losses() -> list[dict[str, float]]:
    """A log of 100 lines."""
    return [
        {"iteration": i, "lr": 0.01, "class": math.exp(-i / 50), "box": 1.0, "total": 1 + math.exp(-i / 50)}
        for i in range(1, 101)
    ]


def validation(place: int) -> list[dict[str, float]]:
    """Losses on the evaluation split, at the end of two epochs."""
    return [
        {
            "iteration": iteration,
            "validation/box": 1.1,
            "validation/total": 2.0,
            "common/box": 0.5 + place,
            "common/total": 1.0 + place,
        }
        for iteration in (50, 100)
    ]


def statistics(place: int) -> list[dict[str, Any]]:
    """Three epochs in which assignment changes a little."""
    return [
        {
            "iteration": 10 * (epoch + 1),
            "epoch": epoch,
            **{f"positives/{name}": float((place + 1) * (epoch + 4)) for name in BINS},
            **{f"without_positive/{name}": 0.1 / (epoch + 1) for name in BINS},
            "positives/>=256": None,
            **{f"level/P{level}": 0.2 for level in range(3, 8)},
        }
        for epoch in range(3)
    ]
