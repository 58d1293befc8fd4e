"""``assignbench bench``: what a strategy costs beside the least that it could cost."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from assignbench.cli import completing
from assignbench.cli.arguments import (
    DataRootOption,
    Device,
    DeviceOption,
    JsonOption,
    PresetOption,
    Protocol,
    ProtocolOption,
    SetOption,
    number_list,
    written_option,
)
from assignbench.cli.commands.bench.cases import (
    Sizes,
    batch_of,
    built,
    candidates,
    cases,
    image_of,
    positive,
    report,
    show_waits,
)
from assignbench.cli.output import note, progress
from assignbench.errors import UsageError
from assignbench.paths import documentation

app = typer.Typer(
    help=f"Measure time and memory against the least they could be.\n\n{documentation('background/benchmarks')}",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


class Against(StrEnum):
    """Whose training step is measured beside ours."""

    TORCHVISION = "torchvision"


AssignerOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="A,B",
        help="Strategies, as for run.",
        show_default="all that are installed",
        autocompletion=completing.strategies,
    ),
]
ImageOption = Annotated[str, typer.Option(metavar="HxW[,…]", help="Height and width in pixels.")]
BatchOption = Annotated[str, typer.Option(metavar="N[,N…]", help="Images in a batch.")]
ClassesOption = Annotated[int, typer.Option(metavar="K", help="Classes.")]
ObjectsOption = Annotated[str, typer.Option(metavar="G[,G…]", help="Objects in each image.")]
RepeatOption = Annotated[int, typer.Option(metavar="R", help="Repeats; the fastest counts.")]
SizesOption = Annotated[
    Sizes,
    typer.Option(metavar="S", help="Objects of 8 … 600 pixels (coco) or 8 … 64 (crowd); auto: crowd from 1000 on."),
]

LOSS_EXAMPLES = r"""[bold]Examples[/bold]

assignbench bench loss --assigner atss,mine.py:Mine --objects 7,200

assignbench bench loss --assigner fcos --objects 50 --image 256x256,512x512,1024x1024 --json
"""
GROWTH_EXAMPLES = r"""[bold]Examples[/bold]

assignbench bench growth --plot growth.svg   [dim]# six strategies, three axes: some minutes[/dim]

assignbench bench growth --assigner mine.py:Mine,fcos --axis objects --objects 10,100,1000 --plot mine.png
"""
STEP_EXAMPLES = r"""[bold]Examples[/bold]

assignbench bench step --assigner atss --trace step.json   [dim]# a timeline for ui.perfetto.dev[/dim]

assignbench bench step --assigner retinanet,fcos --against torchvision --recipe 1x
"""
DATA_EXAMPLES = r"""[bold]Example[/bold]

assignbench bench data --dataset voc:my/folder --recipe 1x --workers 0,1,2,4
"""
EVAL_EXAMPLES = r"""[bold]Example[/bold]

assignbench bench eval --assigner retinanet,atss --batch 1,8
"""


@app.command(epilog=LOSS_EXAMPLES)
def loss(
    assigner: AssignerOption = None,
    image: ImageOption = "800x1216",
    batch: BatchOption = "2",
    objects: ObjectsOption = "7,50,200,1000",
    sizes: SizesOption = Sizes.AUTO,
    classes: ClassesOption = 80,
    repeat: RepeatOption = 5,
    protocol: ProtocolOption = Protocol.CONTROLLED,
    preset: PresetOption = None,
    device: DeviceOption = Device.CPU,
    as_json: JsonOption = False,
) -> None:
    """Assignment and loss, forward and backward, without a network.

    The floor is one pass over the logits: the focal term of background
    alone, forward and backward. Lists multiply: every strategy on every case.
    Each row is also written to stderr as soon as it is measured.
    """
    wanted = cases(objects, image, batch, classes, sizes)
    from assignbench.bench.loss import bench_loss
    from assignbench.run.training.device import device_of

    where = device_of(device.value)
    strategies = candidates(assigner, protocol.value, preset)
    rows = bench_loss(
        strategies,
        built(wanted),
        device=where,
        repeat=positive(repeat, "--repeat"),
        progress=progress,
        done=lambda row: note(str(row)),
    )
    report(rows, as_json, where, f"{protocol.value} protocol, {classes} classes, sizes {sizes.value}, best of {repeat}")


@app.command(epilog=GROWTH_EXAMPLES)
def growth(
    assigner: AssignerOption = None,
    axis: Annotated[str, typer.Option(metavar="A[,A…]", help="What grows.")] = "objects,image,batch",
    objects: Annotated[
        str, typer.Option(metavar="G[,G…]", help="The objects axis, in one image of 800x1216.")
    ] = "1,2,5,10,20,50,100,200,500,1000,2000",
    image: Annotated[
        str, typer.Option(metavar="HxW[,…]", help="The image axis, with an object for every 64x64 pixels.")
    ] = "256x256,384x384,512x512,768x768,1024x1024,1536x1536,2048x2048",
    batch: Annotated[
        str, typer.Option(metavar="N[,N…]", help="The batch axis, images of 512x512 with 100 objects each.")
    ] = "1,2,4,8,16",
    sizes: Annotated[
        Sizes, typer.Option(metavar="S", help="Objects of 8 … 600 pixels (coco) or 8 … 64 (crowd).")
    ] = Sizes.COCO,
    classes: ClassesOption = 80,
    repeat: RepeatOption = 3,
    limit: Annotated[
        float, typer.Option(metavar="S", min=0, help="Seconds a run may take; an axis ends before one that takes more.")
    ] = 30,
    protocol: ProtocolOption = Protocol.CONTROLLED,
    preset: PresetOption = None,
    device: DeviceOption = Device.CPU,
    plot: Annotated[Path | None, written_option("Draw a picture: svg, png or pdf; needs assignbench\\[plots].")] = None,
    as_json: JsonOption = False,
) -> None:
    """How time grows with objects, image and batch, against pairs.

    A pair is an object and a location inside its box. An exponent of 1 means
    that what objects add to the time of an empty batch is proportional to
    their pairs. The floor is that of [bold]loss[/bold].
    """
    from assignbench.cli.commands.bench.growing import series, show_growth

    wanted = series(axis, objects=objects, image=image, batch=batch, classes=classes, sizes=sizes)
    if plot is not None:
        from assignbench.plot import check_plot

        check_plot(plot)
    from assignbench.bench.growth import bench_growth
    from assignbench.run.training.device import device_of

    where = device_of(device.value)
    outcome = bench_growth(
        candidates(assigner, protocol.value, preset),
        {name: built(cases) for name, cases in wanted.items()},
        device=where,
        repeat=positive(repeat, "--repeat"),
        limit=limit,
        progress=progress,
    )
    about = f"{protocol.value} protocol, {classes} classes, sizes {sizes.value}, best of {repeat}"
    show_growth(outcome, as_json, where, about)
    if plot is not None:
        from assignbench.cli.commands.bench.plotting import draw_growth
        from assignbench.plot import save

        save(draw_growth(outcome), plot)


@app.command(epilog=STEP_EXAMPLES)
def step(
    assigner: AssignerOption = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="R",
            help="Model and optimizer.",
            show_default="1x on a GPU, tiny on a CPU",
            autocompletion=completing.recipes,
        ),
    ] = None,
    set_: SetOption = [],  # noqa: B006  # typer copies it
    image: Annotated[
        str | None, typer.Option(metavar="HxW[,…]", help="Height and width in pixels.", show_default="the recipe's")
    ] = None,
    batch: Annotated[
        str | None, typer.Option(metavar="N[,N…]", help="Images in a batch.", show_default="the recipe's")
    ] = None,
    objects: ObjectsOption = "7",
    sizes: SizesOption = Sizes.AUTO,
    classes: ClassesOption = 80,
    repeat: RepeatOption = 5,
    protocol: ProtocolOption = Protocol.CONTROLLED,
    preset: PresetOption = None,
    device: DeviceOption = Device.AUTO,
    against: Annotated[
        Against | None, typer.Option(metavar="torchvision", help="Also torchvision's detector of the same name.")
    ] = None,
    trace: Annotated[
        Path | None, written_option("Write the timeline of one step, for ui.perfetto.dev.", ends=(".json",))
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """A whole training step, its data on the device already.

    The floor is the bare network: forward, backward of the plain sum of its
    outputs, optimizer. Also counted: how often a step makes the host wait.
    """
    from assignbench.bench.rival import SAME_NETWORK
    from assignbench.bench.step import bench_step
    from assignbench.config import load_recipe
    from assignbench.run.training.device import device_of, settle_precision

    where = device_of(device.value)
    usual, changes = ("1x", ["train.precision=bf16"]) if where.type == "cuda" else ("tiny", [])
    changes = [*(changes if recipe is None else []), *(SAME_NETWORK if against else ()), *set_]
    settled = settle_precision(load_recipe(recipe or usual, changes), where.type)
    batches = built(cases(objects, image or image_of(settled), batch or batch_of(settled), classes, sizes))
    strategies = candidates(assigner, protocol.value, preset)
    if trace is not None and len(strategies) * len(batches) > 1:
        raise UsageError("--trace shows one step: name one strategy with --assigner, one image, batch and object count")
    rows, waits = bench_step(
        strategies,
        settled,
        batches,
        device=device.value,
        repeat=positive(repeat, "--repeat"),
        rivals=against is not None,
        trace=trace,
        progress=progress,
    )
    report(rows, as_json, where, f"recipe {settled.name}, {protocol.value} protocol, {classes} classes")
    if not as_json:
        show_waits(waits)


@app.command(epilog=DATA_EXAMPLES)
def data(
    dataset: Annotated[
        str, typer.Option(metavar="D", help="As for run.", autocompletion=completing.datasets)
    ] = "shapes",
    recipe: Annotated[
        str, typer.Option(metavar="R", help="Sizes, batch and workers.", autocompletion=completing.recipes)
    ] = "tiny",
    set_: SetOption = [],  # noqa: B006  # typer copies it
    batch: Annotated[
        int | None, typer.Option(metavar="N", help="Pictures in a batch.", show_default="the recipe's")
    ] = None,
    workers: Annotated[
        str | None, typer.Option(metavar="N[,N…]", help="Loader processes.", show_default="the recipe's")
    ] = None,
    pictures: Annotated[int, typer.Option(metavar="N", help="Pictures to load while the clock runs.")] = 256,
    repeat: RepeatOption = 3,
    data_root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """The training loader of a data set.

    The floor is a bare loop of Pillow: open, decode, resize the same pictures.
    """
    from assignbench.config import load_recipe
    from assignbench.machine import loader_processes, own_cores

    settings = load_recipe(recipe, set_).recipe
    asked = str(loader_processes(settings.data.workers, own_cores(), on_gpu=True)) if workers is None else workers
    counts = number_list(asked, "--workers")
    size = positive(settings.train.batch if batch is None else batch, "--batch")
    timed, repeat = positive(pictures, "--pictures"), positive(repeat, "--repeat")
    from assignbench.bench.data import bench_data
    from assignbench.data.spec.locate import data_root as root_of
    from assignbench.data.spec.locate import open_dataset

    train = open_dataset(dataset, root_of(data_root)).train
    rows = bench_data(
        train, settings.data, batch=size, workers=counts, pictures=timed, repeat=repeat, progress=progress
    )
    report(rows, as_json, "cpu", f"recipe {recipe}, {len(train)} pictures in the split, best of {repeat}")


@app.command("eval", epilog=EVAL_EXAMPLES)
def evaluation(
    assigner: AssignerOption = None,
    recipe: Annotated[
        str, typer.Option(metavar="R", help="Thresholds and limits.", autocompletion=completing.recipes)
    ] = "1x",
    set_: SetOption = [],  # noqa: B006  # typer copies it
    image: ImageOption = "800x1216",
    batch: BatchOption = "2",
    objects: ObjectsOption = "7",
    sizes: SizesOption = Sizes.AUTO,
    classes: ClassesOption = 80,
    repeat: RepeatOption = 5,
    protocol: ProtocolOption = Protocol.CONTROLLED,
    preset: PresetOption = None,
    device: DeviceOption = Device.CPU,
    scored: Annotated[
        int, typer.Option("--score", metavar="N", min=0, help="Images of the detections file to score; 0: none.")
    ] = 200,
    as_json: JsonOption = False,
) -> None:
    """From raw outputs to detections, and from detections to AP.

    Outputs are like a trained network's and like an untrained one's. Floors:
    one sigmoid and comparison of all scores; reading the detections file.
    """
    from assignbench.config import load_recipe

    wanted, settled = cases(objects, image, batch, classes, sizes), load_recipe(recipe, set_)
    from assignbench.bench.eval import bench_eval
    from assignbench.run.training.device import device_of

    where = device_of(device.value)
    rows = bench_eval(
        candidates(assigner, protocol.value, preset),
        settled,
        built(wanted),
        device=where,
        repeat=positive(repeat, "--repeat"),
        scored=scored,
        progress=progress,
    )
    report(rows, as_json, where, f"recipe {recipe}, {protocol.value} protocol, {classes} classes, best of {repeat}")
