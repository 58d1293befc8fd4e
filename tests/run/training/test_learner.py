import pytest

from assignbench.config import load_recipe
from assignbench.run.matrix.protocol import protocol_of
from assignbench.run.training.learner import build_learner
from assigners.autoassign import AutoAssign

MODEL = load_recipe("tiny", ["model.channels=32", "model.towers=1"]).recipe.model


@pytest.mark.parametrize("protocol", ["controlled", "published"])
def test_the_box_weight_of_the_recipe_is_the_loss_s_and_the_strategy_s(protocol: str) -> None:
    surroundings = protocol_of(AutoAssign, protocol)
    plain, heavy = (
        build_learner(
            AutoAssign, {}, MODEL, classes=2, seed=0, protocol=surroundings, box_loss_weight=weight, pretrained=False
        )
        for weight in (None, 7.5)
    )
    assert plain.loss == plain.assigner.setting.loss == surroundings.loss
    assert heavy.loss == heavy.assigner.setting.loss == surroundings.loss.weighing_boxes(7.5)
    assert heavy.loss.box.weight == 7.5
