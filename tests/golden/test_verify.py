"""Golden vectors pass: the ones that lie here, those beside the repository, and ones of other sizes."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from assignbench.errors import UsageError
from assignbench.golden.reference import origin_of
from assignbench.golden.vectors import KINDS, find
from assignbench.golden.verify import Report, Subject, installed, replay, rows, verify

STRATEGIES = ("atss", "autoassign", "fcos", "freeanchor", "retinanet")


def failures(report: Report) -> list[str]:
    return [
        f"{one.strategy} {one.kind}/{one.case}: {check.group} {check.worst}"
        for one in report.replays
        for check in one.checks
        if not check.passed
    ]


def test_the_vectors_that_lie_here_pass_and_are_few(vectors: Path) -> None:
    report = verify(vectors)
    assert failures(report) == []
    assert report.passed
    assert {one.strategy for one in report.replays if one.kind == "losses"} == set(STRATEGIES)
    assert {one.strategy for one in report.replays if one.kind == "detections"} == {"autoassign", "fcos"}
    assert report.skipped == ()
    assert sum(file.stat().st_size for file in vectors.parent.rglob("*") if file.suffix not in (".py", ".pyc")) < 3e6


def test_they_are_those_that_were_given(vectors: Path, shared: Path) -> None:
    for one in find(vectors):
        assert one.path.read_bytes() == (shared / one.path.relative_to(vectors)).read_bytes(), one.path


CASES = {"all_empty", "crowded", "one_empty", "overlap", "tiny", "typical"}
# what a reference calls it → cases of losses beside or without some of these, and the other kinds of files
GIVEN: Mapping[str, tuple[set[str], set[str]]] = {
    **dict.fromkeys(STRATEGIES, (CASES, {"network", "detections"})),
    **dict.fromkeys(("ddod", "fovea", "poto", "vfnet", "yolof"), (CASES, set())),
    **dict.fromkeys(("fsaf", "gfl", "guided_anchoring", "paa"), (CASES, {"network", "detections"})),
    **dict.fromkeys(("noisyanchor", "ota"), (CASES - {"tiny"}, set())),
    "dsl": (CASES, {"detections"}),
    "dw": (CASES | {"refine_typical"}, set()),
    "simota": (CASES | {"l1_typical"}, {"detections"}),
    "tood": (
        CASES | {f"initial_{case}" for case in CASES - {"one_empty", "tiny"}},
        {"network", "detections"},
    ),
}


@pytest.mark.parametrize("strategy", GIVEN)
def test_all_vectors_pass_but_for_trajectories(shared: Path, strategy: str) -> None:
    """Trajectories take minutes: `assignbench verify golden` replays them, here those of small networks are."""
    cases, kinds = set(), set()
    for one in find(shared):
        missing = origin_of(strategy).why_missing(one.kind, one.case)
        if one.strategy != strategy or one.kind == "trajectory" or missing:
            continue
        checks, _ = replay(one, shared, installed(strategy, "mmdet"), torch.device("cpu"))
        assert checks
        assert [check for check in checks if not check.passed] == [], one
        if one.kind == "losses":
            assert {check.group for check in checks} >= {"losses", "gradients"}
            cases.add(one.case)
        else:
            kinds.add(one.kind)
    assert (cases, kinds) == GIVEN[strategy]


@pytest.mark.parametrize("kind", ["losses", "detections"])
def test_two_towers_in_place_of_a_task_aligned_head_pass(shared: Path, kind: str) -> None:
    """The other preset of `tal`, whose boxes are coded in another way."""
    for one in find(shared):
        if (one.strategy, one.kind) == ("tood", kind):
            checks, _ = replay(one, shared, installed("tood", "parallel"), torch.device("cpu"))
            assert [check for check in checks if not check.passed] == [], one


def test_padded_vectors_pass(shared: Path) -> None:
    """Two images of unequal size in a batch, small objects along all borders."""
    report = verify(shared.parent / "golden-padded")
    assert failures(report) == []
    assert {one.strategy for one in report.replays} == {*STRATEGIES, "fsaf", "paa"}


def test_padded_vectors_of_our_own_pass_and_depend_on_their_sizes(
    write, subject: Callable[..., Subject], tmp_path: Path
) -> None:
    """Without its sizes a file of retinanet or atss says something else: their presets ignore the padding."""
    objects = ((0, 0, (50.0, 10, 60, 24)), (0, 1, (57.0, 50, 64, 64)), (1, 1, (30.0, 30, 70, 66)))
    for strategy in STRATEGIES:
        write.losses(strategy, "padded", objects=objects, padding=((64, 64), (96, 136)))
    report = verify(write.folder, subject_of=lambda name, preset: subject(name, preset=preset))
    assert failures(report) == []
    for strategy in ("retinanet", "atss"):
        content = load_file(write.folder / "losses" / strategy / "padded.safetensors")
        whole = {name: value for name, value in content.items() if not name.startswith("size.")}
        path = tmp_path / "whole" / "losses" / strategy / "padded.safetensors"
        path.parent.mkdir(parents=True)
        save_file(whole, path, {"image_height": "96", "image_width": "136", "seed": "0", "num_classes": "3"})
    assert not verify(tmp_path / "whole", subject_of=lambda name, preset: subject(name, preset=preset)).passed


def test_other_sizes_classes_and_networks_pass(own: Path, subject: Callable[..., Subject]) -> None:
    report = verify(own, subject_of=lambda name, preset: subject(name, preset=preset))
    assert failures(report) == []
    assert {(one.strategy, one.kind) for one in report.replays} == {(s, k) for s in STRATEGIES for k in KINDS}
    groups = {check.group for one in report.replays for check in one.checks}
    assert groups >= {
        *("losses", "gradients", "assigned", "anchors", "outputs", "detections", "boxes", "scores"),
        *("trainable", "first step", "later steps"),
    }
    assert all(not one.notes for one in report.replays)  # nothing had to be settled or measured in rounding errors


def test_own_vectors_are_no_empty_exercise(own: Path) -> None:
    for strategy in STRATEGIES:
        losses = load_file(own / "losses" / strategy / "own.safetensors")
        assert all(value > 0 for name, value in losses.items() if name.startswith("loss."))
        found = load_file(own / "detections" / f"{strategy}.safetensors")
        assert all(len(found[f"det_scores.{image}"]) > 20 for image in range(2))
        steps = json.loads((own / "trajectory" / f"{strategy}.json").read_text())["steps"]
        assert len({tuple(step.values()) for step in steps}) == len(steps)


def test_files_are_found_in_order(own: Path) -> None:
    found = find(own)
    assert [one.strategy for one in found] == sorted(one.strategy for one in found)
    first = [(one.kind, one.case) for one in found if one.strategy == "atss"]
    assert first == [
        *(("losses", case) for case in ("all_empty", "first_empty", "floored", "own")),
        *(("network", "outputs"), ("detections", "images"), ("trajectory", "steps")),
    ]


def test_a_strategy_that_cannot_be_replayed_is_skipped_with_the_reason(own: Path, tmp_path: Path) -> None:
    for name in ("nobodys", "fcos"):
        (tmp_path / "losses" / name).mkdir(parents=True)
        for case in ("a", "b"):
            content = (own / "losses" / "fcos" / "own.safetensors").read_bytes()
            (tmp_path / "losses" / name / f"{case}.safetensors").write_bytes(content)
    report = verify(tmp_path)
    assert report.passed
    assert [(one.strategy, one.files) for one in report.skipped] == [("nobodys", 2)]
    assert report.skipped[0].reason.startswith("no strategy is called 'nobodys'")

    report = verify(tmp_path, preset="mmdetection")
    assert not report.passed
    reasons = {one.strategy: one.reason for one in report.skipped}
    assert reasons["fcos"] == "FCOS has no preset 'mmdetection'; did you mean mmdet?"
    assert list(rows(report)) == []


def test_a_folder_without_vectors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no golden vectors; expected losses/, network/, detections/, traj"):
        verify(tmp_path)
    with pytest.raises(UsageError, match="does not exist"):
        verify(tmp_path / "none")


def test_progress_names_every_file(vectors: Path) -> None:
    told: list[str] = []
    verify(vectors, progress=told.append)
    assert told[0] == "atss losses/overlap"
    assert len(told) == len(find(vectors))
