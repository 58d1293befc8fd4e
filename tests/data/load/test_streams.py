import copy
import math
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from assignbench.data.dataset import Dataset, Splits
from assignbench.data.load import loader as module
from assignbench.data.load import order
from assignbench.data.load.augment import Augmentation, Growth
from assignbench.data.load.batch import Batch, load_batch
from assignbench.data.load.streams import training_batches, view_batches
from assignbench.data.load.transforms import View
from assignbench.data.spec.locate import open_dataset
from assignbench.errors import DataError, SystemProblem

AUGMENTED = {"short_side_range": True, "crop": 0.3, "jitter": 0.4, "growth": Growth(0.5, 9)}


@pytest.fixture
def dataset(voc) -> Dataset:
    """Five pictures of 50 × 40: object counts 0, 1, 2, 0, 2, of which one is difficult."""
    ant, cat = voc.object("ant", 11, 21, 20, 30), voc.object("cat", 1, 1, 50, 40)
    ignored = voc.object("cat", 31, 1, 40, 10, difficult=1)
    pictures = {"a": (), "b": (ant,), "c": (cat, ant), "d": (), "e": (ignored, cat)}
    xml = {stem: voc.xml(*objects) for stem, objects in pictures.items()}
    return open_dataset(voc.write(trainval=xml, test=xml), Path()).train


@pytest.fixture(scope="module")
def unequal(tmp_path_factory: pytest.TempPathFactory) -> Splits:
    """Nine and seven pictures of 64 × 64 to 128 pixels, upright and lying."""
    folder = tmp_path_factory.mktemp("unequal")
    (folder / "mini.yaml").write_text(
        "format: shapes\ndescription: of several shapes\nseed: 5\ntrain: 9\nevaluation: 7\n"
        "short_side: 64\nlong_side: 128\nsmallest: 12\nlargest: 40\n"
    )
    return open_dataset(str(folder / "mini.yaml"), folder)


def train(
    dataset: Dataset,
    *,
    steps: range = range(4),
    batch: int = 4,
    process: int = 0,
    processes: int = 1,
    workers: int = 0,
    micro_steps: int = 1,
    **changed,
) -> list[Batch]:
    """``batch`` pictures a step, over all processes and micro-steps."""
    augmentation = replace(Augmentation((40, 80), long_side=200, flip=0.5), **changed)
    split = {"process": process, "processes": processes, "workers": workers, "micro_steps": micro_steps}
    return list(
        training_batches(dataset, augmentation, batch=batch, seed=0, start=steps.start, stop=steps.stop, **split)
    )


def evaluate(dataset: Dataset, batch: int = 2, process: int = 0, processes: int = 1) -> list[Batch]:
    split = {"process": process, "processes": processes, "workers": 0}
    return list(view_batches(dataset, [View(80, 200)], batch=batch, **split))


def equal(one: Batch, other: Batch) -> bool:
    return (
        one.indices == other.indices
        and torch.equal(one.images, other.images)
        and torch.equal(one.targets.boxes, other.targets.boxes)
        and torch.equal(one.targets.ignore.boxes, other.targets.ignore.boxes)
        and torch.equal(one.scales, other.scales)
    )


def test_a_batch_holds_what_its_images_own(dataset):
    for batch in evaluate(dataset, batch=3):
        assert batch.images.dtype == torch.uint8
        assert batch.images.shape[1:] == (3, 96, 128), "80 × 100, padded to multiples of 32"
        assert batch.sizes.tolist() == [[80, 100]] * len(batch)
        assert batch.scales.tolist() == [[2, 2]] * len(batch)
        assert not batch.images[:, :, 80:].any()
        assert not batch.images[:, :, :, 100:].any()
        assert batch.images[:, :, :80, :100].amax() == 255
        for slot, index in enumerate(batch.indices):
            objects = dataset.objects_of(index)
            crowd = dataset.crowd[objects]
            mine = batch.targets.of_image(slot)
            assert mine.boxes.tolist() == (2 * dataset.boxes[objects][~crowd]).tolist()
            assert mine.labels.tolist() == dataset.labels[objects][~crowd].tolist()
            assert mine.ignore.boxes.tolist() == (2 * dataset.boxes[objects][crowd]).tolist()
        assert batch.targets.images == len(batch)
        assert batch.targets.boxes.dtype == torch.float32
        assert batch.targets.image.dtype == batch.targets.labels.dtype == torch.int64


def test_a_batch_may_be_empty_of_objects(dataset):
    alone = [batch for batch in evaluate(dataset, batch=1) if batch.indices[0] in (0, 3)]
    assert [len(batch.targets) for batch in alone] == [0, 0]
    assert alone[0].targets.boxes.shape == (0, 4)


def test_training_goes_on_anywhere(dataset):
    whole = train(dataset, steps=range(6))
    rest = train(dataset, steps=range(4, 6))
    assert all(equal(*pair) for pair in zip(whole[4:], rest, strict=True))
    assert not equal(whole[0], whole[1])


@pytest.mark.parametrize(("processes", "micro_steps"), [(2, 1), (4, 1), (1, 2), (1, 4), (2, 2)])
def test_the_global_batch_does_not_depend_on_how_it_is_divided(unequal, processes, micro_steps):
    """Pixels, padding and boxes; of a step first by micro-step, then by process."""
    whole = train(unequal.train, steps=range(6), **AUGMENTED)
    shares = [
        train(
            unequal.train,
            steps=range(6),
            process=process,
            processes=processes,
            micro_steps=micro_steps,
            workers=process % 2,
            **AUGMENTED,
        )
        for process in range(processes)
    ]
    assert len({batch.images.shape for batch in whole}) >= 3
    for step, batch in enumerate(whole):
        parts = [share[step * micro_steps + micro] for micro in range(micro_steps) for share in shares]
        assert batch.indices == tuple(index for part in parts for index in part.indices)
        for name in ("images", "sizes", "scales"):
            assert torch.equal(getattr(batch, name), torch.cat([getattr(part, name) for part in parts]))
        assert torch.equal(batch.targets.boxes, torch.cat([part.targets.boxes for part in parts]))


def test_a_step_is_padded_with_zeros_to_its_highest_and_its_widest_picture(unequal):
    for batch in train(unequal.train, steps=range(6), **AUGMENTED):
        assert batch.images.shape[2:] == tuple(32 * math.ceil(side / 32) for side in batch.sizes.amax(0).tolist())
        for image, (height, width) in zip(batch.images, batch.sizes.tolist(), strict=True):
            assert not image[:, height:].any()
            assert not image[:, :, width:].any()


def test_padding_is_zero_whatever_was_in_the_memory(unequal, monkeypatch):
    plain = train(unequal.train, **AUGMENTED)
    monkeypatch.setattr("assignbench.data.load.batch.unset", lambda *shape: torch.full(shape, 255, dtype=torch.uint8))
    assert all(equal(*pair) for pair in zip(plain, train(unequal.train, **AUGMENTED), strict=True))


def test_batches_for_a_gpu_are_pinned_without_workers_too(monkeypatch):
    class Item:
        def pin_memory(self) -> str:
            return "pinned"

    load = partial(lambda _number, item: item, item=Item())
    assert all(isinstance(item, Item) for item in module.load_ahead(load, range(2), workers=0))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert list(module.load_ahead(load, range(2), workers=0)) == ["pinned", "pinned"]


def test_workers_change_nothing(dataset):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    alone, helped = train(dataset, steps=range(3)), train(dataset, steps=range(3), workers=2)
    assert all(equal(*pair) for pair in zip(alone, helped, strict=True))
    assert torch.equal(torch.get_rng_state(), before), "loading must not touch the global random state"


@pytest.mark.parametrize("processes", [1, 2, 4])
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_evaluation_sees_the_same_batches_whoever_shares(unequal, batch, processes):
    views = [View(80, 200), View(48, 200)]
    options = {"batch": batch, "processes": processes, "workers": 0}
    alone = list(view_batches(unequal.evaluation, views, batch=batch, process=0, processes=1, workers=0))
    shares = [list(view_batches(unequal.evaluation, views, process=place, **options)) for place in range(processes)]
    ours = [one for share in shares for one in share]
    assert len({one.images.shape[2:] for one in alone}) >= 3

    def name(one: Batch) -> tuple[object, ...]:
        return one.indices, tuple(one.scales.flatten().tolist())

    assert all(equal(*pair) for pair in zip(sorted(alone, key=name), sorted(ours, key=name), strict=True))


@pytest.mark.parametrize("processes", [1, 2, 4])
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_evaluation_shows_every_image_once_whoever_shares(dataset, batch, processes):
    parts = [evaluate(dataset, batch, process, processes) for process in range(processes)]
    seen = [index for part in parts for one in part for index in one.indices]
    assert sorted(seen) == list(range(len(dataset)))
    reference = {one.indices[0]: one.images[0] for one in evaluate(dataset, batch=1)}
    for part in parts:
        for one in part:
            assert all(torch.equal(reference[index], one.images[slot]) for slot, index in enumerate(one.indices))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_bad_picture_is_the_same_clean_error_from_anywhere(dataset, workers):
    path = dataset.images[2].path
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(DataError, match=r"c\.png \(image 3\) cannot be decoded") as caught:
        train(dataset, workers=workers)
    assert "\n" not in str(caught.value)


def _die(number: int) -> Batch:
    os._exit(1)


def test_a_dead_worker_is_explained(monkeypatch):
    with pytest.raises(SystemProblem, match="a data worker died"):
        list(module.load_ahead(_die, range(3), workers=1))


def test_a_batch_moves_whole(dataset):
    batch = evaluate(dataset)[0].to("meta")
    assert {tensor.device.type for tensor in batch.tensors()} == {"meta"}
    assert batch.sizes.device.type == "cpu"  # what follows from them is known without asking a GPU


def test_boxes_follow_mirrored_pictures(dataset):
    for batch in train(dataset, steps=range(8)):
        for slot in range(len(batch)):
            mine = batch.targets.of_image(slot)
            height, width = batch.sizes[slot].tolist()
            red = batch.images[slot, 0, 0, :width].int()
            mirrored = bool(red[0] > red[-1])  # red grows to the right in every picture
            for box, label in zip(mine.boxes.tolist(), mine.labels.tolist(), strict=True):
                expected = [10, 20, 20, 30] if label == 0 else [0, 0, 50, 40]
                x0, y0, x1, y1 = np.array(expected) * height / 40
                assert box == pytest.approx([width - x1, y0, width - x0, y1] if mirrored else [x0, y0, x1, y1])


def test_a_batch_survives_the_way_from_a_worker(dataset):
    for batch in train(dataset):
        other = copy.copy(batch)  # which goes by `Batch.__reduce__`, too
        assert equal(batch, other)
        assert torch.equal(batch.sizes, other.sizes)
        assert batch.targets.images == other.targets.images
        for one, two in zip(batch.tensors(), other.tensors(), strict=True):
            assert torch.equal(one, two)
            assert one.dtype == two.dtype


def test_augmented_training_goes_on_anywhere(dataset):
    whole, plain = train(dataset, steps=range(6), **AUGMENTED), train(dataset, steps=range(6))
    assert all(equal(*pair) for pair in zip(whole[4:], train(dataset, steps=range(4, 6), **AUGMENTED), strict=True))
    assert all(equal(*pair) for pair in zip(whole, train(dataset, steps=range(6), workers=1, **AUGMENTED), strict=True))
    assert not any(torch.equal(one.images, other.images) for one, other in zip(whole, plain, strict=True))
    assert [one.indices for one in whole] == [one.indices for one in plain]


def test_growing_pictures_are_the_same_pictures_only_smaller(dataset):
    grown, plain = train(dataset, steps=range(6), growth=Growth(0.5, 3)), train(dataset, steps=range(6))
    for step, (one, other) in enumerate(zip(grown, plain, strict=True)):
        assert one.indices == other.indices
        assert torch.equal(one.targets.labels, other.targets.labels)
        scale = (0.5, 2 / 3, 5 / 6, 1, 1, 1)[step]
        assert (one.sizes - scale * other.sizes).abs().max() <= 1
        assert torch.allclose(one.scales, scale * other.scales, rtol=0.05)
    assert all(equal(*pair) for pair in zip(grown[3:], plain[3:], strict=True))


def test_one_augmentation_leaves_the_others_as_they_were(dataset):
    def drawn(**changed) -> list[Batch]:
        return train(dataset, steps=range(6), long_side=2000, **changed)

    plain, coloured, cut, both = drawn(), drawn(jitter=0.4), drawn(crop=0.3), drawn(crop=0.3, jitter=0.4)
    for one, other in (*zip(plain, coloured, strict=True), *zip(cut, both, strict=True)):
        assert torch.equal(one.targets.boxes, other.targets.boxes)
        assert torch.equal(one.sizes, other.sizes)
        assert not torch.equal(one.images, other.images)
    for one, other in zip(plain, cut, strict=True):
        for slot in range(len(one)):
            assert one.sizes[slot].min() == other.sizes[slot].min(), "the drawn side"


def test_every_random_stream_is_its_own(dataset, monkeypatch):
    keys, make = [], np.random.default_rng

    def recorded(key):
        keys.append(key)
        return make(key)

    monkeypatch.setattr(np.random, "default_rng", recorded)
    order._block.cache_clear()  # which other tests have filled
    train(dataset, steps=range(5), **AUGMENTED)  # 20 pictures
    streams = Counter(key[0] for key in keys)
    assert streams.keys() == {0, 1, 2, 3, 4}
    assert streams[2] == streams[4] == 20 > streams[3] > 0, "pictures without objects are not cropped"
    augmented = [key for key in keys if key[0] >= 2]
    assert len(set(augmented)) == len(augmented)


def test_cropped_boxes_are_inside_and_pictures_without_objects_whole(dataset):
    fewer = 0
    for one, plain in zip(train(dataset, steps=range(20), crop=0.2), train(dataset, steps=range(20)), strict=True):
        for slot in range(len(one)):
            height, width = one.sizes[slot].tolist()
            mine, before = one.targets.of_image(slot), plain.targets.of_image(slot)
            for boxes in (mine.boxes, mine.ignore.boxes):
                assert (boxes >= 0).all()
                assert (boxes <= torch.tensor([width, height, width, height])).all()
                assert (boxes[:, 2:] > boxes[:, :2]).all()
            fewer += len(before.boxes) + len(before.ignore.boxes) - len(mine.boxes) - len(mine.ignore.boxes)
            if len(before.boxes):
                assert len(mine.boxes)
            else:
                assert one.sizes[slot].tolist() == plain.sizes[slot].tolist()
    assert fewer > 0, "some centre must have left a crop"


ORPHANS = """
import multiprocessing, sys, time
from assignbench.data.load.loader import load_ahead
def load(number):
    return number
if __name__ == "__main__":
    batches = load_ahead(load, range(10_000), workers=1)
    next(batches)
    print(multiprocessing.active_children()[0].pid, flush=True)
    time.sleep(60)
"""


def test_workers_do_not_outlive_a_main_process_that_is_killed(tmp_path):
    (tmp_path / "main.py").write_text(ORPHANS)
    main = subprocess.Popen([sys.executable, str(tmp_path / "main.py")], stdout=subprocess.PIPE, text=True)
    assert main.stdout is not None
    worker = int(main.stdout.readline())
    assert module.is_alive(worker)
    main.kill()
    main.wait()  # a killed process that nobody waited for would still count as there
    main.stdout.close()
    end = time.monotonic() + 30
    while module.is_alive(worker) and time.monotonic() < end:
        time.sleep(0.2)
    assert not module.is_alive(worker)


@pytest.mark.parametrize("crop", [1.0, 0.3])
def test_a_batch_is_its_pictures_one_by_one(unequal, crop):
    """Boxes of a batch are moved at once; each picture must get what it would get alone."""
    dataset = replace(unequal.train, crowd=np.arange(len(unequal.train.boxes)) % 4 == 3)
    augmentation = Augmentation((40, 80), 200, 0.5, crop=crop, jitter=0.4)
    dataset = replace(dataset, crowd=dataset.crowd | (dataset.image == 5))  # without objects, nothing is cropped
    indices, kinds = [0, 5, 5, 2, 8, 7], set()
    for epoch in range(6):
        geometries = [
            augmentation.geometry(dataset, index, seed=slot, epoch=epoch) for slot, index in enumerate(indices)
        ]
        colours = [augmentation.colour(index, seed=slot, epoch=epoch) for slot, index in enumerate(indices)]
        whole = load_batch(dataset, indices, geometries, colours)
        height, width = whole.images.shape[2:]
        for slot, (index, geometry, colour) in enumerate(zip(indices, geometries, colours, strict=True)):
            alone = load_batch(dataset, [index], [geometry], [colour], size=(height, width))
            for name in ("images", "sizes", "scales"):
                assert torch.equal(getattr(whole, name)[slot], getattr(alone, name)[0])
            mine, own = whole.targets.of_image(slot), alone.targets.of_image(0)
            for one, other in ((mine, own), (mine.ignore, own.ignore)):
                assert torch.equal(one.boxes, other.boxes)
            assert torch.equal(mine.labels, own.labels)
            kinds.add((geometry.crop is not None, geometry.mirrored, len(mine) > 0, len(mine.ignore.boxes) > 0))
    assert {kind[:2] for kind in kinds} == {(cut, turned) for cut in (False, crop < 1) for turned in (False, True)}
    assert len(kinds) > 4
