from pathlib import Path

import pytest

from assignbench.data.specs import open_dataset

SHAPES = """
format: shapes
seed: 5
train: 8
evaluation: 4
short_side: 64
long_side: 80
smallest: 16
largest: 50
"""


@pytest.fixture(scope="session")
def root(tmp_path_factory) -> Path:
    """A data root."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def tiny(root) -> Path:
    """A data set of a few small pictures."""
    file = root / "tiny.yaml"
    file.write_text(SHAPES, encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def splits(tiny, root):
    return open_dataset(str(tiny), root)
