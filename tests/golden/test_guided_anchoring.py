"""The golden vectors of Guided Anchoring: the reference's inverted location branch, and the right one."""

from pathlib import Path

import pytest
import torch

from assignbench.core import Setting
from assignbench.golden.losses import replay_losses
from assignbench.golden.reference import origin_of
from assignbench.golden.vectors import (
    Tensors,
    images_of,
    priors_in_use,
    priors_of,
    read_tensors,
    targets_of,
)
from assignbench.golden.verify import installed

NAME = "guided_anchoring"
CASES = ("all_empty", "crowded", "one_empty", "overlap", "tiny", "typical")


@pytest.mark.parametrize("case", CASES)
def test_the_right_polarity(shared: Path, case: str) -> None:
    file = read_tensors(shared / "losses" / NAME / f"{case}.safetensors", torch.device("cpu"))
    right = {name.removeprefix("right_"): one for name, one in file.tensors.items() if name.startswith("right_")}
    subject = installed(NAME, "mmdet")
    swapped = Tensors(file.path, {**file.tensors, **right}, file.metadata)
    for polarity, tensors in (("right", swapped), ("inverted", file)):
        options = {**subject.options, "polarity": polarity}
        checks, _ = replay_losses(tensors, subject.cls, options, subject.protocol, origin_of(NAME))
        assert [check for check in checks if not check.passed] == [], polarity


def test_location_targets_and_guided_anchors(shared: Path) -> None:
    subject = installed(NAME, "mmdet")
    head = subject.protocol.head(subject.cls(Setting(classes=6), **subject.options).head)
    location, shape = head.extras
    for case in CASES:
        file = read_tensors(shared / "losses" / NAME / f"{case}.safetensors", torch.device("cpu"))
        images = range(images_of(file))
        targets = targets_of([file[f"boxes.{i}"] for i in images], [file[f"labels.{i}"] for i in images])
        priors = priors_of(file, head)
        middle, weight = location.targets(targets, priors)  # type: ignore[attr-defined]
        owner = shape.owners(targets, priors)  # type: ignore[attr-defined]
        guided = priors_in_use(file.tensors, head, priors, origin_of(NAME)).boxes
        for image in images:
            assert torch.equal(middle[image], file[f"loc_target.{image}"])
            assert torch.equal(weight[image], file[f"loc_weight.{image}"])
            torch.testing.assert_close(guided[image], file[f"guided_anchors.{image}"], rtol=1e-6, atol=1e-4)
            first = int((targets.image < image).sum())
            own = owner[image].where(owner[image] < 0, owner[image] - first)
            assert torch.equal(own, file[f"shape_assigned.{image}"])
