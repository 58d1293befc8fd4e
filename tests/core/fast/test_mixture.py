"""Two normal distributions fitted to each group at once are those fitted value by value, and scikit-learn's."""

import math

import pytest
import torch

from assignbench.core import two_gaussians


def naive(values: list[float], eps: float) -> tuple[list[bool], list[float]]:
    """EM of one group, value by value."""
    share, mean, variance = [0.5, 0.5], [min(values), max(values)], [1.0, 1.0]

    def joint(x: float) -> list[float]:
        return [math.log(w) - 0.5 * math.log(2 * math.pi * v) - (x - m) ** 2 / (2 * v)
                for w, m, v in zip(share, mean, variance, strict=True)]  # fmt: skip

    def log_density(x: float) -> float:
        high = max(joint(x))
        return high + math.log(sum(math.exp(each - high) for each in joint(x)))

    before = -math.inf
    for _ in range(100):
        bound = sum(map(log_density, values)) / len(values)
        belongs = [[math.exp(each - log_density(x)) for each in joint(x)] for x in values]
        mass = [sum(row[c] for row in belongs) + 10 * eps for c in (0, 1)]
        mean = [sum(row[c] * x for row, x in zip(belongs, values, strict=True)) / mass[c] for c in (0, 1)]
        square = [sum(row[c] * x * x for row, x in zip(belongs, values, strict=True)) / mass[c] for c in (0, 1)]
        variance = [square[c] - mean[c] ** 2 + 1e-6 for c in (0, 1)]
        share = [each / sum(mass) for each in mass]
        if abs(bound - before) < 1e-3:
            break
        before = bound
    return [joint(x)[0] >= joint(x)[1] for x in values], [log_density(x) for x in values]


def groups_of(seed: int, dtype: torch.dtype) -> list[torch.Tensor]:
    """Groups of one value to 45: two clusters, one cluster, and equal values."""
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for size in (1, 2, 3, 9, 20, 45, 45, 7):
        near = torch.rand(size, generator=generator, dtype=dtype) + 1
        drawn.append((near + 2 * (torch.rand(size, generator=generator) < 0.5)).sort().values)
    return [*drawn, torch.full((6,), 2.5, dtype=dtype)]


def fitted(groups: list[torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    sizes = [len(one) for one in groups]
    group = torch.repeat_interleave(torch.arange(len(groups)), torch.tensor(sizes))
    low, density = two_gaussians(torch.cat(groups), group, len(groups), 45)
    return list(low.split(sizes)), list(density.split(sizes))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_naive_reading_in_float64_whatever_the_numbers_are(seed: int, dtype: torch.dtype) -> None:
    groups = groups_of(seed, dtype)
    for values, low, density in zip(groups, *fitted(groups), strict=True):
        wanted = naive(values.tolist(), torch.finfo(torch.float64).eps)
        assert low.tolist() == wanted[0]
        torch.testing.assert_close(density, torch.tensor(wanted[1], dtype=torch.float64), rtol=1e-9, atol=1e-9)


def test_a_group_gets_what_it_gets_alone_and_an_empty_one_nothing() -> None:
    groups = [*groups_of(0, torch.float32), torch.zeros(0), torch.tensor([1.0, 5.0])]
    for values, *together in zip(groups, *fitted(groups), strict=True):
        for one, other in zip(together, fitted([values]), strict=True):
            assert torch.equal(one, other[0])
    low, density = two_gaussians(torch.zeros(0), torch.zeros(0, dtype=torch.int64), 0, 45)
    assert len(low) == len(density) == 0


def test_clusters_are_told_apart_and_equal_values_are_all_of_the_first_component() -> None:
    low, density = fitted([torch.tensor([1.0, 1.1, 1.2, 4.0, 4.1]), torch.full((4,), 3.0)])
    assert low[0].tolist() == [True, True, True, False, False]
    assert low[1].tolist() == [True] * 4
    assert len(density[1].unique()) == 1


def test_large_costs_that_hardly_differ_stay_finite() -> None:
    """In float32 the usual formula of the variance is negative here."""
    values = (80 + 1e-4 * torch.rand(30, generator=torch.Generator().manual_seed(0))).sort().values
    _, density = fitted([values])
    assert bool(density[0].isfinite().all())


@pytest.mark.parametrize("seed", range(3))
def test_it_is_scikit_learns(seed: int) -> None:
    mixture = pytest.importorskip("sklearn.mixture")
    groups = [one for one in groups_of(seed, torch.float64) if len(one) > 1 and len(one.unique()) > 1]
    for values, low, density in zip(groups, *fitted(groups), strict=True):
        column = values[:, None].numpy()
        model = mixture.GaussianMixture(
            2,
            weights_init=[0.5, 0.5],
            means_init=[[values.min().item()], [values.max().item()]],
            precisions_init=[[1.0], [1.0]],
            covariance_type="diag",
        ).fit(column)
        assert low.tolist() == (model.predict(column) == 0).tolist()
        torch.testing.assert_close(density, torch.from_numpy(model.score_samples(column)), rtol=1e-6, atol=1e-6)
