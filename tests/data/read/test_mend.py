"""What `mend` does, block by block, against the table read one object after another."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assignbench.data.read import mend as module
from assignbench.data.read.annotations import Objects, areas_of
from assignbench.data.read.mend import THINNEST, mend

SIZES = np.array([[20, 10], [8, 30]])
CORNER = st.sampled_from([-3.0, -0.0, 0.0, 1.0, 1.001, 5.0, 8.0, 9.999, 10.0, 20.0, 31.0])


def objects_of(rows: list[tuple[int, int, bool, tuple[float, ...]]]) -> Objects:
    boxes = np.array([row[3] for row in rows], dtype=np.float64).reshape(-1, 4)
    return Objects(
        ids=np.arange(len(rows))[::-1].copy(),
        image=np.array([row[0] for row in rows], dtype=np.int64),
        labels=np.array([row[1] for row in rows], dtype=np.int64),
        boxes=boxes,
        area=areas_of(boxes),
        crowd=np.array([row[2] for row in rows], dtype=np.bool_),
        flags={},
    )


def expected(objects: Objects, training: bool) -> tuple[list[list[float]], list[bool]]:
    boxes, kept, seen = [], [False] * len(objects.ids), set()
    for at in reversed(range(len(objects.ids))):  # from the smallest id on
        x0, y0, x1, y1 = objects.boxes[at].tolist()
        width, height = SIZES[objects.image[at]].tolist()
        keep = x0 < x1 and y0 < y1 and x0 < width and y0 < height and x1 > 0 and y1 > 0
        box = [x0, y0, x1, y1]
        if training:
            box = [
                min(max(x0, 0.0), width),
                min(max(y0, 0.0), height),
                min(max(x1, 0.0), width),
                min(max(y1, 0.0), height),
            ]
            row = (int(objects.image[at]), int(objects.labels[at]), bool(objects.crowd[at]), *box)
            keep = keep and box[2] - box[0] >= THINNEST and box[3] - box[1] >= THINNEST and row not in seen
            seen |= {row} if keep else set()
        boxes.insert(0, box)
        kept[at] = keep
    return boxes, kept


@settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 1), st.booleans(), st.tuples(CORNER, CORNER, CORNER, CORNER)),
        max_size=12,
    ),
    block=st.sampled_from([1, 3, 1 << 16]),
    training=st.booleans(),
)
def test_blocks_of_any_size_follow_the_table(monkeypatch, rows, block, training):
    monkeypatch.setattr(module, "_BLOCK", block)
    objects = objects_of(rows)
    before = objects.boxes.tobytes()
    done, keep = mend(objects, SIZES, training, lambda kind, marked: None)
    boxes, kept = expected(objects, training)
    assert keep.tolist() == kept
    assert done.boxes.tolist() == boxes
    assert objects.boxes.tobytes() == before  # what was read stays
    assert not (training and np.signbit(done.boxes).any())  # −0 is 0, or equal boxes would have two fingerprints


def test_boxes_are_copied_only_where_one_is_clipped():
    inside, beyond = (0, 0, False, (1.0, 1.0, 5.0, 5.0)), (0, 0, False, (1.0, 1.0, 5.0, 31.0))
    for rows, copied in (([inside], False), ([inside, beyond], True)):
        objects = objects_of(rows)
        done, _ = mend(objects, SIZES, True, lambda kind, marked: None)
        assert (done.boxes is not objects.boxes) is copied


@pytest.mark.parametrize(("beyond", "kind"), [(0.0099, "box-rounded"), (0.0101, "box-clipped"), (0.0, None)])
@pytest.mark.parametrize("side", range(4))
def test_what_rounding_leaves_is_clipped_and_called_so(beyond, kind, side):
    box = [0.0, 0.0, float(SIZES[0][0]), float(SIZES[0][1])]
    box[side] += beyond if side >= 2 else -beyond
    marks = {}
    done, keep = mend(objects_of([(0, 0, False, tuple(box))]), SIZES, True, marks.__setitem__)
    assert keep.all()
    assert done.boxes.tolist() == [[0.0, 0.0, *map(float, SIZES[0])]]
    assert [one.name for one, marked in marks.items() if marked.any()] == ([kind] if kind else [])


@pytest.mark.parametrize("twice", [0, 1, 5])
def test_equal_rows_far_apart_are_found(monkeypatch, twice):
    monkeypatch.setattr(module, "_BLOCK", 7)
    rows = [(0, 0, False, (0.0, 0.0, 1.0 + at / 8, 9.0)) for at in range(100)]
    objects = objects_of(rows + rows[:twice])
    _, keep = mend(objects, SIZES, True, lambda kind, marked: None)
    assert np.flatnonzero(~keep).tolist() == list(range(twice))  # the larger ids
