"""WIDER FACE's easy, medium and hard AP, by hand and against plain loops written from the publisher's rules."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from assignbench.data.dataset import ImageInfo, Official
from assignbench.data.spec.locate import open_dataset
from assignbench.errors import DataError
from assignbench.run.scoring.evaluate import METRICS as COCO
from assignbench.run.scoring.evaluate import Detections, check_dataset, evaluate, write_detections
from assignbench.run.scoring.widerface import METRICS

A, B, C = (0, 0, 10, 10), (20, 0, 10, 10), (40, 0, 10, 10)  # x y width height
NOWHERE = (200, 200, 10, 10)
EASY, MEDIUM, HARD = METRICS


def cells(items) -> np.ndarray:
    column = np.empty((len(items), 1), dtype=object)
    for place, item in enumerate(items):
        column[place, 0] = item
    return column


def write_lists(folder: Path, pictures: Mapping[str, tuple[list, Mapping[str, list[int]]]]) -> None:
    """``EVENT/NAME`` → its faces, and the numbers of those that count by difficulty; as the publisher writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    events = sorted({name.partition("/")[0] for name in pictures})
    by_event = [[name for name in pictures if name.startswith(f"{event}/")] for event in events]
    cell_of = {
        "file_list": lambda name, _: name.partition("/")[2],
        "face_bbx_list": lambda name, _: np.array(pictures[name][0], dtype=np.float64).reshape(-1, 4),
        "gt_list": lambda name, difficulty: np.array(pictures[name][1][difficulty], dtype=np.uint8).reshape(-1, 1),
    }
    for difficulty in METRICS.values():
        columns = {
            key: cells([cells([of(name, difficulty) for name in names]) for names in by_event])
            for key, of in cell_of.items()
        }
        savemat(folder / f"wider_{difficulty}_val.mat", {"event_list": cells(events), **columns})


def of_faces(make_dataset, folder, pictures):
    """A data set of these pictures, and the publisher's files beside it."""
    write_lists(folder, pictures)
    objects = [
        (image, 0, (x, y, x + width, y + height))
        for image, (faces, _) in enumerate(pictures.values())
        for x, y, width, height in faces
    ]
    dataset = make_dataset(objects, images=range(1, len(pictures) + 1), classes=("face",))
    images = tuple(ImageInfo(n, Path(f"images/{name}.jpg"), 640, 480) for n, name in enumerate(pictures, start=1))
    return replace(dataset, images=images, official=Official("widerface", folder))


def scored(dataset, rows, file):
    """Rows of image number, box, score."""
    entries = [{"image_id": image, "category_id": 1, "bbox": list(box), "score": score} for image, box, score in rows]
    file.write_text(json.dumps(entries))
    return evaluate(dataset, file)


def three(result):
    return [result.metrics[name] for name in METRICS]


@pytest.fixture
def score(make_dataset, tmp_path):
    return lambda pictures, rows: scored(
        of_faces(make_dataset, tmp_path / "lists", pictures), rows, tmp_path / "d.json"
    )


def counting(easy=(), medium=(), hard=()):
    return {"easy": list(easy), "medium": list(medium), "hard": list(hard)}


def test_perfect_detections_are_exactly_one(score):
    pictures = {"0--A/x": ([A, B], counting([1], [1], [1, 2])), "1--B/y": ([C], counting([], [1], [1]))}
    rows = [(1, A, 0.9), (1, B, 0.7), (2, C, 0.4)]
    assert three(score(pictures, rows)) == [1, 1, 1]
    assert three(score(pictures, [(image, box, 0.9) for image, box, _ in rows])) == [1, 1, 1]


def test_faces_that_do_not_count_are_neither_required_nor_an_error(score):
    pictures = {"0--A/x": ([A, B], counting([1], [2], [1, 2]))}
    # of both difficulties with one face, the other face's detection is left out; hard counts both
    assert three(score(pictures, [(1, A, 0.9)])) == [1, 0, 0.5]
    assert three(score(pictures, [(1, A, 0.9), (1, B, 0.8), (1, B, 0.7)])) == [1, 1, 1]


def test_boxes_are_a_pixel_wider_than_they_say(score):
    pictures = {"0--A/x": ([(0, 0, 4, 4)], counting([1]))}
    # 5 × 5 and 5 × 5 moved by one: 20 / 30; moved by two: 15 / 35. 5 × 5 in 10 × 5: one half, 4 × 4 in 8 × 4 is too
    assert three(score(pictures, [(1, (1, 0, 4, 4), 0.9)]))[0] == 1
    assert three(score(pictures, [(1, (2, 0, 4, 4), 0.9)]))[0] == 0
    assert three(score(pictures, [(1, (0, 0, 9, 4), 0.9)]))[0] == 1
    assert three(score(pictures, [(1, (0, 0, 9.5, 4), 0.9)]))[0] == 0
    # 3 × 3 in 4 × 4 moved apart: 1.5 pixels apart they still touch by the pixel, but less than a half
    assert three(score(pictures, [(1, (4.5, 0, 4, 4), 0.9)]))[0] == 0


def test_wrong_ones_lower_the_precision(score):
    pictures = {"0--A/x": ([A, B], counting([1, 2]))}
    rows = [(1, A, 1.0), (1, NOWHERE, 0.5), (1, B, 0.0)]
    assert three(score(pictures, rows))[0] == pytest.approx((1 + 2 / 3) / 2)
    rows = [(1, A, 1.0), (1, A, 0.5), (1, B, 0.0)]  # twice the same face
    assert three(score(pictures, rows))[0] == pytest.approx((1 + 2 / 3) / 2)


def test_scores_nearer_than_a_thousandth_share_a_threshold(score):
    pictures = {"0--A/x": ([A, B], counting([1, 2]))}
    # stretched to 1, 0.5004, 0.5002 and 0: the wrong one and B enter together, at 0.5, so order does not help B
    rows = [(1, A, 0.8), (1, B, 0.45016), (1, NOWHERE, 0.45008), (1, (90, 90, 5, 5), 0.1)]
    scores = [(row[2] - 0.1) / 0.7 for row in rows]
    assert scores[1] > scores[2] > 0.5
    assert scores[1] < 0.501
    assert three(score(pictures, rows))[0] == pytest.approx((1 + 2 / 3) / 2)


def test_scores_are_stretched_and_there_are_a_thousand_thresholds(score):
    pictures = {"0--A/x": ([A, B], counting([1, 2]))}
    # all within a thousandth as they are; stretched to 1, 0.505, 0.502 and 0 the second enters before the third
    rows = [(1, A, 0.51), (1, B, 0.509505), (1, NOWHERE, 0.509502), (1, (90, 90, 5, 5), 0.509)]
    assert three(score(pictures, rows))[0] == pytest.approx(1)


def test_of_faces_with_equal_overlap_the_first_counts(score):
    # the detection lies in the middle of two faces and belongs to the first, whether or not that one counts
    faces = [(0, 0, 10, 10), (2, 0, 10, 10)]
    rows = [(1, (1, 0, 10, 10), 0.9)]
    assert three(score({"0--A/x": (faces, counting([1], [2]))}, rows))[:2] == [1, 0]


def test_pictures_without_faces_do_not_count(score):
    pictures = {"0--A/x": ([A], counting([1])), "0--A/y": ([], counting()), "0--A/z": ([B], counting())}
    rows = [(1, A, 0.5), (2, NOWHERE, 0.9)]
    assert three(score(pictures, rows)) == [1, None, None]
    assert three(score(pictures, [*rows, (3, NOWHERE, 0.9)])) == [0.5, None, None]  # a face that does not count is one


def test_nothing_detected_is_zero(score):
    assert three(score({"0--A/x": ([A], counting([1]))}, [])) == [0, None, None]


def publishers(pictures, found, difficulty):
    """The publisher's rules in plain loops; found: (picture, box, score) in the order of the files."""

    def overlap(a, b):
        width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]) + 1
        height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]) + 1
        if width <= 0 or height <= 0:
            return 0.0
        return width * height / ((a[2] + 1) * (a[3] + 1) + (b[2] + 1) * (b[3] + 1) - width * height)

    required = sum(len(chosen[difficulty]) for _, chosen in pictures)
    if not required:
        return None
    scores = [score for _, _, score in found]
    proposed, recalled = [0] * 1000, [0] * 1000
    for number, (faces, chosen) in enumerate(pictures):
        own = sorted((one for one in found if one[0] == number), key=lambda one: -one[2])
        if not faces or not own:
            continue
        taken, entries = set(), []
        for _, box, score in own:
            overlaps = [overlap(box, face) for face in faces]
            most = max(overlaps)
            best = overlaps.index(most) + 1
            ignored = most >= 0.5 and best not in chosen[difficulty]
            right = most >= 0.5 and not ignored and best not in taken
            taken |= {best} if right else set()
            stretch = max(scores) - min(scores)
            entries.append(((score - min(scores)) / stretch if stretch else 1.0, right, not ignored))
        for t in range(1, 1001):
            inside = [entry for entry in entries if entry[0] >= 1 - t / 1000]
            recalled[t - 1] += sum(right for _, right, _ in inside)
            proposed[t - 1] += sum(counted for _, _, counted in inside)
    precision = [a / b if b else 0.0 for a, b in zip(recalled, proposed, strict=True)]
    total, best = 0.0, 0.0
    steps = [b - a for a, b in zip([0, *recalled], recalled, strict=False)]
    for step, value in zip(reversed(steps), reversed(precision), strict=True):
        best = max(best, value)
        total += step / required * best
    return total


face = st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(2, 4), st.integers(2, 4))  # many match
faces_of = st.lists(st.tuples(face, st.booleans(), st.booleans()), max_size=5)
found_in = st.lists(st.tuples(st.integers(0, 2), face, st.integers(0, 2500).map(lambda n: n / 2500)), max_size=20)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(truth=st.lists(faces_of, min_size=3, max_size=3), found=found_in)
def test_plain_loops_say_the_same(truth, found, make_dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wider")
    pictures = []
    for some in truth:
        numbered = list(enumerate(some, start=1))
        easy, medium = ([n for n, one in numbered if one[place]] for place in (1, 2))
        pictures.append(([one[0] for one in some], counting(easy, medium, [n for n, _ in numbered])))
    names = ("0--A/x", "0--A/y", "1--B/z")
    dataset = of_faces(make_dataset, folder, dict(zip(names, pictures, strict=True)))
    result = scored(dataset, [(image + 1, box, score) for image, box, score in found], folder / "d.json")
    for name, difficulty in METRICS.items():
        want = publishers(pictures, sorted(found), difficulty)
        assert result.metrics[name] == (None if want is None else pytest.approx(want, abs=1e-12))


def test_the_order_of_the_file_does_not_matter(score):
    pictures = {"0--A/x": ([A, B], counting([1, 2])), "1--B/y": ([C], counting([1]))}
    rows = [(1, A, 0.5), (1, (1, 0, 10, 10), 0.5), (2, C, 0.5), (1, NOWHERE, 0.5), (1, B, 0.3)]
    assert len({tuple(three(score(pictures, some))) for some in (rows, rows[::-1], rows[2:] + rows[:2])}) == 1


# The publisher's files.


def test_without_the_files_there_is_cocos_alone_and_it_is_said(make_dataset, tmp_path, monkeypatch):
    dataset = of_faces(make_dataset, tmp_path / "lists", {"0--A/x": ([A], counting([1]))})
    (tmp_path / "lists" / "wider_medium_val.mat").unlink()
    check_dataset(dataset)
    result = scored(dataset, [(1, A, 0.9)], tmp_path / "d.json")
    assert list(result.metrics) == list(COCO)
    assert result.notes[-1].startswith("no easy, medium and hard AP: ")
    assert "wider_medium_val.mat are missing" in result.notes[-1]
    assert "eval_tools.zip" in result.notes[-1]
    nowhere = replace(dataset, official=Official("widerface"))
    assert "names no folder" in scored(nowhere, [], tmp_path / "d.json").notes[-1]


def test_lists_of_other_pictures_are_not_used(make_dataset, tmp_path):
    dataset = of_faces(make_dataset, tmp_path / "lists", {"0--A/x": ([A], counting([1]))})
    write_lists(tmp_path / "lists", {"0--A/other": ([A], counting([1])), "0--A/x": ([A], counting([1]))})
    result = scored(dataset, [(1, A, 0.9)], tmp_path / "d.json")
    assert EASY not in result.metrics
    assert "differ in 1 pictures, first 0--A/other" in result.notes[-1]


@pytest.mark.parametrize("damage", [b"", b"MATLAB 5.0 MAT-file" + bytes(200), None, "number", "cells"])
def test_damaged_lists_are_refused_before_training(damage, make_dataset, tmp_path):
    dataset = of_faces(make_dataset, tmp_path / "lists", {"0--A/x": ([A], counting([1]))})
    file = tmp_path / "lists" / "wider_hard_val.mat"
    if damage == "number":
        write_lists(tmp_path / "lists", {"0--A/x": ([A], counting([2], [2], [2]))})
        file = tmp_path / "lists" / "wider_easy_val.mat"
    elif damage == "cells":
        savemat(file, {key: np.zeros(3) for key in ("event_list", "file_list", "face_bbx_list", "gt_list")})
    else:
        file.write_bytes(file.read_bytes()[:-60] if damage is None else damage)
    with pytest.raises(DataError, match=f"{file.name} cannot be read") as caught:
        check_dataset(dataset)
    assert "eval_tools.zip" in str(caught.value)


def test_the_miniature_scores_one_through_reader_and_file(miniatures, tmp_path):
    mini = miniatures.write_widerface(tmp_path)
    yaml = Path(mini.spec)
    yaml.write_text(yaml.read_text() + "lists: lists\n")
    dataset = open_dataset(mini.spec, tmp_path).evaluation
    assert dataset.official == Official("widerface", tmp_path / "lists")
    assert open_dataset("widerface", tmp_path).evaluation.official == Official(
        "widerface", tmp_path / "widerface" / "eval_tools" / "ground_truth"
    )
    pictures = {}
    for number, picture in enumerate(mini.evaluation):
        faces = [(x0, y0, x1 - x0, y1 - y0) for x0, y0, x1, y1 in (one.box for one in picture.objects)]
        valid = [n for n, one in enumerate(picture.objects, start=1) if not one.ignored]
        large = [n for n in valid if faces[n - 1][2] >= 40]
        pictures[f"{number}--Event/{picture.name}"] = (faces, counting(large, valid, valid))
    write_lists(tmp_path / "lists", pictures)

    def answer(shift):
        def found():
            for index in range(len(dataset)):
                own = dataset.objects_of(index)
                boxes = dataset.boxes[own][~dataset.crowd[own]] + shift
                yield Detections(index, boxes, np.full(len(boxes), 0.9), np.zeros(len(boxes), dtype=np.int64))

        write_detections(dataset, found(), tmp_path / "d.json")
        return evaluate(dataset, tmp_path / "d.json")

    assert three(answer(0.0)) == [1, 1, 1]
    # 12 to the right, a pixel wider: 65 and 41 wide keep 53 / 77 and 29 / 53; 33 and 17 wide 21 / 45 and 5 / 29.
    # Of four detections two are right: both of the large ones, half of all; the two others are wrong everywhere.
    assert three(answer(np.array([12.0, 0, 12, 0]))) == [0.5, 0.25, 0.25]
