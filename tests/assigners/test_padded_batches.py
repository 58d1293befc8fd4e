"""What an image is taught does not depend on the images that it shares a batch with: padding takes no part.

Objects at the borders are where it would: the anchors around them lie in the padding.
"""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from assignbench.contract.laws import SETTING, Subject, subject_of
from assignbench.core import Assigner, Setting, Targets, assign, iou
from assignbench.core.head import MAIN
from assignbench.core.priors import pyramid_priors
from assignbench.synthetic import in_larger_canvas, random_problem
from assigners.atss import ATSS
from assigners.autoassign import AutoAssign
from assigners.fcos import FCOS
from assigners.freeanchor import FreeAnchor
from assigners.plain import Plain
from assigners.retinanet import RetinaNet

SOFT = (FreeAnchor, AutoAssign)  # their weights are sums, which another canvas may add up in another order
# controlled, and as published where training is told where images end
SUBJECTS: dict[str, tuple[type[Assigner], Subject]] = {
    **{
        cls.__name__.lower(): (cls, subject_of(cls, {}))
        for cls in (Plain, FCOS, ATSS, RetinaNet, FreeAnchor, AutoAssign)
    },
    "freeanchor-topk": (FreeAnchor, subject_of(FreeAnchor, {"ties": "topk"})),
    **{
        f"{cls.__name__.lower()}-{name}": (cls, subject_of(cls, {}, (), preset))
        for cls in (ATSS, RetinaNet)
        for name, preset in cls.presets.items()
        if not preset.padding_is_background
    },
}


def test_six_anchors_force_an_object_at_the_border(setting: Setting) -> None:
    """An object of 6.4 × 4.2 pixels at the right border of an image, in a batch that is 32 pixels wider.

    P3's anchors of 32 × 32 pixels that hold all of it are its best, with IoU 26.88 / 1024: those around x = 624, 632,
    640 and 648, y = 96, 104 and 112. The first two columns are of the image, the others of the padding.
    """
    preset = RetinaNet.presets["mmdet"]
    targets = Targets(torch.tensor([[633.6, 103.1, 640.0, 107.3]]), torch.tensor([0]), torch.tensor([0]), 1)
    priors = pyramid_priors(preset.head, 256, 672).padded(torch.tensor([[256, 640]]))
    record = RetinaNet(setting, **preset.options)(priors, targets)
    assert record.pairs.object.tolist() == [0] * 6
    found = priors.boxes[record.pairs.location]
    wanted = [[x - 16.0, y - 16.0, x + 16.0, y + 16.0] for y in (96, 104, 112) for x in (624, 632)]
    torch.testing.assert_close(found, torch.tensor(wanted))
    assert iou(found, targets.boxes).tolist() == pytest.approx([26.88 / 1024] * 6, rel=1e-4)


Border = tuple[str, float, float, float, float]
BORDER_OBJECTS = st.tuples(
    st.sampled_from(["left", "top", "right", "bottom"]),
    st.floats(0, 4, width=32),  # from that side of the image
    st.floats(0.5, 60, width=32),  # deep into the image
    st.floats(0, 1, width=32),  # where along the side
    st.floats(0.5, 60, width=32),  # long
)


def box_of(border: Border, height: int, width: int) -> list[float]:
    """A box within 4 pixels of a side of the image."""
    side, gap, depth, along, length = border
    across = side in ("left", "right")
    reach, span = (width, height) if across else (height, width)
    near, far = gap, min(gap + depth, reach)
    if side in ("right", "bottom"):
        near, far = reach - far, reach - near
    low = max(0.0, along * span - length / 2)
    high = min(span, low + length)
    return [near, low, far, high] if across else [low, near, high, far]


@pytest.mark.parametrize("name", SUBJECTS)
@settings(max_examples=25, derandomize=True, deadline=None)
@given(
    cells=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    further=st.tuples(st.integers(0, 5), st.integers(0, 5)),
    borders=st.lists(BORDER_OBJECTS, min_size=1, max_size=6),
    seed=st.integers(0, 1000),
)
def test_an_image_is_taught_the_same_in_any_batch(
    name: str, cells: tuple[int, int], further: tuple[int, int], borders: list[Border], seed: int
) -> None:
    cls, subject = SUBJECTS[name]
    (height, width), (rows, columns) = (32 * cells[0], 32 * cells[1]), further
    boxes = torch.tensor([box_of(border, height, width) for border in borders])
    labels = torch.arange(len(boxes)) % SETTING.classes
    assigner = subject.build()
    head = subject.head(assigner.head)
    problem = random_problem(head, seed=seed, classes=SETTING.classes, counts=(0,), height=height, width=width)
    alone = problem.with_targets(Targets(boxes, labels, torch.zeros_like(labels), 1))
    padded, places = in_larger_canvas(alone, height + 32 * rows, width + 32 * columns, seed)
    sizes = torch.tensor([[height, width]])
    one, other = (
        assign(assigner, replace(each, priors=each.priors.padded(sizes)).view(subject.loss)) for each in (alone, padded)
    )
    place = places[MAIN]
    assert torch.equal(one.pairs.object, other.pairs.object)
    assert torch.equal(place[one.pairs.location], other.pairs.location)
    same_weights(one.pairs.weight, other.pairs.weight, exact=cls not in SOFT)
    same_weights(one.pairs.box_weight, other.pairs.box_weight, exact=cls not in SOFT)
    assert one.ignored is not None
    assert other.ignored is not None
    assert torch.equal(one.ignored, other.ignored[:, place])
    outside = torch.ones(len(padded.priors), dtype=torch.bool).index_fill(0, place, False)
    assert bool(other.ignored[:, outside].all())


def same_weights(one: Tensor, other: Tensor, *, exact: bool) -> None:
    tolerance = 0.0 if exact else 1e-5
    torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)
