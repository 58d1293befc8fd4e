"""FSAF under its preset is numerically mmdetection's: stages, losses, gradients, detections."""

from pathlib import Path

import pytest
import torch

from assignbench.core import PairViews, assign
from assignbench.golden.losses import assigned_objects, head_of
from assignbench.golden.reference import origin_of
from assignbench.golden.vectors import predictions_from, priors_of, read_tensors, targets_of
from assignbench.golden.verify import installed
from assigners.fsaf import FSAF

CPU = torch.device("cpu")
CASES = ("typical", "one_empty", "all_empty", "tiny", "crowded", "overlap")


@pytest.mark.parametrize("case", CASES)
def test_every_stage_is_the_references(shared: Path, case: str) -> None:
    file = read_tensors(shared / "losses" / "fsaf" / f"{case}.safetensors", CPU)
    golden = read_tensors(shared / "stages" / "fsaf" / f"{case}.safetensors", CPU)
    subject = installed("fsaf", "mmdet")
    assigner, head = head_of(file, subject.cls, subject.options, subject.protocol)
    assert isinstance(assigner, FSAF)
    priors, classes = priors_of(file, head), int(file.setting("num_classes"))
    targets = targets_of([file[f"boxes.{i}"] for i in (0, 1)], [file[f"labels.{i}"] for i in (0, 1)])
    predictions = predictions_from(file.tensors, head, priors, classes, file, origin_of("fsaf"))
    view = PairViews(predictions, priors, targets, head.coding, subject.protocol.loss)

    objects, locations, own, ignored = assigner.regions(targets, priors)
    every, pair = view(objects, locations), view(objects[own], locations[own])
    levels = assigner.level_loss(pair, every, ignored).detach()
    owned = torch.zeros_like(objects, dtype=torch.bool).index_fill(0, own, True)
    record = assign(assigner, view)
    for image in (0, 1):
        first, here = int((targets.image < image).sum()), every.image == image
        candidate = torch.full_like(golden[f"candidate.{image}"], -1)
        won = here & owned
        candidate[locations[won]] = (objects[won] - first).to(candidate.dtype)
        assert torch.equal(candidate, golden[f"candidate.{image}"])

        shadow = {
            (j, y) for j, y in zip(locations[here & ~owned].tolist(), every.label[here & ~owned].tolist(), strict=True)
        }
        assert shadow == {(j, y) for j, y in golden[f"shadow.{image}"].tolist()}

        mine = targets.image == image
        wanted = golden[f"level_loss.{image}"].t()
        torch.testing.assert_close(levels[mine].nan_to_num(posinf=1e6), wanted, rtol=1e-5, atol=1e-6)
        chosen = levels[mine].argmin(1).where(levels[mine].isfinite().any(1), -1)
        assert torch.equal(chosen, golden[f"level.{image}"].to(chosen.dtype))

        assigned = golden[f"assigned.{image}"]
        assert torch.equal(assigned_objects(record, targets, image, classes, assigned), assigned)

        weight = torch.ones_like(golden[f"class_weight.{image}"])
        entries, mine = record.discounts.counted(), targets.image[record.pairs.object] == image
        of_image = entries.image == image
        weight[entries.location[of_image], entries.label[of_image]] = 0
        weight[record.pairs.location[mine], targets.labels[record.pairs.object[mine]]] = 1
        assert torch.equal(weight, golden[f"class_weight.{image}"])
