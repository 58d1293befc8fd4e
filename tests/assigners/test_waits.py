"""How often assignment and loss make the host wait for a GPU: once at most, here told without one.

A device is played by marks: what is copied to it, and all that is computed from that, carries the mark of its memory.
An operation waits when what it returns to the host, or the size of its result, depends on marked values.
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from assignbench.core import (
    Assigner,
    Assignment,
    PairViews,
    Predictions,
    Priors,
    Regions,
    Setting,
    Targets,
    area,
    assign,
    assignment,
    hard_assignment,
    inside_pairs,
    matching,
    tensors,
    types,
    winners,
)
from assignbench.core import assigner as running
from assignbench.core.fast import blocks, class_outputs, dynamic, grid, nearest_boxes, one_to_one, overlap, rows
from assignbench.core.fast.mixture import LOOKS, STEPS
from assignbench.core.parts import PairLoss, Preset
from assignbench.detector.objective import objective
from assignbench.synthetic import Problem, random_problem
from assigners.atss import ATSS
from assigners.autoassign import AutoAssign
from assigners.fcos import FCOS
from assigners.fovea import FoveaBox
from assigners.freeanchor import FreeAnchor
from assigners.fsaf import FSAF
from assigners.noisyanchor import NoisyAnchor
from assigners.ota import OTA
from assigners.paa import PAA
from assigners.plain import Plain
from assigners.poto import POTO
from assigners.retinanet import RetinaNet
from assigners.sapd import SAPD
from assigners.simota import SimOTA
from assigners.soft_label import SoftLabel
from assigners.tal import TAL
from assigners.uniform import Uniform

CLASSES = 3
WAITING = {  # those whose result's size depends on values, or that hand a value to Python
    "aten::nonzero",
    "aten::masked_select",
    "aten::_local_scalar_dense",
    "aten::item",
    "aten::equal",
    "aten::bincount",
    "aten::_unique2",
    "aten::unique_dim",
    "aten::unique_consecutive",
}


def place() -> str:
    """The line of a strategy or of the core that runs."""
    ours = [frame for frame in traceback.extract_stack() if "assign" in frame.filename and "test" not in frame.filename]
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"


class Device(TorchDispatchMode):
    """Counts where the host would wait for marked memory."""

    def __init__(self) -> None:
        super().__init__()
        self.marked: dict[int, Any] = {}  # memory by its address; kept, so that no address is used again
        self.waits: list[str] = []

    def mark(self, tensor: Tensor) -> Tensor:
        memory = tensor.untyped_storage()
        self.marked[memory._cdata] = memory
        return tensor

    def has(self, tensor: Tensor) -> bool:
        return tensor.untyped_storage()._cdata in self.marked

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        marked = any(map(self.has, tensors))
        name = func._schema.name
        # of an index alone, not of what is written there: torch 2.11 hands a written True over as a tensor
        indices = [leaf for leaf in tree_leaves(args[1:2]) if isinstance(leaf, Tensor)]
        if marked and (
            name in WAITING
            or (name == "aten::repeat_interleave" and (kwargs or {}).get("output_size") is None)
            or (name.startswith("aten::index") and any(each.dtype == torch.bool for each in indices))
        ):
            self.waits.append(f"{name} {place()}")
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and marked:
                self.mark(leaf)
        return result


@contextmanager
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    """A device that this process's own memory plays."""
    played = Device()
    cpu, listed = Tensor.cpu, Tensor.tolist

    def fetched(tensor: Tensor) -> Tensor:
        if not played.has(tensor):
            return cpu(tensor)
        played.waits.append("cpu")
        with torch.utils._python_dispatch._disable_current_modes():
            return tensor.detach().clone()

    def read(tensor: Tensor) -> Any:
        if played.has(tensor):
            played.waits.append("tolist")
        return listed(tensor)

    def beside(tensor: Tensor, other: Tensor) -> Tensor:
        return played.mark(tensor.clone()) if played.has(other) else tensor

    with monkeypatch.context() as patch:
        patch.setattr(Tensor, "cpu", fetched)
        patch.setattr(Tensor, "tolist", read)
        for kind in (Targets, Priors):
            patch.setattr(kind, "on_host", lambda self: self._host or self)
        for module in (blocks, class_outputs, dynamic, matching, nearest_boxes, rows):
            patch.setattr(module, "free_to_wait", lambda _: False)
        for module in (dynamic, grid, one_to_one, overlap, running):
            patch.setattr(module, "beside", beside)
        for module in (types, tensors, assignment):
            patch.setattr(module, "to_device", lambda tensor, _: played.mark(tensor.clone()))
        with played:
            yield played


def on_device(problem: Problem, played: Device) -> tuple[Predictions, Priors, Targets]:
    """A problem whose tensors were copied to the device, as a batch and cached priors are."""
    targets, priors = problem.targets, problem.priors
    regions = Regions(*(played.mark(part.clone()) for part in (targets.ignore.boxes, targets.ignore.image)))
    parts = (targets.boxes, targets.labels, targets.image)
    there = Targets(*(played.mark(part.clone()) for part in parts), images=2, ignore=regions)
    parts = (priors.boxes, priors.points, priors.stride, priors.level)
    cells = Priors(*(played.mark(part.clone()) for part in parts), grid=priors.grid)
    types._remember(there, targets)
    types._remember(cells, priors)
    for leaf in problem.leaves():
        played.mark(leaf)
    return problem.predictions, cells, there


def waits(
    strategy: type[Assigner], monkeypatch: pytest.MonkeyPatch, preset: Preset | None = None, **options: Any
) -> list[str]:
    """Of a batch with padding and a crowd region, as far as the preset does not teach them as background."""
    assigner = strategy(Setting(CLASSES), **{**(preset.options if preset else {}), **options})
    head = replace(preset.head, extras=assigner.head.extras) if preset else assigner.head.controlled()
    problem = random_problem(head, seed=5, classes=CLASSES, counts=(6, 3))
    if preset is None or not preset.crowd_is_background:
        crowd = Regions(torch.tensor([[32.0, 32, 128, 96]]), torch.tensor([0]))
        problem = problem.with_targets(replace(problem.targets, ignore=crowd))
    with device(monkeypatch) as played:
        for parameter in assigner.parameters():
            played.mark(parameter.detach())
        predictions, priors, targets = on_device(problem, played)
        if preset is None or not preset.padding_is_background:
            priors = priors.padded(torch.tensor([[128, 160], [96, 96]]))
        view = PairViews(predictions, priors, targets, head.coding, preset.loss if preset else PairLoss())
        losses = objective(assign(assigner, view), view, head.extras)
        torch.stack(list(losses.values())).sum().backward()
        return list(played.waits)


@pytest.mark.parametrize("strategy", [Plain, FCOS, ATSS, RetinaNet])
def test_what_priors_and_objects_decide_never_waits(monkeypatch: pytest.MonkeyPatch, strategy: type[Assigner]) -> None:
    assert waits(strategy, monkeypatch) == []


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"center": "none"},
        {"negative_normaliser": "pairs"},
        {"same_class": "last"},
        {"confidence": "class"},
        {"objectness": "explicit"},
        {"bag": "geometric"},
        {"at_least_one": True},
    ],
    ids=str,
)
def test_autoassign_waits_once(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    assert len(waits(AutoAssign, monkeypatch, **options)) == (options.get("center") != "none")


@pytest.mark.parametrize(("strategy", "times"), [(FoveaBox, 0), (SAPD, 1), (Uniform, 8)])
def test_what_they_find_is_counted_a_few_times(
    monkeypatch: pytest.MonkeyPatch, strategy: type[Assigner], times: int
) -> None:
    assert len(waits(strategy, monkeypatch)) == times
    (preset,) = strategy.presets.values()
    assert len(waits(strategy, monkeypatch, preset)) == times


def test_freeanchor_waits_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(waits(FreeAnchor, monkeypatch)) == 1


@pytest.mark.parametrize("strategy", [Plain, FCOS, ATSS, FoveaBox])
def test_the_nearest_location_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, strategy: type[Assigner]) -> None:
    assert waits(strategy, monkeypatch, at_least_one=True) == []


def test_noisyanchor_never_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert waits(NoisyAnchor, monkeypatch) == waits(NoisyAnchor, monkeypatch, NoisyAnchor.presets["official"]) == []


@pytest.mark.parametrize("strategy", [SimOTA, SoftLabel])
def test_dynamic_k_waits_once(monkeypatch: pytest.MonkeyPatch, strategy: type[Assigner]) -> None:
    assert len(waits(strategy, monkeypatch)) == 1
    assert len(waits(strategy, monkeypatch, strategy.presets["mmdet"])) == 1


@pytest.mark.parametrize("strategy", [POTO, OTA])
def test_what_is_matched_waits_once(monkeypatch: pytest.MonkeyPatch, strategy: type[Assigner]) -> None:
    assert len(waits(strategy, monkeypatch)) == 1


@pytest.mark.parametrize("strategy", [TAL, FSAF])
def test_one_choice_waits_once(monkeypatch: pytest.MonkeyPatch, strategy: type[Assigner]) -> None:
    assert len(waits(strategy, monkeypatch)) == 1
    assert len(waits(strategy, monkeypatch, strategy.presets["mmdet"])) == 1


def test_paa_waits_for_two_choices_and_now_and_then_for_the_mixture(monkeypatch: pytest.MonkeyPatch) -> None:
    found = waits(PAA, monkeypatch)
    assert sum("mixture" in wait for wait in found) <= STEPS // LOOKS
    assert sum("mixture" not in wait for wait in found) == 2


PUBLISHED = [(cls, name) for cls in (FCOS, ATSS, RetinaNet, FreeAnchor, AutoAssign) for name in cls.presets]


@pytest.mark.parametrize(("strategy", "name"), PUBLISHED)
def test_published_detectors_wait_no_more(monkeypatch: pytest.MonkeyPatch, strategy: type[Assigner], name: str) -> None:
    assert len(waits(strategy, monkeypatch, strategy.presets[name])) == (strategy in (FreeAnchor, AutoAssign))


class Reading(Plain):
    """Asks for predictions, and so decides on the device."""

    def forward(self, predictions: Predictions, priors: Priors, targets: Targets) -> Assignment:  # type: ignore[override]
        objects, locations = inside_pairs(targets, priors)
        won = winners(-area(targets.boxes)[objects], objects, locations, targets, priors)
        return hard_assignment(objects[won], locations[won], targets)


def test_a_strategy_that_waits_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(waits(Reading, monkeypatch)) > 1
