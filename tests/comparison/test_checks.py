import itertools

import pytest

from assignbench.comparison.checks import select
from assignbench.comparison.table import compare
from assignbench.errors import UsageError
from assignbench.recipe import BOOKKEEPING


def refused(records):
    """The message, which must not depend on the order of the records."""
    messages = set()
    for some in itertools.permutations(records):
        with pytest.raises(UsageError) as caught:
            compare(some)
        messages.add(str(caught.value))
    assert len(messages) == 1
    return messages.pop()


def test_another_setting_is_refused_with_key_values_and_runs(make_record):
    message = refused([make_record("atss", run_id="a1"), make_record("fcos", run_id="b2", config={"train.lr": 0.02})])
    assert message.startswith("the runs on shapes differ in more than strategy and seed: ")
    assert "train.lr = 0.01 in run a1 but 0.02 in run b2" in message
    assert "folder of their own" in message


def test_a_setting_that_one_run_lacks_is_refused(make_record):
    message = refused([make_record("atss", run_id="a1"), make_record("fcos", run_id="b2", config={"train.clip": 35})])
    assert "train.clip = (not set) in run a1 but 35 in run b2" in message


def test_text_and_number_are_not_the_same(make_record):
    message = refused([make_record(seed=0, config={"x.y": 1}), make_record(seed=1, config={"x.y": "1"})])
    assert 'x.y = "1" in run' in message


def test_many_differences_are_counted(make_record):
    config = {f"train.key{index}": 1 for index in range(5)}
    message = refused([make_record("atss", config=config), make_record("fcos")])
    assert message.count("(not set)") == 3
    assert "and 2 more" in message


def test_other_data_under_the_same_name_are_refused(make_record):
    message = refused([make_record("atss"), make_record("fcos", fingerprint="e" * 64)])
    assert "training data = eeeeeeeeeeee in run fcos-shapes-tiny-0 but ffffffffffff" in message


@pytest.mark.parametrize(
    "config",
    [
        {"assigner.tau": 0.5},
        *({key: 1} for key in sorted(BOOKKEEPING)),
    ],
)
def test_strategy_seed_and_bookkeeping_may_differ(make_record, config):
    table = compare([make_record("atss", config=config), make_record("fcos", seed=3)])
    assert len(table.blocks[0].rows) == 2


def test_machines_may_differ_and_it_is_said(make_record):
    cuda = {
        "gpus": ("H200",),
        "precision": "bf16",
        "commit": "a" * 40 + "-dirty",
        "torch": "2.12.0",
        "cpu": "other",
    }
    table = compare([make_record("atss", environment=cuda), make_record("fcos")])
    assert table.notes == (
        "shapes: the runs differ in commit (aaaaaaaa-dirty, none)",
        "shapes: the runs differ in torch version (2.11.0, 2.12.0)",
        "shapes: the runs differ in precision (bf16, no)",
        "shapes: the runs differ in device (CPU, H200)",
    )


def test_what_scored_the_runs_is_said_unless_it_is_pycocotools_for_all(make_record):
    fast = "faster-coco-eval 1.8.0, checked against pycocotools 2.0.8 on the first file"

    def by(evaluator, seed):
        return make_record(seed=seed).model_copy(update={"evaluator": evaluator})

    assert compare([by(None, 0), by("pycocotools 2.0.8", 1)]).notes == ()
    assert compare([by(fast, 0), by(fast, 1)]).notes == (f"shapes: scored by {fast}",)
    assert compare([by(fast, 0), by(None, 1)]).notes == (
        f"shapes: the runs differ in evaluator ({fast}, pycocotools 2.0.8)",
    )


def test_two_recipes_under_a_protocol_are_refused_and_can_be_selected(make_record):
    records = [
        make_record("atss", run_id="a1"),
        make_record("atss", run_id="b2", recipe="1x"),
        make_record("atss", run_id="c3", protocol="published"),
    ]
    message = refused(records)
    assert message == "the runs on shapes mix recipes (1x: run b2; tiny: run a1); choose with --recipe"
    assert [record.run_id for record in select(records, recipe="1x")] == ["b2"]
    assert [record.run_id for record in select(records, recipe="tiny", protocol="published")] == ["c3"]
    assert select(records) == records
    assert len(compare(select(records, recipe="tiny", protocol="controlled")).blocks) == 1


def test_protocols_stand_side_by_side_and_each_keeps_its_own_rules(make_record):
    records = [
        make_record("atss", ap=0.4),
        make_record("fcos", ap=0.38),
        make_record("atss", ap=0.42, protocol="published", config={"evaluate.nms": 0.6, "train.lr": 0.02}),
        make_record("fcos", ap=0.41, protocol="published", config={"evaluate.nms": 0.6, "train.lr": 0.02}),
    ]
    table = compare(records)
    assert [(block.dataset, block.protocol) for block in table.blocks] == [
        ("shapes", "controlled"),
        ("shapes", "published"),
    ]
    assert [[row.strategy for row in block.rows] for block in table.blocks] == [
        ["atss", "fcos"],
        ["atss (mmdet)", "fcos (mmdet)"],
    ]
    # another setting between the protocols is nothing, within one it is refused
    message = refused([*records, make_record("plain", protocol="published", config={"train.lr": 0.03})])
    assert "train.lr = 0.02 in run atss-shapes-mmdet-tiny-0, fcos-shapes-mmdet-tiny-0 but 0.03 in run plain" in message


def of_preset(make_record, label, value, *, seed=0, origin="preset mmdet"):
    return make_record(
        label, seed, protocol="published", config={"evaluate.nms": value}, origins={"evaluate.nms": origin}
    )


def test_what_a_preset_sets_may_differ_between_strategies(make_record):
    records = [
        of_preset(make_record, "atss", 0.6),
        of_preset(make_record, "retinanet", 0.5),
        of_preset(make_record, "plain", 0.7, origin="recipe tiny"),  # its preset is content with the recipe's
    ]
    assert len(compare(records).blocks[0].rows) == 3


def test_what_was_set_by_hand_may_not_differ(make_record):
    message = refused([of_preset(make_record, "atss", 0.6), of_preset(make_record, "retinanet", 0.5, origin="--set")])
    assert "evaluate.nms = 0.5 in run retinanet-shapes-mmdet-tiny-0 but as published in run atss" in message
    both = [of_preset(make_record, label, 0.5, origin="--set") for label in ("atss", "retinanet")]
    assert len(compare(both).blocks[0].rows) == 2


@pytest.mark.parametrize("origin", ["preset mmdet", "recipe tiny"])
def test_within_a_row_nothing_is_a_matter_of_presets(make_record, origin):
    """Two seeds of one strategy, trained under an edited preset or recipe, are not averaged."""
    records = [
        of_preset(make_record, "atss", 0.6, origin=origin),
        of_preset(make_record, "atss", 0.5, seed=1, origin=origin),
        of_preset(make_record, "retinanet", 0.5),
    ]
    message = refused(records)
    assert "evaluate.nms = 0.5 in run atss-shapes-mmdet-tiny-1 but 0.6 in run atss-shapes-mmdet-tiny-0" in message


def test_presets_of_one_strategy_are_rows_of_their_own(make_record):
    records = [
        make_record("atss", protocol="published", preset=name, ap=ap)
        for name, ap in (("mmdet", 0.3), ("official", 0.4))
    ]
    assert [row.strategy for row in compare(records).blocks[0].rows] == ["atss (mmdet)", "atss (official)"]


def test_selecting_nothing_tells_what_there_is(make_record):
    with pytest.raises(UsageError, match=r"no run has recipe '2x'; there are: 1x \(controlled\), tiny \(controlled\)"):
        select([make_record(), make_record(recipe="1x")], recipe="2x")


def test_the_same_strategy_and_seed_twice_is_ambiguous(make_record):
    message = refused([make_record(run_id="a1"), make_record(run_id="b2"), make_record("fcos")])
    assert message == "atss on shapes with seed 0 exists more than once (run a1, b2); remove one"


@pytest.mark.parametrize("other", [{"source": "edited"}, {"options": {"k": 3}}])
def test_one_label_for_two_programs_is_refused(make_record, other):
    message = refused([make_record(run_id="a1"), make_record(seed=1, run_id="b2", **other)])
    assert message.startswith("atss on shapes stands for different code or options (run ")
    assert "a1" in message
    assert "b2" in message


def test_a_long_list_of_runs_is_cut(make_record):
    records = [make_record(seed=seed) for seed in range(5)] + [make_record("fcos", config={"train.lr": 1})]
    with pytest.raises(UsageError, match="and 2 more but 1 in run fcos"):
        compare(records)


def test_a_data_set_is_chosen_by_its_name_as_tables_tell_it_apart_or_by_what_opens_it(make_record):
    one, other = (
        make_record(dataset="coco:data", spec=f"coco:/{place}/data", fingerprint=place, run_id=place) for place in "ab"
    )
    for name in ("coco:a/data", "coco:/a/data", "/a/data", "/a/b/../data"):
        (found,) = select([one, other], dataset=name)
        assert (found.run_id, found.dataset.name) == ("a", "coco:a/data")  # as beside the other
    assert [found.run_id for found in select([one, other], dataset="coco:data")] == ["a", "b"]
    with pytest.raises(UsageError, match=r"no run on 'coco:c/data'.*\n?.*there are: coco:a/data, coco:b/data"):
        select([one, other], dataset="coco:c/data")
