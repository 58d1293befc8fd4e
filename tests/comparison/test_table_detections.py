"""Detections files in one table: the same numbers as runs, other words, and nothing about how they were made."""

import numpy as np
import pytest

from assignbench.comparison.influences import Scored
from assignbench.comparison.table import Table, compare, compare_detections
from assignbench.comparison.twolevel import About
from assignbench.errors import UsageError

PICTURES = np.array([[0.3, -0.1, -0.2, 0.0]])  # influences, one kind


def rows(**values: list[float]):
    """Name → APs as fractions, one a file."""
    return {
        name: {number: Scored({"AP": ap}, {"AP": PICTURES * (1 + number + len(name))}) for number, ap in enumerate(aps)}
        for name, aps in values.items()
    }


def table_of(baseline: str | None = None, about: About = "strategies", **values: list[float]) -> Table:
    return compare_detections(rows(**values), "d", "val", baseline=baseline, metrics=["AP"], about=about)


def test_files_have_the_numbers_of_runs_with_the_same_values(make_record):
    values = {"fcos": [0.40, 0.42, 0.44], "atss": [0.41, 0.44, 0.44]}
    records = [make_record(name, seed, ap) for name, aps in values.items() for seed, ap in enumerate(aps)]
    pictures = {one.run_id: rows(**values)[one.row][one.seed].pictures for one in records}
    (runs,) = compare(records, baseline="fcos", metrics=["AP"], pictures=pictures).blocks
    (files,) = table_of("fcos", fcos=values["fcos"], atss=values["atss"]).blocks
    assert files.rows == runs.rows
    assert files.verdicts == runs.verdicts
    assert (files.title, files.protocol, files.recipe) == ("d · val · detections of files", None, None)
    assert runs.title == "shapes · controlled protocol · recipe tiny"


def test_one_file_each_is_about_these_files_alone():
    (block,) = table_of("a", a=[0.4], bb=[0.9]).blocks
    (one,) = block.verdicts[0].baseline
    assert (one.difference.about, one.mark, one.p_family) == ("networks", "?", None)
    assert not block.verdicts[0].tells_apart  # nothing is bold
    told = " ".join(block.legend)
    assert "of exactly these detections files, not of the strategies behind them" in told
    assert "takes three files of each" in told
    assert "How the files were made is not known" in told
    assert "seed 0" not in told
    assert "trained" not in told
    assert "recipe are fixed" not in told


def test_three_files_each_decide_of_strategies():
    (block,) = table_of("a", a=[0.40, 0.402, 0.401], bb=[0.5, 0.501, 0.502]).blocks
    (one,) = block.verdicts[0].baseline
    assert (one.difference.about, one.mark) == ("strategies", "*")
    told = " ".join(block.legend)
    assert "over files 0, 1, 2 of each row as its seeds and 4 pictures like these" in told
    assert "Best: bb" in told


def test_two_files_each_decide_nothing():
    legend = table_of("a", a=[0.1, 0.11], bb=[0.9, 0.91]).blocks[0].legend
    assert "No verdict: it takes three files of both rows, one for each seed." in legend


def test_one_file_cannot_answer_for_exactly_these_pictures():
    (line,) = table_of("a", about="set", a=[0.4], bb=[0.9]).blocks[0].legend
    assert line.startswith("?: no verdict. One file of each row says nothing of other seeds")


def test_unequal_numbers_of_files_are_said():
    table = table_of("a", a=[0.4, 0.5, 0.6], bb=[0.5])
    assert table.notes == (
        "d: the rows have different numbers of files (counted from 0: a 0, 1, 2; bb 0)",
        "d: the difference of bb to a is paired over files 0 only",
    )
    (pair,) = table.blocks[0].verdicts[0].pairs
    assert pair.difference.seeds == (0,)


def test_what_nothing_measured_stays_empty():
    table = compare_detections({"a": {0: Scored({"AP": None}, {"AP": PICTURES})}}, "d", "val", metrics=["AP"])
    assert table.blocks[0].rows[0].cells[0].mean is None


def test_the_order_of_the_rows_does_not_matter():
    a, bb, ccc = [0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [0.4, 0.5, 0.7]
    assert table_of("bb", a=a, bb=bb, ccc=ccc) == table_of("bb", ccc=ccc, bb=bb, a=a)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"metrics": ["AR100"]}, r"'AR100' is not computed of detections files\nthere are: AP, AP50"),
        ({"metrics": ["AP5"]}, r"'AP5' is not computed of detections files; did you mean AP"),
        ({"baseline": "atsss"}, r"no row is called 'atsss'; did you mean atss\?\nthere are: atss"),
    ],
)
def test_what_cannot_be_asked_is_refused(arguments, problem):
    with pytest.raises(UsageError, match=problem):
        compare_detections(rows(atss=[0.4]), "d", "val", **arguments)


def test_no_file_is_refused():
    with pytest.raises(UsageError, match="no detections file to compare"):
        compare_detections({}, "d", "val")
