from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assignbench.bench.data import bench_data, decode, load
from assignbench.config import load_recipe
from assignbench.data.dataset import Dataset, ImageInfo
from assignbench.errors import UsageError

SETTINGS = load_recipe("tiny").recipe.data


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    images = []
    for number in range(3):
        Image.new("RGB", (64, 48), (number, 0, 0)).save(tmp_path / f"{number}.png")
        images.append(ImageInfo(number + 1, tmp_path / f"{number}.png", 64, 48))
    return Dataset(
        name="three",
        split="train",
        classes=("a",),
        category_ids=(1,),
        images=tuple(images),
        boxes=np.array([[4.0, 4.0, 20.0, 20.0]] * 3),
        labels=np.zeros(3, dtype=np.int64),
        image=np.arange(3),
        area=np.full(3, 256.0),
        crowd=np.zeros(3, dtype=bool),
        annotation_ids=np.arange(1, 4),
        repairs=(),
        fingerprint="0",
        offsets={},
    )


def test_the_clock_starts_after_the_first_batch(dataset):
    seconds, shown = load(dataset, SETTINGS, batch=2, workers=0, pictures=5)
    assert seconds > 0
    assert [size for _, size in shown] == [(256, 192)] * 6


def test_the_bare_loop_reads_the_same_pictures_at_the_same_size(dataset, monkeypatch):
    _, shown = load(dataset, SETTINGS, batch=2, workers=0, pictures=4)
    opened, sizes = [], []
    real_open, real_resize = Image.open, Image.Image.resize
    monkeypatch.setattr(Image, "open", lambda path: opened.append(path) or real_open(path))
    monkeypatch.setattr(Image.Image, "resize", lambda self, size, *rest: sizes.append(size) or real_resize(self, size))
    assert decode(dataset, shown) > 0
    assert opened == [dataset.images[index].path for index, _ in shown]
    assert set(sizes) == {(256, 192)}


def test_rows(dataset):
    rows = bench_data(dataset, SETTINGS, batch=2, workers=[0], pictures=3, repeat=2, progress=str)
    assert list(asdict(rows[0])) == [
        *("dataset", "batch", "workers", "pictures", "per_second", "ms", "floor_ms", "ratio")
    ]
    assert (rows[0].dataset, rows[0].workers, rows[0].pictures) == ("three", 0, 4)
    assert rows[0].ms == pytest.approx(1e3 / rows[0].per_second, rel=0.02)


def test_more_workers_than_cores_would_not_start(dataset):
    with pytest.raises(UsageError, match="--workers 4096"):
        bench_data(dataset, SETTINGS, batch=2, workers=[0, 4096], pictures=3, repeat=1, progress=str)
