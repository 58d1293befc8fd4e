"""What counts as equal."""

import math
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from assignbench.golden.checks import Check, Quantity, Replay, relative, worst
from assignbench.golden.detections import matches
from assignbench.golden.reference import made_state
from assignbench.golden.verify import Report, Skipped, Subject, rows, verify


@pytest.mark.parametrize(
    ("ours", "golden", "error"),
    [
        ([3.0, 4.0], [3.0, 4.0], 0.0),
        ([3.0, 4.5], [3.0, 4.0], 0.1),
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([0.0, 1e-9], [0.0, 0.0], math.inf),
        ([], [], 0.0),
        ([1.0], [1.0, 1.0], math.inf),  # another shape is no rounding
        ([[1.0]], [1.0], math.inf),
    ],
)
def test_relative_error_by_hand(ours: list[float], golden: list[float], error: float) -> None:
    assert relative(torch.tensor(ours), torch.tensor(golden)) == pytest.approx(error)


def test_relative_error_is_summed_in_float64() -> None:
    golden = torch.full((10**6,), 1e4)
    ours = golden.clone()
    ours[0] += 1
    assert relative(ours, golden) == pytest.approx(1e-7)


def test_nothing_finite_excuses_nan() -> None:
    assert math.isnan(relative(torch.tensor([float("nan")]), torch.ones(1)))
    (check,) = worst("losses", [Quantity("fine", 0.0), Quantity("nan", math.nan), Quantity("far", 1e9)], 1e-5)
    assert check.worst.name == "nan"
    assert not check.passed
    assert list(worst("losses", [], 1e-5)) == []


def test_a_tolerance_is_inclusive() -> None:
    assert Check("assigned", Quantity("0", 0.0), 0.0).passed
    assert Check("losses", Quantity("cls", 1e-5), 1e-5).passed
    assert not Check("losses", Quantity("cls", 1.01e-5), 1e-5).passed


def test_a_report_passes_only_if_something_was_replayed() -> None:
    good, bad = (Check("losses", Quantity("cls", error), 1e-5) for error in (0.0, 1.0))
    replays = [Replay("atss", "losses", "own", (check,)) for check in (good, bad)]
    assert Report("mmdet", (replays[0],), (Skipped("paa", 3, "none"),)).passed
    assert not Report("mmdet", tuple(replays), ()).passed
    assert not Report("mmdet", (), (Skipped("paa", 3, "none"),)).passed


def test_rows_hold_json_only() -> None:
    check = Check("losses", Quantity("cls", math.inf), 1e-5)
    (row,) = rows(Report("mmdet", (Replay("atss", "losses", "own", (check,), ("odd",)),), ()))
    assert row == {
        "strategy": "atss",
        "kind": "losses",
        "case": "own",
        "group": "losses",
        "worst": None,
        "where": "cls",
        "tolerance": 1e-5,
        "passed": False,
        "notes": ["odd"],
    }


BOXES = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [20, 20, 30, 30]])
SCORES, LABELS = torch.tensor([0.9, 0.9, 0.5]), torch.tensor([0, 1, 0])


def matched(boxes: Tensor = BOXES, scores: Tensor = SCORES, labels: Tensor = LABELS) -> list[int]:
    return matches(boxes, scores, labels, BOXES, SCORES, LABELS).tolist()


def test_detections_are_matched_by_value_and_once() -> None:
    assert matched() == [0, 1, 2]
    order = torch.tensor([1, 2, 0])
    assert matched(BOXES[order], SCORES[order], LABELS[order]) == [2, 0, 1]
    assert matched(BOXES + 0.009, SCORES + 9e-6) == [0, 1, 2]
    assert matched(BOXES + torch.tensor([0, 0, 0, 0.011])) == [-1, -1, -1]
    assert matched(scores=SCORES - 2e-5) == [-1, -1, -1]
    assert matched(labels=torch.tensor([0, 0, 0])) == [0, -1, 2]
    assert matched(BOXES[:1], SCORES[:1], LABELS[:1]) == [0, -1, -1]
    assert matched(BOXES[:0], SCORES[:0], LABELS[:0]) == [-1, -1, -1]


@pytest.mark.parametrize("change", ["one missing", "one too many", "another label", "box", "score"])
def test_a_detection_that_differs_fails(write, subject: Callable[..., Subject], change: str) -> None:
    path: Path = write.detections("atss")
    content = load_file(path)
    names = [f"det_{name}.1" for name in ("boxes", "scores", "labels")]
    if change == "one missing":  # in the golden file: ours has one more than it should
        content |= {name: content[name][:-1].clone() for name in names}
    elif change == "one too many":
        content |= {name: torch.cat((content[name], content[name][:1])) for name in names}
    elif change == "another label":
        content[names[2]][0] = (content[names[2]][0] + 1) % 3
    elif change == "box":
        content[names[0]][0, 2] += 0.02
    else:
        content[names[1]][0] += 2e-5
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    save_file(content, path, metadata)
    (one,) = verify(write.folder, subject_of=lambda name, preset: subject(name)).replays
    failed = {check.group: check.worst for check in one.checks if not check.passed}
    assert set(failed) == {"detections"}
    assert failed["detections"].name == "image 1"


def test_values_are_made_from_names_as_the_readme_says() -> None:
    names = {
        "backbone.bn1.num_batches_tracked": [],
        "backbone.bn1.running_var": [4],
        "backbone.bn1.running_mean": [4],
        "bbox_head.scales.0.scale": [],
        "bbox_head.center_prior.sigma": [2, 2],
        "bbox_head.center_prior.mean": [2, 2],
        "neck.conv.weight": [2, 3, 3, 3],
        "backbone.bn1.weight": [4],
        "backbone.bn1.bias": [4],
    }

    def x(name: str, *shape: int) -> Tensor:
        return torch.randn(shape or (1,), generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))

    state = made_state(names)
    assert {name: list(value.shape) for name, value in state.items()} == names
    assert state["backbone.bn1.num_batches_tracked"].dtype == torch.int64
    for name, wanted in {
        "backbone.bn1.running_var": 1 + 0.1 * x("backbone.bn1.running_var", 4).abs(),
        "backbone.bn1.running_mean": 0.1 * x("backbone.bn1.running_mean", 4),
        "bbox_head.scales.0.scale": (1 + 0.1 * x("bbox_head.scales.0.scale"))[0],
        "bbox_head.center_prior.sigma": 1 + 0.1 * x("bbox_head.center_prior.sigma", 2, 2).abs(),
        "bbox_head.center_prior.mean": 0.1 * x("bbox_head.center_prior.mean", 2, 2),
        "neck.conv.weight": x("neck.conv.weight", 2, 3, 3, 3) / 27**0.5,
        "backbone.bn1.weight": 1 + 0.1 * x("backbone.bn1.weight", 4),
        "backbone.bn1.bias": 0.1 * x("backbone.bn1.bias", 4),
    }.items():
        torch.testing.assert_close(state[name], wanted)
