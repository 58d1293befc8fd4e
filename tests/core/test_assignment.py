"""An impossible record between strategy and objective is refused, by name."""

from dataclasses import replace

import pytest
import torch

from assignbench.core import Assignment, Discounts, Normalisers, Pairs, Predictions, Targets

NONE = torch.zeros(0, dtype=torch.int64)


def record(**changes: object) -> Assignment:
    """One object taught at location 1 of three; two classes."""
    one, index = torch.ones(1), torch.zeros(1, dtype=torch.int64)
    sums = Normalisers(one.sum(), one.sum(), one.sum())
    pairs = Pairs(index, index + 1, one, one, one)
    base = Assignment(pairs, Discounts(index, index + 1, index, one * 0), sums)
    return replace(base, **changes)  # type: ignore[arg-type]


def checked(assignment: Assignment) -> None:
    boxes = torch.zeros(1, 3, 4)
    index = torch.zeros(1, dtype=torch.int64)
    assignment.check(Predictions(torch.zeros(1, 3, 2), boxes, boxes), Targets(boxes[0, :1], index, index, 1))


def test_a_possible_record_is_let_through() -> None:
    checked(record())
    checked(record(pairs=replace(PAIRS, quality=None), ignored=torch.tensor([[True, False, True]])))
    checked(record(bag="all", pairs=replace(PAIRS, weight=torch.tensor([1.0005]))))  # rounded
    checked(record(background=torch.tensor([[0.0, 0.5, 1.0]]), diagnostics={"x": torch.zeros(1)}))


PAIRS, DISCOUNTS = record().pairs, record().discounts


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pairs": replace(PAIRS, location=torch.tensor([-1]))}, r"Pairs\.location must lie in 0 … 2"),
        ({"pairs": replace(PAIRS, location=torch.tensor([3]))}, r"Pairs\.location must lie in 0 … 2"),
        ({"pairs": replace(PAIRS, object=torch.tensor([1]))}, r"Pairs\.object must lie in 0 … 0"),
        ({"pairs": replace(PAIRS, object=torch.tensor([0.0]))}, r"Pairs\.object must be int64"),
        ({"pairs": replace(PAIRS, weight=torch.tensor([-1.0]))}, r"Pairs\.weight must be finite and at least 0"),
        ({"pairs": replace(PAIRS, weight=torch.tensor([float("nan")]))}, r"Pairs\.weight must be finite"),
        (
            {"pairs": replace(PAIRS, weight=torch.tensor([-1.0]))},
            r"but that of image 0, object 0, location 1 is -1",
        ),
        ({"pairs": replace(PAIRS, weight=PAIRS.weight.double())}, r"Pairs\.weight must be float32 .*, not float64"),
        ({"discounts": replace(DISCOUNTS, factor=DISCOUNTS.factor.double())}, r"Discounts\.factor must be float32"),
        ({"normalisers": Normalisers(*[torch.tensor(1.0).double()] * 3)}, r"Normalisers\.positive must be float32"),
        ({"bag": "any", "pairs": replace(PAIRS, weight=torch.tensor([9.0]))}, "of image 0, object 0 sums to 9"),
        ({"pairs": replace(PAIRS, quality=torch.tensor([7.0]))}, r"Pairs\.quality must be finite and in \[0, 1\]"),
        ({"discounts": replace(DISCOUNTS, label=torch.tensor([2]))}, r"Discounts\.label must lie in 0 … 1"),
        ({"discounts": replace(DISCOUNTS, factor=torch.tensor([1.5]))}, r"Discounts\.factor"),
        ({"discounts": replace(DISCOUNTS, weight=torch.tensor([-1.0]))}, r"Discounts\.weight"),
        ({"background": torch.ones(1, 2)}, "background must have shape"),
        ({"background": torch.tensor([[1.0, -2, 0.5]])}, "background must be .* but that of image 0, location 1 is -2"),
        ({"normalisers": Normalisers(*[torch.tensor(float("nan"))] * 3)}, r"Normalisers\.positive"),
        ({"diagnostics": {"x": torch.zeros(2)}}, "diagnostic 'x' must have one entry a pair or an object"),
        ({"ignored": torch.zeros(1, 2, dtype=torch.bool)}, "ignored must have shape"),
        ({"losses": {"x": torch.tensor(float("inf"))}}, r"losses\['x'\] is inf"),
    ],
)
def test_an_impossible_record_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        checked(record(**changes))
