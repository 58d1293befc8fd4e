"""From predictions to detections."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import nms

from assignbench.core import Predictions, Priors, centers
from assignbench.core.parts import Centerness
from assignbench.core.types import Grid
from assignbench.detector.postprocess import ImageDetections, PostprocessRule, detect


def priors_of(boxes: torch.Tensor, level: torch.Tensor) -> Priors:
    """Boxes as priors, each level a row of cells."""
    columns = torch.unique_consecutive(level, return_counts=True)[1]
    step = torch.ones(len(columns), 2)
    grid = Grid(columns.cumsum(0) - columns, torch.ones_like(columns), columns, step, step, anchors=1)
    return Priors(boxes, centers(boxes), torch.ones(len(boxes)), level, grid)


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
    priors = priors_of(boxes[0], level)
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


@pytest.mark.parametrize(("keep", "count"), [(False, 1), (True, 2)])
def test_what_clipping_leaves_without_area_goes_unless_it_is_kept(keep: bool, count: int) -> None:
    boxes = torch.tensor([[[0.0, 0, 10, 10], [70, 20, 80, 30]]])  # the second lies right of the picture, 60 wide
    (found,) = run(logit(0.9, 0.8)[None, :, None], boxes, PostprocessRule(keep_flat=keep))
    assert len(found.scores) == count
    assert found.boxes[1:].tolist() == [[60, 20, 60, 30]][: count - 1]


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


def read_slowly(
    p: torch.Tensor, quality: torch.Tensor, boxes: torch.Tensor, level: torch.Tensor, rule: PostprocessRule
) -> list[tuple[float, int, int]]:
    """Score, location and label of what is found in one image, by the words of the module's docstring.

    ``p``: class output and probability at once ``[location, class]``; boxes have a size and lie in the image.
    """
    score = (p * quality[:, None]).sqrt() if rule.score == "root" else p * quality[:, None]
    measures = {"output": p, "class": p, "score": score}
    every = [
        (float(measures[rule.rank_by][location, label]), float(score[location, label]), location, label)
        for location in range(p.shape[0])
        for label in range(p.shape[1])
        if measures[rule.threshold_on][location, label] > rule.score_threshold
    ]
    chosen = []
    for number, length in enumerate(level.bincount().tolist()):
        here = sorted((one for one in every if level[one[2]] == number), key=lambda one: (-one[0], *one[2:]))
        chosen += here[: min(rule.candidates, length) if rule.candidates_per_location else rule.candidates]
    chosen = sorted(chosen, key=lambda one: -one[1])  # stable
    stays = set()
    for label in range(p.shape[1]):
        own = [one for one in chosen if one[3] == label]
        falling = torch.arange(len(own), 0, -1).double()
        place = torch.tensor([one[2] for one in own], dtype=torch.int64)
        stays |= {own[index][2:] for index in nms(boxes[place].double(), falling, rule.nms).tolist()}
    return [one[1:] for one in chosen if one[2:] in stays][: rule.detections]


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    levels=st.lists(st.integers(1, 40), min_size=1, max_size=3),
    classes=st.integers(1, 5),
    threshold=st.sampled_from((0.0, 0.2, 0.5)),
    threshold_on=st.sampled_from(("class", "score")),
    rank_by=st.sampled_from(("class", "score")),
    per_location=st.booleans(),
    candidates=st.sampled_from((1, 5, 20, 1000)),
    detections=st.sampled_from((3, 1000)),
)
def test_as_read_slowly_with_many_equal_scores(
    seed, levels, classes, threshold, threshold_on, rank_by, per_location, candidates, detections
) -> None:
    generator = torch.Generator().manual_seed(seed)
    level = torch.arange(len(levels)).repeat_interleave(torch.tensor(levels))
    shape = (2, len(level))
    logits = torch.randint(-2, 3, (*shape, classes), generator=generator).float()
    extra = torch.randint(-1, 2, shape, generator=generator).float()
    corner = torch.randint(0, 6, (*shape, 2), generator=generator)
    boxes = 5.0 * torch.cat((corner, corner + torch.randint(1, 4, (*shape, 2), generator=generator)), dim=-1)
    rule = PostprocessRule(
        score_threshold=threshold,
        threshold_on=threshold_on,
        rank_by=rank_by,
        candidates_per_location=per_location,
        candidates=candidates,
        detections=detections,
    )
    for image, found in enumerate(run(logits, boxes, rule, extra, level=level)):
        p, quality = logits[image].sigmoid(), extra[image].sigmoid()
        # the few values that there are, rounded alike in tensors of any shape
        expected = read_slowly(p.round(decimals=5), quality.round(decimals=5), boxes[image], level, rule)
        torch.testing.assert_close(found.scores, torch.tensor([one[0] for one in expected]), rtol=1e-4, atol=1e-5)
        assert found.labels.tolist() == [one[2] for one in expected]
        assert torch.equal(found.boxes, boxes[image, [one[1] for one in expected]].reshape(-1, 4))


def test_equal_scores_stand_in_the_order_of_levels_locations_and_classes() -> None:
    logits = torch.zeros(1, 4, 2)
    (found,) = run(logits, APART, PostprocessRule(), level=torch.tensor([0, 0, 1, 1]))
    places = [APART[0].tolist().index(box) for box in found.boxes.tolist()]
    assert list(zip(places, found.labels.tolist(), strict=True)) == [(i, c) for i in range(4) for c in range(2)]
    (found,) = run(logits, APART, PostprocessRule(candidates=3, detections=5), level=torch.tensor([0, 0, 1, 1]))
    places = [APART[0].tolist().index(box) for box in found.boxes.tolist()]
    assert list(zip(places, found.labels.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 0), (2, 0), (2, 1)]


@pytest.mark.parametrize("images", [2, 5])
@pytest.mark.parametrize("joined", [False, True])
def test_a_batch_gives_what_its_images_give_alone(images: int, joined: bool) -> None:
    generator = torch.Generator().manual_seed(images)
    level = torch.tensor([0] * 50 + [1] * 13)
    logits = torch.randn(images, 63, 7, generator=generator)
    extra = torch.randn(images, 63, generator=generator)
    corner = torch.rand(images, 63, 2, generator=generator) * 40
    boxes = torch.cat((corner, corner + torch.rand(images, 63, 2, generator=generator) * 30), -1)
    rule, priors = PostprocessRule(candidates=60), priors_of(boxes[0], level)
    every = Predictions(logits, boxes, boxes, {"centerness": extra}, joined="centerness" if joined else None)
    sizes = torch.tensor([[50, 60]] * images)
    together = detect(every, priors, sizes, () if joined else (Centerness(),), rule)
    for image, found in enumerate(together):
        own = slice(image, image + 1)
        one = Predictions(logits[own], boxes[own], boxes[own], {"centerness": extra[own]}, joined=every.joined)
        (alone,) = detect(one, priors, sizes[own], () if joined else (Centerness(),), rule)
        assert torch.equal(alone.boxes, found.boxes)
        assert torch.equal(alone.scores, found.scores)
        assert torch.equal(alone.labels, found.labels)


def test_without_suppression_none_goes_but_for_the_number_kept() -> None:
    logits = logit(0.9, 0.8, 0.7)[None, :, None].expand(1, 3, 2)
    (found,) = run(logits, BOXES, PostprocessRule(nms=None))
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.9, 0.8, 0.8, 0.7, 0.7]))
    (few,) = run(logits, BOXES, PostprocessRule(nms=None, detections=3))
    assert torch.equal(few.scores, found.scores[:3])
    (apart,) = run(logits, BOXES, PostprocessRule())
    assert len(apart.scores) == 4  # location 1 is gone in both classes


def test_a_location_may_give_its_best_class_alone_and_boxes_need_not_be_cut() -> None:
    logits = torch.stack((logit(0.9, 0.8, 0.7), logit(0.2, 0.85, 0.7)), dim=1)[None]
    rule = PostprocessRule(candidates_of="best_class", clip=False, nms=1.0)
    (found,) = run(logits, BOXES, rule)
    # of equal outputs at location 2 the lower class
    assert found.labels.tolist() == [0, 1, 0]
    torch.testing.assert_close(found.scores, torch.tensor([0.9, 0.85, 0.7]))
    assert found.boxes[2].tolist() == [30, 30, 99, 99]


def test_candidates_may_be_counted_as_locations() -> None:
    logits = torch.stack((logit(0.9, 0.8, 0.3, 0.2), logit(0.7, 0.1, 0.6, 0.2)), dim=1)[None]
    (pairs,) = run(logits, APART, PostprocessRule(candidates=2, nms=1.0))
    assert [round(score, 2) for score in pairs.scores.tolist()] == [0.9, 0.8]
    (found,) = run(logits, APART, PostprocessRule(candidates=2, candidates_of="location", nms=1.0))
    assert [round(score, 2) for score in found.scores.tolist()] == [0.9, 0.8, 0.7, 0.1]


def test_detections_may_be_voted_for_by_what_was_suppressed() -> None:
    logits = torch.stack((logit(0.9, 0.8, 0.7), logit(0.02, 0.02, 0.02)), dim=1)[None].repeat(2, 1, 1)
    boxes = BOXES.repeat(2, 1, 1)
    logits[1, 1] = logit(0.02, 0.02)
    first, second = run(logits, boxes, PostprocessRule(voting=0.025))
    plain, _ = run(logits, boxes, PostprocessRule())
    assert torch.equal(first.scores, plain.scores)
    assert 0 < first.boxes[0, 0].item() < 1  # towards the second box
    assert torch.equal(first.boxes[1], plain.boxes[1])
    assert torch.equal(second.boxes, boxes[1][[0, 2]].clamp(max=torch.tensor([60.0, 50, 60, 50])))
