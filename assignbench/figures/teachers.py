"""Strategies that are asked about one picture: with a finished run's weights, or with an untrained detector's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assignbench.config import load_recipe
from assignbench.core.assigner import NEEDS_NETWORK, asks_for
from assignbench.errors import AssignbenchError, RunError, UsageError
from assignbench.figures.given import with_classes
from assignbench.figures.picture import Picture
from assignbench.figures.runs import ShownRun, open_some
from assignbench.figures.taught import Taught, batch_of, geometry_of, taught_by
from assignbench.importing import in_words
from assignbench.recipe import DataSettings, ModelSettings
from assignbench.run.matrix.plan import Candidate, candidates
from assignbench.run.training.device import device_of
from assignbench.run.training.learner import Learner, build_learner

LADDER = ("tiny", "small", "scratch", "1x")  # shipped recipes by the size of their pictures
UNTRAINED = "tiny"  # recipe of the network that has learned nothing


@dataclass(frozen=True)
class Teacher:
    """A strategy with a detector whose predictions it may read."""

    name: str  # no two are called the same
    learner: Learner
    picture: Picture  # labelled by the detector's classes
    progress: float  # how far training is with these weights
    weights: str | None  # where they come from, in words; None: the strategy reads nothing of the network

    def teach(self, data: DataSettings, *, explained: bool = False) -> Taught:
        """What the picture teaches, sized as ``data`` says for evaluation.

        Raises:
            RunError: the strategy fails, or its record is impossible.
        """
        geometry = geometry_of(self.picture.info.width, self.picture.info.height, data)
        try:
            return taught_by(self.learner, batch_of(self.picture, geometry), self.progress, explained=explained)
        except AssignbenchError:
            raise
        except Exception as error:  # a stranger's strategy may raise anything
            raise RunError(f"{self.name} fails on {self.picture.title}: {in_words(error)}") from error


@dataclass(frozen=True)
class Size:
    """How large a picture enters the network."""

    recipe: str
    data: DataSettings

    def words(self, picture: Picture) -> str:
        """``256 × 192 network pixels (recipe tiny)``."""
        geometry = geometry_of(picture.info.width, picture.info.height, self.data)
        return f"{geometry.width} × {geometry.height} network pixels (recipe {self.recipe})"


def size_for(picture: Picture, recipe: str | None, runs: Sequence[ShownRun]) -> Size:
    """By the recipe that is named, else that of the first run, else the smallest shipped one that shrinks nothing.

    Raises:
        UsageError: there is no such recipe.
    """
    if recipe is None and runs:
        return Size(runs[0].record.recipe, runs[0].recipe.data)
    if recipe is None:
        short, long = sorted((picture.info.width, picture.info.height))
        sizes = {name: load_recipe(name).recipe.data for name in LADDER}
        fits = (name for name, data in sizes.items() if data.test_sides[0] >= short and data.test_sides[1] >= long)
        recipe = next(fits, LADDER[-1])
    resolved = load_recipe(recipe)
    return Size(resolved.name, resolved.recipe.data)


def teachers(
    strategies: Sequence[str], picture: Picture, runs: Sequence[ShownRun], seed: int, device: str
) -> list[Teacher]:
    """The strategies in their order, with the weights of the run of that strategy where there is one; then other runs.

    Args:
        strategies: as ``--assigner`` has them.
        picture: to be taught.
        runs: finished ones.
        seed: of the untrained detectors' weights.
        device: auto, cpu or cuda.

    Raises:
        UsageError: a strategy is unknown or named twice, or a run has not learned an object's class.
    """
    asked = candidates(strategies)
    labels = [one.label for one in asked]
    if repeated := next((label for label in labels if labels.count(label) > 1), None):
        raise UsageError(f"the strategy {repeated} is named twice")
    left = list(runs)
    found = []
    for one in asked:
        own = next((run for run in left if run.record.assigner.label == one.label), None)
        if own is not None:
            left.remove(own)
        found.append(_untrained(one, picture, seed, device) if own is None else _trained(own, picture))
    return found + [_trained(run, picture) for run in left]


def open_teachers(
    strategies: Sequence[str], picture: Picture, folders: Sequence[Path], seed: int, device: str, *, trust: bool = False
) -> tuple[list[Teacher], list[ShownRun]]:
    """As `teachers`, with runs that are named by their folders.

    Raises:
        UsageError: as `teachers` and `open_some`.
        RunError: a record or weights are damaged.
    """
    runs = open_some(folders, device, trust=trust)
    return teachers(strategies, picture, runs, seed, device), runs


def reads_network(learner: Learner) -> bool:
    """Whether a strategy's decision depends on weights: it asks for predictions, or the network predicts its priors."""
    asked = asks_for(type(learner.assigner))
    return not NEEDS_NETWORK.isdisjoint(asked) or learner.head.make is not None


def _trained(run: ShownRun, picture: Picture) -> Teacher:
    known = with_classes(picture, run.record.dataset.classes, f"the run {run.short_id}")
    return Teacher(run.name, run.learner, known, 1.0, f"run {run.short_id}" if reads_network(run.learner) else None)


def untrained() -> ModelSettings:
    """The network that has learned nothing: the smallest shipped one, whatever the recipe that sizes the picture."""
    return load_recipe(UNTRAINED).recipe.model


def _untrained(one: Candidate, picture: Picture, seed: int, device: str) -> Teacher:
    learner = build_learner(
        one.cls,
        one.options,
        untrained(),
        classes=max(1, len(picture.classes)),
        seed=seed,
        protocol=one.protocol,
        extras=one.extras,
        pretrained=False,
    )
    weights = f"untrained detector, seed {seed}" if reads_network(learner) else None
    return Teacher(one.label, learner.to(device_of(device)).eval(), picture, 0.0, weights)
