"""Finished runs in Python: `load` makes a frame of them, `compare` a table with honest differences.

runs = assignbench.load("runs")                                      # one row a run
table = assignbench.compare(runs[runs.seed < 3], baseline="atss")    # shows itself in a notebook
table.frame                                                          # one row a data set, strategy and metric
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pandas import DataFrame

    from assignbench.comparison.table import Table
    from assignbench.run.results.finished import FoundRuns


ABOUT, SPREAD = ("strategies", "set", "networks"), ("auto", "own", "shared")
NUMBERS = ("mean", "std", "difference", "low", "high", "p", "p_family", "freedom", "sd_seed", "sd_images")


@dataclass(frozen=True)
class Comparison:
    """A table; in a notebook it shows itself."""

    table: Table
    damaged: tuple[str, ...] = ()  # of every record that could not be read, why; `notes` say it, too

    @property
    def frame(self) -> DataFrame:
        """One row per data set, strategy and metric, percent points unrounded: what ``--format csv`` writes."""
        from assignbench.comparison.render import values

        return _typed(values(self.table))

    @property
    def pairs(self) -> DataFrame:
        """One row per data set, metric and pair of strategies, percent points unrounded."""
        from assignbench.comparison.render import pair_values

        return _typed(pair_values(self.table))

    @property
    def notes(self) -> tuple[str, ...]:
        """What the signs of the table mean, what its data sets say together, and what has to be known of the runs."""
        from assignbench.comparison.across import across_lines

        legend = dict.fromkeys(line for block in self.table.blocks for line in block.legend)
        return (*legend, *across_lines(self.table), *self.table.notes)

    def to_markdown(self) -> str:
        """As ``--format markdown``."""
        from assignbench.comparison.render import markdown

        return markdown(self.table)

    def to_latex(self) -> str:
        """As ``--format latex``; the preamble needs the package booktabs."""
        from assignbench.comparison.render import latex

        return latex(self.table)

    def to_html(self) -> str:
        """As ``--format html``."""
        from assignbench.comparison.render import html

        return html(self.table)

    def _repr_html_(self) -> str:
        return self.to_html()

    def __str__(self) -> str:
        return self.to_markdown()


def load(folder: str | Path = "runs") -> DataFrame:
    """The finished runs of a folder.

    Args:
        folder: the one that ``assignbench run`` wrote to; also one that holds such, a run, or its record.

    Returns:
        One row a run, ordered by data set, strategy and seed: ``dataset``, ``strategy`` as tables write it,
        ``protocol``, ``recipe``, ``seed``, every metric in percent points (missing: no ground truth), ``iterations``,
        ``parameters``, ``seconds``, ``images_per_second``, ``finished``, ``run_id`` and ``folder``.

    Raises:
        UsageError: there is no finished run.
        RunError: no record can be read.
        AssignbenchWarning: some records cannot be read; they are left out.
    """
    from pandas import DataFrame

    from assignbench.errors import AssignbenchWarning
    from assignbench.run.results.finished import find_runs
    from assignbench.run.results.record import named_apart

    found = find_runs(Path(folder))
    for reason in found.damaged:
        warnings.warn(f"left out: {reason}", AssignbenchWarning, stacklevel=2)
    records = named_apart(found.records)
    metrics = dict.fromkeys(metric for record in records for metric in record.metrics)
    rows = [
        {
            "dataset": record.dataset.name,
            "strategy": record.row,
            "protocol": record.protocol,
            "recipe": record.recipe,
            "seed": record.seed,
            **{name: None if (value := record.metrics.get(name)) is None else 100 * value for name in metrics},
            "iterations": record.iterations,
            "parameters": record.parameters,
            "seconds": record.seconds.total,
            "images_per_second": record.images_per_second,
            "finished": record.finished,
            "run_id": record.run_id,
            "folder": str(place),
        }
        for (place, _), record in zip(found.runs, records, strict=True)
    ]
    frame = DataFrame(rows).astype(dict.fromkeys(metrics, "Float64"))
    return frame.sort_values(["dataset", "strategy", "seed"], ignore_index=True)


def compare(
    runs: str | Path | Sequence[str | Path] | DataFrame = "runs",
    *,
    baseline: str | None = None,
    metrics: Sequence[str] | None = None,
    strategies: Sequence[str] | None = None,
    dataset: str | None = None,
    recipe: str | None = None,
    protocol: str | None = None,
    labels: Mapping[str, str] = MappingProxyType({}),
    about: Literal["strategies", "set", "networks"] = "strategies",
    spread: Literal["auto", "own", "shared"] = "auto",
    data_root: str | Path | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Comparison:
    """Put finished runs into one table, as ``assignbench compare`` does; the documentation says how (guide/compare).

    Args:
        runs: a folder of runs, one that holds such, a run or its record, several of these, or some rows of `load`.
        baseline: strategy that the others are held against.
        metrics: columns; None: AP, AP50, AP75, APs, APm, APl.
        strategies: only these; None: all.
        dataset: only the runs on this data set; None: on all.
        recipe: only the runs of this recipe; None: of all.
        protocol: only the runs under this protocol; None: under all.
        labels: strategy → what the table calls it.
        about: the question that differences answer.
        spread: whose spread over seeds counts.
        data_root: folder of the data sets, where matches have to be made again.
        progress: is told what is being done.

    Raises:
        UsageError: there are no such runs, they must not stand in one table, or a name is unknown.
        RunError: no record can be read, or a file of matches is damaged.
    """
    from assignbench.errors import UsageError
    from assignbench.judging import influences_of

    for name, value, known in (("about", about, ABOUT), ("spread", spread, SPREAD)):
        if value not in known:
            raise UsageError(f"{name}={value!r} must be one of {', '.join(known)}")
    if metrics is not None and (isinstance(metrics, str) or not metrics):
        raise UsageError(f"metrics={metrics!r} must be a list of names, as ['AP', 'AP50'], or None")
    found = selected(runs, strategies=strategies, dataset=dataset, recipe=recipe, protocol=protocol)

    from assignbench.comparison.table import METRICS
    from assignbench.comparison.table import compare as tabulate

    columns = METRICS if metrics is None else metrics
    root = None if data_root is None else Path(data_root)
    pictures, remarks = influences_of(found.runs, columns, root, progress)
    table = tabulate(
        found.records,
        baseline=None if baseline is None else canonical(baseline),
        metrics=columns,
        pictures=pictures,
        labels={canonical(row): label for row, label in labels.items()},
        about=about,
        spread=spread,
        remarks=[*remarks, *(f"left out: {reason}" for reason in found.damaged)],
    )
    return Comparison(table, found.damaged)


def selected(
    runs: str | Path | Sequence[str | Path] | DataFrame,
    *,
    strategies: Sequence[str] | None = None,
    dataset: str | None = None,
    recipe: str | None = None,
    protocol: str | None = None,
) -> FoundRuns:
    """The runs that are meant, and which records could not be read; the arguments are those of `compare`.

    Raises:
        UsageError: there are no such runs.
        RunError: no record can be read.
    """
    from assignbench.comparison.checks import select

    found = _found(runs)
    chosen = select(
        found.records,
        strategies=None if strategies is None else [canonical(each) for each in strategies],
        dataset=dataset,
        recipe=recipe,
        protocol=protocol,
    )
    kept = {record.run_id: record for record in chosen}
    runs_kept = tuple((folder, kept[record.run_id]) for folder, record in found.runs if record.run_id in kept)
    return replace(found, runs=runs_kept)


def canonical(row: str) -> str:
    """A row's name as tables write it: ``atss[b=1,a=2]`` → ``atss[a=2,b=1]``; a preset in brackets stays behind it."""
    if "[" not in row:
        return row
    from assignbench.options import format_strategy, parse_strategy, without_folders

    strategy, space, preset = row.partition(" (")
    wanted = parse_strategy(strategy)
    return without_folders(format_strategy(wanted.name, wanted.options, wanted.extras)) + space + preset


def _typed(frame: DataFrame) -> DataFrame:
    """Columns with the types of what they hold, also where every number of one happens to be whole."""
    return frame.convert_dtypes().astype({name: "Float64" for name in NUMBERS if name in frame})


def _found(runs: str | Path | Sequence[str | Path] | DataFrame) -> FoundRuns:
    """The runs of places, or of the rows of a frame."""
    from assignbench.errors import UsageError
    from assignbench.run.results.finished import find_runs

    if isinstance(runs, str | Path):
        return find_runs(Path(runs))
    if isinstance(runs, Sequence):
        return find_runs(*map(Path, runs))
    if "folder" not in runs:
        raise UsageError("the frame has no column 'folder'; hand in rows of assignbench.load as they are")
    if runs.empty:
        raise UsageError("the frame has no rows; choose some of assignbench.load")
    return find_runs(*(Path(str(folder)) for folder in dict.fromkeys(runs["folder"])))
