"""Where a run teaches the objects of some pictures: read off its strategy's own record, as the figures do.

Each location counts with its weight as a fraction of its object's largest weight, since weights of different strategies
have no common unit. Of several anchors in one cell the largest fraction counts. Of each object the locations with the
largest fractions are kept; how many are left out is counted.

Only strategies of assignbench itself are run: a page is made of runs that may come from anywhere, and a record names
any file or module it likes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from assignbench.data.dataset import Dataset
from assignbench.errors import AssignbenchError
from assignbench.figures.taught import Taught, teach
from assignbench.figures.weights import LEAST
from assignbench.plugins import known_strategies, resolve, strategies_in
from assignbench.run.results.names import WEIGHTS
from assignbench.run.results.record import FILE, RunRecord, read_record_of
from assignbench.run.scoring.reopen import open_run, strategy_of
from assignbench.run.training.device import device_of

MOST = 12  # locations of an object that are kept


@dataclass(frozen=True)
class Locations:
    """Where one run teaches the objects of one picture; coarse levels first, and of a level the small fractions."""

    places: tuple[tuple[float, float], ...]  # [location] x, y in pixels of the original picture
    levels: tuple[int, ...]  # [location] 0 = P3
    fractions: tuple[float, ...]  # [location] of the object's largest weight
    objects: tuple[int, ...]  # [location] number among the picture's objects that are no crowd region
    left_out: int  # locations that have a weight and are not among these
    untaught: int  # objects that are taught nowhere


def assigned_locations(
    folder: Path,
    record: RunRecord,
    dataset: Dataset,
    chosen: Sequence[int],
    device: str = "auto",
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[tuple[Locations, ...] | None, tuple[str, ...]]:
    """What a run's weights assign in some pictures; one forward pass each.

    Args:
        folder: of the run.
        record: of the run.
        dataset: the split that the pictures are from.
        chosen: places of the pictures in ``dataset.images``.
        device: auto, cpu or cuda.
        progress: is told what is being done.

    Returns:
        The locations of each picture, and what a reader has to know of them; or None and the reason.
    """
    try:
        own = read_record_of(record.run_id, folder.parent)  # what `open_run` goes by
        if (foreign := _foreign(strategy_of(own, folder / FILE))) is not None:
            return None, (foreign,)
        if not (folder / WEIGHTS).is_file():
            return None, ("the weights are not there",)
        run = open_run(folder)
        learner = run.learner.to(device_of(device)).eval()
        found = []
        for number, index in enumerate(chosen, start=1):
            progress(f"locations of {record.row}: picture {number} of {len(chosen)}")
            taught = teach(learner, dataset, index, run.recipe.recipe.data)
            found.append(strongest(taught, int((~dataset.crowd[dataset.objects_of(index)]).sum())))
    except AssignbenchError as error:
        return None, (str(error).partition("\n")[0],)
    return tuple(found), run.notes


def strongest(taught: Taught, objects: int, most: int = MOST) -> Locations:
    """The locations of each object with the largest weights.

    Args:
        taught: of a picture.
        objects: how many it has.
        most: locations of an object.
    """
    pairs, priors = taught.assignment.pairs, taught.priors
    owner, location = pairs.object.cpu().numpy(), pairs.location.cpu().numpy()
    weight = pairs.weight.detach().double().cpu().numpy()
    some = weight > 0
    owner, location, weight = owner[some], location[some], weight[some]
    largest = np.zeros(objects)
    np.maximum.at(largest, owner, weight)
    fraction = weight / largest[owner]
    cell = location // taught.grid.anchors  # every level starts with a whole cell
    order = np.lexsort((-fraction, cell, owner))
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = (np.diff(cell[order]) != 0) | (np.diff(owner[order]) != 0)
    order = order[first]
    order = order[np.lexsort((cell[order], -fraction[order], owner[order]))]
    rank = np.arange(len(order)) - np.searchsorted(owner[order], owner[order])
    kept = order[(rank < most) & (fraction[order] >= LEAST)]
    level = priors.level.numpy()
    kept = kept[np.lexsort((fraction[kept], -level[location[kept]]))]
    places = priors.points.double().numpy()[location[kept]] / np.array(taught.scale)
    return Locations(
        tuple((x, y) for x, y in places.tolist()),
        tuple(level[location[kept]].tolist()),
        tuple(fraction[kept].tolist()),
        tuple(owner[kept].tolist()),
        len(order) - len(kept),
        int((largest == 0).sum()),
    )


def _foreign(text: str) -> str | None:
    """Why a strategy is not run here: it, or one among its options, is not assignbench's own. None: it is run.

    Raises:
        UsageError: there is no such strategy.
    """
    own = {known.name for known in known_strategies() if known.ours}
    strategy = resolve(text)
    if strategy.name not in own:
        return f"its strategy comes from {strategy.origin}, whose code a report does not run; `assignbench figure` does"
    inner = strategies_in(strategy.load(), strategy.options).values()
    return next((reason for one in inner if (reason := _foreign(one)) is not None), None)
