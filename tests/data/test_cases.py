"""Data sets as annotation tools write them, each opened by its folder alone: the right boxes, or a refusal in words.

The folders are written by the script of the cases, where it lies beside the checkout; skipped elsewhere.
"""

import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "shared" / "cases" / "make.py"

pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason=f"no cases in {SCRIPT.parent}")

CLASSES = ("cat", "toy car")

# What cannot be read, and a part of the sentence that says so.
REFUSED: dict[str, str] = {}

# Data whose labels the script replaced, so that its truth does not hold: the boxes in pixels, by picture all the same.
OTHER: dict[str, list[float]] = {}


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cases")
    argv, sys.argv = sys.argv, ["make.py", str(folder)]
    try:
        runpy.run_path(str(SCRIPT))
    finally:
        sys.argv = argv
    return folder
