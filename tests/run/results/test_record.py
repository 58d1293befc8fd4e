import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from assignbench.errors import RunError, SystemProblem
from assignbench.run.results.record import RunRecord, environment, read_record, write_record


def test_a_record_survives_the_disk(make_record, tmp_path):
    record = make_record(ap=0.1 + 0.2, label="σ[tau=0.5]")
    file = write_record(tmp_path / "run", record)
    assert file == tmp_path / "run" / "record.json"
    assert read_record(file) == record


def test_the_file_states_its_own_digest_which_layout_does_not_change(make_record, tmp_path):
    file = write_record(tmp_path, make_record())
    content = json.loads(file.read_text())
    assert len(content["sha256"]) == 64
    file.write_text(json.dumps(dict(sorted(content.items())), indent=None))
    assert read_record(file) == make_record()


def test_a_record_of_version_1_is_read_as_version_2():
    """As it was written when a centre prior was all that a strategy could learn."""
    file = Path(__file__).with_name("record_version_1.json")
    before, record = json.loads(file.read_text()), read_record(file)
    assert (before["schema_version"], record.schema_version) == (1, 2)
    assert record.learned == before["learned_prior"]
    assert record.learned["lollipop"]["mu_y"] == 0.3451237976551056
    as_read = record.model_dump(mode="json")
    gained = {"dataset", "environment"}  # fields that were not there
    for name in before.keys() - {"schema_version", "learned_prior", "sha256", "config", *gained}:
        assert as_read[name] == before[name], name
    assert before["config"].keys() - as_read["config"].keys() == {"train.box_loss_weight"}
    assert as_read["config"]["loss.box_weight"] == before["config"]["train.box_loss_weight"]


def test_a_record_of_version_1_without_a_prior_learned_nothing(make_record, monkeypatch, tmp_path):
    def older(content):
        del content["learned"]
        content.update(schema_version=1, learned_prior=None)

    _resealed(make_record, monkeypatch, tmp_path / "record.json", older)
    assert read_record(tmp_path / "record.json") == make_record().model_copy(update={"learned": {}})


def _edit(file, change):
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["metrics"].update(AP=0.9),
        lambda content: content["notes"].clear(),
        lambda content: content.update(extra=1),
        lambda content: content["environment"].pop("torch"),
        lambda content: content.update(sha256="0" * 64),
    ],
)
def test_an_edited_record_is_refused_by_name(make_record, tmp_path, change):
    file = write_record(tmp_path, make_record())
    _edit(file, change)
    with pytest.raises(RunError, match=r"record\.json is damaged or was edited"):
        read_record(file)


def test_every_truncation_is_refused_by_name(make_record, tmp_path):
    file = write_record(tmp_path, make_record())
    whole = file.read_bytes()
    for length in range(0, len(whole) - 2, 97):
        file.write_bytes(whole[:length])
        with pytest.raises(RunError, match=r"record\.json is damaged"):
            read_record(file)


@pytest.mark.parametrize("text", ["[]", "{}", "1", '"sha256"'])
def test_json_that_is_no_record_is_refused(tmp_path, text):
    (tmp_path / "record.json").write_text(text)
    with pytest.raises(RunError, match=r"record\.json is damaged: it is not a run record"):
        read_record(tmp_path / "record.json")


def _resealed(make_record, monkeypatch, file, change):
    """A file whose digest fits its content although the content breaks the schema."""
    content = make_record().model_dump(mode="json")
    change(content)
    monkeypatch.setattr(RunRecord, "model_dump", lambda *_args, **_kwargs: content)
    write_record(file.parent, make_record())
    monkeypatch.undo()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda content: content.update(schema_version=3), "has schema 3, this assignbench reads 1 and 2"),
        (lambda content: content.update(surprise=1), "unknown key .surprise."),
        (lambda content: content["metrics"].update(AP=40.5), r"metrics\.AP = 40\.5 must be .*≤ 1"),
        (lambda content: content["environment"].pop("torch"), r"environment\.torch is missing"),
        (lambda content: content["per_class"].pop("disc"), "per_class must name exactly the classes"),
    ],
)
def test_a_record_of_another_schema_is_refused_with_the_field(make_record, monkeypatch, tmp_path, change, problem):
    file = tmp_path / "record.json"
    _resealed(make_record, monkeypatch, file, change)
    with pytest.raises(RunError, match=problem):
        read_record(file)


def test_a_record_cannot_be_changed_or_hold_nonsense(make_record):
    record = make_record()
    with pytest.raises(ValidationError, match="frozen"):
        record.seed = 3
    with pytest.raises(ValidationError, match="finite"):
        make_record(ap=float("nan"))
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        make_record(ap=40.5)


def test_a_failed_write_keeps_the_old_record(make_record, tmp_path, monkeypatch):
    file = write_record(tmp_path, make_record(seed=1))

    def fail(*_args):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(SystemProblem, match=r"cannot write .*record\.json: Permission denied"):
        write_record(tmp_path, make_record(seed=2))
    monkeypatch.undo()
    assert read_record(file).seed == 1


def test_the_environment_names_versions_and_machine():
    import torch

    found = environment(processes=2, precision="bf16", device="cpu")
    assert found.torch == torch.__version__
    assert (found.processes, found.precision, found.gpus) == (2, "bf16", ())
    assert found.cpu
    assert found.cpu_threads >= 1
    assert found.waiting
    assert environment(1, "no", "cpu", 3).workers == 3
    assert found.commit is None or len(found.commit.removesuffix("-dirty")) == 40


def test_a_file_that_git_does_not_track_has_no_commit(tmp_path):
    from assignbench.run.results.environment import _commit

    (tmp_path / "code.py").write_text("")
    assert _commit(tmp_path / "code.py") is None


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_commit_of_a_checkout_and_whether_it_was_changed(tmp_path):
    from assignbench.run.results.environment import _commit

    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
        return subprocess.run(
            ["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    (tmp_path / "code.py").write_text("1")
    git("init")
    git("add", "code.py")
    git("commit", "-m", "first")
    commit = git("rev-parse", "HEAD").strip()
    assert _commit(tmp_path / "code.py") == commit
    (tmp_path / "code.py").write_text("2")
    assert _commit(tmp_path / "code.py") == f"{commit}-dirty"


def test_reading_records_needs_nothing_heavy():
    script = (
        "import sys, assignbench.run.results.record, assignbench.comparison.checks\n"
        "heavy = {'torch', 'torchvision', 'numpy', 'pandas', 'pycocotools'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("protocol", "preset"), [("controlled", "mmdet"), ("published", None)])
def test_a_preset_belongs_to_the_published_protocol(make_record, protocol, preset):
    content = make_record().model_dump(mode="json")
    with pytest.raises(ValidationError, match="a preset belongs to the published protocol"):
        RunRecord.model_validate({**content, "protocol": protocol, "preset": preset})


def test_a_row_is_named_after_label_and_preset(make_record):
    assert make_record("atss[k=3]").row == "atss[k=3]"
    assert make_record("atss[k=3]", protocol="published", preset="official").row == "atss[k=3] (official)"


def test_records_of_before_the_fast_evaluator_are_read(make_record, monkeypatch, tmp_path):
    file = tmp_path / "record.json"
    _resealed(make_record, monkeypatch, file, lambda content: content.pop("evaluator"))
    assert read_record(file).scored_by == "pycocotools 2.0.8"
    assert make_record().model_copy(update={"evaluator": "another 1.0"}).scored_by == "another 1.0"


def test_records_of_before_official_metrics_are_read_and_new_ones_keep_them(make_record, monkeypatch, tmp_path):
    file = tmp_path / "record.json"
    _resealed(make_record, monkeypatch, file, lambda content: content.pop("official_per_class"))
    assert read_record(file).official_per_class == {}
    values = {"VOC10-AP50": {"disc": 0.5, "ring": None}}
    write_record(tmp_path, make_record().model_copy(update={"official_per_class": values}))
    assert read_record(file).official_per_class == values


def test_records_of_before_added_outputs_are_read_and_new_ones_keep_them(make_record, monkeypatch, tmp_path):
    file = tmp_path / "record.json"
    _resealed(make_record, monkeypatch, file, lambda content: content["assigner"].pop("extras"))
    assert read_record(file).assigner.extras == ()
    facts = make_record("fcos+iou").assigner.model_copy(update={"extras": ("iou",)})
    write_record(tmp_path, make_record("fcos+iou").model_copy(update={"assigner": facts}))
    assert read_record(file).assigner.extras == ("iou",)


def test_a_record_from_before_caveats_has_none(make_record, monkeypatch, tmp_path):
    _resealed(make_record, monkeypatch, tmp_path / "record.json", lambda content: content["dataset"].pop("caveats"))
    assert read_record(tmp_path / "record.json") == make_record()


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["metrics"].update(AP=True),
        lambda content: content["metrics"].update(AP="0.4"),
        lambda content: content["per_class"].update(disc=False),
        lambda content: content.update(detections="12"),
        lambda content: content.update(seed=False),
        lambda content: content.update(seed=1.0),
        lambda content: content["seconds"].update(total="10"),
        lambda content: content["assignment"].update(positives=True),
        lambda content: content["learned"]["disc"].update(mu_x="0"),
        lambda content: content["dataset"].update(upright=1),
        lambda content: content["dataset"].update(upright="no"),
        lambda content: content.update(started=1735732800),
    ],
)
def test_in_a_record_a_number_is_a_number_and_nothing_else_is(make_record, monkeypatch, tmp_path, change):
    _resealed(make_record, monkeypatch, tmp_path / "record.json", change)
    with pytest.raises(RunError, match=r"record\.json is not a valid run record: .* must be"):
        read_record(tmp_path / "record.json")
