"""``assignbench export``: a run's network as a file for other programs."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from assignbench.cli.arguments import DataRootOption, JsonOption, RunArgument, TrustOption, written_option
from assignbench.errors import UsageError

EXAMPLES = r"""[bold]Examples[/bold]

assignbench export runs/RUN   [dim]# exported.pt2 in the run's folder, by torch.export[/dim]

assignbench export runs/RUN --output fcos.onnx   [dim]# ONNX: pip install 'assignbench\[onnx]'[/dim]

assignbench export runs/RUN --size 800x1344 --pictures photos
"""


class Format(StrEnum):
    """What is written; `assignbench.export.formats` knows them."""

    TORCH = "torch"
    ONNX = "onnx"


ENDS = {".pt2": Format.TORCH, ".onnx": Format.ONNX}


def export(
    run: RunArgument,
    format_: Annotated[
        Format | None,
        typer.Option(
            "--format", metavar="torch|onnx", help="What to write.", show_default="as --output ends, else torch"
        ),
    ] = None,
    output: Annotated[
        Path | None,
        written_option(
            "The file; FILE.json beside it says how to use it.", ends=tuple(ENDS), show_default="RUN/exported.pt2"
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="HEIGHTxWIDTH",
            help="A fixed size of the input in pixels, multiples of 32.",
            show_default="height and width may vary",
        ),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            metavar="IMAGE|FOLDER",
            help="Pictures that the file is held against.",
            show_default="some that the run was evaluated on",
        ),
    ] = None,
    data_root: DataRootOption = None,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a run's network as one file that needs no assignbench.

    The file turns pictures into boxes and scores at every location; FILE.json
    describes its input, its outputs and the post-processing that is left. It
    is opened again and compared with the run on pictures before it is kept.
    """
    form = _form(format_, output)
    pixels = None if size is None else _pixels(size)
    from assignbench.cli.output import note, say, show_json
    from assignbench.export.export import export as write_export

    done = write_export(
        run, form=form.value, output=output, size=pixels, pictures=pictures, data_root=data_root, trust=trust
    )
    for line in done.notes:
        note(line)
    if as_json:
        show_json({"path": str(done.file), "document": str(done.document), **done.about})
        return
    checked = done.checked
    say(f"wrote {done.file}", f"wrote {done.document}")
    say(
        f"equal to the run on {checked.pictures} pictures: boxes up to {checked.boxes:.2g} pixels apart, scores up to "
        f"{checked.scores:.2g}; {checked.detections} detections, {checked.unpaired} without a partner"
    )


def _form(asked: Format | None, output: Path | None) -> Format:
    """What is asked for, or what the file's name says."""
    named = None if output is None else ENDS.get(output.suffix.lower())
    if asked and named and asked != named:
        raise UsageError(
            f"--format {asked} and --output {output} do not go together: leave --format out, or change one"
        )
    return asked or named or Format.TORCH


def _pixels(size: str) -> tuple[int, int]:
    """``"800x1344"`` → (800, 1344)."""
    if not re.fullmatch(r"[1-9][0-9]{0,4}x[1-9][0-9]{0,4}", size):
        raise UsageError(f"--size {size}: write height and width in pixels, as in --size 800x1344")
    height, width = map(int, size.split("x"))
    return height, width
