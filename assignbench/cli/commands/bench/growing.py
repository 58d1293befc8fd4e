"""What ``assignbench bench growth`` asks, in series of cases, and says, in tables."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from assignbench.cli.arguments import comma_list, number_list
from assignbench.cli.commands.bench.cases import Sizes, image_size, positive, report
from assignbench.cli.output import progress, say, show, show_json, table
from assignbench.errors import UsageError
from assignbench.suggest import did_you_mean

if TYPE_CHECKING:
    from assignbench.bench.growth import GrowthReport

AXES = ("objects", "image", "batch")
OBJECTS_IN = (800, 1216)  # height and width of the one image of the objects axis
AREA = 64 * 64  # pixels for each object of the image axis
BATCH_OF = {"objects": 100, "height": 512, "width": 512}  # each image of the batch axis


def series(
    axes: str, *, objects: str, image: str, batch: str, classes: int, sizes: Sizes
) -> dict[str, list[dict[str, Any]]]:
    """Arguments of `bench.problem.Case` for each axis, the smallest case first, checked without torch.

    Raises:
        UsageError: an axis or an entry of a list cannot be read or is out of range.
    """
    wanted = comma_list([axes], "--axis")
    for name in wanted:
        if name not in AXES:
            raise UsageError(f"--axis {name}: choose from {', '.join(AXES)}{did_you_mean(name, AXES)}")
    if sizes is Sizes.AUTO:
        raise UsageError("--sizes auto changes the objects on the way; choose coco or crowd")
    images = sorted({image_size(text) for text in comma_list([image], "--image")}, key=lambda size: size[0] * size[1])
    counts, batches = sorted(set(number_list(objects, "--objects"))), sorted(set(number_list(batch, "--batch")))
    common = {"classes": positive(classes, "--classes"), "sizes": sizes.value}
    height, width = OBJECTS_IN
    cases = {
        "objects": [
            {"objects": positive(count, "--objects"), "height": height, "width": width, "batch": 1} for count in counts
        ],
        "image": [
            {"objects": max(1, round(height * width / AREA)), "height": height, "width": width, "batch": 1}
            for height, width in images
        ],
        "batch": [{**BATCH_OF, "batch": positive(size, "--batch")} for size in batches],
    }
    return {axis: [{**case, **common} for case in cases[axis]] for axis in dict.fromkeys(wanted)}


def show_growth(outcome: GrowthReport, as_json: bool, device: object, about: str) -> None:
    """Rows, then how each strategy's time grows, then what was not measured."""
    if as_json:
        progress("")
        show_json(asdict(outcome))
        return
    report(outcome.rows, False, device, about)
    cells = [
        (
            one.strategy,
            one.axis,
            "–" if one.exponent is None else f"{one.exponent:.2f} ± {one.error:.2f}",
            str(one.fitted),
            "–" if one.ns_per_pair is None else str(one.ns_per_pair),
            one.verdict,
        )
        for one in outcome.growth
    ]
    columns = ("strategy", "axis", "exponent", "cases", "ns per pair", "what objects add, against pairs")
    show(table(columns, cells, numbers=columns[2:5]))
    for sentence in outcome.left_out:
        say(f"left out: {sentence}")
