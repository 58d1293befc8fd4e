"""Run a detector over a split: every image once, over all processes, in original pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from assignbench.data.dataset import Dataset
from assignbench.data.load.batch import Batch
from assignbench.data.load.streams import view_batches
from assignbench.data.load.transfer import on_device
from assignbench.data.load.transforms import View
from assignbench.detector.detector import Detector
from assignbench.detector.postprocess import ImageDetections, PostprocessRule, before_suppression, detect
from assignbench.errors import RunError
from assignbench.recipe import DataSettings, EvaluateSettings
from assignbench.run.scoring.evaluate import Detections
from assignbench.run.scoring.test_time import Found, merged_views, pictures_at_once
from assignbench.run.scoring.views import ViewSet
from assignbench.run.training.device import memory_advice, workers_of
from assignbench.run.training.processes import all_rows, summed

Find = Callable[..., list[ImageDetections]]  # as `detect`


@torch.no_grad()
def detections_of(
    detector: Detector,
    dataset: Dataset,
    accelerator: Accelerator,
    *,
    data: DataSettings,
    settings: EvaluateSettings,
    view_set: ViewSet | None = None,
) -> list[Detections]:
    """Detections of every image of a split, on the main process; an empty list elsewhere.

    Args:
        detector: in training or not; it comes back as it was.
        dataset: the split.
        accelerator: processes and devices.
        data: sizes of the pictures.
        settings: post-processing.
        view_set: test-time augmentation; None: one look at every picture, at the recipe's size.

    Raises:
        DataError: a picture cannot be read.
        RunError: an image is missing or came twice.
        SystemProblem: memory is short.
    """
    training = detector.training
    detector.eval()
    rows = [torch.zeros(0, 7, dtype=torch.float64, device=accelerator.device)]
    seen = torch.zeros(len(dataset), device=accelerator.device)
    batches = view_batches(
        dataset,
        [View(*data.test_sides)] if view_set is None else [sized.view for sized in view_set.views],
        batch=settings.batch if view_set is None else pictures_at_once(view_set, data, settings),
        process=accelerator.process_index,
        processes=accelerator.num_processes,
        workers=workers_of(data, accelerator.device),
    )
    moved = on_device(batches, accelerator.device)
    for indices, scales, found in (
        seen_once(detector, moved, settings) if view_set is None else seen_often(detector, moved, settings, view_set)
    ):
        rows.extend(packed(indices, scales, found, dataset))
        seen[torch.tensor(indices, device=seen.device)] += 1
    detector.train(training)

    table = all_rows(torch.cat(rows), accelerator)
    odd = int((summed(seen, accelerator) != 1).sum())
    if odd:
        raise RunError(f"{odd} images were not evaluated exactly once")
    return list(by_image(table.cpu().numpy(), len(dataset))) if accelerator.is_main_process else []


def seen_once(detector: Detector, batches: Iterator[Batch], settings: EvaluateSettings) -> Iterator[Found]:
    """Plain evaluation, batch by batch."""
    for batch in batches:
        yield batch.indices, batch.scales, detect_images(detector, batch.images, batch.sizes, settings)


def seen_often(
    detector: Detector, batches: Iterator[Batch], settings: EvaluateSettings, view_set: ViewSet
) -> Iterator[Found]:
    """Every picture in all views of a set, group by group."""
    find = detect if view_set.merge.rule == "vote" else before_suppression
    advice = "or leave the largest views out of the set"

    def look(batch: Batch) -> list[ImageDetections]:
        return detect_images(detector, batch.images, batch.sizes, settings, find=find, advice=advice)

    return merged_views(batches, view_set, look)


def detect_images(
    detector: Detector,
    images: Tensor,
    sizes: Tensor,
    settings: EvaluateSettings,
    *,
    find: Find | None = None,
    advice: str = "or data.short_side and data.long_side",
) -> list[ImageDetections]:
    """Detections of padded images ``[image, 3, H, W]`` of ``sizes`` ``[image, 2]``, in pixels of the network input.

    In float32 whatever the precision of the training, so that neither batch nor machine shows in the result.

    Args:
        detector: the network.
        images: uint8 RGB.
        sizes: height and width without padding.
        settings: post-processing.
        find: what makes detections of predictions; None: `detect`.
        advice: beside evaluate.batch, what to change where memory is short.

    Raises:
        RunError: the network puts out numbers that are not finite.
        SystemProblem: memory is short.
    """
    height, width = images.shape[-2:]
    short = (
        f"detecting in {len(images)} images of {height} × {width} pixels at once does not fit into memory\n"
        f"lower evaluate.batch, which changes speed and not results, {advice}"
    )
    with memory_advice(short):
        predictions, priors = detector(images, sizes)
        if not bool(predictions.outputs.isfinite().all() & predictions.boxes.isfinite().all()):
            # such entries are above no threshold: they would end in an AP of 0 that looks like a result
            raise RunError("the network puts out numbers that are not finite, so that nothing can be detected with it")
        rule = rule_of(settings, suppress=detector.spec.suppress)
        return (find or detect)(predictions, priors, sizes, detector.spec.extras, rule)


def rule_of(settings: EvaluateSettings, *, suppress: bool = True) -> PostprocessRule:
    """The post-processing that a recipe asks for; without suppression where the strategy's head wants none."""
    rule = PostprocessRule(**settings.model_dump(exclude={"batch", "evaluator"}))
    return rule if suppress else replace(rule, nms=None)


def packed(
    indices: tuple[int, ...], scales: Tensor, found: list[ImageDetections], dataset: Dataset
) -> Iterator[Tensor]:
    """Image index, box in original pixels clipped to the picture, score and label: ``[detection, 7]`` an image."""
    for index, scale, one in zip(indices, scales, found, strict=True):
        info = dataset.images[index]
        limit = one.boxes.new_tensor([info.width, info.height]).repeat(2)
        boxes = torch.minimum(one.boxes / scale.repeat(2), limit)
        image = torch.full_like(one.labels, index)
        columns = (image[:, None], boxes, one.scores[:, None], one.labels[:, None])
        yield torch.cat([column.double() for column in columns], dim=1)


def by_image(table: np.ndarray, images: int) -> Iterator[Detections]:
    """Rows of `packed` as one entry an image, also for those without any."""
    table = table[np.argsort(table[:, 0], kind="stable")]
    for index, rows in enumerate(np.split(table, np.searchsorted(table[:, 0], np.arange(1, images)))):
        yield Detections(index, rows[:, 1:5], rows[:, 5], rows[:, 6].astype(np.int64))
