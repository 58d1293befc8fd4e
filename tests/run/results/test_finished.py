"""Runs by what names them: what lies where, what an id stands for, and what becomes of a record that is damaged."""

import shutil
from pathlib import Path

import pytest

from assignbench.errors import RunError, UsageError
from assignbench.run.results.finished import beginning_so, find_runs, is_record, refuse_damaged, run_named
from assignbench.run.results.record import write_record

IDS = ("shapes-atss-tiny-s0-12b4c5907d", "shapes-atss-tiny-s1-12ffc5907d", "shapes-fcos-tiny-s0-a90ac5907d")


@pytest.fixture
def three(make_record, tmp_path) -> Path:
    """A folder of three runs, with seeds 0, 1, 2."""
    for seed in range(3):
        write_record(tmp_path / "runs" / str(seed), make_record(seed=seed))
    return tmp_path / "runs"


def seeds(*places: Path) -> list[int]:
    return [record.seed for record in find_runs(*places).records]


def test_records_are_read_in_the_order_of_their_folders(make_record, tmp_path):
    for folder, seed in (("b", 0), ("a", 1), ("c", 2)):
        write_record(tmp_path / folder, make_record(seed=seed))
    (tmp_path / "unfinished").mkdir()
    assert seeds(tmp_path) == [1, 0, 2]


def test_a_place_is_a_record_a_run_a_folder_of_runs_or_one_of_such_folders(three):
    assert seeds(three / "1" / "record.json") == [1]
    assert seeds(three / "1") == [1]
    assert seeds(three) == seeds(three.parent) == [0, 1, 2]
    assert seeds(three / "2", three / "0" / "record.json") == [2, 0]
    assert [folder for folder, _ in find_runs(three.parent).runs] == [three / "0", three / "1", three / "2"]


def test_what_lies_nearest_counts(three, make_record):
    write_record(three / "old" / "run", make_record(seed=7))
    assert seeds(three) == [0, 1, 2]
    assert seeds(three / "old") == [7]


def test_single_records_by_other_names_are_found_among_other_files(three, tmp_path):
    kept = tmp_path / "reports" / "mine" / "records"
    kept.mkdir(parents=True)
    for seed in range(3):
        shutil.copy(three / str(seed) / "record.json", kept / f"run{seed}.json")
    (kept / "table.json").write_text("[]")
    assert [is_record(file) for file in sorted(kept.iterdir())] == [True, True, True, False]
    assert seeds(kept) == seeds(tmp_path / "reports") == [0, 1, 2]
    assert seeds(kept / "run1.json") == seeds(kept / "run1") == [1]
    (folder, _) = find_runs(kept / "run1").runs[0]
    assert (folder, folder.exists()) == (kept / "run1", False)  # no run's files are taken for another one's


def test_a_damaged_record_hides_no_other_and_is_named_with_its_reason(three):
    (three / "1" / "record.json").write_text("{")
    found = find_runs(three)
    assert ([record.seed for record in found.records], len(found.damaged)) == ([0, 2], 1)
    with pytest.raises(RunError, match=r"1 record could not be read, and left out:\n.*1.record\.json is damaged"):
        refuse_damaged(found.damaged)
    refuse_damaged(())


def test_where_all_are_damaged_nothing_is_left_to_show(three):
    for seed in range(3):
        (three / str(seed) / "record.json").write_text("{")
    with pytest.raises(RunError, match=r"0.record\.json is damaged"):
        find_runs(three)


def test_a_copied_run_is_refused_with_both_folders(three):
    shutil.copytree(three / "1", three / "copy")
    with pytest.raises(UsageError, match=r"1.record\.json and .*copy.record\.json are the same run"):
        find_runs(three)


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        (".", "holds no finished run; start one with: assignbench run --output"),
        ("nowhere", r"there is no folder .*nowhere; name the one"),
        ("begun", "holds 1 unfinished and no finished run; repeat the command with --resume"),
        ("table.csv", "is no run's record but a table, of which no run can be read back"),
        ("found.json", r"is no run's record; name a record\.json, .* compare --detections"),
    ],
)
def test_what_holds_no_run_is_told_with_what_to_do(tmp_path, place, problem):
    (tmp_path / "begun" / "one").mkdir(parents=True)
    (tmp_path / "begun" / "one" / "losses.jsonl").touch()
    (tmp_path / "table.csv").touch()
    (tmp_path / "found.json").write_text("[]")
    with pytest.raises(UsageError, match=problem):
        find_runs(tmp_path / place)


@pytest.mark.parametrize(
    ("word", "places"),
    [
        (IDS[0], [0]),
        ("12b4", [0]),
        ("12", [0, 1]),
        ("shapes-atss", [0, 1]),
        ("shapes-f", [2]),
        ("fcos", []),
        ("", []),
    ],
)
def test_an_id_is_found_by_its_beginning_or_that_of_its_digest(word, places):
    assert beginning_so(word, IDS) == [IDS[place] for place in places]


def test_a_whole_id_is_that_run_alone():
    assert beginning_so("a-1", ["a-1", "a-12"]) == ["a-1"]


def test_a_run_is_named_by_path_or_by_id_in_runs_or_in_the_folder_before_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("runs", "others"):
        for one in IDS:
            (tmp_path / folder / one).mkdir(parents=True)
    assert run_named(Path("12b4")) == Path("runs") / IDS[0]
    assert run_named(Path("others/12b4")) == Path("others") / IDS[0]
    assert run_named(Path("runs")) == Path("runs")
    assert run_named(Path("nothing")) == Path("nothing")
    with pytest.raises(UsageError, match=r"2 runs in runs begin with 12: shapes-atss-tiny-s0-12b4c5907d, shapes-atss"):
        run_named(Path("12"))
