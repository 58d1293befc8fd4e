"""``assignbench status``: how the runs of a folder stand."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assignbench.cli.arguments import JsonOption

if TYPE_CHECKING:
    from rich.console import RenderableType

    from assignbench.engines.standing import Standing

EXAMPLES = r"""[bold]Examples[/bold]

assignbench status

assignbench status reproduced/runs --watch   [dim]# until nothing runs and nothing waits[/dim]
"""

EVERY = 2.0  # seconds between two looks


def status(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Folder of runs.", show_default=True)] = Path("runs"),
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again every two seconds, until nothing runs or waits.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show how runs stand: done, running, queued, failed or stopped.

    It reads the runs' folders alone, so any shell on the same disk can ask. A
    run is done when it has a whole record. One that stopped goes on when the
    command that started it is given again, with --resume.
    """
    from assignbench.cli.output import console, show, show_json
    from assignbench.engines.standing import standings

    found = standings(folder)
    if as_json:
        import msgspec

        show_json({"folder": str(folder), "runs": msgspec.to_builtins(found)})
        return
    if not watch:
        show(_shown(found))
        return
    from rich.live import Live

    with Live(_shown(found), console=console(), refresh_per_second=1, vertical_overflow="crop") as live:
        while any(one.state in ("running", "queued") for one in found):
            time.sleep(EVERY)
            found = standings(folder)
            live.update(_shown(found))


def _shown(found: "list[Standing]") -> "RenderableType":
    """The runs that are not done, and the number of all."""
    from rich.console import Group
    from rich.text import Text

    from assignbench.cli.output import table
    from assignbench.engines.standing import STATES
    from assignbench.engines.view import far, left

    counts = {state: sum(one.state == state for one in found) for state in STATES}
    line = Text(", ".join(f"{count} {state}" for state, count in counts.items() if count) or "no run")
    rows = []
    for one in found:
        if one.state == "done":
            continue
        how = far(one.progress) if one.state == "running" else one.cause
        rows.append([one.state, one.run, how, left(one.progress), one.where])
    return Group(line, table(["state", "run", "how", "left", "where"], rows)) if rows else line
