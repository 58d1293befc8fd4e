import pytest
import torch

from assignbench.bench.problem import Case
from assignbench.bench.strategies import chosen

CPU = torch.device("cpu")


@pytest.fixture
def small() -> Case:
    return Case(objects=3, height=64, width=96, batch=2, classes=5)


@pytest.fixture
def one():
    """A strategy by its text, under the controlled protocol."""
    return lambda text: chosen([text], "controlled", None)[0]
