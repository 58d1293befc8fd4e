"""From predictions to detections."""

import torch

from assignbench.core import Centerness, Predictions, Priors
from assignbench.detector.postprocess import ImageDetections, PostprocessRule, detect


def run(
    logits: torch.Tensor, boxes: torch.Tensor, rule: PostprocessRule, extra: torch.Tensor | None = None
) -> list[ImageDetections]:
    images, locations, _ = logits.shape
    priors = Priors(boxes[0], torch.ones(locations), torch.zeros(locations, dtype=torch.int64))
    extras = {} if extra is None else {"centerness": extra}
    predictions = Predictions(logits, boxes, boxes, extras)
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
