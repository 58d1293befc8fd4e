"""Where a detector detects best: of each object the place of its best location, averaged over a category.

A centre prior moves to where locations detect an object well, P⁺ = p · exp(−λ L_box). A run whose strategy teaches all
locations of a box alike (`plain`) shows where that is before any prior has a say; it need not be where the mass is.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from assignbench.core import best_of, centers, inside_pairs
from assignbench.core.head import MAIN
from assignbench.data.dataset import Dataset
from assignbench.data.load.batch import Batch, load_batch
from assignbench.data.load.transforms import View
from assignbench.figures.canvas import signed
from assignbench.figures.runs import ShownRun

if TYPE_CHECKING:
    from rich.table import Table

PICTURES = 1000  # of the training split, the first; more would move no mean by much

Point = tuple[float, float]


@dataclass(frozen=True)
class Place:
    """A mean place, in box sizes from the box centre: x to the right, y down."""

    mean: Point
    error: Point  # standard error of the mean; NaN for a single object


@dataclass(frozen=True)
class BestPlace:
    """Of one category."""

    objects: int  # that have a location
    likelihood: Place  # of the location with the highest P⁺
    classes: Place  # with the highest class probability
    boxes: Place  # with the lowest box loss


def best_places(run: ShownRun, dataset: Dataset) -> dict[str, BestPlace]:
    """Category → where the run detects it best; categories without a location in any box are missing.

    Of the first `PICTURES`, sized as for evaluation. Of an object's equally good locations the first counts, the
    finest level's.
    """
    view, device = View(*run.recipe.data.test_sides), run.learner.detector.mean.device
    parts = []
    for index, image in enumerate(islice(dataset.images, PICTURES)):  # alone: padding to another's size moves outputs
        batch = load_batch(dataset, [index], [view.geometry(image.width, image.height)])
        parts.append(_best_in(run, batch.to(device)))
    labels = torch.cat([label for label, _ in parts])
    places = torch.cat([place for _, place in parts]).double()  # [object, measure, 2]
    found = {}
    for label, name in enumerate(dataset.classes):
        mine = places[labels == label]
        if len(mine):
            found[name] = BestPlace(len(mine), *(_mean(mine[:, measure]) for measure in range(3)))
    return found


@torch.no_grad()
def _best_in(run: ShownRun, batch: Batch) -> tuple[Tensor, Tensor]:
    """Label of each object that has a location, and the places of its best ones: ``[object]``, ``[object, 3, 2]``."""
    learner, targets = run.learner, batch.targets
    predictions, priors = learner.detector(batch.images, batch.sizes)
    with torch.autocast(batch.images.device.type, enabled=False):
        objects, locations = inside_pairs(targets, priors)
        pair = learner.views({MAIN: (predictions, priors)}, targets)[MAIN](objects, locations)
        offset = (pair.point - centers(pair.true)) / (pair.true[:, 2:] - pair.true[:, :2])
        places = [offset[best_of(objects, -cost)] for cost in (pair.cost, pair.class_part, pair.box_part)]
    return targets.labels[objects.unique()].cpu(), torch.stack(places, dim=1).cpu()


def _mean(places: Tensor) -> Place:
    """Over objects: ``[object, 2]``."""
    mean = places.mean(0)
    spread = (places - mean).square().sum(0) / (len(places) - 1) if len(places) > 1 else mean * math.nan
    (x, y), (error_x, error_y) = mean.tolist(), (spread / len(places)).sqrt().tolist()
    return Place((x, y), (error_x, error_y))


def best_table(prior_run: ShownRun, best_run: ShownRun, found: dict[str, BestPlace]) -> Table:
    """Learned μ beside the centre of mass and the places of the best locations, and how they go together."""
    from rich.table import Table

    table = Table(
        title=f"where {best_run.name} (run {best_run.short_id}) detects best, in box sizes from the box centre"
    )
    for heading in ("class", "objects", "μ, strides", "mass", "best location", "by class alone", "by box alone"):
        table.add_column(heading, justify="left" if heading == "class" else "right", no_wrap=True)
    priors, offsets = prior_run.record.learned, prior_run.record.true_offsets or {}
    ours, mass, best = [], [], []
    for name, one in found.items():
        prior, offset = priors.get(name) or priors.get("all"), offsets.get(name)
        table.add_row(
            name,
            f"{one.objects:,}",
            "–" if prior is None else signed(prior["mu_x"], prior["mu_y"]),
            "–" if offset is None else signed(*offset),
            *(_shown(place) for place in (one.likelihood, one.classes, one.boxes)),
        )
        if name in priors and offset is not None:
            ours += [priors[name]["mu_x"], priors[name]["mu_y"]]
            mass += offset
            best += one.likelihood.mean
    said = [
        f"with the {what}: {r}" for what, other in (("mass", mass), ("best location", best)) if (r := _r(ours, other))
    ]
    if said:
        table.caption = f"correlation of μ over {len(ours) // 2} classes and both axes, {'; '.join(said)}"
    return table


def _shown(place: Place) -> str:
    text = ", ".join(
        f"{mean:+.3f}" + ("" if math.isnan(error) else f" ± {error:.3f}")
        for mean, error in zip(place.mean, place.error, strict=True)
    )
    return text.replace("-", "−")


def _r(ours: Sequence[float], others: Sequence[float]) -> str:
    """Pearson's r; empty where one side does not vary."""
    if len(set(ours)) < 2 or len(set(others)) < 2:
        return ""
    return f"{statistics.correlation(ours, others):+.2f}".replace("-", "−")
