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

import math
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

from assignbench.core.fast.rows import best_of, small_keys
from assignbench.core.geometry import pick
from assignbench.core.tensors import free_to_wait, once_differentiable

PIECE = 1 << 16  # entries worked on at once on a CPU: they stay in its cache
ROWS = 32  # a piece has a multiple of them: the last entries of a vector unit's width are rounded in another way
DEVICE_PIECE = 1 << 26  # on a GPU: bounds the memory of intermediate results
FAINT = 1e-12  # probabilities below it count as 0: their powers would be denormal, and a hundred times as slow
REST = 1e-30  # least 1 − q: its logarithm stays finite
DENSE = 128  # a list of at least one in so many entries becomes a table of all, which is read in order
FEW = 128  # a list of at most one in so many entries is sorted, and cleared piece by piece
LIMIT = 40.0  # e^−40 is as good as 0 beside 1; beyond it, products of two exponentials would overflow


def join_logits(logits: Tensor, extra: Tensor) -> Tensor:
    """The logit of σ(logits) · σ(extra): ``[..., class], [...] → [..., class]``, without leaving the log domain.

    1 / p = (1 + e^−c)(1 + e^−o), so −logit(p) = log(1/p − 1) = log( e^−o + e^−c (1 + e^−o) ).
    """
    return -torch.logaddexp(F.softplus(-extra)[..., None] - logits, -extra[..., None])


@torch.no_grad()
def by_location(cost: Callable[[Tensor], Tensor], outputs: Tensor, extra: Tensor | None = None) -> Tensor:
    """Σ over classes of a cost of each logit, without gradient: ``[image, location, class] → [image, location]``.

    Args:
        cost: of logits, entry by entry.
        outputs: z.
        extra: o, ``[image, location]``; None: nothing joins.
    """
    classes = outputs.shape[-1]
    rows, joining = outputs.reshape(-1, classes), None if extra is None else extra.reshape(-1)
    step = max(1, (PIECE if outputs.device.type == "cpu" else DEVICE_PIECE) // classes)
    found = rows.new_zeros(len(rows))
    for start in range(0, len(rows), step):
        piece = slice(start, start + step)
        logits = rows[piece] if joining is None else join_logits(rows[piece], joining[piece])
        torch.sum(cost(logits), dim=-1, out=found[piece])
    return found.view(outputs.shape[:-1])


@dataclass(frozen=True)
class OverClasses:
    """Σ over classes of a cost of each logit, without gradient, of the places that are asked for: each computed once.

    On a GPU all are computed when it is first asked: to count those that are new would make the host wait.
    """

    cost: Callable[[Tensor, Tensor], Tensor]  # of logits [some, class] and their places [some], entry by entry
    outputs: Tensor  # z, [image, location, class]
    extra: Tensor | None = None  # o, [image, location]; None: nothing joins
    _sums: list[Tensor] = field(default_factory=list, init=False, repr=False)  # and which of them are known

    def __call__(self, place: Tensor) -> Tensor:
        """The sums at places, images · locations + locations: ``[pair] → [pair]``."""
        if not self._sums:
            values = self.outputs.new_zeros(self.outputs.shape[:-1].numel())
            self._sums.extend((values, torch.zeros_like(values, dtype=torch.bool)))
            if not free_to_wait(place.device):
                self._fill(torch.arange(len(values), device=place.device))
        values, known = self._sums
        if free_to_wait(place.device):
            self._fill((torch.zeros_like(known).index_fill_(0, place, True) & ~known).nonzero()[:, 0])
        return pick(values, place)

    @torch.no_grad()
    def _fill(self, places: Tensor) -> None:
        values, known = self._sums
        rows, classes = self.outputs.flatten(0, -2), self.outputs.shape[-1]
        step = max(1, (PIECE if rows.device.type == "cpu" else DEVICE_PIECE) // classes // ROWS) * ROWS
        for start in range(0, len(places), step):
            some = places[start : start + step]
            # whole vector units: the last entries would be rounded in another way, and equal costs not be equal
            some = torch.cat((some, some[-1:].expand(-len(some) % ROWS)))
            logits = rows.index_select(0, some)
            if self.extra is not None:
                logits = join_logits(logits, pick(self.extra.flatten(), some))
            values.index_copy_(0, some, self.cost(logits, some).sum(-1))
            known.index_fill_(0, some, True)


class _Account:
    """What the readers share. It knows no graph, so that no graph keeps itself alive through it."""

    def __init__(self, outputs: Tensor) -> None:
        self.outputs = outputs  # detached
        self.listed: list[tuple[Tensor, Tensor]] = []  # flat index and gradient of entries that were read off


class ClassOutputs:
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
        return torch.add(label, torch.add(location, image, alpha=locations), alpha=classes)

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
            entries: flat indices of that list: `index`.
            factor: ``[entry]`` in [0, 1], without gradient; 0 leaves the entry out. Of several for an entry the
                smallest counts, if there are no weights.
            weight: ``[entry]``, without gradient; of an entry that occurs again, all but one are 0. None: 1.
            share: ``[image, location]``, without gradient; None: 1.
            extra: o, ``[image, location]``; None: nothing joins.
        """
        factor, weight, table = factor.detach(), None if weight is None else weight.detach(), None
        outputs = self._account.outputs
        if weight is None and extra is not None and DENSE * len(entries) >= outputs.numel():
            table = factor.new_ones(outputs.numel()).scatter_reduce_(0, entries, factor, "amin").view(outputs.shape)
        elif weight is None:
            weight = smallest_alone(entries, factor, outputs.numel())
        rule = _Rule(gamma, entries, factor, weight, None if share is None else share.detach(), table)
        return _Background.apply(self._token, extra, self._account, rule)


@dataclass(frozen=True)
class _Rule:
    """What `ClassOutputs.background` is asked for, apart from the outputs."""

    gamma: float
    entries: Tensor
    factor: Tensor
    weight: Tensor | None
    share: Tensor | None
    table: Tensor | None  # the factor of every entry, where the list is long: [image, location, class]


@dataclass(frozen=True)
class _Slopes:
    """Gradients of the background term."""

    outputs: Tensor  # [image, location, class]
    extra: Tensor | None  # [image, location]


class _Open(Function):
    """The outputs as a token that readers depend on, so that its backward runs after all of theirs.

    The token has their shape and no memory of its own. The background's gradient comes back along it, in a tensor that
    nobody else holds; a backward pass that does not ask for the outputs' gradient drops it, so that nothing is left
    over for the next one.
    """

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, account: _Account) -> Tensor:
        ctx.account = account
        ctx.set_materialize_grads(False)
        return outputs.new_zeros(()).expand(outputs.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        account: _Account = ctx.account
        gradient = torch.zeros_like(account.outputs) if gradients[0] is None else gradients[0]
        for index, values in account.listed:
            gradient.view(-1).index_add_(0, index, values)
        account.listed = []
        return gradient, None


class _Read(Function):
    """Entries of the outputs."""

    @staticmethod
    def forward(ctx: Any, _token: Tensor, account: _Account, index: Tensor) -> Tensor:
        ctx.account = account
        ctx.save_for_backward(index)
        return pick(account.outputs.view(-1), index)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (index,) = ctx.saved_tensors
        account: _Account = ctx.account
        account.listed.append((index, gradients[0]))
        # torch does not see the list: where a gradient is to be differentiated again, it must see one to refuse that
        return torch.zeros_like(account.outputs) if gradients[0].requires_grad else None, None, None


class _Background(Function):
    """The background term; its gradient is computed on the way and waits for its factor."""

    @staticmethod
    def forward(ctx: Any, _token: Tensor, extra: Tensor | None, account: _Account, rule: _Rule) -> Tensor:
        ctx.account, ctx.rule = account, rule
        ctx.extra = None if extra is None else extra.detach()
        total, ctx.slopes = one_pass(account.outputs, ctx.extra, rule)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        account: _Account = ctx.account
        if ctx.slopes is None:  # a further backward pass: the first has given its gradient away
            _, ctx.slopes = one_pass(account.outputs, ctx.extra, ctx.rule)
        slopes, ctx.slopes = ctx.slopes, None
        extra = None if slopes.extra is None else slopes.extra.mul_(gradients[0])
        return slopes.outputs.mul_(gradients[0]), extra, None, None


def one_pass(outputs: Tensor, extra: Tensor | None, rule: _Rule) -> tuple[Tensor, _Slopes]:
    """The term and its gradients: all entries piece by piece, then the list in their stead."""
    classes = outputs.shape[-1]
    rows = outputs.view(-1, classes)
    gradient = torch.empty_like(rows)
    odds = None if extra is None else (-extra.reshape(-1, 1).clamp(-LIMIT, LIMIT)).exp_()  # B
    joined = None if odds is None else torch.empty_like(odds)  # gradient by o
    share = None if rule.share is None else rule.share.reshape(-1, 1)
    table = None if rule.table is None else rule.table.view(rows.shape)
    step = (PIECE if outputs.device.type == "cpu" else DEVICE_PIECE) // classes // ROWS * ROWS or ROWS
    few = free_to_wait(outputs.device) and FEW * len(rule.entries) <= rows.numel()
    own = split(rule.entries, step * classes, rows.numel()) if few and table is None else None  # of each piece
    listed = torch.zeros_like(rows, dtype=torch.bool) if own is None and table is None else None
    if listed is not None:
        listed.view(-1).index_fill_(0, rule.entries, True)  # an assignment of True makes the host wait for a GPU

    weighed: Container[int] = range(len(rows))  # the pieces whose shares are not all 1
    if share is not None and free_to_wait(outputs.device):
        weighed = set(((share[:, 0] != 1).nonzero()[:, 0] // step).tolist())

    totals = [rows.new_zeros(())]
    for number, start in enumerate(range(0, len(rows), step)):
        piece = slice(start, start + step)
        slope, mask = gradient[piece], None if listed is None else listed[piece]
        if odds is None or joined is None:
            value, a = plain_piece(rows[piece], mask, rule.gamma, slope), None
        elif table is not None:
            value, a = table_piece(rows[piece], table[piece], odds[piece], rule.gamma, slope)
        else:
            value, a = joined_piece(rows[piece], mask, odds[piece], rule.gamma, slope)
        if own is not None:
            for each in (value, slope):
                each.view(-1).index_fill_(0, own[number], 0)
        if share is not None and number in weighed:
            value.mul_(share[piece])
            slope.mul_(share[piece])
        if joined is not None and a is not None:
            torch.sum(slope, dim=-1, keepdim=True, out=joined[piece])
            slope.mul_(a).div_(a.add_(1))
        totals.append(value.sum())
    by_extra = None
    if joined is not None and odds is not None and extra is not None:
        by_extra = joined.mul_(odds / (1 + odds)).view_as(extra)
    if table is None:
        totals.append(discounted(rows, gradient, extra, by_extra, rule))
    total = torch.stack(totals).double().sum().to(outputs.dtype)
    return total, _Slopes(gradient.view_as(outputs), by_extra)


def smallest_alone(entries: Tensor, factor: Tensor, count: int) -> Tensor:
    """1 for the smallest factor of each entry, the first of equal ones, and 0 for others: ``[entry]`` each."""
    return best_of(small_keys(entries, count), -factor).to(factor.dtype)


def split(entries: Tensor, step: int, count: int) -> list[Tensor]:
    """The entries of each piece of ``step`` of ``count`` numbers, counted from its start."""
    ascending, starts = entries.sort().values, torch.arange(0, count, step)
    sizes = torch.searchsorted(ascending, torch.cat((starts, starts.new_tensor([count])))).diff().tolist()
    return list((ascending % step).split(sizes))


def farthest(z: Tensor) -> float:
    """The negated logit of an entry left out: there p^γ log(1 − p) is 0 in floating point; e^ of it is finite."""
    return 0.9 * math.log(torch.finfo(z.dtype).max)


def plain_piece(z: Tensor, listed: Tensor | None, gamma: float, slope: Tensor) -> Tensor:
    """The term f of a piece, f′ goes to ``slope``; listed entries count 0."""
    z = z if listed is None else z.masked_fill(listed, -farthest(z))
    p = z.sigmoid()
    value = p.pow(gamma).mul_(F.softplus(z))
    torch.pow(p, gamma + 1, out=slope)
    slope.add_(torch.addcmul(value, p, value, value=-1), alpha=gamma)
    return value


def joined_piece(z: Tensor, listed: Tensor | None, b: Tensor, gamma: float, slope: Tensor) -> tuple[Tensor, Tensor]:
    """The term f of a piece, and A; f′ / (1 − p) goes to ``slope``; listed entries count 0."""
    a = inverse_odds(z)
    odds = torch.addcmul(a, a, b).add_(b).reciprocal_()
    if listed is not None:  # as bytes: on a CPU torch fills by a mask a fourth as fast
        odds.mul_(1 - listed.view(torch.uint8).to(odds.dtype))
    return focal_piece(odds, gamma, slope), a


def table_piece(z: Tensor, d: Tensor, b: Tensor, gamma: float, slope: Tensor) -> tuple[Tensor, Tensor]:
    """As `joined_piece`, where every entry has a factor d; q · ∂f/∂q goes to ``slope``; see `discounted`.

    q / (1 − q) = d / (S + (1 − d)) keeps the digits of small q and of large ones.
    """
    a = inverse_odds(z)
    s = torch.addcmul(a, a, b).add_(b).add_(1 - d)
    return focal_piece(torch.div(d, s, out=s), gamma, slope), a


def inverse_odds(z: Tensor) -> Tensor:
    """A = e^−z; torch computes powers of 2 in a third of the time."""
    limit = LIMIT / math.log(2)
    return (z * (-1 / math.log(2))).clamp_(-limit, limit).exp2_()


def focal_piece(odds: Tensor, gamma: float, slope: Tensor) -> Tensor:
    """−q^γ log(1 − q) of q / (1 − q); q times its slope goes to ``slope``: γ times the term, and q^γ · q / (1 − q)."""
    power = odds + 1
    torch.div(odds, power, out=power).pow_(gamma)
    torch.mul(power, odds, out=slope)
    value = odds.log1p_().mul_(power)
    slope.add_(value, alpha=gamma)
    return value


def discounted(rows: Tensor, gradient: Tensor, extra: Tensor | None, by_extra: Tensor | None, rule: _Rule) -> Tensor:
    """The list's share of the term; writes its gradients.

    With q = p · d:  f = −q^γ log(1 − q),  q · ∂f/∂q = γ f + q^(γ+1) / (1 − q),  ∂q/∂z = q (1 − σ(z)).
    1 − q = (1 − d) + d (1 − p) keeps its digits where q is near 1.
    """
    place = rule.entries // rows.shape[-1]
    z = pick(rows.view(-1), rule.entries)
    p, not_p = z.sigmoid(), (-z).sigmoid()
    o = None if extra is None else pick(extra.reshape(-1), place)
    if o is not None:
        p, not_p = p * o.sigmoid(), not_p + p * (-o).sigmoid()
    q = p * rule.factor
    q = q.masked_fill(q < FAINT, 0)
    rest = ((1 - rule.factor) + rule.factor * not_p).clamp(min=REST)
    value = -q.pow(rule.gamma) * rest.log()
    slope = value * rule.gamma + q.pow(rule.gamma + 1) / rest
    for weight in (rule.weight, None if rule.share is None else pick(rule.share.reshape(-1), place)):
        if weight is not None:
            value, slope = value * weight, slope * weight
    gradient.view(-1).index_add_(0, rule.entries, slope * (-z).sigmoid())  # there it is 0: these entries are listed
    if o is not None and by_extra is not None:
        by_extra.view(-1).index_add_(0, place, slope * (-o).sigmoid())
    return value.sum()
