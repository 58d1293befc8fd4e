"""``assignbench plan``: how many seeds, and how many pictures, a difference takes."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assignbench.cli import completing
from assignbench.cli.arguments import DataRootOption, JsonOption, OnlyProtocolOption, OnlyRecipeOption
from assignbench.cli.commands.compare import Spread
from assignbench.errors import UsageError
from assignbench.paths import documentation

if TYPE_CHECKING:
    from rich.console import RenderableType

    from assignbench.comparison.plan import Parts, Plan, Wanted
    from assignbench.comparison.table import Block

EXAMPLES = (
    r"""[bold]Examples[/bold]

assignbench plan --baseline atss   [dim]# what 3, 5, 10 and 20 seeds would find[/dim]

assignbench plan --smallest 1.0   [dim]# how many seeds a difference of 1 AP takes[/dim]

assignbench plan --smallest 1.0 --pictures 5000   [dim]# the same on a larger evaluation split[/dim]
"""
    f"\n\nHow it is computed:\n\n{documentation('background/statistics')}"
)


def plan(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of runs.")] = Path("runs"),
    smallest: Annotated[
        float | None, typer.Option(metavar="X", help="Difference that shall be found, in percent points.")
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="A",
            help="Strategy that the others are held against.",
            show_default="all pairs",
            autocompletion=completing.strategies,
        ),
    ] = None,
    metric: Annotated[str, typer.Option(metavar="M", help="Of which number.")] = "AP",
    pictures: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=2, help="Reckon with so many evaluation pictures.", show_default="those of the runs"
        ),
    ] = None,
    spread: Annotated[
        Spread, typer.Option(metavar="S", help="Spread over seeds: own, shared or auto, as for compare.")
    ] = Spread.AUTO,
    recipe: OnlyRecipeOption = None,
    protocol: OnlyProtocolOption = None,
    data_root: DataRootOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say how many seeds a difference takes, reckoned from finished runs.

    Two strategies with two seeds each tell how far seeds lie apart, and their
    detections what the pictures are worth. For 3, 5, 10 and 20 seeds: the
    smallest true difference that is found four times in five; what endless
    seeds would find, which only more pictures lower.
    """
    from assignbench import api
    from assignbench.cli.output import progress, say, show, show_json

    if smallest is not None and not (smallest > 0 and math.isfinite(smallest)):
        raise UsageError(f"--smallest {smallest:g} must be above 0, in percent points")
    compared = api.compare(
        folder,
        baseline=baseline,
        metrics=[metric],
        recipe=recipe,
        protocol=protocol,
        spread=spread.value,
        data_root=data_root,
        progress=progress,
    )
    table = compared.table

    from assignbench.comparison.plan import plan as reckon  # numpy: after what can be refused without it
    from assignbench.run.results.finished import refuse_damaged

    found: list[tuple[Block, Plan]] = []
    refused = []
    for block in table.blocks:
        try:
            found.append((block, reckon(block.verdicts[0], block.baseline, spread.value, smallest, pictures)))
        except UsageError as error:
            refused.append(f"{block.dataset}, {block.protocol} protocol: {error}")
    if not found:
        raise UsageError("\n".join(refused))
    if as_json:
        plans = [facts(*one, metric) for one in found]
        show_json({"plans": plans, "refused": refused, "notes": list(table.notes)})
    else:
        for one in found:
            show(terminal(*one, metric))
        say(*refused, *table.notes)
    refuse_damaged(compared.damaged)


def terminal(block: "Block", one: "Plan", metric: str) -> "RenderableType":
    """A table and sentences."""
    from rich.console import Group
    from rich.text import Text

    from assignbench.cli.output import table

    head = ("seeds", f"{metric} found in 80 %", "the seeds' part of the error")
    rows = [(str(step.seeds), _points(step.smallest), _percent(step.by_seeds)) for step in one.steps]
    floor, share = ("unknown", "unknown") if one.floor is None else (_points(one.floor), "0%")
    rows.append(("endless", floor, share))
    return Group(
        Text(block.title, style="bold"),
        Text(measured(one, metric)),
        table(head, rows, numbers=head),
        *(Text(line) for line in (*([] if one.wanted is None else [asked(one, one.wanted, metric)]), dominates(one))),
        *(Text(line, style="dim") for line in meaning(one, block.baseline)),
        Text(""),
    )


def measured(one: "Plan", metric: str) -> str:
    """What was measured, on what."""
    parts = one.parts
    low, high = (math.sqrt(bound) for bound in parts.bounds)
    pictures = "" if one.images is None else f" and {one.images:,} pictures"
    seeds = ", ".join(map(str, parts.seeds))
    told = (
        f"Measured on {parts.rows} rows, seeds {seeds}{pictures}. The seed moves a difference by "
        f"{math.sqrt(parts.one):.2f} {metric} (standard deviation; 95 % interval {low:.2f} to {high:.2f}, with "
        f"{parts.known:g} degree{'s' if parts.known != 1 else ''} of freedom)"
    )
    if parts.main is None:
        return f"{told}. What the pictures do is unknown."
    told = f"{told}, the pictures move it by {math.sqrt(parts.main):.2f}"
    return f"{told}, reckoned for {parts.images:,} pictures." if parts.images != one.images else f"{told}."


def asked(one: "Plan", wanted: "Wanted", metric: str) -> str:
    """The seeds that a difference takes, or why no number of them is enough."""
    parts = one.parts
    told = f"A difference of {wanted.difference:g} {metric} takes"
    if wanted.seeds is not None:
        return f"{told} {wanted.seeds:,} seeds of each row ({_between(wanted)}){_these(parts)}."
    if one.floor is None or one.floor < wanted.difference:
        return f"{told} more than 10,000 seeds of each row{_these(parts)}."
    then = "no number" if wanted.pictures_then is None else f"about {_about(wanted.pictures_then)} pictures"
    return (
        f"{told} more pictures: no number of seeds is enough with these {parts.images:,}. With endless seeds it takes "
        f"more than {_about(wanted.pictures or 0)} pictures, with {one.steps[-1].seeds} seeds {then}."
    )


def dominates(one: "Plan") -> str:
    """Which part of the error is the larger one."""
    parts = one.parts
    if parts.main is None:
        return "The floor is unknown: no detections are kept. The numbers are for exactly these pictures."
    if parts.main == 0:
        return "All of the error is the seeds': more of them help. No part of the pictures was seen."
    even = parts.one / parts.main
    if even <= one.steps[0].seeds:
        return f"From {one.steps[0].seeds} seeds on most of the error is the pictures': only more pictures help much."
    return (
        f"Up to {math.floor(even):,} seeds most of the error is the seeds': more of them help. Beyond, it is the "
        "pictures'."
    )


def meaning(one: "Plan", baseline: str | None) -> list[str]:
    """What the numbers mean."""
    from assignbench.comparison.power import noisy_share

    parts = one.parts
    pairs = "all pairs" if baseline is None else f"all rows against {baseline}"
    spread = (
        f"spread over seeds shared by the {parts.rows} rows" if parts.shared else "each pair's own spread over seeds"
    )
    found = (
        "Found in 80 %: a true difference of this size is decided four times in five, after Holm's correction for "
        f"{pairs} ({parts.comparisons}) in the hardest of its steps; {spread}."
    )
    told = [found]
    if parts.shared:
        share = noisy_share(parts.rows, one.steps[0].seeds)
        told.append(
            f"It is so between rows of usual spread. By chance one of two equal rows spreads more than the others in "
            f"{share:.0%} of pairs with {one.steps[0].seeds} seeds; such a pair takes more."
        )
    if parts.images != one.images:
        told.append(f"The part of the pictures falls as 1 / N; {parts.images:,} pictures like the {one.images:,} here.")
    return told


def facts(block: "Block", one: "Plan", metric: str) -> dict[str, Any]:
    """All numbers, unrounded."""
    parts, (low, high) = one.parts, one.parts.bounds
    return {
        "dataset": block.dataset,
        "protocol": block.protocol,
        "recipe": block.recipe,
        "metric": metric,
        "baseline": block.baseline,
        "about": "set" if parts.main is None else "strategies",
        "rows": parts.rows,
        "comparisons": parts.comparisons,
        "seeds": list(parts.seeds),
        "images": one.images,
        "reckoned_images": parts.images,
        "sd_seed": math.sqrt(parts.one),
        "sd_seed_low": math.sqrt(low),
        "sd_seed_high": math.sqrt(high),
        "freedom": parts.known,
        "shared_spread": parts.shared,
        "sd_images": None if parts.main is None else math.sqrt(parts.main),
        "found": [
            {"seeds": step.seeds, "smallest": step.smallest, "share_of_seeds": step.by_seeds} for step in one.steps
        ],
        "floor": one.floor,
        "wanted": None
        if one.wanted is None
        else {
            "smallest": one.wanted.difference,
            "seeds": one.wanted.seeds,
            "seeds_low": one.wanted.fewest,
            "seeds_high": one.wanted.most,
            "images_with_endless_seeds": one.wanted.pictures,
            f"images_with_{one.steps[-1].seeds}_seeds": one.wanted.pictures_then,
        },
    }


def _between(wanted: "Wanted") -> str:
    """How sure the number of seeds is."""
    most = "more than 10,000" if wanted.most is None else f"{wanted.most:,}"
    return f"{wanted.fewest:,} to {most}, as surely as their spread is known"


def _these(parts: "Parts") -> str:
    return ", on exactly these pictures" if parts.images is None else f", with {parts.images:,} pictures"


def _points(value: float) -> str:
    """Percent points: two digits that count, or one decimal."""
    return f"{value:.1f}" if value >= 1 or value == 0 else f"{value:.2g}"


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.0%}"


def _about(count: float) -> str:
    """Two digits that count."""
    digits = max(len(str(int(count))) - 2, 0)
    return f"{math.ceil(count / 10**digits) * 10**digits:,}"
