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

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

PIECE = 1 << 16  # entries worked on at once on a CPU: they stay in its cache
DEVICE_PIECE = 1 << 26  # on a GPU: bounds the memory of intermediate results
FAINT = 1e-12  # probabilities below it count as 0: their powers would be denormal, and a hundred times as slow
REST = 1e-7  # least 1 − q: its logarithm stays finite
LIMIT = 40.0  # e^−40 is as good as 0 beside 1; beyond it, products of two exponentials would overflow


def join_logits(logits: Tensor, extra: Tensor) -> Tensor:
    """The logit of σ(logits) · σ(extra): ``[..., class], [...] → [..., class]``, without leaving the log domain.

    1 / p = (1 + e^−c)(1 + e^−o), so −logit(p) = log(1/p − 1) = log( e^−o + e^−c (1 + e^−o) ).
    """
    return -torch.logaddexp(F.softplus(-extra)[..., None] - logits, -extra[..., None])


class _Account:
    """What a ledger's readers share. It knows no graph, so that no graph keeps itself alive through it."""

    def __init__(self, outputs: Tensor) -> None:
        self.outputs = outputs  # detached
        self.dense: Tensor | None = None  # gradient of the background terms, while a backward pass is under way
        self.listed: list[tuple[Tensor, Tensor]] = []  # flat index and gradient of entries that were read off


class Ledger:
    """Reads off one tensor of class outputs ``[image, location, class]``, and its one gradient.

    Nothing here changes the outputs. Several backward passes through the same graph are fine.
    """

    def __init__(self, outputs: Tensor) -> None:
        self._account = _Account(outputs.detach().contiguous())
        with torch.enable_grad():  # whoever reads first may do so without gradients
            self._token = _Open.apply(outputs, self._account)

    def index(self, image: Tensor, location: Tensor, label: Tensor) -> Tensor:
        """Flat indices of entries: ``[entry]`` each."""
        _, locations, classes = self._account.outputs.shape
        return (image * locations + location) * classes + label

    def read(self, image: Tensor, location: Tensor, label: Tensor) -> Tensor:
        """The outputs of entries: ``[entry]`` each."""
        return _Read.apply(self._token, self._account, self.index(image, location, label))

    def background(
        self,
        gamma: float,
        *,
        entries: Tensor,
        factor: Tensor,
        weight: Tensor | None = None,
        share: Tensor | None = None,
        extra: Tensor | None = None,
    ) -> Tensor:
        """Σ share · f over all entries, where a list of them counts weight · f of the probability p · factor.

        Args:
            gamma: γ.
            entries: flat indices of that list, each once: `index`.
            factor: ``[entry]`` in [0, 1], without gradient; 0 leaves the entry out.
            weight: ``[entry]``, without gradient; None: 1.
            share: ``[image, location]``, without gradient; None: 1.
            extra: o, ``[image, location]``; None: nothing joins.
        """
        rule = _Rule(gamma, entries, factor.detach(), *(None if w is None else w.detach() for w in (weight, share)))
        return _Background.apply(self._token, extra, self._account, rule)


@dataclass(frozen=True)
class _Rule:
    """What `Ledger.background` is asked for, apart from the outputs."""

    gamma: float
    entries: Tensor
    factor: Tensor
    weight: Tensor | None
    share: Tensor | None


@dataclass(frozen=True)
class _Slopes:
    """Gradients of the background term."""

    outputs: Tensor  # [image, location, class]
    extra: Tensor | None  # [image, location]


class _Open(Function):
    """The outputs as a token that readers depend on, so that its backward runs after all of theirs."""

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, account: _Account) -> Tensor:
        ctx.account = account
        return outputs.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor | None, ...]:
        account: _Account = ctx.account
        gradient = torch.zeros_like(account.outputs) if account.dense is None else account.dense
        for index, values in account.listed:
            gradient.view(-1).index_add_(0, index, values)
        account.dense, account.listed = None, []
        return gradient, None


class _Read(Function):
    """Entries of the outputs."""

    @staticmethod
    def forward(ctx: Any, _token: Tensor, account: _Account, index: Tensor) -> Tensor:
        ctx.account = account
        ctx.save_for_backward(index)
        return account.outputs.view(-1)[index]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (index,) = ctx.saved_tensors
        ctx.account.listed.append((index, gradients[0]))
        return gradients[0].new_zeros(()), None, None


class _Background(Function):
    """The background term; its gradient is computed on the way and waits for its factor."""

    @staticmethod
    def forward(ctx: Any, _token: Tensor, extra: Tensor | None, account: _Account, rule: _Rule) -> Tensor:
        ctx.account, ctx.rule = account, rule
        ctx.extra = None if extra is None else extra.detach()
        total, ctx.slopes = one_pass(account.outputs, ctx.extra, rule)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        account: _Account = ctx.account
        if ctx.slopes is None:  # a further backward pass: the first has given its gradient away
            _, ctx.slopes = one_pass(account.outputs, ctx.extra, ctx.rule)
        slopes, ctx.slopes = ctx.slopes, None
        dense = slopes.outputs.mul_(gradients[0])
        account.dense = dense if account.dense is None else account.dense.add_(dense)
        extra = None if slopes.extra is None else slopes.extra.mul_(gradients[0])
        return gradients[0].new_zeros(()), extra, None, None


def one_pass(outputs: Tensor, extra: Tensor | None, rule: _Rule) -> tuple[Tensor, _Slopes]:
    """The term and its gradients: all entries piece by piece, then the list in their stead."""
    classes = outputs.shape[-1]
    rows, gamma = outputs.view(-1, classes), rule.gamma
    gradient = torch.empty_like(rows)
    joined = None if extra is None else torch.empty_like(extra).view(-1)
    odds = None if extra is None else (-extra.reshape(-1, 1).clamp(-LIMIT, LIMIT)).exp_()
    share = None if rule.share is None else rule.share.reshape(-1, 1)
    listed = torch.zeros_like(rows, dtype=torch.bool)
    listed.view(-1)[rule.entries] = True

    step = max(1, (PIECE if outputs.device.type == "cpu" else DEVICE_PIECE) // classes)
    totals = [rows.new_zeros(())]
    for start in range(0, len(rows), step):
        piece = slice(start, start + step)
        z, slope = rows[piece], gradient[piece]
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
        value.masked_fill_(listed[piece], 0)
        slope.masked_fill_(listed[piece], 0)
        if share is not None:
            value.mul_(share[piece])
            slope.mul_(share[piece])
        if odds is not None and joined is not None:
            joined[piece] = slope.sum(-1) * (b / (1 + b))[:, 0]
            slope.mul_(a.div_(a + 1))
        totals.append(value.sum())
    totals.append(discounted(rows, gradient, extra, joined, rule))
    total = torch.stack(totals).double().sum().to(outputs.dtype)
    return total, _Slopes(gradient.view_as(outputs), None if joined is None else joined.view_as(extra))


def discounted(rows: Tensor, gradient: Tensor, extra: Tensor | None, joined: Tensor | None, rule: _Rule) -> Tensor:
    """The list's share of the term; writes its gradients.

    With q = p · d:  f = −q^γ log(1 − q),  q · ∂f/∂q = γ f + q^(γ+1) / (1 − q),  ∂q/∂z = q (1 − σ(z)).
    """
    place = rule.entries // rows.shape[-1]
    z = rows.view(-1)[rule.entries]
    p = z.sigmoid()
    o = None if extra is None else extra.view(-1)[place]
    q = (p if o is None else p * o.sigmoid()) * rule.factor
    q = q.masked_fill(q < FAINT, 0)
    rest = (1 - q).clamp(min=REST)
    value = -q.pow(rule.gamma) * rest.log()
    slope = value * rule.gamma + q.pow(rule.gamma + 1) / rest
    for weight in (rule.weight, None if rule.share is None else rule.share.reshape(-1)[place]):
        if weight is not None:
            value, slope = value * weight, slope * weight
    gradient.view(-1)[rule.entries] = slope * (-z).sigmoid()
    if o is not None and joined is not None:
        joined.index_add_(0, place, slope * (-o).sigmoid())
    return value.sum()
