"""Detector and strategy as one module, so that one wrapper synchronises the gradients of both."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from assignbench.core import Assigner, Assignment, Extra, Head, PairViews, Predictions, Priors, Setting, Targets
from assignbench.core.assigner import assign_branches
from assignbench.core.head import MAIN
from assignbench.core.parts import PairLoss
from assignbench.data.load.batch import Batch
from assignbench.detector.detector import Detector
from assignbench.detector.objective import Charges, charges, divided
from assignbench.detector.pixels import PIXELS
from assignbench.detector.pyramid import Pyramid
from assignbench.errors import RunError
from assignbench.importing import written_at
from assignbench.recipe import LossSettings, ModelSettings
from assignbench.run.matrix.plan import Candidate
from assignbench.run.matrix.protocol import CONTROLLED, Protocol


@dataclass(frozen=True)
class Step:
    """What one forward pass of training gives."""

    losses: Mapping[str, Tensor]  # name → []; their sum is minimised
    assignments: Mapping[str, Assignment]  # of each branch of the head
    priors: Priors  # of the branch that speaks
    assignment_seconds: float | None  # the strategy alone; None: not timed in this step

    @property
    def assignment(self) -> Assignment:
        """Of the branch that speaks."""
        return self.assignments[MAIN]


class Learner(nn.Module):
    """Batch → losses, and the record they were computed from.

    ``ignore_crowd`` False teaches crowd regions as background.
    """

    def __init__(self, detector: Detector, assigner: Assigner, loss: PairLoss, *, ignore_crowd: bool = True) -> None:
        super().__init__()
        self.detector, self.assigner, self.loss = detector, assigner, loss
        self.ignore_crowd = ignore_crowd

    @property
    def head(self) -> Head:
        """The head in use."""
        return self.detector.spec

    def forward(self, batch: Batch, timed: bool = False, progress: float = 0.0) -> Step:
        """Predict, assign, charge. The last two run in float32 whatever the precision of the network.

        Args:
            batch: images and objects.
            timed: this step is a sample: the strategy is timed and its record is checked, which makes a GPU wait.
            progress: how far training is, from 0 to 1.

        Raises:
            RunError: the strategy's record is impossible.
        """
        seen = self.detector.every_branch(batch.images, batch.sizes, progress)
        return self.charge(seen, batch.targets, timed=timed, progress=progress)

    def charge(
        self,
        seen: Mapping[str, tuple[Predictions, Priors]],
        targets: Targets,
        *,
        timed: bool = False,
        progress: float = 0.0,
    ) -> Step:
        """As `forward`, for predictions that are there already: by branch, with the priors in use."""
        predictions, priors = seen[MAIN]
        device = predictions.outputs.device
        targets = targets if self.ignore_crowd else targets.without_ignored()
        with torch.autocast(device.type, enabled=False):
            views = self.views(seen, targets, progress)
            start = now(device) if timed else 0.0
            assignments = assign_branches(self.assigner, views, progress)
            seconds = now(device) - start if timed else None
            with self.explained():
                if timed:
                    for branch, assignment in assignments.items():
                        assignment.check(seen[branch][0], targets)
                losses = self.losses(self.charges(assignments, views))
        return Step(losses, assignments, priors, seconds)

    def tried(
        self, seen: Mapping[str, tuple[Predictions, Priors]], targets: Targets, progress: float
    ) -> Mapping[str, Charges]:
        """As `charge`, before anything is divided: what each branch costs, for a sum over several batches."""
        targets = targets if self.ignore_crowd else targets.without_ignored()
        views = self.views(seen, targets, progress)
        assignments = assign_branches(self.assigner, views, progress)
        with self.explained():
            return self.charges(assignments, views)

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Say whose record it is that the objective refuses.

        Raises:
            RunError: in place of a ValueError.
        """
        try:
            yield
        except ValueError as error:
            file, line = written_at(type(self.assigner).forward)
            name, where = type(self.assigner).__name__, f"{file}:{line}"
            raise RunError(f"{name} puts out an impossible assignment: {error} ({where})") from error

    def views(
        self, seen: Mapping[str, tuple[Predictions, Priors]], targets: Targets, progress: float = 0.0
    ) -> Mapping[str, PairViews]:
        """The batch as the pairs of each branch see it; branches that share outputs share what is read off them."""
        heads = self.head.by_branch()
        return {
            name: PairViews(predictions, priors, targets, heads[name].coding, self.loss, progress)
            for name, (predictions, priors) in seen.items()
        }

    def charges(self, assignments: Mapping[str, Assignment], views: Mapping[str, PairViews]) -> Mapping[str, Charges]:
        """What the record of each branch costs, before it is divided."""
        heads = self.head.by_branch()
        return {branch: charges(assignments[branch], views[branch], head.extras) for branch, head in heads.items()}

    def losses(self, charged: Mapping[str, Charges]) -> Mapping[str, Tensor]:
        """What the records cost, by name; those of further branches carry their name: ``one_to_one.class``."""
        terms = {}
        for branch, own in charged.items():
            terms |= {name if branch == MAIN else f"{branch}.{name}": value for name, value in divided(own).items()}
        return terms


def now(device: torch.device) -> float:
    """Seconds, once everything given to the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def build_learner(
    strategy: type[Assigner],
    options: Mapping[str, Any],
    model: ModelSettings,
    *,
    classes: int,
    seed: int,
    protocol: Protocol = CONTROLLED,
    extras: Sequence[Extra] = (),
    loss: LossSettings | None = None,
    pretrained: bool = True,
) -> Learner:
    """The detector and loss of the protocol around a strategy.

    Strategies with the same seed start from the same backbone, pyramid and (under the controlled protocol) towers,
    bit for bit: these draw their weights before anything whose size depends on the strategy. ``pretrained=False``
    leaves a pretrained backbone's weights to be loaded by the caller.

    Args:
        strategy: class of the strategy.
        options: all its options that are not defaults, the protocol's included.
        model: settings of the recipe, as the protocol changed them.
        classes: number of classes.
        seed: of every random weight.
        protocol: controlled, or published with a preset.
        extras: outputs that the head gains, beside the strategy's own.
        loss: what pairs and background cost; None: what the protocol says.
        pretrained: whether to load the backbone's weights.

    Raises:
        UsageError: as `Protocol.surround`.
        SystemProblem: pretrained weights are missing.
    """
    torch.manual_seed(seed + 1)  # strategies with random parameters of their own do not shift the detector's
    from assignbench.detector.backbone import Backbone  # here: it imports torchvision, and planning builds no network

    setting = Setting(classes=classes, channels=model.channels)
    assigner, head, charged = protocol.surround(strategy, options, setting, extras, loss or LossSettings())
    torch.manual_seed(seed)
    backbone = Backbone(
        model.backbone,
        model.weights,
        style=model.style,
        norm_affine=model.norm_affine,
        deformable=model.deformable,
        load=pretrained,
    )
    preset = protocol.preset
    detector = Detector(
        backbone,
        Pyramid(backbone.channels, model.channels, model.pyramid, model.pyramid_init),
        head,
        PIXELS[model.pixels],
        classes=classes,
        channels=model.channels,
        depth=model.towers,
        deformable=model.deformable_towers,
        mask_padding=preset is None or not preset.padding_is_background,
    )
    ignore_crowd = preset is None or not preset.crowd_is_background
    return Learner(detector.to(memory_format=torch.channels_last), assigner, charged, ignore_crowd=ignore_crowd)


def bare_learner(one: Candidate, model: ModelSettings, classes: int) -> Learner:
    """The learner that a run of a candidate would train, without pretrained weights: to be filled, or measured."""
    return build_learner(
        one.cls,
        one.options,
        model,
        classes=classes,
        seed=0,
        protocol=one.protocol,
        extras=one.extras,
        pretrained=False,
    )
