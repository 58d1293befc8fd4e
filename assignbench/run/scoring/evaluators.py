"""COCO's numbers by either of two programs, from the same documents.

pycocotools is the evaluator of record. faster-coco-eval computes the same in compiled code; it is asked for by name,
and the first file that a process scores with it is scored by pycocotools too: every number has to agree, the whole
precision array included.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from typing import Any, Literal

import numpy as np

from assignbench.errors import RunError, SystemProblem

Evaluator = Literal["pycocotools", "fast"]

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""Names of pycocotools' twelve numbers, in its order: at most 100 detections of a class count in an image."""

AGREEMENT = 1e-12  # largest difference that the order of sums explains
AREAS, CAPS = ("all", "small", "medium", "large"), (1, 10, 100)


@dataclass(frozen=True)
class Scores:
    """What an evaluator answers; −1 stands for "no ground truth"."""

    stats: np.ndarray  # [metric] as in METRICS
    precision: np.ndarray  # [IoU threshold, recall, class, area, cap]; classes by rising category id


@dataclass
class _Process:
    """What this process knows of the fast evaluator."""

    agreed: bool = False  # with pycocotools, on a file that holds detections


_process = _Process()


def check_evaluator(evaluator: Evaluator) -> None:
    """Whether it is installed; to be asked before training, not hours later.

    Raises:
        SystemProblem: it is not.
    """
    if evaluator == "fast" and find_spec("faster_coco_eval") is None:
        raise SystemProblem("evaluate.evaluator = fast needs faster-coco-eval: pip install 'assignbench[fast]'")


def score(evaluator: Evaluator, truth: Any, results: Any, where: str) -> tuple[Scores, str]:
    """Score one file.

    Args:
        evaluator: which of the two.
        truth: ground truth, a COCO document with annotation ids from 1.
        results: the same document with detections as its annotations.
        where: name of the file, for the message.

    Returns:
        The numbers, and who made them, in words.

    Raises:
        RunError: the two evaluators disagree.
        SystemProblem: the fast one is not installed, or cannot be imported.
    """
    record = f"pycocotools {metadata.version('pycocotools')}"
    if evaluator == "pycocotools":
        return by_pycocotools(truth, results), record
    found, fast = by_faster_coco_eval(truth, results), f"faster-coco-eval {metadata.version('faster-coco-eval')}"
    if not _process.agreed:
        if difference := disagreement(found, by_pycocotools(truth, results)):
            raise RunError(
                f"{where}: {fast} and {record} disagree, {difference}; set evaluate.evaluator to pycocotools"
            )
        _process.agreed = bool(results["annotations"])
    return found, f"{fast}, checked against {record} on the first file"


def by_pycocotools(truth: Any, results: Any) -> Scores:
    """The numbers of record."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # it reports by print
        evaluator = COCOeval(_indexed(COCO(), truth), _indexed(COCO(), results), "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return _scores(evaluator)


def by_faster_coco_eval(truth: Any, results: Any) -> Scores:
    """The same numbers, faster."""
    check_evaluator("fast")
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError as error:
        raise SystemProblem(f"faster-coco-eval cannot be imported: {error}; reinstall it") from error
    evaluator = COCOeval_faster(_indexed(COCO(), truth), _indexed(COCO(), results), "bbox")
    evaluator.run()
    return _scores(evaluator)


def disagreement(found: Scores, record: Scores) -> str | None:
    """The first number in which two evaluators differ, with both values."""
    for name, a, b in zip(METRICS, found.stats, record.stats, strict=True):
        if not abs(a - b) <= AGREEMENT:
            return f"{name} = {a} and {b}"
    if found.precision.shape != record.precision.shape:
        return f"precision has shape {found.precision.shape} and {record.precision.shape}"
    if (apart := ~(np.abs(found.precision - record.precision) <= AGREEMENT)).any():
        place = tuple(np.argwhere(apart)[0])
        threshold, recall, label, size, cap = place
        return (
            f"precision at IoU {0.5 + 0.05 * threshold:.2f}, recall {recall / 100:.2f}, class {label} by category id, "
            f"area {AREAS[size]}, {CAPS[cap]} detections = {found.precision[place]} and {record.precision[place]}"
        )
    return None


def _indexed(coco: Any, document: Mapping[str, Any]) -> Any:
    """Both libraries' way to take a document from memory; `loadRes` fails on an empty list."""
    coco.dataset = document
    coco.createIndex()
    return coco


def _scores(evaluator: Any) -> Scores:
    return Scores(np.asarray(evaluator.stats, dtype=np.float64), np.asarray(evaluator.eval["precision"]))
