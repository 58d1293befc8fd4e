import json
import sys

import pytest

from assignbench.run.results.record import write_record


@pytest.fixture
def folder(tmp_path, make_record):
    root = tmp_path / "runs"
    for record in (
        make_record("atss", 0, 0.40),
        make_record("fcos", 0, 0.38),
        make_record("fcos[a=1,b=2]", 0, 0.38),
        make_record("atss", 0, 0.45, protocol="published"),
        make_record("fcos", 0, 0.5, recipe="1x", dataset="voc"),
    ):
        write_record(root / record.run_id, record)
    for name in ("shapes-paa-tiny-s0-0123456789", "voc-paa-1x-s0-0123456789", "shapes-paa-mmdet-tiny-s0-0123456789"):
        (root / name).mkdir()
        (root / name / "losses.jsonl").write_text('{"iteration": 20, "total": 1.5}\n')
        (root / name / "config.json").write_text(json.dumps({"train.iterations": {"value": 100, "origin": "default"}}))
    return root


@pytest.fixture
def only_facts(stand_in):
    """The page is made of its facts alone: what it looks like is tested elsewhere."""
    given = []

    def page(facts, title=None, more=None):
        given.append((facts, title))
        return "the page"

    from assignbench.report.page import check_report, progress_of

    stand_in("assignbench.report.page", page=page, check_report=check_report, progress_of=progress_of)
    return given


def test_a_page_is_written(call, folder, tmp_path):
    file = tmp_path / "page.html"
    log = folder / "atss-shapes-tiny-0" / "losses.jsonl"
    log.write_text('{"iteration": 7, "total": 1.5}\n')
    code, out, err = call("report", str(folder), "--recipe", "tiny", "--output", str(file), "--title", "<Mine>")
    assert (code, err) == (0, "")
    size = file.stat().st_size
    assert out.startswith(f"wrote {file}: {size / 1e6:.1f} MB; 4 runs are finished; 2 are unfinished")
    assert "note: pictures have no part in 4 of 4 runs" in out
    text = file.read_text(encoding="utf-8")
    assert "<title>&lt;Mine&gt;</title>" in text
    assert '"iterations":[7]' in text
    assert "stopped after 20 of 100 iterations" in text


def test_choices(call, folder, tmp_path, only_facts):
    file = tmp_path / "page.html"
    arguments = ("report", str(folder), "--recipe", "tiny", "--output", str(file))
    assert call(*arguments, "--protocol", "controlled", "--baseline", "fcos[b=2,a=1]")[0] == 0
    assert file.read_text() == "the page"
    facts, title = only_facts[0]
    assert title is None
    assert [block.baseline for block in facts.blocks] == ["fcos[a=1,b=2]"]
    assert {one.key for one in facts.held} == {"shapes · controlled"}
    assert call(*arguments, "--protocol", "published")[0] == 0
    facts, _ = only_facts[1]
    assert facts.rows == ("atss (mmdet)",)
    assert {(one.row, one.state) for one in facts.held} == {
        ("atss (mmdet)", "finished"),
        ("paa (mmdet)", "stopped after 20 of 100 iterations"),
    }


def test_mixed_recipes_are_refused(call, folder, make_record):
    record = make_record("paa", recipe="1x")
    write_record(folder / record.run_id, record)
    code, out, err = call("report", str(folder))
    assert (code, out) == (2, "")
    assert "mix recipes" in err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--recipe", "tiny", "--baseline", "ats"], 2, "atss"),
        (["--recipe", "2x"], 2, "no run has recipe '2x'"),
        (["--output", "folder.html"], 4, "is a folder"),
    ],
)
def test_wrong_values(call, folder, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.html").mkdir()
    found, out, err = call("report", str(folder), *arguments)
    assert (found, out) == (code, "")
    assert message in err


def test_no_runs(call, tmp_path):
    assert call("report", str(tmp_path))[0] == 2
    assert "there is no folder" in call("report", str(tmp_path / "no"))[2]


def test_what_must_be_installed_is_said_first(call, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "altair", None)
    code, _, err = call("report", str(tmp_path / "no"))
    assert code == 4
    assert "pip install 'assignbench[report]'" in err


def test_a_page_of_somebody_else_s_stays_where_nobody_has_named_it(call, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "report.html"
    page.write_text("<html>mine")
    arguments = ("report", str(folder), "--recipe", "tiny")
    code, _, err = call(*arguments)
    assert (code, page.read_text()) == (2, "<html>mine")
    assert "report.html was not written by report, and would be overwritten" in err
    page.unlink()
    assert [call(*arguments)[0] for _ in range(2)] == [0, 0]  # its own
    page.write_text("<html>mine")
    assert call(*arguments, "--output", str(tmp_path / "report.html"))[0] == 0  # as asked


def test_a_table_or_a_page_is_not_written_over_what_it_is_made_of(call, folder):
    record = folder / "atss-shapes-tiny-0" / "record.json"
    before = record.read_bytes()
    page = record.with_name("page.html")
    page.symlink_to(record)
    for command, output in (("report", page), ("compare", record)):
        code, _, err = call(command, str(folder), "--recipe", "tiny", "--output", str(output))
        assert (code, record.read_bytes()) == (2, before)
        assert f"{output.name} is read by this command, and would be overwritten" in err
