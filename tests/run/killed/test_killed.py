"""A real ``assignbench run`` of two strategies, killed at many points: it goes on, and ends in the same bytes.

``ASSIGNBENCH_KILL=all`` kills it at every file operation, which takes half an hour, and prints the table.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

WHICH = os.environ.get("ASSIGNBENCH_KILL", "some")

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the harness forks a process that has imported torch")


@pytest.fixture(scope="module")
def found(few_pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What driver.py has found."""
    folder = tmp_path_factory.mktemp("killed")
    shutil.copy(few_pictures, folder / "mini.yaml")
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("driver.py")), str(folder), WHICH],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    sys.stdout.write("\n".join(["point | then | outcome | leftovers", *lines[:-1], ""]))
    table: dict[str, Any] = json.loads(lines[-1])
    return table


def test_every_kill_ends_in_the_same_bytes(found: dict[str, Any]) -> None:
    """Weights, detections, losses, statistics, snapshots, matches, and the record but for times."""
    assert [point for point in found["points"] if point["outcome"] != "same bytes"] == []


def test_no_kill_leaves_anything(found: dict[str, Any]) -> None:
    """No ``*.tmp``, lease, progress or checkpoint."""
    assert [point for point in found["points"] if point["leftovers"]] == []


def test_there_are_enough_points_of_every_kind(found: dict[str, Any]) -> None:
    assert len(found["points"]) >= 50
    hit = Counter(point["how"].rpartition(": ")[2].partition(" ")[0] for point in found["points"])
    kinds = {operation.partition(" ")[0] for operation in found["operations"]}
    assert kinds == {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"}
    assert all(hit[kind] for kind in kinds)
    hows = " ".join(point["how"] for point in found["points"])
    assert all(how in hows for how in ("SIGTERM after", "SIGKILL after", "process 0 of two", "process 1 of two"))
    assert any(point["again"] for point in found["points"])
