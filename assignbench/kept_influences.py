"""The influences of the pictures of a run, kept beside its matches: computing takes seconds, reading does not.

The file names the detections, the data and the rules that it was made by; influences of others are no influences of
this run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from assignbench.comparison.influences import NUMBERS, Floats, influences, same_ap
from assignbench.errors import RunError, SystemProblem
from assignbench.files import written
from assignbench.run.results.record import RunRecord
from assignbench.run.scoring import kept_matches
from assignbench.run.scoring.matches import Matches
from assignbench.sealed import as_metadata, facts_in

FILE = "influences.safetensors"
RULE = "influences 1"  # of what `comparison.influences` computes; another one gives other numbers


def kept_influences(folder: Path, record: RunRecord) -> Mapping[str, Floats] | None:
    """Metric → ``[kind, image]`` of a finished run, for all of `NUMBERS`.

    Args:
        folder: of the run.
        record: of the run.

    Returns:
        None: none are kept, or they are those of other detections, other data or another rule.

    Raises:
        RunError: the file is damaged.
    """
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        with safe_open(file, "np") as opened:
            facts = facts_in(opened.metadata())
            stated = facts.pop("sha256", None)
            if stated is None or facts != _facts(record):
                return None
            found = {metric: opened.get_tensor(metric) for metric in NUMBERS}
    except (OSError, SafetensorError, ValueError) as error:
        raise RunError(f"{file} is damaged: {error}; remove it, it is made again") from error
    if stated != kept_matches.digest_of(found):
        raise RunError(f"{file} is damaged: its sha256 does not fit; remove it, it is made again")
    images = record.dataset.evaluation.images
    if any(each.ndim != 2 or each.shape[1] != images or not np.isfinite(each).all() for each in found.values()):
        raise RunError(f"{file} is damaged: it is not of {images} pictures; remove it, it is made again")
    return found


def keep_influences(folder: Path, record: RunRecord, matches: Matches) -> Mapping[str, Floats]:
    """Compute the influences of a run and write them, where its folder can be written to.

    Args:
        folder: of the run.
        record: of the run.
        matches: of the run.

    Raises:
        RunError: the matches give another AP than the record.
    """
    if not same_ap(matches, record.metrics.get("AP")):
        raise RunError(f"{folder / kept_matches.FILE} gives another AP than the record; remove it, it is made again")
    found = influences(matches, tuple(NUMBERS))
    arrays = {metric: np.ascontiguousarray(each) for metric, each in found.items()}
    facts = _facts(record) | {"sha256": kept_matches.digest_of(arrays)}
    try:
        with written(folder / FILE) as temporary:
            save_file(arrays, temporary, as_metadata(facts))
    except (SystemProblem, SafetensorError):
        return found  # a folder of somebody else's, or a full disk: they are computed again next time
    return found


def _facts(record: RunRecord) -> dict[str, str]:
    return {
        "rule": f"{RULE}, {kept_matches.RULE}",
        "detections": record.detections_sha256,
        "data": record.dataset.evaluation.fingerprint,
    }
