"""Every installed strategy keeps every law; and every law catches a strategy that breaks it."""

from itertools import cycle
from typing import Any

import pytest

from assignbench.contract.laws import LAWS, check
from assignbench.core.parts import EXTRAS
from assignbench.plugins import extras_named, known_strategies, load_class, resolve

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "autoassign": [
        {"center": "shared", "confidence": "class", "learn": "mu"},
        {"center": "shared", "learn": "sigma", "objectness": "explicit", "negative_normaliser": "objects"},
        {"center": "fixed", "mu": 1.0, "sigma": 2.0, "objectness": "auxiliary", "negative_normaliser": "pairs"},
        {"center": "none", "confidence": "location", "at_least_one": True},
        {"confidence": "off", "objectness": "none", "detach_weights": True},
        {"bag": "geometric", "center_loss": 0.0},
        {"bag": "geometric", "center": "none", "confidence": "off", "negative": "one"},
        {"negative": "one", "at_least_one": True},
    ],
    "atss": [
        {"reference": True, "k": 3},
        {"normaliser": "image", "refine": True},
        {"centerness": False, "at_least_one": True},
    ],
    "plain": [{"at_least_one": True}],
    "noisyanchor": [{"soft": False}, {"reweight": False, "normaliser": "local"}],
    "fcos": [{"at_least_one": True}, {"radius": 0.0, "least_box": 1e-6}, {"scale_ranges": False, "centerness": False}],
    "retinanet": [{"forced": "off", "normaliser": "image"}, {"normaliser": "local"}],
    "freeanchor": [{"k": 5, "normaliser": "local"}, {"ties": "topk"}],
    "fsaf": [{"ring": 0.5, "core": 0.1}, {"same_class": "ignored", "normaliser": "local"}],
    "paa": [{"k": 3, "unsplit": "none"}, {"least_box": 1e-6, "normaliser": "local"}],
    "poto": [{"auxiliary": True, "at_least_one": True}, {"matching": "argmax", "radius": 0.0}],
    "ota": [{"k": 3, "radius": 0.0}, {"at_least_one": True}],
    "ddod": [{"counts": "none", "normaliser": "image"}, {"class_alpha": 0.0, "box_alpha": 1.0, "at_least_one": True}],
    "guided_anchoring": [{"polarity": "inverted"}, {"conflicts": "last", "normaliser": "image"}],
    "metaanchor": [{"spread": 0.0, "hidden": 8}],
    "dw": [{"center": "binary", "negative": "one"}, {"center": "none", "at_least_one": True}],
    "dual": [{"k": 3, "stop_gradient": False}, {"many": "retinanet", "one": "autoassign"}],
    "uniform": [{"k": 1, "normaliser": "image"}, {"positive_iou": 0.5, "negative_iou": 0.2}],
    "fovea": [
        {"fovea": 1.0, "ties": "last"},
        {"overlap": 1.5, "base": 8.0, "normaliser": "local", "at_least_one": True},
    ],
    "sapd": [{"core": 0.6, "eta": 0.0, "soft_from": 0.0, "levels": 1}],
    "simota": [{"radius": 1.5, "candidates": 3, "class_at": "pairs"}],
    "soft_label": [{"candidates": 3, "require_inside": True}, {"at_least_one": True}],
    "tal": [{"atss_until": 0.0, "beta": 1.0, "k": 3}, {"atss_until": 1.0, "atss_focal": True}],
}
CASES = [
    (strategy.name, options) for strategy in known_strategies() for options in ({}, *VARIANTS.get(strategy.name, []))
]


def test_the_built_in_strategies_are_installed() -> None:
    names = {strategy.name for strategy in known_strategies()}
    assert {"plain", "retinanet", "fcos", "atss", "freeanchor", "autoassign"} <= names


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_laws(name: str, options: dict[str, Any]) -> None:
    results = check(load_class(resolve(name)), options)
    assert {result.name.partition(" (")[0] for result in results} == set(LAWS)
    assert [result for result in results if not result.passed] == []


def test_presets_are_tried_with_their_own_heads() -> None:
    cls = load_class(resolve("retinanet"))
    tried = {result.name for result in check(cls)}
    assert {"padding changes nothing (mmdet)", "hard objects (torchvision)"} <= tried
    assert {result.name for result in check(cls, {"normaliser": "image"})} == set(LAWS)


# those of one prior a cell with implicit objectness of their own are above; a hard or a soft one for every extra
ADDED = [
    *(f"{name}+implicit_objectness" for name in ("fcos", "freeanchor")),
    *(f"{name}+{extra}" for name, extra in zip(cycle(("retinanet", "freeanchor")), EXTRAS, strict=False)),
    "autoassign+centerness+iou+objectness",
]


@pytest.mark.parametrize("text", ADDED)
def test_laws_with_added_outputs(text: str) -> None:
    strategy = resolve(text)
    results = check(strategy.load(), {}, extras_named(strategy.extras))
    assert [result for result in results if not result.passed] == []
