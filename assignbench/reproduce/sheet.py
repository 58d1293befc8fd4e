"""From an experiment and a scale to a sheet: every row with its runs, resolved and checked before anything trains."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assignbench.config import ResolvedRecipe, load_recipe
from assignbench.data.dataset import Splits
from assignbench.errors import DataError, UsageError
from assignbench.recipe import BOOKKEEPING
from assignbench.reproduce.published import Published, published
from assignbench.reproduce.schema import Change, Experiment, Group, Row, RowChange, Scale, ScaleName, is_shipped
from assignbench.run.matrix.plan import Candidate, Run, candidate, plan
from assignbench.run.scoring.views import load_views


@dataclass(frozen=True)
class Request:
    """What ``assignbench reproduce`` was asked for; None: as the scale has it."""

    scale: ScaleName
    dataset: str | None = None
    recipe: str | None = None
    overrides: tuple[str, ...] = ()  # of --set
    seeds: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Line:
    """One row of a table, in one of its groups."""

    group: str | None
    row: Row  # as the scale has it
    dataset: str  # as it was asked for
    published: Published | None
    runs: tuple[Run, ...]  # by seed; (): nothing to run
    views: str | None = None  # the finished runs are evaluated with
    problem: DataError | None = None  # why there is nothing to run, beside row.not_built

    @property
    def trained_on(self) -> str | None:
        """Name of the data set; None: there is nothing to run."""
        return self.runs[0].splits.train.name if self.runs else None

    @property
    def strategy(self) -> str:
        """What is trained, as on the command line; empty where nothing is."""
        return self.runs[0].candidate.strategy.label if self.runs else self.row.strategy or ""


@dataclass(frozen=True)
class Sheet:
    """An experiment at a scale."""

    name: str  # table3, or the file's name
    experiment: Experiment
    scale_name: ScaleName
    scale: Scale
    lines: tuple[Line, ...]
    seeds: tuple[int, ...]
    settings: tuple[str, ...]  # of the recipe, that the experiment changes for all of its rows or for a group of them
    changes: tuple[str, ...]  # what the command line has instead of the experiment's or the scale's
    doubts: tuple[str, ...] = ()  # what else makes it another setting than the paper's, at a scale that has the paper's

    @property
    def faithful(self) -> bool:
        """Whether this is the paper's setting, so that a difference to a published value means something."""
        return self.scale.paper and not self.changes and not self.doubts


@dataclass(frozen=True)
class Opened:
    """How a sheet gets its data and its precision; both are opened once for all sheets."""

    data: Callable[[str], Splits]
    settle: Callable[[ResolvedRecipe], ResolvedRecipe]


def sheet_of(name: str, experiment: Experiment, file: Path, scale: Scale, request: Request, opened: Opened) -> Sheet:
    """Resolve every row of an experiment.

    Args:
        name: of the experiment.
        experiment: its content.
        file: its file, which data sets are named relative to.
        scale: what it runs on unless it says otherwise.
        request: what the command line has instead.
        opened: data sets and precision.

    Raises:
        UsageError: a request that contradicts the experiment, or a row that names what does not exist.
    """
    own = experiment.scales.get(request.scale, Change())
    refuse_contradictions(name, experiment, own, request)
    seeds = request.seeds or tuple(scale.seeds)
    groups: Iterable[Group | None] = experiment.groups or [None]
    lines = []
    for group in groups:
        change = merged(own, group.scales.get(request.scale, Change()) if group else Change())
        dataset = request.dataset or placed(change.dataset, file) or scale.dataset
        recipe = request.recipe or placed(change.recipe, file) or scale.recipe
        for row in (row_at(row, request.scale) for row in experiment.rows):
            value = published_of(experiment, group, row)
            views = placed(row.test_time, file)
            runs: tuple[Run, ...] = ()
            problem = None
            if row.not_built is None:
                try:
                    splits = opened.data(dataset)
                    runs = runs_of(name, row, views, scale, request, change, recipe, splits, seeds, opened.settle)
                except DataError as error:
                    problem = error
            lines.append(Line(group.name if group else None, row, dataset, value, runs, views, problem))
    settings, changes = settings_of(experiment, request), changes_of(own, file, scale, request)
    doubts = doubts_of(experiment, file, scale, lines)
    return Sheet(name, experiment, request.scale, scale, tuple(lines), seeds, settings, changes, doubts)


def runs_of(
    name: str,
    row: Row,
    views: str | None,
    scale: Scale,
    request: Request,
    change: Change,
    recipe: str,
    splits: Splits,
    seeds: tuple[int, ...],
    settle: Callable[[ResolvedRecipe], ResolvedRecipe],
) -> tuple[Run, ...]:
    """The runs of one row, the same that ``assignbench run`` with its settings as ``--set`` would make."""
    given = keys_of(request)
    if taken := sorted(given & set(row.set)):
        raise UsageError(
            f"--set {taken[0]}: {name} sets it itself in the row {row.label!r}, which would no longer be that row"
        )
    settings = {key: value for key, value in change.set.items() if key not in given}
    overrides = [*request.overrides, *as_overrides({**settings, **row.set})]
    try:
        resolved = settle(load_recipe(recipe, overrides))
        runs = tuple(plan([candidate_of(str(row.strategy), scale)], [splits], resolved, seeds))
        if views:  # one that cannot be used is said before hours of training, not after
            settled = runs[0].recipe.recipe
            load_views(views, settled.data, settled.evaluate)
        return runs
    except UsageError as error:
        load_recipe(recipe, request.overrides)  # raises if the command line is wrong by itself, and not the row
        raise UsageError(f"{name}, row {row.label!r}: {str(error).removeprefix('--set: ')}") from error


def candidate_of(text: str, scale: Scale) -> Candidate:
    """A strategy under the scale's protocol, with the preset that the scale wants of it."""
    name = text.partition("[")[0].partition("+")[0]
    preset = scale.presets.get(name) if scale.protocol == "published" else None
    return candidate(text, scale.protocol, preset)


def refuse_contradictions(name: str, experiment: Experiment, own: Change, request: Request) -> None:
    """Refuse to replace what the experiment is about.

    Raises:
        UsageError: with the reason.
    """
    if experiment.groups and (request.dataset or request.recipe):
        option = "--dataset" if request.dataset else "--recipe"
        raise UsageError(f"{option}: {name} is about its own data sets; name the other tables instead of this one")
    if request.recipe and (own.recipe or own.set):
        keys = ", ".join(own.set) or "the recipe"
        raise UsageError(
            f"--recipe {request.recipe}: at {request.scale}, {name} has {keys} of its own, made for its recipe; "
            "change single settings with --set"
        )


def keys_of(request: Request) -> set[str]:
    """The settings that the command line gives."""
    return {text.partition("=")[0].strip() for text in request.overrides}


def settings_of(experiment: Experiment, request: Request) -> tuple[str, ...]:
    """What the experiment changes of its recipes; a setting of the command line takes its place."""
    groups = [(f" ({group.name})", group.scales) for group in experiment.groups]
    return tuple(
        f"{text}{where}"
        for where, scales in [("", experiment.scales), *groups]
        if (change := scales.get(request.scale))
        for text in as_overrides({key: value for key, value in change.set.items() if key not in keys_of(request)})
    )


def changes_of(own: Change, file: Path, scale: Scale, request: Request) -> tuple[str, ...]:
    """What the command line has instead of the experiment's own, or the scale's; seeds and bookkeeping apart."""
    changes = []
    usual = placed(own.dataset, file) or scale.dataset
    if request.dataset and Path(request.dataset).resolve() != Path(usual).resolve():  # names are compared as they are
        changes.append(f"data set {request.dataset} instead of {own.dataset or scale.dataset}")
    if request.recipe not in (None, scale.recipe):
        changes.append(f"recipe {request.recipe} instead of {scale.recipe}")
    deciding = [text for text in request.overrides if text.partition("=")[0].strip() not in BOOKKEEPING]
    return (*changes, *(f"--set {text}" for text in deciding))


def doubts_of(experiment: Experiment, file: Path, scale: Scale, lines: Sequence[Line]) -> tuple[str, ...]:
    """Why this is another setting than the paper's although the scale is and the command line changes nothing."""
    doubts = []
    if not is_shipped(file):
        doubts.append(f"the experiment is one of your own, {file.name}")
    if not experiment.stated:
        doubts.append("the paper does not state its setting")
    for splits in dict.fromkeys(line.runs[0].splits for line in lines if line.runs and line.dataset == scale.dataset):
        held = [len(splits.train), len(splits.evaluation)]
        if scale.pictures is not None and held != scale.pictures:
            wanted = " and ".join(f"{count:,}" for count in scale.pictures)
            doubts.append(f"{splits.train.name} has {held[0]:,} and {held[1]:,} pictures, not {wanted}")
    return tuple(doubts)


def published_of(experiment: Experiment, group: Group | None, row: Row) -> Published | None:
    """The published values of a row in a group, if there are any."""
    elsewhere = group.elsewhere.get(row.label) if group else None
    reference = elsewhere or row.published
    if reference is None or (group and elsewhere is None and group.published is None):
        return None
    if isinstance(reference, int):
        return published(experiment.table, reference, group.published if group else None)
    return published(reference.table, reference.row, reference.dataset)


def merged(first: Change, then: Change) -> Change:
    """A change, and another on top of it."""
    return Change(
        dataset=then.dataset or first.dataset, recipe=then.recipe or first.recipe, set={**first.set, **then.set}
    )


def row_at(row: Row, scale: ScaleName) -> Row:
    """A row with what it has at one scale only."""
    change = row.scales.get(scale, RowChange())
    return row.model_copy(
        update={
            "strategy": change.strategy or row.strategy,
            "set": {**row.set, **change.set},
            "test_time": change.test_time or row.test_time,
            "reading": " ".join(filter(None, (row.reading, change.reading))) or None,
            "scales": {},
        }
    )


def placed(name: str | None, file: Path) -> str | None:
    """A file of a data set, recipe or set of views lies beside the experiment's; other names stay."""
    return str(file.parent / name) if name and name.endswith((".yaml", ".yml")) else name


def as_overrides(settings: Mapping[str, Any]) -> list[str]:
    """Settings as ``--set`` has them; JSON is YAML."""
    return [f"{key}={json.dumps(value)}" for key, value in settings.items()]
