import csv
import io

import pytest

import assignbench
from assignbench.errors import RunError, UsageError
from assignbench.run.results.record import write_record


@pytest.fixture
def folder(tmp_path, make_record):
    for seed in (1, 0, 2):
        for name, ap in (("fcos", 0.38), ("atss", 0.41), ("autoassign[tau=0.5]", 0.40)):
            record = make_record(name, seed, ap + seed / 100)
            write_record(tmp_path / record.run_id, record)
    return tmp_path


def test_load_is_a_row_a_run_in_percent_points(folder):
    runs = assignbench.load(folder)
    assert runs.shape[0] == 9
    assert runs["strategy"].tolist() == ["atss"] * 3 + ["autoassign[tau=0.5]"] * 3 + ["fcos"] * 3
    assert runs["seed"].tolist() == [0, 1, 2] * 3
    assert runs["AP"].tolist() == pytest.approx([41, 42, 43, 40, 41, 42, 38, 39, 40])
    assert runs["APl"].isna().all()  # no ground truth
    assert (folder / runs["run_id"][0] / "record.json").is_file()


def test_compare_says_what_the_command_writes(folder, call):
    table = assignbench.compare(folder, baseline="fcos", metrics=["AP", "AP50"])
    _, text, _ = call("compare", str(folder), "--baseline", "fcos", "--metrics", "AP,AP50", "--format", "csv")
    lines = list(csv.DictReader(io.StringIO(text)))
    frame = table.frame
    assert list(lines[0]) == list(frame.columns)
    assert [line["strategy"] for line in lines] == frame["strategy"].tolist()
    assert [float(line["mean"]) for line in lines] == frame["mean"].tolist()
    assert frame["low"].isna().tolist() == [not line["low"] for line in lines]
    assert str(frame["mean"].dtype) == "Float64"
    for form, own in (("markdown", table.to_markdown()), ("latex", table.to_latex()), ("html", table._repr_html_())):
        command = ("compare", str(folder), "--baseline", "fcos", "--metrics", "AP,AP50", "--format", form)
        assert call(*command)[1] == own
    assert any("95 % interval" in note for note in table.notes)


def test_pairs_are_every_two_rows_once(folder):
    pairs = assignbench.compare(folder, metrics=["AP"]).pairs
    assert pairs[["strategy", "other"]].to_numpy().tolist() == [
        ["atss", "autoassign[tau=0.5]"],
        ["atss", "fcos"],
        ["autoassign[tau=0.5]", "fcos"],
    ]
    assert pairs["difference"].tolist() == pytest.approx([1, 3, 2])
    assert pairs["family_size"].isna().tolist() == pairs["p_family"].isna().tolist()


def test_rows_of_load_are_compared_alone(folder):
    runs = assignbench.load(folder)
    table = assignbench.compare(runs[(runs["seed"] < 2) & (runs["strategy"] != "fcos")])
    assert table.frame["strategy"].unique().tolist() == ["atss", "autoassign[tau=0.5]"]
    assert set(table.frame["n"]) == {2}


def test_options_are_read_in_any_form(folder):
    table = assignbench.compare(folder, baseline="autoassign[tau=0.50]", metrics=["AP"])
    assert table.frame["difference"].dropna().tolist() == pytest.approx([1, -2])


def test_misuse_has_a_reason(folder):
    runs = assignbench.load(folder)
    with pytest.raises(UsageError, match="no column 'folder'"):
        assignbench.compare(runs.drop(columns="folder"))
    with pytest.raises(UsageError, match="the frame has no rows"):
        assignbench.compare(runs[:0])
    with pytest.raises(UsageError, match="there is no folder"):
        assignbench.load(folder / "nothing")
    with pytest.raises(UsageError, match=r"no run of the baseline 'atts'; did you mean atss\?"):
        assignbench.compare(folder, baseline="atts")
    moved = runs.assign(folder="elsewhere")
    with pytest.raises((RunError, UsageError), match="elsewhere"):
        assignbench.compare(moved)


def test_labels_name_rows_wherever_they_stand(folder, call):
    labels = {"autoassign[tau=0.50]": "τ = ½", "fcos": "FCOS"}
    table = assignbench.compare(folder, baseline="fcos", labels=labels, metrics=["AP"])
    assert table.frame["strategy"].tolist() == ["FCOS", "atss", "τ = ½"]
    assert table.frame["difference"].isna().tolist() == [True, False, False]
    assert "against FCOS" in " ".join(table.notes)
    given = ("--label", "fcos=FCOS", "--label", "autoassign[tau=0.5]=τ = ½")
    assert "τ = ½ − FCOS" in call("compare", str(folder), "--baseline", "fcos", *given)[1]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["atts=A"], "no row is called 'atts'; did you mean atss?"),
        (["atss=fcos"], "2 rows would be called 'fcos': atss, fcos"),
        (["atss"], "has to be STRATEGY=TEXT"),
        (["atss= "], "has to be STRATEGY=TEXT"),
        (["atss=A", "atss=B"], "two names, 'A' and 'B'"),
    ],
)
def test_a_label_that_cannot_be_has_a_reason(folder, call, given, told):
    code, _, err = call("compare", str(folder), *(word for text in given for word in ("--label", text)))
    assert code == 2
    assert told in err


def test_a_run_s_folder_may_have_any_name(folder):
    runs = assignbench.load(folder)
    (folder / runs["run_id"][0]).rename(folder / "first try")
    (folder / runs["run_id"][1]).rename(folder / "between")
    (folder / runs["run_id"][8]).rename(folder / runs["run_id"][1])  # two folders that were swapped
    again = assignbench.load(folder)
    assert again.drop(columns="folder").equals(runs.drop(columns="folder"))
    assert assignbench.compare(again[again["strategy"] == "fcos"]).frame["strategy"].unique().tolist() == ["fcos"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"metrics": []}, "must be a list of names"),
        ({"metrics": "AP"}, "must be a list of names"),
        ({"metrics": ["AP", "AP"]}, "named twice"),
        ({"metrics": ["ap"]}, "did you mean AP"),
        ({"about": "nonsense"}, "about='nonsense' must be one of strategies, set, networks"),
        ({"spread": "nonsense"}, "spread='nonsense' must be one of auto, own, shared"),
    ],
)
def test_a_question_that_cannot_be_asked_has_a_reason(folder, given, told):
    with pytest.raises(UsageError, match=told):
        assignbench.compare(folder, **given)


def test_pairs_of_one_run_are_an_empty_frame_with_all_columns(tmp_path, make_record):
    record = make_record()
    write_record(tmp_path / record.run_id, record)
    pairs = assignbench.compare(tmp_path).pairs
    assert pairs.empty
    assert {"strategy", "other", "difference", "p_family"} <= set(pairs.columns)


def test_one_training_under_two_seeds_is_refused(tmp_path, make_record):
    for seed in (0, 1):
        record = make_record("atss", seed).model_copy(update={"weights_sha256": "e" * 64})
        write_record(tmp_path / record.run_id, record)
    with pytest.raises(UsageError, match="same weights with several seeds"):
        assignbench.compare(tmp_path)
