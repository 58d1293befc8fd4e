"""Claims held against runs: verdicts by hand, one family, and the words that are made of them."""

import csv
import io

import numpy as np
import pytest

from assignbench.comparison.behrens_fisher import tail
from assignbench.comparison.families import holm
from assignbench.reproduce.legend import legend
from assignbench.reproduce.render import claims_csv, claims_table, markdown

CLEAR = {"fixed": {0: 0.40, 1: 0.41, 2: 0.42}, "category": {0: 0.45, 1: 0.46, 2: 0.471}}  # 5.0, 5.0, 5.1


def aps(*values):
    return dict(enumerate(values))


def verdicts(result):
    return [(tested.verdict, tested.why) for tested in result.claims]


def difference(tested):
    assert tested.judged is not None
    return tested.judged.difference


def test_a_clear_difference_supports_the_claim(build):
    result = build(CLEAR)
    assert verdicts(result) == [("supported", "stands after Holm's correction")] * 2
    claim, off = result.claims
    assert (claim.mean, claim.seeds) == (pytest.approx(5.0333, abs=1e-3), (0, 1, 2))
    assert claim.published == pytest.approx(0.2)
    assert off.mean == pytest.approx(5.0333 / 2, abs=1e-3)  # the class ring alone
    assert off.published is None


def test_the_other_direction_contradicts_it(build):
    result = build({"category": CLEAR["fixed"], "fixed": CLEAR["category"]})
    assert [verdict for verdict, _ in verdicts(result)] == ["contradicted", "contradicted"]


def test_noise_decides_nothing(build):
    result = build({"fixed": aps(0.40, 0.41, 0.42), "category": aps(0.41, 0.40, 0.44)})
    assert verdicts(result)[0] == ("undecided", "the interval has zero in it")


@pytest.mark.parametrize(
    ("seeds", "why"), [(1, "one seed says nothing about noise"), (2, "a verdict takes three seeds")]
)
def test_fewer_than_three_seeds_decide_nothing(build, seeds, why):
    values = {"fixed": aps(*[0.1, 0.11][:seeds]), "category": aps(*[0.9, 0.911][:seeds])}
    result = build(values)
    assert verdicts(result) == [("undecided", why)] * 2
    assert result.claims[0].mean == pytest.approx(80 if seeds == 1 else 80.05)
    _, ours, n, p, p_holm, *_ = claims_table(result).to_numpy().tolist()[0]
    assert (n, p_holm) == (str(seeds), "–")
    assert (p == "–") == (seeds == 1)
    assert ours == ("+80.0" if seeds == 1 else "+80.1 [79.4, 80.7]")
    told = " ".join(legend(result.claims))
    assert ("Fewer than three seeds decide nothing." in told) == (seeds == 2)  # of one nothing is known
    assert "Supported" not in told


def test_seeds_that_all_say_the_same_decide_nothing(build):
    result = build({"fixed": aps(0.5, 0.25, 0.125), "category": aps(0.75, 0.5, 0.375)})
    assert verdicts(result)[0] == ("undecided", "every seed says the same: nothing is known of noise")


def test_a_claim_about_a_missing_row_is_not_tested(build):
    result = build({"fixed": aps(0.1)}, failures={"category": {0: "the disk is full"}})
    assert verdicts(result)[0] == ("not tested", "category: failed (seed 0): the disk is full")
    assert [row.failed for row in result.rows] == [False, True]
    assert [row.state for row in result.rows] == ["not run yet: seed 1, 2", "failed (seed 0): the disk is full"]
    assert legend(result.claims) == ()


def test_a_claim_is_not_tested_on_the_seeds_that_a_failure_left(build):
    values = {"fixed": CLEAR["fixed"], "category": {0: 0.45, 2: 0.471}}
    result = build(values, failures={"category": {1: "the loss is not finite"}})
    assert verdicts(result) == [("not tested", "category: failed (seed 1): the loss is not finite")] * 2
    assert [(tested.mean, tested.seeds, tested.judged) for tested in result.claims] == [(None, (), None)] * 2


def test_at_a_scale_where_nothing_is_learned_nothing_is_decided(build):
    result = build(CLEAR, scale="smoke")
    assert verdicts(result) == [("not tested", "at this scale nothing is learned")] * 2
    assert claims_table(result).to_numpy().tolist()[0][1:5] == ["+5.0", "3", "–", "–"]


def test_what_is_printed_does_not_contradict_the_verdict(build):
    values = {"fixed": aps(0.0, 0.0, 0.0), "category": aps(0.0001, 0.00011, 0.000105)}  # +0.0105 ± 0.0012
    result = build(values)
    assert verdicts(result)[0] == ("supported", "stands after Holm's correction")
    assert claims_table(result).to_numpy().tolist()[0][1:5] == ["+0.01 [0.01, 0.01]", "3", "< 0.001", "0.002"]


TWO = [
    {"says": "first", "better": "category", "worse": "fixed"},
    {"says": "second", "better": "shared", "worse": "fixed"},
]
THREE_ROWS = [{"label": label, "strategy": label} for label in ("fixed", "category", "shared")]


def test_the_claims_of_a_table_are_one_family(build):
    # p of Student's t with 2 degrees of freedom: 0.013 for 2, 2.1, 1.5; 0.039 for 1, 1.1, 1.6
    values = {"fixed": aps(0.4, 0.4, 0.4), "category": aps(0.42, 0.421, 0.415), "shared": aps(0.41, 0.411, 0.416)}
    result = build(values, rows=THREE_ROWS, claims=TWO)
    p = [difference(tested).p for tested in result.claims]
    assert [tested.judged.p_family for tested in result.claims] == pytest.approx(holm(p).tolist())
    alone = [build(values, rows=THREE_ROWS, claims=[claim]).claims[0] for claim in TWO]
    assert [one.judged.p_family for one in alone] == pytest.approx(p)
    late = {**values, "shared": aps(0.41, 0.411, 0.418)}  # 1, 1.1, 1.8: p = 0.039 alone
    (one,) = build(late, rows=THREE_ROWS, claims=TWO[1:]).claims
    assert one.verdict == "supported"
    weak = [{**TWO[1], "says": name} for name in ("second", "third")]
    result = build(late, rows=THREE_ROWS, claims=weak)
    assert verdicts(result) == [("undecided", "does not stand after Holm's correction")] * 2
    lines = list(csv.DictReader(io.StringIO(claims_csv(result))))
    assert [line["family_size"] for line in lines] == ["2", "2"]
    assert float(lines[0]["p_family"]) == pytest.approx(2 * float(lines[0]["p"]))
    assert "after Holm's correction for the 2 claims of this table" in markdown(result).replace("\\", "")


FOUR_ROWS = [{"label": label, "strategy": label} for label in ("fixed", "category", "shared", "none")]
FOUR = {
    "fixed": aps(0.40, 0.41, 0.42),
    "category": aps(0.45, 0.46, 0.471),
    "shared": aps(0.45, 0.44, 0.45),
    "none": aps(0.30, 0.32, 0.33),
}


def test_four_rows_share_their_spread_over_seeds(build):
    (first, _) = build(FOUR, rows=FOUR_ROWS, claims=TWO).claims
    assert (difference(first).shared, difference(first).freedom) == (True, 6)
    # a row of the same runs says nothing new, nor does one of which a run failed
    for changed in ({"same": {"none": "fixed"}}, {"failures": {"none": {2: "the disk is full"}}}):
        (first, _) = build(FOUR, rows=FOUR_ROWS, claims=TWO, **changed).claims
        assert (difference(first).shared, difference(first).freedom) == (False, 2)


def influences(seed):
    """Of twenty pictures, summing to zero."""
    u = np.random.default_rng(seed).normal(0, 0.2, (1, 20))
    return u - u.mean()


def pictures(columns=("AP", "off-centre")):
    return {
        label: {seed: {column: influences(7 * number + seed) for column in columns} for seed in range(3)}
        for number, label in enumerate(("fixed", "category"))
    }


def test_pictures_have_a_part_where_their_influences_are_known(build):
    claim, _ = build(CLEAR, pictures=pictures()).claims
    one = difference(claim)
    assert (one.about, one.images) == ("strategies", 20)
    assert one.main > 0
    assert one.p == pytest.approx(float(tail(one.mean, one.seed, one.main, 2)))
    told = " ".join(legend(build(CLEAR, pictures=pictures()).claims))
    assert "over seeds 0, 1, 2 and 20 pictures like these (Behrens–Fisher" in told
    assert "‡" not in told


def test_a_claim_without_them_is_about_these_pictures_and_says_so(build):
    assert "on exactly these pictures (Student; " in " ".join(legend(build(CLEAR).claims))
    result = build(CLEAR, pictures=pictures(columns=("AP",)))
    assert [difference(tested).about for tested in result.claims] == ["strategies", "set"]
    texts = [row[1] for row in claims_table(result).to_numpy().tolist()]
    assert [text.endswith("‡") for text in texts] == [False, True]
    assert "‡ this claim answers another question: seeds alone, on exactly these pictures." in legend(result.claims)[0]


def test_one_seed_with_pictures_is_about_these_networks(build):
    values = {label: {0: value[0]} for label, value in CLEAR.items()}
    some = {label: {0: each[0]} for label, each in pictures().items()}
    result = build(values, pictures=some)
    assert verdicts(result) == [("undecided", "one seed says nothing about noise")] * 2
    assert difference(result.claims[0]).about == "networks"
    assert "of the networks trained with seed 0, not of the strategies" in legend(result.claims)[0]


def test_the_file_of_claims_is_unrounded(build):
    result = build(CLEAR)
    claims = list(csv.DictReader(io.StringIO(claims_csv(result))))
    one = difference(result.claims[0])
    assert float(claims[0]["difference"]) == one.mean
    assert float(claims[0]["high"]) - float(claims[0]["low"]) == pytest.approx(2 * one.half)
    assert (claims[0]["about"], claims[0]["images"], claims[0]["freedom"]) == ("set", "", "2")
    assert (claims[0]["n"], claims[0]["verdict"]) == ("3", "supported")
    untold = list(csv.DictReader(io.StringIO(claims_csv(build(CLEAR, scale="smoke")))))
    assert list(untold[0]) == list(claims[0])
    assert (untold[0]["difference"], untold[0]["p"]) == (claims[0]["difference"], "")
