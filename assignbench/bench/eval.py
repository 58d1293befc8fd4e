"""``bench eval``: from raw outputs to detections, and from a detections file to AP.

Measured:
    post-processing   threshold, ranking and suppression of a batch; floor: one sigmoid and one comparison of its scores
    scoring           a detections file by pycocotools, and by faster-coco-eval where it is installed; floor: reading it
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import numpy as np
import torch

from assignbench.bench.measure import Task, clock_of, least_seconds, memory_advice, one_thread
from assignbench.bench.outputs import Stage, outputs_like
from assignbench.bench.problem import Case, random_objects
from assignbench.bench.strategies import UNUSED
from assignbench.config import ResolvedRecipe
from assignbench.core.parts import predictions_of
from assignbench.data.dataset import Dataset, ImageInfo
from assignbench.detector.detector import cached_priors
from assignbench.detector.postprocess import detect
from assignbench.run.matrix.plan import Candidate
from assignbench.run.scoring.detect import rule_of
from assignbench.run.scoring.detections import Detections
from assignbench.run.scoring.evaluate import evaluate, write_detections
from assignbench.run.scoring.evaluators import Evaluator
from assignbench.run.training.learner import bare_learner

SCORED = 100  # detections of an image in the file that is scored
EVALUATORS: dict[Evaluator, str] = {"pycocotools": "pycocotools", "fast": "faster-coco-eval"}


@dataclass(frozen=True)
class EvalRow:
    """One line of the benchmark."""

    part: str  # post-processing or scoring
    strategy: str  # of scoring: the evaluator
    outputs: str  # like those of a trained or an untrained network
    objects: int  # an image
    image: str  # height x width, pixels
    images: int  # the batch, or the images of the file
    detections: float  # an image
    ms: float  # an image
    floor_ms: float  # an image
    ratio: float


def bench_eval(
    candidates: Sequence[Candidate],
    recipe: ResolvedRecipe,
    cases: Sequence[Case],
    *,
    device: torch.device,
    repeat: int,
    scored: int,
    progress: Callable[[str], None],
) -> list[EvalRow]:
    """Post-processing of every strategy on every case, then scoring.

    Args:
        candidates: strategies, each with its protocol.
        recipe: its thresholds and limits.
        cases: what a batch holds.
        device: where to compute.
        repeat: samples.
        scored: images of the file that is scored; 0: none.
        progress: told what is being measured.

    Raises:
        SystemProblem: a case does not fit into memory.
    """
    rows = []
    for one in candidates:
        for case in cases:
            for stage in get_args(Stage):
                progress(f"{one.label}, {stage}: {case}")
                with memory_advice(f"{one.label}: {case}"), one_thread():
                    rows.append(postprocessing_row(one, recipe, case, stage, device, repeat))
    if scored:
        for case in cases:
            progress(f"scoring: {scored} images")
            rows.extend(scoring_rows(case, scored, repeat))
    return rows


def postprocessing_row(
    one: Candidate, recipe: ResolvedRecipe, case: Case, stage: Stage, device: torch.device, repeat: int
) -> EvalRow:
    """One strategy on one case."""
    rule = rule_of(one.protocol.recipe(recipe).recipe.evaluate)
    head = bare_learner(one, UNUSED, case.classes).head
    priors = cached_priors(head, case.height, case.width, device)
    predictions = predictions_of(outputs_like(stage, head, case, device), head, priors)
    sizes = torch.tensor([[case.height, case.width]] * case.batch, device=device)
    found = detect(predictions, priors, sizes, head.extras, rule)

    floor, spent = least_seconds(
        [
            Task(lambda: predictions.logits.sigmoid() > rule.score_threshold),
            Task(lambda: detect(predictions, priors, sizes, head.extras, rule)),
        ],
        repeat,
        clock_of(device),
    )
    return EvalRow(
        part="post-processing",
        strategy=one.label,
        outputs=stage,
        objects=case.objects,
        image=case.image,
        images=case.batch,
        detections=round(sum(len(each.scores) for each in found) / case.batch, 1),
        ms=round(1e3 * spent / case.batch, 3),
        floor_ms=round(1e3 * floor / case.batch, 3),
        ratio=round(spent / floor, 3),
    )


def scoring_rows(case: Case, images: int, repeat: int) -> list[EvalRow]:
    """Every evaluator that is installed, on random detections beside random objects.

    The first run, which is not timed, holds the fast one against pycocotools.
    """
    installed: list[Evaluator] = [name for name in EVALUATORS if name == "pycocotools" or find_spec("faster_coco_eval")]
    with TemporaryDirectory() as folder:
        file = Path(folder) / "detections.json"
        dataset = random_dataset(case, images)
        write_detections(dataset, random_detections(dataset, case), file)
        reading, *scoring = least_seconds(
            [
                Task(lambda: json.loads(file.read_bytes())),
                *(Task(partial(evaluate, dataset, file, name)) for name in installed),
            ],
            repeat,
            time.process_time,
        )
    return [
        EvalRow(
            part="scoring",
            strategy=EVALUATORS[name],
            outputs="trained",
            objects=case.objects,
            image=case.image,
            images=images,
            detections=float(SCORED),
            ms=round(1e3 * spent / images, 3),
            floor_ms=round(1e3 * reading / images, 3),
            ratio=round(spent / reading, 3),
        )
        for name, spent in zip(installed, scoring, strict=True)
    ]


def random_dataset(case: Case, images: int) -> Dataset:
    """Objects without pictures."""
    targets = random_objects(Case(case.objects, case.height, case.width, images, case.classes, case.sizes))
    boxes = targets.boxes.double().numpy()
    return Dataset(
        name="random",
        split="evaluation",
        classes=tuple(f"class {label}" for label in range(case.classes)),
        category_ids=tuple(range(1, case.classes + 1)),
        images=tuple(ImageInfo(index + 1, Path(f"{index}.png"), case.width, case.height) for index in range(images)),
        boxes=boxes,
        labels=targets.labels.numpy(),
        image=targets.image.numpy(),
        area=(boxes[:, 2:] - boxes[:, :2]).prod(axis=1),
        crowd=np.zeros(len(boxes), dtype=bool),
        annotation_ids=np.arange(1, len(boxes) + 1),
        repairs=(),
        fingerprint="",
        offsets={},
    )


def random_detections(dataset: Dataset, case: Case) -> list[Detections]:
    """`SCORED` an image: its objects, some percent off, then others that are nowhere."""
    random = np.random.default_rng(0)
    found = []
    for index in range(len(dataset)):
        own = dataset.objects_of(index)
        known = dataset.boxes[own][:SCORED]
        corner = random.uniform(0, 0.5, (SCORED - len(known), 2)) * (case.width, case.height)
        other = np.hstack([corner, corner + random.uniform(8, 200, corner.shape)])
        off = random.normal(0, 0.03, known.shape) * np.tile(known[:, 2:] - known[:, :2], 2)
        labels = np.concatenate([dataset.labels[own][:SCORED], random.integers(0, case.classes, len(other))])
        found.append(Detections(index, np.vstack([known + off, other]), random.uniform(0, 1, SCORED), labels))
    return found
