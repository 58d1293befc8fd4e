"""Imported weights: from another toolbox's checkpoint to an AP, and what does not fit is refused."""

import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from PIL import Image
from rich.console import Console

from assignbench.cli.main import main
from assignbench.config import load_recipe
from assignbench.detector.importers import theirs
from assignbench.detector.names import MMDET
from assignbench.errors import DataError, RunError, UsageError
from assignbench.run.matrix.plan import candidate
from assignbench.run.scoring.weights import evaluate_weights, import_checkpoint, read_weights_facts
from assignbench.run.training.checkpoint import load_tensors, save_tensors
from assignbench.run.training.learner import bare_learner

SMALL = ("model.backbone=miniature", "model.weights=any.pth", "model.channels=32", "model.towers=1")
FAST = ("data.short_side=64", "data.long_side=96", "data.workers=0")
OUTPUTS = {"atss": "atss", "fcos": "conv"}  # what mmdetection calls a head's outputs
ATSS_MEAN, CAFFE_MEAN = "mean=[123.675, 116.28, 103.53]", "mean=[103.530, 116.280, 123.675]"


def save(
    path: Path, strategy: str = "atss", names: tuple[str, ...] | None = ("Disc", "ring"), config: str = ""
) -> Path:
    """A checkpoint of a small network for two classes, as mmdetection would have saved it."""
    one = candidate(strategy, "published", "mmdet")
    state = bare_learner(one, one.protocol.recipe(load_recipe("1x", SMALL)).recipe.model, 2).state_dict()
    tensors = {}
    for name, tensor in state.items():
        options = theirs(name, MMDET.shared | MMDET.normed, {})
        own = [keys for keys in options if keys[0].startswith(f"bbox_head.{OUTPUTS[strategy]}_")]
        keys = (own or options)[0]
        tensors.update(zip(keys, tensor.unbind() if len(keys) > 1 else [tensor], strict=True))
    meta = {
        "mmdet_version": "2.25.0",
        **({"CLASSES": names} if names else {}),
        **({"config": config} if config else {}),
    }
    torch.save({"state_dict": tensors, "meta": meta}, path)  # noqa: TID251 - what others do
    return path


def bring(path: Path, output: Path, strategy: str = "atss"):
    return import_checkpoint(path, "mmdet", strategy, output, overrides=SMALL)


@pytest.fixture(scope="module")
def atss(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    bring(save(folder / "atss.pth", config=ATSS_MEAN), folder / "atss.safetensors")
    return folder / "atss.safetensors"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Three pictures in COCO's layout; there is no training split."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "val").mkdir()
    (folder / "annotations").mkdir()
    images = [{"id": i, "file_name": f"{i}.png", "width": 96, "height": 64} for i in (1, 2, 3)]
    for image in images:
        Image.new("RGB", (96, 64), (40 * image["id"], 90, 10)).save(folder / "val" / image["file_name"])
    boxes = [
        {"id": i, "image_id": i, "category_id": 1 + i % 2, "bbox": [10, 10, 40, 30], "area": 1200, "iscrowd": 0}
        for i in (1, 2, 3)
    ]
    content = {
        "images": images,
        "annotations": boxes,
        "categories": [{"id": 1, "name": "disc"}, {"id": 2, "name": "ring"}],
    }
    (folder / "annotations" / "val.json").write_text(json.dumps(content))
    part = "{annotations: annotations/val.json, images: val}"
    absent = "{annotations: annotations/train.json, images: train}"
    file = folder / "pictures.yaml"
    file.write_text(f"format: coco\ndescription: three pictures\ntrain: {absent}\nevaluation: {part}\n")
    return file


def evaluated(file: Path, data: Path, output: Path | None, *overrides: str, tta: str | None = None):
    return evaluate_weights(
        file,
        str(data),
        data_root=None,
        output=output,
        overrides=(*FAST, *overrides),
        device="cpu",
        console=Console(quiet=True),
        tta=tta,
    )


def test_the_card_says_what_the_weights_are_of(atss):
    facts = read_weights_facts(atss)
    assert (facts.strategy, facts.preset, facts.classes, facts.class_names) == ("atss", "mmdet", 2, ("Disc", "ring"))
    assert facts.recipe["model.pyramid"] == "p5_plain"
    assert facts.recipe["evaluate.score"] == "product"
    assert (facts.toolbox, facts.checkpoint) == ("mmdet", "atss.pth")


def test_the_evaluation_split_is_enough(atss, data, tmp_path):
    result = evaluated(atss, data, tmp_path / "found.json", "evaluate.score_threshold=0.001")
    assert set(result.per_class) == {"disc", "ring"}
    assert len(json.loads((tmp_path / "found.json").read_text())) == result.detections > 0


def test_two_evaluations_write_the_same_detections(atss, data, tmp_path):
    for name in ("a.json", "b.json"):
        evaluated(atss, data, tmp_path / name, "evaluate.score_threshold=0.001")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_augmentation_enters_the_name_of_the_detections_file(atss, data, tmp_path):
    result = evaluated(atss, data, tmp_path / "found.json", tta="flip")
    assert result.tta is not None
    assert {path.name for path in tmp_path.iterdir()} == {
        f"found.tta-{result.tta}{end}" for end in (".json", ".views.json")
    }
    assert result.notes[0].startswith(f"with test-time augmentation {result.tta}")
    assert evaluated(atss, data, tmp_path / "found.json").tta is None


def test_other_classes_are_refused(data, tmp_path):
    bring(save(tmp_path / "x.pth", names=("ring", "disc"), config=ATSS_MEAN), tmp_path / "x.safetensors")
    with pytest.raises(UsageError, match=r"2 classes .* e\.g\. 'ring' and 'disc'"):
        evaluated(tmp_path / "x.safetensors", data, tmp_path / "found.json")


def test_another_number_of_classes_is_refused(atss, data, tmp_path):
    text = (data.parent / "annotations" / "val.json").read_text()
    content = json.loads(text)
    content["categories"].append({"id": 3, "name": "bar"})
    (data.parent / "annotations" / "more.json").write_text(json.dumps(content))
    other = data.with_name("more.yaml")
    other.write_text(data.read_text().replace("val.json", "more.json"))
    with pytest.raises(UsageError, match="the weights know 2 classes, more"):
        evaluated(atss, other, tmp_path / "found.json")


def test_the_detector_of_trained_weights_cannot_be_set(atss, data, tmp_path):
    with pytest.raises(UsageError, match=r"--set model\.channels does not fit weights that are trained"):
        evaluated(atss, data, tmp_path / "found.json", "model.channels=64")


def test_an_unnamed_configuration_is_said(tmp_path):
    _, notes = bring(save(tmp_path / "x.pth"), tmp_path / "x.safetensors")
    assert notes == ("the checkpoint does not hold its configuration: that it is this detector is taken on trust",)


def test_other_pixels_are_refused_with_the_way_out(tmp_path):
    with pytest.raises(UsageError, match=r"mean colour of 103\.530 .* add --set model\.pixels=caffe"):
        bring(save(tmp_path / "x.pth", config=CAFFE_MEAN), tmp_path / "x.safetensors")


def test_another_fcos_of_the_same_names_is_refused(tmp_path):
    plain = save(tmp_path / "plain.pth", "fcos", config=f"center_sampling=True, centerness_on_reg=True {CAFFE_MEAN}")
    with pytest.raises(UsageError, match="lacks norm_on_bbox = True"):
        bring(plain, tmp_path / "x.safetensors", "fcos")
    switches = "center_sampling=True, centerness_on_reg=True, norm_on_bbox = True"
    bring(
        save(tmp_path / "improved.pth", "fcos", config=f"{switches} {CAFFE_MEAN}"), tmp_path / "x.safetensors", "fcos"
    )


def test_an_existing_file_is_not_overwritten(atss, tmp_path):
    before = atss.read_bytes()
    with pytest.raises(UsageError, match="exists already"):
        bring(save(tmp_path / "x.pth"), atss)
    assert atss.read_bytes() == before


def test_a_file_without_a_card_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(DataError, match="does not say what its weights are of"):
        read_weights_facts(tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes(b"nothing")
    with pytest.raises(DataError, match="cannot be read"):
        read_weights_facts(tmp_path / "b.safetensors")


def test_import_and_eval_on_the_command_line(data, tmp_path, capsys):
    save(tmp_path / "x.pth", config=ATSS_MEAN)
    small = [word for setting in SMALL for word in ("--set", setting)]
    out = str(tmp_path / "x.safetensors")
    arguments = ["import", str(tmp_path / "x.pth"), "--from", "mmdet", "--assigner", "atss", "--output", out, *small]
    assert main(arguments) == 0
    assert re.search("wrote .*x.safetensors: atss, preset mmdet, 2 classes, from x.pth", capsys.readouterr().out)
    fast = [word for setting in FAST for word in ("--set", setting)]
    assert main(["eval", "--weights", out, "--dataset", str(data), "--device", "cpu", *fast]) == 0
    assert "AP50" in capsys.readouterr().out
    assert (tmp_path / "x.detections.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "eval needs either RUN"),
        (["runs/x", "--weights", "x.safetensors"], "eval needs either RUN"),
        (["--weights", "x.safetensors"], "--weights needs --dataset"),
        (["runs/x", "--set", "evaluate.nms=0.5"], "--output and --set are for --weights"),
        (["--weights", "x.safetensors", "--dataset", "shapes"], "there is no file x.safetensors"),
    ],
)
def test_eval_says_what_it_needs(arguments, message, capsys):
    assert main(["eval", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_weights_that_are_no_numbers_are_refused(atss, data, tmp_path):
    checkpoint = save(tmp_path / "odd.pth", config=ATSS_MEAN)
    content = torch.load(checkpoint, weights_only=True)  # noqa: TID251 - what others do
    name = next(name for name in content["state_dict"] if name.endswith("atss_reg.weight"))
    content["state_dict"][name][0] = torch.nan
    torch.save(content, checkpoint)  # noqa: TID251 - what others do
    with pytest.raises(RunError, match=r"odd\.pth: \d+ of \d+ numbers of detector\.head\..* are not finite"):
        bring(checkpoint, tmp_path / "odd.safetensors")
    assert not (tmp_path / "odd.safetensors").exists()

    facts, tensors = read_weights_facts(atss), load_tensors(atss)
    tensors["detector.head.box_output.bias"][0] = torch.inf
    save_tensors(tmp_path / "inf.safetensors", tensors, {"assignbench": json.dumps(asdict(facts))})
    with pytest.raises(RunError, match=r"inf\.safetensors: 1 of 4 numbers of detector\.head\.box_output\.bias"):
        evaluated(tmp_path / "inf.safetensors", data, tmp_path / "x.json")


def test_detections_of_somebody_else_are_not_overwritten_and_nor_are_the_weights(atss, data, tmp_path):
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(atss.read_bytes())
    evaluated(weights, data, None)
    evaluated(weights, data, None)  # its own
    theirs = weights.with_suffix(".detections.json")
    theirs.write_text('[{"image_id": 1}]')
    with pytest.raises(UsageError, match=r"w\.detections\.json was not written by eval --weights, and would be"):
        evaluated(weights, data, None)
    assert theirs.read_text() == '[{"image_id": 1}]'
    with pytest.raises(UsageError, match=r"w\.safetensors is read by this command, and would be overwritten"):
        evaluated(weights, data, weights)
    assert weights.read_bytes() == atss.read_bytes()
