import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assignbench.comparison.table import compare
from assignbench.errors import UsageError


def row_of(table, strategy, dataset="shapes"):
    block = next(block for block in table.blocks if block.dataset == dataset)
    return next(row for row in block.rows if row.strategy == strategy)


def ap_of(table, strategy, dataset="shapes"):
    return row_of(table, strategy, dataset).cells[table.metrics.index("AP")]


def test_mean_spread_and_difference_by_hand(make_record):
    # fcos 40, 42, 44: mean 42, squared distances 4 + 0 + 4, over n − 1 = 2, root 2.
    # atss 41, 44, 44: mean 43, squares 4 + 1 + 1 = 6, over 2, root √3; differences 1, 2, 0: mean 1.
    records = [
        *(make_record("fcos", seed, ap) for seed, ap in enumerate((0.40, 0.42, 0.44))),
        *(make_record("atss", seed, ap) for seed, ap in enumerate((0.41, 0.44, 0.44))),
    ]
    table = compare(records, baseline="fcos")
    base, other = ap_of(table, "fcos"), ap_of(table, "atss")
    assert (base.mean, base.std) == (pytest.approx(42), pytest.approx(2))
    assert (other.mean, other.std) == (pytest.approx(43), pytest.approx(3**0.5))
    assert (base.difference, other.difference) == (None, pytest.approx(1))
    assert row_of(table, "atss").seeds == (0, 1, 2)
    assert table.notes == ()


def test_a_single_seed_has_no_spread(make_record):
    cell = ap_of(compare([make_record(ap=0.405)]), "atss")
    assert (cell.mean, cell.std, cell.difference) == (40.5, None, None)


def test_what_nothing_measured_stays_empty(make_record):
    table = compare([make_record("atss", seed) for seed in range(2)])
    large = row_of(table, "atss").cells[table.metrics.index("APl")]
    assert (large.mean, large.std, large.difference) == (None, None, None)


def test_the_baseline_comes_first_then_the_alphabet(make_record):
    records = [make_record(label) for label in ("fcos", "plain", "atss")]
    assert [row.strategy for row in compare(records, baseline="plain").blocks[0].rows] == [
        "plain",
        "atss",
        "fcos",
    ]
    assert [row.strategy for row in compare(records).blocks[0].rows] == ["atss", "fcos", "plain"]


def test_differences_are_paired_over_the_seeds_that_both_have(make_record):
    # seed 1 and 2 are shared: differences 1 and 3. The plain difference of the means would be 43.5 − 46 < 0.
    records = [
        *(make_record("fcos", seed, ap) for seed, ap in ((0, 0.56), (1, 0.41), (2, 0.41))),
        *(make_record("atss", seed, ap) for seed, ap in ((1, 0.42), (2, 0.44), (3, 0.445))),
    ]
    table = compare(records, baseline="fcos")
    assert ap_of(table, "atss").difference == pytest.approx(2)
    assert table.notes == (
        "shapes: the strategies were run with different seeds (fcos 0, 1, 2; atss 1, 2, 3)",
        "shapes: the difference of atss to fcos is paired over seeds 1, 2 only",
    )


def test_without_a_shared_seed_the_means_are_subtracted_and_that_is_said(make_record):
    records = [make_record("fcos", 0, 0.40), make_record("atss", 1, 0.43)]
    table = compare(records, baseline="fcos")
    assert ap_of(table, "atss").difference == pytest.approx(3)
    assert "not paired: no seed in common" in table.notes[1]


def test_a_missing_cell_is_empty_and_said(make_record):
    records = [make_record("fcos"), make_record("atss"), make_record("atss", dataset="voc")]
    table = compare(records, baseline="fcos")
    missing = row_of(table, "fcos", "voc")
    assert missing.seeds == ()
    assert all(cell.mean is cell.std is cell.difference is None for cell in missing.cells)
    assert ap_of(table, "atss", "voc").difference is None
    assert table.notes == ("voc: not run (–): fcos",)


def test_data_sets_may_have_recipes_of_their_own(make_record):
    records = [make_record(recipe="tiny"), make_record(dataset="coco", recipe="1x")]
    assert [(block.dataset, block.recipe) for block in compare(records).blocks] == [
        ("coco", "1x"),
        ("shapes", "tiny"),
    ]


def test_other_metrics_can_be_asked_for(make_record):
    table = compare([make_record(ap=0.4)], metrics=("AR100", "AP"))
    assert table.metrics == ("AR100", "AP")
    with pytest.raises(UsageError, match=r"unknown metric 'mAP'; did you mean AP\?\nthe runs have: AP, AP50"):
        compare([make_record()], metrics=("mAP",))


def test_no_records_say_what_to_run():
    with pytest.raises(UsageError, match="no finished run to compare; start one with: assignbench run"):
        compare([])


def test_an_unknown_baseline_is_met_with_a_suggestion(make_record):
    with pytest.raises(UsageError, match=r"no run of the baseline 'ats'.* did you mean atss\?\nthere are: atss, fcos"):
        compare([make_record("atss"), make_record("fcos")], baseline="ats")


def published(make_record, label="atss", seed=0, ap=0.4, preset="mmdet"):
    return make_record(label, seed, ap, protocol="published", preset=preset)


def test_a_baseline_is_a_row_or_a_label_under_every_protocol(make_record):
    records = [
        *(make_record(label, ap=ap) for label, ap in (("fcos", 0.40), ("atss", 0.41))),
        *(published(make_record, label, ap=ap) for label, ap in (("fcos", 0.50), ("atss", 0.53))),
    ]
    by_label = compare(records, baseline="fcos")
    assert [block.rows[0].strategy for block in by_label.blocks] == ["fcos", "fcos (mmdet)"]
    differences = [block.rows[1].cells[0].difference for block in by_label.blocks]
    assert differences == [pytest.approx(1), pytest.approx(3)]
    assert by_label.notes == ()

    by_row = compare(records, baseline="fcos (mmdet)")
    assert [block.rows[1].cells[0].difference for block in by_row.blocks] == [None, pytest.approx(3)]
    assert by_row.notes == ("shapes: no run of the baseline fcos (mmdet) under the controlled protocol",)


def test_a_label_with_several_presets_does_not_name_a_baseline(make_record):
    records = [published(make_record), published(make_record, preset="official"), published(make_record, "fcos")]
    with pytest.raises(UsageError, match=r"'atss' has several rows: atss \(mmdet\), atss \(official\); name one"):
        compare(records, baseline="atss")
    rows = compare(records, baseline="atss (official)").blocks[0].rows
    assert [row.strategy for row in rows] == ["atss (official)", "atss (mmdet)", "fcos (mmdet)"]


def test_an_unknown_baseline_lists_rows_and_labels(make_record):
    with pytest.raises(UsageError, match=r"there are: atss, atss \(mmdet\), fcos$"):
        compare([published(make_record), make_record("fcos")], baseline="atss (official)")


def test_a_strategy_of_one_protocol_is_not_missing_under_the_other(make_record):
    table = compare([make_record("plain"), make_record("atss"), published(make_record)])
    assert [[row.strategy for row in block.rows] for block in table.blocks] == [["atss", "plain"], ["atss (mmdet)"]]
    assert table.notes == ()


@settings(max_examples=25, derandomize=True, deadline=None)
@given(data=st.data())
def test_the_order_of_the_records_does_not_matter(make_record, data):
    records = [
        make_record(label, seed, data.draw(st.floats(0, 1)), dataset=dataset)
        for label in ("fcos", "atss", "plain")
        for dataset in ("shapes", "voc")
        for seed in range(data.draw(st.integers(0, 3)))
    ] or [make_record("fcos")]
    shuffled = data.draw(st.permutations(records))
    baseline = records[0].assigner.label
    assert compare(shuffled, baseline=baseline) == compare(records, baseline=baseline)


@settings(max_examples=25, derandomize=True, deadline=None)
@given(values=st.lists(st.floats(0, 0.5), min_size=2, max_size=5), shift=st.floats(0, 0.5))
def test_a_shift_moves_means_and_differences_but_not_the_spread(make_record, values, shift):
    records = [
        *(make_record("fcos", seed, value) for seed, value in enumerate(values)),
        *(make_record("atss", seed, value + shift) for seed, value in enumerate(values)),
    ]
    table = compare(records, baseline="fcos")
    base, other = ap_of(table, "fcos"), ap_of(table, "atss")
    assert other.difference == pytest.approx(100 * shift, abs=1e-9)
    assert other.std == pytest.approx(base.std, abs=1e-9)


def test_two_files_of_one_name_have_a_row_each(make_record):
    records = [
        make_record("mine.py:S[k=3]", seed, ap, origin=f"/p/{folder}/mine.py", source=folder, run_id=f"{folder}-{seed}")
        for folder, ap in (("v1", 0.4), ("v2", 0.5))
        for seed in range(2)
    ]
    table = compare(records, baseline="v1/mine.py:S[k=3]")
    assert [row.strategy for row in table.blocks[0].rows] == ["v1/mine.py:S[k=3]", "v2/mine.py:S[k=3]"]
    assert ap_of(table, "v2/mine.py:S[k=3]").difference == pytest.approx(10)
    edited = make_record("mine.py:S[k=3]", 2, origin="/p/v1/mine.py", source="edited", run_id="later")
    with pytest.raises(UsageError, match=r"v1/mine.py:S\[k=3\] on shapes stands for different code"):
        compare([*records, edited])


def two_folders(make_record):
    return [
        make_record(
            label, 0, ap, dataset="yolo:data", spec=f"yolo:/{place}/data", fingerprint=place, run_id=f"{label}{place}"
        )
        for place, ap in (("a", 0.4), ("b", 0.5))
        for label in ("atss", "fcos")
    ]


def test_two_data_sets_of_one_name_are_two_blocks(make_record):
    records = two_folders(make_record)
    table = compare(records, baseline="atss")
    assert [block.dataset for block in table.blocks] == ["yolo:a/data", "yolo:b/data"]
    assert ap_of(table, "atss", "yolo:a/data").mean == 40
    assert ap_of(table, "atss", "yolo:b/data").mean == 50
    assert records[0].dataset.name == "yolo:data"  # as it was recorded
    (block,) = compare(records[:2]).blocks
    assert block.dataset == "yolo:data"


def test_one_place_with_other_content_is_refused(make_record):
    one, other = (
        make_record(label, dataset="yolo:data", spec="yolo:/a/data", fingerprint=content)
        for label, content in (("atss", "1"), ("fcos", "2"))
    )
    with pytest.raises(UsageError, match=r"the runs on yolo:data differ in more than strategy and seed: .* data = 1"):
        compare([one, other])


def test_what_must_be_known_of_the_data_stands_below_the_table_once(make_record):
    said = "evaluated on its training pictures: all 4 evaluation pictures are also taught"
    records = [make_record(label, seed, caveats=[said]) for label in ("atss", "fcos") for seed in range(2)]
    assert compare(records).notes == (f"shapes: {said}",)
