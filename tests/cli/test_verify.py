"""`assignbench verify golden`: what it prints, and what it says of folders that are not right."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

VECTORS = Path(__file__).parents[1] / "golden" / "vectors"
ATSS, FCOS = "losses/atss/overlap.safetensors", "losses/fcos/tiny.safetensors"
DETECTIONS = "detections/fcos.safetensors"

Change = Callable[[dict[str, Tensor], dict[str, str]], None]


def rewrite(path: Path, change: Change) -> None:
    with safe_open(path, "pt") as file:
        metadata = dict(file.metadata())
    content = load_file(path)
    change(content, metadata)
    save_file(content, path, metadata)


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """A folder with some of the vectors, the first of them changed."""

    def some(*files: str, change: Change | None = None) -> Path:
        for file in files:
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(VECTORS / file, tmp_path / file)
        if change is not None:
            rewrite(tmp_path / files[0], change)
        return tmp_path

    return some


def without(*names: str) -> Change:
    def change(content: dict[str, Tensor], metadata: dict[str, str]) -> None:
        for name in names:
            content.pop(name, None)
            metadata.pop(name, None)

    return change


def set_to(name: str, value: Tensor) -> Change:
    def change(content: dict[str, Tensor], _: dict[str, str]) -> None:
        content[name] = value

    return change


def louder(content: dict[str, Tensor], _: dict[str, str]) -> None:
    content["loss.bbox"] *= 1.001


def test_a_table_of_what_was_replayed(call, folder):
    code, out, err = call("verify", "golden", str(folder(ATSS, FCOS, DETECTIONS)))
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    verdicts = {(line[0], line[1]): line[-1] for line in lines if line[1:2] and "/" in line[1]}
    assert verdicts == {
        ("atss", "losses/overlap"): "ok",
        ("fcos", "losses/tiny"): "ok",
        ("fcos", "detections/images"): "ok",
    }
    assert "assigned identical" in out
    assert "preset mmdet: 3 files, all within tolerance" in out


def test_a_difference_is_exit_5_and_named(call, folder):
    code, out, err = call("verify", "golden", str(folder(ATSS, FCOS, change=louder)))
    assert (code, err) == (5, "")
    assert "losses 1.0e-03 > 1e-05 (bbox)" in out
    assert out.count("DIFFERS") == 1
    assert "preset mmdet: 1 of 2 files differ" in out


def test_json_holds_every_check(call, folder):
    code, out, _ = call("verify", "golden", str(folder(ATSS, DETECTIONS, change=louder)), "--json")
    assert code == 5
    report = json.loads(out)
    assert set(report) == {"preset", "passed", "checks", "skipped"}
    assert (report["preset"], report["passed"], report["skipped"]) == ("mmdet", False, [])
    found = {(row["strategy"], row["kind"], row["case"], row["group"]): row for row in report["checks"]}
    assert set(found) == {
        *(("atss", "losses", "overlap", group) for group in ("losses", "gradients", "assigned", "anchors")),
        *(("fcos", "detections", "images", group) for group in ("detections", "boxes", "scores")),
    }
    for row in report["checks"]:
        assert set(row) == {
            *("strategy", "kind", "case", "group", "worst", "where", "tolerance", "passed", "notes"),
        }
        assert row["passed"] == (row["worst"] <= row["tolerance"])
    wrong = found["atss", "losses", "overlap", "losses"]
    assert wrong["worst"] == pytest.approx(0.001 / 1.001, rel=1e-3)
    assert (wrong["where"], wrong["tolerance"], wrong["passed"], wrong["notes"]) == ("bbox", 1e-5, False, [])


def test_an_infinite_error_is_still_json(call, folder):
    def emptied(content: dict[str, Tensor], _: dict[str, str]) -> None:
        content["loss.bbox"] *= 0

    code, out, _ = call("verify", "golden", str(folder(ATSS, change=emptied)), "--json")
    assert code == 5
    assert json.loads(out)["checks"][0]["worst"] is None


def test_strategies_without_a_preset_are_skipped_with_the_reason(call, folder):
    root = folder(ATSS)
    for name in ("nobodys", "plain"):
        (root / "losses" / name).mkdir()
        shutil.copy(VECTORS / ATSS, root / "losses" / name / "a.safetensors")
    code, out, _ = call("verify", "golden", str(root))
    assert code == 0
    assert "skipped: nobodys (1 files): no strategy is called 'nobodys'" in out
    assert "skipped: plain (1 files): Plain declares no published preset" in out
    skipped = json.loads(call("verify", "golden", str(root), "--json")[1])["skipped"]
    assert [(one["strategy"], one["files"]) for one in skipped] == [("nobodys", 1), ("plain", 1)]
    assert all(one["reason"] for one in skipped)


def test_a_preset_that_nobody_has_proves_nothing(call, folder):
    code, out, err = call("verify", "golden", str(folder(ATSS)), "--preset", "oficial")
    assert code == 2
    assert "skipped: atss (1 files): ATSS has no preset 'oficial'; did you mean official?" in out
    assert "could be replayed with preset 'oficial': ATSS has no preset 'oficial'" in err


def test_another_preset_is_another_detector(call, folder):
    code, out, _ = call("verify", "golden", str(folder(ATSS)), "--preset", "official")
    assert code == 5
    assert "1 of 1 files differ" in out


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        (ATSS, without("cls.0"), "holds no tensor 'cls.0'"),
        (ATSS, without("reg.3"), "is no golden vector of this kind: KeyError: 'reg.3'"),
        (ATSS, without("reg.0"), "is no golden vector of this kind: KeyError: 'reg.0'"),
        (ATSS, without("boxes.1"), "holds no tensor 'boxes.1'"),
        (ATSS, without("loss.bbox"), "do not fit ours"),
        (ATSS, without("extra.0", "extra.1", "extra.2", "extra.3", "extra.4"), "the extra output of the file"),
        (ATSS, set_to("cls.4", torch.zeros(2, 6, 1, 2)), "kind: ValueError: RawOutputs.regression"),
        (ATSS, set_to("reg.4", torch.zeros(2, 4, 1, 2)), "kind: ValueError: RawOutputs.regression"),
        (ATSS, set_to("boxes.0", torch.zeros(6, 5)), "is no golden vector of this kind: RuntimeError"),
        (ATSS, set_to("labels.0", torch.zeros(5)), "Targets.labels must have shape [10], not [9]"),
        (ATSS, set_to("labels.0", torch.full((6,), 6)), "is no golden vector of this kind: IndexError"),
        (ATSS, set_to("assigned.0", torch.zeros(5)), "is no golden vector of this kind: IndexError"),
        (ATSS, lambda _, metadata: metadata.update(num_classes="5"), "is no golden vector of this kind: RuntimeError"),
        (ATSS, lambda _, metadata: metadata.update(num_classes="six"), "is no golden vector of this kind: ValueError"),
        (ATSS, without("num_classes"), "says no 'num_classes' in its metadata"),
        (ATSS, lambda _, metadata: metadata.update(strides="8,16,32,64"), "names strides of 4"),
        (DETECTIONS, without("metas"), "says no 'metas' in its metadata"),
        (DETECTIONS, lambda _, metadata: metadata.update(metas="[{}]"), "its metas cannot be read"),
        (DETECTIONS, lambda _, metadata: metadata.update(metas="[]"), "is no golden vector of this kind"),
        (DETECTIONS, set_to("det_labels.0", torch.zeros(3)), "is no golden vector of this kind"),
        (DETECTIONS, without("det_scores.1"), "holds no tensor 'det_scores.1'"),
    ],
)
def test_a_file_that_is_no_vector_is_named(call, folder, file, change, message):
    code, out, err = call("verify", "golden", str(folder(file, change=change)))
    assert (code, out) == (3, "")
    assert file in err
    assert message in err
    assert "bug" not in err


def test_a_file_that_pins_less_is_replayed_for_what_it_pins(call, folder):
    def fewer(content: dict[str, Tensor], _: dict[str, str]) -> None:
        for name in [name for name in content if name.startswith(("grad.", "assigned", "anchors_head"))]:
            del content[name]

    root = folder(ATSS, change=fewer)
    report = json.loads(call("verify", "golden", str(root), "--json")[1])
    assert [(row["group"], row["passed"]) for row in report["checks"]] == [("losses", True)]
    rewrite(root / ATSS, louder)
    assert call("verify", "golden", str(root))[0] == 5


def test_a_damaged_file_is_named(call, folder):
    root = folder(ATSS)
    content = (root / ATSS).read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"no tensors at all"):
        (root / ATSS).write_bytes(damaged)
        code, _, err = call("verify", "golden", str(root))
        assert code == 3
        assert "overlap.safetensors cannot be read as safetensors" in err


@pytest.mark.parametrize("text", ["", "[]", '{"steps": ', '{"steps": []}'])
def test_a_damaged_trajectory_is_named(call, folder, text):
    root = folder()
    (root / "trajectory").mkdir()
    (root / "trajectory" / "fcos.json").write_text(text)
    (root / "network").mkdir()
    save_file({"image": torch.zeros(2, 3, 64, 64)}, root / "network" / "fcos.safetensors")
    (root / "network" / "fcos.keys.json").write_text("{}")
    code, _, err = call("verify", "golden", str(root))
    assert code in (2, 3)
    assert "bug" not in err


def test_a_network_without_its_names_or_the_other_way_round(call, folder):
    root = folder()
    (root / "network").mkdir()
    save_file({"image": torch.zeros(2, 3, 64, 64)}, root / "network" / "fcos.safetensors")
    code, _, err = call("verify", "golden", str(root))
    assert code == 3
    assert "fcos.keys.json: No such file" in err
    shutil.rmtree(root / "network")
    (root / "trajectory").mkdir()
    (root / "trajectory" / "fcos.json").write_text("{}")
    code, _, err = call("verify", "golden", str(root))
    assert code == 3
    assert "fcos.safetensors cannot be read" in err


def test_folders_without_vectors(call, tmp_path):
    code, _, err = call("verify", "golden", str(tmp_path))
    assert code == 2
    assert f"{tmp_path} holds no golden vectors; expected losses/, network/, detections/, trajectory/ in it" in err
    code, _, err = call("verify", "golden", str(tmp_path / "none"))
    assert code == 2
    assert "none does not exist" in err


def test_help_says_what_it_does(call):
    for arguments in (("verify", "golden", "--help"), ("verify", "golden", "-h")):
        code, out, _ = call(*arguments)
        assert code == 0
        for word in ("DIR", "--preset", "--json", "--device", "Exit code 5", "Examples"):
            assert word in out
    assert "golden" in call("verify", "--help")[1]
    code, out, _ = call("--help")
    assert "verify" in out
    assert "4 machine, 5 numbers differ," in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("x", "--device", "tpu"), "tpu"), (("x", "--presset", "mmdet"), "--presset")],
)
def test_wrong_usage(call, arguments, message):
    code, _, err = call("verify", "golden", *arguments)
    assert code == 2
    assert message in err


def test_without_a_folder_the_vectors_that_come_with_assignbench_are_replayed(call):
    code, out, err = call("verify", "golden", "--json")
    assert code == 0
    assert f"those that come with assignbench: {VECTORS}" in err
    here = {path.relative_to(VECTORS).with_suffix("").as_posix() for path in VECTORS.rglob("*.safetensors")}
    checks = json.loads(out)["checks"]
    assert len(here) == 7
    assert {one["strategy"] for one in checks} == {"retinanet", "fcos", "atss", "freeanchor", "autoassign"}
    assert json.loads(out)["skipped"] == []
