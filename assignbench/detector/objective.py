"""Assignment → named losses: the only place where losses are computed.

    each pair      c⁺ Σ_pairs w ℓ_class / N⁺   +   w_box Σ_pairs b_box λ L_box / N_box
    bag, any      −w_box Σ_objects log Σ_pairs w P / N⁺                     P = exp(−ℓ_bag): one good pair is enough
    bag, all      −w_box Σ_objects Σ_pairs w log P / N⁺                     the mean taken in logarithms
    background     c⁻ Σ_{image, location, class} b · v · q^γ · −log(1 − q) / N⁻,     q = p · d
    extras         each one's own loss / N⁺, or / its own N
    strategy       as the assignment gives them, means over images; a `Cost` as an extra's

w, b_box: the pairs' weights (`PairLoss.weigh_by` may set b_box, and N_box to its sum); b: the assignment's background,
0 where it ignores a location; d, v: factor and weight of its discounts, 1 where there is none; c⁺, c⁻, γ: the class
loss's, w_box: `PairLoss.weight`. Every N is that of all processes, at least 1, divided by their number: so the mean of
their losses is what one process with all pictures would charge, and a batch means the same on one GPU and on eight. A
preset may say otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor

from assignbench.core import Assignment, Extra, Pairs, PairView, PairViews, max_by, pick, sum_by
from assignbench.core.head import RESERVED
from assignbench.core.parts import Cost

DIVISORS = {"class": 0, "bag": 0, "box": 1, "background": 2}  # name of a term → place among `normalisers`
LEAST_WEIGHT = 1e-6  # of a box part that its own overlap weighs: a box that misses its object is still taught
UNTAUGHT = 100.0  # cost of an object that no location teaches: a constant, which has no gradient


@dataclass(frozen=True)
class Charges:
    """What a batch costs before it is divided: two of them add up to those of all their images as one batch."""

    totals: Mapping[str, Tensor]  # name → []: a sum over images; a mean where nothing divides it
    divisors: Mapping[str, int | None]  # name → place among `normalisers` of what divides it; None: nothing
    shares: Tensor  # of this process: N⁺, N_box, N⁻, what stands for N⁻, then N and its floor of each one's own
    least: float  # floor of N⁺ and N⁻
    least_box: float  # floor of N_box
    local: bool  # whether what divides is of this process alone
    images: int

    def __add__(self, other: Charges) -> Charges:
        count = self.images + other.images
        return replace(
            self,
            totals={
                name: one + other.totals[name]
                if self.divisors[name] is not None
                else (one * self.images + other.totals[name] * other.images) / count
                for name, one in self.totals.items()
            },
            shares=self.shares + other.shares,
            images=count,
        )

    def settled(self) -> Charges:
        """The same numbers for a sum over a whole split: in float64 in the host's memory, and of no process.

        Floors that are a process's own may grow with a batch's images; of many batches they are 1.
        """
        return replace(
            self,
            totals={name: one.detach().cpu().double() for name, one in self.totals.items()},
            shares=self.shares.cpu().double(),
            least=1.0 if self.local else self.least,
            least_box=1.0 if self.local else self.least_box,
            local=True,
        )


def objective(assignment: Assignment, view: PairViews, extras: tuple[Extra, ...]) -> Mapping[str, Tensor]:
    """All losses of a batch by name; their sum is what is minimised. Arguments and errors are those of `charges`."""
    return divided(charges(assignment, view, extras))


def charges(assignment: Assignment, view: PairViews, extras: tuple[Extra, ...]) -> Charges:
    """What a batch costs, by name, before it is divided.

    Every head output stays connected to the sum, whatever the batch holds, so that no process of several
    waits for a gradient that never comes.

    Args:
        assignment: the record.
        view: the batch, as the strategy saw it.
        extras: extra outputs of the head.

    Raises:
        ValueError: a loss of the strategy has the name of another one, or it changed what `view` shows.
    """
    loss, predictions = view.loss, view.predictions
    pair = view(assignment.pairs.object, assignment.pairs.location)
    view.intact()
    assignment = weighed(assignment, pair)
    if taken := set(assignment.losses) & {*RESERVED, *(extra.name for extra in extras)}:
        raise ValueError(f"a loss of the strategy cannot be called {min(taken)!r}: there is another one of that name")
    found = {extra.name: extra.loss(assignment, view) for extra in extras}
    view.intact()
    for name, cost in found.items():
        if cost is not None and not isinstance(cost, Cost):
            raise TypeError(f"the loss of the extra output {name!r} must be a Cost or None, not {type(cost).__name__}")
    costs = {name: cost for name, cost in found.items() if cost is not None}
    costs |= {name: cost for name, cost in assignment.losses.items() if isinstance(cost, Cost)}
    means = {name: loss for name, loss in assignment.losses.items() if not isinstance(loss, Cost)}

    untaught = predictions.regression.sum() + sum(extra.sum() for extra in predictions.extras.values())
    background = loss.classes.negative_weight * background_loss(assignment, view) + 0 * untaught
    totals = positive_terms(assignment, pair) | {"background": background}
    divisors: dict[str, int | None] = {name: DIVISORS[name] for name in totals}
    own = assignment.normalisers
    shares = [own.positive, own.box, own.negative, own.negative if own.unpaired is None else own.unpaired]
    further = len(set(DIVISORS.values()))
    for name, cost in costs.items():
        totals[name], divisors[name] = cost.total, 0
        if cost.share is not None:
            divisors[name], further = further, further + 1
            shares += cost.share
    return Charges(
        totals=totals | means,
        divisors=divisors | dict.fromkeys(means),
        shares=torch.stack(shares).detach(),
        least=own.least,
        least_box=own.least_box,
        local=own.local,
        images=predictions.images,
    )


def divided(charged: Charges) -> Mapping[str, Tensor]:
    """The losses: each total by what divides it. Every process must call it, unless the shares are local."""
    by = normalisers(charged)
    places = charged.divisors
    return {name: one if (at := places[name]) is None else one / by[at] for name, one in charged.totals.items()}


def weighed(assignment: Assignment, pair: PairView) -> Assignment:
    """The record with the box weights that the loss asks for, where it does: each is part of its pair's weight."""
    if pair.loss.weigh_by is None:
        return assignment
    measure = pair.score if pair.loss.weigh_by == "score" else pair.overlap.clamp(min=LEAST_WEIGHT)
    weight = assignment.pairs.weight.detach() * measure
    return replace(
        assignment,
        pairs=replace(assignment.pairs, box_weight=weight),
        normalisers=replace(assignment.normalisers, box=weight.sum(), least_box=1.0),
    )


def positive_terms(assignment: Assignment, pair: PairView) -> dict[str, Tensor]:
    """What the pairs cost, before it is divided: class and box part, or the bags."""
    pairs, loss = assignment.pairs, pair.loss
    match assignment.bag:
        case "any":
            cost = floored_bags(pairs, pair) if loss.floored else bags(pairs, pair)
            return {"bag": loss.weight * cost.sum()}
        case "all":
            return {"bag": loss.weight * (pairs.weight * pair.cost).sum()}
    quality = pairs.quality
    if quality is None:
        quality = pair.overlap if loss.classes.learns_overlap else torch.ones_like(pairs.weight)
    class_sum = (pairs.weight * loss.classes.positive(pair.logit, quality)).sum()
    box_sum = (pairs.box_weight * pair.box_part).sum()
    return {"class": loss.classes.positive_weight * class_sum, "box": loss.weight * box_sum}


def normalisers(charged: Charges) -> tuple[Tensor, ...]:
    """N⁺, N_box, N⁻, and each cost's own: averaged over processes in one call that all of them make, then floored.

    The floor is averaged, too: of eight processes that share 4 positives none may divide by 1 where one divides by 4.
    """
    shares, processes = charged.shares, 1
    if not charged.local and torch.distributed.is_available() and torch.distributed.is_initialized():
        processes = torch.distributed.get_world_size()
        shares = shares.clone()
        torch.distributed.all_reduce(shares)
        shares = shares / processes
    least = shares.new_tensor((charged.least, charged.least_box, charged.least)) / processes
    negative = shares[2].where(shares[0] > 0, shares[3])
    common = torch.maximum(torch.stack((shares[0], shares[1], negative)), least)
    return *common.unbind(), *shares[4:].view(-1, 2).amax(1).clamp(min=1 / processes).unbind()


def bags(pairs: Pairs, pair: PairView) -> Tensor:
    """−log Σ_pairs w P of each object, in logarithms: ``[object]``. An object without any pair costs `UNTAUGHT`."""
    count = len(pair.targets)
    logs = pairs.weight.clamp(min=torch.finfo(pairs.weight.dtype).tiny).log() - pair.cost
    taught = torch.zeros(count, dtype=torch.bool, device=logs.device).index_fill_(0, pairs.object, value=True)
    largest = max_by(logs.detach(), pairs.object, count).where(taught, -UNTAUGHT)
    total = sum_by((logs - pick(largest, pairs.object)).exp(), pairs.object, count)
    return -(largest + total.where(total > 0, 1.0).log())


def floored_bags(pairs: Pairs, pair: PairView) -> Tensor:
    """As `bags`, with the floor of the references: ``[object]``."""
    likelihood = sum_by(pairs.weight * pair.likelihood, pairs.object, len(pair.targets))
    number = likelihood.nan_to_num(nan=1.0).clamp(0, 1)  # rounding may exceed 1
    cost = F.binary_cross_entropy(number, torch.ones_like(number), reduction="none")
    return torch.where(likelihood.isnan(), likelihood, cost)  # what is not a number has to reach the training loop


def background_loss(assignment: Assignment, view: PairViews) -> Tensor:
    """The background term of all classes at all locations, of discounted entries with their factor and weight."""
    discounts, predictions, outputs = assignment.discounts, view.predictions, view.predictions.class_outputs
    return outputs.background(
        view.loss.classes.gamma,
        entries=outputs.index(discounts.image, discounts.location, discounts.label),
        factor=discounts.factor,
        weight=discounts.weight,
        share=background_share(assignment),
        extra=None if predictions.joined is None else predictions.extras[predictions.joined],
    )


def background_share(assignment: Assignment) -> Tensor | None:
    """b, 0 where a location is ignored: ``[image, location]``; None: 1 everywhere."""
    if assignment.ignored is None:
        return assignment.background
    taught = (~assignment.ignored).float()
    return taught if assignment.background is None else assignment.background * taught
