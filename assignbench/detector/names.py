"""Other toolboxes' names of our modules.

Read the tables like a dictionary: our module on the left, theirs on the right, older or other names after it.
Sources: open-mmlab/mmdetection 2.x and 3.x (``mmdet/models``), pytorch/vision (``torchvision/models/detection``),
poodarchu/AutoAssign with Megvii-BaseDetection/cvpods; all read for their names only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Toolbox = Literal["mmdet", "torchvision", "detectron2"]
Names = dict[str, tuple[str, ...]]  # our module or tensor → theirs; of several the one that a file has

STAGES, DEPTH = range(4), range(8)  # of a residual network; of a tower, generously
CLASS_OUTPUT, SCALE = "detector.head.class_output", "detector.head.scale"
BOX_OUTPUT = "detector.head.box_output"


@dataclass(frozen=True)
class Dictionary:
    """One toolbox's names, and how its tensors differ from ours."""

    shared: Names
    normed: Names  # towers with group norm
    bare: Names  # towers without
    dropped: tuple[str, ...] = ()  # beginnings of names that hold no weights
    background: bool = False  # class 0 of every prior is the background; 91 of them are COCO's ids
    unit_scale: bool = False  # no scale per level: ours is 1
    no_epsilon: str | None = None  # a name that only files whose batch norms have ε = 0 have
    inner: Mapping[str, str] = field(default_factory=dict)  # parts of a residual block, where theirs differ from ours


def towers(pattern: str, sides: tuple[str, str], convolution: str, norm: str | None, each: int = 1) -> Names:
    """Names of both towers' layers; ``{side}`` is theirs of the class and the box tower, ``{i}`` the layer's number.

    ``each`` is how far their numbers of two convolutions are apart.
    """
    names: Names = {}
    step = 2 if norm is None else 3  # ours: convolution, norm, ReLU
    for ours, side in zip(("class_tower", "box_tower"), sides, strict=True):
        for i in DEPTH:
            layers = [convolution] if norm is None else [convolution, norm]
            for offset, layer in enumerate(layers):
                theirs = pattern.format(side=side) + layer.format(i=each * i, after=each * i + 1)
                names[f"detector.head.{ours}.{step * i + offset}"] = (theirs,)
    return names


def either(*tables: Names) -> Names:
    """The names of all tables, the first table's first."""
    keys = dict.fromkeys(key for table in tables for key in table)
    return {key: tuple(name for table in tables for name in table.get(key, ())) for key in keys}


_MMDET_TOWERS = ("bbox_head.{side}_convs.", ("cls", "reg"), "{i}.conv")
# AutoAssign and FCOS; FCOS in early 2.x; RetinaNet and FreeAnchor; ATSS; GFL; TOOD
_MMDET_HEADS = ("conv", "fcos", "retina", "atss", "gfl", "tood")
_GUIDES = (("location", "loc"), ("shape", "shape"))
MMDET = Dictionary(
    shared={
        "detector.backbone.stem.0": ("backbone.conv1",),
        "detector.backbone.stem.1": ("backbone.bn1",),
        **{f"detector.backbone.stages.{i}": (f"backbone.layer{i + 1}",) for i in STAGES},
        **{f"detector.pyramid.lateral.{i}": (f"neck.lateral_convs.{i}.conv",) for i in range(3)},
        **{f"detector.pyramid.smooth.{i}": (f"neck.fpn_convs.{i}.conv",) for i in range(3)},
        "detector.pyramid.p6": ("neck.fpn_convs.3.conv",),
        "detector.pyramid.p7": ("neck.fpn_convs.4.conv",),
        CLASS_OUTPUT: tuple(f"bbox_head.{name}_cls" for name in _MMDET_HEADS),
        BOX_OUTPUT: tuple(f"bbox_head.{name}_reg" for name in _MMDET_HEADS),
        "detector.head.extra_outputs.centerness": tuple(
            f"bbox_head.{name}_centerness" for name in ("conv", "fcos", "atss")
        ),
        **{f"detector.head.extra_outputs.{one}": (f"bbox_head.conv_{short}",) for one, short in _GUIDES},
        **{
            f"detector.head.{one}_adaption.{ours}": (f"bbox_head.feature_adaption_{short}.conv_{theirs}",)
            for one, short in (("class", "cls"), ("box", "reg"))
            for ours, theirs in (("offset", "offset"), ("convolution", "adaption"))
        },
        **{
            f"detector.head.tower.{i}.{layer}": (f"bbox_head.inter_convs.{i}.{theirs}",)
            for i in DEPTH
            for layer, theirs in enumerate(("conv", "gn"))
        },
        **{
            f"detector.head.{one}_features.{ours}": (f"bbox_head.{short}_decomp.{theirs}",)
            for one, short in (("class", "cls"), ("box", "reg"))
            for ours, theirs in (
                ("attention", "layer_attention"),
                ("reduction.0", "reduction_conv.conv"),
                ("reduction.1", "reduction_conv.gn"),
            )
        },
        "detector.head.alignment_output": ("bbox_head.cls_prob_module",),
        "detector.head.move_output": ("bbox_head.reg_offset_module",),
        "detector.head.extra_outputs.implicit_objectness": ("bbox_head.conv_centerness",),
        "detector.head.extra_outputs.iou": ("bbox_head.atss_centerness",),  # PAA
        SCALE: ("bbox_head.scales.{level}.scale",),
        "assigner.mu": ("bbox_head.center_prior.mean",),
        "assigner.sigma": ("bbox_head.center_prior.sigma",),
    },
    normed=towers(*_MMDET_TOWERS, "{i}.gn"),
    bare=towers(*_MMDET_TOWERS, None),
    dropped=("data_preprocessor.", "bbox_head.integral."),
)

_VISION_TOWERS = ("head.{side}_head.conv.", ("classification", "regression"))
TORCHVISION = Dictionary(
    shared={
        "detector.backbone.stem.0": ("backbone.body.conv1",),
        "detector.backbone.stem.1": ("backbone.body.bn1",),
        **{f"detector.backbone.stages.{i}": (f"backbone.body.layer{i + 1}",) for i in STAGES},
        # since and before torchvision 0.13; the published files are from before
        **{
            f"detector.pyramid.lateral.{i}": (f"backbone.fpn.inner_blocks.{i}.0", f"backbone.fpn.inner_blocks.{i}")
            for i in range(3)
        },
        **{
            f"detector.pyramid.smooth.{i}": (f"backbone.fpn.layer_blocks.{i}.0", f"backbone.fpn.layer_blocks.{i}")
            for i in range(3)
        },
        "detector.pyramid.p6": ("backbone.fpn.extra_blocks.p6",),
        "detector.pyramid.p7": ("backbone.fpn.extra_blocks.p7",),
        CLASS_OUTPUT: ("head.classification_head.cls_logits",),
        BOX_OUTPUT: ("head.regression_head.bbox_reg",),
        "detector.head.extra_outputs.centerness": ("head.regression_head.bbox_ctrness",),
    },
    normed=towers(*_VISION_TOWERS, "{i}", "{after}", each=3),
    bare=either(
        towers(*_VISION_TOWERS, "{i}.0", None),
        towers(*_VISION_TOWERS, "{i}", None, each=2),
    ),
    background=True,
    unit_scale=True,
    # RetinaNet's towers before 0.13, hence its published COCO weights: torchvision sets ε to 0 when it loads them
    no_epsilon="head.classification_head.conv.2.weight",
)

_D2_TOWERS = ("head.{side}_subnet.", ("cls", "bbox"))
DETECTRON2 = Dictionary(
    shared={
        "detector.backbone.stem.0": ("backbone.bottom_up.stem.conv1",),
        "detector.backbone.stem.1": ("backbone.bottom_up.stem.conv1.norm",),
        **{f"detector.backbone.stages.{i}": (f"backbone.bottom_up.res{i + 2}",) for i in STAGES},
        **{f"detector.pyramid.lateral.{i}": (f"backbone.fpn_lateral{i + 3}",) for i in range(3)},
        **{f"detector.pyramid.smooth.{i}": (f"backbone.fpn_output{i + 3}",) for i in range(3)},
        "detector.pyramid.p6": ("backbone.top_block.p6",),
        "detector.pyramid.p7": ("backbone.top_block.p7",),
        CLASS_OUTPUT: ("head.cls_score",),
        BOX_OUTPUT: ("head.bbox_pred",),
        "detector.head.extra_outputs.implicit_objectness": ("head.obj_score",),
        SCALE: ("head.scales.{level}.scale",),
        "assigner.mu": ("mu",),
        "assigner.sigma": ("sigma",),
    },
    normed=towers(*_D2_TOWERS, "{i}", "{after}", each=3),
    bare=towers(*_D2_TOWERS, "{i}", None, each=2),
    dropped=("pixel_mean", "pixel_std", "anchor_generator.", "shift_generator."),
    inner={
        **{f"bn{i}": f"conv{i}.norm" for i in (1, 2, 3)},
        "conv2.conv_offset": "conv2_offset",
        "downsample.0": "shortcut",
        "downsample.1": "shortcut.norm",
    },
)

TOOLBOXES: dict[Toolbox, Dictionary] = {"mmdet": MMDET, "torchvision": TORCHVISION, "detectron2": DETECTRON2}
