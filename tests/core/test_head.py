"""The heads of the protocols, and the priors they ask for, held against torchvision's own."""

from dataclasses import fields

import pytest
import torch
from torch import nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import _default_anchorgen

from assignbench.core import Branch, Head
from assignbench.core.parts import (
    Centerness,
    Deltas,
    Distances,
    ImplicitObjectness,
    Objectness,
    anchor_head,
    point_head,
)
from assignbench.core.priors import STRIDES, map_sizes, pyramid_priors

# 800 × 1344 and 832 × 1088: P6 and P7 have sides that do not divide the image; 32 × 32: P7 is one cell
SIZES = [(800, 1344), (832, 1088), (1344, 800), (608, 1024), (96, 160), (32, 32)]


def torchvision_anchors(generator: AnchorGenerator, height: int, width: int) -> torch.Tensor:
    images = ImageList(torch.zeros(1, 3, height, width), [(height, width)])
    maps = [torch.zeros(1, 1, rows, columns) for rows, columns in map_sizes(height, width)]
    return generator(images, maps)[0]


def test_a_point_head_has_one_location_a_cell_and_fcos_towers() -> None:
    head = point_head(Centerness())
    assert head.priors_per_cell == 1
    assert head.coding == Distances()
    assert (head.offset, head.tower_std, head.box_bias, head.class_prior) == (0.5, 0.01, 0.0, 0.01)
    assert head.group_norm
    assert head.level_scale
    assert head.extras == (Centerness(),)
    changed = point_head(ImplicitObjectness(), offset=0.0, box_bias=4.0)
    assert (changed.offset, changed.box_bias, changed.coding) == (0.0, 4.0, Distances())
    with pytest.raises(TypeError, match="sideways"):
        point_head(sideways=True)


def test_an_anchor_head_is_retinanets() -> None:
    head = anchor_head()
    assert head.priors_per_cell == 9
    assert (head.size, head.offset, head.coding) == (4.0, 0.0, Deltas((1.0, 1.0, 1.0, 1.0)))
    assert not head.group_norm
    assert not head.level_scale
    assert anchor_head(coding=Deltas()).coding == Deltas((0.1, 0.1, 0.2, 0.2))


OWN = Head(make=lambda *_: nn.Identity(), detached=True, suppress=False, beside=(Branch("again"),))


@pytest.mark.parametrize(
    "head", [anchor_head(coding=Deltas(), class_prior=0.02), point_head(Centerness(), offset=0.0), OWN]
)
def test_the_controlled_head_keeps_what_belongs_to_the_strategy(head: Head) -> None:
    kept = {"size", "ratios", "octaves", "extras", "make", "detached", "suppress", "beside"}
    controlled = head.controlled()
    for entry in fields(Head):
        source = head if entry.name in kept else Head()
        assert getattr(controlled, entry.name) == getattr(source, entry.name), entry.name


def test_a_head_without_priors_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one prior"):
        Head(ratios=())
    with pytest.raises(ValueError, match="at least one prior"):
        Head(octaves=())


def test_a_further_branch_is_controlled_too() -> None:
    head = Head(beside=(Branch("dense", point_head(Centerness(), offset=0.0)), Branch("again")))
    dense, again = head.controlled().beside
    assert dense == Branch("dense", Head(extras=(Centerness(),)))
    assert again == Branch("again")


def test_a_branch_without_a_head_of_its_own_has_the_main_one() -> None:
    dense = point_head(Centerness())
    head = Head(extras=(Objectness(),), beside=(Branch("dense", dense), Branch("again")))
    heads = head.by_branch()
    assert list(heads) == ["main", "dense", "again"]
    assert heads["dense"] is dense
    assert heads["main"] is heads["again"] is head
    assert Head().by_branch() == {"main": Head()}


def test_branches_that_cannot_be_told_apart_are_refused() -> None:
    for names in (("one", "one"), ("main",)):
        with pytest.raises(ValueError, match="two branches of a head have one name"):
            Head(beside=tuple(Branch(name) for name in names))
    with pytest.raises(ValueError, match="must be an identifier, got 'a b'"):
        Branch("a b")
    with pytest.raises(ValueError, match="must not have branches of its own"):
        Branch("one", Head(beside=(Branch("two"),)))


@pytest.mark.parametrize("name", ["class", "box", "bag", "background", "total", "iteration", "lr"])
def test_an_extra_with_the_name_of_a_loss_is_refused(name: str) -> None:
    extra = type("Own", (Objectness,), {"name": name})()
    with pytest.raises(ValueError, match=f"an extra output cannot be called '{name}'"):
        Head(extras=(extra,))


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_whole_pixels_and_spacing_by_the_image_are_torchvisions_retinanet(height: int, width: int) -> None:
    priors = pyramid_priors(anchor_head(whole_pixels=True, spacing="image"), height, width)
    assert torch.equal(priors.boxes, torchvision_anchors(_default_anchorgen(), height, width))


def test_a_cells_priors_come_by_ratio_or_by_octave() -> None:
    by_ratio, by_octave = (pyramid_priors(anchor_head(outer=outer), 64, 96).boxes for outer in ("ratio", "octave"))
    assert torch.equal(by_octave, by_ratio.view(-1, 3, 3, 4).transpose(1, 2).reshape(-1, 4))


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_spacing_by_the_image_is_torchvisions_fcos(height: int, width: int) -> None:
    priors = pyramid_priors(point_head(offset=0.0, spacing="image"), height, width)
    anchors = torchvision_anchors(AnchorGenerator(tuple((s,) for s in STRIDES), ((1.0,),) * 5), height, width)
    assert torch.equal(priors.points, (anchors[:, :2] + anchors[:, 2:]) / 2)


def test_the_nominal_stride_is_another_spacing_where_the_image_does_not_divide() -> None:
    ours, theirs = (pyramid_priors(point_head(spacing=spacing), 800, 1344) for spacing in ("stride", "image"))
    for level, step in enumerate((8, 16, 32, 61, 114)):  # 800 // 13 = 61, 800 // 7 = 114
        for priors, wanted in ((ours, STRIDES[level]), (theirs, step)):
            rows = priors.points[priors.level == level, 1].unique()
            assert rows.diff().unique().tolist() == [wanted]
    assert torch.equal(ours.stride, theirs.stride)  # what distances are counted in is nominal in both


def test_whole_pixels_by_hand() -> None:
    # P3: sides 32, int(40.3) and int(50.8); ratio 1/2 of 32: 45.25 × 22.63, half extents 22.63 and 11.31, rounded
    boxes = pyramid_priors(anchor_head(whole_pixels=True), 64, 64).boxes
    assert boxes[0].tolist() == [-23, -11, 23, 11]
    assert boxes[4].tolist() == [-20, -20, 20, 20]
    assert boxes[5].tolist() == [-25, -25, 25, 25]


def test_maps_may_have_other_sizes_than_ours() -> None:
    own, given = (pyramid_priors(Head(), 96, 136, maps=maps) for maps in (None, map_sizes(96, 136)))
    assert torch.equal(own.boxes, given.boxes)
    maps = ((12, 17), (6, 8), (3, 4), (1, 2), (1, 1))  # rounded down
    floored = pyramid_priors(Head(), 96, 136, maps=maps)
    assert floored.level.bincount().tolist() == [rows * columns for rows, columns in maps]
    assert floored.points[-1].tolist() == [64, 64]


def test_a_head_may_speak_on_some_levels_alone() -> None:
    head = Head(levels=(1, 3), size=2.0, octaves=(0.0, 1.0))
    whole, some = pyramid_priors(Head(size=2.0, octaves=(0.0, 1.0)), 96, 160), pyramid_priors(head, 96, 160)
    kept = (whole.level == 1) | (whole.level == 3)
    for one, other in ((some.boxes, whole.boxes), (some.points, whole.points)):
        assert torch.equal(one, other[kept])
    assert torch.equal(some.level, whole.level[kept])  # levels keep their names
    assert some.grid.rows.tolist() == [0, 6, 0, 2, 0]
    assert some.grid.start.tolist() == [0, 0, 120, 120, 132]
    assert head.controlled().levels == (0, 1, 2, 3, 4)
    assert pyramid_priors(Head(levels=(2,), spacing="image"), 96, 160).stride.unique().tolist() == [32.0]


@pytest.mark.parametrize("levels", [(), (5,), (-1,), (1, 1), (2, 1)])
def test_levels_that_there_are_not_are_refused(levels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="levels of a head"):
        Head(levels=levels)
