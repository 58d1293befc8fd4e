"""mmdetection's vocabulary: what its loss terms are called, and the made-up values of its networks."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from assignbench.errors import DataError

# its name of a loss term → ours, which are added
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


def terms_as(names: Sequence[str], ours: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Our loss terms under the reference's names.

    Raises:
        DataError: a name that is not in `TERMS`, or terms of ours that no name covers.
    """
    unknown = [name for name in names if name not in TERMS]
    covered = {own for name in names if name in TERMS for own in TERMS[name]}
    if unknown or set(ours) - covered:
        odd = ", ".join(unknown or sorted(set(ours) - covered))
        raise DataError(f"{where}: loss terms {', '.join(names)} do not fit ours ({', '.join(ours)}): {odd}")
    return {
        name: torch.stack([ours[own] for own in TERMS[name] if own in ours] or [_zero(ours)]).sum() for name in names
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
