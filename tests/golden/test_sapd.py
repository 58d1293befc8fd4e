"""SAPD against another reading of its formulas, made independently: there is no reference implementation.

The files lie beside the golden vectors, as `readings/sapd`; they give what the selection network puts out.
"""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from assignbench.core import PairViews, Setting, assign
from assignbench.detector.objective import objective
from assignbench.golden.checks import GRADIENT, LOSS, relative
from assignbench.golden.reference import Origin
from assignbench.golden.vectors import predictions_from, priors_of, read_tensors, targets_of
from assignbench.run.matrix.protocol import protocol_of
from assigners.sapd import SAPD

CLASSES, NOWHERE = 6, 1e7  # what a level without cells costs there
MAPS = [(8, 12), (4, 6), (2, 3), (1, 2), (1, 1)]
CASES = [f"{phase}{case}" for phase in ("", "soft_") for case in ("typical", "one_empty", "tiny", "overlap")]


class Given(nn.Module):
    """Puts out what a file says, whatever the features are."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, features: Tensor) -> Tensor:
        assert len(features) == len(self.logits)
        return self.logits


@pytest.mark.parametrize("case", CASES)
def test_the_readings_agree(shared: Path, case: str) -> None:
    path = shared / "readings" / "sapd" / f"{case}.safetensors"
    if not path.is_file():
        pytest.skip(f"{path} does not exist")
    file = read_tensors(path, torch.device("cpu"))
    targets = targets_of([file["boxes.0"], file["boxes.1"]], [file["labels.0"], file["labels.1"]])
    protocol = protocol_of(SAPD, "published", "paper")
    assigner = SAPD(Setting(classes=CLASSES, channels=32))
    logits = torch.cat([file["level_logits.0"], file["level_logits.1"]])
    assigner.selection = nn.Sequential(Given(logits))
    head = protocol.head(assigner.head)
    priors = priors_of(file, head)
    raw = {name: value.clone().requires_grad_() for name, value in file.tensors.items() if name[:4] in ("cls.", "reg.")}
    predictions = predictions_from(raw, head, priors, CLASSES, file, Origin("sapd"))
    object.__setattr__(predictions, "pyramid", tuple(torch.zeros(2, 32, *size) for size in MAPS))
    view = PairViews(predictions, priors, targets, head.coding, protocol.loss)
    record = assign(assigner, view, 0.8 if case.startswith("soft") else 0.2)
    losses = objective(record, view, head.extras)

    assert relative((losses["class"] + losses["background"])[None], file["loss.cls"]) < LOSS
    assert relative(losses["box"][None], file["loss.bbox"]) < LOSS
    (losses["class"] + losses["background"] + losses["box"]).backward()
    assert (
        max(relative(leaf.grad, file[f"grad.{name}"]) for name, leaf in raw.items() if leaf.grad is not None) < GRADIENT
    )
    assert all(leaf.grad is not None for leaf in raw.values())

    pairs, first = record.pairs, 0
    for image in range(2):
        mine = targets.image[pairs.object] == image
        weight = torch.zeros(len(priors)).index_put((pairs.location[mine],), pairs.weight[mine])
        owner = torch.full((len(priors),), -1).index_put((pairs.location[mine],), pairs.object[mine] - first)
        assert torch.equal(owner, file[f"owner.{image}"])
        torch.testing.assert_close(weight, file[f"soft.{image}"])
        first += int((targets.image == image).sum())

    # the other reading takes the finest level for the easiest of an object without cells; ours leaves it out
    level_loss = torch.cat([file["level_loss.0"], file["level_loss.1"]], dim=1).t()
    surprise = -logits.log_softmax(1).gather(1, level_loss.argmin(1, keepdim=True))[:, 0]
    assert (0.1 * surprise.mean()).item() == pytest.approx(file["meta_loss"].item(), rel=1e-5)
    taught = (level_loss < NOWHERE).any(1)
    assert losses["selection"].item() == pytest.approx(0.1 * surprise[taught].mean().item(), rel=1e-5)
