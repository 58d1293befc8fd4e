"""torchvision's RetinaNet and FCOS in training, on our pictures.

They are taken as they come: their own head, assignment and loss, their memory format, never compiled. The same are
pictures (at their size: nothing is resized), batch, objects, precision, clipping, update rule, and the backbone:
ResNet-50 from scratch, nothing frozen.
"""

from __future__ import annotations

from collections.abc import Callable

from accelerate import Accelerator
from torchvision.models.detection import fcos_resnet50_fpn, retinanet_resnet50_fpn

from assignbench.data.load.batch import Batch
from assignbench.errors import UsageError
from assignbench.recipe import TrainSettings
from assignbench.run.training.optimizer import update_rule
from assignbench.run.training.step import Trainer
from assignbench.run.training.stopwatch import Stopwatch

RIVALS = {"retinanet": retinanet_resnet50_fpn, "fcos": fcos_resnet50_fpn}

# settings under which our network is torchvision's, as far as it goes
SAME_NETWORK = ("model.backbone=resnet50", "model.weights=none", "model.channels=256", "model.towers=4")


def check_rival(name: str) -> None:
    """Refuse a strategy that torchvision does not train.

    Raises:
        UsageError: it does not.
    """
    if name not in RIVALS:
        raise UsageError(f"torchvision trains no {name}; --against torchvision is for --assigner {','.join(RIVALS)}")


def rival_step(
    name: str, batch: Batch, settings: TrainSettings, classes: int, accelerator: Accelerator
) -> Callable[[], None]:
    """A training step of torchvision's detector of that name."""
    height, width = (int(side) for side in batch.sizes[0])
    model = RIVALS[name](weights=None, weights_backbone=None, num_classes=classes, _skip_resize=True).train()
    groups = [{"params": list(model.parameters()), "weight_decay": settings.weight_decay}]
    prepared, optimizer = accelerator.prepare(model, update_rule(groups, settings.model_copy(update={"lr": 0.0})))
    trainer = Trainer(prepared, optimizer, accelerator, settings, Stopwatch({}, accelerator.device))
    pictures = [image[:, :height, :width].float() / 255 for image in batch.images]
    targets = [{"boxes": mine.boxes, "labels": mine.labels} for mine in map(batch.targets.of_image, range(len(batch)))]

    def step() -> None:
        trainer.descend(prepared(pictures, targets))
        trainer.update()

    return step
