import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assignbench.errors import RunError
from assignbench.run.scoring import detections
from assignbench.run.scoring.detections import OURS, Detections, read_detections, write_detections
from assignbench.run.scoring.foreign import FOREIGN


def found(image: int, *rows: Sequence[float]) -> Detections:
    """Detections from rows of x0, y0, x1, y1, score, label."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)
    return Detections(image, table[:, :4], table[:, 4], table[:, 5].astype(np.int64))


def test_the_file_is_in_coco_results_format_with_original_ids(make_dataset, tmp_path):
    dataset = make_dataset([], images=(7, 42), classes=("cat", "dog"), category_ids=(18, 3))
    file = tmp_path / "detections.json"
    count = write_detections(dataset, [found(1, (1.004, 2.006, 11, 22, 0.12345678, 1))], file)
    assert count == 1
    assert json.loads(file.read_text()) == [
        {"image_id": 42, "category_id": 3, "bbox": [1.0, 2.01, 10.0, 19.99], "score": 0.123457}
    ]


def test_a_thin_box_keeps_a_positive_size(make_dataset, tmp_path):
    write_detections(make_dataset(), [found(0, (5, 5, 5.001, 9, 0.5, 0))], tmp_path / "d.json")
    assert json.loads((tmp_path / "d.json").read_text())[0]["bbox"] == [5.0, 5.0, 0.01, 4.0]


def test_float32_boxes_do_not_bring_digits_of_their_own(make_dataset, tmp_path):
    one = found(0, (0.1, 0.2, 10.3, 20.4, 0.7, 0))
    narrow = Detections(0, one.boxes.astype(np.float32), one.scores.astype(np.float32), one.labels)
    write_detections(make_dataset(), [narrow], tmp_path / "d.json")
    entry = json.loads((tmp_path / "d.json").read_text())[0]
    assert (entry["bbox"], entry["score"]) == ([0.1, 0.2, 10.2, 20.2], 0.7)


@settings(max_examples=25, derandomize=True, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_order_of_arrival_does_not_matter(make_dataset, tmp_path_factory, seed):
    folder = tmp_path_factory.mktemp("order")
    rng = np.random.default_rng(seed)
    dataset = make_dataset([], images=(9, 4, 30), classes=("cat", "dog"))
    # Few distinct scores and corners, so that ties are common.
    rows = [
        [(x, y, x + w, y + 5, score, label) for x, y, w, score, label in zip(*columns, strict=True)]
        for columns in (
            (
                rng.integers(0, 2, 6),
                rng.integers(0, 2, 6),
                rng.integers(1, 3, 6),
                rng.integers(0, 3, 6) / 2,
                rng.integers(0, 2, 6),
            )
            for _ in dataset.images
        )
    ]
    write_detections(dataset, [found(image, *some) for image, some in enumerate(rows)], folder / "a.json")
    shuffled = [found(int(image), *rng.permutation(rows[image])) for image in rng.permutation(3)]
    write_detections(dataset, shuffled, folder / "b.json")
    assert (folder / "a.json").read_bytes() == (folder / "b.json").read_bytes()


def test_reading_sorts_a_file_of_any_order(make_dataset, tmp_path):
    dataset = make_dataset([], images=(1, 2), classes=("cat", "dog"))
    write_detections(
        dataset,
        [
            found(0, (0, 0, 9, 9, 0.9, 1), (0, 0, 9, 9, 0.2, 0), (9, 9, 18, 18, 0.4, 0)),
            found(1, (1, 1, 5, 5, 0.5, 0), (0, 1, 5, 5, 0.5, 0)),
        ],
        tmp_path / "a.json",
    )
    entries = json.loads((tmp_path / "a.json").read_text())
    (tmp_path / "b.json").write_text(json.dumps(entries[::-1]))
    first, second = (read_detections(dataset, tmp_path / name) for name in ("a.json", "b.json"))
    assert [entry["score"] for entry in entries] == [0.4, 0.2, 0.9, 0.5, 0.5]
    assert first.bbox[3].tolist() == [0, 1, 5, 4]
    for column in ("image_id", "category_id", "bbox", "score"):
        np.testing.assert_array_equal(getattr(first, column), getattr(second, column))


def test_images_without_entry_are_allowed_and_nothing_at_all_too(make_dataset, tmp_path):
    dataset = make_dataset([], images=(1, 2))
    assert write_detections(dataset, [found(0)], tmp_path / "d.json") == 0
    assert write_detections(dataset, [], tmp_path / "d.json") == 0
    assert len(read_detections(dataset, tmp_path / "d.json")) == 0


def test_one_image_predicted_twice_is_refused(make_dataset, tmp_path):
    dataset = make_dataset([], images=(7, 8))
    with pytest.raises(RunError, match="image id 8 was predicted twice"):
        write_detections(dataset, [found(1), found(0), found(1)], tmp_path / "d.json")
    assert not (tmp_path / "d.json").exists()


@pytest.mark.parametrize("image", [-1, 1])
def test_an_image_that_does_not_exist_is_refused(make_dataset, tmp_path, image):
    with pytest.raises(RunError, match=f"image index {image}, but tiny has 1"):
        write_detections(make_dataset(), [found(image)], tmp_path / "d.json")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ((np.nan, 0, 9, 9, 0.5, 0), "coordinate is not finite"),
        ((0, 0, np.inf, 9, 0.5, 0), "coordinate is not finite"),
        ((9, 0, 0, 9, 0.5, 0), "no positive size"),
        ((0, 5, 9, 5, 0.5, 0), "no positive size"),
        ((0, 0, 9, 9, np.nan, 0), "score is not within"),
        ((0, 0, 9, 9, 1.5, 0), "score is not within"),
        ((0, 0, 9, 9, -0.1, 0), "score is not within"),
        ((0, 0, 9, 9, 0.5, 1), "class is unknown"),
        ((0, 0, 9, 9, 0.5, -1), "class is unknown"),
    ],
)
def test_an_impossible_detection_is_refused_with_image_and_entry(make_dataset, tmp_path, row, problem):
    dataset = make_dataset([], images=(33,))
    with pytest.raises(RunError, match=f"image id 33, detection 1: .*{problem}"):
        write_detections(dataset, [found(0, (0, 0, 9, 9, 0.5, 0), row)], tmp_path / "d.json")
    assert not (tmp_path / "d.json").exists()


def test_lengths_that_disagree_are_a_programming_error():
    with pytest.raises(ValueError, match="do not fit"):
        Detections(0, np.zeros((2, 4)), np.zeros(2), np.zeros(1, dtype=np.int64))


GOOD = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "score": 0.5}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"image_id": 2}, "image id 2 is none of the evaluation pictures"),
        ({"image_id": "1"}, "image id '1' is text; write ids as the numbers"),
        ({"image_id": True}, "image id True is none of the evaluation pictures"),
        ({"image_id": [1]}, "image id .* is none of the evaluation pictures"),
        ({"category_id": 7}, "unknown category id 7"),
        ({"category_id": None}, "unknown category id None"),
        ({"bbox": [0, 0, 0, 9]}, "without positive size"),
        ({"bbox": [0, 0, -3, 9]}, "without positive size"),
        ({"bbox": [0, 0, 1e999, 9]}, "four finite numbers"),
        ({"bbox": [0, 0, 9]}, "four finite numbers"),
        ({"bbox": ["0", 0, 9, 9]}, "four finite numbers"),
        ({"score": 1.01}, "not within 0 and 1"),
        ({"score": None}, "not within 0 and 1"),
        ({"score": True}, "not within 0 and 1"),
    ],
)
def test_a_foreign_or_edited_file_is_refused_with_the_entry(make_dataset, tmp_path, change, problem):
    text = json.dumps([GOOD, {**GOOD, **change}]).replace("Infinity", "1e999")
    (tmp_path / "d.json").write_text(text)
    with pytest.raises(RunError, match=rf"d\.json, entry 2: .*{problem}"):
        read_detections(make_dataset(), tmp_path / "d.json")


@pytest.mark.parametrize("key", sorted(GOOD))
def test_a_missing_key_is_refused(make_dataset, tmp_path, key):
    (tmp_path / "d.json").write_text(json.dumps([{name: value for name, value in GOOD.items() if name != key}]))
    with pytest.raises(RunError, match=r"entry 1: .*is missing"):
        read_detections(make_dataset(), tmp_path / "d.json")


@pytest.mark.parametrize(("text", "problem"), [('{"a": 1}', "not a list"), ("[", "damaged"), ("[NaN]", "damaged")])
def test_a_file_that_is_no_list_is_refused(make_dataset, tmp_path, text, problem):
    (tmp_path / "d.json").write_text(text)
    with pytest.raises(RunError, match=problem):
        read_detections(make_dataset(), tmp_path / "d.json")


VALUES = st.sampled_from((1, 0, 2, -1, 0.5, 1.0, 1e-3, 1e9, 10**400, True, None, "1", "abcd", [], [1], {}))
BOXES = st.one_of(VALUES, st.lists(st.one_of(st.just(3), VALUES), min_size=3, max_size=5))
ENTRIES = st.one_of(
    st.just(GOOD),
    VALUES,
    st.fixed_dictionaries({"image_id": VALUES}, optional={"category_id": VALUES, "bbox": BOXES, "score": VALUES}),
    st.builds(lambda key, value: {**GOOD, key: value}, st.sampled_from(sorted(GOOD)), st.one_of(VALUES, BOXES)),
)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(entries=st.lists(ENTRIES, max_size=3), bounds=st.sampled_from((OURS, FOREIGN)))
def test_column_by_column_the_same_is_refused_as_entry_by_entry(entries, bounds):
    rows = detections._sound_rows(entries, {1, 2}, {1}, bounds)
    assert (rows is None) == any(detections._problem(entry, {1, 2}, {1}, bounds) for entry in entries)
    assert rows is None or len(rows) == len(entries)


def test_the_file_is_what_json_writes(make_dataset, tmp_path):
    rng = np.random.default_rng(0)
    corner = rng.uniform(-5, 600, (50, 2))
    boxes = np.hstack([corner, corner + rng.uniform(1e-4, 900, (50, 2))])
    scores = np.concatenate([[0, 1, 1e-6, 1e-5], rng.random(46)])
    file = tmp_path / "d.json"
    write_detections(make_dataset(), [Detections(0, boxes, scores, np.zeros(50, dtype=np.int64))], file)
    lines = [json.dumps(entry) for entry in json.loads(file.read_text())]
    assert file.read_text() == "[\n" + ",\n".join(lines) + "\n]\n"
