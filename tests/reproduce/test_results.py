import csv
import io
from types import SimpleNamespace

import pytest

from assignbench.errors import DataError
from assignbench.reproduce.priors import correlation, prior_notes
from assignbench.reproduce.published import Published
from assignbench.reproduce.render import as_csv, claims_csv, claims_table, header, markdown, table_of
from assignbench.reproduce.results import Filled, result_of
from assignbench.reproduce.schema import Experiment, load_scale
from assignbench.reproduce.sheet import Line, Sheet

CONTENT = {
    "title": "t",
    "table": "3",
    "paper": "p",
    "off_centre": 0.05,
    "rows": [{"label": "fixed", "strategy": "plain"}, {"label": "category", "strategy": "atss"}],
    "claims": [
        {"says": "category beats fixed", "better": "category", "worse": "fixed"},
        {"says": "and off centre", "better": "category", "worse": "fixed", "on": "off-centre"},
    ],
}
PUBLISHED = {"fixed": 40.3, "category": 40.5}


def build(make_record, values, *, scale="small", split="val2017", failures=None, settings=(), **changes):
    """A result: label → seed → AP; the class ring, off centre, has half of it."""
    experiment = Experiment.model_validate({**CONTENT, **changes})
    filled = []
    for row in experiment.rows:
        seeds = values.get(row.label, {})
        records = {
            seed: make_record(row.label, seed, ap).model_copy(update={"per_class": {"disc": ap, "ring": ap / 2}})
            for seed, ap in seeds.items()
        }
        failed = (failures or {}).get(row.label, {})
        runs = tuple(
            SimpleNamespace(
                seed=seed,
                run_id=f"{row.label}{seed}",
                candidate=SimpleNamespace(strategy=SimpleNamespace(label=row.strategy)),
                splits=SimpleNamespace(train=SimpleNamespace(name="shapes")),
                recipe=SimpleNamespace(name="tiny"),
            )
            for seed in (0, 1, 2)
        )
        value = Published("COCO", split, {"AP": PUBLISHED[row.label]}) if row.label in PUBLISHED else None
        line = Line(None, row, "shapes", value, runs if row.strategy else ())  # type: ignore[arg-type]
        numbers = [
            {seed: record.metrics for seed, record in records.items()},
            {seed: record.per_class for seed, record in records.items()},
        ]
        filled.append(Filled(line, records, failed, *numbers))
    sheet = Sheet(
        "table3", experiment, scale, load_scale(scale), tuple(one.line for one in filled), (0, 1, 2), settings, ()
    )
    return result_of(sheet, filled)


def aps(*values):
    return dict(enumerate(values))


def verdicts(result):
    return [(tested.verdict, tested.why) for tested in result.claims]


def test_a_clear_difference_supports_the_claim(make_record):
    result = build(make_record, {"fixed": aps(0.40, 0.41, 0.42), "category": aps(0.45, 0.46, 0.471)})
    assert [verdict for verdict, _ in verdicts(result)] == ["supported", "supported"]
    claim, off = result.claims
    assert claim.difference is not None
    assert claim.difference.mean == pytest.approx(5.0333, abs=1e-3)
    assert claim.published == pytest.approx(0.2)
    assert off.difference is not None
    assert off.difference.mean == pytest.approx(5.0333 / 2, abs=1e-3)  # the class ring alone
    assert off.published is None


def test_the_other_direction_contradicts_it(make_record):
    result = build(make_record, {"category": aps(0.40, 0.41, 0.42), "fixed": aps(0.45, 0.46, 0.471)})
    assert [verdict for verdict, _ in verdicts(result)] == ["contradicted", "contradicted"]


def test_noise_decides_nothing(make_record):
    result = build(make_record, {"fixed": aps(0.40, 0.41, 0.42), "category": aps(0.41, 0.40, 0.44)})
    assert verdicts(result)[0] == ("undecided", "the interval has zero in it")


def test_one_seed_decides_nothing(make_record):
    result = build(make_record, {"fixed": aps(0.10), "category": aps(0.90)})
    assert verdicts(result)[0] == ("undecided", "one seed says nothing about noise")


def test_a_claim_about_a_missing_row_is_not_tested(make_record):
    result = build(make_record, {"fixed": aps(0.1)}, failures={"category": {0: "the disk is full"}})
    assert verdicts(result)[0] == ("not tested", "category: failed (seed 0): the disk is full")
    assert [row.failed for row in result.rows] == [False, True]
    assert [row.state for row in result.rows] == ["not run yet: seed 1, 2", "failed (seed 0): the disk is full"]


def test_a_claim_is_not_tested_on_the_seeds_that_a_failure_left(make_record):
    values = {"fixed": aps(0.40, 0.41, 0.42), "category": {0: 0.45, 2: 0.471}}
    result = build(make_record, values, failures={"category": {1: "the loss is not finite"}})
    assert verdicts(result) == [("not tested", "category: failed (seed 1): the loss is not finite")] * 2
    assert [tested.difference for tested in result.claims] == [None, None]


def test_at_a_scale_where_nothing_is_learned_nothing_is_decided(make_record):
    values = {"fixed": aps(0.40, 0.41, 0.42), "category": aps(0.45, 0.46, 0.471)}
    result = build(make_record, values, scale="smoke")
    assert verdicts(result) == [("not tested", "at this scale nothing is learned")] * 2
    assert claims_table(result)[1][0][1:4] == ["+5.0 ± 0.1", "3", "–"]


def test_what_is_printed_does_not_contradict_the_verdict(make_record):
    values = {"fixed": aps(0.0, 0.0, 0.0), "category": aps(0.0001, 0.00011, 0.000105)}  # +0.0105 ± 0.0012
    result = build(make_record, values)
    assert verdicts(result)[0] == ("supported", "the interval leaves out zero")
    assert claims_table(result)[1][0][1:4] == ["+0.01 ± 0.00", "3", "> 99.9%"]


def test_rows_say_why_they_are_empty(make_record):
    rows = [*CONTENT["rows"], {"label": "FSAF", "not_built": "two branches"}]
    result = build(make_record, {"fixed": aps(0.1, 0.2, 0.3), "category": aps(0.1, 0.2, 0.3)}, rows=rows)
    assert [row.state for row in result.rows] == ["", "", "not built yet: two branches"]
    assert not any(row.failed for row in result.rows)
    head, texts = table_of(result)
    assert head[-1] == "state"
    assert texts[2][2:] == ["0", "–", "–", "–", "not built yet: two branches"]


def test_a_reading_is_said_once_for_all_its_rows(make_record):
    rows = [{**row, "reading": "the same"} for row in CONTENT["rows"]] + [
        {"label": "FSAF", "not_built": "two branches", "reading": "another"}
    ]
    result = build(make_record, {"fixed": aps(0.1), "category": aps(0.1)}, rows=rows)
    assert [note for note in result.notes if "same" in note or "another" in note] == [
        "fixed; category: the same",
        "FSAF: another",
    ]


def test_the_header_says_what_the_table_sets(make_record):
    records = {"fixed": aps(0.1), "category": aps(0.1)}
    assert "Set for the whole table: a=1; b=2." in header(build(make_record, records, settings=("a=1", "b=2")).sheet)
    assert not any("Set for" in line for line in header(build(make_record, records).sheet))


def test_missing_data_is_a_failure(make_record):
    result = build(make_record, {"fixed": aps(0.1), "category": aps(0.1)})
    lines = [Line(None, line.row, "coco", None, (), problem=DataError("no coco")) for line in result.sheet.lines]
    again = result_of(result.sheet, [Filled(line, {}, {}, {}, {}) for line in lines])
    assert (again.rows[0].state, again.rows[0].failed) == ("failed: no coco", True)


@pytest.mark.parametrize(
    ("scale", "split", "difference"), [("full", "val2017", 1.7), ("full", "test-dev", None), ("small", "val2017", None)]
)
def test_a_published_value_is_subtracted_in_its_own_setting_only(make_record, scale, split, difference):
    result = build(make_record, {"fixed": aps(0.42), "category": aps(0.40)}, scale=scale, split=split)
    found = result.rows[0].entries[0].cell.difference
    assert found == (difference if difference is None else pytest.approx(difference))
    assert any("NOT the paper's setting" in line for line in header(result.sheet)) == (scale == "small")


def test_ours_stands_beside_the_published_value(make_record):
    result = build(make_record, {"fixed": aps(0.40, 0.42, 0.44), "category": aps(0.41)})
    head, rows = table_of(result)
    assert head == ["row", "strategy", "n", "AP (published)", "AP of ring", "off-centre", "state"]
    assert rows[0][:5] == ["fixed", "plain", "3", "42.0 ± 2.0 (40.3)", "21.0 ± 1.0"]
    page = markdown(result)
    assert "42.0 ± 2.0 (40.3)" in page
    assert "off-centre: mean AP of ring" in page
    assert "COCO val2017" in page


def test_csv_is_unrounded(make_record):
    result = build(make_record, {"fixed": aps(0.40, 0.42, 0.44), "category": aps(0.41)})
    lines = list(csv.DictReader(io.StringIO(as_csv(result))))
    assert len(lines) == 2 * 3
    assert (lines[0]["row"], lines[0]["metric"], float(lines[0]["mean"]), lines[0]["n"]) == ("fixed", "AP", 42.0, "3")
    assert (lines[0]["published"], lines[0]["difference"]) == ("40.3", "")
    claims = list(csv.DictReader(io.StringIO(claims_csv(result))))
    assert [claim["verdict"] for claim in claims] == ["undecided"] * 2
    assert float(claims[0]["difference"]) == pytest.approx(1.0)


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
