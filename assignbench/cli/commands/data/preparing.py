"""``assignbench data prepare``: published data sets, from their addresses onto the disk."""

from typing import TYPE_CHECKING, Annotated

import typer

from assignbench.cli import completing
from assignbench.cli.arguments import DataRootOption, JsonOption
from assignbench.errors import AssignbenchError, UsageError

if TYPE_CHECKING:
    from assignbench.data.prepare.plan import Plan
    from assignbench.data.prepare.prepare import Outcome

EXAMPLES = r"""[bold]Examples[/bold]

assignbench data prepare voc --data-root /data

assignbench data prepare coco --split evaluation --remove-archives

assignbench data prepare coco --dry-run
"""


def prepare(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="A built-in data set, or the path of a YAML file.", autocompletion=completing.datasets
        ),
    ],
    data_root: DataRootOption = None,
    split: Annotated[
        list[str],
        typer.Option(
            metavar="S",
            help="Only this split; may be repeated.",
            show_default="all but optional ones",
            autocompletion=completing.splits,
        ),
    ] = [],  # noqa: B006  # typer copies it
    offline: Annotated[
        bool, typer.Option("--offline", help="Open no connection: use the archives that are there.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep-archives/--remove-archives", help="What becomes of archives once unpacked.")
    ] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be fetched, change nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Fetch a published data set: download, check, unpack, verify.

    What is there already is left alone; an interrupted download goes on where
    it ended. Archives laid by hand into DATA_ROOT/archives/NAME are used. Several
    processes may start at once: one works, the others wait.
    """
    from assignbench.cli.progress import Progress
    from assignbench.data.prepare.plan import plan
    from assignbench.data.prepare.prepare import Outcome
    from assignbench.data.prepare.prepare import prepare as make_whole
    from assignbench.data.spec.locate import data_root as root_of

    if data_root is not None and name.endswith((".yaml", ".yml")):
        raise UsageError(f"--data-root is for built-in data sets; the paths in {name} are relative to the file itself")
    chosen = plan(name, root_of(data_root), split)
    outcome = Outcome()
    try:
        if not dry_run:
            outcome = make_whole(chosen, Progress(), offline=offline, keep_archives=keep)
    except AssignbenchError:
        if as_json:
            _print_json(chosen, outcome, keep, complete=False)
        raise
    if as_json:
        _print_json(chosen, outcome, keep, complete=not dry_run or None)
    elif dry_run:
        _print_plan(chosen, keep)
    else:
        _print_end(chosen, keep)


def _print_plan(plan: "Plan", keep: bool) -> None:
    from assignbench.cli.output import say, show, table
    from assignbench.data.prepare.digest import known_digest
    from assignbench.data.prepare.plan import rooms
    from assignbench.disk import human

    rows = [
        [
            step.source.file,
            state,
            "" if step.source.size is None else f"{step.source.size:,}",
            (known_digest(step.source) or ("none published",))[0],
            "" if state == "there" else human(step.to_fetch()),
            str(step.folder),
        ]
        for step, state in zip(plan.steps, plan.states(), strict=True)
    ]
    _print_origin(plan)
    if not plan.steps:
        say(f"{plan.name} is {'to be laid there by hand' if plan.reads else 'drawn'}: nothing to download")
        return
    columns = ["file", "", "bytes", "checksum", "to fetch", "goes to"]
    show(table(columns, rows, numbers=["bytes", "to fetch"]))
    unknown = [step for step in plan.steps if not step.source.size]
    besides = f", besides {len(unknown)} files of unknown size" if unknown else ""
    for room in rooms(plan.missing(), keep_archives=keep):
        say(f"disk of {room.place}: about {human(room.needed)} needed{besides}, {human(room.free)} free")


def _print_end(plan: "Plan", keep: bool) -> None:
    from assignbench.cli.output import say
    from assignbench.disk import human

    _print_origin(plan)
    say(f"{plan.name} is complete in {plan.root}")
    kept = [step.archive for step in plan.steps if step.archive.is_file()]
    if kept and keep:
        size = human(sum(file.stat().st_size for file in kept))
        say(f"{size} of archives are kept in {kept[0].parent}; --remove-archives removes them")


def _print_origin(plan: "Plan") -> None:
    from assignbench.cli.output import say

    origin = plan.published
    if origin.licence:
        say(f"licence: {origin.licence} ({origin.homepage})")


def _print_json(plan: "Plan", outcome: "Outcome", keep: bool, *, complete: bool | None) -> None:
    """``complete``: None where nobody has looked yet."""
    from assignbench.cli.output import show_json
    from assignbench.data.prepare.plan import rooms

    sources = [
        {
            **step.source.model_dump(include={"file", "urls", "size", "sha256", "md5", "split"}),
            "state": state,
            "to_fetch": 0 if state == "there" else step.to_fetch(),
            "archive": str(step.archive),
            "unpack_to": str(step.folder),
        }
        for step, state in zip(plan.steps, plan.states(), strict=True)
    ]
    content = {
        "name": plan.name,
        "root": str(plan.root),
        "licence": plan.published.licence,
        "homepage": plan.published.homepage,
        "complete": all(source["state"] == "there" for source in sources) if sources else complete,
        "sources": sources,
        "disks": [
            {"place": str(room.place), "needed": room.needed, "free": room.free}
            for room in rooms(plan.missing(), keep_archives=keep)
        ],
        "downloaded": outcome.downloaded,
        "unpacked": outcome.unpacked,
        "removed": outcome.removed,
    }
    show_json(content)
