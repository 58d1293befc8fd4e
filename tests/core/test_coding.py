"""Codings: what is encoded is decoded, and where they cut."""

import math

import pytest
import torch

from assignbench.core import Head
from assignbench.core.parts import Coding, Corners, Deltas, Distances, LogDistances
from assignbench.core.priors import pyramid_priors

PRIORS = pyramid_priors(Head(), 64, 96)


@pytest.mark.parametrize(
    "coding",
    [Distances(unit=4.0), LogDistances(), LogDistances(unit=2.0), LogDistances(2.0, 16.0), Deltas(), Corners()],
    ids=str,
)
def test_what_is_encoded_is_decoded(coding: Coding) -> None:
    x, y = PRIORS.points.unbind(-1)
    box = torch.stack((x - 20, y - 12, x + 30, y + 25), dim=-1)
    fine = PRIORS.stride <= 32
    again = coding.decode(coding.encode(box, PRIORS.boxes, PRIORS.stride), PRIORS.boxes, PRIORS.stride)
    torch.testing.assert_close(again[fine], box[fine], rtol=1e-5, atol=1e-3)


def test_logarithms_of_distances_by_hand() -> None:
    prior, stride = torch.tensor([[80.0, 80, 120, 120]]), torch.tensor([8.0])
    coding = LogDistances(unit=2.0, most=16.0)
    raw = coding.encode(torch.tensor([[84.0, 99.5, 500, 90]]), prior, stride)  # sides 16, ½, 400 and −10 pixels
    assert raw[0].tolist() == pytest.approx([0.0, -math.log(16), math.log(16), -math.log(16)])
    assert coding.decode(torch.zeros(1, 4), prior, stride).tolist() == [[84.0, 84, 116, 116]]
    assert coding.decode(torch.full((1, 4), 1e4), prior, stride).isfinite().all()
    free = LogDistances().encode(torch.tensor([[84.0, 99.5, 5000, 90]]), prior, stride)
    assert free[0].tolist() == pytest.approx([math.log(2), math.log(1 / 16), math.log(4900 / 8), math.log(1e-8)])


def test_corners_are_taken_as_they_come() -> None:
    """A location at (100, 100) of stride 8, outside of its box; and a box whose left lies right of its right."""
    prior, stride = torch.tensor([[80.0, 80, 120, 120]]), torch.tensor([8.0])
    raw = torch.tensor([[0.5, -1.0, 2.0, -0.25]])
    assert Corners().decode(raw, prior, stride).tolist() == [[104.0, 92, 116, 98]]
    assert Corners().encode(torch.tensor([[104.0, 92, 116, 98]]), prior, stride).tolist() == raw.tolist()
    assert Corners().decode(torch.tensor([[1.0, 0, -1.0, 2]]), prior, stride).tolist() == [[108.0, 100, 92, 116]]


def test_a_shift_may_have_a_limit() -> None:
    prior, stride = torch.tensor([[0.0, 0, 512, 512]]), torch.tensor([32.0])
    raw = torch.tensor([[0.5, -0.03, 0, 0]])
    assert Deltas((1.0, 1.0, 1.0, 1.0)).decode(raw, prior, stride)[0, 0] == 256
    x0, y0, _, _ = Deltas((1.0, 1.0, 1.0, 1.0), max_shift=32.0).decode(raw, prior, stride)[0].tolist()
    assert (x0, y0) == (32.0, pytest.approx(-15.36))
