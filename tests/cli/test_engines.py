"""What computes the runs, as `run` and `reproduce` are told; and how runs stand."""

import json
import shlex

import pytest

from assignbench.run.results.record import write_record


@pytest.mark.parametrize("command", [("run",), ("reproduce", "table3", "--scale", "smoke")])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--on", "slrm"), "error: --on slrm: no engine is called so; did you mean slurm?"),
        (("--on", "ray:"), "error: --on ray:: no engine is called so"),
        (("--on", "local:4"), "error: --on local:4: no engine is called so"),
        (
            ("--on", "slurm", "--jobs", "2"),
            "error: --jobs is for --on local: slurm itself decides how many run at a time",
        ),
        (("--on", "slurm"), "error: train.precision is auto, which the machine that trains settles"),
        (("--on", "ray:far:1"), "error: train.precision is auto, which the machine that trains settles"),
        (("--needs", "gpus=1"), "error: --needs gpus: for --on slurm, and gpus for --on ray; this machine knows cpus"),
        (("--needs", "cpu=1"), "error: --needs: unknown key 'cpu'; did you mean cpus?"),
        (("--needs", "away.yaml"), "away.yaml"),
        (("--needs", "gpus"), "error: --needs gpus: its value is missing; write gpus=…"),
        (("--on", "ray", "--needs", "time=60"), "error: --needs time: --on slurm alone knows that"),
        (("--only", "x", "--jobs", "2"), "error: --only names one run, and --on, --jobs and --needs spread many runs"),
    ],
)
def test_wrong_usage_is_told_before_anything_starts(call, tmp_path, command, options, message):
    code, out, err = call(*command, *options, "--output", str(tmp_path / "out"), "--device", "cpu")
    assert (code, out) == (2, "")
    assert message in err
    assert not (tmp_path / "out").exists()


def test_a_launcher_s_processes_train_one_run_together(call, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _, err = call("run", "--jobs", "2", "--device", "cpu")
    assert code == 2
    assert "a launcher has started several processes" in err


def test_jobs_are_printed_for_any_engine_and_each_names_its_run(call, few_pictures, tmp_path):
    more = ("--dataset", str(few_pictures), "--recipe", "smoke", "--set", "train.lr=1e-3", "--device", "cpu")
    where = ("--output", str(tmp_path / "my runs"))
    code, out, _ = call(
        "run", "--assigner", "atss,autoassign[tau=0.5]", "--seeds", "0,1", *more, *where, "--print-jobs"
    )
    assert code == 0
    assert "--tracker" not in out
    lines = [shlex.split(line) for line in out.splitlines()]
    assert len(lines) == 4
    for words in lines:
        run = words[words.index("--only") + 1]
        code, again, _ = call(*words[1:], "--print-jobs")
        assert code == 0
        assert shlex.split(again) == words, "a job plans itself, and itself alone"
        assert f"-s{words[words.index('--seeds') + 1]}-" in run
    assert not (tmp_path / "my runs").exists()


def test_jobs_tell_the_trackers_of_the_command_and_keep_their_names(call, few_pictures, monkeypatch):
    monkeypatch.setattr("assignbench.run.training.trackers.find_spec", lambda _: True)
    command = ("run", "--dataset", str(few_pictures), "--recipe", "smoke", "--device", "cpu", "--print-jobs")
    (_, bare, _), (code, told, _) = call(*command), call(*command, "--tracker", "wandb", "--tracker", "mlflow")
    assert code == 0
    at = shlex.split(bare).index("--output")
    assert shlex.split(told) == [
        *shlex.split(bare)[:at],
        "--tracker=wandb",
        "--tracker=mlflow",
        *shlex.split(bare)[at:],
    ]


def test_only_a_run_of_the_command_can_be_asked_for(call, few_pictures):
    code, _, err = call(
        "run", *("--dataset", str(few_pictures), "--recipe", "tiny", "--device", "cpu", "--only", "nonesuch")
    )
    assert code == 2
    assert "error: --only nonesuch: no run of this command is called so; it has mini.yaml-autoassign-tiny-s0-" in err


def test_status_tells_how_runs_stand(call, tmp_path, make_record):
    record = make_record()
    write_record(tmp_path / record.run_id, record)
    failed = tmp_path / "failed"
    failed.mkdir()
    (failed / "failures.jsonl").write_text(json.dumps({"error": "the loss is not finite"}) + "\n")
    code, out, _ = call("status", str(tmp_path))
    assert code == 0
    assert out.splitlines()[0] == "1 done, 1 failed"
    assert "the loss is not finite" in out
    assert record.run_id not in out  # what is done is counted
    code, out, _ = call("status", str(tmp_path), "--json")
    assert code == 0
    assert [(one["run"], one["state"]) for one in json.loads(out)["runs"]] == sorted(
        [(record.run_id, "done"), ("failed", "failed")]
    )
    code, _, err = call("status", str(tmp_path / "away"))
    assert code == 2
    assert "there is no folder" in err
