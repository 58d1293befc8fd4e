"""Tables of `reproduce` from records alone, whose runs are not there any more, under today's statistics.

    python reports/scripts/from_records.py RECORDS OUTPUT EXPERIMENT… --scale small --recipe tiny

RECORDS is a folder of run folders, or of single records ``*.json``. A row takes the records of its strategy (with its
options), data set, recipe, protocol and seed, also if the code, and with it the name of the run, has changed since. A
row that changes other settings of the recipe is refused: a record could be of either. Detections and matches beside a
record are used as `reproduce` uses them.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from assignbench.cli.output import console
from assignbench.data.spec.locate import data_root
from assignbench.reproduce.conduct import sheets_of, write_tables
from assignbench.reproduce.filled import Filled
from assignbench.reproduce.pictures import with_pictures
from assignbench.reproduce.results import result_of
from assignbench.reproduce.schema import known_experiments
from assignbench.reproduce.sheet import Line, Request
from assignbench.run.results.record import FILE, RunRecord, read_record


def filled_from(line: Line, protocol: str, records: Sequence[RunRecord]) -> Filled:
    """A line with its records."""
    if line.row.set or line.views:
        raise SystemExit(f"{line.row.label}: its own settings are not told apart by a record")
    found: dict[int, RunRecord] = {}
    for run in line.runs:
        wanted = (line.strategy, run.splits.train.name, run.recipe.name, protocol, run.seed)
        some = [
            one
            for one in records
            if (one.assigner.label, one.dataset.name, one.recipe, one.protocol, one.seed) == wanted
        ]
        if len(some) > 1:
            raise SystemExit(f"{line.row.label}: {some[0].run_id} and {some[1].run_id} both fit")
        if some and some[0].dataset.evaluation.fingerprint != run.splits.evaluation.fingerprint:
            raise SystemExit(f"{some[0].run_id}: {some[0].dataset.name} is no longer the data it was evaluated on")
        if some:
            found[run.seed] = some[0]
    metrics = {seed: one.metrics for seed, one in found.items()}
    return Filled(line, found, {}, metrics, {seed: one.per_class for seed, one in found.items()})


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("experiments", nargs="+", help=f"{', '.join(known_experiments())} or a file")
    parser.add_argument("--scale", default="small")
    parser.add_argument("--recipe")
    given = parser.parse_args()
    files = sorted([*given.records.glob(f"*/{FILE}"), *given.records.glob("*.json")])
    records = [read_record(file) for file in files]
    for sheet in sheets_of(given.experiments, Request(given.scale, recipe=given.recipe), data_root(None), "cpu"):
        lines = [filled_from(line, sheet.scale.protocol, records) for line in sheet.lines]
        write_tables(result_of(sheet, with_pictures(sheet, lines, given.records)), given.output, console())


if __name__ == "__main__":
    main()
