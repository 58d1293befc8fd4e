"""``assignbench import``: checkpoints of other toolboxes."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from assignbench.cli import completing
from assignbench.cli.arguments import SetOption, written_option

EXAMPLES = r"""[bold]Example[/bold]

assignbench import atss_r50_fpn_1x_coco.pth --from mmdet --assigner atss --output atss.safetensors

assignbench eval --weights atss.safetensors --dataset coco
"""


class Toolbox(StrEnum):
    """Whose names a checkpoint has."""

    MMDET = "mmdet"
    TORCHVISION = "torchvision"
    DETECTRON2 = "detectron2"


def import_(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A .pth, .pkl or .safetensors file.")],
    toolbox: Annotated[
        Toolbox, typer.Option("--from", metavar="T", help="mmdet, torchvision, or detectron2 (cvpods, too).")
    ],
    assigner: Annotated[
        str,
        typer.Option(
            metavar="A", help="Strategy that the checkpoint was trained with.", autocompletion=completing.strategies
        ),
    ],
    output: Annotated[Path, written_option("The .safetensors file to write.", ends=(".safetensors",))],
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Preset of the strategy.",
            show_default="the toolbox's",
            autocompletion=completing.presets,
        ),
    ] = None,
    set_: SetOption = [],  # noqa: B006  # typer copies it
) -> None:
    """Turn a published checkpoint into a file of weights for eval.

    The checkpoint is read without running anything that is in it. Keys that
    are missing, left over or of another shape are an error. Another network
    than ResNet-50: --set model.backbone=resnet101
    """
    from assignbench.cli.output import say
    from assignbench.run.scoring.weights import import_checkpoint

    facts, notes = import_checkpoint(checkpoint, toolbox.value, assigner, output, preset=preset, overrides=set_)
    say(f"wrote {output}: {facts.strategy}, preset {facts.preset}, {facts.classes} classes, from {facts.checkpoint}")
    for note in notes:
        say(f"note: {note}")
