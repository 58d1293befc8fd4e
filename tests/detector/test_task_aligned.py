"""TOOD's head: a slow reading on a tiny map, its numbers at the ends, and what it cannot be built on."""

import math

import pytest
import torch
from torch import Tensor, nn

from assignbench.core import Head
from assignbench.core.parts import Centerness, Corners, LogDistances, Network
from assignbench.core.priors import pyramid_priors
from assignbench.detector.deformable import read_at, unrepeatable
from assignbench.detector.importers import theirs
from assignbench.detector.names import MMDET
from assignbench.detector.networks import head_network
from assignbench.detector.task_aligned import TaskAlignedHead, aligned, moved
from assigners.tal import TAL

HEAD = Head(offset=0.0, coding=Corners(), tower_std=0.2, extras=(Centerness(),), make=Network("task_aligned"))
MAPS = ((8, 12), (4, 6), (2, 3), (1, 2), (1, 1))
CLASSES, CHANNELS, DEPTH = 3, 8, 2


def network(head: Head = HEAD) -> TaskAlignedHead:
    """A head whose layers all say something."""
    torch.manual_seed(0)
    built = head_network(head, CLASSES, CHANNELS, DEPTH, deformable=False).double()
    assert isinstance(built, TaskAlignedHead)
    for parameter in built.parameters():
        nn.init.normal_(parameter, std=0.3)
    return built


def pyramid(images: int = 2) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    return tuple(torch.randn(images, CHANNELS, *size, generator=generator, dtype=torch.float64) for size in MAPS)


def bilinear(maps: Tensor, row: float, column: float) -> float:
    """One number of a map, 0 outside of it."""
    total = 0.0
    for i in (math.floor(row), math.floor(row) + 1):
        for j in (math.floor(column), math.floor(column) + 1):
            if 0 <= i < maps.shape[0] and 0 <= j < maps.shape[1]:
                total += float((1 - abs(row - i)) * (1 - abs(column - j)) * maps[i, j])
    return total


def slow_boxes(raw: Tensor, moves: Tensor, points: Tensor, scale: float) -> Tensor:
    """Boxes of one image in strides, location by location: ``[location, 4]``."""
    rows, columns = raw.shape[1:]
    first = torch.empty_like(raw)
    for i in range(rows):
        for j in range(columns):
            x, y = points[i * columns + j].tolist()
            left, top, right, bottom = (math.exp(value) * scale for value in raw[:, i, j].tolist())
            first[:, i, j] = torch.tensor([x - left, y - top, x + right, y + bottom])
    found = []
    for i in range(rows):
        for j in range(columns):
            move = moves[:, i, j].tolist()
            box = [bilinear(first[c], i + move[2 * c], j + move[2 * c + 1]) for c in range(4)]
            fine = box[0] <= box[2] and box[1] <= box[3]
            found.append(torch.tensor(box, dtype=raw.dtype) if fine else first[:, i, j])
    return torch.stack(found)


def slow_level(head: TaskAlignedHead, features: Tensor, points: Tensor, level: int) -> tuple[Tensor, Tensor]:
    """p and boxes in strides of one image: ``[class, row, column], [location, 4]``."""
    layers, x = [], features[None]
    for layer in head.tower:
        x = layer(x)
        layers.append(x)
    every = torch.cat(layers, dim=1)
    seen = {}
    for name in ("class_features", "box_features"):
        part = getattr(head, name)
        weight = part.attention(every.mean(dim=(2, 3), keepdim=True)).sigmoid()
        seen[name] = part.reduction(torch.cat([weight[:, i] * one for i, one in enumerate(layers)], dim=1))
    score = head.class_output(seen["class_features"]).sigmoid() * head.alignment_output(every).sigmoid()
    raw, moves = head.box_output(seen["box_features"])[0], head.move_output(every)[0]
    assert head.scale is not None
    return score[0].sqrt(), slow_boxes(raw, moves, points, float(head.scale[level]))


@pytest.mark.parametrize("offset", [0.0, 0.5])
@torch.no_grad()
def test_a_slow_reading(offset: float) -> None:
    head = network(Head(offset=offset, coding=Corners(), tower_std=0.2, make=Network("task_aligned")))
    maps, priors = pyramid(), pyramid_priors(HEAD if offset == 0 else Head(offset=offset), 64, 96)
    raw = head(maps, priors)
    boxes = head.head.coding.decode(raw.regression, priors.boxes, priors.stride) / priors.stride[:, None]
    for image in range(2):
        start = 0
        for level, features in enumerate(maps):
            own = slice(start, start + features[0, 0].numel())
            points = (priors.points / priors.stride[:, None])[own].double()
            score, wanted = slow_level(head, features[image], points, level)
            found = raw.logits[image, own].sigmoid().T.reshape(score.shape)
            torch.testing.assert_close(found, score.float(), rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(boxes[image, own], wanted.float(), rtol=1e-5, atol=1e-5)
            start = own.stop


def test_outside_the_map_a_side_is_the_pictures_corner() -> None:
    """Location (0, 0) reads its right and bottom side from beyond the map, location (0, 1) stays as it is."""
    raw, moves = torch.zeros(1, 4, 1, 2), torch.zeros(1, 8, 1, 2)
    own = torch.tensor([[3.0, 4.0], [5.0, 5.0], [3.0, 4.0], [5.0, 5.0]])[None, :, None]
    moves[0, 0, 0, 0] = moves[0, 2, 0, 0] = -7.0  # left and top
    boxes = moved(raw, moves, own, None) + own
    assert boxes[0, :, 0].T.tolist() == [[0.0, 0, 4, 6], [3.0, 4, 5, 6]]
    moves[0, 4, 0, 0] = -7.0  # right, too: now left = right = 0, which is in order
    assert (moved(raw, moves, own, None) + own)[0, :, 0, 0].tolist() == [0.0, 0, 0, 6]
    moves[0, 0, 0, 0] = 0.0  # left = 2 > right = 0: the box stays as it is, its top, too
    assert (moved(raw, moves, own, None) + own)[0, :, 0, 0].tolist() == [2.0, 4, 4, 6]


def test_the_logit_of_a_root_of_a_product() -> None:
    values = torch.tensor([-1e4, -90.0, -30, -3, -0.1, 0, 0.4, 5, 30, 90, 1e4], dtype=torch.float64)
    z, m = (each.flatten() for each in torch.meshgrid(values, values, indexing="ij"))
    for each in (z, m):
        each.requires_grad_()
    found = aligned(z[None, :, None, None], m[None, None, None, :1] * 0 + m[None, None, None, :])[0, :, 0]
    found = found.diagonal()
    p = (z.sigmoid() * m.sigmoid()).sqrt()
    plain = (p > 1e-8) & (p < 1 - 1e-8)
    torch.testing.assert_close(found.sigmoid()[plain], p[plain])
    torch.testing.assert_close(found[plain], p[plain].logit(), rtol=1e-6, atol=1e-6)
    found.sum().backward()
    for each in (z, m):
        assert each.grad is not None
        assert each.grad.isfinite().all()
        assert (each.grad >= 0).all()
    assert found.isfinite().all()


def test_what_is_not_a_number_stays_so_and_harms_nothing_else() -> None:
    raw, moves, own = torch.zeros(1, 4, 3, 3), torch.zeros(1, 8, 3, 3), torch.zeros(1, 4, 3, 3)
    moves[0, 3, 1, 2] = torch.nan
    assert moved(raw, moves, own, None).isnan().nonzero().tolist() == [[0, 1, 1, 2]]
    raw[0, 0, 0, 0] = 1e4  # and e^ of it is no infinity
    assert moved(raw, torch.zeros_like(moves), own, None).isfinite().all()


def test_every_channel_is_read_at_its_own_place() -> None:
    maps, moves = torch.arange(12.0).view(1, 2, 2, 3), torch.zeros(1, 4, 2, 3)
    moves[:, 1] = 1.0  # channel 0: one to the right
    moves[:, 2] = -0.5  # channel 1: half a row up
    assert read_at(maps, moves)[0].tolist() == [[[1, 2, 0], [4, 5, 0]], [[3, 3.5, 4], [7.5, 8.5, 9.5]]]


def test_the_head_teaches_all_of_its_layers() -> None:
    torch.manual_seed(0)
    head = head_network(HEAD, CLASSES, 32, DEPTH, deformable=False)
    maps = tuple(torch.randn(2, 32, *size) for size in MAPS)
    priors = pyramid_priors(HEAD, 64, 96)
    raw = head(maps, priors)
    assert raw.regression.shape == (2, len(priors), 4)
    assert raw.priors is None
    (raw.regression.square().sum() + raw.logits.sum() + raw.extras["centerness"].sum()).backward()
    assert [name for name, one in head.named_parameters() if one.grad is None or not one.grad.abs().sum() > 0] == []
    assert unrepeatable(head, torch.device("cuda"))  # reading adds gradients in no fixed order there


def test_it_starts_with_the_class_prior_and_boxes_of_two_strides() -> None:
    torch.manual_seed(0)
    head = head_network(HEAD, CLASSES, 32, DEPTH, deformable=False)
    priors = pyramid_priors(HEAD, 64, 96)
    raw = head(tuple(torch.randn(1, 32, *size) for size in MAPS), priors)
    assert raw.logits.sigmoid().mean().item() == pytest.approx(HEAD.class_prior, rel=0.2)
    middle = raw.regression[0].view(-1, 4)[: 8 * 12].view(8, 12, 4)[2:6, 2:10]
    torch.testing.assert_close(middle, torch.tensor([-1.0, -1, 1, 1]).expand_as(middle), rtol=0, atol=0.5)


def test_all_of_its_tensors_have_a_name_in_mmdetection() -> None:
    """One each, and of all that its published file holds (its shapes are checked with the golden vectors)."""
    head = TAL.presets["mmdet"].head
    assert TAL.presets["mmdet"].recipe["model.towers"] == 6
    with torch.device("meta"):
        built = head_network(head, 6, 256, 6, deformable=False)
    found = [name for ours in built.state_dict() for name in theirs(f"detector.head.{ours}", MMDET.shared, {})[-1]]
    assert len(found) == len(set(found))
    layers = [f"inter_convs.{i}" for i in range(6)] + [f"{one}_decomp.reduction_conv" for one in ("cls", "reg")]
    convolutions = ["tood_cls", "tood_reg"]
    convolutions += [f"{one}_decomp.layer_attention.{i}" for one in ("cls", "reg") for i in (0, 2)]
    convolutions += [f"{one}_module.{i}" for one in ("cls_prob", "reg_offset") for i in (0, 2)]
    wanted = [f"{one}.{part}" for one in layers for part in ("conv.weight", "gn.weight", "gn.bias")]
    wanted += [f"{one}.{part}" for one in convolutions for part in ("weight", "bias")]
    wanted += [f"scales.{level}.scale" for level in range(5)]
    assert sorted(found) == sorted(f"bbox_head.{one}" for one in wanted)


@pytest.mark.parametrize(
    ("head", "depth"),
    [
        (Head(coding=LogDistances(), make=Network("task_aligned")), 2),
        (Head(coding=Corners(), ratios=(0.5, 1.0), make=Network("task_aligned")), 2),
        (Head(coding=Corners(), make=Network("task_aligned")), 0),
    ],
)
def test_it_needs_one_prior_corners_and_a_tower(head: Head, depth: int) -> None:
    with pytest.raises(ValueError, match="one prior a cell, a tower of at least one convolution"):
        head_network(head, 3, 16, depth, deformable=False)
