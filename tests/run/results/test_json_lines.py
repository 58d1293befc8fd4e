"""Logs of one JSON row a line."""

from pathlib import Path

import pytest

from assignbench.errors import RunError
from assignbench.run.results.json_lines import Log, append, read_lines, read_rows


def test_rows_after_an_iteration_are_dropped(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    for iteration in (1, 2, 3):
        append(file, {"iteration": iteration})
    Log(file, 2)
    assert [row["iteration"] for row in read_lines(file)] == [1, 2]


def test_a_line_cut_off_by_a_kill_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    append(file, {"iteration": 1})
    with file.open("a") as log:
        log.write('{"iteration": 2, "lo')
    assert read_lines(file) == [{"iteration": 1}]
    log = Log(file, 5)
    log.append({"iteration": 2})
    assert [row["iteration"] for row in read_lines(file)] == [1, 2]


def test_a_row_takes_the_place_of_one_that_a_kill_cut_off(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    for cut in ("", '{"iteration": 1}\n'):
        file.write_text(cut + '{"iteration": 2, "lo')
        append(file, {"iteration": 3})
        assert [row["iteration"] for row in read_lines(file)] == [1, 3][not cut :]


def test_a_damaged_row_is_named(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    file.write_text('{"iteration"\n{"iteration": 2}\n')
    with pytest.raises(RunError, match=r"log\.jsonl is damaged"):
        read_lines(file)


def test_no_file_is_no_row(tmp_path: Path) -> None:
    assert read_lines(tmp_path / "none.jsonl") == []
    Log(tmp_path / "none.jsonl", 3)


@pytest.mark.parametrize(
    "row",
    [
        *("[]", "1", "{}", '{"iteration": true}', '{"iteration": "1"}', '{"iteration": 1.0}', '{"iteration": null}'),
        *(f'{{"iteration": 1, "total": {value}}}' for value in ("false", '"2"', "[1]", "NaN")),
    ],
)
def test_a_row_of_anything_but_numbers_is_no_row_of_a_training(tmp_path: Path, row: str) -> None:
    file, first = tmp_path / "log.jsonl", '{"iteration": 1}\n'
    file.write_text(f"{first}{row}\n{first}")
    with pytest.raises(RunError, match=r"log\.jsonl.* line 2"):
        read_rows(file)
    Log(file, 5)
    assert file.read_text() == first, "a training goes on where its log ends well"
