"""On which pictures two strategies differ most.

    u_ai   influence of picture i on AP of row a with one seed, percent points (`comparison.influences`)
    d_i    mean over the seeds that rows a and b share of u_ai − u_bi

Pictures come by falling |d|, whichever pair of rows it is of; each comes once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

import numpy as np

from assignbench.comparison.influences import Floats
from assignbench.errors import UsageError
from assignbench.run.results.record import RunRecord

COUNT = 12  # pictures
FEW_ROWS = 6  # up to here every pair of rows is looked at where there is no baseline
LEAST = 1e-9  # percent points; what is less is rounding


@dataclass(frozen=True)
class Contrast:
    """How much a picture moves the difference of two rows."""

    a: str
    b: str
    seeds: tuple[int, ...]  # that both have
    points: float  # percent points of AP; above 0: the picture speaks for a


def choose(
    records: Sequence[RunRecord],
    moved: Mapping[str, Floats],
    images: int,
    baseline: str | None = None,
    count: int = COUNT,
) -> tuple[list[tuple[int, Contrast]], list[str]]:
    """The pictures on which two rows differ most.

    Args:
        records: of one data set, rows named apart.
        moved: run id → ``[image]`` influences on AP, percent points.
        images: number of pictures.
        baseline: the row that the others are held against; None: every pair of rows, or of many rows every one against
            that of the highest AP.
        count: pictures at most.

    Returns:
        Places of pictures in the data set, the largest difference first, each with the pair of rows that differ most
        on it; of equal differences the first picture and the first pair. Pictures that move no difference are left out.
        And notes.

    Raises:
        UsageError: an unknown baseline, a negative count, or influences of other pictures.
    """
    if count < 0:
        raise UsageError(f"a gallery of {count} pictures cannot be; ask for 0 or more")
    for record in records:
        if (u := moved.get(record.run_id)) is not None and not (u.shape == (images,) and np.isfinite(u).all()):
            raise UsageError(f"{record.run_id}: not one finite influence for each of the {images} pictures")
    pairs, notes = _pairs(records, moved, baseline)
    found = []
    for a, b in pairs:
        one, other = (
            {record.seed: moved[record.run_id] for record in records if record.row == row and record.run_id in moved}
            for row in (a, b)
        )
        seeds = tuple(sorted(one.keys() & other.keys()))
        if not seeds:
            notes.append(f"{a} and {b} choose no picture: they share no seed whose influences are known")
            continue
        found.append((a, b, seeds, np.mean([one[seed] - other[seed] for seed in seeds], axis=0)))
    if not found:
        return [], notes
    points = np.stack([difference for *_, difference in found])  # [pair, image]
    size = np.round(np.abs(points) / LEAST)  # whole numbers, so that rounding decides no tie
    pair, image = (each.ravel() for each in np.indices(points.shape))
    order = np.lexsort((pair, image, -size.ravel()))
    order = order[size.ravel()[order] > 0]
    order = order[np.sort(np.unique(image[order], return_index=True)[1])][:count]  # each picture where it comes first
    if len(order) < count:
        notes.append(f"{len(order)} of {images} pictures move a difference")
    return [
        (int(image[one]), Contrast(*found[pair[one]][:3], points=float(points[pair[one], image[one]])))
        for one in order.tolist()
    ], notes


def _pairs(
    records: Sequence[RunRecord], moved: Mapping[str, Floats], baseline: str | None
) -> tuple[list[tuple[str, str]], list[str]]:
    """Pairs of rows that are held against each other, and notes."""
    rows = sorted({record.row for record in records})
    if baseline is not None and baseline not in rows:
        raise UsageError(f"no run of the baseline {baseline!r}; there are: {', '.join(rows)}")
    known = [row for row in rows if any(record.run_id in moved for record in records if record.row == row)]
    notes = [f"{row} chooses no picture: the influences of its runs are not known" for row in rows if row not in known]
    if baseline is None and len(known) > FEW_ROWS:
        baseline = max(known, key=lambda row: fmean(one.metrics["AP"] or 0.0 for one in records if one.row == row))
        notes.append(f"{len(known)} rows: each is held against {baseline}, which has the highest AP")
    if baseline is None:
        return list(combinations(known, 2)), notes
    return [(row, baseline) for row in known if row != baseline] if baseline in known else [], notes
