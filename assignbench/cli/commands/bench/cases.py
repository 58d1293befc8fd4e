"""What the commands of ``assignbench bench`` share: cases in options, rows on the screen."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from enum import StrEnum
from itertools import product
from typing import TYPE_CHECKING, Any

from assignbench.cli.arguments import comma_list, number_list
from assignbench.errors import UsageError

if TYPE_CHECKING:
    from assignbench.bench.problem import Case
    from assignbench.config import ResolvedRecipe
    from assignbench.run.matrix.plan import Candidate


class Sizes(StrEnum):
    """How large objects are."""

    AUTO = "auto"
    COCO = "coco"
    CROWD = "crowd"


def image_size(text: str) -> tuple[int, int]:
    """``"800x1216"`` → height 800, width 1216.

    Raises:
        UsageError: it cannot be read, or a side is below 32 or above 8192 pixels.
    """
    match = re.fullmatch(r"([0-9]{1,5})[x×]([0-9]{1,5})", text)
    if match is None:
        raise UsageError(f"--image {text}: write height x width in pixels, as --image 800x1216")
    height, width = (int(side) for side in match.groups())
    if not all(32 <= side <= 8192 for side in (height, width)):
        raise UsageError(f"--image {text}: sides must lie in 32 … 8192 pixels")
    return height, width


def cases(objects: str, image: str, batch: str, classes: int, sizes: Sizes) -> list[dict[str, Any]]:
    """Arguments of `bench.problem.Case` for every combination, checked without torch.

    Raises:
        UsageError: an entry cannot be read or is out of range.
    """
    images = [image_size(text) for text in comma_list([image], "--image")]
    batches = [positive(count, "--batch") for count in number_list(batch, "--batch")]
    counts = number_list(objects, "--objects")
    positive(classes, "--classes")
    return [
        {"objects": count, "height": height, "width": width, "batch": size, "classes": classes, "sizes": sizes.value}
        for (height, width), size, count in product(images, batches, counts)
    ]


def built(cases: Iterable[dict[str, Any]]) -> "list[Case]":
    """The cases themselves."""
    from assignbench.bench.problem import Case

    return [Case(**case) for case in cases]


def positive(value: int, option: str) -> int:
    """The value of an option that must be at least 1.

    Raises:
        UsageError: it is not.
    """
    if value < 1:
        raise UsageError(f"{option} {value}: at least 1 is needed")
    return value


def candidates(assigner: list[str] | None, protocol: str, preset: str | None) -> "list[Candidate]":
    """The strategies of ``--assigner``; None: all."""
    from assignbench.bench.strategies import chosen
    from assignbench.options import split_list

    texts = None if assigner is None else comma_list(assigner, "--assigner", split_list)
    return chosen(texts, protocol, preset)


def image_of(recipe: "ResolvedRecipe") -> str:
    """The largest picture of a recipe, as ``--image`` has it."""
    data = recipe.recipe.data
    return f"{max(data.short_side)}x{data.long_side}"


def batch_of(recipe: "ResolvedRecipe") -> str:
    """What one process sees at once, as ``--batch`` has it."""
    train = recipe.recipe.train
    return str(train.batch // train.accumulation)


def report(rows: Sequence[Any], as_json: bool, device: object, about: str) -> None:
    """Rows as JSON, or a table under the machine and versions that made it."""
    from assignbench.cli.output import progress, show, show_json, table
    from assignbench.run.results.environment import environment

    progress("")
    entries = [asdict(row) for row in rows]
    if as_json:
        show_json({"rows": entries})
        return
    with_one = environment(1, "no", str(device))
    machine = ", ".join(with_one.gpus) or f"{with_one.cpu}, one thread"
    show(f"{about}\n{machine}; torch {with_one.torch}, assignbench {with_one.assignbench} {with_one.commit or ''}\n")
    columns = [name for name, value in entries[0].items() if any(entry[name] is not None for entry in entries)]
    numbers = [name for name in columns if not isinstance(entries[0][name], str)]
    cells = [["–" if entry[name] is None else str(entry[name]) for name in columns] for entry in entries]
    show(
        table([name.replace("_", " ") for name in columns], cells, numbers=[name.replace("_", " ") for name in numbers])
    )


def show_waits(waits: dict[str, tuple[str, ...]]) -> None:
    """Where each strategy's step makes the host wait."""
    from assignbench.cli.output import say

    for strategy, places in waits.items():
        if places:
            say(f"{strategy} makes the host wait for a GPU in {', '.join(places)}")
