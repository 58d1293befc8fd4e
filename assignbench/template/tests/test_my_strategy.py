"""The rule on an example worked by hand. The laws: pytest --assignbench my_strategy."""

import torch
from assignbench.core import Setting, Targets, assign
from assignbench.synthetic import random_problem

from my_strategy import MyStrategy


def test_the_nearest_location_of_each_level_that_fits() -> None:
    problem = random_problem(
        MyStrategy.head, seed=0, classes=1, counts=(0,), height=128, width=128
    )
    targets = Targets(
        boxes=torch.tensor([[4.0, 4.0, 68.0, 68.0]]),
        labels=torch.tensor([0]),
        image=torch.tensor([0]),
        images=1,
    )
    strategy = MyStrategy(Setting(classes=1), k=1)
    record = assign(strategy, problem.with_targets(targets).view())
    # 64 pixels fit strides 8 and 16; middles of their cells: 4, 12, … and 8, 24, …
    taught = problem.priors.points[record.pairs.location]
    assert taught.tolist() == [[36.0, 36.0], [40.0, 40.0]]
