import json

import numpy as np
import pytest

from assignbench.errors import UsageError
from assignbench.report.curves import curve
from assignbench.report.facts import Logs, gather, plain
from assignbench.report.words import Name
from assignbench.run.results.record import ResolvedValue
from assignbench.run.results.unfinished import Unfinished


def text(sentences):
    return " ".join("".join(part.text if isinstance(part, Name) else part for part in one) for one in sentences)


def headline(facts, metric="AP"):
    return text([facts.blocks[0].metrics[metric].words.headline])


def going_on(strategy="new", seed=1, dataset="shapes", preset=None):
    return Unfinished("folder", dataset, strategy, preset, "tiny", seed, 3, 10, None, None)


def test_the_best_is_named(make_facts):
    facts = make_facts(baseline="fcos")
    assert headline(facts) == "On shapes, paa is the best in AP: it is better than the other 2."
    assert facts.blocks[0].baseline == "fcos"
    measured = facts.blocks[0].metrics["AP"]
    assert measured.best == (False, False, True)
    assert measured.ranks == ((3, 3), (2, 2), (1, 1))
    told = text(measured.words.sure) + text(measured.words.change)
    assert "9 finished runs" in told
    assert "seeds 0, 1, 2" in told
    assert "in at most 5 of 100 tables" in told
    assert "four times in five" in told
    assert measured.errors["atss"].startswith("seeds 0, 1, 2 and 40 pictures")


def test_undecided_is_not_called_equal(make_facts):
    facts = make_facts(step=0.0)
    assert "none of the 3 strategies is shown to be better" in headline(facts)
    assert "does not make them equal" in headline(facts)
    assert not any(facts.blocks[0].metrics["AP"].best)


def test_those_that_may_be_the_best_are_named_together(make_record):
    ap = {"a": 0.30, "b": 0.40, "c": 0.401}
    luck = (0.0, 0.001, 0.002)
    facts = gather([make_record(row, seed, ap[row] + luck[(seed + len(row)) % 3]) for row in ap for seed in range(3)])
    assert headline(facts).startswith(
        "On shapes, 2 of 3 strategies may be the best in AP and cannot be told apart; the highest are c"
    )
    assert headline(facts).endswith("The other one is shown to be worse than some strategy.")
    assert facts.blocks[0].metrics["AP"].best == (False, True, True)


def test_one_seed_gives_no_verdict(make_facts):
    facts = make_facts(seeds=(0,))
    assert "no verdict may be read" in headline(facts)
    assert "may be luck" in headline(facts)
    measured = facts.blocks[0].metrics["AP"]
    assert "not of the strategies" in text(measured.words.sure)
    assert "one seed is shared" in text(measured.words.change)
    assert not any(measured.best)
    assert set(measured.ranks) == {None}


def test_one_run(make_facts):
    facts = make_facts(("atss",), seeds=(0,), pictures=None)
    assert headline(facts) == "On shapes there is one strategy, atss. Nothing is compared."
    assert facts.blocks[0].metrics["AP"].pairs.a == ()
    assert json.dumps(plain(facts), allow_nan=False)


def test_detections_missing(make_facts):
    facts = make_facts(pictures=None)
    measured = facts.blocks[0].metrics["AP"]
    assert set(measured.pairs.about) == {"set"}
    assert "exactly these pictures" in text(measured.words.sure)


def test_a_metric_without_objects_has_no_value(make_facts):
    facts = make_facts()
    assert headline(facts, "APl") == "On shapes nothing has a value of APl."
    assert {one.mean for one in facts.blocks[0].metrics["APl"].estimates} == {None}


def test_unequal_seeds_and_holes_are_said(make_facts):
    facts = make_facts(
        datasets=("shapes", "voc"),
        leave_out=lambda row, dataset, seed: (row, dataset) == ("paa", "voc") or (row, seed) == ("fcos", 2),
        going_on=[going_on("fcos", 2), going_on("new", None)],
    )
    state = {(one.key, one.row, one.seed): one.state for one in facts.held}
    assert state["shapes · controlled", "atss", 0] == "finished"
    assert state["shapes · controlled", "fcos", 2] == "stopped after 3 of 10 iterations"
    assert state["voc · controlled", "fcos", 2] == "missing"
    assert state["voc · controlled", "paa", 1] == "missing"
    assert state["shapes · controlled", "new", None] == "stopped after 3 of 10 iterations"
    assert state["shapes · controlled", "new", 0] == "missing"
    assert any("different seeds" in note for note in facts.notes)
    assert {pair for one in facts.blocks[0].metrics["AP"].pairs.dots for pair in [len(one)]} == {2, 3}


def test_runs_on_other_pictures_are_refused(make_record):
    with pytest.raises(UsageError, match="evaluation data"):
        gather([make_record("a"), make_record("b", fingerprint="0" * 64)])


def test_an_unknown_baseline_is_refused(make_facts):
    with pytest.raises(UsageError, match="no run of the baseline 'no'"):
        make_facts(baseline="no")


def test_many_classes_are_cut_and_said(make_record):
    record = make_record()
    labels = tuple(f"class {number}" for number in range(2000))
    record = record.model_copy(
        update={
            "learned": {label: {"mu_x": 1.0} for label in labels},
            "per_class": dict.fromkeys(labels),
            "dataset": record.dataset.model_copy(update={"classes": labels}),
        }
    )
    (block,) = gather([record]).blocks
    assert block.classes == 2000
    assert len(block.learned["atss"]["mu_x"]) == 40
    assert block.learned_left_out == 1960


def test_what_was_learned_and_assigned_is_the_mean_over_seeds(make_record):
    records = [make_record(seed=seed) for seed in range(3)]
    lines = [{"iteration": 10, "level/P3": 0.2, "positives": None}]
    other = [{"iteration": 10, "level/P3": 0.6, "positives": 5.0}]
    longer = [*other, {"iteration": 20, "level/P3": 0.6, "positives": 5.0}]
    logs = {
        record.run_id: Logs(statistics=curve(each))
        for record, each in zip(records, (lines, other, longer), strict=True)
    }
    (block,) = gather(records, logs=logs).blocks
    assert block.assignment["atss"].values == {"level/P3": (pytest.approx(0.4),), "positives": (5.0,)}
    assert block.learned["atss"]["mu_y"]["disc"] == pytest.approx(-0.2)
    assert block.cost["atss"].seconds == {"data": 1, "network": 6, "assignment": 1.5, "evaluation": 1, "other": 0.5}
    assert block.cost["atss"].assignment == 0.15


def test_deviations_name_their_runs(make_record):
    changed = {"train.lr": ResolvedValue(value=0.5, origin="--set"), "x": ResolvedValue(value=1, origin="default")}
    dirty = {"commit": "0123-dirty"}
    records = [make_record("a", environment=dirty), make_record("b", environment=dirty)]
    records = [record.model_copy(update={"config": changed}) for record in records]
    records.append(make_record(dataset="voc", protocol="published"))
    told = {one.what: one.runs for one in gather(records).deviations}
    assert told["shapes: train.lr = 0.5, set by hand"] == ("a-shapes-tiny-0", "b-shapes-tiny-0")
    assert "shapes: the code differs from its commit" in told
    assert told["voc: published protocol, preset mmdet"] == (records[-1].run_id,)
    assert len(told["voc: 2 of 4 images have no detection"]) == 1


def test_settings_are_kept_once(make_facts):
    facts = make_facts()
    assert len(facts.settings) == 3  # the strategy's text differs
    for run in facts.runs:
        entries = {facts.entries[place] for place in facts.settings[run.settings]}
        assert ("train.lr", "0.01", "default") in entries
        assert ("assigner.text", run.row, "default") in entries


def test_no_folders_of_this_machine_are_told(make_record):
    record = make_record("/home/me/mine.py:Mine")
    assert "/home/me" not in json.dumps(plain(gather([record]).entries))


def test_over_data_sets(make_facts):
    facts = make_facts(datasets=("a", "b", "c"))
    assert facts.over_datasets["AP"]["atss"]["paa"] == (3, 0, 3)
    assert facts.over_datasets["AP"]["paa"]["atss"] == (0, 3, 3)
    assert make_facts().over_datasets == {}


def test_plain_refuses_what_is_no_number():
    assert plain({"a": (1, 2.123456789, None)}) == {"a": [1, 2.12346, None]}
    for number in (np.nan, np.inf):
        with pytest.raises(ValueError, match="on the page"):
            plain([float(number)])
    with pytest.raises(TypeError, match="object on the page"):
        plain(object())


def test_what_must_be_known_of_the_data_is_a_fact_and_data_sets_of_one_name_are_apart(make_record):
    records = [
        make_record(dataset="cats", spec=f"/{place}/cats/data.yaml", fingerprint=place, run_id=place, caveats=[place])
        for place in "ab"
    ]
    facts = gather(records)
    assert [(block.dataset, block.caveats) for block in facts.blocks] == [("a/cats", ("a",)), ("b/cats", ("b",))]
    assert {"a/cats: a", "b/cats: b"} <= {one.what for one in facts.deviations}
    assert facts.notes[:1] == ("a/cats: a",)
