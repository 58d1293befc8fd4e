"""Generalised IoU and its gradient, by both boxes, against autograd through the formula."""

from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor
from torch.autograd.gradcheck import gradcheck

from assignbench.core import giou


def plain_giou(a: Tensor, b: Tensor) -> Tensor:
    """IoU − (enclosing − union) / enclosing."""

    def areas(low: Tensor, high: Tensor) -> Tensor:
        return (high - low).relu().prod(-1)  # without slope where boxes only touch

    both = areas(torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:]))
    around = areas(torch.minimum(a[:, :2], b[:, :2]), torch.maximum(a[:, 2:], b[:, 2:])).clamp(min=1e-6)
    either = (extent(a) + extent(b) - both).clamp(min=1e-6)
    return both / either - (around - either) / around


def extent(boxes: Tensor) -> Tensor:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def boxes_on_lattice() -> tuple[Tensor, Tensor]:
    """All relations of two boxes along each axis, equal coordinates and no width among them."""
    intervals = [(low, high) for low, high in product(range(4), repeat=2) if low <= high]
    rows = torch.tensor([(x0, y0, x1, y1) for (x0, x1), (y0, y1) in product(intervals, repeat=2)])
    first, second = torch.cartesian_prod(torch.arange(len(rows)), torch.arange(len(rows))).unbind(1)
    return rows[first], rows[second]


def boxes_at_random() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    corner, size = (torch.rand(2, 500, 2, generator=generator, dtype=torch.float64) * 40 for _ in range(2))
    first, second = torch.cat((corner, corner + size), -1)
    return first, second


@pytest.mark.parametrize("make", [boxes_on_lattice, boxes_at_random])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_giou(make: Callable[[], tuple[Tensor, Tensor]], dtype: torch.dtype, tolerance: float) -> None:
    a, b = (part.to(dtype).requires_grad_() for part in make())
    have, want = giou(a, b), plain_giou(a, b)
    torch.testing.assert_close(have, want, rtol=tolerance, atol=tolerance)
    weight = torch.linspace(-1, 2, len(a), dtype=dtype)
    for leaves in ((a, b), (a,), (b,)):
        mine, true = (torch.autograd.grad((value * weight).sum(), leaves, retain_graph=True) for value in (have, want))
        for one, other in zip(mine, true, strict=True):
            torch.testing.assert_close(one, other, rtol=10 * tolerance, atol=10 * tolerance)


@pytest.mark.parametrize("which", [0, 1])
def test_either_box_may_be_the_prediction(which: int) -> None:
    a, b = boxes_at_random()
    pair = [a[:40], b[:40]]
    pair[which] = pair[which].clone().requires_grad_()
    before = giou(*pair)
    assert before.requires_grad
    (gradient,) = torch.autograd.grad(before.sum(), pair[which])
    pair[which] = pair[which].detach() + 0.1 * gradient
    assert bool((giou(*pair) >= before).all())
    assert giou(*pair).mean() > before.mean()
    assert not giou(a, b).requires_grad


def test_numerical_differentiation_by_both() -> None:
    a, b = (part[:30].clone().requires_grad_() for part in boxes_at_random())
    gradcheck(giou, (a, b), eps=1e-6, atol=1e-8, rtol=1e-6)


@pytest.mark.parametrize("which", [0, 1])
def test_second_derivatives_are_refused(which: int) -> None:
    pair = list(boxes_at_random())
    pair[which].requires_grad_()
    (gradient,) = torch.autograd.grad(giou(*pair).square().sum(), pair[which], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_giou_of_boxes_without_area() -> None:
    a = torch.tensor([[3.0, 3, 3, 3], [1, 2, 1, 9]], requires_grad=True)
    value = giou(a, a.detach().clone())
    (gradient,) = torch.autograd.grad(value.sum(), a)
    assert value.tolist() == [0, 0]
    assert torch.equal(gradient, torch.autograd.grad(plain_giou(a, a.detach()).sum(), a)[0])
