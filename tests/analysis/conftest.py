from collections.abc import Callable

import numpy as np
import pytest

from assignbench.run.scoring.matches import Found, Objects

World = tuple[Objects, Found]


def _world(seed: int, images: int, classes: int, objects: int, quality: float = 1.0, crowd: float = 0.03) -> World:
    """Objects that depend on the seed's whole part, and detections that hit them well and badly, false ones as well."""
    random = np.random.default_rng(seed // 100)
    image, label = np.sort(random.integers(0, images, objects)), random.integers(0, classes, objects)
    size = np.exp(random.normal(4, 0.8, (objects, 2)))
    box = np.hstack([300 * random.random((objects, 2)), size])
    truth = Objects(image, label, box, size.prod(axis=1), random.random(objects) < crowd)
    random = np.random.default_rng([seed, 1])
    count = 4 * objects
    pick, odd = random.integers(0, objects, count), random.random(count)
    off = box[pick] * (1 + random.normal(0, 0.15, (count, 4)) * odd[:, None] / quality)
    score = np.clip(random.normal(0.3, 0.15, count) + 0.4 * (1 - odd), 0, 1)
    where = np.where(random.random(count) < 0.3, random.integers(0, images, count), image[pick])
    what = np.where(random.random(count) < 0.2, random.integers(0, classes, count), label[pick])
    return truth, Found(where, what, np.maximum(off, 1), score)


@pytest.fixture(scope="session")
def world() -> Callable[..., World]:
    """``world(seed, images, classes, objects)``: seeds of one hundred have the same objects."""
    return _world
