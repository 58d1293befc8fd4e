"""Every installed strategy keeps every law; and every law catches a strategy that breaks it."""

from typing import Any

import pytest

from assignbench.contract import LAWS, check
from assignbench.plugins import known_strategies, load_class, resolve

VARIANTS: dict[str, list[dict[str, Any]]] = {
    "autoassign": [
        {"center": "shared"},
        {"center": "fixed", "mu": 1.0, "sigma": 2.0},
        {"center": "none"},
        {"confidence": "class"},
        {"confidence": "location"},
        {"confidence": "off"},
        {"objectness": "none"},
        {"negative": "one"},
        {"negative_normaliser": "pairs"},
        {"negative_normaliser": "objects"},
        {"detach_weights": True},
        {"center_loss": 0.0},
    ],
    "atss": [{"reference": True}, {"k": 3}, {"normaliser": "image"}],
    "fcos": [{"radius": 0.0}, {"scale_ranges": False}, {"least_box": 1e-6}],
    "retinanet": [{"forced": "off"}, {"least_forced": 0.0}, {"normaliser": "image"}, {"normaliser": "local"}],
    "freeanchor": [{"k": 5}, {"ties": "topk"}, {"normaliser": "local"}],
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
    assert len(results) == len(LAWS)
    assert [result for result in results if not result.passed] == []
