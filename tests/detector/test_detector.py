"""What the backbone sees of a picture, and what the detector makes of its maps."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from assignbench.core import Branch, Head
from assignbench.core.fast.class_outputs import join_logits
from assignbench.core.parts import ImplicitObjectness, anchor_head, point_head
from assignbench.core.priors import pyramid_priors
from assignbench.detector.detector import Detector, cached_priors
from assignbench.detector.pixels import PIXELS
from assignbench.detector.pyramid import Pyramid

SIZES = torch.tensor([[64, 96], [40, 50]])  # the second picture is padded


class Mirror(nn.Module):
    """A backbone that returns its input, shrunk to the strides of C3, C4 and C5."""

    channels = (3, 3, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        self.seen = x
        return tuple(F.avg_pool2d(x, stride) for stride in (8, 16, 32))


def detector(pixels: str = "torchvision", head: Head | None = None, *, mask_padding: bool = True) -> Detector:
    torch.manual_seed(0)
    mirror = Mirror()
    return Detector(
        mirror,  # type: ignore[arg-type]
        Pyramid(mirror.channels, 32),
        head or Head(),
        PIXELS[pixels],
        classes=2,
        channels=32,
        depth=1,
        mask_padding=mask_padding,
    )


def picture() -> Tensor:
    """Two pictures of one colour each: orange and a dark blue."""
    colours = torch.tensor([[250, 120, 10], [5, 15, 90]], dtype=torch.uint8)
    return colours[:, :, None, None].repeat(1, 1, 64, 96)


@pytest.mark.parametrize(
    ("pixels", "orange"),
    [
        ("torchvision", [(250 - 123.675) / 58.395, (120 - 116.28) / 57.12, (10 - 103.53) / 57.375]),
        ("caffe", [10 - 103.53, 120 - 116.28, 250 - 123.675]),
        ("detectron", [10 - 102.9801, 120 - 115.9465, 250 - 122.7717]),
    ],
)
def test_colours_and_means_reach_the_network(pixels: str, orange: list[float]) -> None:
    net = detector(pixels)
    net(picture(), SIZES)
    seen = net.backbone.seen
    torch.testing.assert_close(seen[0], torch.tensor(orange)[:, None, None].expand(3, 64, 96))
    # padding is the mean colour, whatever the order of the colours
    assert not seen[1, :, 40:].any()
    assert not seen[1, :, :, 50:].any()
    assert bool((seen[1, :, :40, :50] != 0).all())


def test_caffes_and_detectrons_means_are_those_of_their_files() -> None:
    assert PIXELS["caffe"].mean == (103.53, 116.28, 123.675)  # detectron2's MSRA models
    assert PIXELS["caffe"].std == PIXELS["detectron"].std == (1.0, 1.0, 1.0)
    assert (PIXELS["torchvision"].bgr, PIXELS["caffe"].bgr, PIXELS["detectron"].bgr) == (False, True, True)
    assert PIXELS["torchvision"].mean == PIXELS["caffe"].mean[::-1]


def test_statistics_are_no_weights() -> None:
    assert not {"mean", "std"} & set(detector("caffe").state_dict())


def test_padding_is_marked_unless_it_is_background() -> None:
    _, priors = detector()(picture(), SIZES)
    assert priors.inside is not None
    # 40 × 50 rounds up to 64 × 64; of the whole picture, only P7's locations beyond its border are outside
    for inside, limit in zip(priors.inside, ([96, 64], [64, 64]), strict=True):
        assert torch.equal(inside, (priors.points < torch.tensor(limit)).all(-1))
    _, priors = detector(mask_padding=False)(picture(), SIZES)
    assert priors.inside is None


def test_predicting_from_normalised_images_is_the_same() -> None:
    net = detector("caffe", point_head(offset=0.0))
    whole, _ = net(picture(), SIZES)
    parts, priors = net.predict(net.normalise(picture(), SIZES))
    assert torch.equal(whole.logits, parts.logits)
    assert torch.equal(whole.boxes, parts.boxes)
    assert priors.inside is None
    assert torch.equal(priors.boxes, pyramid_priors(point_head(offset=0.0), 64, 96).boxes)
    assert [tuple(level.shape[1:]) for level in parts.pyramid][:2] == [(32, 8, 12), (32, 4, 6)]


def test_branches_have_the_outputs_of_their_heads_and_share_those_of_the_main_one() -> None:
    net = detector(head=Head(beside=(Branch("dense", anchor_head()), Branch("again"))))
    seen = net.every_branch(picture(), SIZES)
    assert list(seen) == ["main", "dense", "again"]
    assert seen["again"] is seen["main"]
    (predictions, priors), (dense, nine) = seen["main"], seen["dense"]
    assert torch.equal(predictions.outputs, net(picture(), SIZES)[0].outputs)
    assert (len(nine), dense.outputs.shape[1]) == (9 * len(priors), 9 * len(priors))
    assert priors.extent is not None
    assert nine.extent is not None
    assert priors.extent.tolist() == nine.extent.tolist() == [[96, 64], [64, 64]]


def test_a_joining_extra_leaves_the_logits_before_it() -> None:
    predictions, _ = detector(head=Head(extras=(ImplicitObjectness(),)))(picture(), SIZES)
    assert predictions.joined == "implicit_objectness"
    joined = join_logits(predictions.outputs, predictions.extras["implicit_objectness"])
    assert torch.equal(predictions.logits, joined)
    plain, _ = detector()(picture(), SIZES)
    assert plain.joined is None
    assert plain.logits is plain.outputs


def test_a_new_detector_has_priors_that_nobody_has_written_to() -> None:
    host = torch.device("cpu")
    cached_priors(Head(), 64, 96, host).boxes.mul_(0.5)
    detector()
    assert torch.equal(cached_priors(Head(), 64, 96, host).boxes, pyramid_priors(Head(), 64, 96).boxes)
