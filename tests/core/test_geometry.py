"""Boxes: small examples worked by hand, and laws on random ones."""

import math

import pytest
import torch
import torchvision.ops
from hypothesis import given, settings
from hypothesis import strategies as st

from assignbench.core import area, centerness, giou, iou, iou_matrix, sides
from assignbench.core.parts import CenterSize, Deltas, Distances, Distribution, LogDistances


def box(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float32)


def boxes(seed: int, count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 100
    return torch.cat((corner, corner + torch.rand(count, 2, generator=generator) * 60 + 1), dim=1)


def test_area_has_no_plus_one() -> None:
    assert area(box(2, 3, 5, 7)).item() == 12


def test_iou_by_hand() -> None:
    # 4×4 and 4×4, sharing 2×2: 4 / (16 + 16 − 4)
    assert iou(box(0, 0, 4, 4), box(2, 2, 6, 6)).item() == pytest.approx(4 / 28)


def test_giou_by_hand() -> None:
    # the enclosing box is 6×6, the union 28: IoU − 8/36
    assert giou(box(0, 0, 4, 4), box(2, 2, 6, 6)).item() == pytest.approx(4 / 28 - 8 / 36)
    # apart: union 2, enclosing 3×1
    assert giou(box(0, 0, 1, 1), box(2, 0, 3, 1)).item() == pytest.approx(-1 / 3)


def test_degenerate_boxes_give_no_nan() -> None:
    point = box(3, 3, 3, 3)
    assert iou(point, point).item() == 0
    assert giou(point, point).isfinite()


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0, 10_000))
def test_overlaps_agree_with_torchvision(seed: int) -> None:
    one, other = boxes(seed, 7), boxes(seed + 1, 5)
    torch.testing.assert_close(iou_matrix(one, other), torchvision.ops.box_iou(one, other))
    expected = torchvision.ops.generalized_box_iou(one, other)
    torch.testing.assert_close(giou(one[:, None], other), expected)


def test_matrix_rows_are_the_same_bits_wherever_they_are_cut() -> None:
    one, other = boxes(0, 50), boxes(1, 333)
    whole = iou_matrix(one, other)
    assert torch.equal(whole[17:31], iou_matrix(one[17:31], other))


def test_sides_are_positive_exactly_inside() -> None:
    square = box(10, 10, 20, 30)
    assert sides(square, box(12, 15)).tolist() == [2, 5, 8, 15]
    assert sides(square, box(10, 15)).amin() == 0  # on the border is not inside
    assert sides(square, box(9, 15)).amin() < 0


def test_centerness_by_hand() -> None:
    square = box(0, 0, 8, 8)
    assert centerness(square, box(4, 4)).item() == 1
    # l, r = 2, 6 and t, b = 4, 4: √(2/6)
    assert centerness(square, box(2, 4)).item() == pytest.approx((2 / 6) ** 0.5)
    assert centerness(square, box(0, 4)).item() == 0
    assert centerness(square, box(-3, 4)).item() == 0


def test_distances_by_hand() -> None:
    # one stride of 8 to each side of (100, 50); what ReLU cuts is 0
    prior, stride = box(68, 18, 132, 82), torch.tensor(8.0)
    decoded = Distances().decode(box(1, 2, 0.5, -3), prior, stride)
    assert decoded.tolist() == [92, 34, 104, 50]


def test_distances_may_be_upright_and_in_other_units() -> None:
    """Top 1, bottom 2, left ½, right −3, in units of four strides of 4 pixels, from (10, 20)."""
    coding, stride = Distances(unit=4.0, upright=True), torch.tensor(4.0)
    prior = box(8, 18, 12, 22)
    decoded = coding.decode(box(1, 2, 0.5, -3), prior, stride)
    assert decoded.tolist() == [10 - 8, 20 - 16, 10, 20 + 32]
    assert coding.encode(decoded, prior, stride).tolist() == [1, 2, 0.5, 0]


def test_deltas_by_hand() -> None:
    # shifts of a tenth of the prior's width, log-ratios of ln 2
    prior, stride = box(0, 0, 10, 20), torch.tensor(8.0)
    decoded = Deltas((0.1, 0.1, 0.2, 0.2)).decode(box(1, -1, torch.tensor(2.0).log().item() / 0.2, 0), prior, stride)
    torch.testing.assert_close(decoded, box(6 - 10, 8 - 10, 6 + 10, 8 + 10), atol=1e-4, rtol=0)


def test_a_distribution_by_hand() -> None:
    # three bins: all on 1; half on 0 and half on 2; a third on each; all on 2. Means 1, 1, 1 and 2 strides of 8
    prior, stride, sure = box(68, 18, 132, 82), torch.tensor(8.0), 99.0
    raw = box(0, sure, 0, sure, 0, sure, 0, 0, 0, 0, 0, sure)
    torch.testing.assert_close(Distribution(3).decode(raw, prior, stride), box(92, 42, 108, 66))
    # what is to be learned: sides in strides, cut to 0 … 1.99
    wanted = Distribution(3).encode(box(92, 46, 132, 40), prior, stride)
    torch.testing.assert_close(wanted, box(1, 0.5, 1.99, 0))
    assert (Distribution().outputs, Distribution(3).outputs) == (68, 12)
    with pytest.raises(ValueError, match="bins must be at least 2, got 1"):
        Distribution(1)


def test_a_distribution_of_the_two_bins_around_a_distance_decodes_to_it() -> None:
    true, coding = boxes(3, 40), Distribution(9)
    middle = (true[:, :2] + true[:, 2:]) / 2 + 1
    prior, stride = torch.cat((middle - 8, middle + 8), dim=1), torch.full((40,), 8.0)
    wanted = coding.encode(true, prior, stride)
    low = wanted.floor().long()
    share = torch.zeros(40, 4, 9).scatter(2, low[..., None], (low + 1 - wanted)[..., None])
    share = share.scatter(2, low[..., None] + 1, (wanted - low)[..., None])
    inside = (sides(true, middle) > 0).all(-1)
    assert inside.sum() > 30
    decoded = coding.decode(share.clamp(min=1e-30).log().flatten(1), prior, stride)
    torch.testing.assert_close(decoded[inside], true[inside], atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize("coding", [Distances(), Distances(4.0, upright=True), Deltas(), Deltas((1, 1, 1, 1))])
def test_decoding_undoes_encoding(coding: Distances | Deltas) -> None:
    true = boxes(3, 40)
    middle = (true[:, :2] + true[:, 2:]) / 2
    prior = torch.cat((middle - 7, middle + 9), dim=1)
    stride = torch.full((40,), 16.0)
    decoded = coding.decode(coding.encode(true, prior, stride), prior, stride)
    inside = (sides(true, (prior[:, :2] + prior[:, 2:]) / 2) > 0).all(-1)
    assert inside.any()
    torch.testing.assert_close(decoded[inside], true[inside], atol=1e-3, rtol=1e-5)


def test_log_ratio_is_clamped_on_both_sides() -> None:
    prior, stride = box(0, 0, 16, 16), torch.tensor(8.0)
    large = Deltas((1, 1, 1, 1)).decode(box(0, 0, 99, -99), prior, stride)
    assert (large[2] - large[0]).item() == pytest.approx(1000, rel=1e-5)
    assert (large[3] - large[1]).item() == pytest.approx(16 * 16 / 1000, rel=1e-5)


def test_exponential_codings_by_hand_and_back() -> None:
    """A prior at (12, 20) of stride 8, in the cell from (8, 16) on."""
    prior, stride = box(8, 16, 16, 24), torch.tensor(8.0)
    side = torch.tensor([1.0, 2, 0.5, 1]).log()
    assert LogDistances().decode(side, prior, stride).tolist() == pytest.approx([4, 4, 16, 28])
    center = torch.tensor([0.5, -1, math.log(2), 0])
    assert CenterSize().decode(center, prior, stride).tolist() == pytest.approx([4, 4, 20, 12])
    assert CenterSize(offset=0.0).decode(center, prior, stride).tolist() == pytest.approx([8, 8, 24, 16])
    for coding in (LogDistances(), CenterSize(), CenterSize(offset=0.0)):
        true = box(3, 5, 33, 31)
        torch.testing.assert_close(coding.decode(coding.encode(true, prior, stride), prior, stride), true)
        assert coding.encode(box(50, 50, 60, 60), prior, stride).isfinite().all()
        huge = coding.decode(torch.full((4,), 500.0), prior, stride)
        assert iou(huge, huge).isfinite()
