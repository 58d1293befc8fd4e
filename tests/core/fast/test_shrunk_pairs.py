"""Locations in shrunk boxes, and cells that these meet, against loops."""

import math
from functools import partial

import pytest
import torch

from assignbench.core import Head, Targets, around_pairs, shrunk_pairs
from assignbench.core.parts import anchor_head
from assignbench.core.priors import STRIDES, pyramid_priors
from assignbench.synthetic import random_targets


@pytest.mark.parametrize("head", [Head(), Head(offset=0.0), anchor_head(offset=0.5)], ids=["middle", "corner", "nine"])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("scale", [0.2, 0.4, 1.0])
def test_they_are_what_loops_find(head: Head, padded: bool, scale: float) -> None:
    priors = pyramid_priors(head, 96, 160).cast(torch.float64)
    sizes = [(96, 160), (96, 160)]
    if padded:
        sizes = [(96, 160), (64, 96)]
        priors = priors.padded(torch.tensor(sizes))
    generator = torch.Generator().manual_seed(0)
    targets = random_targets(generator, 2, (12, 12), 64, 96, torch.float64)
    border = torch.tensor([[0.0, 0, 3, 40], [0, 0, 96, 64], [90, 30, 96, 64]], dtype=torch.float64)
    targets = Targets(
        torch.cat((targets.boxes, border)), torch.zeros(27).long(), torch.cat((targets.image, torch.ones(3).long())), 2
    )
    shrunk, met = set(), set()
    for n, (x0, y0, x1, y1) in enumerate(targets.boxes.tolist()):
        height, width = sizes[int(targets.image[n])]
        for level, stride in enumerate(STRIDES):
            ranges = []
            whole = int(priors.grid.columns[level]), int(priors.grid.rows[level])
            for low, high, own, count in ((x0, x1, width, whole[0]), (y0, y1, height, whole[1])):
                middle, reach = (low + high) / 2, (high - low) / 2 * scale
                # of the cells that are not in the padding
                last = min(math.ceil(own / stride - head.offset), count) - 1 if padded else count - 1
                first = math.ceil((middle - reach) / stride - head.offset)
                final = math.floor((middle + reach) / stride - head.offset)
                inner = range(max(0, min(first, last)), max(0, min(final, last)) + 1) if last >= 0 else range(0)
                half = stride / 2
                cells = [(cell + head.offset) * stride for cell in range(last + 1)]
                touched = [
                    cell
                    for cell, place in enumerate(cells)
                    if min(place + half, middle + reach) > max(place - half, middle - reach)
                ]
                ranges.append((inner, touched))
            for found, which in ((shrunk, 0), (met, 1)):
                for row in ranges[1][which]:
                    for column in ranges[0][which]:
                        start = int(priors.grid.start[level])
                        cell = start + (row * int(priors.grid.columns[level]) + column) * priors.grid.anchors
                        found |= {(n, cell + anchor) for anchor in range(priors.grid.anchors)}
    for pairs, wanted in ((shrunk_pairs, shrunk), (partial(around_pairs, reach=0.5), met)):
        objects, locations = pairs(targets, priors, scale=scale)
        assert list(zip(objects.tolist(), locations.tolist(), strict=True)) == sorted(wanted)
