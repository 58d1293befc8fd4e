"""Several data sets together: by hand, and how often too much is said by simulation."""

import numpy as np
import pytest
from scipy import stats

from assignbench.comparison.across import across, across_lines, counted, one_sided
from assignbench.comparison.table import compare

FCOS = (40.0, 40.2, 40.1)


@pytest.fixture
def table(make_record):
    """Three seeds of each strategy on each data set: data set → strategy → AP."""

    def table(values, baseline="fcos", protocol="controlled"):
        records = [
            make_record(label, seed, value / 100, dataset=dataset, protocol=protocol)
            for dataset, rows in values.items()
            for label, each in rows.items()
            for seed, value in enumerate(each)
        ]
        return compare(records, baseline=baseline, metrics=("AP",))

    return table


def test_better_on_at_least_so_many_by_hand(table):
    far, near, behind = (45.0, 45.1, 45.3), (40.3, 40.0, 40.4), (35.0, 35.1, 35.4)
    (found,) = across(
        table(
            {"a": {"fcos": FCOS, "atss": far}, "b": {"fcos": FCOS, "atss": near}, "c": {"fcos": FCOS, "atss": behind}}
        )
    )
    base, atss = found.standings
    assert (found.datasets, found.baseline, found.ranked) == (("a", "b", "c"), "fcos", ("fcos", "atss"))
    assert (atss.tested, atss.better, atss.worse, atss.everywhere) == (3, 1, 1, None)
    assert (base.tested, base.better, base.worse) == (0, 0, 0)
    # ranks 1, 1, 2 of atss; bounds [1, 1], [1, 2], [2, 2]
    assert (atss.rank, atss.bounds) == (pytest.approx(4 / 3), (pytest.approx(4 / 3), pytest.approx(5 / 3)))
    assert (base.rank, base.bounds) == (pytest.approx(5 / 3), (pytest.approx(4 / 3), pytest.approx(5 / 3)))


def test_better_everywhere_needs_no_correction_and_at_least_one_does():
    assert counted([0.02, 0.02, 0.02], 3) == (0, 0, "better")  # 3 × 0.02 is above 0.025
    assert counted([0.98, 0.98, 0.99], 3) == (0, 0, "worse")
    assert counted([0.02, 0.02], 3) == (0, 0, None)  # the third has no verdict
    assert counted([0.001, 0.5, 0.9999], 3) == (1, 1, None)
    assert counted([], 2) == (0, 0, None)


def test_a_one_sided_test_is_half_of_the_two_sided_one(table):
    block = table({"a": {"fcos": FCOS, "atss": (41.0, 41.5, 40.8), "tal": (39.0, 39.8, 39.2)}}).blocks[0]
    above, below = (block.verdicts[0].against(row).difference for row in ("atss", "tal"))
    assert one_sided(above) == pytest.approx(stats.ttest_rel((41.0, 41.5, 40.8), FCOS, alternative="greater").pvalue)
    assert one_sided(below) == pytest.approx(stats.ttest_rel((39.0, 39.8, 39.2), FCOS, alternative="greater").pvalue)


def test_one_data_set_no_baseline_or_no_verdict_say_nothing(table, make_record):
    values = {"a": {"fcos": FCOS, "atss": FCOS[::-1]}, "b": {"fcos": FCOS, "atss": FCOS[::-1]}}
    assert across(table({"a": values["a"]})) == ()
    assert across(table(values, baseline=None)) == ()
    single = {name: {row: each[:1] for row, each in rows.items()} for name, rows in values.items()}
    assert across(table(single)) == ()


def test_rows_that_a_data_set_lacks_have_no_rank(table):
    values = {"a": {"fcos": FCOS, "atss": (45.0, 45.1, 45.3), "tal": (44.0, 44.1, 44.3)}, "b": {"fcos": FCOS}}
    values["b"]["atss"] = (45.2, 45.1, 45.3)
    (found,) = across(table(values))
    standings = {one.row: one for one in found.standings}
    assert standings["tal"].rank is None
    assert standings["tal"].tested == 1
    assert standings["atss"].rank == 1.0
    assert found.ranked == ("fcos", "atss")


def test_what_is_said(table):
    far, near = (45.0, 45.1, 45.3), (40.3, 40.0, 40.4)
    rows = {"fcos": FCOS, "atss": far, "tal": near}
    lines = across_lines(table({"a": rows, "b": rows, "c": {**rows, "tal": FCOS[::-1]}}))
    assert lines[0] == "Over 3 data sets (a, b, c), AP against fcos:"
    assert "atss is better on all 3 data sets." in lines
    assert "Not shown to be better or worse on any of them: tal." in lines
    assert any(
        line.startswith("Mean rank among 3 rows, with 95 % bounds that all hold at once: atss 1.0") for line in lines
    )
    assert "no mean of them is formed" in lines[-1]
    assert across_lines(table({"a": rows})) == ()


@pytest.mark.parametrize("better", [0, 1, 2, 3])
@pytest.mark.parametrize("worse", [0, 1])
def test_too_much_is_said_in_at_most_five_percent(better, worse):
    draws = 4000
    mean = np.array([5.0] * better + [-5.0] * worse + [0.0] * (4 - better - worse))
    p = stats.norm.sf(np.random.default_rng(better).normal(mean, 1, (draws, 4)))
    wrong = uncorrected = 0
    for each in p:
        more, less, everywhere = counted(each, 4)
        wrong += more > better or less > worse or everywhere is not None
        uncorrected += (each < 0.025).sum() > better or (each > 0.975).sum() > worse
    assert wrong / draws <= 0.055
    if better + worse <= 1:
        assert uncorrected / draws > 0.1  # what Holm's rule is for


def test_bounds_of_the_mean_rank_hold_at_once(table):
    random, held = np.random.default_rng(0), 0
    for _ in range(40):
        values = {
            name: {label: random.normal(40 + k, 0.8, 3) for k, label in enumerate(("fcos", "atss", "tal"))}
            for name in "ab"
        }
        (found,) = across(table(values))
        true = {"tal": 1.0, "atss": 2.0, "fcos": 3.0}
        held += all(one.bounds[0] <= true[one.row] <= one.bounds[1] for one in found.standings)
    assert held >= 38
