from pathlib import Path
from types import SimpleNamespace

import pytest

from assignbench.config import Matrix, load_recipe


@pytest.fixture
def campaign(stand_in):
    """Every matrix that was asked for; the outcome can be changed."""
    seen: list[Matrix] = []
    outcome = SimpleNamespace(records=(), exit_code=0)

    def run_matrix(matrix, console, conduct):
        assert conduct is None
        seen.append(matrix)
        return outcome

    stand_in("assignbench.run.matrix.matrix", run_matrix=run_matrix)
    return SimpleNamespace(seen=seen, outcome=outcome)


def test_defaults(call, campaign):
    assert call("run")[0] == 0
    assert campaign.seen == [
        Matrix(
            strategies=("autoassign",),
            datasets=("shapes",),
            recipe=load_recipe("tiny"),
            seeds=(0,),
            protocol="controlled",
            preset=None,
            data_root=None,
            output=Path("runs"),
            resume=False,
            dry_run=False,
            device="auto",
        )
    ]


def test_everything_given(call, campaign):
    code, _, err = call(
        *("run", "--assigner", "autoassign[tau=0.5,center=fixed],atss", "--assigner", "mine.py:Mine"),
        *("--dataset", "shapes,voc:/data/bccd", "--recipe", "1x", "--seeds", "0, 2", "--data-root", "/data"),
        *("--output", "out", "--set", "train.lr=0.02", "--set", "train.steps=[1000, 2000]"),
        *("--protocol", "published", "--preset", "official", "--resume", "--dry-run", "--device", "cpu"),
    )
    assert (code, err) == (0, "")
    assert campaign.seen == [
        Matrix(
            strategies=("autoassign[tau=0.5,center=fixed]", "atss", "mine.py:Mine"),
            datasets=("shapes", "voc:/data/bccd"),
            recipe=load_recipe("1x", ["train.lr=0.02", "train.steps=[1000, 2000]"]),
            seeds=(0, 2),
            protocol="published",
            preset="official",
            data_root=Path("/data"),
            output=Path("out"),
            resume=True,
            dry_run=True,
            device="cpu",
        )
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "0,x"], "--seeds 0,x: write whole numbers from 0"),
        (["--seeds", "-1"], "write whole numbers from 0"),
        (["--seeds", "²"], "write whole numbers from 0"),
        (["--seeds", ","], "--seeds is empty"),
        (["--dataset", " "], "--dataset is empty"),
        (["--assigner", ","], "--assigner is empty"),
        (["--assigner", "a[b"], "brackets do not match"),
        (["--recipe", "tinny"], "did you mean tiny?"),
        (["--set", "train.lrr=1"], "unknown key 'train.lrr'; did you mean train.lr?"),
    ],
)
def test_wrong_values_start_nothing(call, campaign, arguments, message):
    code, out, err = call("run", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert campaign.seen == []


def test_ends_in_a_table(call, campaign, make_record):
    campaign.outcome.records = (make_record("atss", ap=0.4), make_record("fcos[radius=1]", ap=0.3))
    code, out, _ = call("run")
    assert code == 0
    assert "fcos[radius=1]" in out
    assert "40.0" in out


def test_a_failed_run_is_exit_1_and_the_others_are_shown(call, campaign, make_record):
    campaign.outcome.records, campaign.outcome.exit_code = (make_record("atss", ap=0.4),), 1
    code, out, _ = call("run")
    assert code == 1
    assert "40.0" in out
