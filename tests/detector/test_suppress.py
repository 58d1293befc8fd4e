"""Suppression of a batch beside torchvision's of one image and class."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.ops import nms

from assignbench.detector import suppress
from assignbench.detector.suppress import best_apart

SETTINGS = settings(derandomize=True, max_examples=60, deadline=None)


def expected(boxes: Tensor, labels: Tensor, valid: Tensor, threshold: float, limit: int) -> Tensor:
    """Image by image and class by class."""
    stays = torch.zeros_like(valid)
    order = torch.arange(valid.shape[1], 0, -1).double()  # best first
    for image in range(len(valid)):
        for label in labels[image].unique():
            own = (valid[image] & (labels[image] == label)).nonzero()[:, 0]
            stays[image, own[nms(boxes[image, own].double(), order[own], threshold)]] = True
    return stays & (stays.cumsum(1) <= limit)


def random_batch(seed: int, images: int, entries: int, classes: int, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes on a lattice: many are equal, and many overlaps equal a threshold of ½ or ⅓."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.randint(0, steps, (images, entries, 2), generator=generator)
    size = torch.randint(1, 4, (images, entries, 2), generator=generator)
    boxes = 8.0 * torch.cat((corner, corner + size), dim=-1)
    labels = torch.randint(0, classes, (images, entries), generator=generator)
    count = torch.randint(0, entries + 1, (images, 1), generator=generator)
    return boxes, labels, torch.arange(entries) < count


@SETTINGS
@given(
    seed=st.integers(0, 10_000),
    images=st.integers(1, 4),
    entries=st.integers(0, 300),
    classes=st.integers(1, 6),
    steps=st.integers(1, 30),
    threshold=st.sampled_from((1 / 3, 0.5, 0.6, 1.0)),
    limit=st.sampled_from((1, 10, 1000)),
)
def test_as_torchvision_class_by_class(
    seed: int, images: int, entries: int, classes: int, steps: int, threshold: float, limit: int
) -> None:
    boxes, labels, valid = random_batch(seed, images, entries, classes, steps)
    found = best_apart(boxes, labels, valid, threshold, limit)
    assert torch.equal(found, expected(boxes, labels, valid, threshold, limit))


@pytest.mark.parametrize("name", ["BLOCK", "GROWTH", "LONGEST", "PAIRS", "ROUNDS"])
def test_how_the_work_is_cut_changes_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = random_batch(0, 3, 400, 2, 12)
    whole = best_apart(*batch, 0.5, 100)
    for value in (1, 2, 7, 1000):
        monkeypatch.setattr(suppress, name, value)
        assert torch.equal(best_apart(*batch, 0.5, 100), whole)


def test_a_box_at_the_threshold_stays() -> None:
    boxes = torch.tensor([[[0.0, 0, 20, 10], [0, 0, 10, 10]]])  # IoU ½, exactly
    labels, valid = torch.zeros(1, 2, dtype=torch.int64), torch.ones(1, 2, dtype=torch.bool)
    assert best_apart(boxes, labels, valid, 0.5, 9).tolist() == [[True, True]]
    assert best_apart(boxes, labels, valid, 0.4999, 9).tolist() == [[True, False]]


@pytest.mark.parametrize("entries", [1, 129, 5000])
def test_of_equal_boxes_the_best_stays(entries: int) -> None:
    boxes = torch.tensor([3.0, 4, 50, 60]).expand(2, entries, 4)
    labels = torch.tensor([[0], [7]]).expand(2, entries)
    stays = best_apart(boxes, labels, torch.ones(2, entries, dtype=torch.bool), 0.6, 100)
    assert stays.nonzero().tolist() == [[0, 0], [1, 0]]


@pytest.mark.parametrize("length", [2, 3, 130, 5000])
def test_in_a_chain_every_other_one_stays(length: int) -> None:
    # each overlaps the next by 3 of 5 parts, the one after it by 1 of 3
    place = torch.arange(length)
    boxes = torch.stack((place, 0 * place, place + 4, 0 * place + 1), dim=1)[None].float()
    labels, valid = torch.zeros(1, length, dtype=torch.int64), torch.ones(1, length, dtype=torch.bool)
    assert torch.equal(best_apart(boxes, labels, valid, 0.5, length)[0], place % 2 == 0)


def test_five_thousand_of_one_class() -> None:
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(1, 5000, 2, generator=generator) * 500
    boxes = torch.cat((corner, corner + 20 + torch.rand(1, 5000, 2, generator=generator) * 100), dim=-1)
    labels, valid = torch.zeros(1, 5000, dtype=torch.int64), torch.ones(1, 5000, dtype=torch.bool)
    for limit in (100, 5000):
        found = best_apart(boxes, labels, valid, 0.4, limit)
        assert torch.equal(found, expected(boxes, labels, valid, 0.4, limit))


@pytest.mark.parametrize("images", [0, 1, 3])
def test_nothing_to_suppress(images: int) -> None:
    for entries in (0, 5):
        nothing = torch.zeros(images, entries, dtype=torch.bool)
        assert torch.equal(best_apart(torch.zeros(images, entries, 4), nothing.long(), nothing, 0.6, 100), nothing)


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many pairs of boxes have been compared since the last call."""
    pairs = []

    def counted(a: Tensor, b: Tensor, overlap: Callable[[Tensor, Tensor], Tensor] = suppress.iou) -> Tensor:
        pairs.append(len(a))
        return overlap(a, b)

    def since() -> int:
        total = sum(pairs)
        pairs.clear()
        return total

    monkeypatch.setattr(suppress, "iou", counted)
    return since


def test_only_pairs_of_one_image_and_class_are_compared(compared: Callable[[], int]) -> None:
    boxes = torch.rand(3, 120, 2).repeat(1, 1, 2) + torch.tensor([0, 0, 1, 1])
    valid = torch.ones(3, 120, dtype=torch.bool)
    best_apart(boxes, torch.arange(120).expand(3, 120), valid, 0.6, 1000)
    assert compared() == 0
    best_apart(boxes, torch.arange(120).expand(3, 120) // 4, valid, 0.6, 1000)
    assert compared() == 3 * 30 * 6


def test_what_a_better_box_suppresses_or_the_limit_excludes_is_not_compared_again(compared: Callable[[], int]) -> None:
    corner = 100.0 * torch.arange(5000)
    boxes = torch.stack((corner, 0 * corner, corner + 9, 0 * corner + 9), dim=1)[None]
    labels, valid = torch.zeros(1, 5000, dtype=torch.int64), torch.ones(1, 5000, dtype=torch.bool)
    best_apart(boxes, labels, valid, 0.6, 100)
    assert compared() == 128 * 127 / 2  # enough stay of the first block
    best_apart(boxes[:, :1].expand(1, 5000, 4), labels, valid, 0.6, 100)
    assert compared() == 128 * 127 / 2 + 5000 - 128  # the others meet the one that stays, and it alone


class Steps(TorchDispatchMode):
    """Counts the operations of torch."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def test_images_and_classes_cost_no_step_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suppress, "PAIRS", 10**9)
    boxes, labels, _ = random_batch(0, 1, 300, 1, 9)
    counts = set()
    for images, classes in ((1, 1), (1, 7), (5, 1), (5, 7)):
        # each class is a copy of the same boxes, far from full: as many blocks and rounds for all
        every = boxes.repeat_interleave(classes, 1)[:, :300].expand(images, 300, 4)
        label = (labels + torch.arange(300) % classes).expand(images, 300)
        with Steps() as steps:
            best_apart(every, label, torch.ones(images, 300, dtype=torch.bool), 0.6, 1000)
        counts.add(steps.count)
    assert len(counts) == 1
