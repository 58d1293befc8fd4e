import json

import numpy as np
import pytest

from assignbench.run.results.record import write_record

VALUES = {"atss": (0.40, 0.41, 0.43), "fcos": (0.39, 0.38, 0.42)}


@pytest.fixture
def folder(tmp_path, make_record):
    for label, values in VALUES.items():
        for seed, value in enumerate(values):
            record = make_record(label, seed, value)
            write_record(tmp_path / record.run_id, record)
    return str(tmp_path)


@pytest.fixture
def with_pictures(monkeypatch):
    """The runs have influences of fifty pictures."""

    def influences_of(runs, metrics, _data_root, _progress):
        own = {label: np.random.default_rng(number).normal(0, 0.05, (1, 50)) for number, label in enumerate(VALUES)}
        return {one.run_id: dict.fromkeys(metrics, own[one.assigner.label]) for _, one in runs}, []

    monkeypatch.setattr("assignbench.judging.influences_of", influences_of)


def test_without_detections_the_floor_is_unknown(call, folder):
    code, out, err = call("plan", folder, "--smallest", "1")
    assert (code, err) == (0, "")
    told = " ".join(out.split())
    assert "shapes · controlled protocol · recipe tiny" in told
    assert "Measured on 2 rows, seeds 0, 1, 2. The seed moves a difference by 1.15 AP" in told  # 1, 3 and 1 AP
    assert "endless unknown" in told
    assert "The floor is unknown: no detections are kept. The numbers are for exactly these pictures." in told
    assert "A difference of 1 AP takes 13 seeds of each row" in told
    assert "pictures have no part in 6 of 6 runs" in told


def test_with_them_it_says_which_part_dominates(call, folder, with_pictures):
    code, out, _ = call("plan", folder, "--smallest", "2", "--baseline", "atss")
    told = " ".join(out.split())
    assert code == 0
    assert "seeds 0, 1, 2 and 50 pictures" in told
    assert "most of the error is the seeds': more of them help. Beyond, it is the pictures'." in told
    assert "all rows against atss (1)" in told
    assert "with 50 pictures." in told


def test_json_holds_all_numbers(call, folder, with_pictures):
    code, out, _ = call("plan", folder, "--smallest", "0.3", "--json")
    (plan,) = json.loads(out)["plans"]
    assert code == 0
    assert (plan["about"], plan["images"], plan["rows"], plan["comparisons"]) == ("strategies", 50, 2, 1)
    assert [step["seeds"] for step in plan["found"]] == [3, 5, 10, 20]
    smallest = [step["smallest"] for step in plan["found"]]
    assert smallest == sorted(smallest, reverse=True)
    assert plan["floor"] < smallest[-1]
    assert (plan["wanted"]["seeds"] is None) == (plan["floor"] >= 0.3)


def test_more_pictures_are_reckoned_with_and_said(call, folder, with_pictures):
    few, many = (
        json.loads(call("plan", folder, "--json", *more)[1])["plans"][0] for more in ([], ["--pictures", "5000"])
    )
    assert (many["images"], many["reckoned_images"]) == (50, 5000)
    assert many["sd_images"] == pytest.approx(few["sd_images"] / 10)
    assert many["floor"] == pytest.approx(few["floor"] / 10)
    told = " ".join(call("plan", folder, "--pictures", "5000")[1].split())
    assert "reckoned for 5,000 pictures" in told
    assert "5,000 pictures like the 50 here" in told


def test_a_difference_below_the_floor_takes_pictures(call, folder, with_pictures):
    told = " ".join(call("plan", folder, "--smallest", "0.01")[1].split())
    assert "no number of seeds is enough with these 50. With endless seeds it takes more than" in told


def test_each_data_set_has_its_plan_or_the_reason(call, folder, tmp_path, make_record):
    for label in VALUES:
        record = make_record(label, dataset="voc")
        write_record(tmp_path / record.run_id, record)
    code, out, _ = call("plan", folder)
    assert code == 0
    assert out.count("Measured on") == 1
    assert "voc, controlled protocol: no two strategies have two seeds in common; run them with --seeds 0,1,2" in out
    assert len(json.loads(call("plan", folder, "--json")[1])["plans"]) == 1


def test_one_seed_is_refused_with_the_reason(call, tmp_path, make_record):
    for label in VALUES:
        record = make_record(label)
        write_record(tmp_path / record.run_id, record)
    code, out, err = call("plan", str(tmp_path))
    assert (code, out) == (2, "")
    assert "no two strategies have two seeds in common; run them with --seeds 0,1,2" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--smallest", "0"], "--smallest 0 must be above 0"),
        (["--smallest", "nan"], "--smallest nan must be above 0"),
        (["--pictures", "5000"], "these runs have no detections and no matches"),
        (["--baseline", "ats"], "atss"),
        (["--metric", "AP5"], "AP5"),
        (["--pictures", "0"], "--pictures"),
    ],
)
def test_wrong_values(call, folder, arguments, message):
    code, out, err = call("plan", folder, *arguments)
    assert (code, out) == (2, "")
    assert message in err
