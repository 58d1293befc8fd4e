from dataclasses import replace

import pytest
import torch

from assignbench.bench.problem import Case, random_objects, random_outputs
from assignbench.bench.strategies import chosen
from assignbench.core import Head, area
from assignbench.core.priors import pyramid_priors
from assignbench.errors import UsageError
from assignbench.plugins import KnownStrategy, known_strategies, load_class, resolve

CASE = Case(objects=500, height=800, width=1216, batch=2, classes=80)


@pytest.mark.parametrize(("objects", "sizes", "low", "high"), [(500, "auto", 8, 600), (1000, "auto", 8, 64)])
def test_objects_have_the_sizes_that_are_promised(objects, sizes, low, high):
    case = replace(CASE, objects=objects, sizes=sizes)
    targets = random_objects(case)
    assert torch.bincount(targets.image).tolist() == [objects] * 2
    side = area(targets.boxes).sqrt()
    assert low * 0.999 <= side.min() < low * 1.1
    assert high * 0.9 < side.max() <= high * 1.001
    assert side.median() == pytest.approx((low * high) ** 0.5, rel=0.2)  # log-uniform
    size = targets.boxes[:, 2:] - targets.boxes[:, :2]
    assert ((size[:, 1] / size[:, 0]).log2().abs() <= 1.001).all()


def test_sizes_can_be_asked_for():
    assert area(random_objects(replace(CASE, sizes="crowd")).boxes).max() <= 64.1**2


def test_objects_lie_inside_images_smaller_than_them():
    boxes = random_objects(replace(CASE, height=64, width=48)).boxes
    assert (boxes >= 0).all()
    assert (boxes[:, 2] <= 48).all()
    assert (boxes[:, 3] <= 64).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_no_objects():
    assert len(random_objects(replace(CASE, objects=0))) == 0


def test_outputs_fit_the_priors():
    head = Head(ratios=(0.5, 1.0, 2.0))
    raw = random_outputs(head, replace(CASE, height=100, width=130), torch.device("cpu"))
    assert raw.logits.shape == (2, len(pyramid_priors(head, 100, 130)), 80)
    assert raw.logits.is_leaf
    assert raw.logits.requires_grad


@pytest.mark.parametrize("change", [{"batch": 0}, {"classes": 0}, {"objects": -1}, {"sizes": "huge"}])
def test_impossible_cases_are_refused(change):
    with pytest.raises(UsageError, match=f"--{next(iter(change))}"):
        replace(CASE, **change)


def test_all_strategies_or_those_with_the_preset():
    everyone = {one.strategy.name for one in chosen(None, "controlled", None)}
    assert everyone >= {"plain", "retinanet", "fcos", "atss", "freeanchor", "autoassign"}
    without = {known.name for known in known_strategies() if not load_class(resolve(known.name)).presets}
    assert "plain" in without
    assert {one.strategy.name for one in chosen(None, "published", None)} == everyone - without
    assert {one.strategy.name for one in chosen(None, "published", "torchvision")} == {"retinanet", "fcos"}
    with pytest.raises(UsageError, match="no installed strategy has nowhere"):
        chosen(None, "published", "nowhere")


def test_a_broken_plug_in_does_not_stop_the_others(monkeypatch):
    entries = (
        KnownStrategy("atss", "assigners.atss:ATSS", "assignbench", "0.1.0"),
        KnownStrategy("broken", "nowhere:Nobody", "careless", "1.0"),
        KnownStrategy("odd", "json:dumps", "careless", "1.0"),
    )
    for module in ("assignbench.plugins", "assignbench.bench.strategies"):
        monkeypatch.setattr(f"{module}.known_strategies", lambda: entries)
    assert [one.strategy.name for one in chosen(None, "controlled", None)] == ["atss"]
    with pytest.raises(UsageError, match="there is no module 'nowhere'"):
        chosen(["broken"], "controlled", None)
