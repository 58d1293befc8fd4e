"""Options that several commands share, and lists in one option."""

from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from assignbench.cli import completing
from assignbench.errors import UsageError


class Device(StrEnum):
    """Where to compute."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Protocol(StrEnum):
    """What surrounds a strategy."""

    CONTROLLED = "controlled"
    PUBLISHED = "published"


DeviceOption = Annotated[
    Device,
    typer.Option(metavar="auto|cpu|cuda", help="Where to compute; auto takes a GPU when there is one."),
]
DataRootOption = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Folder of the data sets.", show_default="ASSIGNBENCH_DATA, else datasets/"),
]
ShareOption = Annotated[
    float | None,
    typer.Option(
        "--split",
        metavar="SHARE",
        help="Of one list of pictures: the share that is taught; the rest is scored.",
        show_default="as the data set says, else 0.8",
    ),
]


def _document_alone(context: typer.Context, wanted: bool) -> bool:
    """From here to the end of the command what others print, plug-ins too, goes to standard error."""
    if wanted and not context.resilient_parsing:
        from assignbench.cli.output import document_alone

        context.with_resource(document_alone())
    return wanted


JsonOption = Annotated[
    bool,
    typer.Option(
        "--json", callback=_document_alone, help="Print one JSON object, and all else on stderr: docs/commands.md"
    ),
]
PresetOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Which published detector: mmdet, official, …",
        show_default="each strategy's first",
        autocompletion=completing.presets,
    ),
]
ProtocolOption = Annotated[
    Protocol, typer.Option(metavar="P", help="controlled: one detector for all; published: each strategy its own.")
]
SetOption = Annotated[
    list[str],
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a setting of the recipe; may be repeated.", show_default=False
    ),
]
TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust", help="Run the code of a strategy's file or module that the run names, though you do not know it."
    ),
]
RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="Folder of a run, inside runs/.", autocompletion=completing.run_folders)
]


def _at_commas(text: str) -> Sequence[str]:
    return text.split(",")


def comma_list(
    texts: Iterable[str], option: str, split: Callable[[str], Sequence[str]] = _at_commas
) -> tuple[str, ...]:
    """``("a,b", "c")`` → a, b, c.

    Raises:
        UsageError: the list is empty.
    """
    entries = tuple(part.strip() for text in texts for part in split(text) if part.strip())
    if not entries:
        raise UsageError(f"{option} is empty")
    return entries


def number_list(text: str, option: str) -> tuple[int, ...]:
    """``"0,1,2"`` → 0, 1, 2.

    Raises:
        UsageError: the list is empty, or an entry is not a whole number from 0.
    """
    entries = comma_list([text], option)
    if not all(entry.isascii() and entry.isdecimal() for entry in entries):
        raise UsageError(f"{option} {text}: write whole numbers from 0, separated by commas, as in {option} 1,2,8")
    if too_large := [entry for entry in entries if len(entry.lstrip("0")) > 10 or int(entry) >= 2**31]:
        raise UsageError(f"{option} {too_large[0]}: the largest is {2**31 - 1}")
    return tuple(map(int, entries))


OnlyRecipeOption = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="R",
        help="Only the runs of this recipe.",
        show_default="all",
        autocompletion=completing.recipes,
    ),
]
OnlyProtocolOption = Annotated[
    str | None, typer.Option("--protocol", metavar="P", help="Only the runs under this protocol.", show_default="all")
]
AssignersOption = Annotated[
    str | None,
    typer.Option(
        "--assigner",
        metavar="A,B",
        help="Only these strategies.",
        show_default="all",
        autocompletion=completing.strategies,
    ),
]


def chosen_of(text: str | None) -> tuple[str, ...] | None:
    """The strategies of `AssignersOption`; None: all."""
    from assignbench.options import split_list

    return None if text is None else comma_list([text], "--assigner", split_list)
