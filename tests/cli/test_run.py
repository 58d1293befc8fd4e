from pathlib import Path
from types import SimpleNamespace

import pytest

from assignbench.config import Matrix, load_recipe


@pytest.fixture
def campaign(stand_in):
    """Every matrix that was asked for; the outcome can be changed."""
    seen: list[Matrix] = []
    outcome = SimpleNamespace(records=(), exit_code=0)

    def run_matrix(matrix, console, conduct, estimate):
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
        *("--tracker", "wandb", "--tracker", "mlflow", "--tracker", "wandb"),
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
            trackers=("wandb", "mlflow"),
        )
    ]


@pytest.mark.parametrize(
    ("datasets", "device", "weights", "recipe"),
    [
        ("shapes", "cpu", False, "tiny"),
        ("coco,voc", "cuda", True, "tiny"),
        ("my/folder", "cpu", True, "own-cpu"),
        ("my/folder", "cpu", False, "small"),
        ("shapes,voc:my/folder", "cuda", True, "own-gpu"),
        ("mine.yaml", "cuda", False, "scratch"),
    ],
)
def test_the_recipe_goes_by_the_data_and_by_what_the_machine_has(
    call, campaign, monkeypatch, datasets, device, weights, recipe
):
    monkeypatch.setattr("assignbench.cli.recipes.has_weights", lambda _: weights)
    monkeypatch.setattr("assignbench.run.training.device.device_of", lambda _: SimpleNamespace(type=device))
    code, out, err = call("run", "--dataset", datasets)
    assert (code, err) == (0, "")
    assert campaign.seen[0].recipe == load_recipe(recipe)
    assert out.startswith("" if recipe == "tiny" else f"recipe {recipe}, for data of your own on a ")
    assert ("from scratch" in out) == (recipe in ("small", "scratch"))


def test_a_recipe_that_is_named_is_taken_for_whatever_data(call, campaign):
    assert call("run", "--dataset", "my/folder", "--recipe", "tiny") == (0, "", "")
    assert campaign.seen[0].recipe == load_recipe("tiny")


def test_for_machines_that_are_not_known_the_recipe_has_to_be_named(call):
    code, _, err = call("run", "--dataset", "my/folder", "--on", "slurm")
    assert (code, "which recipe fits is not known here; add --recipe own-gpu, or own-cpu" in err) == (2, True)


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


def test_the_dry_run_measures_what_the_runs_would_take(call, few_pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = [f"--set={change}" for change in ("model.backbone=miniature", "train.precision=no")]
    data = ("--dataset", str(few_pictures), "--recipe", "smoke", "--device", "cpu")
    code, out, _ = call("run", *data, *small, "--assigner", "atss", "--seeds", "0,1", "--dry-run")
    assert code == 0
    assert 'from --set: model.backbone="miniature", train.precision="no"' in out
    assert "from recipe smoke: model.channels=32, model.towers=1, " in out
    assert 'from recipe tiny: model.weights="none", ' in out
    assert "(h:mm:ss or m:ss) on cpu for what is to do, one run after another" in out
    assert "not in it: loading pictures, scoring" in out
    assert not (tmp_path / "runs").exists()
