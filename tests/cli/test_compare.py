import csv
import io
import json
from pathlib import Path

import pytest

from assignbench.run.results.record import ResolvedValue, write_record


@pytest.fixture
def folder(tmp_path, make_record):
    for record in (
        make_record("atss", 0, 0.40),
        make_record("atss", 1, 0.42),
        make_record("fcos", 0, 0.38),
        make_record("fcos", 1, 0.39),
        make_record("fcos", 0, 0.5, recipe="1x", dataset="voc"),
    ):
        write_record(tmp_path / record.run_id, record)
    return str(tmp_path)


def test_table(call, folder):
    code, out, err = call("compare", folder, "--baseline", "atss", "--recipe", "tiny")
    assert (code, err) == (0, "")
    assert "41.0" in out
    assert "−2.5" in out
    assert "voc" not in out


def test_json_and_csv_hold_the_same_rows(call, folder):
    rows = json.loads(call("compare", folder, "--json")[1])["rows"]
    assert {"dataset", "strategy", "protocol", "recipe", "metric", "mean", "std", "n"} <= set(rows[0])
    assert {row["dataset"] for row in rows} == {"shapes", "voc"}
    lines = list(csv.DictReader(io.StringIO(call("compare", folder, "--format", "csv")[1])))
    assert [line["strategy"] for line in lines] == [row["strategy"] for row in rows]


def test_protocols_side_by_side_or_one_of_them(call, folder, tmp_path, make_record):
    record = make_record("atss", 0, 0.45, protocol="published")
    write_record(tmp_path / record.run_id, record)
    _, out, _ = call("compare", folder, "--recipe", "tiny")
    assert "controlled protocol" in out
    assert "published protocol" in out
    assert "atss (mmdet)" in out
    _, out, _ = call("compare", folder, "--protocol", "published")
    assert "controlled" not in out
    code, _, err = call("compare", folder, "--protocol", "publishd")
    assert code == 2
    assert "no run has protocol 'publishd'; there are: 1x (controlled), tiny (controlled), tiny (published)" in err


def test_metrics(call, folder):
    rows = json.loads(call("compare", folder, "--json", "--metrics", "AP50, AR100")[1])["rows"]
    assert {row["metric"] for row in rows} == {"AP50", "AR100"}
    code, _, err = call("compare", folder, "--metrics", "AP5")
    assert code == 2
    assert "AP5" in err


@pytest.mark.parametrize("name", ["markdown", "latex", "csv", "terminal"])
def test_output_file_holds_what_would_be_printed(call, folder, tmp_path, name):
    printed = call("compare", folder, "--format", name)[1]
    file = tmp_path / "table"
    assert call("compare", folder, "--format", name, "--output", str(file)) == (0, f"wrote {file}\n", "")
    written = file.read_text(encoding="utf-8")
    assert [line.rstrip() for line in written.splitlines()] == [line.rstrip() for line in printed.splitlines()]
    assert "\033" not in written


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--baseline", "ats"], "atss"),
        (["--recipe", "2x"], "no run has recipe '2x'"),
        (["--metrics", ","], "--metrics is empty"),
    ],
)
def test_wrong_values(call, folder, arguments, message):
    code, out, err = call("compare", folder, *arguments)
    assert (code, out) == (2, "")
    assert message in err


def test_no_runs(call, tmp_path):
    assert call("compare", str(tmp_path))[0] == 2
    assert "there is no folder" in call("compare", str(tmp_path / "no"))[2]


def test_the_baseline_may_be_written_as_run_was_told(tmp_path, call, make_record):
    for label in ("fcos[a=1,b=2]", "atss"):
        record = make_record(label)
        write_record(tmp_path / record.run_id, record)
    assert call("compare", str(tmp_path), "--baseline", "fcos[b=2,a=1]")[0] == 0
    assert call("compare", str(tmp_path), "--baseline", "fcos[b=2,a=3]")[0] == 2


def test_the_head_of_a_table_says_what_was_changed_of_the_recipe(tmp_path, call, make_record):
    record = make_record()
    changed = {
        "train.lr": ResolvedValue(value=0.5, origin="--set"),
        "train.log_every": ResolvedValue(value=1, origin="--set"),
    }
    record = record.model_copy(update={"config": {**record.config, **changed}})
    write_record(tmp_path / record.run_id, record)
    for form in (["--format", "terminal"], ["--format", "markdown"], ["--format", "csv"], ["--json"]):
        _, out, _ = call("compare", str(tmp_path), *form)
        assert "tiny with train.lr=0.5" in out.replace("\\", "")
        assert "log_every" not in out


def test_only_some_strategies_and_one_data_set(call, folder):
    rows = json.loads(call("compare", folder, "--assigner", "fcos", "--dataset", "shapes", "--json")[1])["rows"]
    assert {(row["strategy"], row["dataset"]) for row in rows} == {("fcos", "shapes")}
    code, _, err = call("compare", folder, "--assigner", "fcos,atts")
    assert code == 2
    assert "no run of 'atts'; did you mean atss?" in err
    code, _, err = call("compare", folder, "--dataset", "shape")
    assert code == 2
    assert "no run on 'shape'; did you mean shapes?" in err
    code, _, err = call("compare", folder, "--dataset", "voc", "--recipe", "tiny")
    assert code == 2
    assert "no run has recipe 'tiny' and data set 'voc'" in err


def test_pairs_as_files_hold_the_pairs_alone(call, folder):
    lines = list(csv.DictReader(io.StringIO(call("compare", folder, "--pairs", "--format", "csv")[1])))
    assert {(line["strategy"], line["other"]) for line in lines} == {("atss", "fcos")}
    assert {line["verdict"] for line in lines} == {"no verdict"}  # two seeds
    assert json.loads(call("compare", folder, "--pairs", "--json")[1])["rows"][0]["other"] == "fcos"


@pytest.mark.parametrize(
    ("ending", "begins"),
    [(".md", "**"), (".tex", "\\begin{table}"), (".html", "<"), (".csv", "dataset,"), (".json", "{")],
)
def test_the_name_of_the_file_says_how_it_is_written(call, folder, tmp_path, ending, begins):
    file = tmp_path / f"table{ending}"
    assert call("compare", folder, "--recipe", "tiny", "--output", str(file))[0] == 0
    assert begins in file.read_text(encoding="utf-8").splitlines()[0]
    assert call("compare", folder, "--recipe", "tiny", "--output", str(file), "--format", "csv")[0] == 0
    assert file.read_text(encoding="utf-8").startswith("dataset,")


def test_single_runs_and_their_records_are_compared(call, folder, make_record, monkeypatch):
    atss, fcos = (make_record(name, 0, ap).run_id for name, ap in (("atss", 0.40), ("fcos", 0.38)))
    code, out, err = call("compare", f"{folder}/{atss}", f"{folder}/{fcos}/record.json", "--format", "json")
    assert (code, err) == (0, "")
    assert {row["strategy"]: row["n"] for row in json.loads(out)["rows"]} == {"atss": 1, "fcos": 1}


def test_a_damaged_record_is_left_out_and_named_and_the_exit_code_says_so(call, folder, make_record):
    damaged = Path(folder) / make_record("fcos", 1, 0.39).run_id / "record.json"
    damaged.write_text("{")
    for command in (("compare", folder, "--recipe", "tiny"), ("list", "runs", folder)):
        code, out, err = call(*command)
        assert code == 1
        assert "atss" in out
        assert "fcos" in out  # its other seed
        assert "error: 1 record could not be read, and left out:\n" in err
        assert f"{damaged} is damaged" in err
    assert "left out: " in call("compare", folder, "--recipe", "tiny", "--format", "markdown")[1]


def test_a_table_that_was_written_is_no_run(call, tmp_path):
    (tmp_path / "table.csv").write_text("dataset,strategy\n")
    code, _, err = call("compare", str(tmp_path / "table.csv"))
    assert code == 2
    assert "is no run's record but a table, of which no run can be read back; name a record.json, a run, or" in err
