"""The self-test of ``assignbench doctor``: small computations whose results are known, and a file that is written."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from assignbench.cli.commands.doctor.examining import Line
from assignbench.disk import existing
from assignbench.importing import in_words

if TYPE_CHECKING:
    from assignbench.core import Assignment
    from assignbench.synthetic import Problem

TOPIC = "self-test"
STEP = 1e-5  # of the differences
REINSTALL = "install torch and torchvision again, from one place; pip check shows what does not fit"


def tests(output: Path) -> Iterator[Line]:
    """Each test as a line.

    Args:
        output: folder of runs, or where it would be.
    """
    for name, test, advice in (
        ("assignment", assignment, REINSTALL),
        ("gradient", gradient, REINSTALL),
        ("compiled parts", compiled, REINSTALL),
        ("training step", step, "assignbench run --recipe smoke --debug tells more"),
        ("files", lambda: files(output), "choose another --output"),
    ):
        began = time.perf_counter()
        try:
            found = test()
        except Exception as error:  # whatever is broken here
            what = str(error) if isinstance(error, AssertionError) else in_words(error)  # of `_require`
            yield Line(TOPIC, name, "problem", what.replace("\n", "; "), advice)
        else:
            yield Line(TOPIC, name, "fine", f"{found}, {time.perf_counter() - began:.1f} s")


def assignment() -> str:
    """Plain pairs an object with every location in its box; of one box they are counted by hand.

    The box is (10, 10) … (50, 50) in 64 × 64 pixels. Locations are the centres of cells of 8, 16, … pixels: 12, 20, 28,
    36, 44 of P3 lie inside, 24, 40 of P4, 16, 48 of P5, 32 of P6, none of P7: 25 + 4 + 4 + 1 pairs.
    """
    problem = _problem("float32")
    pairs = len(_plain(problem).pairs)
    _require(pairs == 34, f"plain paired {pairs} locations with a box that holds 34")
    return "34 pairs, as reckoned by hand"


def gradient() -> str:
    """The loss along a line: its slope by backward is that by differences."""
    import torch

    from assignbench.detector.objective import objective

    def loss(problem: Problem) -> torch.Tensor:
        return torch.stack(list(objective(_plain(problem), problem.view(), ()).values())).sum()

    problem = _problem("float64")
    slopes = torch.autograd.grad(loss(problem), problem.own_leaves())
    ours = sum(float(one.sum()) for one in slopes)
    up, down = (loss(problem.changed(lambda values, step=step: values + step)).item() for step in (STEP, -STEP))
    theirs = (up - down) / (2 * STEP)
    error = abs(ours - theirs) / abs(theirs)
    _require(error < 1e-5, f"backward says {ours:.6g}, differences say {theirs:.6g}")
    return f"backward and differences agree to {error:.0e}"


def compiled() -> str:
    """Overlapping boxes are suppressed, and a mask is counted, by the compiled code of torchvision and pycocotools."""
    import numpy as np
    import torch
    from pycocotools import mask
    from torchvision.ops import nms

    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 9.0], [20.0, 20.0, 30.0, 30.0]])
    kept = nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5).tolist()
    _require(kept == [0, 2], f"torchvision's nms keeps boxes {kept}, not 0 and 2")
    area = int(mask.area(mask.encode(np.asfortranarray(np.ones((3, 4), dtype=np.uint8)))))
    _require(area == 12, f"pycocotools counts {area} pixels of 12")
    return "torchvision's suppression, pycocotools' masks"


def step() -> str:
    """Two iterations of a small network on noise, forward, backward and optimizer, on the device that runs take."""
    from assignbench.bench.problem import Case
    from assignbench.bench.step import step_of
    from assignbench.config import load_recipe
    from assignbench.run.matrix.plan import candidate
    from assignbench.run.training.device import build_accelerator, settle_precision

    recipe = settle_precision(load_recipe("smoke", ["train.precision=auto"]), "auto")
    accelerator = build_accelerator("auto", recipe.recipe.train.precision)
    case = Case(objects=3, height=64, width=96, batch=2, classes=3)
    one = step_of(candidate("autoassign"), recipe, case, accelerator)
    one.train()
    one.train()
    one.look()
    return f"autoassign on {accelerator.device}, precision {recipe.recipe.train.precision}, losses are finite"


def files(output: Path) -> str:
    """A file is written whole, read and removed, and a lock is held, where runs go."""
    from assignbench.files import read_json, write_json_atomic
    from assignbench.lock import exclusive

    place = existing(output.absolute())
    file, lock = place / ".assignbench-doctor.json", place / ".assignbench-doctor.lease"
    _require(not file.exists(), f"{file} is there already; remove it")
    try:
        with exclusive(lock, lambda _: False):
            write_json_atomic(file, {"pi": 3.25})
            _require(read_json(file) == {"pi": 3.25}, f"{file} holds something else than was written")
    finally:
        file.unlink(missing_ok=True)
    return f"written, locked, read and removed in {place}"


def _problem(dtype: str) -> Problem:
    """One box in one image of 64 × 64 pixels, before a network that puts out noise."""
    import torch

    from assignbench.core import Targets
    from assignbench.plugins import resolve
    from assignbench.synthetic import random_problem

    head, kind = resolve("plain").load().head, getattr(torch, dtype)
    boxes = torch.tensor([[10.0, 10.0, 50.0, 50.0]], dtype=kind)
    targets = Targets(boxes=boxes, labels=torch.tensor([1]), image=torch.tensor([0]), images=1)
    problem = random_problem(head, seed=0, classes=2, counts=(1,), height=64, width=64, dtype=kind)
    return problem.with_targets(targets)


def _plain(problem: Problem) -> Assignment:
    from assignbench.core import Setting, assign
    from assignbench.plugins import resolve

    return assign(resolve("plain").load()(Setting(classes=2)), problem.view())


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)
