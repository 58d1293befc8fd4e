"""``assignbench eval`` and ``assignbench predict``: what a finished run can do."""

from pathlib import Path
from typing import Annotated

import typer

from assignbench.cli.arguments import DataRootOption, Device, DeviceOption, RunArgument

EVAL_EXAMPLES = r"""[bold]Example[/bold]

assignbench eval runs/RUN
"""

PREDICT_EXAMPLES = r"""[bold]Example[/bold]

assignbench predict runs/RUN street.jpg --threshold 0.5
"""


def evaluate(run: RunArgument, data_root: DataRootOption = None, device: DeviceOption = Device.AUTO) -> None:
    """Evaluate a finished run again."""
    from assignbench.cli.launching import start_all_processes
    from assignbench.cli.output import console, show, table

    start_all_processes()
    from assignbench.run.reload import evaluate_run

    _, evaluation = evaluate_run(run, data_root, device.value, console())
    for column, values in (("metric", evaluation.metrics), ("class", evaluation.per_class)):
        rows = [[name, "–" if value is None else f"{100 * value:.1f}"] for name, value in values.items()]
        heading = "AP" if column == "class" else "%"
        show(table([column, heading], rows, numbers=[heading]))
    for note in evaluation.notes:
        show(f"note: {note}\n")


def predict(
    run: RunArgument,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE…", help="Pictures.")],
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder that gets a PNG and a JSON file per picture.")
    ] = Path("predictions"),
    threshold: Annotated[
        float, typer.Option(metavar="SCORE", min=0, max=1, help="Lowest score of a box that is kept.")
    ] = 0.3,
    device: DeviceOption = Device.AUTO,
) -> None:
    """Find objects in pictures: boxes drawn on a PNG, and as JSON."""
    from assignbench.cli.output import show
    from assignbench.run.predict import predict as write_predictions

    for file in write_predictions(run, tuple(images), output, threshold, device.value):
        show(f"wrote {file}\n")
