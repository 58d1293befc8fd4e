"""Other toolboxes' checkpoints as learners' state dicts."""

import json
import re
import zlib
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import detection
from torchvision.models._meta import _COCO_CATEGORIES

from assignbench.core import Assigner, Setting
from assignbench.detector.backbone import Backbone
from assignbench.detector.detector import Detector
from assignbench.detector.importers import class_count, import_state
from assignbench.detector.pixels import PIXELS
from assignbench.detector.pyramid import Pyramid
from assignbench.errors import UsageError
from assigners.atss import ATSS
from assigners.autoassign import AutoAssign
from assigners.fcos import FCOS
from assigners.freeanchor import FreeAnchor
from assigners.retinanet import RetinaNet

KEYS = Path(__file__).parents[1] / "golden" / "network"  # mmdetection 3.3.0's names and shapes, six classes
STRATEGIES: dict[str, type[Assigner]] = {
    "autoassign": AutoAssign,
    "retinanet": RetinaNet,
    "fcos": FCOS,
    "atss": ATSS,
    "freeanchor": FreeAnchor,
}


class Network(nn.Module):
    """What a learner's state dict is of: its detector, with a preset's head and pyramid, and its strategy."""

    def __init__(self, strategy: type[Assigner], preset: str, classes: int, weights: str = "none") -> None:
        super().__init__()
        chosen = strategy.presets[preset]
        backbone = Backbone("resnet50", weights, load=False)
        pyramid = Pyramid(backbone.channels, 256, chosen.recipe.get("model.pyramid", "p5_relu"))
        self.detector = Detector(
            backbone, pyramid, chosen.head, PIXELS["torchvision"], classes=classes, channels=256, depth=4
        )
        self.assigner = strategy(Setting(classes=classes))


def wanted(strategy: type[Assigner], preset: str, classes: int, weights: str = "none") -> dict[str, torch.Size]:
    with torch.device("meta"):
        network = Network(strategy, preset, classes, weights)
    return {name: tensor.shape for name, tensor in network.state_dict().items()}


def golden_value(key: str, shape: list[int]) -> Tensor:
    """The rule by which the golden networks' weights are made."""
    x = torch.randn(shape or [1], generator=torch.Generator().manual_seed(zlib.crc32(key.encode())))
    x = x if shape else x[0]
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    if key.endswith(("running_var", "sigma")):
        return 1 + 0.1 * x.abs()
    if key.endswith(".scale"):
        return 1 + 0.1 * x
    if len(shape) == 4:
        return x * (1 / (shape[1] * shape[2] * shape[3])) ** 0.5
    return 1 + 0.1 * x if key.endswith("weight") else 0.1 * x


def golden(strategy: str) -> dict[str, Tensor]:
    shapes = json.loads((KEYS / f"{strategy}.keys.json").read_text())
    return {key: golden_value(key, shape) for key, shape in shapes.items()}


@pytest.fixture(scope="module")
def fcos() -> dict[str, Tensor]:
    return golden("fcos")


@pytest.mark.parametrize("name", STRATEGIES)
def test_mmdetection_3_of_all_strategies(name):
    strategy, tensors = STRATEGIES[name], golden(name)
    shapes = wanted(strategy, "mmdet", 6)
    assert class_count(tensors, "mmdet", strategy.presets["mmdet"].head.priors_per_cell) == 6
    state = import_state(tensors, "mmdet", shapes)
    assert {key: value.shape for key, value in state.items()} == shapes
    assert len({value.data_ptr() for value in state.values()}) == len(state)  # safetensors takes no shared memory

    head = {"retinanet": "retina", "freeanchor": "retina", "atss": "atss"}.get(name, "conv")
    second = 2 if head == "retina" else 3  # ReLU, or norm and ReLU, between two convolutions
    pairs = {
        "detector.backbone.stem.1.running_var": "backbone.bn1.running_var",
        "detector.backbone.stages.0.0.downsample.1.bias": "backbone.layer1.0.downsample.1.bias",
        "detector.backbone.stages.3.2.conv3.weight": "backbone.layer4.2.conv3.weight",
        "detector.pyramid.lateral.2.weight": "neck.lateral_convs.2.conv.weight",
        "detector.pyramid.smooth.0.bias": "neck.fpn_convs.0.conv.bias",
        "detector.pyramid.p6.weight": "neck.fpn_convs.3.conv.weight",
        "detector.pyramid.p7.weight": "neck.fpn_convs.4.conv.weight",
        f"detector.head.class_tower.{second}.weight": "bbox_head.cls_convs.1.conv.weight",
        f"detector.head.box_tower.{3 * second}.weight": "bbox_head.reg_convs.3.conv.weight",
        "detector.head.class_output.weight": f"bbox_head.{head}_cls.weight",
        "detector.head.box_output.bias": f"bbox_head.{head}_reg.bias",
    }
    if head != "retina":
        extra = "implicit_objectness" if name == "autoassign" else "centerness"
        pairs |= {
            "detector.head.box_tower.1.weight": "bbox_head.reg_convs.0.gn.weight",
            f"detector.head.extra_outputs.{extra}.weight": f"bbox_head.{head}_centerness.weight",
        }
        scales = torch.stack([tensors[f"bbox_head.scales.{level}.scale"] for level in range(5)])
        assert torch.equal(state["detector.head.scale"], scales)
    if name == "autoassign":
        pairs |= {
            "assigner.mu": "bbox_head.center_prior.mean",
            "assigner.sigma": "bbox_head.center_prior.sigma",
        }
    for ours, theirs in pairs.items():
        assert torch.equal(state[ours], tensors[theirs]), ours


def test_early_mmdetection_2_names_of_fcos(fcos):
    old = {re.sub(r"\.conv_(cls|reg|centerness)\.", r".fcos_\1.", key): value for key, value in fcos.items()}
    assert old.keys() != fcos.keys()
    shapes = wanted(FCOS, "mmdet", 6)
    new_state, old_state = import_state(fcos, "mmdet", shapes), import_state(old, "mmdet", shapes)
    assert all(torch.equal(new_state[key], old_state[key]) for key in shapes)
    assert class_count(old, "mmdet", 1) == 6


def test_counters_of_batch_norm_may_be_on_either_side(fcos):
    without = {key: value for key, value in fcos.items() if not key.endswith("num_batches_tracked")}
    shapes = wanted(FCOS, "mmdet", 6)
    state = import_state(without, "mmdet", shapes)
    assert state["detector.backbone.stem.1.num_batches_tracked"] == 0
    frozen = {key: shape for key, shape in shapes.items() if not key.endswith("num_batches_tracked")}
    assert import_state(fcos, "mmdet", frozen).keys() == frozen.keys()


def test_half_precision_becomes_float32(fcos):
    state = import_state({key: value.half() for key, value in fcos.items()}, "mmdet", wanted(FCOS, "mmdet", 6))
    assert state["detector.head.class_output.weight"].dtype == torch.float32


def test_all_that_does_not_fit_is_listed_by_their_names(fcos):
    odd = dict(fcos)
    odd.pop("neck.fpn_convs.4.conv.bias")
    odd.pop("bbox_head.scales.3.scale")
    odd.pop("bbox_head.conv_centerness.bias")
    odd["bbox_head.center_prior.mean"] = torch.zeros(6, 2)
    odd["bbox_head.conv_cls.weight"] = torch.zeros(7, 256, 3, 3)
    with pytest.raises(UsageError) as error:
        import_state(odd, "mmdet", wanted(FCOS, "mmdet", 6))
    centerness = [f"bbox_head.{name}_centerness.bias" for name in ("conv", "fcos", "atss")]
    assert str(error.value).splitlines() == [
        "the checkpoint does not fit the strategy's network by mmdet's names",
        "missing: neck.fpn_convs.4.conv.bias, bbox_head.scales.3.scale, " + " or ".join(centerness),
        "left over: bbox_head.center_prior.mean",
        "misshapen: bbox_head.conv_cls.weight (7×256×3×3, wanted 6×256×3×3)",
    ]


def test_a_long_list_is_cut():
    with pytest.raises(UsageError, match=r"left over: a00, .*, a19 and 5 more") as error:
        import_state({f"a{i:02}": torch.ones(1) for i in range(25)}, "mmdet", wanted(FCOS, "mmdet", 6))
    assert re.search(r"missing: backbone\.conv1\.weight, .* and \d+ more\n", str(error.value))


@pytest.mark.parametrize(
    ("file", "strategy", "names"),
    [
        ("fcos", AutoAssign, "missing: bbox_head.center_prior"),
        ("autoassign", FCOS, "left over: bbox_head.center_prior"),
        ("atss", FCOS, r"missing: .*_convs\.0\.conv\.bias"),
        ("retinanet", ATSS, r"missing: .*cls_convs\.0\.gn\.weight"),
        ("fcos", RetinaNet, r"left over: .*cls_convs\.0\.gn\.weight"),
    ],
)
def test_another_strategys_checkpoint_does_not_fit(file, strategy, names):
    with pytest.raises(UsageError, match=re.compile(names, re.DOTALL)):
        import_state(golden(file), "mmdet", wanted(strategy, "mmdet", 6))


def test_the_number_of_classes_needs_a_class_output(fcos):
    with pytest.raises(UsageError, match=r"no head\.classification_head\.cls_logits\.weight.*\nits names are mmdet's"):
        class_count(fcos, "torchvision", 1)
    with pytest.raises(UsageError, match=r"no head\.cls_score\.weight.*\nit has, e\.g\., x"):
        class_count({"x": torch.ones(1)}, "detectron2", 1)
    with pytest.raises(UsageError, match=r"conv_cls\.weight has 6 rows, not a multiple for 9 priors"):
        class_count(fcos, "mmdet", 9)


def vision(name: str, classes: int) -> nn.Module:
    torch.manual_seed(0)
    model = getattr(detection, f"{name}_resnet50_fpn")(weights=None, weights_backbone=None, num_classes=classes).eval()
    for key, buffer in model.named_buffers():
        if key.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
        elif key.endswith("running_mean"):
            buffer.uniform_(-0.1, 0.1)
    with torch.no_grad():
        for output in (model.head.classification_head.cls_logits, model.head.regression_head.bbox_reg):
            output.bias.normal_()
            output.weight.mul_(10)
    return model


def names_before_013(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As in the files that torchvision publishes: RetinaNet's towers and the pyramid were plain convolutions."""

    def old(key: str) -> str:
        key = re.sub(r"(inner|layer)_blocks\.(\d)\.0\.", r"\1_blocks.\2.", key)
        return re.sub(r"head\.conv\.(\d)\.0\.", lambda found: f"head.conv.{2 * int(found[1])}.", key)

    frozen = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    return {old(key): value for key, value in frozen.items()}


def no_epsilon(model: nn.Module) -> None:
    """What torchvision does to RetinaNet when it loads its COCO weights; with a variance small enough to show it."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0
    first = model.get_submodule("backbone.body.bn1")
    first.get_buffer("running_var").fill_(2e-5)
    first.get_parameter("weight").data.mul_(2e-5**0.5)


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize(("name", "strategy", "classes"), [("retinanet", RetinaNet, 91), ("fcos", FCOS, 4)])
def test_torchvision_networks_put_out_the_same(name, strategy, classes, published):
    model = vision(name, classes)
    tensors = model.state_dict()
    if published:
        tensors = names_before_013(tensors)
        if name == "retinanet":
            no_epsilon(model)

    head = strategy.presets["torchvision"].head
    count = class_count(tensors, "torchvision", head.priors_per_cell)
    assert count == {91: 80, 4: 3}[classes]
    network = Network(strategy, "torchvision", count, weights="imagenet" if published else "none").eval()
    shapes = {key: value.shape for key, value in network.state_dict().items()}
    network.load_state_dict(import_state(tensors, "torchvision", shapes))

    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        theirs = list(model.backbone(image).values())
        ours = network.detector.pyramid(network.detector.backbone(image))
        for mine, other in zip(ours, theirs, strict=True):
            assert torch.allclose(mine, other, rtol=1e-4, atol=1e-5 * float(other.abs().max()))
        expected, raw = model.head(theirs), network.detector.head(tuple(theirs))
    kept = [i for i, category in enumerate(_COCO_CATEGORIES) if category not in ("__background__", "N/A")]
    kept = kept if classes == 91 else [1, 2, 3]
    assert len(kept) == count
    assert torch.allclose(raw.logits, expected["cls_logits"][..., kept], rtol=1e-4, atol=1e-4)
    boxes = raw.regression.relu() if name == "fcos" else raw.regression
    assert torch.allclose(boxes, expected["bbox_regression"], rtol=1e-4, atol=1e-4)
    if name == "fcos":
        assert torch.allclose(raw.extras["centerness"], expected["bbox_ctrness"][..., 0], rtol=1e-4, atol=1e-4)


def test_torchvision_has_no_scale_per_level():
    shapes = wanted(FCOS, "mmdet", 3)
    state = import_state(vision("fcos", 4).state_dict(), "torchvision", shapes)
    assert state["detector.head.scale"].tolist() == [1] * 5


def official_autoassign(classes: int) -> dict[str, Tensor]:
    """The official model's names: cvpods' ResNet-50 and pyramid, AutoAssign's head and centre prior."""
    shapes: dict[str, tuple[int, ...]] = {}

    def convolution(name: str, out: int, width: int, side: int, *, norm: bool) -> None:
        shapes[f"{name}.weight"] = (out, width, side, side)
        for part in ("weight", "bias", "running_mean", "running_var") if norm else ():
            shapes[f"{name}.norm.{part}"] = (out,)
        if not norm:
            shapes[f"{name}.bias"] = (out,)

    convolution("backbone.bottom_up.stem.conv1", 64, 3, 7, norm=True)
    width = 64
    for stage, (blocks, inner) in enumerate(zip((3, 4, 6, 3), (64, 128, 256, 512), strict=True)):
        for block in range(blocks):
            name = f"backbone.bottom_up.res{stage + 2}.{block}"
            if block == 0:
                convolution(f"{name}.shortcut", 4 * inner, width, 1, norm=True)
            convolution(f"{name}.conv1", inner, width, 1, norm=True)
            convolution(f"{name}.conv2", inner, inner, 3, norm=True)
            convolution(f"{name}.conv3", 4 * inner, inner, 1, norm=True)
            width = 4 * inner
    for level, channels in zip((3, 4, 5), (512, 1024, 2048), strict=True):
        convolution(f"backbone.fpn_lateral{level}", 256, channels, 1, norm=False)
        convolution(f"backbone.fpn_output{level}", 256, 256, 3, norm=False)
    convolution("backbone.top_block.p6", 256, 2048, 3, norm=False)
    convolution("backbone.top_block.p7", 256, 256, 3, norm=False)
    for tower in ("cls_subnet", "bbox_subnet"):
        for layer in range(4):
            convolution(f"head.{tower}.{3 * layer}", 256, 256, 3, norm=False)
            shapes[f"head.{tower}.{3 * layer + 1}.weight"] = shapes[f"head.{tower}.{3 * layer + 1}.bias"] = (256,)
    for output, rows in (("cls_score", classes), ("bbox_pred", 4), ("obj_score", 1)):
        convolution(f"head.{output}", rows, 256, 3, norm=False)
    shapes |= {f"head.scales.{level}.scale": (1,) for level in range(5)}
    shapes |= {"mu": (classes, 2), "sigma": (classes, 2), "pixel_mean": (3, 1, 1), "pixel_std": (3, 1, 1)}
    shapes["anchor_generator.cell_anchors.0"] = (1, 4)
    return {key: golden_value(key, list(shape)) for key, shape in shapes.items()}


def test_the_official_autoassign():
    tensors = official_autoassign(80)
    assert class_count(tensors, "detectron2", 1) == 80
    shapes = wanted(AutoAssign, "official", 80)
    state = import_state(tensors, "detectron2", shapes)
    assert {key: value.shape for key, value in state.items()} == shapes
    pairs = {
        "detector.backbone.stem.0.weight": "backbone.bottom_up.stem.conv1.weight",
        "detector.backbone.stem.1.running_mean": "backbone.bottom_up.stem.conv1.norm.running_mean",
        "detector.backbone.stages.1.0.downsample.0.weight": "backbone.bottom_up.res3.0.shortcut.weight",
        "detector.backbone.stages.1.0.downsample.1.running_var": "backbone.bottom_up.res3.0.shortcut.norm.running_var",
        "detector.backbone.stages.2.5.bn2.bias": "backbone.bottom_up.res4.5.conv2.norm.bias",
        "detector.pyramid.lateral.0.weight": "backbone.fpn_lateral3.weight",
        "detector.pyramid.smooth.2.bias": "backbone.fpn_output5.bias",
        "detector.head.class_tower.9.weight": "head.cls_subnet.9.weight",
        "detector.head.box_tower.4.weight": "head.bbox_subnet.4.weight",
        "detector.head.extra_outputs.implicit_objectness.bias": "head.obj_score.bias",
        "assigner.mu": "mu",
        "assigner.sigma": "sigma",
    }
    for ours, theirs in pairs.items():
        assert torch.equal(state[ours], tensors[theirs]), ours
    assert state["detector.head.scale"].tolist() == [float(tensors[f"head.scales.{i}.scale"]) for i in range(5)]
