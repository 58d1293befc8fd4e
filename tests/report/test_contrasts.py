"""Which pictures are chosen: by hand, and as a law over any influences."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assignbench.errors import UsageError
from assignbench.report.contrasts import FEW_ROWS, Contrast, choose
from assignbench.run.results.record import RunRecord

IMAGES = 3


def moved(values: Mapping[str, Sequence[float]]) -> dict[str, np.ndarray]:
    return {run: np.array(each, dtype=np.float64) for run, each in values.items()}


@pytest.fixture
def records(make_record: Callable[..., RunRecord]) -> list[RunRecord]:
    """Rows atss, fcos and paa with seeds 0 and 1; run ids as "atss 0"."""
    return [make_record(row, seed, run_id=f"{row} {seed}") for row in ("paa", "fcos", "atss") for seed in (1, 0)]


def test_by_hand(records):
    """Against atss: fcos moves (1, −2, 0) on the mean of the seeds, paa (−1.5, 0.5, 0)."""
    told = moved(
        {
            "atss 0": [0, 1, -1], "atss 1": [0, 0, 0],
            "fcos 0": [0, -1, 0], "fcos 1": [2, -2, -1],
            "paa 0": [-1, 1, -1], "paa 1": [-2, 1, 0],
        }
    )  # fmt: skip
    chosen, notes = choose(records, told, IMAGES, "atss", 3)
    assert chosen == [
        (1, Contrast("fcos", "atss", (0, 1), -2.0)),
        (0, Contrast("paa", "atss", (0, 1), -1.5)),  # fcos differs less there
    ]
    assert notes == ["2 of 3 pictures move a difference"]
    assert choose(records, told, IMAGES, "atss", 1)[0] == chosen[:1]
    # without a baseline every pair counts: fcos − paa is (2.5, −2.5, 0), and of equal ones the first comes first
    assert choose(records, told, IMAGES, None, 2)[0] == [
        (0, Contrast("fcos", "paa", (0, 1), 2.5)),
        (1, Contrast("fcos", "paa", (0, 1), -2.5)),
    ]


def test_of_equal_differences_the_first_picture_and_then_the_first_pair(records):
    told = moved({run: [0, 0, 0] for run in ("atss 0", "atss 1")} | {run: [0, 3, 0] for run in ("fcos 1", "paa 1")})
    assert choose(records, told, IMAGES, "atss")[0] == [(1, Contrast("fcos", "atss", (1,), 3.0))]
    told = moved({"atss 0": [0, 0, 0], "fcos 0": [0, 0, 3], "paa 0": [0, -3, 0]})
    assert choose(records, told, IMAGES, "atss")[0] == [
        (1, Contrast("paa", "atss", (0,), -3.0)),
        (2, Contrast("fcos", "atss", (0,), 3.0)),
    ]


def test_many_rows_are_held_against_the_best(make_record):
    rows = [f"row{number}" for number in range(FEW_ROWS + 1)]
    records = [make_record(row, 0, 0.1 + 0.01 * (row == "row3"), run_id=row) for row in rows]
    told = moved({row: [number, 0, 0] for number, row in enumerate(rows)})
    chosen, notes = choose(records, told, IMAGES, None, 1)
    assert chosen == [(0, Contrast("row0", "row3", (0,), -3.0))]
    assert notes == [f"{FEW_ROWS + 1} rows: each is held against row3, which has the highest AP"]


def test_what_is_missing_is_said(records):
    told = moved({"atss 0": [0, 0, 0], "fcos 1": [1, 0, 0]})
    assert choose(records, told, IMAGES, "atss") == (
        [],
        [
            "paa chooses no picture: the influences of its runs are not known",
            "fcos and atss choose no picture: they share no seed whose influences are known",
        ],
    )
    assert choose(records, {}, IMAGES, "atss")[0] == []


def test_misuse_is_refused(records):
    with pytest.raises(UsageError, match="no run of the baseline 'ota'; there are: atss, fcos, paa"):
        choose(records, {}, IMAGES, "ota")
    with pytest.raises(UsageError, match="a gallery of -1 pictures cannot be"):
        choose(records, {}, IMAGES, count=-1)
    for wrong in ([1, 2], [1, 2, np.nan]):
        with pytest.raises(UsageError, match="fcos 0: not one finite influence for each of the 3 pictures"):
            choose(records, moved({"fcos 0": wrong}), IMAGES)


@settings(deadline=None, max_examples=50)
@given(
    values=st.lists(st.lists(st.integers(-3, 3), min_size=4, max_size=4), min_size=3, max_size=3),
    count=st.integers(0, 5),
    order=st.permutations(range(3)),
)
def test_no_picture_that_is_left_out_differs_more(make_record, values, count, order):
    rows = ("atss", "fcos", "paa")
    records = [make_record(row, run_id=row) for row in rows]
    told = moved(dict(zip(rows, values, strict=True)))
    chosen, _ = choose(records, told, 4, None, count)
    most = np.abs(np.array(values)[:, None] - np.array(values)).max(axis=(0, 1))  # [image]
    sizes = [abs(contrast.points) for _, contrast in chosen]
    places = [place for place, _ in chosen]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes == [most[place] for place in places]
    assert len(set(places)) == len(places) == min(count, int((most > 0).sum()))
    assert all(most[one] <= min(sizes, default=np.inf) for one in set(range(4)) - set(places)) or count == 0
    assert chosen == choose([records[one] for one in order], told, 4, None, count)[0]
