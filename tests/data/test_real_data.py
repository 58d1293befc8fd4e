"""Real data sets, where they lie beside the checkout; skipped elsewhere."""

from pathlib import Path

import pytest

from assignbench.data.load.augment import Augmentation
from assignbench.data.load.streams import training_batches, view_batches
from assignbench.data.load.transforms import View
from assignbench.data.spec.locate import open_dataset

FOLDER = Path(__file__).parents[3] / "shared" / "data"

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no real data in {FOLDER}")


def test_blood_cells():
    splits = open_dataset(f"voc:{FOLDER / 'bccd'}", Path())
    assert (len(splits.train), len(splits.evaluation)) == (292, 72)
    assert splits.train.classes == ("Platelets", "RBC", "WBC")
    assert [(repair.kind, repair.count) for repair in splits.train.repairs] == [
        ("box of zero or negative size dropped", 2)
    ]
    assert len(splits.train.boxes) + len(splits.evaluation.boxes) == 4886


def test_a_hundred_pictures_of_coco():
    splits = open_dataset(f"coco:{FOLDER / 'tiny_coco'}", Path())
    for split in (splits.train, splits.evaluation):
        assert len(split) == 50
        assert len(split.classes) == 80
        assert split.category_ids[-1] == 90
        assert split.crowd.sum() == 5
        assert split.images_without_objects > 0
        assert split.repairs == ()
    options = {"batch": 4, "process": 0, "processes": 1, "workers": 0}
    augmentation = Augmentation((64,), long_side=96, flip=0.5)
    train = list(training_batches(splits.train, augmentation, seed=0, start=0, stop=3, **options))
    assert sum(len(batch) for batch in train) == 12
    assert sum(len(batch) for batch in view_batches(splits.evaluation, [View(64, 96)], **options)) == 50
