"""SimOTA's dynamic k: every object takes its cheapest candidates, as many as its best boxes overlap it in sum.

    u_nj, c_nj   overlap and cost of object n and candidate j: every object competes for every candidate of its image
    k_n          max(1, ⌊Σ of the ``most`` largest u_nj⌋)
    S_n          the k_n candidates of least c_nj; equal costs: the location listed first
    n(j)         a candidate in one S_n goes to n, one in several to argmin_n c_nj over all objects of the image, those
                 that have not chosen it included; equal costs: the object listed first

The matrix of objects and candidates is held for a few objects at a time. What has to be remembered between them is
the cheapest object of each location: a cost and an object make one integer, whose minimum is order-free.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from assignbench.core.fast.class_outputs import ROWS
from assignbench.core.fast.rows import in_order, object_chunks
from assignbench.core.pair_view import PairView, PairViews
from assignbench.core.tensors import beside

DEVICE_SHARE = 16  # of what a GPU holds of a matrix elsewhere: a view of its entries is some thirty such matrices
LOW = (1 << 32) - 1  # the lower half of an integer
NOBODY = (1 << 63) - 1


@torch.no_grad()
def dynamic_k(
    view: PairViews, objects: Tensor, locations: Tensor, cost: Callable[[PairView], Tensor], most: int
) -> tuple[Tensor, Tensor]:
    """Which objects get which candidates; see the module. Each location is given once at most.

    Ordered by object, then location: ``[pair]`` each. A GPU is waited for once.

    Args:
        view: the batch.
        objects: ``[any]``, best in the host's memory; each pair makes its location a candidate of all objects of the
            image, and may occur again.
        locations: ``[any]``.
        cost: what pairs cost, ``[pair]``; a pair whose cost is not finite is never chosen.
        most: largest overlaps that are summed.
    """
    targets, length = view.targets, len(view.priors)
    owner = targets.on_host().image
    all_places = torch.zeros(targets.images * length, dtype=torch.bool)
    candidates = all_places.index_fill_(0, owner[objects] * length + locations, True).nonzero()[:, 0]
    counts = torch.bincount(candidates // length, minlength=targets.images)
    if len(candidates) == 0:
        return targets.labels[:0], targets.labels[:0]

    device, quiet = targets.boxes.device, view.detached()
    places = beside(candidates, targets.boxes)
    count, start = (beside(each, targets.boxes) for each in (counts, counts.cumsum(0) - counts))
    cheapest = torch.full((targets.images * length,), NOBODY, device=device)
    share = 1 if device.type == "cpu" else DEVICE_SHARE
    found = []
    for chunk in object_chunks(len(targets), share * (int(counts.max()) + ROWS), device):
        image, object_ = targets.image[chunk, None], torch.arange(chunk.start, chunk.stop, device=device)[:, None]
        # whole vector units: the last entries would be rounded in another way, and equal pairs not be equal
        column = torch.arange(-(-int(counts[owner[chunk]].max()) // ROWS) * ROWS, device=device)
        real = column < count[image]
        place = places[(start[image] + column).clamp(max=len(places) - 1)]  # [some, candidate]
        pair = quiet.unkept(object_.expand_as(place).flatten(), (place % length).flatten())
        price = cost(pair).float().view_as(place)
        price = price.where(real & price.isfinite(), torch.inf)
        rank = in_order(price) << 32
        cheapest.scatter_reduce_(0, place.flatten(), (rank + object_).where(real, NOBODY).flatten(), "amin")

        width = min(most, place.shape[1])
        k = pair.overlap.view_as(place).where(real, 0).topk(width, dim=1).values.sum(1).long().clamp(min=1)
        columns = (rank + column).topk(width, dim=1, largest=False).values & LOW
        taken = (column[:width] < k[:, None]) & price.gather(1, columns).isfinite()
        found.append(torch.stack((object_.expand_as(columns), place.gather(1, columns), taken.long())).flatten(1))
    return settled(torch.cat(found, dim=1), cheapest, length)


def settled(found: Tensor, cheapest: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """One object for every location: objects and locations, ``[pair]`` each.

    Args:
        found: object, place and whether it was chosen: ``[3, entry]``.
        cheapest: of each place, cost and object of its cheapest pair: ``[place]``.
        length: places of an image.
    """
    objects, place, taken = found
    entry = torch.arange(len(place), device=place.device)
    claims = torch.zeros_like(cheapest).index_add_(0, place, taken)
    first = torch.full_like(cheapest, NOBODY).scatter_reduce_(0, place, entry.where(taken > 0, NOBODY), "amin")
    kept = (first[place] == entry).nonzero()[:, 0]
    objects, place = objects[kept], place[kept]
    objects = torch.where(claims[place] > 1, cheapest[place] & LOW, objects)
    locations = place % length
    order = (objects * length + locations).argsort()
    return objects[order], locations[order]
