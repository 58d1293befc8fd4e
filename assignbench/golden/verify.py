"""Every file of vectors in a folder, replayed with the preset of the implementation it came from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from assignbench.config import ResolvedRecipe, load_recipe
from assignbench.core import Assigner
from assignbench.errors import DataError, UsageError
from assignbench.golden.checks import Check, Replay
from assignbench.golden.detections import replay_detections
from assignbench.golden.losses import replay_losses
from assignbench.golden.network import build_network, replay_network
from assignbench.golden.reference import origin_of
from assignbench.golden.trajectory import replay_trajectory
from assignbench.golden.vectors import Vectors, find, read_object, read_tensors
from assignbench.run.matrix.plan import candidate
from assignbench.run.matrix.protocol import PAPERS_RECIPE, Protocol
from assignbench.run.scoring.detect import rule_of
from assignbench.run.training.learner import Learner
from assignbench.trust import require_known


@dataclass(frozen=True)
class Skipped:
    """Vectors of a strategy that cannot be replayed."""

    strategy: str
    files: int
    reason: str


@dataclass(frozen=True)
class Report:
    """What became of a folder."""

    preset: str
    replays: tuple[Replay, ...]
    skipped: tuple[Skipped, ...]

    @property
    def passed(self) -> bool:
        """Whether something was replayed, and all of it is within its tolerance."""
        return bool(self.replays) and all(replay.passed for replay in self.replays)


@dataclass(frozen=True)
class Subject:
    """A strategy under its preset: what is put to the test."""

    cls: type[Assigner]
    options: Mapping[str, Any]
    protocol: Protocol
    recipe: ResolvedRecipe


def verify(
    folder: Path,
    *,
    preset: str = "mmdet",
    device: str = "cpu",
    subject_of: Callable[[str, str], Subject] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Report:
    """Replay a folder of golden vectors.

    Args:
        folder: with ``losses/``, ``network/``, ``detections/`` and ``trajectory/``, or some of them.
        preset: of the implementation that the vectors came from.
        device: where to compute.
        subject_of: what to test for a strategy's name and preset; None: the installed strategy.
        progress: told the name of every file before it is replayed.

    Raises:
        UsageError: there are no vectors.
        DataError: a file is damaged or does not hold what its kind should.
    """
    subject_of = cache(subject_of or installed)
    replays, reasons, counts = [], {}, {}
    for vectors in find(folder):
        if reason := origin_of(vectors.strategy).why_missing(vectors.kind, vectors.case):
            name = f"{vectors.strategy} {vectors.kind}/{vectors.case}"
            reasons[name], counts[name] = reason, 1
            continue
        try:
            subject = subject_of(vectors.strategy, preset)
        except UsageError as error:
            reasons[vectors.strategy] = str(error).splitlines()[0]
            counts[vectors.strategy] = counts.get(vectors.strategy, 0) + 1
            continue
        progress(f"{vectors.strategy} {vectors.kind}/{vectors.case}")
        try:
            checks, notes = replay(vectors, folder, subject, torch.device(device))
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            RuntimeError,
            TypeError,
            ValueError,
        ) as error:  # shapes that do not go together
            reason = f"{type(error).__name__}: {error}".partition("\n")[0]
            raise DataError(f"{vectors.path} is no golden vector of this kind: {reason}") from error
        replays.append(Replay(vectors.strategy, vectors.kind, vectors.case, tuple(checks), tuple(notes)))
    skipped = tuple(Skipped(name, counts[name], reason) for name, reason in reasons.items())
    return Report(preset, tuple(replays), skipped)


def installed(name: str, preset: str) -> Subject:
    """The installed strategy that a reference calls so, its preset and the papers' recipe under it.

    Raises:
        UsageError: there is no such strategy, it is not installed, or it has no such preset.
    """
    origin = origin_of(name)
    require_known(origin.assigner, "a golden vector")
    one = candidate(origin.assigner, "published", origin.preset or preset)
    options = {**one.options, **origin.options}
    return Subject(one.cls, options, one.protocol, one.protocol.recipe(load_recipe(PAPERS_RECIPE)))


def replay(vectors: Vectors, folder: Path, subject: Subject, device: torch.device) -> tuple[list[Check], list[str]]:
    """One file."""
    cls, options, protocol, recipe = subject.cls, subject.options, subject.protocol, subject.recipe.recipe
    if vectors.kind == "losses":
        return replay_losses(read_tensors(vectors.path, device), cls, options, protocol, origin_of(vectors.strategy))
    if vectors.kind == "detections":
        file = read_tensors(vectors.path, device)
        rule, origin = rule_of(recipe.evaluate), origin_of(vectors.strategy)
        return list(replay_detections(file, cls, options, protocol, rule, origin)), []
    network = folder / "network" / f"{vectors.strategy}.safetensors"
    file = read_tensors(network, device)

    def build() -> Learner:
        return build_network(network.with_suffix(".keys.json"), cls, options, recipe.model, protocol).to(device)

    if vectors.kind == "network":
        return list(replay_network(file, build(), origin_of(vectors.strategy))), []
    return replay_trajectory(read_object(vectors.path), vectors.path, file["image"], build, origin_of(vectors.strategy))


def rows(report: Report) -> Iterator[dict[str, Any]]:
    """One entry a check, for ``--json``."""
    for one in report.replays:
        for check in one.checks:
            yield {
                "strategy": one.strategy,
                "kind": one.kind,
                "case": one.case,
                "group": check.group,
                "worst": check.worst.error if math.isfinite(check.worst.error) else None,  # JSON has no infinity
                "where": check.worst.name,
                "tolerance": check.tolerance,
                "passed": check.passed,
                "notes": list(one.notes),
            }
