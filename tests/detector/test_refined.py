"""DW's refinement of boxes: a slow reading, what it leaves alone, and what it cannot be built on."""

import math

import pytest
import torch
from torch import Tensor

from assignbench.core import Head
from assignbench.core.parts import ImplicitObjectness, Network, point_head
from assignbench.core.priors import pyramid_priors
from assignbench.detector.deformable import unrepeatable
from assignbench.detector.networks import head_network
from assignbench.detector.refined import RefinedHead, refined

HEAD = point_head(ImplicitObjectness(), make=Network("refined"))


def read(sides: Tensor, row: float, column: float) -> Tensor:
    """Bilinear, 0 outside."""
    total = torch.zeros((), dtype=sides.dtype)
    for i in (math.floor(row), math.floor(row) + 1):
        for j in (math.floor(column), math.floor(column) + 1):
            if 0 <= i < sides.shape[0] and 0 <= j < sides.shape[1]:
                total = total + (1 - abs(row - i)) * (1 - abs(column - j)) * sides[i, j]
    return total


def slow(raw: Tensor, moves: Tensor) -> Tensor:
    """Location by location, side by side; of one image."""
    found = torch.zeros_like(raw)
    distance = raw.relu()
    for i in range(raw.shape[1]):
        for j in range(raw.shape[2]):
            left, top, right, bottom = distance[:, i, j].tolist()
            starts = ((i, j - left), (i - top, j), (i, j + right), (i + bottom, j))
            for side, (row, column) in enumerate(starts):
                middle = (j if side % 2 == 0 else i) + 0.5
                toward = -1 if side < 2 else 1
                places = torch.arange(raw.shape[1 + (side + 1) % 2], dtype=raw.dtype) + 0.5
                places = places[None, :] if side % 2 == 0 else places[:, None]
                sides = places + toward * distance[side]
                dy, dx = moves[2 * side : 2 * side + 2, i, j].tolist()
                found[side, i, j] = toward * (read(sides, row + dy, column + dx) - middle)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_a_slow_reading(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    raw = 3 * torch.randn(2, 4, 5, 7, generator=generator, dtype=torch.float64)
    moves = torch.randn(2, 8, 5, 7, generator=generator, dtype=torch.float64)
    wanted = torch.stack([slow(*one) for one in zip(raw, moves, strict=True)])
    torch.testing.assert_close(refined(raw, moves), wanted)


def test_where_neighbours_agree_about_a_box_it_stays() -> None:
    """A box of 4 × 3 cells whose sides lie in the map: whatever the moves within it, all say the same."""
    y, x = torch.meshgrid(torch.arange(8) + 0.5, torch.arange(8) + 0.5, indexing="ij")
    box = (1.5, 2.5, 5.5, 5.5)
    raw = torch.stack((x - box[0], y - box[1], box[2] - x, box[3] - y))[None]
    inside = (raw > 0).all(1)
    moves = torch.zeros(1, 8, 8, 8)
    moves[:, [1, 2]], moves[:, [5, 6]] = 1.0, -1.0  # one cell into the box
    result = refined(raw, moves)
    for side in range(4):
        torch.testing.assert_close(result[:, side][inside], raw[:, side][inside])


def test_what_is_not_a_number_stays_so_and_harms_nothing_else() -> None:
    raw, moves = torch.ones(1, 4, 4, 4), torch.zeros(1, 8, 4, 4)
    moves[0, 3, 1, 2] = torch.nan
    assert refined(raw, moves).isnan().nonzero().tolist() == [[0, 1, 1, 2]]


def test_the_head_teaches_all_of_its_layers() -> None:
    torch.manual_seed(0)
    head = head_network(HEAD, 3, 16, 1, deformable=False)
    assert isinstance(head, RefinedHead)
    pyramid = tuple(torch.randn(2, 16, rows, columns) for rows, columns in ((8, 12), (4, 6), (2, 3), (1, 2), (1, 1)))
    priors = pyramid_priors(HEAD, 64, 96)
    raw = head(pyramid, priors)
    assert raw.regression.shape == (2, len(priors), 4)
    assert raw.priors is None
    (raw.regression.sum() + raw.logits.sum() + raw.extras["implicit_objectness"].sum()).backward()
    assert all(parameter.grad is not None for parameter in head.parameters())
    assert head.move_output.weight.grad.abs().sum() > 0  # type: ignore[union-attr]
    assert unrepeatable(head, torch.device("cuda"))  # reading adds gradients in no fixed order there


def test_it_refines_distances_only() -> None:
    with pytest.raises(ValueError, match="distances to the four sides"):
        head_network(Head(make=Network("refined")), 3, 16, 1, deformable=False)
