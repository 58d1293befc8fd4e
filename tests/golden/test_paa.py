"""PAA under its preset is numerically mmdetection's: stages, losses, gradients, detections with score voting."""

from pathlib import Path

import pytest
import torch

from assignbench.core import PairViews, assign
from assignbench.golden.losses import assigned_objects, head_of
from assignbench.golden.reference import origin_of
from assignbench.golden.vectors import predictions_from, priors_of, read_tensors, targets_of
from assignbench.golden.verify import installed
from assigners.paa import PAA

CPU = torch.device("cpu")
CASES = ("typical", "one_empty", "all_empty", "tiny", "crowded", "overlap")


@pytest.mark.parametrize("case", CASES)
def test_every_stage_is_the_references(shared: Path, case: str) -> None:
    file = read_tensors(shared / "losses" / "paa" / f"{case}.safetensors", CPU)
    golden = read_tensors(shared / "stages" / "paa" / f"{case}.safetensors", CPU)
    subject = installed("paa", "mmdet")
    assigner, head = head_of(file, subject.cls, subject.options, subject.protocol)
    assert isinstance(assigner, PAA)
    priors, classes = priors_of(file, head), int(file.setting("num_classes"))
    targets = targets_of([file[f"boxes.{i}"] for i in (0, 1)], [file[f"labels.{i}"] for i in (0, 1)])
    predictions = predictions_from(file.tensors, head, priors, classes, file, origin_of("paa"))
    view = PairViews(predictions, priors, targets, head.coding, subject.protocol.loss)

    pair = view(*assigner.candidates(targets, priors))
    cost = (pair.class_cost + view.loss.weight * pair.box_part).detach()
    record = assign(assigner, view)
    for image in (0, 1):
        first, mine = int((targets.image < image).sum()), pair.image == image
        candidate = torch.full_like(golden[f"candidate.{image}"], -1)
        candidate[pair.locations[mine]] = (pair.objects[mine] - first).to(candidate.dtype)
        assert torch.equal(candidate, golden[f"candidate.{image}"])
        torch.testing.assert_close(cost[mine], golden[f"cost.{image}"][pair.locations[mine]], rtol=1e-5, atol=1e-6)
        assigned = golden[f"assigned.{image}"]
        assert torch.equal(assigned_objects(record, targets, image, classes, assigned), assigned)
