"""The cost of a box: by hand, and against torchvision."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torchvision.ops import complete_box_iou_loss, distance_box_iou_loss, generalized_box_iou_loss

from assignbench.core import Head, PairView, PairViews, Predictions, Targets
from assignbench.core.parts import (
    BOX_LOSSES,
    BoxLoss,
    CIoU,
    Coding,
    Deltas,
    DIoU,
    Distances,
    Distribution,
    DistributionFocal,
    GIoU,
    Late,
    LogDistances,
    LogIoU,
    PairLoss,
    SmoothL1,
    SquareIoU,
    SumOf,
)
from assignbench.core.priors import pyramid_priors


def pairs(predicted: Tensor, true: Tensor, raw: Tensor | None = None, coding: Coding | None = None) -> PairView:
    """Box i was predicted for object i at location i, whose prior is 8 × 8."""
    count, priors = len(true), pyramid_priors(Head(size=1.0), 64, 64).cast(true.dtype)
    regression = torch.zeros(count, 4, dtype=true.dtype) if raw is None else raw
    rest = len(priors) - count

    def padded(rows: Tensor) -> Tensor:
        return torch.cat((rows, rows.new_zeros(rest, rows.shape[1])))[None]

    outputs = torch.zeros(1, len(priors), 1, dtype=true.dtype)
    every, zero = torch.arange(count), torch.zeros(count, dtype=torch.int64)
    predictions = Predictions(outputs, padded(predicted), padded(regression))
    return PairViews(predictions, priors, Targets(true, zero, zero, 1), coding or Deltas())(every, every)


def by_hand() -> PairView:
    """4 × 4 boxes that share 2 × 2; said (0.5, 0, 0, 0), to be said (−1/8, −1/8, ln 1/2, ln 1/2) of the prior at 4."""
    predicted, true = torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[2.0, 2, 6, 6]])
    return pairs(predicted, true, torch.tensor([[0.5, 0, 0, 0]]), Deltas((1, 1, 1, 1)))


def test_box_losses_by_hand() -> None:
    # the enclosing box is 6 × 6, the union 28, the centres 2√2 apart
    assert GIoU(weight=3)(by_hand()).item() == pytest.approx(3 * (1 - (4 / 28 - 8 / 36)))
    assert DIoU(weight=3)(by_hand()).item() == pytest.approx(3 * (1 - 4 / 28 + 8 / 72))
    assert CIoU(weight=3)(by_hand()).item() == pytest.approx(3 * (1 - 4 / 28 + 8 / 72))  # two squares: one shape
    # |0.5 − 0| + |0 − 0| + 2 ln 2
    assert SmoothL1(weight=2)(by_hand()).item() == pytest.approx(2 * (0.5 + 2 * 0.6931472))
    # below β = 1 half the square
    assert SmoothL1(weight=1, beta=1.0)(by_hand()).item() == pytest.approx((0.25 + 2 * 0.6931472**2) / 2)
    assert SumOf(2.0, parts=(GIoU(weight=3), DIoU()))(by_hand()).item() == pytest.approx(
        2 * (3 * (1 - (4 / 28 - 8 / 36)) + 5 * (1 - 4 / 28 + 8 / 72))
    )


def test_the_logarithm_of_an_overlap_by_hand() -> None:
    assert LogIoU(weight=3)(by_hand()).item() == pytest.approx(-3 * math.log(4 / 28))
    apart = pairs(torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[8.0, 8, 9, 9]]))
    assert LogIoU()(apart).item() == pytest.approx(-math.log(1e-6))


def test_raw_outputs_below_the_least_one_count_as_it_and_are_not_moved() -> None:
    """From (4, 4), stride 8: left 1/8 instead of −1, the others ½. The true box reaches 4 pixels to each side."""
    raw = torch.tensor([[-1.0, 0.5, 0.5, 0.5]], requires_grad=True)
    true = torch.tensor([[0.0, 0, 8, 8]])
    coding = Distances()
    priors = pyramid_priors(Head(size=1.0), 64, 64)
    predicted = coding.decode(raw, priors.boxes[:1], priors.stride[:1])
    cost = LogIoU(least_output=0.125)(pairs(predicted, true, raw, coding))
    assert cost.item() == pytest.approx(-math.log(5 / 8))
    (gradient,) = torch.autograd.grad(cost.sum(), raw)
    assert gradient[0, 0] == 0
    assert bool((gradient[0, 1:] != 0).any())
    assert LogIoU()(pairs(predicted, true, raw, coding)).item() == pytest.approx(-math.log(4 / 8))


@pytest.mark.parametrize("box", BOX_LOSSES.values(), ids=BOX_LOSSES)
def test_another_box_weight_changes_the_box_part_alone(box: BoxLoss) -> None:
    coding, true = box.coding or Deltas(), torch.tensor([[2.0, 2, 6, 6]])
    raw = torch.linspace(-1, 1, coding.outputs)[None]
    view = pairs(torch.tensor([[0.0, 0, 4, 4]]), true, raw, coding)
    loss = PairLoss(box=box, weight=0.5)
    changed = loss.weighing_boxes(3 * box.weight)
    assert (changed.classes, changed.weight, type(changed.box)) == (loss.classes, 0.5, type(box))
    assert changed.box(view).item() == pytest.approx(3 * loss.box(view).item())


def random_boxes(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner, size = (torch.rand(60, 2, generator=generator, dtype=torch.float64) * 30 for _ in range(2))
    return torch.cat((corner, corner + size + 1), dim=1)


@pytest.mark.parametrize(
    ("box", "theirs"),
    [
        (GIoU(weight=1.0), generalized_box_iou_loss),
        (DIoU(weight=1.0), distance_box_iou_loss),
        (CIoU(weight=1.0), complete_box_iou_loss),
    ],
)
def test_overlap_losses_are_torchvisions(box: BoxLoss, theirs: Callable[..., Tensor]) -> None:
    predicted, true = random_boxes(0).requires_grad_(), random_boxes(1)
    have, want = box(pairs(predicted, true)), theirs(predicted, true)
    torch.testing.assert_close(have, want, rtol=1e-6, atol=1e-7)
    assert 0 < int((have > 1).sum()) < 60  # apart, and not
    mine, theirs_ = (torch.autograd.grad(value.sum(), predicted)[0] for value in (have, want))
    torch.testing.assert_close(mine, theirs_, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("box", [GIoU(), DIoU(), CIoU()])
def test_boxes_without_size_cost_something_finite(box: BoxLoss) -> None:
    true = torch.tensor([[3.0, 3, 9, 9]] * 3)
    predicted = torch.tensor([[6.0, 6, 6, 6], [3, 3, 3, 9], [40, 40, 40, 40]], requires_grad=True)
    cost = box(pairs(predicted, true))
    (gradient,) = torch.autograd.grad(cost.sum(), predicted)
    assert bool((cost >= 0).all() and cost.isfinite().all() and gradient.isfinite().all())
    assert box(pairs(true, true)).abs().max() < 1e-5


def test_the_distribution_focal_loss_by_hand() -> None:
    # location 0 is at (4, 4), stride 8: sides of 2, 4, 12 and 9 pixels are 0.25, 0.5, 1.5 and 1.125 strides
    true = torch.tensor([[2.0, 0, 16, 13]])
    raw = torch.tensor([[0.0, 1, 2, 0, 0, 0, 3, -1, 0, 1, 1, 1]])  # three bins a side
    logs = raw.view(4, 3).log_softmax(-1)
    wanted = [
        -(0.75 * logs[0, 0] + 0.25 * logs[0, 1]),
        -(0.5 * logs[1, 0] + 0.5 * logs[1, 1]),
        -(0.5 * logs[2, 1] + 0.5 * logs[2, 2]),
        -(0.875 * logs[3, 1] + 0.125 * logs[3, 2]),
    ]
    view = pairs(true, true, raw, Distribution(3))
    have = DistributionFocal(weight=2.0)(view)
    assert have.item() == pytest.approx(2 * torch.stack(wanted).mean().item())


def test_the_distribution_focal_loss_ends_at_the_last_bin() -> None:
    far = torch.tensor([[-500.0, 4, 500, 4]])  # to the left and right beyond all bins, above and below nothing
    raw = torch.zeros(1, 12, requires_grad=True)
    cost = DistributionFocal(weight=1.0)(pairs(far, far, raw, Distribution(3)))
    assert cost.item() == pytest.approx(torch.tensor(3.0).log().item())
    (gradient,) = torch.autograd.grad(cost, raw)
    sides = (-gradient * 4).view(4, 3)  # towards what is wanted: 1.99 and 0
    torch.testing.assert_close(sides[0], torch.tensor([0, 0.01, 0.99]) - 1 / 3)
    torch.testing.assert_close(sides[1], torch.tensor([1.0, 0, 0]) - 1 / 3)


def test_a_distribution_needs_a_head_that_has_one() -> None:
    with pytest.raises(ValueError, match="needs a head whose coding is Distribution"):
        DistributionFocal()(by_hand())
    assert DistributionFocal().coding == BOX_LOSSES["giou_distribution"].coding == Distribution()
    assert GIoU().coding is None


@pytest.mark.parametrize("coding", [Distances(), Deltas(), Distribution()])
@pytest.mark.parametrize("box", [GIoU(), DIoU(), CIoU()])
def test_overlap_losses_teach_through_any_coding(box: BoxLoss, coding: Coding) -> None:
    true, prior = torch.tensor([[1.0, 1, 7, 9]]), torch.tensor([[0.0, 0, 8, 8]])
    raw = torch.full((1, coding.outputs), 0.1, requires_grad=True)
    predicted = coding.decode(raw, prior, torch.tensor([8.0]))
    (gradient,) = torch.autograd.grad(box(pairs(predicted, true, raw, coding)).sum(), raw)
    assert bool(gradient.abs().sum() > 0)


def test_log_distances_by_hand() -> None:
    coding, prior, stride = LogDistances(unit=2.0), torch.tensor([[0.0, 0, 16, 16]]), torch.tensor([4.0])
    box = coding.decode(torch.tensor([[0.0, 0, math.log(2), -math.inf]]), prior, stride)
    torch.testing.assert_close(box, torch.tensor([[0.0, 0, 24, 8]]))  # 8 = 2 · 4 pixels at output 0
    torch.testing.assert_close(coding.encode(box, prior, stride)[0, :3], torch.tensor([0.0, 0, math.log(2)]))
    assert coding.decode(torch.full((1, 4), 1e9), prior, stride).isfinite().all()
    assert coding.encode(torch.tensor([[9.0, 9, 10, 10]]), prior, stride).isfinite().all()


def test_the_rest_of_a_distribution_says_where_wanted_sides_end() -> None:
    prior, stride, box = torch.tensor([[0.0, 0, 8, 8]]), torch.tensor([1.0]), torch.tensor([[-90.0, 0, 9, 9]])
    assert Distribution().encode(box, prior, stride)[0, 0].item() == pytest.approx(15.99)
    coding = SumOf(parts=(GIoU(), DistributionFocal(rest=0.1))).coding
    assert coding == Distribution(rest=0.1)
    assert coding.encode(box, prior, stride)[0, 0].item() == pytest.approx(15.9)


def test_square_iou_by_hand() -> None:
    """4 × 4 boxes that share 2 × 2: IoU 4/28."""
    assert SquareIoU(weight=2.0)(by_hand()).item() == pytest.approx(2 * (1 - (4 / 28) ** 2))


def test_a_late_loss_counts_from_its_start_on() -> None:
    loss, early = Late(weight=2.0, part=SmoothL1(), start=0.5), by_hand()
    late = replace(early, progress=0.5)
    assert loss(early).tolist() == [0]
    torch.testing.assert_close(loss(late), 2 * SmoothL1()(late))
    both = SumOf(parts=(SquareIoU(), loss))
    torch.testing.assert_close(both(late), SquareIoU()(late) + loss(late))
