"""``assignbench clean``: what killed commands have left in folders of runs."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assignbench.cli.arguments import JsonOption
from assignbench.errors import SystemProblem

if TYPE_CHECKING:
    from assignbench.engines.leftovers import Found

EXAMPLES = r"""[bold]Examples[/bold]

assignbench clean --dry-run   [dim]# what would go, and why[/dim]

assignbench clean runs reproduced

assignbench clean runs --unfinished   [dim]# also runs that never came to a record[/dim]
"""


def clean(
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="[DIR]...", help="Folders of runs.", show_default="runs")
    ] = None,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Also remove runs that have no record and that nobody is at.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Name what would go, and remove nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove what killed commands have left: half-written files, old checkpoints, locks.

    Each leftover is named before it goes, with its size and the reason. What
    assignbench did not write is never touched, nor is a run that somebody is
    at. Unfinished runs stay, unless --unfinished is given: --resume goes on
    with them.
    """
    from assignbench.cli.output import say, show_json
    from assignbench.disk import human
    from assignbench.engines.leftovers import Leftover, find, remove

    places = list(dict.fromkeys(folders or [Path("runs")]))
    found = [find(place, unfinished=unfinished) for place in places]
    gone: dict[Leftover, int] = {}  # and its bytes
    stayed: list[Leftover] = []
    facts = []
    for one in dict.fromkeys(one for each in found for one in each.leftovers):
        size = one.size
        say(f"{human(size):>10}  {one.path}: {one.why}")
        sys.stdout.flush()  # where nobody can read it, nothing goes
        removed = not dry_run and remove(one)
        facts.append({"path": str(one.path), "bytes": size, "why": one.why, "removed": removed})
        if removed or dry_run:
            gone[one] = size
        else:
            stayed.append(one)
    _say_the_rest(found, unfinished=unfinished)
    what = f"{len(gone)} leftover{'s' * (len(gone) != 1)}, {human(sum(gone.values()))}"
    say(f"{what}, would be removed" if dry_run else f"{what}, removed" if gone else "nothing to remove")
    if as_json:
        busy = [{"run": str(run), "who": who} for each in found for run, who in each.busy.items()]
        stays = [str(run) for each in found for run in each.unfinished]
        show_json({"dry_run": dry_run, "leftovers": facts, "busy": busy, "unfinished": stays})
    if stayed:
        raise SystemProblem(
            f"{stayed[0].path} could not be removed ({len(stayed)} of {len(stayed) + len(gone)} leftovers); "
            "another command may have begun with it: repeat this one later"
        )


def _say_the_rest(found: "list[Found]", *, unfinished: bool) -> None:
    """What is left alone, and why."""
    from assignbench.cli.output import say

    for each in found:
        for run, who in each.busy.items():
            say(f"left alone: {run}: {who}")
    count = sum(len(each.unfinished) for each in found)
    if count and not unfinished:
        runs = "1 unfinished run stays" if count == 1 else f"{count} unfinished runs stay"
        say(f"{runs}: run --resume goes on with them, clean --unfinished removes them")
