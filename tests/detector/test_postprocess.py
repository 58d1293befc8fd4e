"""From predictions to detections."""

import pytest
import torch

from assignbench.core import Centerness, Predictions, Priors
from assignbench.detector.postprocess import ImageDetections, PostprocessRule, detect


def run(
    logits: torch.Tensor,
    boxes: torch.Tensor,
    rule: PostprocessRule,
    extra: torch.Tensor | None = None,
    *,
    output: torch.Tensor | None = None,
    level: torch.Tensor | None = None,
) -> list[ImageDetections]:
    """``output``: the class output's own logits, where an extra has joined it to ``logits``."""
    images, locations, _ = logits.shape
    level = torch.zeros(locations, dtype=torch.int64) if level is None else level
    priors = Priors(boxes[0], torch.ones(locations), level)
    extras = {} if extra is None else {"centerness": extra}
    predictions = Predictions(logits, boxes, boxes, extras)
    if output is not None:  # 1/p = (1 + 1/odds) (1 + 1/odds of the joining extra), the same for all classes here
        share = (logits.sigmoid() / output.sigmoid())[..., 0].logit()
        predictions = Predictions(output, boxes, boxes, {**extras, "joins": share}, joined="joins")
    sizes = torch.tensor([[50, 60]] * images)
    return detect(predictions, priors, sizes, (Centerness(),) if extras else (), rule)


def logit(*p: float) -> torch.Tensor:
    return torch.tensor(p).logit()


BOXES = torch.tensor([[[0.0, 0, 10, 10], [1, 0, 11, 10], [30, 30, 99, 99]]])


def test_suppression_is_within_a_class() -> None:
    logits = torch.stack((logit(0.9, 0.8, 0.7), logit(0.02, 0.6, 0.02)), dim=1)[None]
    (found,) = run(logits, BOXES, PostprocessRule())
    # location 1 overlaps location 0 by 90/110 > 0.6: gone in class 0, kept in class 1
    assert found.labels.tolist() == [0, 0, 1]
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.7, 0.6]))
    assert found.boxes[1].tolist() == [30, 30, 60, 50]  # clipped to 60 × 50


def test_threshold_is_strict_and_acts_on_the_class_probability() -> None:
    logits = logit(0.5, 0.25, 0.125)[None, :, None]
    rule = PostprocessRule(score_threshold=0.25, nms=1.0)
    (found,) = run(logits, BOXES, rule)
    assert len(found.scores) == 1
    # quality 1/4: the score √(1/2 · 1/4) stays although quality alone is low
    (found,) = run(logits, BOXES, rule, extra=logit(0.25, 0.25, 0.25)[None])
    torch.testing.assert_close(found.scores, torch.tensor([0.125**0.5]))


def test_limits_of_candidates_and_detections() -> None:
    logits = logit(0.9, 0.8, 0.7)[None, :, None]
    (found,) = run(logits, BOXES, PostprocessRule(candidates=2, nms=1.0))
    assert len(found.scores) == 2
    (found,) = run(logits, BOXES, PostprocessRule(detections=1, nms=1.0))
    torch.testing.assert_close(found.scores, torch.tensor([0.9]))


def test_boxes_without_size_are_dropped() -> None:
    boxes = BOXES.clone()
    boxes[0, 0] = torch.tensor([5.0, 5, 5, 9])
    boxes[0, 1] = torch.tensor([70.0, 0, 80, 9])  # beyond the image: nothing is left of it
    (found,) = run(logit(0.9, 0.9, 0.3)[None, :, None], boxes, PostprocessRule())
    torch.testing.assert_close(found.scores, torch.tensor([0.3]))


def test_nothing_found() -> None:
    (found,) = run(torch.full((1, 3, 2), -9.0), BOXES, PostprocessRule())
    assert found.boxes.shape == (0, 4)


def test_images_do_not_disturb_each_other() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 40, 4, generator=generator)
    corner = torch.rand(3, 40, 2, generator=generator) * 40
    boxes = torch.cat((corner, corner + torch.rand(3, 40, 2, generator=generator) * 30), -1)
    together = run(logits, boxes, PostprocessRule())
    for image in range(3):
        (alone,) = run(logits[image : image + 1], boxes[image : image + 1], PostprocessRule())
        assert torch.equal(alone.boxes, together[image].boxes)
        assert torch.equal(alone.scores, together[image].scores)
        assert torch.equal(alone.labels, together[image].labels)


APART = torch.tensor([[[0.0, 0, 10, 10], [20, 0, 30, 10], [0, 20, 10, 30], [20, 20, 30, 30]]])  # no overlaps


def test_the_score_is_the_root_or_the_product() -> None:
    p, quality = logit(0.9, 0.4, 0.3, 0.01)[None, :, None], logit(0.1, 0.9, 0.2, 0.9)[None]
    root = run(p, APART, PostprocessRule(), extra=quality)[0]
    product = run(p, APART, PostprocessRule(score="product"), extra=quality)[0]
    torch.testing.assert_close(product.scores, torch.tensor([0.36, 0.09, 0.06]))
    torch.testing.assert_close(root.scores, product.scores.sqrt())
    assert torch.equal(root.boxes, product.boxes)
    # without a quality there is nothing to take a root of
    for score in ("root", "product"):
        (found,) = run(p, APART, PostprocessRule(score=score))
        torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.4, 0.3]))


# one row a location: class output, class probability (after an objectness of 0.9 … 0.2), quality
#   0: 0.50 · 0.9 = 0.450, quality 0.10: score √0.0450 = 0.212
#   1: 0.30 · 0.9 = 0.270, quality 0.80: score √0.2160 = 0.465
#   2: 0.90 · 0.2 = 0.180, quality 0.99: score √0.1782 = 0.422
#   3: 0.40 · 0.9 = 0.360, quality 0.02: score √0.0072 = 0.085
OUTPUT, PROBABILITY = logit(0.5, 0.3, 0.9, 0.4)[None, :, None], logit(0.45, 0.27, 0.18, 0.36)[None, :, None]
QUALITY = logit(0.10, 0.80, 0.99, 0.02)[None]
SCORES = (0.0450**0.5, 0.2160**0.5, 0.1782**0.5, 0.0072**0.5)


def kept(rule: PostprocessRule) -> list[int]:
    """Which of the four locations are found, best score first."""
    (found,) = run(PROBABILITY, APART, rule, extra=QUALITY, output=OUTPUT)
    places = [APART[0].tolist().index(box) for box in found.boxes.tolist()]
    torch.testing.assert_close(found.scores, torch.tensor([SCORES[place] for place in places]))
    return places


@pytest.mark.parametrize(
    ("measure", "locations"),
    [("output", [2, 0, 3]), ("class", [1, 0, 3]), ("score", [1, 2])],
)
def test_the_threshold_acts_on_what_was_asked_for(measure: str, locations: list[int]) -> None:
    threshold = {"output": 0.35, "class": 0.25, "score": 0.25}[measure]
    assert kept(PostprocessRule(threshold_on=measure, score_threshold=threshold)) == locations


@pytest.mark.parametrize(
    ("measure", "locations"),
    [("output", [2, 0]), ("class", [0, 3]), ("score", [1, 2])],
)
def test_candidates_are_ranked_by_what_was_asked_for(measure: str, locations: list[int]) -> None:
    assert kept(PostprocessRule(rank_by=measure, candidates=2)) == locations


def test_suppression_goes_by_the_score_whatever_ranked_the_candidates() -> None:
    boxes = BOXES[:, :2].repeat(1, 2, 1)
    boxes[0, 2:] += 30
    (found,) = run(PROBABILITY, boxes, PostprocessRule(rank_by="output"), extra=QUALITY, output=OUTPUT)
    torch.testing.assert_close(found.scores, torch.tensor([SCORES[1], SCORES[2]]))


def test_a_level_may_be_limited_to_as_many_pairs_as_it_has_locations() -> None:
    # three locations on level 0, one on level 1; two classes everywhere above the threshold
    logits = torch.stack((logit(0.9, 0.8, 0.7, 0.5), logit(0.6, 0.55, 0.52, 0.4)), dim=1)[None]
    level = torch.tensor([0, 0, 0, 1])
    (every,) = run(logits, APART, PostprocessRule(), level=level)
    assert len(every.scores) == 8
    (found,) = run(logits, APART, PostprocessRule(candidates_per_location=True), level=level)
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.8, 0.7, 0.5]))
    (found,) = run(logits, APART, PostprocessRule(candidates_per_location=True, candidates=2), level=level)
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.8, 0.5]))
