"""Test-time augmentation: laws that hold for any detector, and whole evaluations with a set of views."""

from __future__ import annotations

import hashlib
import json
import re
import weakref
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from assignbench.cli.main import main
from assignbench.config import Matrix, load_recipe
from assignbench.core.types import Targets
from assignbench.data.dataset import Dataset, ImageInfo
from assignbench.data.load.batch import Batch
from assignbench.data.load.streams import view_batches
from assignbench.data.load.transforms import View
from assignbench.data.spec.locate import open_dataset
from assignbench.detector.postprocess import ImageDetections
from assignbench.detector.vote import MergeRule
from assignbench.errors import SystemProblem, UsageError
from assignbench.recipe import DataSettings, EvaluateSettings
from assignbench.run.matrix.matrix import run_matrix
from assignbench.run.results.names import DETECTIONS
from assignbench.run.scoring import detect
from assignbench.run.scoring.detect import detections_of
from assignbench.run.scoring.detections import Detections, write_detections
from assignbench.run.scoring.reopen import evaluate_run, open_run
from assignbench.run.scoring.test_time import cost, merged_views, pictures_at_once, placed
from assignbench.run.scoring.views import SizedView, ViewSet, load_views
from assignbench.run.training.device import build_accelerator
from assignbench.run.training.learner import Learner

NMS, VOTE = MergeRule("nms", 0.6, None, 100), MergeRule("vote", 0.65, 0.05, 100)
OVERRIDES = (
    "model.backbone=miniature",
    "model.channels=32",
    "model.towers=1",
    "data.short_side=64",
    "data.long_side=96",
    "data.workers=0",
    "train.iterations=1",
    "train.batch=2",
    "train.warmup=0",
    "train.precision=no",
    "evaluate.batch=3",
    "evaluate.score_threshold=0.005",
)


def sized(
    short: int = 64, long: int = 96, *, flip: bool = False, least: float = 0, below: float | None = None
) -> SizedView:
    return SizedView(View(short, long, flip), least, below)


def view_set(*views: SizedView, merge: MergeRule = NMS) -> ViewSet:
    return ViewSet("mine", views, merge)


def batch_of(*sizes: tuple[int, int], scale: float = 1.0) -> Batch:
    count = len(sizes)
    none = torch.zeros(0, dtype=torch.int64)
    return Batch(
        images=torch.zeros(count, 3, 96, 96, dtype=torch.uint8),
        sizes=torch.tensor(sizes),
        targets=Targets(torch.zeros(0, 4), none, none, count),
        indices=tuple(range(count)),
        scales=torch.full((count, 2), scale),
    )


def some(*boxes: tuple[float, ...]) -> ImageDetections:
    count = len(boxes)
    return ImageDetections(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.linspace(0.9, 0.5, count),
        torch.zeros(count, dtype=torch.int64),
    )


# Placing one view's boxes


def test_a_mirrored_view_is_mirrored_about_the_picture_not_the_padding() -> None:
    batch = batch_of((64, 80))  # in a batch 96 wide
    (found,) = placed(batch, sized(flip=True), batch.sizes, [some((0, 10, 20, 30), (60, 0, 80, 64))])
    assert found.boxes.tolist() == [[60, 10, 80, 30], [0, 0, 20, 64]]


def test_boxes_are_brought_to_the_pixels_of_the_frame() -> None:
    batch = batch_of((32, 40), scale=0.5)
    (found,) = placed(batch, sized(), torch.tensor([[64, 80]]), [some((0, 8, 10, 16))])
    assert found.boxes.tolist() == [[0, 16, 20, 32]]


def test_the_frame_itself_is_left_as_it_is_bit_for_bit() -> None:
    boxes = torch.rand(200, 4, generator=torch.Generator().manual_seed(0)) * 30
    boxes[:, 2:] += boxes[:, :2] + 0.1
    found = ImageDetections(boxes, torch.ones(200), torch.zeros(200, dtype=torch.int64))
    batch = batch_of((61, 83), scale=0.377)
    (same,) = placed(batch, sized(), batch.sizes, [found])
    assert torch.equal(same.boxes, boxes)


def test_sizes_are_those_of_the_original_picture_from_least_to_below() -> None:
    # twice as large in the network: √area 10, 20 and 40 there are 5, 10 and 20
    found = some((0, 0, 10, 10), (0, 0, 40, 10), (0, 0, 40, 40))
    batch = batch_of((64, 64), scale=2.0)
    for least, below, kept in (
        (0, 5, 0),
        (0, 10, 1),
        (5, 10, 1),
        (5, 20, 2),
        (10, 20, 1),
        (10, None, 2),
        (20.1, None, 0),
    ):
        (counted,) = placed(batch, sized(least=least, below=below), batch.sizes, [found])
        assert len(counted.scores) == kept, (least, below)


@settings(derandomize=True, max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), cuts=st.lists(st.sampled_from((4, 6, 8, 12.5, 20)), unique=True))
def test_ranges_partition(seed: int, cuts: list[float]) -> None:
    side = torch.randint(1, 12, (30, 2), generator=torch.Generator().manual_seed(seed)).float() * 2
    found = some(*torch.cat([torch.zeros(30, 2), side], 1).tolist())
    batch, ends = batch_of((64, 64)), [0.0, *sorted(cuts), None]
    parts = [
        next(placed(batch, sized(least=low or 0, below=high), batch.sizes, [found])).scores
        for low, high in pairwise(ends)
    ]
    assert torch.equal(torch.cat(parts).sort(descending=True).values, found.scores)


def test_only_the_group_at_hand_is_kept() -> None:
    views = (sized(), sized(flip=True), sized(32, 48))
    alive: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()
    pictures: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()
    most = [0, 0]

    def batches():
        for _ in range(5 * len(views)):
            batch = batch_of((64, 80), (64, 80))
            pictures.add(batch.images)
            yield batch
            del batch

    def detect(batch: Batch) -> list[ImageDetections]:
        most[0], most[1] = max(most[0], len(alive)), max(most[1], len(pictures))
        found = [some((0, 0, 9, 9)) for _ in batch.indices]
        alive.update(one.boxes for one in found)
        return found

    groups = sum(1 for _ in merged_views(batches(), view_set(*views), detect))
    assert groups == 5
    assert most[0] <= 2 * len(views)
    assert most[1] == 1


def test_large_views_see_fewer_pictures_at_once() -> None:
    data = DataSettings(short_side=(800,), long_side=1333)
    evaluation = EvaluateSettings(batch=16)
    assert pictures_at_once(view_set(sized(800, 1333), sized(400, 600)), data, evaluation) == 16
    assert pictures_at_once(view_set(sized(1800, 3000), sized(800, 1333)), data, evaluation) == 3
    assert pictures_at_once(view_set(sized(4096, 8192)), data, evaluation) == 1
    assert pictures_at_once(view_set(sized(64, 96)), data, evaluation) == 16


# Pictures in views


@pytest.fixture
def pictures(tmp_path: Path, make_dataset: Callable[..., Dataset]) -> Callable[..., Dataset]:
    """Noise of several sizes, on the disk; mirrored on demand."""

    def build(*, mirrored: bool = False, sizes=((96, 64), (80, 64), (64, 96), (96, 64), (65, 64))) -> Dataset:
        infos = []
        for number, (width, height) in enumerate(sizes):
            noise = np.random.default_rng(number).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
            pixels = np.kron(noise, np.ones((8, 8, 1), dtype=np.uint8))[:height, :width]
            path = tmp_path / f"{number}-{mirrored}.png"
            Image.fromarray(pixels[:, ::-1] if mirrored else pixels).save(path)
            infos.append(ImageInfo(number, path, width, height))
        dataset = make_dataset([], classes=("a", "b", "c"), images=range(len(sizes)))
        return replace(dataset, images=tuple(infos))

    return build


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A finished run of a small network, and the folder of its data."""
    folder = tmp_path_factory.mktemp("tta")
    (folder / "mini.yaml").write_text(
        "format: shapes\ndescription: a few\nseed: 3\ntrain: 7\nevaluation: 5\n"
        "short_side: 64\nlong_side: 96\nsmallest: 12\nlargest: 50\n"
    )
    open_dataset(str(folder / "mini.yaml"), folder)
    matrix = Matrix(
        strategies=("autoassign",),
        datasets=(str(folder / "mini.yaml"),),
        recipe=load_recipe("tiny", OVERRIDES),
        seeds=(0,),
        protocol="controlled",
        preset=None,
        data_root=folder,
        output=folder / "runs",
        device="cpu",
    )
    outcome = run_matrix(matrix, Console(file=StringIO()))
    return folder / "runs" / outcome.records[0].run_id, folder


@pytest.fixture(scope="session")
def learner(run) -> Learner:
    return open_run(run[0]).learner


def found_in(dataset: Dataset, learner: Learner, chosen: ViewSet | None, batch: int = 3) -> list[Detections]:
    recipe = load_recipe("tiny", OVERRIDES).recipe
    evaluation = recipe.evaluate.model_copy(update={"batch": batch})
    accelerator = build_accelerator("cpu", "no")
    return detections_of(learner.detector, dataset, accelerator, data=recipe.data, settings=evaluation, view_set=chosen)


def same(one: list[Detections], other: list[Detections]) -> bool:
    return len(one) == len(other) and all(
        np.array_equal(a.boxes, b.boxes) and np.array_equal(a.scores, b.scores) and np.array_equal(a.labels, b.labels)
        for a, b in zip(one, other, strict=True)
    )


def test_one_view_is_plain_evaluation_bit_for_bit(pictures, learner) -> None:
    dataset = pictures(sizes=((96, 64), (80, 61), (97, 130), (200, 90), (33, 70)))
    plain = found_in(dataset, learner, None)
    assert sum(len(one.scores) for one in plain) > 20
    assert same(plain, found_in(dataset, learner, view_set(sized())))


def test_a_view_cut_into_ranges_is_the_view_whole(pictures, learner) -> None:
    dataset = pictures(sizes=((96, 64), (80, 61), (97, 130)))
    cut = view_set(sized(below=11), sized(least=11, below=23.5), sized(least=23.5))
    assert same(found_in(dataset, learner, None), found_in(dataset, learner, cut))


def test_the_mirror_image_of_a_mirrored_picture_is_the_picture(pictures, learner) -> None:
    sizes = ((96, 64), (80, 64), (64, 96), (65, 64))  # not resized; padded differently
    plain = found_in(pictures(sizes=sizes), learner, None)
    mirrored = found_in(pictures(sizes=sizes, mirrored=True), learner, view_set(sized(flip=True)))
    for (width, _), one, other in zip(sizes, plain, mirrored, strict=True):
        assert len(one.scores) > 3
        assert np.array_equal(one.scores, other.scores)
        assert np.array_equal(one.labels, other.labels)
        back = np.stack([width - other.boxes[:, 2], other.boxes[:, 1], width - other.boxes[:, 0], other.boxes[:, 3]], 1)
        np.testing.assert_allclose(back, one.boxes, rtol=0, atol=2e-5)


@pytest.mark.parametrize("merge", [NMS, VOTE], ids=["nms", "vote"])
def test_pictures_together_are_pictures_alone(merge, pictures, learner) -> None:
    dataset = pictures()
    chosen = view_set(sized(96, 128), sized(), sized(flip=True), sized(40, 64, least=9), merge=merge)
    together, alone = (found_in(dataset, learner, chosen, batch=size) for size in (5, 1))
    assert sum(len(one.scores) for one in together) > 20
    for one, other in zip(together, alone, strict=True):  # up to the rounding of convolutions
        assert one.labels.tolist() == other.labels.tolist()
        np.testing.assert_allclose(one.boxes, other.boxes, rtol=0, atol=1e-3)
        np.testing.assert_allclose(one.scores, other.scores, rtol=0, atol=1e-6)


@pytest.mark.parametrize("merge", [NMS, VOTE], ids=["nms", "vote"])
def test_beside_the_network_nothing_depends_on_the_batch(merge, pictures) -> None:
    def detect(batch: Batch) -> list[ImageDetections]:
        """Boxes that a picture's pixels decide, some of them close to each other."""
        return [
            random_boxes(image[:, :height, :width])
            for image, (height, width) in zip(batch.images, batch.sizes.tolist(), strict=True)
        ]

    def random_boxes(pixels: torch.Tensor) -> ImageDetections:
        generator = torch.Generator().manual_seed(int(pixels.long().sum()))
        corner = torch.rand(40, 2, generator=generator) * 12
        boxes = torch.cat([corner, corner + 9 + torch.rand(40, 2, generator=generator) * 3], 1)
        scores = torch.rand(40, generator=generator).sort(descending=True).values
        return ImageDetections(boxes, scores, torch.randint(0, 2, (40,), generator=generator))

    dataset = pictures()
    chosen = view_set(sized(96, 128), sized(), sized(flip=True), sized(40, 64, least=9), merge=merge)
    results = []
    for size in (5, 1):
        views = [each.view for each in chosen.views]
        batches = view_batches(dataset, views, batch=size, process=0, processes=1, workers=0)
        groups = merged_views(batches, chosen, detect)
        results.append({index: one for indices, _, found in groups for index, one in zip(indices, found, strict=True)})
    assert set(results[0]) == set(results[1]) == set(range(5))
    for index, one in results[0].items():
        assert len(one.scores) > 5
        assert torch.equal(one.boxes, results[1][index].boxes)
        assert torch.equal(one.scores, results[1][index].scores)


def test_views_share_a_batch_only_when_all_their_padded_shapes_do(pictures) -> None:
    dataset = pictures(sizes=((96, 64), (80, 64), (96, 64), (100, 64), (64, 96)))
    views = [View(64, 96), View(128, 192), View(64, 96, mirrored=True)]
    batches = list(view_batches(dataset, views, batch=4, process=0, processes=1, workers=0))
    groups = [batches[i : i + 3] for i in range(0, len(batches), 3)]
    assert sorted(index for group in groups for index in group[0].indices) == list(range(5))
    for group in groups:
        assert len({batch.indices for batch in group}) == 1
        for batch in group:  # 96 × 64 and 80 × 64 are padded alike in the first view, but not in the second
            assert len({tuple(-(-side // 32) for side in size) for size in batch.sizes.tolist()}) == 1
        assert torch.equal(group[0].sizes, group[2].sizes)
        for slot, (_, width) in enumerate(group[0].sizes.tolist()):
            plain, mirrored = (batch.images[slot][..., :width] for batch in (group[0], group[2]))
            assert torch.equal(mirrored, plain.flip(-1))
            assert not group[2].images[slot][..., width:].any()
    halves = [
        [batch.indices for batch in view_batches(dataset, views, batch=1, process=i, processes=2, workers=0)]
        for i in (0, 1)
    ]
    assert sorted(halves[0][::3] + halves[1][::3]) == [(0,), (1,), (2,), (3,), (4,)]


def test_nothing_found_anywhere(pictures, learner, monkeypatch) -> None:
    def nothing(predictions, *_):
        return [some() for _ in range(predictions.images)]

    monkeypatch.setattr(detect, "detect", nothing)
    found = found_in(pictures(), learner, view_set(sized(), sized(flip=True), merge=VOTE))
    assert [(one.image, len(one.scores)) for one in found] == [(index, 0) for index in range(5)]


@pytest.mark.parametrize(("merge", "other"), [(NMS, "detect"), (VOTE, "before_suppression")], ids=["nms", "vote"])
def test_suppression_comes_after_the_merge_and_before_a_vote(merge, other, pictures, learner, monkeypatch) -> None:
    monkeypatch.setattr(detect, other, None)
    assert found_in(pictures(sizes=((96, 64),)), learner, view_set(sized(), merge=merge))[0].scores.any()


def test_what_does_not_fit_into_memory_is_said_with_what_to_change(pictures, learner, monkeypatch) -> None:
    def full(*_):
        raise torch.OutOfMemoryError("out")

    monkeypatch.setattr(learner.detector, "forward", full)
    with pytest.raises(SystemProblem, match=r"lower evaluate\.batch.*leave the largest views out of the set"):
        found_in(pictures(), learner, view_set(sized()))


def test_the_cost_is_said(pictures) -> None:
    dataset = pictures(sizes=((96, 64),))
    data = load_recipe("tiny", OVERRIDES).recipe.data
    assert (
        cost(view_set(sized()), dataset, data) == "1 forward pass a picture, 1.0 times the pixels of plain evaluation"
    )
    doubled = view_set(sized(128, 192), sized(), sized(flip=True))
    assert cost(doubled, dataset, data) == "3 forward passes a picture, 6.0 times the pixels of plain evaluation"


# Whole evaluations


def test_a_run_with_views_says_so_everywhere(run, capsys) -> None:
    folder, data = run
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    options = ["--data-root", str(data), "--device", "cpu"]
    assert main(["eval", str(folder), "--tta", "flip", *options]) == 0
    out = capsys.readouterr().out
    (label,) = set(re.findall(r"flip-[0-9a-f]{8}", out))
    assert f"{label}: 2 forward passes a picture, 2.0 times the pixels of plain evaluation" in out
    assert re.search(rf"AP \d+\.\d{{4}} with {label}, \d+\.\d{{4}} in the record, without", out)
    assert ["metric", "%", "with", label] in [line.split() for line in out.splitlines()]
    assert f"note: with test-time augmentation {label}: do not compare it with numbers of a single scale" in out

    file = folder / f"evaluation.tta-{label}.json"
    told = json.loads((folder / f"evaluation.tta-{label}.views.json").read_text())
    recipe = open_run(folder).recipe.recipe
    assert told["digest"] == load_views("flip", recipe.data, recipe.evaluate).digest
    assert label == f"flip-{told['digest'][:8]}"
    assert told["detections_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert [view["mirrored"] for view in told["views"]] == [False, True]
    # whatever was there is as it was: the record and its detections are of a single scale
    assert all((folder / name).read_bytes() == content for name, content in before.items())


def test_the_set_of_one_plain_view_writes_the_same_detections_file(run, tmp_path) -> None:
    folder, data = run
    (tmp_path / "plain.yaml").write_text("merge: {rule: nms}\nviews:\n  - {}\n")
    text = StringIO()
    _, result = evaluate_run(folder, data, "cpu", Console(file=text), tta=str(tmp_path / "plain.yaml"))
    (file,) = folder.glob("evaluation.tta-plain-????????.json")
    assert file.read_bytes() == (folder / DETECTIONS).read_bytes()
    assert "detections equal those of the record" in text.getvalue()
    assert result.tta is not None


def test_the_order_of_views_does_not_matter(run, tmp_path) -> None:
    folder, data = run
    views = [
        "  - {short_side: 64, long_side: 96, flip: both}\n",
        "  - {short_side: 96, long_side: 128}\n",
        "  - {short_side: 48, long_side: 96, least: 10}\n",
    ]
    files = []
    for name, order in (("a", views), ("b", views[::-1])):
        (tmp_path / f"{name}.yaml").write_text("merge: {rule: vote, iou: 0.6}\nviews:\n" + "".join(order))
        evaluate_run(folder, data, "cpu", Console(quiet=True), tta=str(tmp_path / f"{name}.yaml"))
        files += folder.glob(f"evaluation.tta-{name}-????????.json")
    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[0].name.replace("tta-a", "tta-b") == files[1].name


def test_an_unknown_set_starts_nothing(run, capsys) -> None:
    folder, data = run
    assert main(["eval", str(folder), "--tta", "flap", "--data-root", str(data)]) == 2
    assert "did you mean flip?" in capsys.readouterr().err
    with pytest.raises(UsageError, match="no set of views"):
        evaluate_run(folder, data, "cpu", Console(quiet=True), tta="none")


def test_votes_can_be_written(pictures, learner, tmp_path) -> None:
    dataset = replace(pictures(), classes=tuple("abcdefg"), category_ids=tuple(range(1, 8)))
    found = found_in(dataset, learner, view_set(sized(96, 128), sized(), sized(flip=True), merge=VOTE))
    assert write_detections(dataset, found, tmp_path / "found.json") > 20
    assert all(one.boxes.min() >= 0 and one.scores.max() <= 1 for one in found)
    assert all((np.diff(one.scores) <= 0).all() for one in found)
