"""VOC's own metrics, by hand and against plain loops written from the development kit's rules."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assignbench.data.dataset import Official
from assignbench.data.spec.locate import open_dataset
from assignbench.run.scoring.evaluate import Detections, evaluate, write_detections
from assignbench.run.scoring.voc import AREA, ELEVEN

A, B, C = (0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10)
NOWHERE = (200, 200, 210, 210)


@pytest.fixture
def score(make_dataset, tmp_path):
    """(objects, crowd, rows of image, box, score, label) → the two metrics."""

    def call(objects, rows, crowd=None, **more):
        dataset = replace(make_dataset(objects, crowd=crowd, **more), official=Official("voc"))
        return scored(dataset, rows, tmp_path / "d.json")

    return call


def scored(dataset, rows, file):
    entries = [
        {
            "image_id": dataset.images[image].id,
            "category_id": dataset.category_ids[label],
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "score": score,
        }
        for image, (x0, y0, x1, y1), score, label in rows
    ]
    file.write_text(json.dumps(entries))
    return evaluate(dataset, file)


def both(result):
    return result.metrics[ELEVEN], result.metrics[AREA]


def test_only_data_sets_of_voc_have_them(make_dataset, tmp_path):
    result = scored(make_dataset(), [], tmp_path / "d.json")
    assert ELEVEN not in result.metrics
    assert result.official_per_class == {}


def test_perfect_detections_are_exactly_one(score):
    objects = [(0, 0, A), (0, 0, B), (0, 1, C), (1, 1, A), (1, 1, B), (1, 0, C), (1, 0, NOWHERE)]
    rows = [(image, box, 0.3 + label / 10, label) for image, label, box in objects]
    result = score(objects, rows, images=(1, 2), classes=("a", "b"))
    assert both(result) == (1.0, 1.0)
    assert result.official_per_class == {ELEVEN: {"a": 1.0, "b": 1.0}, AREA: {"a": 1.0, "b": 1.0}}


def test_a_shifted_one_is_wrong_from_an_overlap_below_a_half(score):
    # 10 × 10 moved by 3: 70 / 130 > 0.5; by 4: 60 / 140 < 0.5; 10 × 5 inside it: exactly 0.5, which is enough
    assert both(score([(0, 0, A)], [(0, (3, 0, 13, 10), 0.9, 0)])) == (1, 1)
    assert both(score([(0, 0, A)], [(0, (4, 0, 14, 10), 0.9, 0)])) == (0, 0)
    assert both(score([(0, 0, A)], [(0, (0, 0, 10, 5), 0.9, 0)])) == (1, 1)


def test_one_wrong_between_two_right_ones(score):
    rows = [(0, A, 0.9, 0), (0, NOWHERE, 0.8, 0), (0, B, 0.7, 0)]
    result = score([(0, 0, A), (0, 0, B)], rows)
    # precision 1 up to recall 1/2 (0 … 0.5: six points), then 2/3 (five points)
    assert result.metrics[ELEVEN] == pytest.approx((6 + 5 * 2 / 3) / 11)
    assert result.metrics[AREA] == pytest.approx((1 + 2 / 3) / 2)


def test_three_of_ten_reach_the_point_at_three_tenths(score):
    objects = [(0, 0, (20 * n, 0, 20 * n + 10, 10)) for n in range(10)]
    result = score(objects, [(0, box, 0.9, 0) for _, _, box in objects[:3]])
    assert both(result) == (pytest.approx(4 / 11), pytest.approx(0.3))  # 0, 0.1, 0.2 and 0.3


def test_difficult_objects_are_neither_required_nor_an_error(score):
    objects, crowd = [(0, 0, A), (0, 0, B)], [False, True]
    for rows in (
        [(0, A, 0.5, 0)],
        [(0, A, 0.5, 0), (0, B, 0.9, 0)],
        [(0, A, 0.5, 0), (0, B, 0.9, 0), (0, B, 0.8, 0), (0, (21, 0, 31, 10), 0.7, 0)],
    ):
        assert both(score(objects, rows, crowd)) == (1, 1)
    # a detection inside a large difficult object overlaps it by less than a half: wrong, unlike a crowd of COCO's
    rows = [(0, A, 0.5, 0), (0, (110, 110, 120, 120), 0.9, 0)]
    result = score([(0, 0, A), (0, 0, (100, 100, 300, 300))], rows, crowd)
    assert both(result) == (pytest.approx(1 / 2), pytest.approx(1 / 2))
    assert result.metrics["AP50"] == pytest.approx(1)


def test_of_two_detections_of_an_object_one_is_wrong(score):
    # the second overlaps B by more than a half, too, but A by more: it belongs to A, and A is taken
    a, b = (0, 0, 10, 10), (4, 0, 14, 10)
    rows = [(0, a, 0.9, 0), (0, (1, 0, 11, 10), 0.8, 0), (0, b, 0.7, 0)]
    result = score([(0, 0, a), (0, 0, b)], rows)
    assert result.metrics[AREA] == pytest.approx((1 + 2 / 3) / 2)
    assert result.metrics["AP50"] == pytest.approx((51 + 50) / 101)  # COCO's gives the second B, the third nothing


def test_of_objects_with_equal_overlap_the_first_counts(score):
    objects = [(0, 0, (0, 0, 10, 10)), (0, 0, (2, 0, 12, 10))]
    rows = [(0, (1, 0, 11, 10), 0.9, 0)]
    assert both(score(objects, rows, [True, False])) == (0, 0)  # left out, so nothing is found
    assert both(score(objects, rows, [False, True])) == (1, 1)


def test_scores_rank_over_all_images(score):
    objects = [(0, 0, A), (1, 0, A)]
    rows = [(0, NOWHERE, 0.3, 0), (0, A, 0.5, 0), (1, A, 0.9, 0)]
    assert both(score(objects, rows, images=(1, 2))) == (1, 1)


def test_nothing_detected_is_zero_and_nothing_to_find_is_missing(score):
    assert both(score([(0, 0, A)], [])) == (0, 0)
    result = score([(0, 0, A), (0, 1, B)], [(0, B, 0.9, 1), (0, A, 0.9, 0)], [False, True], classes=("a", "b"))
    assert result.official_per_class[AREA] == {"a": 1, "b": None}
    assert both(result) == (1, 1)
    assert both(score([(0, 0, A)], [(0, A, 0.9, 0)], [True])) == (None, None)


def test_more_than_a_hundred_detections_count(score):
    objects = [(0, 0, (3 * n, 0, 3 * n + 2, 2)) for n in range(150)]
    result = score(objects, [(0, box, 0.9, 0) for _, _, box in objects])
    assert both(result) == (1, 1)
    assert result.metrics["AP50"] == pytest.approx(67 / 101)  # recall 100 / 150


def devkit(truth, found, classes):
    """The kit's rules in plain loops, on its own pixels: corners from 1, both inclusive.

    truth: image → list of (label, box, difficult) in the order of the file; found: list of (image, box, score, label)
    in the order of the results file.
    """

    def overlap(a, b):
        width = min(a[2], b[2]) - max(a[0], b[0]) + 1
        height = min(a[3], b[3]) - max(a[1], b[1]) + 1
        if width <= 0 or height <= 0:
            return 0.0
        area = [(c[2] - c[0] + 1) * (c[3] - c[1] + 1) for c in (a, b)]
        return width * height / (area[0] + area[1] - width * height)

    answers = {}
    for label in range(classes):
        objects = {image: [one for one in some if one[0] == label] for image, some in truth.items()}
        required = sum(not difficult for some in objects.values() for _, _, difficult in some)
        taken, marks = set(), []
        for image, box, _, _ in sorted((one for one in found if one[3] == label), key=lambda one: -one[2]):
            best, place = -1.0, None
            for number, (_, own, _) in enumerate(objects[image]):
                if overlap(box, own) > best:
                    best, place = overlap(box, own), number
            if place is None or best < 0.5:
                marks.append(False)
            elif not objects[image][place][2]:
                marks.append((image, place) not in taken)
                taken.add((image, place))
        if not required:
            answers[label] = (None, None)
            continue
        curve, hits = [], 0
        for number, right in enumerate(marks, start=1):
            hits += right
            curve.append((hits, hits / number))

        def at(tenths, curve=curve, required=required):
            return max((precision for hits, precision in curve if 10 * hits >= tenths * required), default=0.0)

        eleven = sum(at(tenths) for tenths in range(11)) / 11
        area, before = 0.0, 0
        for index, (hits, _) in enumerate(curve):
            area += (hits - before) / required * max(precision for _, precision in curve[index:])
            before = hits
        answers[label] = (eleven, area)
    return answers


corner = st.integers(1, 4)  # few places, so that many boxes match and many scores are equal
side = st.integers(3, 5)
box_of_pixels = st.builds(lambda x, y, w, h: (x, y, x + w - 1, y + h - 1), corner, corner, side, side)
truths = st.lists(
    st.lists(st.tuples(st.integers(0, 1), box_of_pixels, st.booleans()), max_size=6), min_size=3, max_size=3
)
founds = st.lists(
    st.tuples(st.integers(0, 2), box_of_pixels, st.integers(0, 5).map(lambda n: n / 5), st.integers(0, 1)), max_size=25
)


def shifted(box):
    """As `read_voc` takes it."""
    return (box[0] - 1, box[1] - 1, box[2], box[3])


@settings(derandomize=True, deadline=None, max_examples=60)
@given(truth=truths, found=founds)
def test_plain_loops_on_the_kits_pixels_say_the_same(truth, found, make_dataset, tmp_path_factory):
    file = tmp_path_factory.mktemp("voc") / "d.json"
    objects = [(image, label, shifted(box)) for image, some in enumerate(truth) for label, box, _ in some]
    difficult = [one[2] for some in truth for one in some]
    dataset = make_dataset(objects, crowd=difficult, images=(1, 2, 3), classes=("a", "b"))
    rows = [(image, shifted(box), score, label) for image, box, score, label in found]
    result = scored(replace(dataset, official=Official("voc")), rows, file)
    # ties of the score stand as in the canonical file: by image, then by box (x y width height)
    inorder = sorted(found, key=lambda one: (one[0], *one[1][:2], one[1][2] - one[1][0], one[1][3] - one[1][1]))
    expected = devkit(dict(enumerate(truth)), inorder, 2)
    for place, metric in enumerate((ELEVEN, AREA)):
        for label, name in enumerate(("a", "b")):
            want = expected[label][place]
            assert result.official_per_class[metric][name] == (None if want is None else pytest.approx(want, abs=1e-12))


def test_the_order_of_the_file_does_not_matter(make_dataset, tmp_path):
    chance = np.random.default_rng(3)
    boxes = [(x, y, x + 9, y + 9) for x, y in chance.integers(0, 60, (40, 2)).tolist()]
    dataset = make_dataset(by_image(boxes), images=(1, 2, 3), classes=("a", "b"))
    dataset = replace(dataset, official=Official("voc"))
    rows = [(n % 3, box, (n % 5) / 5, n // 3 % 2) for n, box in enumerate(boxes * 2)]
    answers = {
        both(scored(dataset, [rows[place] for place in chance.permutation(len(rows))], tmp_path / "d.json"))
        for _ in range(3)
    }
    assert len(answers) == 1
    assert min(answers.pop()) > 0


def by_image(boxes):
    return [(image, n % 2, box) for image in range(3) for n, box in enumerate(boxes) if n % 3 == image]


def test_the_miniature_scores_one_through_reader_and_file(miniatures, tmp_path):
    mini = miniatures.write_voc(tmp_path / "mini")
    dataset = open_dataset(mini.spec, tmp_path).evaluation
    assert dataset.official == Official("voc")

    def found(shift):
        for index in range(len(dataset)):
            own = dataset.objects_of(index)
            boxes = dataset.boxes[own][~dataset.crowd[own]] + shift
            labels = dataset.labels[own][~dataset.crowd[own]]
            yield Detections(index, boxes, np.full(len(boxes), 0.9), labels)

    def answer(shift):
        write_detections(dataset, found(shift), tmp_path / "d.json")
        return evaluate(dataset, tmp_path / "d.json")

    assert both(answer(0.0)) == (1, 1)
    # 12 to the right: cats 64 and 40 wide keep 52 / 76 and 28 / 52; dogs 32 and 16 wide 20 / 44 and 4 / 28
    result = answer(np.array([12.0, 0, 12, 0]))
    assert result.official_per_class[AREA] == {"cat": 1, "dog": 0}
    assert both(result) == (0.5, 0.5)
