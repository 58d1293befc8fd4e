"""The class outputs, touched once: one pass for the background, one gradient for everything that is read off them.

The class outputs are by far the largest tensor of a detector (a tenth of a gigabyte for nine anchors, 80 classes and
two images), and almost all that happens to them is the background term; what pairs need are some thousand entries.
Plain indexing makes every reader a gradient as large as the tensor, and every elementary step of a focal loss another
pass over memory. Here the background term and its gradient come from one pass, a cache-sized piece at a time, and
entries that are read off hand in their gradients as a list that is added to that dense gradient at the end.

    p    = σ(z), or σ(z)·σ(o) where an extra output o joins the class outputs z
    f    = −p^γ log(1 − p)
    f′   = γ (1 − p) f + p^(γ+1)                              by the logit of p
    ∂z   = f′ · (1 − σ(z)) / (1 − p)        ∂o = f′ · (1 − σ(o)) / (1 − p)        both fractions are 1 without o

With A = e^−z, B = e^−o and S = A + B + AB: p = 1 / (1 + S), −log(1 − p) = log(1 + 1/S), 1 − σ(z) = A / (1 + A).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

PIECE = 1 << 16  # entries worked on at once on a CPU: they stay in its cache
DEVICE_PIECE = 1 << 26  # on a GPU: bounds the memory of intermediate results
LIMIT = 40.0  # e^−40 is as good as 0 beside 1; beyond it, products of two exponentials would overflow


def join_logits(logits: Tensor, extra: Tensor) -> Tensor:
    """The logit of σ(logits) · σ(extra): ``[..., class], [...] → [..., class]``, without leaving the log domain.

    1 / p = (1 + e^−c)(1 + e^−o), so −logit(p) = log(1/p − 1) = log( e^−o + e^−c (1 + e^−o) ).
    """
    return -torch.logaddexp(F.softplus(-extra)[..., None] - logits, -extra[..., None])


class Ledger:
    """Reads off one tensor of class outputs ``[image, location, class]``, and its one gradient.

    Nothing here changes the outputs. Several backward passes through the same graph are fine.
    """

    def __init__(self, outputs: Tensor) -> None:
        self.outputs = outputs.detach().contiguous()
        self.dense: Tensor | None = None  # gradient of the background terms, while a backward pass is under way
        self.listed: list[tuple[Tensor, Tensor]] = []  # flat index and gradient of entries that were read off
        with torch.enable_grad():  # whoever reads first may do so without gradients
            self.token = _Open.apply(outputs, self)

    def index(self, image: Tensor, location: Tensor, label: Tensor) -> Tensor:
        """Flat indices of entries: ``[entry]`` each."""
        _, locations, classes = self.outputs.shape
        return (image * locations + location) * classes + label

    def read(self, image: Tensor, location: Tensor, label: Tensor) -> Tensor:
        """The outputs of entries: ``[entry]`` each."""
        return _Read.apply(self.token, self, self.index(image, location, label))

    def background(self, gamma: float, without: Tensor, weight: Tensor | None, extra: Tensor | None) -> Tensor:
        """Σ weight · f over all entries.

        Args:
            gamma: γ.
            without: flat indices of entries that are left out.
            weight: ``[image, location]`` without gradient; None: 1.
            extra: o, ``[image, location]``; None: nothing joins.
        """
        return _Background.apply(self.token, extra, self, gamma, without, weight)


class _Open(Function):
    """The outputs as a token that readers depend on, so that its backward runs after all of theirs."""

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, ledger: Ledger) -> Tensor:
        ctx.ledger = ledger
        return outputs.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor | None, ...]:
        ledger: Ledger = ctx.ledger
        gradient = torch.zeros_like(ledger.outputs) if ledger.dense is None else ledger.dense
        for index, values in ledger.listed:
            gradient.view(-1).index_add_(0, index, values)
        ledger.dense, ledger.listed = None, []
        return gradient, None


class _Read(Function):
    """Entries of the outputs."""

    @staticmethod
    def forward(ctx: Any, token: Tensor, ledger: Ledger, index: Tensor) -> Tensor:
        ctx.ledger, ctx.token = ledger, token
        ctx.save_for_backward(index)
        return ledger.outputs.view(-1)[index]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (index,) = ctx.saved_tensors
        ctx.ledger.listed.append((index, gradients[0]))
        return torch.zeros_like(ctx.token), None, None


class _Background(Function):
    """The background term; its gradient is computed on the way and waits for its factor."""

    @staticmethod
    def forward(
        ctx: Any,
        token: Tensor,
        extra: Tensor | None,
        ledger: Ledger,
        gamma: float,
        without: Tensor,
        weight: Tensor | None,
    ) -> Tensor:
        ctx.ledger, ctx.gamma, ctx.without, ctx.weight, ctx.token = ledger, gamma, without, weight, token
        ctx.extra = None if extra is None else extra.detach()
        total, ctx.found = one_pass(ledger.outputs, ctx.extra, gamma, without, weight)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        ledger: Ledger = ctx.ledger
        if ctx.found is None:  # a further backward pass: the first has given its gradient away
            _, ctx.found = one_pass(ledger.outputs, ctx.extra, ctx.gamma, ctx.without, ctx.weight)
        (dense, joined), ctx.found = ctx.found, None
        dense = dense.mul_(gradients[0])
        ledger.dense = dense if ledger.dense is None else ledger.dense.add_(dense)
        return torch.zeros_like(ctx.token), None if joined is None else joined * gradients[0], None, None, None, None


def one_pass(
    outputs: Tensor, extra: Tensor | None, gamma: float, without: Tensor, weight: Tensor | None
) -> tuple[Tensor, tuple[Tensor, Tensor | None]]:
    """Σ weight · f, and its gradients by the outputs and by the extra output."""
    classes = outputs.shape[-1]
    rows = outputs.view(-1, classes)
    gradient = torch.empty_like(outputs)
    joined = None if extra is None else torch.empty_like(extra)
    odds = None if extra is None else (-extra.reshape(-1, 1).clamp(-LIMIT, LIMIT)).exp_()
    share = None if weight is None else weight.reshape(-1, 1)
    step = max(1, (PIECE if outputs.device.type == "cpu" else DEVICE_PIECE) // classes)
    skipped = torch.zeros_like(rows, dtype=torch.bool)
    skipped.view(-1)[without] = True

    totals = []
    for start in range(0, len(rows), step):
        piece = slice(start, start + step)
        z = rows[piece]
        slope = gradient.view(-1, classes)[piece]
        if odds is None:
            p = z.sigmoid()
            value = p.pow(gamma).mul_(F.softplus(z))
            torch.pow(p, gamma + 1, out=slope)
            slope.add_(torch.addcmul(value, p, value, value=-1), alpha=gamma)
        else:
            b = odds[piece]
            a = (-z.clamp(-LIMIT, LIMIT)).exp_()
            s = torch.addcmul(a, a, b).add_(b)
            inverse = s.reciprocal()
            p = s.add_(1).reciprocal_()
            value = p.pow(gamma).mul_(inverse.log1p())
            torch.pow(p, gamma + 1, out=slope)
            slope.add_(torch.addcmul(value, p, value, value=-1), alpha=gamma).mul_(inverse.add_(1))  # f′ / (1 − p)
        value.masked_fill_(skipped[piece], 0)
        slope.masked_fill_(skipped[piece], 0)
        if share is not None:
            value.mul_(share[piece])
            slope.mul_(share[piece])
        if odds is not None and joined is not None:
            joined.view(-1)[piece] = slope.sum(-1) * (b / (1 + b))[:, 0]
            slope.mul_(a.div_(a + 1))
        totals.append(value.sum())
    total = torch.stack(totals).double().sum().to(outputs.dtype) if totals else outputs.new_zeros(())
    return total, (gradient, joined)
