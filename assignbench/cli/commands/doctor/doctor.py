"""``assignbench doctor``: whether this machine can do what is asked of it, and what to do where it cannot."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assignbench.cli.arguments import DataRootOption, JsonOption
from assignbench.errors import SystemProblem

if TYPE_CHECKING:
    from rich.text import Text

    from assignbench.cli.commands.doctor.examining import Line

EXAMPLES = r"""[bold]Examples[/bold]

assignbench doctor   [dim]# some ten seconds[/dim]

assignbench doctor --output /scratch/runs --data-root /data

assignbench doctor --json > machine.json   [dim]# beside a report of a bug[/dim]
"""

COLUMNS = 80  # at most
STATE, NAME = 9, 16  # columns of the state and of the name
STYLES = {"fine": "green", "note": "yellow", "problem": "bold red"}


def doctor(
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder that gets the runs.")] = Path("runs"),
    data_root: DataRootOption = None,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out the self-test.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Look at versions, devices, memory, disks and variables, and try a step of training.

    Each line is fine, a note or a problem; where it is not fine it says what
    to do. The exit code is 4 when there is a problem. The self-test assigns by
    a rule that is reckoned by hand, holds gradients against differences, trains
    a step on the device and writes to the folder of runs; nothing of it stays.
    """
    from assignbench.cli.commands.doctor.examining import looked_at, topics
    from assignbench.cli.commands.doctor.selftest import tests
    from assignbench.cli.output import progress, show_json

    checks = topics(output, data_root) | ({} if quick else {"self-test": partial(tests, output)})
    found: list[Line] = []
    for topic, check in checks.items():
        progress(topic)
        found += looked_at(topic, check)
    progress("")
    counts = {state: sum(line.state == state for line in found) for state in STYLES}
    if as_json:
        show_json({**counts, "lines": [asdict(line) for line in found]})
    else:
        _print(found, counts)
    raise typer.Exit(SystemProblem.exit_code if counts["problem"] else 0)


def _print(found: "Sequence[Line]", counts: dict[str, int]) -> None:
    """A block for each topic, then how many lines are what."""
    from rich.text import Text

    from assignbench.cli.output import console

    screen = console()
    for topic, lines in groupby(found, lambda line: line.topic):
        screen.print(Text(topic, "bold"))
        for line in lines:
            for text in _texts(line, min(COLUMNS, screen.width)):
                screen.print(text, soft_wrap=True)
        screen.print("")
    told = [f"{count} {state}{'s' * (count > 1 and state != 'fine')}" for state, count in counts.items() if count]
    screen.print(Text(", ".join(told)))


def _texts(line: "Line", columns: int) -> "list[Text]":
    """State, name and what was found; below it what to do."""
    from textwrap import wrap

    from rich.text import Text

    margin = STATE + NAME
    width = max(20, columns - margin)
    first, *more = wrap(line.found, width, break_long_words=False, break_on_hyphens=False) or [""]
    head = Text.assemble((f"{line.state:<{STATE}}", STYLES[line.state]), f"{line.name:<{NAME - 1}} ", first)
    advice = wrap(line.advice, width - 2, break_long_words=False, break_on_hyphens=False)
    advice = [f"{'  ' if number else '→ '}{text}" for number, text in enumerate(advice)]
    return [head, *(Text(" " * margin + text) for text in (*more, *advice))]
