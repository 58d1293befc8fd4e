"""torchvision's RetinaNet and FCOS in training, on our pictures.

They are taken as they come: their own head, assignment and loss, their memory format. The same are pictures, batch,
objects, precision, update rule, and the backbone: ResNet-50 from scratch, nothing frozen.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
from torch import nn
from torchvision.models.detection import fcos_resnet50_fpn, retinanet_resnet50_fpn

from assignbench.data.batch import Batch
from assignbench.errors import UsageError
from assignbench.recipe import TrainSettings

RIVALS = {"retinanet": retinanet_resnet50_fpn, "fcos": fcos_resnet50_fpn}

# settings under which our network is torchvision's, as far as it goes
SAME_NETWORK = ("model.backbone=resnet50", "model.weights=none", "model.channels=256", "model.towers=4")


def rival_step(
    name: str,
    batch: Batch,
    settings: TrainSettings,
    classes: int,
    autocast: Callable[[], AbstractContextManager[object]],
) -> Callable[[], None]:
    """A training step of torchvision's detector of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in RIVALS:
        raise UsageError(f"torchvision trains no {name}; --against torchvision is for --assigner {','.join(RIVALS)}")
    height, width = (int(side) for side in batch.sizes[0])
    model = RIVALS[name](
        weights=None,
        weights_backbone=None,
        num_classes=classes,
        min_size=min(height, width),  # its own resizing then leaves the pictures as they are
        max_size=max(height, width),
    )
    model = model.to(batch.images.device).train()
    optimizer = (
        torch.optim.SGD(model.parameters(), lr=0.0, momentum=settings.momentum, weight_decay=settings.weight_decay)
        if settings.optimizer == "sgd"
        else torch.optim.AdamW(model.parameters(), lr=0.0, weight_decay=settings.weight_decay)
    )
    pictures = [image[:, :height, :width].float() / 255 for image in batch.images]
    targets = [{"boxes": mine.boxes, "labels": mine.labels} for mine in map(batch.targets.of_image, range(len(batch)))]

    def step() -> None:
        with autocast():
            losses = model(pictures, targets)
        torch.stack(list(losses.values())).sum().backward()
        if settings.clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step
