"""The course of the learning rate, by hand, and who is in which group."""

import pytest
import torch

from assignbench.recipe import ModelSettings, TrainSettings
from assignbench.run.learner import build_learner
from assignbench.run.optimise import build_optimizer, learning_rate, set_learning_rate
from assigners.autoassign import AutoAssign

STEP = TrainSettings(
    iterations=100,
    batch=8,
    optimizer="sgd",
    lr=0.1,
    schedule="step",
    steps=(60, 80),
    warmup=10,
    warmup_start=0.1,
)
CYCLE = TrainSettings(
    iterations=110, batch=8, optimizer="adamw", lr=0.1, schedule="onecycle", warmup=10, warmup_start=0.5
)
MODEL = ModelSettings(backbone="resnet18", weights="none", channels=32, towers=1)


@pytest.mark.parametrize(
    ("iteration", "rate"), [(0, 0.01), (5, 0.055), (10, 0.1), (59, 0.1), (60, 0.01), (79, 0.01), (80, 0.001)]
)
def test_warm_up_and_steps(iteration: int, rate: float) -> None:
    assert learning_rate(iteration, STEP) == pytest.approx(rate)


@pytest.mark.parametrize(("iteration", "rate"), [(0, 0.05), (5, 0.075), (10, 0.1), (60, 0.05), (110, 0.0)])
def test_one_cycle(iteration: int, rate: float) -> None:
    assert learning_rate(iteration, CYCLE) == pytest.approx(rate)


def test_every_trained_parameter_is_in_one_group_and_norms_do_not_decay() -> None:
    settings = STEP.model_copy(update={"backbone_lr": 0.5, "strategy_lr": 3.0, "weight_decay": 0.01})
    learner = build_learner(AutoAssign, {}, MODEL, classes=2, seed=0)
    optimizer = build_optimizer(learner, settings)
    listed = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    trained = [id(parameter) for parameter in learner.parameters() if parameter.requires_grad]
    assert sorted(listed) == sorted(trained)

    set_learning_rate(optimizer, 0.1)
    found = {
        name: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for name, parameter in learner.named_parameters()
        if any(parameter is other for other in group["params"])
    }
    assert found["assigner.mu"] == pytest.approx((0.3, 0.01))
    assert found["detector.backbone.stem.0.weight"] == pytest.approx((0.05, 0.01))
    assert found["detector.backbone.stem.1.weight"] == pytest.approx((0.05, 0.0))
    assert found["detector.head.box_tower.1.weight"] == pytest.approx((0.1, 0.0))
    assert found["detector.head.box_output.bias"] == pytest.approx((0.1, 0.01))


def groups(settings: TrainSettings, model: ModelSettings = MODEL) -> dict[str, tuple[float, float]]:
    """Name of every trained parameter → multiple of the rate, decay."""
    learner = build_learner(AutoAssign, {}, model, classes=2, seed=0, pretrained=False)
    optimizer = build_optimizer(learner, settings.model_copy(update={"weight_decay": 0.01}))
    names = {id(parameter): name for name, parameter in learner.named_parameters()}
    return {
        names[id(parameter)]: (group["scale"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }


WEIGHT, BIAS = "detector.head.class_output.weight", "detector.head.class_output.bias"
NORM_SCALE, NORM_SHIFT = "detector.head.class_tower.1.weight", "detector.head.class_tower.1.bias"
BACKBONE_SCALE, BACKBONE_SHIFT = "detector.backbone.stages.1.0.bn1.weight", "detector.backbone.stages.1.0.bn1.bias"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # weight, bias, and scale and shift of a norm: multiple of the rate, decay
        ({}, [(1, 0.01), (1, 0.01), (1, 0), (1, 0)]),
        ({"norm_decay": True}, [(1, 0.01), (1, 0.01), (1, 0.01), (1, 0.01)]),
        ({"bias_decay": False}, [(1, 0.01), (1, 0), (1, 0), (1, 0)]),
        ({"bias_decay": False, "norm_decay": True}, [(1, 0.01), (1, 0), (1, 0.01), (1, 0)]),
        ({"bias_lr": 2.0}, [(1, 0.01), (2, 0.01), (1, 0), (1, 0)]),
        # Caffe's and Detectron's rule
        ({"bias_lr": 2.0, "bias_decay": False, "norm_decay": True}, [(1, 0.01), (2, 0), (1, 0.01), (1, 0)]),
    ],
)
def test_biases_and_norms_have_rules_of_their_own(
    changes: dict[str, object], expected: list[tuple[float, float]]
) -> None:
    found = groups(STEP.model_copy(update=changes))
    assert [found[name] for name in (WEIGHT, BIAS, NORM_SCALE, NORM_SHIFT)] == expected
    # the backbone's norms go by the same rules as the head's
    assert [found[name] for name in (BACKBONE_SCALE, BACKBONE_SHIFT)] == expected[2:]
    assert found["assigner.mu"] == (1, 0.01)


def test_the_backbones_rate_multiplies_that_of_biases() -> None:
    found = groups(STEP.model_copy(update={"bias_lr": 2.0, "backbone_lr": 0.5, "strategy_lr": 3.0}))
    assert found["detector.pyramid.p6.bias"] == (2, 0.01)
    assert found["detector.backbone.stages.1.0.conv1.weight"] == (0.5, 0.01)
    assert found["assigner.mu"][0] == found["assigner.sigma"][0] == 3


def test_a_pretrained_backbones_norms_are_in_a_group_only_when_they_are_trained() -> None:
    pretrained = MODEL.model_copy(update={"weights": "a file"})
    assert BACKBONE_SCALE not in groups(STEP, pretrained)
    affine = groups(STEP.model_copy(update={"norm_decay": True}), pretrained.model_copy(update={"norm_affine": True}))
    assert affine[BACKBONE_SCALE] == (1, 0.01)
    assert "detector.backbone.stages.0.0.bn1.weight" not in affine  # the first stage is frozen


def test_strategies_start_from_the_same_detector() -> None:
    from assigners.retinanet import RetinaNet

    one = build_learner(AutoAssign, {}, MODEL, classes=2, seed=3).state_dict()
    other = build_learner(RetinaNet, {}, MODEL, classes=2, seed=3).state_dict()
    shared = [name for name in one if name in other and "output" not in name]
    assert len(shared) > 100
    for name in shared:
        assert torch.equal(one[name], other[name]), name
    changed = build_learner(AutoAssign, {}, MODEL, classes=2, seed=4).state_dict()
    assert not torch.equal(one["detector.backbone.stem.0.weight"], changed["detector.backbone.stem.0.weight"])
