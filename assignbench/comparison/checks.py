"""Which runs may stand in one table: on one data set, nothing may differ but the strategy and the seed."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence, Set
from typing import TypeVar

from assignbench.config import OVERRIDE
from assignbench.errors import UsageError
from assignbench.naming import is_opened_by
from assignbench.recipe import BOOKKEEPING
from assignbench.run.results.record import ResolvedValue, RunRecord, named_apart
from assignbench.suggest import did_you_mean

Key = TypeVar("Key", bound=Hashable)

SHOWN = 3  # differing keys, and runs a value, in one message

UNSET = "(not set)"


def select(
    records: Sequence[RunRecord],
    *,
    strategies: Sequence[str] | None = None,
    dataset: str | None = None,
    recipe: str | None = None,
    protocol: str | None = None,
) -> list[RunRecord]:
    """Some runs, their data sets by the names that tell them apart among all of the records; None takes all.

    Args:
        records: finished runs.
        strategies: rows, or labels without their preset.
        dataset: by its name, alone or as tables tell it apart from others, or by what opens it, as for `run`.
        recipe: by its name.
        protocol: controlled or published.

    Raises:
        UsageError: nothing is left, or nothing of a strategy; the message lists what there is.
    """
    labels = sorted({name for record in records for name in (record.row, record.assigner.label)})
    for wanted in strategies or ():
        if records and wanted not in labels:
            raise UsageError(f"no run of {wanted!r}{did_you_mean(wanted, labels)}\nthere are: {', '.join(labels)}")
    apart = [named.dataset for named in named_apart(records)]
    both = list(zip(records, apart, strict=True))
    meant = [(one, named) for one, named in both if dataset in (None, named.name, named.spec, one.dataset.name)]
    meant = meant or [(one, named) for one, named in both if dataset and is_opened_by(named.spec, dataset)]
    on_it = [record.model_copy(update={"dataset": named}) for record, named in meant]
    if records and dataset is not None and not on_it:
        names = sorted({named.name for named in apart})
        raise UsageError(f"no run on {dataset!r}{did_you_mean(dataset, names)}\nthere are: {', '.join(names)}")
    chosen = [
        record
        for record in on_it
        if recipe in (None, record.recipe)
        and protocol in (None, record.protocol)
        and (strategies is None or record.row in strategies or record.assigner.label in strategies)
    ]
    if records and not chosen:
        present = ", ".join(sorted({f"{record.recipe} ({record.protocol})" for record in records}))
        asked = (("recipe", recipe), ("protocol", protocol), ("data set", dataset))
        wanted = " and ".join(f"{name} {value!r}" for name, value in asked if value)
        raise UsageError(f"no run has {wanted}; there are: {present}")
    return chosen


def check_comparable(records: Sequence[RunRecord]) -> None:
    """Refuse a mixture, naming what differs and in which runs.

    Args:
        records: the runs of one data set name under one protocol.

    Raises:
        UsageError: several recipes, different data, pictures or settings, one row for two programs, or two runs of one
            strategy and seed, or one run under several seeds.
    """
    dataset = records[0].dataset.name
    recipes = _by(records, lambda record: record.recipe)
    if len(recipes) > 1:
        listed = "; ".join(f"{recipe}: {_runs(some)}" for recipe, some in recipes.items())
        raise UsageError(f"the runs on {dataset} mix recipes ({listed}); choose with --recipe")
    preset_keys = {key for record in records for key, entry in record.config.items() if _of_preset(entry)}
    _refuse_other_settings(dataset, records, preset_keys)
    _refuse_other_pictures(dataset, records)
    for label, some in _by(records, lambda record: record.row).items():
        _refuse_other_settings(dataset, some, frozenset())  # within a row, nothing is a matter of presets
        programs = _by(
            some,
            lambda record: (record.assigner.source_sha256, repr(sorted(record.assigner.options.items()))),
        )
        if len(programs) > 1:
            listed = " against ".join(_runs(group) for group in programs.values())
            raise UsageError(
                f"{label} on {dataset} stands for different code or options ({listed}); remove the old runs"
            )
        for seed, same in _by(some, lambda record: record.seed).items():
            if len(same) > 1:
                raise UsageError(
                    f"{label} on {dataset} with seed {seed} exists more than once ({_runs(same)}); remove one"
                )
        for same in _by(some, lambda record: record.weights_sha256).values():
            if len(same) > 1:
                raise UsageError(
                    f"{label} on {dataset} has the same weights with several seeds ({_runs(same)}): a copy tells "
                    "nothing of how far seeds lie apart; remove it"
                )


def caveats_of(records: Iterable[RunRecord]) -> tuple[str, ...]:
    """What the records of one data set say that a reader of its numbers must know, each sentence once."""
    return tuple(dict.fromkeys(caveat for record in records for caveat in record.dataset.caveats))


def environment_notes(records: Sequence[RunRecord]) -> list[str]:
    """What differs in software and machine among the runs of one data set: said, not refused."""
    columns: dict[str, Callable[[RunRecord], Hashable]] = {
        "assignbench version": lambda record: record.environment.assignbench,
        "commit": lambda record: _short(record.environment.commit),
        "torch version": lambda record: record.environment.torch,
        "evaluator": lambda record: record.scored_by,
        "precision": lambda record: record.environment.precision,
        "number of processes": lambda record: record.environment.processes,
        "device": lambda record: (record.environment.gpus or ("CPU",))[0],
    }
    notes = []
    for name, value_of in columns.items():
        values = sorted({str(value_of(record)) for record in records})
        if len(values) > 1:
            notes.append(f"{records[0].dataset.name}: the runs differ in {name} ({', '.join(values)})")
        elif name == "evaluator" and not values[0].startswith("pycocotools "):
            notes.append(f"{records[0].dataset.name}: scored by {values[0]}")
    return notes


def _refuse_other_settings(dataset: str, records: Sequence[RunRecord], preset_keys: Set[str]) -> None:
    flat = {record.run_id: _flat(record, preset_keys) for record in records}
    differing = []
    for key in sorted({key for settings in flat.values() for key in settings}):
        values = _by(records, lambda record, key=key: flat[record.run_id].get(key, UNSET))
        if len(values) > 1:
            told = " but ".join(f"{value} in {_runs(some)}" for value, some in values.items())
            differing.append(f"{key} = {told}")
    if differing:
        more = f"; and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
        raise UsageError(
            f"the runs on {dataset} differ in more than strategy and seed: "
            f"{'; '.join(differing[:SHOWN])}{more}. Keep runs with other settings in a folder of their own"
        )


def _refuse_other_pictures(dataset: str, records: Sequence[RunRecord]) -> None:
    """Runs that note the content of their evaluation pictures must note one; old records note none."""
    noted = [record for record in records if record.dataset.evaluation.content is not None]
    groups = _by(noted, lambda record: record.dataset.evaluation.content)
    if len(groups) > 1:
        told = " against ".join(_runs(some) for some in groups.values())
        raise UsageError(
            f"the evaluation pictures of {dataset} were changed between runs ({told}); repeat the assignbench run "
            "commands that made them: weights are evaluated again, not trained"
        )


def _flat(record: RunRecord, preset_keys: Set[str]) -> Mapping[str, str]:
    """What must agree, as text: data, classes and every setting that is neither strategy, seed nor place.

    A setting that some preset sets is part of the strategies, unless it was given by hand.
    """
    config = {
        key: "as published"
        if key in preset_keys and entry.origin != OVERRIDE
        else json.dumps(entry.value, sort_keys=True)
        for key, entry in record.config.items()
        if not _may_differ(key)
    }
    return {
        "classes": ", ".join(record.dataset.classes),
        "training data": record.dataset.train.fingerprint[:12],
        "evaluation data": record.dataset.evaluation.fingerprint[:12],
        **config,
    }


def _of_preset(entry: ResolvedValue) -> bool:
    return entry.origin.startswith("preset ")


def _may_differ(key: str) -> bool:
    return key.startswith("assigner.") or key in BOOKKEEPING


def _by(records: Iterable[RunRecord], key: Callable[[RunRecord], Key]) -> dict[Key, list[RunRecord]]:
    """Records grouped; ordered by key, then by run, so that messages do not depend on the order given."""
    groups: dict[Key, list[RunRecord]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return {name: sorted(groups[name], key=lambda record: record.run_id) for name in sorted(groups, key=str)}


def _short(commit: str | None) -> str:
    """The first letters of a commit and whether files differed from it."""
    return "none" if commit is None else commit[:8] + ("-dirty" if commit.endswith("-dirty") else "")


def _runs(records: Sequence[RunRecord]) -> str:
    more = f" and {len(records) - SHOWN} more" if len(records) > SHOWN else ""
    return "run " + ", ".join(record.run_id for record in records[:SHOWN]) + more
