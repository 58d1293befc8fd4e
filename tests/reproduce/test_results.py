import csv
import io

import pytest

from assignbench.errors import DataError
from assignbench.reproduce.priors import correlation, prior_notes
from assignbench.reproduce.render import as_csv, header, markdown, table_of
from assignbench.reproduce.results import Filled, result_of
from assignbench.reproduce.sheet import Line

ROWS = [{"label": "fixed", "strategy": "plain"}, {"label": "category", "strategy": "atss"}]


def aps(*values):
    return dict(enumerate(values))


def test_rows_say_why_they_are_empty(build):
    rows = [*ROWS, {"label": "FSAF", "not_built": "two branches"}]
    result = build({"fixed": aps(0.1, 0.2, 0.3), "category": aps(0.1, 0.2, 0.3)}, rows=rows)
    assert [row.state for row in result.rows] == ["", "", "not built yet: two branches"]
    assert not any(row.failed for row in result.rows)
    frame = table_of(result)
    head, texts = list(frame.columns), frame.to_numpy().tolist()
    assert head[-1] == "state"
    assert texts[2][2:] == ["0", "–", "–", "–", "not built yet: two branches"]


def test_a_reading_is_said_once_for_all_its_rows(build):
    rows = [{**row, "reading": "the same"} for row in ROWS] + [
        {"label": "FSAF", "not_built": "two branches", "reading": "another"}
    ]
    result = build({"fixed": aps(0.1), "category": aps(0.1)}, rows=rows)
    assert [note for note in result.notes if "same" in note or "another" in note] == [
        "fixed; category: the same",
        "FSAF: another",
    ]


def test_the_header_says_what_the_table_sets(build):
    records = {"fixed": aps(0.1), "category": aps(0.1)}
    assert "Set for the whole table: a=1; b=2." in header(build(records, settings=("a=1", "b=2")).sheet)
    assert not any("Set for" in line for line in header(build(records).sheet))


def test_missing_data_is_a_failure(build):
    result = build({"fixed": aps(0.1), "category": aps(0.1)})
    lines = [Line(None, line.row, "coco", None, (), problem=DataError("no coco")) for line in result.sheet.lines]
    again = result_of(result.sheet, [Filled(line, {}, {}, {}, {}) for line in lines])
    assert (again.rows[0].state, again.rows[0].failed) == ("failed: no coco", True)


@pytest.mark.parametrize(
    ("scale", "split", "difference"), [("full", "val2017", 1.7), ("full", "test-dev", None), ("small", "val2017", None)]
)
def test_a_published_value_is_subtracted_in_its_own_setting_only(build, scale, split, difference):
    result = build({"fixed": aps(0.42), "category": aps(0.40)}, scale=scale, split=split)
    found = result.rows[0].entries[0].cell.difference
    assert found == (difference if difference is None else pytest.approx(difference))
    assert any("NOT the paper's setting" in line for line in header(result.sheet)) == (scale == "small")


def test_ours_stands_beside_the_published_value(build):
    result = build({"fixed": aps(0.40, 0.42, 0.44), "category": aps(0.41)})
    frame = table_of(result)
    head, rows = list(frame.columns), frame.to_numpy().tolist()
    assert head == ["row", "strategy", "n", "AP (published)", "AP of ring", "off-centre", "state"]
    assert rows[0][:5] == ["fixed", "plain", "3", "42.0 ± 2.0 (40.3)", "21.0 ± 1.0"]
    page = markdown(result)
    assert "42.0 ± 2.0 (40.3)" in page
    assert "off-centre: mean AP of ring" in page
    assert "COCO val2017" in page


def test_csv_is_unrounded(build):
    result = build({"fixed": aps(0.40, 0.42, 0.44), "category": aps(0.41)})
    lines = list(csv.DictReader(io.StringIO(as_csv(result))))
    assert len(lines) == 2 * 3
    assert (lines[0]["row"], lines[0]["metric"], float(lines[0]["mean"]), lines[0]["n"]) == ("fixed", "AP", 42.0, "3")
    assert (lines[0]["published"], lines[0]["difference"]) == ("40.3", "")


def test_correlation_by_hand():
    # means 2 and 3; deviations −1, 0, 1 against −1, −1, 2: 3 / √(2 · 6)
    assert correlation([(1, 2), (2, 2), (3, 5)]) == pytest.approx(3 / 12**0.5)
    assert correlation([(1, 2), (1, 3)]) is None


def prior(x, y):
    return {"mu_x": x, "mu_y": y, "sigma_x": 1.0, "sigma_y": 1.0}


def test_learned_and_true_offsets(make_record):
    # μ is ten times the truth, but for seed 1, where it points the other way
    truth = {"disc": (0.0, 0.0), "ring": (0.0, 0.1)}
    records = [
        make_record(seed=seed).model_copy(
            update={"learned": {"disc": prior(0, 0), "ring": prior(0, sign)}, "true_offsets": truth}
        )
        for seed, sign in enumerate((1, -1))
    ]
    (note,) = prior_notes("category", records, 0.05)
    assert "over 2 classes: r = 0.00 ± 1.41 (x undefined (μ does not vary), y 0.00 ± 1.41)" in note
    assert "μ has its sign in 1 of 2 cases (2 seeds)" in note
    shared = records[0].model_copy(update={"learned": {"all": prior(0, 1)}})
    assert prior_notes("shared", [shared], 0.05) == []
    other = records[0].model_copy(update={"learned": {"disc": {"tau": 0.3}, "ring": {"tau": 0.4}}})
    assert prior_notes("other", [other], 0.05) == [], "what it learned is no centre prior"
