"""``assignbench data open``: what a folder is, and what to do with it."""

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assignbench.cli import completing
from assignbench.cli.arguments import DataRootOption, JsonOption, ShareOption, written_option
from assignbench.errors import UsageError

if TYPE_CHECKING:
    from assignbench.data.dataset import Splits
    from assignbench.data.spec.locate import Located

EXAMPLES = r"""[bold]Examples[/bold]

assignbench data open my/folder

assignbench data open my/folder --share 0.7 --output my/dataset.yaml
"""

MOST_CLASSES = 12  # named on the screen; --json has all


def open_(
    spec: Annotated[
        str,
        typer.Argument(
            metavar="DIR",
            help="A folder; also coco:DIR, voc:DIR, yolo:DIR, a YAML file or a name.",
            autocompletion=completing.datasets,
        ),
    ],
    share: ShareOption = None,
    output: Annotated[
        Path | None, written_option("Write the YAML file, instead of printing it.", ends=(".yaml", ".yml"))
    ] = None,
    data_root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a folder is, and how to use it.

    Its format, which files are for training and which for evaluation, classes,
    counts, and what was repaired; then a YAML file to start from. Where nothing
    fits, every format that was tried, and why not.
    """
    from assignbench.cli.output import say, show, show_json
    from assignbench.data.spec.locate import data_root as root_of
    from assignbench.data.spec.locate import locate, open_dataset
    from assignbench.data.spec.share import with_share
    from assignbench.files import write_text_atomic

    if output is not None and output.exists():
        raise UsageError(f"--output {output}: it exists; name a new file")
    root = root_of(data_root)
    found = locate(with_share(spec, share), root)
    text = _yaml(found, output)
    if output is not None and text is None:
        raise UsageError(f"--output {output}: {_why_no_file(found)}")
    if not as_json:
        say(found.canonical, *found.chosen, *found.alternatives)
    splits = open_dataset(found.canonical, root)
    if output is not None and text is not None:
        write_text_atomic(output, text)
    divided = "" if share is None else f" --share {share:g}"
    commands = [
        f"assignbench data check {shlex.quote(spec)}{divided}",
        f"assignbench run --dataset {shlex.quote(spec)}{divided}",
    ]
    if as_json:
        show_json(_as_json(found, splits, text, commands))
        return
    _print(splits)
    if output is not None and text is not None:
        show(f"\nwritten: {output}\n")
    elif text is not None:
        show(f"\nTo change what is taken for what, save this as a YAML file in {found.base}:\n\n{text}")
    show("\nNext:\n" + "".join(f"  {command}\n" for command in commands))


def _yaml(found: "Located", output: Path | None) -> str | None:
    """What opens the same data set, with paths relative to the file; None for one that has such a file or a name."""
    from assignbench.data.spec.recognise.answer import FORMATS
    from assignbench.data.spec.schema import WiderfaceSpec, moved
    from assignbench.data.spec.written import as_yaml

    if found.canonical.partition(":")[0] not in FORMATS or isinstance(found.spec, WiderfaceSpec):
        return None
    place = found.base if output is None else output.expanduser().resolve().parent
    inside = found.base.is_relative_to(place)
    return as_yaml(moved(found.spec, Path(os.path.relpath(found.base, place)) if inside else found.base))


def _why_no_file(found: "Located") -> str:
    """Why `_yaml` writes none."""
    from assignbench.data.spec.share import parted

    place, _ = parted(found.canonical)
    if place.endswith((".yaml", ".yml")):
        return f"{place} describes this data set already; change that file, or a copy of it beside it"
    return f"{place} is a data set that goes by its name and needs no file; leave --output away"


def _print(splits: "Splits") -> None:
    from assignbench.cli.output import say
    from assignbench.data.dataset import describe

    for dataset in (splits.train, splits.evaluation):
        say(*describe(dataset))
    classes = splits.train.classes
    more = f", … ({len(classes)} in all)" if len(classes) > MOST_CLASSES else ""
    say(f"classes: {', '.join(classes[:MOST_CLASSES])}{more}")


def _as_json(found: "Located", splits: "Splits", text: str | None, commands: list[str]) -> dict[str, object]:
    parts = {"train": splits.train, "evaluation": splits.evaluation}
    return {
        "spec": found.canonical,
        "format": found.spec.format,
        "chosen": found.chosen,
        "remarks": found.remarks,
        "alternatives": found.alternatives,
        "splits": {
            part: {
                "images": len(dataset),
                "objects": int((~dataset.crowd).sum()),
                "crowd": int(dataset.crowd.sum()),
                "repairs": [
                    {"repair": one.kind, "count": one.count, "examples": one.examples} for one in dataset.repairs
                ],
            }
            for part, dataset in parts.items()
        },
        "classes": splits.train.classes,
        "yaml": text,
        "next": commands,
    }
