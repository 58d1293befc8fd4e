import pytest

from assignbench.config import load_recipe
from assignbench.core.head import MAIN
from assignbench.core.parts import PairLoss
from assignbench.recipe import LossSettings
from assignbench.run.matrix.protocol import protocol_of
from assignbench.run.training.learner import Learner, build_learner
from assignbench.synthetic import random_problem
from assigners.autoassign import AutoAssign

MODEL = load_recipe("tiny", ["model.backbone=miniature", "model.channels=32", "model.towers=1"]).recipe.model


@pytest.mark.parametrize("protocol", ["controlled", "published"])
def test_the_box_weight_of_the_recipe_is_the_loss_s_and_the_strategy_s(protocol: str) -> None:
    surroundings = protocol_of(AutoAssign, protocol)
    plain, heavy = (
        build_learner(
            *(AutoAssign, {}, MODEL),
            classes=2,
            seed=0,
            protocol=surroundings,
            loss=LossSettings(box_weight=weight),
            pretrained=False,
        )
        for weight in (None, 7.5)
    )
    assert plain.loss == told(plain) == surroundings.loss
    assert heavy.loss == told(heavy) == surroundings.loss.weighing_boxes(7.5)
    assert heavy.loss.box.weight == 7.5


def told(learner: Learner) -> PairLoss:
    """The loss of the view that the strategy asks."""
    problem = random_problem(learner.head, seed=0, classes=2, counts=(1,))
    return learner.views({MAIN: (problem.predictions, problem.priors)}, problem.targets)[MAIN].loss
