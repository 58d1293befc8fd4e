"""Joined logits and the targets of extras."""

import torch

from assignbench.core import join_logits


def test_joined_logit_is_the_product_of_probabilities() -> None:
    logits, extra = torch.randn(3, 5, 4, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    product = logits.sigmoid() * extra.sigmoid()[..., None]
    torch.testing.assert_close(join_logits(logits, extra).sigmoid(), product)


def test_joined_logit_is_exact_where_products_underflow() -> None:
    joined = join_logits(torch.tensor([[-80.0], [80.0], [80.0]]), torch.tensor([-80.0, 80.0, -80.0]))
    # p ≈ e^−160; 1 − p ≈ 2 e^−80; p ≈ e^−80
    expected = torch.tensor([[-160.0], [80 - torch.tensor(2.0).log().item()], [-80.0]])
    torch.testing.assert_close(joined, expected)


def test_gradient_is_finite_at_the_extremes() -> None:
    logits = torch.tensor([[-200.0], [200.0]], requires_grad=True)
    extra = torch.tensor([200.0, -200.0], requires_grad=True)
    join_logits(logits, extra).sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
