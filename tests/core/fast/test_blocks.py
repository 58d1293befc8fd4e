"""Predicted boxes in blocks against the matrix of all overlaps."""

import pytest
import torch

from assignbench.core import Targets, iou
from assignbench.core.fast.blocks import BLOCK, best_in_blocks, blocks_of, most_overlapping_boxes

LENGTH = 5 * BLOCK + 3  # the last block is not full


def batch(seed: int, odd: float | None) -> tuple[Targets, torch.Tensor, torch.Tensor]:
    """Objects of two images, predicted boxes, and which of them count."""
    generator = torch.Generator().manual_seed(seed)
    corner, size = (torch.rand(2, 2, LENGTH, 2, generator=generator) * 60).unbind(0)
    predicted = torch.cat((corner, corner + size), dim=-1)
    if odd is not None:
        predicted[torch.rand(predicted.shape, generator=generator) < 0.01] = odd
    corner, size = (torch.rand(2, 9, 2, generator=generator) * 40 + 1).unbind(0)
    image = torch.tensor([0] * 4 + [1] * 5)
    targets = Targets(torch.cat((corner, corner + size), dim=1), torch.zeros_like(image), image, 2)
    return targets, predicted, torch.rand(2, LENGTH, generator=generator) < 0.7


@pytest.mark.parametrize("odd", [None, torch.nan, torch.inf, -torch.inf, 3e38, -3e38])
@pytest.mark.parametrize("seed", range(5))
def test_the_largest_of_each_block_and_of_all(seed: int, odd: float | None) -> None:
    targets, predicted, counted = batch(seed, odd)
    every = iou(targets.boxes[:, None], predicted[targets.image]).where(counted[targets.image], 0)
    blocks = blocks_of(predicted, counted)
    best = best_in_blocks(targets, blocks)
    padded = torch.nn.functional.pad(every, (0, blocks.each * BLOCK - LENGTH))
    torch.testing.assert_close(best, padded.view(9, -1, BLOCK).amax(-1), rtol=0, atol=0, equal_nan=True)
    for most in (1, 7, 200):
        overlap, locations = most_overlapping_boxes(targets, blocks, best, most)
        wanted = padded.topk(min(most, padded.shape[1]), dim=1).values
        torch.testing.assert_close(overlap, wanted, rtol=0, atol=0, equal_nan=True)
        torch.testing.assert_close(padded.gather(1, locations), overlap, rtol=0, atol=0, equal_nan=True)


def test_which_count() -> None:
    targets, predicted, counted = batch(0, None)
    blocks = blocks_of(predicted, counted)
    objects, locations = (
        each.flatten() for each in torch.meshgrid(torch.arange(9), torch.arange(LENGTH), indexing="ij")
    )
    assert torch.equal(blocks.counted_at(targets, objects, locations), counted[targets.image[objects], locations])
