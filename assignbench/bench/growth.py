"""``bench growth``: how time grows along one axis (objects, image, batch), and whether faster than the pairs.

pairs   object and location inside its box, of the whole batch; the priors of a cell count one by one
ms      assignment and loss, forward and backward, as in ``bench loss``; ``floor_ms`` likewise
empty   the same batch without its objects: what the strategy pays whatever is in the images
growth  the exponent of ms − empty_ms over pairs: `exponent.py`

The image axis keeps objects per area: pairs then grow with the area, objects × locations with its square.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import psutil
import torch

from assignbench.bench.exponent import Growth, GrowthRow, growth_of
from assignbench.bench.loss import problem_of
from assignbench.bench.measure import Task, clock_of, least_seconds, memory_advice, one_thread
from assignbench.bench.problem import Case, random_objects
from assignbench.bench.strategies import UNUSED
from assignbench.core import Head, Priors, Targets, inside_pairs
from assignbench.core.priors import map_sizes
from assignbench.data.load.heap import kept_heap
from assignbench.detector.detector import cached_priors
from assignbench.errors import SystemProblem
from assignbench.run.matrix.plan import Candidate
from assignbench.run.training.learner import bare_learner

SLICE = 64  # objects whose pairs are counted at once

FLOOR_BYTES = 8  # of the floor at its peak, in sizes of the raw outputs: with gradients and all that autograd keeps
PAIR_BYTES = 300  # of the strategy that keeps most about a pair, AutoAssign


@dataclass(frozen=True)
class GrowthReport:
    """All that was measured, what it says, and what was not measured."""

    rows: list[GrowthRow]
    growth: list[Growth]
    left_out: list[str]  # a sentence each


class TooLarge(Exception):  # noqa: N818 - a decision, not an error
    """A case is not measured; the message says why."""


def bench_growth(
    candidates: Sequence[Candidate],
    axes: Mapping[str, Sequence[Case]],
    *,
    device: torch.device,
    repeat: int,
    limit: float,
    progress: Callable[[str], None],
) -> GrowthReport:
    """Every strategy along every axis, until a case is too large.

    Args:
        candidates: strategies, each with its protocol.
        axes: cases of each axis, the smallest first.
        device: where to compute.
        repeat: samples.
        limit: seconds that one run may take.
        progress: told what is being measured.

    Raises:
        SystemProblem: every case is too large.
    """
    report = GrowthReport([], [], [])
    for one in candidates:
        label = one.label
        for axis, cases in axes.items():
            done: list[tuple[Case, GrowthRow]] = []
            for case in cases:
                progress(f"{label}, {axis}: {case}")
                try:
                    row = growth_row(one, axis, case, device=device, repeat=repeat, limit=limit, before=done[-1:])
                except (TooLarge, SystemProblem) as problem:  # what would come after is larger
                    report.left_out.append(f"{label}: the {axis} axis ends before {case}, which {problem}")
                    break
                done.append((case, row))
            rows = [row for _, row in done]
            report.rows.extend(rows)
            report.growth.append(growth_of(label, axis, rows))
    if not report.rows:
        raise SystemProblem(f"nothing was measured. {report.left_out[0]}")
    return report


def growth_row(
    one: Candidate,
    axis: str,
    case: Case,
    *,
    device: torch.device,
    repeat: int,
    limit: float,
    before: Sequence[tuple[Case, GrowthRow]],
) -> GrowthRow:
    """One strategy on one case; ``before``: the case before, if there was one.

    Raises:
        TooLarge: it is expected to need more memory than is free, or more time than the limit.
        SystemProblem: it did not fit into memory, against all expectation.
    """
    with memory_advice("against expectation"), kept_heap(), one_thread():
        learner = bare_learner(one, UNUSED, case.classes).to(device)
        priors = cached_priors(learner.head, case.height, case.width, device)
        pairs = count_pairs(random_objects(case).to(device), priors)
        needed, free = bytes_needed(learner.head, case, pairs), bytes_free(device)
        if needed > free:
            raise TooLarge(f"needs about {needed / 1e9:.1f} GB of memory; {free / 1e9:.1f} GB are free")
        for last, row in before:
            seconds = seconds_expected(last, row, case, pairs)
            if seconds > limit:
                raise TooLarge(f"would take about {seconds:.0f} s a run; --limit is {limit:g} s")
        problem = problem_of(learner, case, device)
        empty = replace(problem, targets=random_objects(replace(case, objects=0)).to(device))
        runs = (problem.floor, empty.charge, problem.charge)
        floor, without, spent = least_seconds([Task(run, problem.forget) for run in runs], repeat, clock_of(device))
    return GrowthRow(
        strategy=one.label,
        axis=axis,
        priors=learner.head.priors_per_cell,
        objects=case.objects,
        image=case.image,
        batch=case.batch,
        pairs=pairs,
        ms=round(1e3 * spent, 3),
        empty_ms=round(1e3 * without, 3),
        floor_ms=round(1e3 * floor, 3),
        ratio=round(spent / floor, 3),
    )


def count_pairs(targets: Targets, priors: Priors) -> int:
    """Pairs of an object and a location strictly inside its box, a few objects at a time."""
    count = 0
    for some in torch.arange(len(targets), device=targets.boxes.device).split(SLICE):
        part = Targets(targets.boxes[some], targets.labels[some], targets.image[some], targets.images)
        count += len(inside_pairs(part, priors)[0])
    return count


def bytes_needed(head: Head, case: Case, pairs: int) -> int:
    """Most memory that a case is expected to take: that of the floor, and of a strategy that keeps all pairs."""
    cells = sum(rows * columns for rows, columns in map_sizes(case.height, case.width))
    outputs = 4 * case.batch * cells * head.priors_per_cell * (case.classes + 4 + len(head.extras))
    return FLOOR_BYTES * outputs + PAIR_BYTES * pairs


def bytes_free(device: torch.device) -> int:
    """Memory that can be had."""
    if device.type == "cpu":
        return psutil.virtual_memory().available
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by torch, for the next tensor
    return torch.cuda.mem_get_info(device)[0] + kept


def seconds_expected(last: Case, row: GrowthRow, case: Case, pairs: int) -> float:
    """Of one run, from the case before: the empty pass grows with the locations, the rest with the pairs."""
    locations = case.height * case.width * case.batch / (last.height * last.width * last.batch)
    added = max(0.0, row.added_ms) * pairs / max(1, row.pairs)
    return (row.empty_ms * locations + added) / 1e3
