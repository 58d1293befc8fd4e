"""What the pyramid says in a box, against the plain definition."""

import torch
import torch.nn.functional as F

from assignbench.core import Head, Targets, box_features
from assignbench.core.priors import map_sizes, pyramid_priors

SIZE = 96, 160


def made(images: int = 2) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(images, 3, *size, generator=generator, dtype=torch.float64) for size in map_sizes(*SIZE))


def boxes_of(*boxes: list[float], image: list[int]) -> Targets:
    count = torch.zeros(len(boxes), dtype=torch.int64)
    return Targets(
        torch.tensor(boxes, dtype=torch.float64).view(-1, 4), count, torch.tensor(image, dtype=torch.int64), 2
    )


def test_it_is_bilinear_at_the_middles_of_bins() -> None:
    maps, priors = made(), pyramid_priors(Head(), *SIZE).cast(torch.float64)
    targets = boxes_of([10, 12, 75, 80], [0, 0, 160, 96], [100, 3, 103, 90], image=[0, 1, 1])
    found = box_features(maps, targets, priors).unflatten(1, (5, 3))
    for n, box in enumerate(targets.boxes):
        share = (torch.arange(7, dtype=torch.float64) + 0.5) / 7
        x, y = (box[axis] + share * (box[axis + 2] - box[axis]) for axis in (0, 1))
        for level, one in enumerate(maps):
            rows, columns = one.shape[-2:]
            # cells lie at the middles of their squares; the outermost ones count beyond
            place = torch.stack(
                torch.meshgrid(x / (columns * 8 * 2**level), y / (rows * 8 * 2**level), indexing="xy"), dim=-1
            )
            wanted = F.grid_sample(
                one[targets.image[n]][None], (2 * place - 1)[None], align_corners=False, padding_mode="border"
            )
            torch.testing.assert_close(found[n, level], wanted[0])


def test_padding_is_not_looked_at() -> None:
    maps = made()
    priors = pyramid_priors(Head(), *SIZE).cast(torch.float64).padded(torch.tensor([[96, 160], [64, 96]]))
    targets = boxes_of([10, 12, 96, 64], image=[1])
    before = box_features(maps, targets, priors)
    for level, one in enumerate(maps):
        stride = 8 * 2**level
        y, x = ((torch.arange(size) + 0.5) * stride for size in one.shape[-2:])
        one[:, :, y >= 64] = 100.0
        one[:, :, :, x >= 96] = 100.0
    fine = slice(0, 4 * 3)  # P7 has no cell outside the padding: there is nothing else to look at
    assert torch.equal(box_features(maps, targets, priors)[:, fine], before[:, fine])


def test_nobody_has_no_features_and_nothing_carries_gradient() -> None:
    maps = tuple(one.requires_grad_() for one in made())
    priors = pyramid_priors(Head(), *SIZE).cast(torch.float64)
    assert box_features(maps, boxes_of(image=[]), priors).shape == (0, 15, 7, 7)
    found = box_features(maps, boxes_of([10, 12, 75, 80], image=[0]), priors, size=3)
    assert found.shape == (1, 15, 3, 3)
    assert not found.requires_grad


def test_half_maps_give_the_features_of_their_values():
    """In the boxes' float32: interpolation adds no rounding of its own."""
    maps, priors = tuple(one.bfloat16() for one in made()), pyramid_priors(Head(), *SIZE)
    targets = boxes_of([10, 12, 75, 80], [100, 3, 103, 90], image=[1, 0])
    targets = Targets(targets.boxes.float(), targets.labels, targets.image, 2)
    found = box_features(maps, targets, priors)
    assert found.dtype == torch.float32
    assert torch.equal(found, box_features([one.float() for one in maps], targets, priors))
