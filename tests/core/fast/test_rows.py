"""The smallest entries of rows, against sorting them; rows a few at a time."""

import pytest
import torch
from torch import Tensor

from assignbench.core.fast import rows
from assignbench.core.fast.rows import BLOCK, best_of, object_chunks, smallest_columns


def sorted_columns(cost: Tensor, k: int) -> Tensor:
    """The naive reading."""
    cost = cost.nan_to_num(nan=float("inf"), posinf=float("inf"), neginf=float("-inf"))
    return cost.argsort(dim=1, stable=True)[:, :k].sort(1).values


def rows_of_ties(count: int, length: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    cost = torch.randint(0, 40, (count, length), generator=generator).float()
    cost[0] = torch.rand(length, generator=generator)
    cost[1, torch.rand(length, generator=generator) < 0.999] = float("inf")
    cost[2] = float("inf")
    cost[3] = 1.0
    cost[4, : length // 2] = 50.0  # the small ones come late
    return cost - 7


@pytest.mark.parametrize("length", [0, 1, 7, 300, 4096, 4097, 5003, 9000])
@pytest.mark.parametrize("k", [0, 1, 2, 9, 31, 50, 400])
def test_smallest_columns(length: int, k: int) -> None:
    cost = rows_of_ties(8, length, seed=length + k)
    assert torch.equal(smallest_columns(cost, k), sorted_columns(cost, k))
    assert smallest_columns(cost[:0], k).shape == (0, min(k, length))


@pytest.mark.parametrize("length", [1, 7, 300, 4097, 9000])
@pytest.mark.parametrize("k", [1, 3, 9, 50])
def test_what_is_not_a_number_counts_as_infinite_and_shifts_no_other_row(length: int, k: int) -> None:
    cost = rows_of_ties(8, length, seed=length + k)
    clean = cost.clone()
    cost[0, ::2] = float("nan")
    cost[3] = float("nan")
    cost[6, :k] = float("-inf")
    have = smallest_columns(cost, k)
    assert have.shape == (8, min(k, length))
    assert torch.equal(have, sorted_columns(cost, k))
    others = torch.tensor([1, 2, 4, 5, 7])
    assert torch.equal(have[others], smallest_columns(clean, k)[others])


@pytest.mark.parametrize("count", [0, 1, 7, 100])
@pytest.mark.parametrize("chunk", [1, 60, 1 << 17])
def test_chunks_cover_every_object_once(monkeypatch: pytest.MonkeyPatch, count: int, chunk: int) -> None:
    monkeypatch.setattr(rows, "CHUNK", chunk)
    chunks = list(object_chunks(count, 30))
    assert [one for part in chunks for one in range(count)[part]] == list(range(count))
    assert all((part.stop - part.start) * 30 <= max(chunk, 30) for part in chunks)
    assert chunks  # callers need no branch


def test_a_long_row_is_looked_at_in_blocks() -> None:
    length = BLOCK * BLOCK + BLOCK + 1  # the last block is not full
    cost = torch.full((2, length), 5.0)
    cost[0, -1], cost[1, 0] = 1.0, 1.0
    assert smallest_columns(cost, 3).tolist() == [[0, 1, length - 1], [0, 1, 2]]


def sorted_group_best(group: Tensor, score: Tensor, k: int) -> Tensor:
    """The naive reading."""
    best = torch.zeros_like(group, dtype=torch.bool)
    for one in group.unique().tolist():
        entries = (group == one).nonzero()[:, 0]
        best[entries[score[entries].argsort(descending=True, stable=True)[:k]]] = True
    return best


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("spread", [1, 40, 100_000])  # between numbers of groups: dense and sparse
@pytest.mark.parametrize("k", [1, 2, 9])
@pytest.mark.parametrize("waiting", [False, True])
def test_best_of_groups(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, spread: int, k: int, waiting: bool
) -> None:
    if waiting:
        monkeypatch.setattr(rows, "free_to_wait", lambda _: False)
    generator = torch.Generator().manual_seed(k)
    for count in (0, 1, 5, 3000):
        group = torch.randint(0, 6, (count,), generator=generator) * spread
        score = torch.randint(-20, 20, (count,), generator=generator).to(dtype) / 4
        score[torch.rand(count, generator=generator) < 0.1] = -torch.inf
        score[torch.rand(count, generator=generator) < 0.001] = torch.nan
        score[torch.rand(count, generator=generator) < 0.1] = -0.0
        assert torch.equal(best_of(group, score, k), sorted_group_best(group, score, k))
