"""Matching and weighted AP against pycocotools, to the bit; influences against what they stand for."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from assignbench.comparison.weighted import (
    Packed,
    ap,
    by_class,
    deleted,
    deletion_influence,
    influence,
    pack,
    precision,
)
from assignbench.run.scoring.evaluators import by_pycocotools
from assignbench.run.scoring.matches import AREAS, Found, Matches, Objects, match

Documents = Callable[[int, int, int, int, int], tuple[dict[str, Any], dict[str, Any]]]
NUMBERS = [(area, slice(None)) for area in ("all", "small", "medium", "large")]
NUMBERS[1:1] = [("all", slice(0, 1)), ("all", slice(5, 6))]  # AP, AP50, AP75, APs, APm, APl


def columns(entries: list[dict[str, Any]], images: list[int], classes: list[int]) -> tuple[Any, Any, Any]:
    image = np.searchsorted(images, [one["image_id"] for one in entries])
    label = np.searchsorted(classes, [one["category_id"] for one in entries])
    return image, label, np.array([one["bbox"] for one in entries], dtype=float).reshape(-1, 4)


def matches_of(truth: dict[str, Any], results: dict[str, Any]) -> Matches:
    images = sorted(one["id"] for one in truth["images"])
    classes = sorted(one["id"] for one in truth["categories"])
    objects, found = truth["annotations"], results["annotations"]
    area = np.array([one["area"] for one in objects], dtype=float)
    crowd = np.array([one["iscrowd"] for one in objects], dtype=bool)
    score = np.array([one["score"] for one in found], dtype=float)
    return match(
        Objects(*columns(objects, images, classes), area, crowd),
        Found(*columns(found, images, classes), score),
        len(images),
        len(classes),
    )


def simulated(seed: int, images: int, classes: int, objects: int) -> Matches:
    """Detections that hit objects well and badly, with false ones among them; no ties."""
    random = np.random.default_rng(seed)
    image, label = np.sort(random.integers(0, images, objects)), random.integers(0, classes, objects)
    size = np.exp(random.normal(4, 0.8, (objects, 2)))
    box = np.hstack([500 * random.random((objects, 2)), size])
    pick, quality = random.integers(0, objects, 6 * objects), random.random(6 * objects)
    off = box[pick] * (1 + random.normal(0, 0.15, (6 * objects, 4)) * quality[:, None])
    wrong = random.random(6 * objects) < 0.4
    score = np.clip(random.normal(0.3, 0.15, 6 * objects) + 0.4 * (1 - quality) * ~wrong, 0, 1)
    where = np.where(wrong, random.integers(0, images, 6 * objects), image[pick])
    found = Found(where, label[pick], np.maximum(off, 1), score)
    return match(Objects(image, label, box, size.prod(axis=1), random.random(objects) < 0.03), found, images, classes)


@pytest.mark.parametrize("seed", range(24))
def test_weights_of_one_give_the_bits_of_pycocotools(documents: Documents, seed: int) -> None:
    random = np.random.default_rng(seed)
    truth, results = documents(
        seed, int(random.integers(1, 6)), int(random.integers(1, 5)), 70, int(random.choice([0, 1, 30, 250, 900]))
    )
    record, matches = by_pycocotools(truth, results), matches_of(truth, results)
    for row, area in enumerate(AREAS):
        assert np.array_equal(precision(pack(matches, area)), record.precision[:, :, :, row, 2])
    for value, (area, thresholds) in zip(record.stats, NUMBERS, strict=False):
        assert np.nan_to_num(ap(pack(matches, area, thresholds)), nan=-1) == value


@pytest.mark.parametrize("seed", range(4))
def test_whole_weights_are_pictures_that_are_there_as_often(documents: Documents, seed: int) -> None:
    truth, results = documents(seed, 5, 3, 60, 120)
    random = np.random.default_rng(seed)
    for one, score in zip(results["annotations"], random.permutation(120), strict=True):
        one["score"] = float(score) / 120  # equal scores of a picture would mix with those of its copy
    images = sorted(one["id"] for one in truth["images"])
    weights = random.integers(0, 4, len(images))
    weights[0] = 2
    copies = [(one, 10**7 * copy + one) for one, weight in zip(images, weights, strict=True) for copy in range(weight)]

    def copied(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        some = [{**each, "image_id": new} for old, new in copies for each in entries if each["image_id"] == old]
        return [{**each, "id": number} for number, each in enumerate(some, start=1)]

    repeated = [{**each, "annotations": copied(each["annotations"])} for each in (truth, results)]
    for each in repeated:
        each["images"] = [{"id": new} for _, new in copies]
    record, matches = by_pycocotools(*repeated), matches_of(truth, results)
    for row, area in enumerate(AREAS):
        found = precision(pack(matches, area), weights.astype(float))
        assert np.array_equal(found, record.precision[:, :, :, row, 2])


def area_below(packed: Packed, weights: np.ndarray) -> np.ndarray:
    """``[class]`` the area below the envelope, detection by detection; its maxima stay where weights of 1 have them."""
    found = np.zeros(packed.classes)
    for label in range(packed.classes):
        required = weights @ packed.objects[:, label]
        for threshold, counted in enumerate(packed.counted):
            right, total, plain, precisions, steps = 0.0, 0.0, 0, [], []
            hits = set(packed.place[packed.threshold == threshold].tolist())
            for entry in np.flatnonzero(packed.label == label).tolist():
                weight = weights[packed.image[entry]]
                total += weight * counted[entry]
                plain += int(counted[entry])
                if entry in hits:
                    right += weight
                    steps.append(weight / required)
                    precisions.append((len(steps) / plain, right / total))
            best = (0.0, 0.0)
            for step, both in zip(reversed(steps), reversed(precisions), strict=True):
                best = both if both[0] >= best[0] else best
                found[label] += step * best[1] / len(packed.counted)
    return found


def test_influence_is_the_derivative_of_the_area_below_the_envelope() -> None:
    packed = pack(simulated(0, 12, 3, 60))
    found, step = influence(packed), 1e-6
    for image in range(12):
        more, less = np.ones(12), np.ones(12)
        more[image], less[image] = 1 + step, 1 - step
        slope = (area_below(packed, more) - area_below(packed, less)) / (2 * step)
        np.testing.assert_allclose(found[:, image], slope, atol=1e-8)


def test_influences_sum_to_nothing_and_their_squares_are_the_variance_of_a_bootstrap() -> None:
    packed, random = pack(simulated(1, 150, 3, 900)), np.random.default_rng(0)
    found = influence(packed)
    np.testing.assert_allclose(found.sum(axis=1), 0, atol=1e-12)
    drawn = [ap(packed, random.multinomial(150, np.full(150, 1 / 150)).astype(float)) for _ in range(300)]
    assert np.sqrt((found.mean(axis=0) ** 2).sum()) == pytest.approx(np.std(drawn), rel=0.1)


@pytest.mark.parametrize("area", ["all", "medium"])
def test_leaving_out_a_picture_is_giving_it_no_weight(area: str) -> None:
    packed = pack(simulated(2, 30, 5, 60), area)
    found = deleted(packed)
    for image in range(30):
        weights = np.ones(30)
        weights[image] = 0
        np.testing.assert_allclose(found[:, image], by_class(packed, weights), atol=1e-12)
    some = np.array([True, False, False, True, False])
    few = deleted(packed, some)
    assert np.isnan(few[~some]).all()
    np.testing.assert_array_equal(few[some], found[some])


def test_deletion_agrees_with_the_derivative_where_there_are_many_pictures() -> None:
    packed = pack(simulated(3, 200, 2, 1500))
    slope, left = influence(packed).mean(axis=0), deletion_influence(np.nanmean(deleted(packed), axis=0))
    assert np.corrcoef(slope, left)[0, 1] > 0.99
    assert (left**2).sum() == pytest.approx((slope**2).sum(), rel=0.1)


def test_nothing_to_find_and_nothing_found() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    empty = Found(nothing, nothing, np.zeros((0, 4)), np.zeros(0))
    one = Objects(np.array([1]), np.array([0]), np.ones((1, 4)), np.ones(1), np.zeros(1, dtype=bool))
    none = Objects(nothing, nothing, np.zeros((0, 4)), np.zeros(0), np.zeros(0, dtype=bool))
    missed = pack(match(one, empty, 3, 2))
    assert ap(missed) == 0
    np.testing.assert_array_equal(by_class(missed), [0, np.nan])
    assert not influence(missed).any()
    assert np.isnan(ap(pack(match(none, empty, 3, 2))))
