"""Options that several commands share, and lists in one option."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

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
        "--share",
        metavar="X",
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
    typer.Option("--json", callback=_document_alone, help="Print one JSON object, and all else on stderr."),
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


def named_run(context: typer.Context, value: "Path | list[Path] | None") -> "Path | list[Path] | None":
    """The folders of runs that were named by path or id, as `run_named` finds them; what an id stands for is said."""
    if not value or context.resilient_parsing:
        return value
    if isinstance(value, list | tuple):
        return [as_named(one) for one in value]
    return as_named(value)


def as_named(place: Path) -> Path:
    """One of them."""
    from assignbench.cli.output import note
    from assignbench.run.results.finished import run_named

    found = run_named(place)
    if found != place:
        note(f"{place}: {found}")
    return found


def inputs_of(places: Iterable[Path]) -> Iterator[Path]:
    """The files that a comparison of these places may read."""
    from assignbench.run.results.finished import record_files
    from assignbench.run.results.record import FILE

    for place in places:
        for file in record_files(place):
            yield from (file.parent.iterdir() if file.name == FILE else (file,))


RunArgument = Annotated[
    Path,
    typer.Argument(
        metavar="RUN",
        help="A run: its folder, its id, or how that begins.",
        callback=named_run,
        autocompletion=completing.run_folders,
    ),
]


def written_option(
    what: str, *names: str, metavar: str = "FILE", ends: Collection[str] = (), show_default: bool | str = True
) -> Any:
    """An option that names a file or a folder to be written; a place that cannot be meant is refused before any work.

    Args:
        what: the help.
        names: as ``"--plot"``; none: the name of the parameter.
        metavar: ``FILE`` or ``DIR``.
        ends: what the name of the file has to end in, as ``".json"``; none: in anything.
        show_default: as typer's.
    """

    def checked(context: typer.Context, option: typer.CallbackParam, value: Path | None) -> Path | None:
        if value is None or context.resilient_parsing:
            return value
        from assignbench.files import is_stream
        from assignbench.overwriting import require_place

        require_place(value, option.opts[0])
        if ends and value.suffix.lower() not in ends and not is_stream(value):
            raise UsageError(f"{option.opts[0]} {value}: the name must end in {' or '.join(ends)}")
        return value

    return typer.Option(*names, metavar=metavar, help=what, callback=checked, show_default=show_default)


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
