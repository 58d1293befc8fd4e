"""Files of other tools: what pycocotools takes without a word is scored as it would be, or refused with its entry."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assignbench.comparison.influences import NUMBERS, value_of
from assignbench.data.dataset import Repair
from assignbench.data.read.findings import ID_NUMBERED
from assignbench.errors import DataError, RunError, UsageError
from assignbench.run.scoring.evaluators import by_pycocotools
from assignbench.run.scoring.foreign import read_foreign
from assignbench.run.scoring.kept_matches import matches_of

GOOD: dict[str, Any] = {"image_id": 1, "category_id": 1, "bbox": [100, 100, 100, 100], "score": 0.5}


def written(file: Path, *entries: Any) -> Path:
    file.write_text(json.dumps(entries))
    return file


@pytest.fixture
def read(make_dataset, tmp_path):
    """Read entries as a file of a data set with pictures 1 and 2 of 640 × 480 and classes 1 and 2."""

    def read(*entries: Any):
        dataset = make_dataset(images=(1, 2), classes=("cat", "dog"))
        return read_foreign(dataset, written(tmp_path / "d.json", *entries))

    return read


def test_a_plain_file_has_nothing_to_be_said_of(read):
    found = read(GOOD, {**GOOD, "image_id": 2})
    assert (len(found.rows), found.remarks) == (2, ())


@pytest.mark.parametrize(
    ("entries", "remark"),
    [
        ([GOOD], "1 of 2 images have no detection"),
        ([], "2 of 2 images have no detection"),
        (
            [{**GOOD, "segmentation": [], "area": float("nan")}, {**GOOD, "image_id": 2, "area": 3}],
            "keys passed over, with the number of entries: 'area' (2), 'segmentation' (1)",
        ),
        (
            [{**GOOD, **dict.fromkeys("abcdefg", 0)}],
            "keys passed over, with the number of entries: 'a' (1), 'b' (1), 'c' (1), 'd' (1), 'e' (1) and 2 more",
        ),
        ([{**GOOD, "score": -3}, {**GOOD, "score": 87.5}], "scores go from -3 to 87.5; only their order counts"),
        ([{**GOOD, "bbox": [1, 2, 0, 5]}], "1 box has a side of 0: wrong, as in pycocotools"),
        (
            [GOOD, {**GOOD, "bbox": [500, 10, 600, 20]}],
            "1 box has its centre outside the picture; COCO's boxes are x, y",
        ),
        ([GOOD, {**GOOD, "bbox": [-9, 10, 17, 20]}], "1 box has its centre outside the picture"),
        ([GOOD, GOOD], "1 detections repeat a box of the same image and class"),
        (
            [{**GOOD, "bbox": [i, 0, 9, 9], "score": i / 200} for i in range(103)],
            "3 detections beyond the 100 best of their image and class do not count",
        ),
        (
            [{**GOOD, "bbox": [5, 0, 9, 9]}, {**GOOD, "bbox": [4, 0, 9, 9]}, {**GOOD, "score": 1}],
            "2 detections of equal picture, class and score stand in another order than in the file",
        ),
    ],
)
def test_what_is_passed_over_or_odd_is_counted_and_said(read, entries, remark):
    assert sum(one.startswith(remark) for one in read(*entries).remarks) == 1


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"image_id": 3}, "image id 3 is none of the evaluation pictures; these are 2, from 1 to 2"),
        ({"image_id": 1.5}, "image id 1.5 is none of the evaluation pictures"),
        ({"image_id": "1"}, "image id '1' is text"),
        ({"image_id": True}, "image id True is none of the evaluation pictures"),
        ({"category_id": 0}, "unknown category id 0; these are 2, from 1 to 2"),
        ({"category_id": float("nan")}, "unknown category id nan"),
        ({"bbox": [1, 2, -3, 4]}, r"box without positive size: \[1, 2, -3, 4\]"),
        ({"bbox": [1, 2, float("nan"), 4]}, r"not four finite numbers: \[1, 2, nan, 4\]"),
        ({"bbox": [1, float("inf"), 3, 4]}, r"not four finite numbers: \[1, inf, 3, 4\]"),
        ({"bbox": [1, 2, 3, 4, 5]}, "not four finite numbers"),
        ({"score": float("nan")}, "score that is not within .*: nan"),
        ({"score": "0.5"}, "score that is not within .*: '0.5'"),
    ],
)
def test_what_has_no_meaning_is_refused_with_its_number_and_value(read, change, problem):
    with pytest.raises(RunError, match=rf"d\.json, entry 2: .*{problem}"):
        read(GOOD, {**GOOD, **change})


def test_a_float_that_stands_for_several_ids_is_refused(make_dataset, tmp_path):
    """2⁶² + 1 as pandas writes it is 2⁶², another picture."""
    dataset = make_dataset(images=(2**62, 2**62 + 1), classes=("cat", "dog"))
    assert len(read_foreign(dataset, written(tmp_path / "d.json", {**GOOD, "image_id": 2**62 + 1})).rows) == 1
    with pytest.raises(RunError, match=r"entry 1: image id 4\.61.* too large for it to be exact"):
        read_foreign(dataset, written(tmp_path / "d.json", {**GOOD, "image_id": float(2**62 + 1)}))


@pytest.mark.parametrize("key", sorted(GOOD))
@pytest.mark.parametrize("spelt", ['"{}"', '"\\u{:04x}{}"'])
def test_a_key_given_twice_is_refused(make_dataset, tmp_path, key, spelt):
    name = spelt.format(key) if "u" not in spelt else spelt.format(ord(key[0]), key[1:])
    entry = json.dumps(GOOD)
    (tmp_path / "d.json").write_text(f"[{entry}, {entry[:-1]}, {name}: {json.dumps(GOOD[key])}}}]")
    with pytest.raises(RunError, match=rf"d\.json, entry 2: it gives '{key}' twice"):
        read_foreign(make_dataset(images=(1, 2), classes=("cat", "dog")), tmp_path / "d.json")


def test_other_keys_may_be_named_alike(read):
    """Their words stand in the text more often than there are entries."""
    assert len(read({**GOOD, "more": {"bbox": 1, "score": {"score": 2}}, "note": '"bbox"'}).rows) == 1


def test_ids_that_are_ours_alone_cannot_be_named(make_dataset, tmp_path):
    dataset = make_dataset(images=(1, 2), classes=("cat", "dog"))
    for images, annotations in (((1, 2), ()), ((), ())):  # of pictures, of classes
        told = ("image 1: id 'a7' is 1",)
        repair = Repair(ID_NUMBERED.done, 2, told, "repaired", np.array(images), np.array(annotations))
        with pytest.raises(DataError, match=r"id 'a7' is 1.*names them by numbers; assignbench data check --fix"):
            read_foreign(replace(dataset, repairs=(repair,)), written(tmp_path / "d.json", GOOD))
    own = Repair(ID_NUMBERED.done, 1, (), "repaired", np.array([1]), np.array([1]))  # an annotation's own
    assert len(read_foreign(replace(dataset, repairs=(own,)), written(tmp_path / "d.json", GOOD)).rows) == 1


def test_a_mask_without_a_box_is_refused(read):
    with pytest.raises(RunError, match="entry 1: bbox is missing"):
        read({key: value for key, value in GOOD.items() if key != "bbox"} | {"segmentation": []})


def test_a_long_value_is_cut_in_the_message(read):
    with pytest.raises(RunError, match="entry 1") as caught:
        read({**GOOD, "bbox": list(range(10**5))})
    assert len(str(caught.value)) < 400


def test_a_document_is_refused_with_the_lists_it_holds(make_dataset, tmp_path):
    (tmp_path / "d.json").write_text(json.dumps({"info": {}, "images": [], "annotations": [GOOD]}))
    with pytest.raises(RunError, match=r"not a list of detections .*; it holds lists under images, annotations: write"):
        read_foreign(make_dataset(), tmp_path / "d.json")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (gzip.compress(b"[]", mtime=0), "is compressed by gzip; write the detections as plain JSON"),
        (b"PK\x03\x04", "is a zip archive"),
        (b"\x80\x04].", "is a pickle"),
    ],
)
def test_a_packed_file_is_refused_by_its_kind(make_dataset, tmp_path, content, problem):
    (tmp_path / "d.json").write_bytes(content)
    with pytest.raises(UsageError, match=problem):
        read_foreign(make_dataset(), tmp_path / "d.json")


def test_what_is_no_file_is_refused(make_dataset, tmp_path):
    with pytest.raises(UsageError, match=r"there is no detections file .*no\.json"):
        read_foreign(make_dataset(), tmp_path / "no.json")
    (tmp_path / "run").mkdir()
    with pytest.raises(UsageError, match=r"run is a folder, not a detections file$"):
        read_foreign(make_dataset(), tmp_path / "run")
    written(tmp_path / "run" / "detections.json")
    with pytest.raises(UsageError, match=r"its detections file is .*run.detections\.json"):
        read_foreign(make_dataset(), tmp_path / "run")


@settings(max_examples=25, derandomize=True, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_order_and_notation_of_the_entries_do_not_count(make_dataset, documents, tmp_path_factory, seed):
    folder = tmp_path_factory.mktemp("foreign")
    truth, results = documents(seed, 4, 3, 20, 60)
    dataset = of(make_dataset, truth)
    entries = results["annotations"]
    order = np.random.default_rng(seed).permutation(len(entries))
    moved = [{**entries[at], "image_id": float(entries[at]["image_id"]), "extra": None} for at in order]
    a, b = (
        read_foreign(dataset, written(folder / name, *some)) for name, some in (("a.json", entries), ("b.json", moved))
    )
    for column in ("image_id", "category_id", "bbox", "score"):
        np.testing.assert_array_equal(getattr(a.rows, column), getattr(b.rows, column))
    assert a.content == b.content
    assert a.sha256 != b.sha256
    logits = [{**entry, "score": 50 * entry["score"] - 7} for entry in moved]
    assert read_foreign(dataset, written(folder / "c.json", *logits)).content == a.content
    assert read_foreign(dataset, written(folder / "d.json", *entries[1:])).content != a.content


def of(make_dataset, truth):
    """A COCO document as a data set."""
    images, categories = ([one["id"] for one in truth[key]] for key in ("images", "categories"))
    images = sorted(images)
    objects = sorted(truth["annotations"], key=lambda one: (images.index(one["image_id"]), one["id"]))
    boxes = [(x, y, x + w, y + h) for x, y, w, h in (one["bbox"] for one in objects)]
    return make_dataset(
        [
            (images.index(one["image_id"]), categories.index(one["category_id"]), box)
            for one, box in zip(objects, boxes, strict=True)
        ],
        images=images,
        classes=[f"class {each}" for each in categories],
        category_ids=categories,
        crowd=[bool(one["iscrowd"]) for one in objects],
        area=[one["area"] for one in objects],
    )


@pytest.mark.parametrize("seed", range(8))
def test_boxes_without_size_and_scores_of_any_scale_are_scored_as_pycocotools_does(
    make_dataset, documents, tmp_path, seed
):
    truth, results = documents(seed, 4, 3, 40, 150)
    random = np.random.default_rng(seed)
    entries = [dict(entry) for entry in results["annotations"]]
    scores = random.permutation(len(entries)) / 7 - 5  # no two are equal
    for entry, score, empty in zip(entries, scores.tolist(), random.random(len(entries)) < 0.2, strict=True):
        entry["score"] = score
        if empty:
            entry["bbox"] = [*entry["bbox"][:3], 0.0]
            entry["area"] = 0.0
    stated = by_pycocotools(truth, {**results, "annotations": entries}).stats
    dataset = of(make_dataset, truth)
    found = read_foreign(dataset, written(tmp_path / "d.json", *entries))
    assert any("have a side of 0" in remark for remark in found.remarks)
    matches = matches_of(dataset, found.rows)
    for metric, value in zip(NUMBERS, stated[:6], strict=True):
        ours = value_of(matches, metric)
        assert (-1 if np.isnan(ours) else ours) == value, metric


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ([GOOD, *[{**GOOD, "bbox": [900, 900, 10, 10]}] * 2], "2 of 3 boxes have their centre outside the picture"),
        ([{**GOOD, "bbox": [0.1, 0.2, 1, 0.5]}], "no box is larger than a pixel; COCO's boxes are in pixels"),
    ],
)
def test_boxes_that_are_meant_for_something_else_are_refused(read, entries, problem):
    with pytest.raises(RunError, match=problem):
        read(*entries)


@pytest.mark.parametrize(("below", "whole", "said"), [(23, 1, True), (4, 76, True), (4, 77, False), (3, 1, False)])
def test_boxes_in_fractions_among_others_are_said(read, below, whole, said):
    entries = [{**GOOD, "bbox": [0.1, 0.2, 0.3, 0.4 + n / 100]} for n in range(below)]
    remarks = read(*entries, *({**GOOD, "bbox": [n, n, 9, 9]} for n in range(whole))).remarks
    told = [one for one in remarks if "below a pixel" in one]
    assert [one.split(" boxes")[0] for one in told] == [f"{below} of {below + whole}"] * said
