"""Does the learned centre prior point where the mass is? Learned μ beside the true offsets of `shapes`."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from assignbench.run.results.record import RunRecord


def prior_notes(label: str, records: Sequence[RunRecord], least: float) -> list[str]:
    """A sentence on the correlation of learned and true offsets; nothing for a row without a prior of its classes.

    μ is in strides and the true offset in box sizes: they have no common unit, and the correlation needs none.

    Args:
        label: of the row.
        records: its runs, one a seed.
        least: box sizes from which on an offset counts as one.
    """
    rows = [pairs_of(record) for record in records]
    rows = [pairs for pairs in rows if pairs]
    if not rows:
        return []
    parts = []
    for axis, name in enumerate(("x", "y")):
        found = [correlation([(mu[axis], true[axis]) for _, mu, true in pairs]) for pairs in rows]
        parts.append(f"{name} {spread(found)}")
    both = [correlation([pair for _, mu, true in pairs for pair in zip(mu, true, strict=True)]) for pairs in rows]
    signs = [
        (mu[axis] > 0) == (true[axis] > 0)
        for pairs in rows
        for _, mu, true in pairs
        for axis in (0, 1)
        if abs(true[axis]) >= least
    ]
    said = (
        f"{label}: correlation of learned μ and true offset over {len(rows[0])} classes: r = {spread(both)} "
        f"({', '.join(parts)}); where that offset is at least {least:g} box sizes along an axis, μ has its sign in "
        f"{sum(signs)} of {len(signs)} cases ({len(rows)} seed{'s' if len(rows) > 1 else ''})"
    )
    return [said]


def pairs_of(record: RunRecord) -> list[tuple[str, tuple[float, float], tuple[float, float]]]:
    """Class, learned μ and true offset, of a run that learned one for each class and knows the truth."""
    prior, truth = record.learned, record.true_offsets
    if not truth or len(prior) < 2:
        return []
    return [
        (name, (one["mu_x"], one["mu_y"]), truth[name])
        for name, one in prior.items()
        if name in truth and "mu_x" in one
    ]


def correlation(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Pearson's r; None where one side does not vary, as a μ that is not learned."""
    ours, theirs = zip(*pairs, strict=True)
    if len(pairs) < 2 or len(set(ours)) == 1 or len(set(theirs)) == 1:
        return None
    r = statistics.correlation(ours, theirs)
    return r if math.isfinite(r) else None


def spread(values: Sequence[float | None]) -> str:
    """Mean ± standard deviation over the seeds."""
    known = [value for value in values if value is not None]
    if not known:
        return "undefined (μ does not vary)"
    mean = f"{statistics.fmean(known):.2f}".replace("-", "−")
    return mean if len(known) == 1 else f"{mean} ± {statistics.stdev(known):.2f}"
