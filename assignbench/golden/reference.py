"""The references' vocabulary: what they call strategies, loss terms and outputs, and the made-up values of networks."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from assignbench.core.parts import Coding, LogDistances
from assignbench.detector.refined import refined
from assignbench.errors import DataError

# its name of a loss term → ours, which are added; names of the same terms of ours are added, too
TERMS: Mapping[str, tuple[str, ...]] = {
    "cls": ("class", "background"),
    "bbox": ("box",),
    "centerness": ("centerness",),
    "iou": ("iou",),
    "pos": ("bag",),
    "neg": ("background",),
    "center": ("center",),
    "positive_bag_loss": ("bag",),
    "negative_bag_loss": ("background",),
}


@dataclass(frozen=True)
class Origin:
    """A strategy as its reference calls it, in our words."""

    assigner: str
    preset: str | None = None  # None: the one that was asked for
    terms: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: TERMS)
    # its name of a raw output beside cls and reg → that of our extra output; "extra": of the only one where None
    outputs: Mapping[str, str | None] = field(default_factory=lambda: {"extra": None})
    progress: Mapping[str, float] = field(default_factory=dict)  # phase of training → how far it is; 1 where not listed
    options: Mapping[str, Any] = field(default_factory=dict)  # beside the preset's: how a reference with memory starts
    # the maps "reg" and "offset" of a level → raw box outputs, where a file has offsets
    refined: Callable[[Tensor, Tensor], Tensor] | None = None
    coding: Coding | None = None  # what "reg" means where a file holds raw outputs; None: what the head says
    decoded: bool = False  # files of networks hold probabilities, and corners of boxes in strides
    missing: Mapping[str, str] = field(default_factory=dict)  # kind, or kind/case → why it cannot be replayed

    def why_missing(self, kind: str, case: str) -> str | None:
        """Why a file of vectors cannot be replayed; None: it can."""
        return self.missing.get(f"{kind}/{case}") or self.missing.get(kind)


DETECTRON2 = {"cls": ("class", "background"), "box_reg": ("box",), "iou": ("iou",)}  # as its descendants call the terms
ORIGINS: Mapping[str, Origin] = {
    # its head makes the boxes itself: files of losses hold what it makes them of, those of networks hold them
    "tood": Origin("tal", progress={"initial": 0.0}, coding=LogDistances(), decoded=True),
    "gfl": Origin(
        "atss",
        "gfl",
        terms={**TERMS, "dfl": ("box",)},
        # made up was also `bbox_head.integral.project`, which is the constant 0 … 16
        missing={"trajectory": "its distributions over box sides are of made-up lengths"},
    ),
    # cls and bbox_rf are of the second boxes, bbox is of the first
    "vfnet": Origin(
        "atss",
        "vfnet",
        terms={"cls": ("class", "background"), "bbox": ("refinement",), "bbox_rf": ("box",)},
        outputs={"refine": "refinement"},
    ),
    "dsl": Origin("soft_label"),
    "noisyanchor": Origin(
        "noisyanchor",
        preset="official",
        terms=DETECTRON2,
        # the running average of the normaliser starts at 100
        options={"kept": "batch", "normaliser": "start"},
        missing={"losses/tiny": "an unstable sort decides which anchors of equal overlap take the last places"},
    ),
    "simota": Origin(
        "simota",
        # the pairs' own class and the other classes there; L1 joins the box loss late in training
        terms={"cls": ("class", "background"), "bbox": ("box",), "l1": ("box",), "obj": ("objectness",)},
        progress={"main": 0.0},
    ),
    "ota": Origin(
        "ota",
        preset="official",
        terms=DETECTRON2,
        missing={"losses/tiny": "how float32 rounds beside 1e6 decides what objects without candidates take"},
    ),
    "poto": Origin("poto", preset="official", terms=DETECTRON2),
    # it counts from the start of training; the counts of a first step are those of its batch
    "ddod": Origin("ddod", options={"counts": "batch"}),
    "dw": Origin(
        "dw",
        preset="official",
        terms={"cls_pos": ("bag",), "loc": ("bag",), "cls_neg": ("background",)},
        refined=refined,
    ),
    "guided_anchoring": Origin(
        "guided_anchoring",
        terms={**TERMS, "shape": ("shape",), "loc": ("location",)},
        outputs={"extra": "location", "shape": "shape"},
    ),
    "yolof": Origin("uniform"),
}


def origin_of(strategy: str) -> Origin:
    """What a strategy of a reference is here; by default it has the same name."""
    return ORIGINS.get(strategy, Origin(strategy))


def terms_as(
    names: Sequence[str], ours: Mapping[str, Tensor], where: str, terms: Mapping[str, tuple[str, ...]] = TERMS
) -> dict[str, Tensor]:
    """Our loss terms under the reference's names; names of the same terms of ours stand together, as ``bbox+dfl``.

    Raises:
        DataError: a name that is not in ``terms``, or terms of ours that no name covers.
    """
    unknown = [name for name in names if name not in terms]
    covered = {own for name in names if name in terms for own in terms[name]}
    if unknown or set(ours) - covered:
        odd = ", ".join(unknown or sorted(set(ours) - covered))
        raise DataError(f"{where}: loss terms {', '.join(names)} do not fit ours ({', '.join(ours)}): {odd}")
    return {
        name: torch.stack([ours[one] for one in own if one in ours] or [_zero(ours)]).sum()
        for own, name in joint_names(names, terms).items()
    }


def joint_names(names: Sequence[str], terms: Mapping[str, tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """Terms of ours → the reference's names of them, joined by "+"."""
    together: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        together.setdefault(terms.get(name, (name,)), []).append(name)
    return {own: "+".join(group) for own, group in together.items()}


def golden_terms(golden: Mapping[str, Tensor], terms: Mapping[str, tuple[str, ...]] = TERMS) -> dict[str, Tensor]:
    """The reference's own losses under the names that `terms_as` gives."""
    return {
        name: torch.stack([golden[one] for one in name.split("+")]).sum()
        for name in joint_names(list(golden), terms).values()
    }


def _zero(ours: Mapping[str, Tensor]) -> Tensor:
    """A term that our record leaves out (AutoAssign's centre loss, when it is off) is 0."""
    return next(iter(ours.values())).new_zeros(())


def made_state(shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """The values of a network of vectors, from its checkpoint's names and shapes: drawn, not stored."""
    return {name: _made(name, tuple(shape)) for name, shape in shapes.items()}


def _made(name: str, shape: tuple[int, ...]) -> Tensor:
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    x = torch.randn(shape or (1,), generator=generator).reshape(shape)
    if name.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    if name.endswith("running_var"):
        return 1 + 0.1 * x.abs()
    if name.endswith("running_mean"):
        return 0.1 * x
    if name.endswith(".scale"):
        return 1 + 0.1 * x
    if name.endswith("sigma"):
        return 1 + 0.1 * x.abs()
    if len(shape) == 4:
        return x * math.sqrt(1 / math.prod(shape[1:]))
    return 1 + 0.1 * x if name.endswith("weight") else 0.1 * x
