"""Assignment → named losses: the only place where losses are computed.

    positive, separate   α Σ_pairs w ℓ_class / N⁺   +   α Σ_pairs w_box λ L_box / N_box
    positive, bagged     −α Σ_objects log Σ_pairs w exp(−ℓ_bag) / N⁺
              geometric   α Σ_pairs w ℓ_bag / N⁺             −log Π exp(−ℓ_bag)^w: the mean taken in logarithms
    negative             (1 − α) Σ_{image, location, class} b · v · q^γ · −log(1 − q) / N⁻,     q = p · d
    extras               each one's own loss / N⁺, or / its own N
    strategy             as the assignment gives them

b: the assignment's background; d, v: factor and weight of its discounts, 1 where there is none. Every N is that of all
processes, at least 1, divided by their number: so the mean of their losses is what one process with all pictures would
charge, and a batch means the same on one GPU and on eight. A preset may say otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor

from assignbench.core import (
    Assignment,
    Coding,
    Cost,
    Extra,
    PairBoxes,
    PairLoss,
    Pairs,
    Predictions,
    Priors,
    Targets,
    pair_cost,
    pair_likelihood,
    pair_logits,
    sum_by,
)


def objective(
    assignment: Assignment,
    predictions: Predictions,
    priors: Priors,
    targets: Targets,
    *,
    loss: PairLoss,
    coding: Coding,
    extras: tuple[Extra, ...],
) -> Mapping[str, Tensor]:
    """All losses of a batch by name; their sum is what is minimised.

    Every head output stays connected to the sum, whatever the batch holds, so that no process of several
    waits for a gradient that never comes.
    """
    pairs = assignment.pairs
    found = {extra.name: extra.loss(assignment, predictions, priors, targets) for extra in extras}
    costs = {name: cost for name, cost in found.items() if cost is not None}
    positive, box, negative, *own = normalisers(assignment, list(costs.values()))
    if assignment.bagged and assignment.geometric:
        cost = pair_cost(predictions, priors, targets, pairs.object, pairs.location, loss=loss, coding=coding)
        terms = {"bag": loss.alpha * (pairs.weight * cost).sum() / positive}
    elif assignment.bagged:
        likelihood = pairs.likelihood
        if likelihood is None:
            likelihood = pair_likelihood(
                predictions, priors, targets, pairs.object, pairs.location, loss=loss, coding=coding
            )
        terms = {"bag": loss.alpha * bag_loss(pairs, likelihood, len(targets)) / positive}
    else:
        logits = pair_logits(predictions, targets, pairs.object, pairs.location)
        boxes = PairBoxes(predictions, priors, targets, pairs.object, pairs.location, coding)
        class_sum = (pairs.weight * loss.class_part(logits, pairs.quality)).sum()
        box_sum = (pairs.box_weight * loss.box(boxes)).sum()
        terms = {"class": loss.alpha * class_sum / positive, "box": loss.alpha * box_sum / box}
    terms["background"] = (1 - loss.alpha) * background_loss(assignment, predictions, loss) / negative
    terms |= {name: cost.total / count for (name, cost), count in zip(costs.items(), own, strict=True)}
    terms |= assignment.losses

    untaught = predictions.regression.sum() + sum(extra.sum() for extra in predictions.extras.values())
    terms["background"] = terms["background"] + 0 * untaught
    return terms


def normalisers(assignment: Assignment, costs: Sequence[Cost] = ()) -> tuple[Tensor, ...]:
    """N⁺, N_box, N⁻, and each cost's own: averaged over processes in one call that all of them make, then floored.

    The floor is averaged, too: of eight processes that share 4 positives none may divide by 1 where one divides by 4.
    """
    own = assignment.normalisers
    further = [part for cost in costs if cost.share is not None for part in cost.share]
    shares = torch.stack((own.positive, own.box, own.negative, *further)).detach()
    processes = 1
    if not own.local and torch.distributed.is_available() and torch.distributed.is_initialized():
        processes = torch.distributed.get_world_size()
        shares = shares.clone()
        torch.distributed.all_reduce(shares)
        shares = shares / processes
    least = shares.new_tensor((1.0, own.least_box, 1.0)) / processes
    common = torch.maximum(shares[:3], least).unbind()
    others = iter(shares[3:].view(-1, 2).amax(1).clamp(min=1 / processes).unbind() if further else ())
    return *common, *(common[0] if cost.share is None else next(others) for cost in costs)


def bag_loss(pairs: Pairs, likelihood: Tensor, object_count: int) -> Tensor:
    """−Σ_objects log Σ_pairs w exp(−ℓ); an object without any pair costs 100 (the floor of the logarithm)."""
    bags = sum_by(pairs.weight * likelihood, pairs.object, object_count).clamp(0, 1)  # rounding may exceed 1
    return F.binary_cross_entropy(bags, torch.ones_like(bags), reduction="sum")


def background_loss(assignment: Assignment, predictions: Predictions, loss: PairLoss) -> Tensor:
    """The focal term of all classes at all locations, of discounted entries with their factor and weight."""
    discounts, ledger = assignment.discounts, predictions.ledger
    return ledger.background(
        loss.gamma,
        entries=ledger.index(discounts.image, discounts.location, discounts.label),
        factor=discounts.factor,
        weight=discounts.weight,
        share=assignment.background,
        extra=None if predictions.joined is None else predictions.extras[predictions.joined],
    )
