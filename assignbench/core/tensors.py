"""Small things about tensors: shapes that must fit, and where they lie."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.autograd import function

_Backward = TypeVar("_Backward", bound=Callable[..., Any])


def once_differentiable(backward: _Backward) -> _Backward:
    """Torch's mark of a backward pass that has none of its own: whoever asks for second derivatives is told so."""
    return cast(_Backward, function.once_differentiable(backward))


def require_shape(name: str, tensor: Tensor, *axes: int | None) -> None:
    """Refuse what is no tensor, and a tensor whose shape does not fit; None stands for any length."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a tensor, not {type(tensor).__name__}")
    fits = tensor.ndim == len(axes) and all(
        want is None or want == have for want, have in zip(axes, tensor.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if axis is None else str(axis) for axis in axes)
        raise ValueError(f"{name} must have shape [{wanted}], not {list(tensor.shape)}")


def require_numbers(name: str, tensor: Tensor, *axes: int | None) -> None:
    """As `require_shape`, for numbers that are not counted or listed: floats."""
    require_shape(name, tensor, *axes)
    if not tensor.is_floating_point():
        raise TypeError(f"{name} must hold floats, not {str(tensor.dtype).removeprefix('torch.')}")


def require_fixed(name: str, tensor: Tensor | None) -> None:
    """Refuse a gradient that would teach what is given to be learned, or would be dropped."""
    if tensor is not None and tensor.requires_grad:
        raise ValueError(f"{name} must not carry gradient: detach it, or decide under @torch.no_grad()")


def require_count(name: str, count: int) -> None:
    """Refuse a number that cannot count anything."""
    if not isinstance(count, int) or count < 1:
        raise ValueError(f"{name} must be a whole number from 1 on, got {count!r}")


def to_device(tensor: Tensor, device: torch.device | str) -> Tensor:
    """A tensor on a device; from the host to a GPU by way of page-locked memory, so that the host need not wait."""
    if tensor.device.type == "cpu" and torch.device(device).type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def free_to_wait(device: torch.device) -> bool:
    """Whether the host may ask for numbers at no cost: they are its own."""
    return device.type == "cpu"


def beside(tensor: Tensor, other: Tensor) -> Tensor:
    """A tensor where another one lies; see `to_device`."""
    return to_device(tensor, other.device)


def moved_to(tensor: Tensor | None, device: torch.device | str) -> Any:
    """As `to_device`, for what may be missing."""
    return None if tensor is None else to_device(tensor, device)
