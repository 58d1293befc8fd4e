"""Which boxes overlap which objects: all of them a few objects at a time, or only those that overlap enough.

Of the hundred thousand anchors of an image an object overlaps a few dozen as much as any rule asks for. They are
found without a look at the others: boxes are sorted into bins by image, size and place, and an object looks only
into the bins whose boxes can reach the overlap t that is wanted. With the box's and the object's lengths a and b
along one axis, i of them common, and r = min(a, b) / max(a, b) for each axis:

    IoU ≤ r_x r_y                               one at least as wide and as high as the other
    IoU ≤ r_x r_y / (r_x + r_y − r_x r_y)       one wider, the other higher
    IoU ≤ i / (a + b − i)                       so the centres are at most (a + b)(1 − t) / (2 (1 + t)) apart

These bounds only choose where to look; who is in is decided by `iou` itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import torch
from torch import Tensor

from assignbench.core.fast.class_outputs import join_logits
from assignbench.core.fast.grid import cells_around
from assignbench.core.fast.rows import best_of, object_chunks, smallest_columns
from assignbench.core.geometry import centers, iou, iou_matrix, pick, take
from assignbench.core.matching import max_by
from assignbench.core.tensors import beside, require_count
from assignbench.core.types import Predictions, Priors, Targets

OCTAVES = 16  # of widths and of heights: below 2 pixels, below 4, …, all from 2¹⁵ on
CELLS = 4096  # along each axis, the last one open: a quarter of the octave's least side wide, at least 4 pixels
LEAST_CELL = 4.0  # pixels
CAUTION = 1e-3  # of t: far more than rounding can move a bound
SLACK = 1e-2  # pixels; as much for centres


@torch.no_grad()
def overlapping_pairs(
    targets: Targets, priors: Priors, least: float, *, best: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """All pairs of an object and a location whose prior overlaps it enough, and their IoU: ``[pair]`` each.

    Ordered by object, then location. Locations in the padding are left out.

    Args:
        targets: the objects.
        priors: the locations.
        least: IoU from which on a pair counts, above 0.
        best: whether the pairs of each object's largest IoU count, too, however small it is, if it is above 0.
    """
    require_overlap(least)
    enough = torch.full((len(targets),), least, dtype=targets.boxes.dtype)
    if best:
        sure = sure_overlap(targets, priors).cpu()
        enough = torch.where(sure > 0, enough.minimum(sure), enough)
    objects, locations, overlap = pairs_from(targets, priors, enough)
    if best:  # what was sure may be less than the largest
        kept = (overlap >= least) | (overlap == pick(max_by(overlap, objects, len(targets)), objects))
        kept = kept.nonzero()[:, 0]
        objects, locations, overlap = pick(objects, kept), pick(locations, kept), pick(overlap, kept)
    return objects, locations, overlap


@torch.no_grad()
def most_overlapping(
    targets: Targets, priors: Priors, k: int, ties: Literal["first", "topk"] = "first"
) -> tuple[Tensor, Tensor]:
    """The k locations whose priors overlap each object most, even where that is not at all; none in the padding.

    Ordered by object, then location: ``[pair]`` each. Fewer than k where there are fewer locations.

    Args:
        targets: the objects.
        priors: the locations.
        k: at least 1.
        ties: which of equal overlaps: the lower location first, or those that `torch.topk` finds among all locations
            that are not in the padding.
    """
    require_count("k", k)
    host, layout = targets.on_host(), priors.on_host()
    if ties == "first" and priors.boxes.ndim == 2:
        sure = sure_overlap(host, layout, k)
        if bool((sure > 0).all()):
            objects, locations, overlap = pairs_from(host, layout, sure)
            best = best_of(objects, overlap, k)
            return beside(objects[best], targets.boxes), beside(locations[best], targets.boxes)

    inside = None if layout.inside is None else [beside(own.nonzero()[:, 0], targets.boxes) for own in layout.inside]
    found = [torch.zeros(2, 0, dtype=torch.int64, device=targets.boxes.device)]
    for objects, image, overlap in overlaps(targets, priors.boxes):
        overlap = overlap if inside is None else overlap.index_select(1, inside[image])
        most = min(k, overlap.shape[1])
        if ties == "first":
            columns = smallest_columns(-overlap, most)
        else:
            columns = overlap.topk(most, dim=1, sorted=False).indices.sort(1).values
        locations = columns if inside is None else inside[image][columns]
        found.append(torch.stack((objects[:, None].expand_as(locations), locations)).flatten(1))
    objects, locations = torch.cat(found, dim=1)
    order = objects.argsort(stable=True)
    return objects[order], locations[order]


@torch.no_grad()
def predicted_overlaps(
    targets: Targets, predictions: Predictions, priors: Priors, least: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs of an object and a location whose *predicted* box overlaps it: objects, locations and IoU, ``[pair]`` each.

    All with IoU ≥ ``least``, and some with less, in no useful order. Locations in the padding are left out.
    """
    require_overlap(least)
    enough = torch.full((len(targets),), least, dtype=targets.boxes.dtype)
    return near_pairs(targets, predictions.boxes, enough, priors.inside)


@torch.no_grad()
def owned_pairs(targets: Targets, priors: Priors, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """The k locations whose priors overlap each object most, each with the object that its prior overlaps most.

    Objects, locations, and how many objects chose the location: ``[pair]`` each, ordered by image, then location. A
    location occurs once; one whose prior overlaps no object does not. Done in the host's memory, where a copy of both
    lies.
    """
    host, layout = targets.on_host(), priors.on_host()
    chooser, chosen = most_overlapping(host, layout, k)
    place, times = (host.image[chooser] * len(layout) + chosen).unique(return_counts=True)
    image, locations = place // len(layout), place % len(layout)
    objects, overlap = best_objects(host, layout, image, locations)
    near = overlap > 0
    objects, locations, times = (beside(each[near], targets.boxes) for each in (objects, locations, times))
    return objects, locations, times


def best_objects(targets: Targets, priors: Priors, image: Tensor, locations: Tensor) -> tuple[Tensor, Tensor]:
    """Of each location the object of its image that the prior overlaps most, and their IoU: ``[place]`` each.

    Equal IoU: the object listed first.

    Args:
        targets: the objects.
        priors: the locations.
        image: of each location, one that has objects: ``[place]``.
        locations: ``[place]``.
    """
    device, order = image.device, targets.image.argsort(stable=True)
    counts = torch.bincount(targets.image, minlength=targets.images)
    first = counts.cumsum(0) - counts
    boxes = priors.boxes_at(image, locations)
    found = [(targets.labels[:0], targets.boxes[:0, 0])]
    for some in object_chunks(len(locations), int(counts.max()), device):
        count, start = counts[image[some]], first[image[some]]
        row = torch.repeat_interleave(count)
        rank = torch.arange(len(row), device=device) - (count.cumsum(0) - count)[row]
        objects = order[start[row] + rank]
        overlap = iou(boxes[some][row], targets.boxes[objects])
        best = best_of(row, overlap)
        found.append((objects[best], overlap[best]))
    objects, overlap = (torch.cat(parts) for parts in zip(*found, strict=True))
    return objects, overlap


def require_overlap(least: float) -> None:
    """Refuse a least overlap that all pairs reach, or none."""
    if not 0 < least <= 1:
        raise ValueError(f"least must be an IoU above 0 and at most 1, got {least}")


@torch.no_grad()
def best_predicted(
    targets: Targets, predictions: Predictions, priors: Priors, k: int, score: Callable[[Tensor, Tensor], Tensor]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The k locations of each object whose predictions score best: objects, locations, score and IoU, ``[pair]`` each.

    Ordered by object, then location; none in the padding. Equal scores: the lower location first, on every device.

    Args:
        targets: the objects.
        predictions: of the batch.
        priors: the locations.
        k: at least 1; fewer where there are fewer locations.
        score: of the probability of the object's class and the IoU of the predicted with its box, entry by entry.
    """
    nothing = targets.boxes[:0, 0]
    found: list[tuple[Tensor, ...]] = [(targets.labels[:0], targets.labels[:0], nothing, nothing)]
    for objects, image, overlap in overlaps(targets, predictions.boxes):
        value = score(own_probability(predictions, image, targets.labels[objects]), overlap)
        if priors.inside is not None:
            value = value.masked_fill(~priors.inside[image], -torch.inf)
        columns = smallest_columns(-value, k)
        owners = objects[:, None].expand_as(columns)
        found.append(
            tuple(each.flatten() for each in (owners, columns, value.gather(1, columns), overlap.gather(1, columns)))
        )
    objects, *others = (torch.cat(parts) for parts in zip(*found, strict=True))
    order = objects.argsort(stable=True)
    locations, value, overlap = (each[order] for each in others)
    kept = (value > -torch.inf).nonzero()[:, 0]  # not a number: no
    return objects[order][kept], locations[kept], value[kept], overlap[kept]


def own_probability(predictions: Predictions, image: int, labels: Tensor) -> Tensor:
    """Probability of classes at all locations of an image: ``[object] → [object, location]``."""
    logits = predictions.outputs[image].index_select(1, labels)
    if predictions.joined is not None:
        logits = join_logits(logits, predictions.extras[predictions.joined][image])
    return logits.t().sigmoid()


def overlaps(targets: Targets, boxes: Tensor) -> Iterator[tuple[Tensor, int, Tensor]]:
    """IoU of every object with every box of its image, a few objects of one image at a time.

    Args:
        targets: the objects, in any order; of one image they come in theirs.
        boxes: the same for all images, ``[box, 4]``, or ``[image, box, 4]``.

    Yields:
        Objects ``[some]``, the number of their image, and IoU ``[some, box]``.
    """
    # coordinate by coordinate, each contiguous: four times as fast as boxes side by side
    planes = boxes.movedim(-1, 0).contiguous().movedim(0, -1)
    owner = targets.on_host().image
    order = owner.argsort(stable=True).to(boxes.device, non_blocking=True)
    start = 0
    for image, count in enumerate(torch.bincount(owner, minlength=targets.images).tolist()):
        own = planes if planes.ndim == 2 else planes[image]
        for chunk in object_chunks(count, len(own), boxes.device):
            objects = order[start + chunk.start : start + chunk.stop]
            if len(objects):
                yield objects, image, iou_matrix(targets.boxes[objects], own)
        start += count


def sure_overlap(targets: Targets, priors: Priors, k: int = 1) -> Tensor:
    """An overlap that each object reaches with k priors or more, a little below the k-th best at most: ``[object]``.

    Of fixed priors it is the k-th best overlap with those of the cells around the object's centre, or of all where
    that is 0; 0 where fewer than k overlap. Priors in the batch's padding do not count.
    """
    if priors.boxes.ndim == 3:
        return kth_of_all(targets, priors, k)
    grid = priors.on_host().grid  # a GPU is not waited for
    every = int(torch.cat((grid.rows, grid.columns)).max())
    reach = min(int((k / priors.grid.anchors) ** 0.5), every)
    first, fits = cells_around(centers(targets.boxes), priors, reach, targets.image)
    anchor = torch.arange(priors.grid.anchors, device=first.device)
    locations = (first[..., None] + anchor).flatten(1)  # [object, some]
    fits = fits[..., None].expand(*fits.shape, len(anchor)).flatten(1)
    near = take(priors.boxes, locations.flatten()).view(*locations.shape, 4)
    overlap = iou(targets.boxes[:, None], near).masked_fill(~fits, 0)
    sure = kth_largest(overlap, k)
    if k == 1 and bool((sure == 0).any()):  # the best may lie elsewhere: "overlaps none" is said of what was looked at
        sure = torch.where(sure > 0, sure, kth_of_all(targets, priors, k))
    return sure


def kth_of_all(targets: Targets, priors: Priors, k: int) -> Tensor:
    """The k-th best overlap of each object with all priors of its image: ``[object]``."""
    sure = torch.zeros_like(targets.boxes[:, 0])
    for objects, image, overlap in overlaps(targets, priors.boxes):
        own = overlap if priors.inside is None else overlap.masked_fill(~priors.inside[image], 0)
        sure[objects] = kth_largest(own, k)
    return sure


def kth_largest(values: Tensor, k: int) -> Tensor:
    """The k-th largest value of each row, 0 where there is none: ``[row, column] → [row]``."""
    if values.shape[1] < k:
        return values.new_zeros(len(values))
    return values.amax(1) if k == 1 else values.topk(k, dim=1).values[:, -1]


@torch.no_grad()
def pairs_from(targets: Targets, priors: Priors, least: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All pairs of an object and a prior of its image with IoU ≥ ``least``: objects, locations, IoU, ``[pair]`` each.

    Ordered by object, then location; none in the padding. The cost grows with the pairs found and with one sorting of
    the priors.

    Args:
        targets: the objects.
        priors: the locations.
        least: ``[object]`` in (0, 1], in the host's memory.
    """
    objects, locations, overlap = near_pairs(targets, priors.boxes, least)
    kept = (overlap >= pick(beside(least, overlap), objects)).nonzero()[:, 0]
    objects, locations = pick(objects, kept), pick(locations, kept)
    inside = priors.inside_at(pick(targets.image, objects), locations).nonzero()[:, 0]
    objects, locations = pick(objects, inside), pick(locations, inside)
    order = (objects * len(priors) + locations).argsort()
    return pick(objects, order), pick(locations, order), pick(overlap, pick(kept, pick(inside, order)))


@torch.no_grad()
def near_pairs(
    targets: Targets, boxes: Tensor, least: Tensor, inside: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """As `pairs_from`, in no useful order and with some pairs of less overlap; a GPU is waited for once only.

    Args:
        targets: the objects.
        boxes: the same for all images, ``[box, 4]``, or ``[image, box, 4]``.
        least: as in `pairs_from`.
        inside: which boxes count, bool ``[image, box]``, where each image has its own; None: all.
    """
    device, length = boxes.device, boxes.shape[-2]
    every = boxes.reshape(-1, 4)
    bins = _bins(every, length)
    keys, order = (bins if inside is None else bins.where(inside.view(-1), -1)).sort()
    objects, first, last = (beside(each, boxes) for each in _lines(targets.on_host(), least, shared=boxes.ndim == 2))
    begin = torch.searchsorted(keys, first)
    count = torch.searchsorted(keys, last, right=True) - begin
    line = torch.repeat_interleave(count)
    index = torch.arange(len(line), device=device) + pick(begin - (count.cumsum(0) - count), line)
    objects, index = pick(objects, line), pick(order, index)
    overlap = iou(take(targets.boxes, objects), take(every, index))
    return objects, index % length, overlap


def _lines(targets: Targets, least: Tensor, *, shared: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Where each object has to look: objects, and first and last bin of a row of cells, ``[line]`` each."""
    # one entry for each object and kind of box, an octave of widths and one of heights, that can overlap it enough
    t = (least * (1 - CAUTION))[:, None]
    low = torch.cat((torch.zeros(1), 2.0 ** torch.arange(1, OCTAVES)))
    high = torch.cat((low[1:], low.new_tensor([float("inf")])))
    size = (targets.boxes[:, 2:] - targets.boxes[:, :2])[..., None]  # [object, axis, 1]
    ratio = torch.minimum(high / size, size / low).clamp(max=1)  # r at its largest: [object, axis, octave]
    (rx, ry), (over_x, over_y) = ratio.unbind(1), (low > size).unbind(1)
    rx, ry = rx[:, :, None], ry[:, None]
    across = (over_x[:, :, None] != over_y[:, None]) & (rx < 1) & (ry < 1)
    bound = torch.where(across, rx * ry / (rx + ry - rx * ry), rx * ry)
    objects, *octave = (bound >= t[..., None]).nonzero(as_tuple=True)
    octaves = torch.stack(octave, dim=-1)  # [entry, axis]

    # the cells of that kind in which the centres can lie: columns are consecutive bins
    t, size = take(t, objects), take(size[..., 0], objects)
    widest = pick(high, octaves.view(-1)).view_as(octaves)
    apart = (torch.minimum(widest, size / t) + size) * (1 - t) / (2 * (1 + t)) + SLACK
    center = take(centers(targets.boxes), objects)
    first, last = _cell(center - apart, octaves), _cell(center + apart, octaves)
    image = torch.zeros_like(objects) if shared else pick(targets.image, objects)
    rows = last[:, 1] - first[:, 1] + 1
    entry = torch.repeat_interleave(rows)
    row = torch.arange(len(entry)) - pick(rows.cumsum(0) - rows - first[:, 1], entry)
    bins = _bin(pick(image, entry), take(octaves, entry), row)
    return pick(objects, entry), bins + pick(first[:, 0], entry), bins + pick(last[:, 0], entry)


def _bins(boxes: Tensor, length: int) -> Tensor:
    """The bin of each box: ``[image · box, 4] → [image · box]``."""
    size = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1)
    octaves = (size.frexp().exponent.long() - 1).clamp(0, OCTAVES - 1)
    cell = _cell((boxes[:, :2] + boxes[:, 2:]) / 2, octaves)
    image = torch.arange(len(boxes), device=boxes.device) // length
    return _bin(image, octaves, cell[:, 1]) + cell[:, 0]


def _bin(image: Tensor, octaves: Tensor, row: Tensor) -> Tensor:
    """The first bin of a row of cells."""
    return (((image * OCTAVES + octaves[:, 0]) * OCTAVES + octaves[:, 1]) * CELLS + row) * CELLS


def _cell(center: Tensor, octaves: Tensor) -> Tensor:
    """Column and row of centres: ``[entry, 2] → [entry, 2]``; whatever lies outside belongs to the border."""
    width = (2.0 ** (octaves - 2).to(center.dtype)).clamp(min=LEAST_CELL)
    return (center / width).nan_to_num(0.0).clamp(0, CELLS - 1).long()
