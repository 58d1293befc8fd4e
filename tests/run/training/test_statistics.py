"""Statistics of assignments, by hand."""

import json

import pytest
import torch

from assignbench.core import Assignment, Discounts, Head, Normalisers, Pairs, Targets
from assignbench.core.priors import pyramid_priors
from assignbench.run.training.statistics import Tally, statistics, tally
from assignbench.run.training.train import latest_statistics

NONE = torch.zeros(0, dtype=torch.int64)


def count(objects: list[int], locations: list[int], weight: list[float]) -> Tally:
    """Three objects of 10, 40 and 300 pixels; locations 0 and 1 on P3, 2 on P4."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 40, 40], [0, 0, 300, 300]])
    targets = Targets(boxes, torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.int64), 1)
    priors = pyramid_priors(Head(), 8, 16)
    weights = torch.tensor(weight, dtype=torch.float32)
    pairs = Pairs(torch.tensor(objects), torch.tensor(locations), weights, weights, weights)
    zero = torch.tensor(0.0)
    record = Assignment(pairs, Discounts(NONE, NONE, NONE, torch.zeros(0)), Normalisers(zero, zero, zero))
    return tally(record, priors, targets)


def test_hard_pairs_are_counted() -> None:
    numbers = statistics(count([0, 0, 1], [0, 2, 1], [1, 1, 1]))
    assert numbers["objects"] == 3
    assert numbers["positives"] == pytest.approx(1.0)
    assert numbers["without_positive"] == pytest.approx(1 / 3)
    assert numbers["positives/<16"] == 2
    assert numbers["positives/32-64"] == 1
    assert numbers["without_positive/>=256"] == 1
    assert numbers["positives/64-128"] is None
    assert numbers["level/P3"] == pytest.approx(2 / 3)
    assert numbers["level/P4"] == pytest.approx(1 / 3)


def test_soft_weights_count_by_their_effective_number() -> None:
    # (0.9 + 0.1)² / (0.81 + 0.01), of which 0.9 on P3
    numbers = statistics(count([1, 1], [0, 2], [0.9, 0.1]))
    assert numbers["positives/32-64"] == pytest.approx(1 / 0.82)
    assert numbers["level/P3"] == pytest.approx(0.9)


def test_a_scale_of_the_weights_does_not_matter() -> None:
    one, other = count([0, 0, 1], [0, 1, 2], [0.2, 0.3, 0.5]), count([0, 0, 1], [0, 1, 2], [2, 3, 5])
    torch.testing.assert_close(one.packed(), other.packed(), rtol=1e-6, atol=0)


def test_tallies_add_up_and_survive_packing() -> None:
    one, other = count([0], [0], [1.0]), count([1, 1], [0, 2], [0.5, 0.5])
    both = Tally.unpacked((one + other).packed())
    assert both.objects.sum() == 6
    assert both.positives.sum() == 1 + 2
    empty = statistics(Tally.empty())
    assert empty["positives"] is None
    assert empty["objects"] == 0


def test_a_last_epoch_without_a_sample_hides_none_of_those_before(small_runs, tmp_path) -> None:
    """Of 4 iterations the last epoch has the fourth and the third; the first and only sample is of the epoch before."""
    outcome, said = small_runs(
        "train.batch=4", "train.statistics_every=4", "train.checkpoint_every=3", output=tmp_path, strategies=["atss"]
    )
    (record,) = outcome.records
    assert record.assignment["objects"] > 0
    assert "positives an object" in said
    rows = (tmp_path / record.run_id / "assignment.jsonl").read_text().splitlines()
    assert [json.loads(row)["objects"] > 0 for row in rows] == [True, False]
    assert latest_statistics(tmp_path / record.run_id / "assignment.jsonl") == record.assignment
