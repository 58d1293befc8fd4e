"""The recipe: everything that all strategies of a comparison share. One sentence for every setting."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


def _listed(value: Any) -> Any:
    """YAML knows lists and people write single numbers; the field is a tuple."""
    return tuple(value) if isinstance(value, list) else (value,) if isinstance(value, int) else value


_Side = Annotated[int, Field(ge=32, le=4096)]
_Sides = Annotated[
    tuple[_Side, ...],
    BeforeValidator(_listed, json_schema_input_type=_Side | Annotated[tuple[_Side, ...], Field(min_length=1)]),
]
_Iteration = Annotated[int, Field(ge=1)]
_Iterations = Annotated[
    tuple[_Iteration, ...], BeforeValidator(_listed, json_schema_input_type=_Iteration | tuple[_Iteration, ...])
]


class _Group(BaseModel):
    """Strict on purpose: ``"3"`` is not a number, 1 is not true, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


# Published weights → their style, the pixels that references feed them, and the backbones that have them.
_PUBLISHED: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "imagenet": (
        "pytorch",
        ("torchvision",),
        ("resnet18", "resnet34", "resnet50", "resnet101", "resnext101_64x4d"),
    ),
    "msra": ("caffe", ("caffe", "detectron"), ("resnet50", "resnet101")),
    "detectron": ("caffe", ("caffe", "detectron"), ("resnet50", "resnet101")),
    "openmmlab": ("pytorch", ("torchvision",), ("resnext101_64x4d",)),
}


class ModelSettings(_Group):
    """The detector, apart from what the strategy's own head asks for."""

    backbone: Literal[
        "miniature", "resnet10_half", "resnet18", "resnet34", "resnet50", "resnet101", "resnext101_64x4d"
    ] = Field(
        description="network that the pyramid P3–P7 is built on; miniature and resnet10_half have one block a stage "
        "and few channels: the first to try things out, the second to learn on a CPU"
    )
    weights: str = Field(
        min_length=1,
        description="initial backbone: imagenet (torchvision's), msra or detectron (caffe style), openmmlab "
        "(mmdetection's ResNeXt), or a file: its first layers are frozen; none: nothing is",
    )
    style: Literal["pytorch", "caffe"] = Field(
        "pytorch", description="which convolution of a bottleneck has the stride: the 3×3 (pytorch) or the 1×1 (caffe)"
    )
    pixels: Literal["torchvision", "caffe", "detectron"] = Field(
        "torchvision",
        description="what the backbone sees: RGB with mean and deviation (torchvision), BGR minus the mean colour of "
        "ImageNet (caffe) or of Detectron's models (detectron)",
    )
    norm_affine: bool = Field(
        False, description="whether a pretrained backbone's batch norm trains its scale and shift; its statistics never"
    )
    deformable: int = Field(
        0,
        ge=0,
        le=3,
        description="of how many last stages of the backbone the 3×3 convolutions are modulated deformable ones: "
        "1: C5, 2: C4 and C5, 3: C3 to C5",
    )
    pyramid: Literal["p5_relu", "p5_plain", "c5_relu", "c5_plain"] = Field(
        "p5_relu", description="P6 is computed from P5 or C5, and P7 from P6 after a ReLU or as it is"
    )
    pyramid_init: Literal["kaiming", "xavier"] = Field(
        "kaiming", description="initial weights of the pyramid: He's or Glorot's, both uniform"
    )
    channels: int = Field(256, ge=32, le=1024, multiple_of=32, description="channels of pyramid and towers")
    towers: int = Field(4, ge=0, le=8, description="convolutions in each of the two towers")
    deformable_towers: bool = Field(
        False, description="whether the last convolution of each tower is a modulated deformable one"
    )

    @model_validator(mode="after")
    def _towers_fit(self) -> "ModelSettings":
        if self.deformable_towers and not self.towers:
            raise ValueError("model.deformable_towers needs a tower to deform, but model.towers = 0")
        return self

    @model_validator(mode="after")
    def _weights_fit(self) -> "ModelSettings":
        if self.weights not in _PUBLISHED:
            return self
        style, pixels, backbones = _PUBLISHED[self.weights]
        if style != self.style:
            raise ValueError(
                f"model.weights = {self.weights} are of style {style}, but model.style = {self.style}; "
                "choose weights of that style, a file, or none"
            )
        if self.backbone not in backbones:
            raise ValueError(
                f"model.weights = {self.weights} exist for {' and '.join(backbones)}, not {self.backbone}; "
                "choose other weights, a file, or none"
            )
        if self.pixels not in pixels:
            raise ValueError(
                f"model.weights = {self.weights} were trained on model.pixels = {' or '.join(pixels)}, "
                f"not {self.pixels}; choose these pixels, a file, or none"
            )
        return self


class DataSettings(_Group):
    """How pictures reach the network."""

    short_side: _Sides = Field(
        min_length=1,
        description="shorter side of a resized picture in pixels; of several, training draws one per "
        "picture and evaluation takes the largest",
    )
    short_side_range: bool = Field(
        False, description="whether training draws any whole number from the least to the largest short_side"
    )
    long_side: int = Field(
        ge=32,
        le=8192,
        description="limit of the longer side in pixels; a picture that would exceed it is scaled to fit",
    )
    grow_from: float = Field(
        1.0,
        ge=0.25,
        le=1,
        description="sides of training pictures at the start, as a fraction of their later sides; 1: they do not grow",
    )
    grow_for: float = Field(
        0.5, gt=0, le=1, description="part of the training in which pictures grow, in three equal parts, to their size"
    )
    flip: float = Field(0.5, ge=0, le=1, description="probability that a training picture is mirrored left to right")
    crop: float = Field(
        1.0,
        gt=0,
        le=1,
        description="smallest side of a training crop around a randomly chosen object, as a fraction of the picture's "
        "side; 1: no crop",
    )
    jitter: float = Field(
        0.0,
        ge=0,
        le=1,
        description="brightness, contrast and saturation of a training picture are multiplied by factors from "
        "1 − jitter to 1 + jitter, in random order; 0: never",
    )
    test_short_side: _Side | None = Field(
        None, description="shorter side in evaluation and prediction; null: the largest short_side"
    )
    test_long_side: Annotated[int, Field(ge=32, le=8192)] | None = Field(
        None, description="limit of the longer side in evaluation and prediction; null: long_side"
    )
    workers: Annotated[int, Field(ge=0, le=64)] | Literal["auto"] = Field(
        "auto",
        description="loader processes beside each training process; 0: none; auto: up to 8 beside a GPU, as cores "
        "allow, and on a CPU, whose cores compute, one from 4 cores on, else none",
    )

    @property
    def test_sides(self) -> tuple[int, int]:
        """Shorter side and limit of the longer one, in evaluation and prediction."""
        return self.test_short_side or max(self.short_side), self.test_long_side or self.long_side

    @model_validator(mode="after")
    def _sides_fit(self) -> "DataSettings":
        if max(self.short_side) > self.long_side:
            raise ValueError(
                f"data.short_side = {max(self.short_side)} exceeds data.long_side = {self.long_side}; "
                "raise the limit or lower the side"
            )
        short, long = self.test_sides
        if short > long:
            raise ValueError(
                f"data.test_short_side = {self.test_short_side} and data.test_long_side = {self.test_long_side} give "
                f"a shorter side of {short} pixels and a limit of {long}; raise the limit or lower the side"
            )
        if self.short_side_range and len(self.short_side) < 2:
            raise ValueError(
                "data.short_side_range = true needs two ends; write data.short_side as [least, largest], "
                f"not {list(self.short_side)}"
            )
        return self


class TrainSettings(_Group):
    """The optimisation."""

    iterations: int = Field(ge=1, le=10**9, description="optimizer steps")
    batch: int = Field(ge=1, le=10**6, description="pictures per optimizer step, over all processes and micro-steps")
    accumulation: int = Field(1, ge=1, description="micro-steps that one optimizer step is summed from, to save memory")
    optimizer: Literal["sgd", "adamw"] = Field(description="update rule")
    lr: float = Field(gt=0, le=10, description="highest learning rate, as it is for the whole batch: never rescaled")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of sgd, first beta of adamw")
    weight_decay: float = Field(1e-4, ge=0, lt=1, description="weight decay")
    strategy_lr: float = Field(
        1.0,
        ge=0,
        le=100,
        description="learning rate of the strategy's own parameters as a multiple of lr",
    )
    backbone_lr: float = Field(1.0, ge=0, le=10, description="learning rate of the backbone as a multiple of lr")
    bias_lr: float = Field(1.0, ge=0, le=10, description="learning rate of biases, norms' apart, as a multiple of lr")
    bias_decay: bool = Field(True, description="whether biases, norms' included, are subject to weight decay")
    norm_decay: bool = Field(False, description="whether norm layers are subject to weight decay")
    schedule: Literal["step", "cosine"] = Field(
        description="the learning rate after the warm-up; step: times gamma at each of the steps; cosine: along half a "
        "cosine down to 0"
    )
    steps: _Iterations = Field(
        (), description="iterations after which schedule step multiplies the learning rate by gamma"
    )
    gamma: float = Field(0.1, gt=0, lt=1, description="factor of the learning rate at each of the steps")
    warmup: int = Field(0, ge=0, description="iterations in which the learning rate rises to lr")
    warmup_start: float = Field(0.001, gt=0, le=1, description="fraction of lr that the warm-up starts from")
    papers: bool = Field(
        False,
        description="whether this is the papers' schedule: a published preset then sets warm-up and clip as its own",
    )
    clip: float | None = Field(None, gt=0, description="largest norm of the gradient of all parameters; null: any")
    precision: Literal["no", "bf16", "fp16", "auto"] = Field(
        "no",
        description="mixed precision of the network in training; auto: bf16 where it is native, else no",
    )
    compile: bool = Field(
        False,
        description="whether torch.compile builds the network for training: the same results up to rounding, minutes "
        "later and then faster, on a GPU above all; needs a C++ compiler",
    )
    checkpoint_every: int = Field(1000, ge=1, description="iterations between checkpoints")
    snapshots: _Iterations = Field(
        (),
        description="iterations after which the weights are kept for pictures of the training (figure 6); with any of "
        "them, those of the start are kept, too",
    )
    log_every: int = Field(20, ge=1, description="iterations between lines of the loss log")
    statistics_every: int = Field(10, ge=1, description="iterations between samples of the assignment's statistics")
    validate_every: int = Field(
        0,
        ge=0,
        description="epochs between losses on the evaluation split, which are also taken at the end of the training; "
        "0: never",
    )

    @model_validator(mode="before")
    @classmethod
    def _refuse_old_words(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and values.get("schedule") == "onecycle":
            raise ValueError("train.schedule = onecycle is called cosine now; write cosine: the same learning rates")
        return values

    @model_validator(mode="after")
    def _schedule_fits(self) -> "TrainSettings":
        if self.batch % self.accumulation:
            raise ValueError(
                f"train.batch = {self.batch} does not divide by train.accumulation = {self.accumulation}; "
                "choose a divisor"
            )
        if self.warmup > self.iterations:
            raise ValueError(
                f"train.warmup = {self.warmup} is longer than train.iterations = {self.iterations}; "
                f"shorten the warm-up, too: train.warmup={self.iterations // 10}"
            )
        if self.schedule == "cosine" and self.steps:
            raise ValueError("train.steps are for train.schedule = step; cosine has none: set train.steps=[]")
        if list(self.steps) != sorted(set(self.steps)):
            raise ValueError(f"train.steps = {list(self.steps)} must increase")
        if self.steps and self.steps[-1] >= self.iterations:
            raise ValueError(
                f"train.steps = {list(self.steps)} must lie before train.iterations = {self.iterations}; "
                "set both together"
            )
        if self.steps and self.steps[0] < self.warmup:
            raise ValueError(
                f"train.steps = {list(self.steps)} must lie after the warm-up, train.warmup = {self.warmup}"
            )
        if list(self.snapshots) != sorted(set(self.snapshots)):
            raise ValueError(f"train.snapshots = {list(self.snapshots)} must increase")
        if self.snapshots and self.snapshots[-1] > self.iterations:
            raise ValueError(
                f"train.snapshots = {list(self.snapshots)} must not lie beyond train.iterations = {self.iterations}"
            )
        return self


class LossSettings(_Group):
    """What a pair and background cost; null: what the protocol says."""

    class_: Literal["focal", "quality_focal", "varifocal", "cross_entropy"] | None = Field(
        default=None,
        alias="class",
        description="cost of a class, where it is to be learned and where it is background; null: the protocol's "
        "(controlled: focal)",
    )
    box: Literal["giou", "diou", "ciou", "l1", "giou_distribution"] | None = Field(
        default=None,
        description="cost of a box; giou_distribution: the head puts out a distribution over each side, which the "
        "distribution focal loss teaches beside GIoU; null: the protocol's (controlled: giou)",
    )
    box_weight: float | None = Field(
        default=None,
        gt=0,
        description="weight λ of the box part in what a pair costs, and in AutoAssign's and FreeAnchor's likelihoods; "
        "null: the protocol's (controlled: 5)",
    )


class EvaluateSettings(_Group):
    """From predictions to detections."""

    batch: int = Field(16, ge=1, description="pictures per forward pass of a process; changes speed, not results")
    score: Literal["root", "product"] = Field(
        "root",
        description="final score from class probability p and quality q (centerness, …): √(p·q) or p·q; same order",
    )
    score_threshold: float = Field(0.05, ge=0, lt=1, description="what a candidate must exceed")
    threshold_on: Literal["output", "class", "score"] = Field(
        "class",
        description="what the threshold is held against: the class output alone, the class probability (implicit "
        "objectness included), or the final score",
    )
    candidates: int = Field(1000, ge=1, description="best candidates kept of each level before suppression")
    candidates_of: Literal["pair", "location", "best_class"] = Field(
        "pair",
        description="what evaluate.candidates counts: pairs of location and class; locations, of which all classes are "
        "kept that exceed the threshold; or locations, of which only the class of the highest output is",
    )
    rank_by: Literal["output", "class", "score"] = Field(
        "score", description="what the best pairs are ranked by; see threshold_on"
    )
    candidates_per_location: bool = Field(
        False, description="whether a level keeps at most as many pairs as it has locations"
    )
    clip: bool = Field(True, description="whether boxes are cut to their picture before suppression")
    keep_flat: bool = Field(False, description="whether boxes stay that clipping to their picture leaves without area")
    nms: float = Field(0.6, gt=0, le=1, description="IoU above which the weaker of two boxes of a class is dropped")
    detections: int = Field(100, ge=1, description="detections kept per picture")
    voting: float | None = Field(
        None,
        gt=0,
        description="σ of score voting: the box of a detection becomes the mean of the candidates of its class around "
        "it, weighted by score and exp(−(1 − IoU)² / σ); PAA: 0.025; null: it stays",
    )
    evaluator: Literal["pycocotools", "fast"] = Field(
        "pycocotools",
        description="what scores detections; fast: faster-coco-eval (assignbench[fast]), whose numbers must equal "
        "pycocotools' on the first file of a command",
    )


class Recipe(_Group):
    """One way to train and evaluate, the same for every strategy of a comparison."""

    model: ModelSettings
    data: DataSettings
    train: TrainSettings
    loss: LossSettings = LossSettings()
    evaluate: EvaluateSettings


# Settings that change how fast or how talkative a run is, never its result.
BOOKKEEPING = frozenset(
    {
        "data.workers",
        "train.checkpoint_every",
        "train.snapshots",
        "train.log_every",
        "train.statistics_every",
        "train.validate_every",
        "evaluate.batch",
        "evaluate.evaluator",
    }
)
