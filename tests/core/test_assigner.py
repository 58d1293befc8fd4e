"""What is the same for all strategies: padding and crowds teach nothing, in any branch of a head."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch

from assignbench.core import (
    Assigner,
    Assignment,
    Branch,
    Head,
    Priors,
    Regions,
    Setting,
    Targets,
    hard_assignment,
    sides,
    taught_locations,
)
from assignbench.core import assigner as module
from assignbench.core.assigner import assign_branches
from assignbench.core.parts import anchor_head
from assignbench.synthetic import Problem, random_problem

CROWD = torch.tensor([[32.0, 32.0, 96.0, 96.0]])
IN_CROWD = 12 * 6 + 6  # of P3, whose rows have twelve cells: row 6, column 6, its centre at (52, 52)


class Branching(Assigner):
    """Only the branch "again" teaches, at one location in the crowd; it has the outputs of the main one."""

    head = Head(beside=(Branch("dense", anchor_head()), Branch("again")))
    source = "a test"

    def forward(self, targets: Targets) -> Mapping[str, Assignment]:
        none = torch.zeros(0, dtype=torch.int64)
        nothing = hard_assignment(none, none, targets)
        again = hard_assignment(torch.tensor([0]), torch.tensor([IN_CROWD]), targets)
        return {"main": nothing, "dense": nothing, "again": again}


def crowded_problem() -> Problem:
    """Two images of 96 × 96 pixels with an object each, and a crowd in the first."""
    problem = random_problem(Branching.head, seed=0, classes=3, counts=(1, 1), height=96, width=96)
    targets = replace(problem.targets, ignore=Regions(CROWD, torch.tensor([0])))
    return problem.with_targets(targets)


def within(priors: Priors) -> torch.Tensor:
    """Which locations lie in the crowd: ``[location]``."""
    return sides(CROWD, priors.points).amin(-1) > 0


def test_a_pair_in_a_crowd_is_taught_in_its_own_branch_alone() -> None:
    problem = crowded_problem()
    records = assign_branches(Branching(Setting(classes=3)), problem.branches())
    for branch, record in records.items():
        priors = problem.of_branch(branch).priors
        wanted = within(priors)
        assert wanted.any()
        if branch == "again":
            assert wanted[IN_CROWD]
            wanted[IN_CROWD] = False
        assert record.ignored is not None
        assert torch.equal(record.ignored[0], wanted)
        assert not record.ignored[1].any()


def test_crowds_are_looked_up_once_for_branches_with_the_same_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    real, asked = module.crowded_locations, []

    def counted(priors: Priors, targets: Targets) -> torch.Tensor | None:
        asked.append(priors)
        return real(priors, targets)

    monkeypatch.setattr(module, "crowded_locations", counted)
    problem = crowded_problem()
    assign_branches(Branching(Setting(classes=3)), problem.branches())
    assert [len(priors) for priors in asked] == [len(problem.priors), len(problem.beside["dense"].priors)]


def test_what_is_taught_lies_neither_in_the_padding_nor_in_a_crowd() -> None:
    problem = crowded_problem()
    priors = problem.priors.padded(torch.tensor([[96, 64], [64, 96]]))
    taught = taught_locations(priors, problem.targets)
    assert priors.inside is not None
    assert torch.equal(taught[0], priors.inside[0] & ~within(priors))
    assert torch.equal(taught[1], priors.inside[1])
    bare = problem.targets.without_ignored()
    assert bool(taught_locations(problem.priors, bare).all())
