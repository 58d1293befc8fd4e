"""What became of the runs of some experiments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from accelerate import Accelerator
from rich.console import Console
from rich.text import Text

from assignbench.errors import AssignbenchError
from assignbench.reproduce.filled import Filled
from assignbench.reproduce.multiscale import with_views
from assignbench.reproduce.sheet import Line
from assignbench.run.matrix.ended import Ended
from assignbench.run.matrix.plan import Run
from assignbench.run.matrix.sharing import claimed
from assignbench.run.results.record import RunRecord, read_record_of
from assignbench.run.scoring.evaluate import Evaluation


@dataclass
class Outcomes:
    """What became of the runs so far."""

    records: dict[str, RunRecord] = field(default_factory=dict)  # by run id
    failures: dict[str, str] = field(default_factory=dict)  # run id → reason
    codes: set[int] = field(default_factory=set)  # exit codes of what failed

    def settled(self, run: Run) -> bool:
        """Whether a run has ended, well or badly."""
        return run.run_id in self.records or run.run_id in self.failures

    @property
    def code(self) -> int:
        """The exit code: 0, or what the failures have in common, else 1."""
        return min(self.codes) if len(self.codes) == 1 else int(bool(self.codes))

    def settle(self, run: Run, ended: Ended, folder: Path) -> None:
        """Note how a run ended: with a record, or with a reason why there is none."""
        if ended.code == 0:
            self.records[run.run_id] = read_record_of(run.run_id, folder)
        else:
            self.codes.add(ended.code)
            self.failures[run.run_id] = ended.reason.replace("\n", "; ")


def evaluated_in_views(
    line: Line, folder: Path, accelerator: Accelerator, console: Console, outcomes: Outcomes
) -> dict[int, Evaluation | str]:
    """Seed → numbers with the line's views, or why there are none; {}: it has none."""
    found: dict[int, Evaluation | str] = {}
    for run in line.runs if line.views else ():
        if run.run_id not in outcomes.records:
            continue
        console.print(Text(f"{run.title}: testing with the views of {line.views}"), soft_wrap=True)
        try:
            with claimed(folder / run.run_id, accelerator, lambda holder: console.print(f"waiting for {holder}")):
                record = outcomes.records[run.run_id]
                found[run.seed] = with_views(run, record, str(line.views), folder / run.run_id, accelerator)
        except AssignbenchError as error:
            console.print(Text.assemble(("failed", "bold red"), f": {error}"), soft_wrap=True)
            outcomes.codes.add(error.exit_code)
            found[run.seed] = str(error)
    return found


def filled(line: Line, evaluations: Mapping[int, Evaluation | str], outcomes: Outcomes) -> Filled:
    """A line with what its runs came to."""
    records = {run.seed: outcomes.records[run.run_id] for run in line.runs if run.run_id in outcomes.records}
    failures = {run.seed: outcomes.failures[run.run_id] for run in line.runs if run.run_id in outcomes.failures}
    numbers: Mapping[int, RunRecord | Evaluation] = records
    remarks: tuple[str, ...] = ()
    if line.views:
        numbers = {seed: found for seed, found in evaluations.items() if not isinstance(found, str)}
        failures |= {seed: found for seed, found in evaluations.items() if isinstance(found, str)}
        remarks = tuple(
            dict.fromkeys(f"{line.row.label}: {note}" for one in numbers.values() for note in one.notes[:1])
        )
    return Filled(
        line,
        records,
        failures,
        {seed: one.metrics for seed, one in numbers.items()},
        {seed: one.per_class for seed, one in numbers.items()},
        remarks,
    )
