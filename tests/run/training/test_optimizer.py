"""The course of the learning rate, by hand, and who is in which group."""

import pytest
import torch
from torch import nn

from assignbench.recipe import ModelSettings, TrainSettings
from assignbench.run.training.learner import build_learner
from assignbench.run.training.optimizer import build_optimizer, fusable, learning_rate, set_learning_rate, update_rule
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
COSINE = TrainSettings(
    iterations=110, batch=8, optimizer="adamw", lr=0.1, schedule="cosine", warmup=10, warmup_start=0.5
)
MODEL = ModelSettings(backbone="miniature", weights="none", channels=32, towers=1)


@pytest.mark.parametrize(
    ("iteration", "rate"), [(0, 0.01), (5, 0.055), (10, 0.1), (59, 0.1), (60, 0.01), (79, 0.01), (80, 0.001)]
)
def test_warm_up_and_steps(iteration: int, rate: float) -> None:
    assert learning_rate(iteration, STEP) == pytest.approx(rate)


@pytest.mark.parametrize(("iteration", "rate"), [(0, 0.05), (5, 0.075), (10, 0.1), (60, 0.05), (110, 0.0)])
def test_warm_up_and_half_a_cosine(iteration: int, rate: float) -> None:
    assert learning_rate(iteration, COSINE) == pytest.approx(rate)


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


@pytest.mark.parametrize("rule", ["sgd", "adamw"])
def test_the_fused_optimizer_takes_the_same_steps(rule: str) -> None:
    """On the gradients of a real network, which must lie in memory as their parameters do."""
    settings = COSINE.model_copy(update={"optimizer": rule, "weight_decay": 0.01})
    learners = [build_learner(AutoAssign, {}, MODEL, classes=2, seed=0) for _ in range(2)]
    optimizers = [build_optimizer(learner, settings) for learner in learners]
    for group in optimizers[1].param_groups:
        assert group["fused"]
        group["fused"] = False
    torch.manual_seed(0)
    for _ in range(2):
        predictions, _ = learners[0].detector.predict(torch.randn(1, 3, 64, 64))
        own = sum(parameter.sin().sum() for parameter in learners[0].assigner.parameters())
        (predictions.outputs.sin().sum() + predictions.boxes.sin().sum() + own).backward()
        nn.utils.clip_grad_norm_(learners[0].parameters(), 1.0)
        for (name, one), other in zip(learners[0].named_parameters(), learners[1].parameters(), strict=True):
            assert one.grad is not None or "extra" in name
            assert one.grad is None or one.grad.stride() == one.stride(), name
            other.grad = None if one.grad is None else one.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    start = build_learner(AutoAssign, {}, MODEL, classes=2, seed=0)
    for (name, one), other, first in zip(
        learners[0].named_parameters(), learners[1].parameters(), start.parameters(), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7, msg=name)
        assert "extra" in name or not torch.equal(one, first), name


def test_parameters_with_gaps_in_memory_are_not_fused() -> None:
    dense, gaps = torch.zeros(4, 6), torch.zeros(4, 6)[:, :3]
    assert fusable(dense)
    assert fusable(dense.t())
    assert fusable(torch.zeros(2, 3, 5, 5).to(memory_format=torch.channels_last))
    assert fusable(torch.zeros(()))
    assert not fusable(gaps)
    assert not fusable(torch.zeros(3, device="meta"))
    groups = [{"params": [nn.Parameter(tensor)], "weight_decay": 0.0} for tensor in (dense, gaps)]
    assert all(group["fused"] for group in update_rule(groups[:1], STEP).param_groups)
    assert not any(group["fused"] for group in update_rule(groups, STEP).param_groups)


def test_strategies_start_from_the_same_detector() -> None:
    from assigners.retinanet import RetinaNet

    one = build_learner(AutoAssign, {}, MODEL, classes=2, seed=3).state_dict()
    other = build_learner(RetinaNet, {}, MODEL, classes=2, seed=3).state_dict()
    shared = [name for name in one if name in other and "output" not in name]
    assert len(shared) > 90
    for name in shared:
        assert torch.equal(one[name], other[name]), name
    changed = build_learner(AutoAssign, {}, MODEL, classes=2, seed=4).state_dict()
    assert not torch.equal(one["detector.backbone.stem.0.weight"], changed["detector.backbone.stem.0.weight"])
