"""Score voting: by hand, and against the loop over detections and candidates."""

import math

import pytest
import torch

from assignbench.core import iou
from assignbench.detector.postprocess import ImageDetections
from assignbench.detector.score_voting import voted
from assignbench.detector.vote import MergeRule, merge


def naive(
    boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor, kept: torch.Tensor, spread: float
) -> torch.Tensor:
    found = boxes.clone().double()
    for d in range(len(boxes)):
        total, mean = 0.0, torch.zeros(4, dtype=torch.float64)
        for j in range(len(boxes)):
            overlap = iou(boxes[d].double(), boxes[j].double()).item()
            if labels[j] == labels[d] and overlap > 0.01:
                weight = math.exp(-((1 - overlap) ** 2) / spread) * scores[j].item()
                total, mean = total + weight, mean + weight * boxes[j].double()
        if kept[d] and total > 0:
            found[d] = mean / total
    return found.float()


def test_two_boxes_of_a_class_by_hand() -> None:
    """10 × 10 beside 10 × 5 within it: IoU ½, so p = exp(−¼ / ¼)."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 5]])
    scores, labels = torch.tensor([0.8, 0.4, 0.4]), torch.tensor([0, 0, 1])
    found = voted(boxes, scores, labels, torch.tensor([True, False, False]), 0.25)
    weight = 0.4 * math.exp(-1)
    assert found[0].tolist() == pytest.approx([0, 0, 10, (0.8 * 10 + weight * 5) / (0.8 + weight)])
    assert torch.equal(found[1:], boxes[1:])


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_loop(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    corner, size = torch.rand(40, 2, generator=generator) * 40, torch.rand(40, 2, generator=generator) * 40
    boxes = torch.cat((corner, corner + size), dim=1)
    boxes[3, 2:] = boxes[3, :2]  # no area: it does not overlap itself
    scores = torch.rand(40, generator=generator).sort(descending=True).values
    labels = torch.randint(0, 3, (40,), generator=generator)
    kept = torch.rand(40, generator=generator) < 0.4
    kept[3] = True
    found = voted(boxes, scores, labels, kept, 0.025)
    torch.testing.assert_close(found, naive(boxes, scores, labels, kept, 0.025), rtol=1e-5, atol=1e-5)


def test_nothing_votes_for_nothing() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    assert voted(torch.zeros(0, 4), torch.zeros(0), none, none.bool(), 0.025).shape == (0, 4)


def test_views_are_suppressed_and_then_voted_for_together() -> None:
    one = ImageDetections(torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([0.8]), torch.tensor([0]))
    other = ImageDetections(torch.tensor([[0.0, 0, 10, 9]]), torch.tensor([0.4]), torch.tensor([0]))
    plain = merge([one, other], MergeRule("nms", 0.6, None, 100))
    found = merge([one, other], MergeRule("nms", 0.6, None, 100, voting=0.025))
    assert torch.equal(plain.boxes, one.boxes)
    assert torch.equal(found.scores, plain.scores)
    assert 9 < found.boxes[0, 3].item() < 10
