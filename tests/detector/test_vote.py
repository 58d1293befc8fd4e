"""Several looks at one picture: suppression of all, and votes worked out by hand and read slowly."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import box_iou, nms

from assignbench.detector.postprocess import ImageDetections
from assignbench.detector.vote import MergeRule, merge

SOFT = MergeRule("vote", 0.65, 0.05, 100)
HARD = MergeRule("vote", 0.65, None, 100)
NMS = MergeRule("nms", 0.6, None, 100)


def seen(*rows: tuple[float, float, float, float, float, int]) -> ImageDetections:
    """Rows of box, score and label."""
    boxes = torch.tensor([row[:4] for row in rows], dtype=torch.float32).reshape(-1, 4)
    return ImageDetections(boxes, torch.tensor([row[4] for row in rows]), torch.tensor([int(row[5]) for row in rows]))


def rows_of(found: ImageDetections) -> list[tuple[float, ...]]:
    table = torch.cat([found.boxes, found.scores[:, None], found.labels[:, None]], 1)
    return [tuple(round(value, 5) for value in row) for row in table.tolist()]


# Beside A = 0 0 10 10: B = 2 0 12 10 overlaps it by 80/120 = 2/3, C = 0 0 10 8 by 80/100 = 0.8, and B and C by 64/116.
A, B, C = (0, 0, 10, 10), (2, 0, 12, 10), (0, 0, 10, 8)


def test_two_boxes_vote_by_their_scores() -> None:
    # x: (0.6·0 + 0.3·2) / 0.9 = 2/3; B stays with 0.3 · (1 − 2/3) = 0.1
    found = merge([seen((*A, 0.6, 0)), seen((*B, 0.3, 0))], SOFT)
    assert rows_of(found) == [(0.66667, 0, 10.66667, 10, 0.6, 0), (2, 0, 12, 10, 0.1, 0)]


def test_without_soft_nothing_stays_of_a_voter() -> None:
    found = merge([seen((*A, 0.6, 0)), seen((*B, 0.3, 0))], HARD)
    assert rows_of(found) == [(0.66667, 0, 10.66667, 10, 0.6, 0)]


def test_what_stays_must_reach_the_least_score() -> None:
    for least, count in ((0.0999, 2), (0.1001, 1)):
        found = merge([seen((*A, 0.6, 0), (*B, 0.3, 0))], MergeRule("vote", 0.65, least, 100))
        assert len(found.scores) == count
    # 0.2 · (1 − 0.8) = 0.04 < 0.05
    assert len(merge([seen((*A, 0.6, 0), (*C, 0.2, 0))], SOFT).scores) == 1


def test_a_box_votes_once_for_the_best_that_it_overlaps() -> None:
    # the best is B; A overlaps it by 2/3 and votes for it, so C, which A would have taken, leads itself
    found = merge([seen((*B, 0.8, 0), (*A, 0.4, 0), (*C, 0.2, 0))], HARD)
    # x: (0.8·2 + 0.4·0) / 1.2 = 4/3
    assert rows_of(found) == [(1.33333, 0, 11.33333, 10, 0.8, 0), (0, 0, 10, 8, 0.2, 0)]


def test_the_overlap_may_equal_the_threshold() -> None:
    # C and A: exactly 0.8
    every = seen((*A, 0.6, 0), (*C, 0.3, 0))
    # y: (0.6·10 + 0.3·8) / 0.9
    assert rows_of(merge([every], MergeRule("vote", 0.8, None, 100))) == [(0, 0, 10, 9.33333, 0.6, 0)]
    assert len(merge([every], MergeRule("vote", 0.8000001, None, 100)).scores) == 2
    # equal boxes vote at 1, and nothing stays of them: their score times 1 − 1
    found = merge([seen((*A, 0.6, 0)), seen((*A, 0.6, 0))], MergeRule("vote", 1.0, 0.05, 100))
    assert rows_of(found) == [(*A, 0.6, 0)]


def test_classes_do_not_vote_for_each_other() -> None:
    found = merge([seen((*A, 0.6, 0)), seen((*B, 0.3, 1))], SOFT)
    assert rows_of(found) == [(*A, 0.6, 0), (*B, 0.3, 1)]


def test_the_limit_holds_for_what_leads_and_what_stays() -> None:
    apart = (50, 50, 60, 60)
    found = [seen((*A, 0.6, 0), (*apart, 0.05, 0)), seen((*B, 0.3, 0))]
    assert [round(row[4], 5) for row in rows_of(merge(found, SOFT))] == [0.6, 0.1, 0.05]
    assert [round(row[4], 5) for row in rows_of(merge(found, MergeRule("vote", 0.65, 0.05, 2)))] == [0.6, 0.1]


def test_of_equal_scores_the_first_look_leads() -> None:
    found = merge([seen((*A, 0.5, 0)), seen((*B, 0.5, 0))], MergeRule("nms", 0.6, None, 100))
    assert rows_of(found) == [(*A, 0.5, 0)]


@pytest.mark.parametrize("rule", [SOFT, HARD, NMS])
def test_nothing_found(rule: MergeRule) -> None:
    for found in ([seen()], [seen(), seen(), seen()]):
        assert merge(found, rule).boxes.shape == (0, 4)
    assert rows_of(merge([seen(), seen((*A, 0.5, 3)), seen()], rule)) == [(*A, 0.5, 3)]


def test_boxes_without_area_to_speak_of_and_scores_of_zero_are_harmless() -> None:
    thin = (5, 5, 5 + 2**-20, 5 + 2**-20)
    assert merge([seen((*thin, 0.5, 0), (*thin, 0.4, 0))], SOFT).scores.tolist() == pytest.approx([0.5, 0.4])
    assert rows_of(merge([seen((*A, 0.0, 0), (*A, 0.0, 0))], SOFT)) == [(*A, 0, 0)]


def vote_slowly(boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor, rule: MergeRule) -> list[list[float]]:
    """The words of the module's docstring, one box after the other."""
    left = sorted(range(len(scores)), key=lambda i: (-float(scores[i]), i))
    overlap = box_iou(boxes.double(), boxes.double())
    leading, staying = [], []
    while left:
        lead = left[0]
        mine = [j for j in left if labels[j] == labels[lead] and (j == lead or overlap[lead, j] >= rule.iou)]
        left = [j for j in left if j not in mine]
        weights = scores[mine].double()[:, None]
        mean = (weights * boxes[mine].double()).sum(0) / weights.sum()
        leading.append([*mean.tolist(), float(scores[lead]), float(labels[lead])])
        for j in mine:
            score = float(scores[j]) * (1 - float(overlap[lead, j]))
            if rule.soft is not None and j != lead and score >= rule.soft:
                staying.append((j, [*boxes[j].tolist(), score, float(labels[j])]))
    ranked = [row for _, row in sorted(staying, key=lambda one: (-float(scores[one[0]]), one[0]))]
    return sorted(leading + ranked, key=lambda row: -row[4])[: rule.detections]


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(0, 60),
    classes=st.integers(1, 3),
    threshold=st.sampled_from((0.3, 0.5, 0.65, 1.0)),
    soft=st.sampled_from((None, 0.05, 0.2)),
    limit=st.sampled_from((1, 5, 100)),
)
def test_as_read_slowly(seed, count, classes, threshold, soft, limit) -> None:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 12
    boxes = torch.cat([corner, corner + 8 + torch.rand(count, 2, generator=generator) * 4], 1)
    scores = torch.rand(count, generator=generator) * 0.9 + 0.05
    labels = torch.randint(0, classes, (count,), generator=generator)
    rule = MergeRule("vote", threshold, soft, limit)
    parts = [ImageDetections(boxes[i::3], scores[i::3], labels[i::3]) for i in range(3)]
    found = merge(parts, rule)
    expected = torch.tensor(vote_slowly(boxes, scores, labels, rule), dtype=torch.float64).reshape(-1, 6)
    table = torch.cat([found.boxes, found.scores[:, None], found.labels[:, None].float()], 1).double()
    torch.testing.assert_close(table, expected, rtol=1e-5, atol=1e-5)
    # whoever looked first: scores differ, so nothing depends on it
    again = merge(parts[::-1], rule)
    torch.testing.assert_close(again.boxes, found.boxes, rtol=0, atol=1e-5)
    assert torch.equal(again.labels, found.labels)


@settings(derandomize=True, max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 60))
def test_suppression_of_all_is_torchvisions(seed: int, count: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 12
    boxes = torch.cat([corner, corner + 8 + torch.rand(count, 2, generator=generator) * 4], 1)
    scores = torch.rand(count, generator=generator)
    parts = [ImageDetections(boxes[i::2], scores[i::2], torch.zeros_like(scores[i::2]).long()) for i in range(2)]
    found, kept = merge(parts, NMS), nms(boxes.double(), scores.double(), 0.6)
    assert torch.equal(found.boxes, boxes[kept])
    assert torch.equal(found.scores, scores[kept])
