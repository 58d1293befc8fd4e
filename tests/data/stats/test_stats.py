import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from assignbench.core import inside_pairs
from assignbench.core.head import Head
from assignbench.core.priors import pyramid_priors
from assignbench.core.types import Targets
from assignbench.data.spec.locate import open_dataset
from assignbench.data.stats.meeting import meeting_pairs
from assignbench.data.stats.overlap import crowdedness, without_location
from assignbench.data.stats.stats import fcos_level, network_boxes, retinanet_level, split_stats


def counts(histogram) -> dict[str, int]:
    return {name: count for name, count in zip(histogram.bins, histogram.counts, strict=True) if count}


def test_worked_by_hand(coco):
    """Pictures of 100 × 80 and 60 × 90, shown at twice and 8 / 3 of their size: short side 160."""
    content = coco.content(
        annotations=[
            coco.annotation(1, [10, 20, 30, 40]),  # 60 × 80 network pixels, √area 69
            coco.annotation(2, [12, 20, 30, 40]),  # shifted by 2 of 30: IoU 28 / 32
            coco.annotation(3, [10, 20, 30, 40], category_id=2),
            coco.annotation(4, [70, 60, 2, 3], category_id=2),  # 140 … 144 × 120 … 126: x = 140 lies on its side
            coco.annotation(5, [70, 0, 30, 5], category_id=2),
            coco.annotation(6, [0, 0, 60, 45], image_id=3, iscrowd=1),
        ]
    )
    splits = open_dataset(coco.write(content, content), coco.folder)
    one = split_stats(splits.train, 160, 400)
    assert (one.images, one.objects, one.crowd, one.crowd_fraction) == (2, 5, 1, pytest.approx(1 / 6))
    assert one.images_without_objects == 0
    assert counts(one.objects_per_image) == {"0": 1, "4 – 7": 1}
    assert (one.mean_objects, one.median_objects, one.most_objects) == (2.5, 2.5, 5)
    assert counts(one.sides) == {"4 – 8": 1, "16 – 32": 1, "64 – 128": 3}
    assert one.median_side == pytest.approx(4800**0.5)
    assert counts(one.retinanet_levels) == {"P3": 2, "P4": 3}  # third octave step of 69 px: round(3 · 1.11) = 3
    assert counts(one.fcos_levels) == {"P3": 5}  # half of 80 is at most 64
    assert counts(one.aspect_ratios) == {"1:2 – 1:1": 4, "≥ 4:1": 1}
    assert [(row.name, row.objects, row.images) for row in one.classes] == [("cat", 3, 1), ("dog", 2, 1)]
    assert one.even_classes == pytest.approx(np.exp(-(0.6 * np.log(0.6) + 0.4 * np.log(0.4))))
    assert one.overlap_own_class == pytest.approx(2 / 5)
    assert one.overlap_any == pytest.approx(3 / 5)
    assert one.shared_location == pytest.approx(3 / 5)
    assert one.without_p3 == pytest.approx(1 / 5)  # locations at 132 and 140: none strictly between 140 and 144
    assert one.without_any == pytest.approx(1 / 5)


def test_levels_change_where_they_should():
    middle = 32 * 2 ** (2.5 / 3)  # between the largest anchor of P3 and the smallest of P4, on their scale
    assert retinanet_level(np.array([1e-9, middle * 0.999, middle * 1.001, 8 * middle * 1.001, 1e6])).tolist() == [
        0, 0, 1, 4, 4,
    ]  # fmt: skip
    sides = np.array([128.0, 128.1, 256, 512, 1024, 1025])
    assert fcos_level(np.stack((sides, 0 * sides + 1), axis=1)).tolist() == [0, 1, 1, 2, 3, 4]


def test_no_objects_and_no_shares(coco):
    content = coco.content(annotations=[])
    splits = open_dataset(coco.write(content, content), coco.folder)
    one = split_stats(splits.evaluation, 160, 400)
    assert one.images_without_objects == 2
    assert {one.crowd_fraction, one.median_side, one.even_classes, one.without_p3, one.overlap_any} == {None}
    assert sum(one.sides.counts) == 0


def test_network_boxes_of_an_evaluation_split_end_at_the_picture(coco):
    content = coco.content(annotations=[coco.annotation(1, [-10, 70, 30, 40])])
    splits = open_dataset(coco.write(content, content), coco.folder)
    everything = np.ones(1, dtype=np.bool_)
    boxes, extent = network_boxes(splits.evaluation, everything, 160, 200)
    assert boxes.tolist() == [[0, 140, 40, 160]]
    assert extent == (200, 200)  # 100 × 80 becomes 200 × 160, 60 × 90 becomes 133 × 200


def drawn(seed: int, count: int, images: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    low = random.uniform(0, 200, (count, 2))
    high = np.minimum(low + random.exponential(12, (count, 2)) + 0.01, 224)
    boxes = np.concatenate((low, high), axis=1).round(1).astype(np.float32)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 0.1)
    return boxes, np.sort(random.integers(0, images, count)), random.integers(0, 2, count)


@settings(max_examples=40, derandomize=True, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 40), st.integers(1, 4))
def test_against_the_plain_way(seed, count, images):
    """Every pair of objects, and every pair of an object and a location, looked at one by one."""
    boxes, image, labels = drawn(seed, count, images)
    found = crowdedness(boxes, image, labels, (224, 224))
    missed = without_location(boxes, (224, 224))
    priors = pyramid_priors(Head(), 224, 224)
    targets = Targets(
        torch.from_numpy(boxes), torch.from_numpy(labels), torch.from_numpy(image.astype(np.int64)), images
    )
    objects, locations = inside_pairs(targets, priors)
    own = [set(locations[objects == place].tolist()) for place in range(count)]
    level = priors.level.tolist()
    for a in range(count):
        assert missed[a].tolist() == [not any(level[one] == which for one in own[a]) for which in range(5)]
        others = [b for b in range(count) if b != a and image[b] == image[a]]
        close = [b for b in others if overlap(boxes[a].astype(float), boxes[b].astype(float)) > 0.3]
        assert found.any_class[a] == bool(close)
        assert found.own_class[a] == any(labels[b] == labels[a] for b in close)
        assert found.location[a] == any(own[a] & own[b] for b in others)


def test_overlap_begins_above_three_tenths():
    """Common 6 of 20, then 10 of 30."""
    rows = [[0, 0, 13, 10], [7, 0, 20, 10], [0, 50, 20, 60], [10, 50, 30, 60]]
    found = crowdedness(np.array(rows, np.float32), np.zeros(4, np.int64), np.array([0, 0, 0, 1]), (64, 64))
    assert found.any_class.tolist() == [False, False, True, True]
    assert found.own_class.tolist() == [False] * 4
    assert found.location.tolist() == [True] * 4  # (8, 8), a location of P4, and (12, 52), one of P3


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    width, height = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    common = max(0.0, width) * max(0.0, height)
    return common / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - common)


def test_pairs_come_once_whatever_the_chunk(monkeypatch):
    boxes, image, _ = drawn(3, 60, 2)

    def pairs() -> list[tuple[int, ...]]:
        return sorted(
            tuple(sorted(pair))
            for one, other in meeting_pairs(boxes, image)
            for pair in zip(one.tolist(), other.tolist(), strict=True)
        )

    whole = pairs()
    assert len(set(whole)) == len(whole) > 50
    monkeypatch.setattr("assignbench.data.stats.meeting._CHUNK", 7)
    assert pairs() == whole


def test_boxes_that_leave_their_pictures_meet_none_of_another_picture():
    boxes = np.array([[-500, 0, -400, 10], [0, 0, 1000, 10], [-450, 0, 10, 10]], np.float32)
    pairs = [
        sorted(map(int, pair)) for both in meeting_pairs(boxes, np.array([1, 0, 1])) for pair in zip(*both, strict=True)
    ]
    assert pairs == [[0, 2]]
