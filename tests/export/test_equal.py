"""The law of an export: at every size, for every number of pictures, it puts out what the network puts out."""

import copy
import os
from collections.abc import Callable
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from assignbench.core import Head
from assignbench.errors import RunError
from assignbench.export.check import check
from assignbench.export.description import describe
from assignbench.export.formats import LEAST, opened, traced, write
from assignbench.export.network import BOXES, NAMES, Exported
from assignbench.plugins import known_strategies, load_class, resolve
from assignbench.recipe import DataSettings, EvaluateSettings
from assignbench.run.scoring.detect import rule_of
from assignbench.run.scoring.predict import network_input

RECORD = SimpleNamespace(
    dataset=SimpleNamespace(upright=False, bits=None, classes=("a", "b", "c"), name="d"),
    assigner=SimpleNamespace(label="s"),
    **dict.fromkeys(("run_id", "protocol", "preset", "recipe", "seed", "weights_sha256"), ""),
)
SIDES = DataSettings(short_side=160, long_side=320)
# Every kind of network, box, extra output and grid that a built-in strategy has stands in one of them, see `kinds`; all
# of them are tried by ``ASSIGNBENCH_EXPORT=all pytest tests/export``, which takes minutes.
CASES = """
    atss/gfl atss/vfnet dw/official fcos/torchvision guided_anchoring metaanchor ota/official simota/mmdet tal/mmdet
"""
EVERY = sorted(
    f"{known.name}{'/' if preset else ''}{preset}"
    for known in known_strategies()
    if known.ours
    for preset in ("", *load_class(resolve(known.name)).presets)
)
TRIED = EVERY if os.environ.get("ASSIGNBENCH_EXPORT") == "all" else CASES.split()


def split(case: str) -> tuple[str, str, str | None]:
    """Strategy, protocol and preset."""
    strategy, _, preset = case.partition("/")
    return strategy, "published" if preset else "controlled", preset or None


def kinds(head: Head) -> set[object]:
    """What an export may stumble over."""
    return {
        ("network", head.make and head.make.name),
        ("box", type(head.coding)),
        *(("extra output", extra.name) for extra in head.extras),
        ("several priors in a cell", head.priors_per_cell > 1),
        ("grid", head.spacing),
    }


def about(network: Exported) -> dict:
    detector = network.detector
    return describe(RECORD, detector.spec, detector.pixels, SIDES, network.rule, None)


def settings_of(network: Exported) -> EvaluateSettings:
    names = set(EvaluateSettings.model_fields) - {"nms", "batch", "evaluator"}
    return EvaluateSettings(**{name: getattr(network.rule, name) for name in names})


def test_every_kind_of_head_is_tried(network):
    found = {case: kinds(network(*split(case)).detector.spec) for case in EVERY}
    assert set().union(*found.values()) == set().union(*(found[case] for case in CASES.split()))


@pytest.mark.parametrize("case", TRIED)
def test_every_strategy_exports_with_sizes_that_vary(network, inputs, case):
    eager = network(*split(case))
    run = traced(eager, None).module()
    seen = check(run, eager, [inputs(1, LEAST, 224)], about(eager), settings_of(eager))
    assert (seen.boxes, seen.scores, seen.unpaired) == (0, 0, 0)
    assert seen.detections > 0
    two = inputs(2, 256, 192)
    with torch.no_grad():
        for one, other in zip(run(*two), eager(*two), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_onnx_keeps_what_the_graph_says(network, inputs, tmp_path):
    """At any size the guide's example does, which a test runs; this network moves taps, by torchvision's operator."""
    eager = network("guided_anchoring")
    write("onnx", traced(eager, (LEAST, 224)), (BOXES, *(NAMES[one] for one in eager.outputs)), tmp_path / "file.onnx")
    run = opened("onnx", tmp_path / "file.onnx")
    seen = check(run, eager, [inputs(1, LEAST, 224)], about(eager), settings_of(eager))
    assert seen.detections > 0
    two = inputs(2, LEAST, 224)
    with torch.no_grad():
        for one, other in zip(run(*two), eager(*two), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)


def test_a_fixed_size_may_be_small_and_takes_any_number_of_pictures(network, inputs):
    eager = network("fcos")
    run = traced(eager, (64, 96)).module()
    for count in (1, 2, 3):
        pictures = inputs(count, 64, 96)
        with torch.no_grad():
            for one, other in zip(run(*pictures), eager(*pictures), strict=True):
                torch.testing.assert_close(one, other, rtol=0, atol=0)
    with pytest.raises((AssertionError, RuntimeError)):
        run(*inputs(1, 96, 96))


RULES = [
    dict(zip(("candidates_of", "candidates_per_location", "nms"), each, strict=True))
    for each in product(("pair", "location", "best_class"), (False, True), (0.3, 0.6))
]
RULES += [{"voting": 0.025}, {"score": "product"}, {"clip": False}, {"keep_flat": True}, {"candidates": 5}]
RULES += [{"threshold_on": one, "rank_by": other} for one, other in product(("output", "class", "score"), repeat=2)]


@pytest.mark.parametrize("strategy", ["fcos+implicit_objectness", "retinanet"])
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_described_post_processing_is_the_runs(network, inputs, strategy, rule):
    settings = EvaluateSettings(**{"score_threshold": 0.003, "candidates": 60, "detections": 40, **rule})
    eager = Exported(network(strategy).detector, rule_of(settings))
    seen = check(eager, eager, [inputs(1, 64, 96)], about(eager), settings)
    assert seen.unpaired == 0
    assert seen.detections > 0


@pytest.mark.parametrize("shape", [(1, 1000), (1000, 1), (3, 3000), (375, 500), (101, 67)])
def test_the_described_resize_is_the_runs(network, shape):
    """The rule's words, followed by hand, also for a picture whose short side would vanish."""
    rule = about(network("fcos"))["input"]["resize"]
    scale = min(rule["short_side"] / min(shape), rule["long_side"] / max(shape))
    assert "at least 1" in rule["rule"]
    _, sizes = network_input(np.zeros((*shape, 3), np.uint8), SIDES)
    assert sizes[0].tolist() == [max(1, round(side * scale)) for side in shape]


def test_without_suppression_the_description_says_so(network):
    assert about(network("poto"))["postprocessing"]["nms"] is None
    assert about(network("fcos"))["postprocessing"]["nms"] == 0.6


@pytest.mark.parametrize("changed", [lambda x: x + 1, lambda x: x * torch.nan], ids=["moved", "not a number"])
@pytest.mark.parametrize("place", [0, 1])
def test_a_file_that_puts_out_something_else_is_refused(network, inputs, changed: Callable, place: int):
    eager = network("fcos")

    def run(images, sizes):
        found = list(eager(images, sizes))
        found[place] = changed(found[place])
        return found

    with pytest.raises(RunError, match="is not the run's: boxes differ by up to"):
        check(run, eager, [inputs(1, 64, 96)], about(eager), settings_of(eager))


def test_a_description_that_says_something_else_is_refused(network, inputs):
    eager = network("fcos")
    other = about(eager)
    other["postprocessing"]["nms"] = 0.1
    with pytest.raises(RunError, match="have no partner in the other"):
        check(eager, eager, [inputs(1, 64, 96)], other, settings_of(eager))


def test_what_cannot_be_followed_is_told(network):
    eager = network("fcos")
    eager = copy.deepcopy(eager)
    eager.detector.head.register_forward_hook(lambda _module, _given, _out: int(_out.logits.sum()) and None)
    with pytest.raises(RunError, match=r"cannot be followed by torch\.export: .*; try --size"):
        traced(eager, None)


def test_missing_packages_are_named(monkeypatch, tmp_path: Path):
    from assignbench.errors import SystemProblem
    from assignbench.export import formats

    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda name: None if name == "onnxscript" else object())
    formats.require_packages("torch")
    with pytest.raises(SystemProblem, match=r"needs onnxscript: pip install 'assignbench\[onnx\]'"):
        formats.require_packages("onnx")
