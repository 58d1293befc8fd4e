"""A change that somebody might make makes a replay fail; without it, the same files pass (see test_verify)."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from assignbench.core import Assignment, box_loss, geometry, priors
from assignbench.core.fast import giou
from assignbench.detector.backbone import Backbone, FixedBatchNorm2d
from assignbench.errors import UsageError
from assignbench.golden import trajectory
from assignbench.golden import vectors as golden
from assignbench.golden.network import build_network, replay_network
from assignbench.golden.vectors import read_tensors
from assignbench.golden.verify import Subject, installed, verify

SubjectOf = Callable[[str, str], Subject]


def failing(folder: Path, subject_of: SubjectOf = installed) -> dict[str, set[str]]:
    """File → groups that exceed their tolerance."""
    found = {
        f"{one.strategy} {one.kind}/{one.case}": {check.group for check in one.checks if not check.passed}
        for one in verify(folder, subject_of=subject_of).replays
    }
    return {file: groups for file, groups in found.items() if groups}


def with_options(**options: Any) -> SubjectOf:
    """The installed strategy with other options."""

    def subject_of(name: str, preset: str) -> Subject:
        found = installed(name, preset)
        known = {key: value for key, value in options.items() if key in found.cls.__init__.__annotations__}
        return replace(found, options={**found.options, **known})

    return subject_of


def with_settings(base: SubjectOf, group: str, **values: Any) -> SubjectOf:
    """The subject under another recipe."""

    def subject_of(name: str, preset: str) -> Subject:
        found = base(name, preset)
        recipe = found.recipe.recipe
        changed = recipe.model_copy(update={group: getattr(recipe, group).model_copy(update=values)})
        return replace(found, recipe=replace(found.recipe, recipe=changed))

    return subject_of


@pytest.fixture
def small(subject: Callable[..., Subject]) -> SubjectOf:
    return lambda name, preset: subject(name, preset=preset)


@pytest.fixture
def some(vectors: Path, tmp_path: Path) -> Callable[[str], Path]:
    """The losses of one strategy alone."""

    def some(strategy: str) -> Path:
        shutil.copytree(vectors / "losses" / strategy, tmp_path / "losses" / strategy)
        return tmp_path

    return some


@pytest.fixture
def one_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounding is measured once only, where that is not what a test is about: it is slow."""
    monkeypatch.setattr(trajectory, "STARTS", 1)


@pytest.fixture
def networks(own: Path, tmp_path: Path) -> Callable[..., Path]:
    """A folder with the network and, if asked for, the trajectory of some strategies."""

    def some(*strategies: str, trajectories: bool = False) -> Path:
        for name in strategies:
            files = [Path("network", f"{name}.safetensors"), Path("network", f"{name}.keys.json")]
            for file in (*files, *([Path("trajectory", f"{name}.json")] if trajectories else [])):
                (tmp_path / file.parent).mkdir(exist_ok=True)
                shutil.copy(own / file, tmp_path / file)
        return tmp_path

    return some


@pytest.mark.parametrize(
    ("options", "file", "groups"),
    [
        ({"tau": 0.3}, "autoassign losses/overlap", {"losses", "gradients"}),
        ({"same_class": "strongest"}, "autoassign losses/overlap", {"losses", "gradients"}),
        ({"negative_normaliser": "pairs"}, "autoassign losses/overlap", {"losses", "gradients"}),
        ({"center_loss": 0.7}, "autoassign losses/overlap", {"losses", "gradients"}),
        ({"detach_weights": True}, "autoassign losses/overlap", {"gradients"}),
        ({"radius": 1.4}, "fcos losses/tiny", {"losses", "gradients", "assigned"}),
        ({"k": 8}, "atss losses/overlap", {"losses", "gradients", "assigned"}),
        ({"positive_iou": 0.51}, "retinanet losses/overlap", {"losses", "gradients", "assigned"}),
        ({"background_iou": 0.39}, "retinanet losses/overlap", {"losses", "gradients", "assigned"}),
        ({"ties": "first"}, "freeanchor losses/overlap", {"losses", "gradients"}),
        ({"k": 49}, "freeanchor losses/overlap", {"losses", "gradients"}),
    ],
)
def test_another_option(some: Callable[[str], Path], options: Mapping[str, Any], file: str, groups: set[str]) -> None:
    assert failing(some(file.partition(" ")[0]), with_options(**options)) == {file: groups}


@pytest.mark.parametrize(
    ("strategy", "options"),
    [
        ("retinanet", {"normaliser": "batch"}),
        ("atss", {"normaliser": "batch"}),
    ],
)
def test_another_normaliser_shows_where_an_image_is_empty(
    own: Path, strategy: str, options: Mapping[str, Any], small: SubjectOf, tmp_path: Path
) -> None:
    shutil.copytree(own / "losses" / strategy, tmp_path / "losses" / strategy)

    def subject_of(name: str, preset: str) -> Subject:
        found = small(name, preset)
        return replace(found, options={**found.options, **options})

    assert set(failing(tmp_path, subject_of)) == {f"{strategy} losses/{case}" for case in ("all_empty", "first_empty")}


def test_another_floor_of_fcos_box_normaliser(write, small: SubjectOf) -> None:
    # a single location, at (4, 4), in the corner of an object of 8 × 8 pixels: a centerness of 1/15
    write.losses("fcos", objects=((0, 0, (3.5, 3.5, 11.5, 11.5)),))
    assert failing(write.folder, small) == {}

    def floored(name: str, preset: str) -> Subject:
        return replace(small(name, preset), options={"least_box": 1.0})

    assert failing(write.folder, floored)["fcos losses/own"] >= {"losses", "gradients"}


@pytest.mark.parametrize(("eps", "seen"), [(1e-9, False), (1.0, False), (2.0, True)])
def test_giou_floors_are_seen_from_two_square_pixels_on(
    some: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, eps: float, seen: bool
) -> None:
    """No box of mmdetection's vectors is smaller; see the next test for smaller ones."""
    monkeypatch.setattr(geometry, "EPS", eps)
    monkeypatch.setattr(giou, "EPS", eps)
    assert failing(some("fcos")) == ({"fcos losses/tiny": {"losses", "gradients"}} if seen else {})


@pytest.mark.parametrize("eps", [1e-7, 1e-5])
def test_giou_floors_are_seen_with_boxes_of_their_size(
    write, small: SubjectOf, monkeypatch: pytest.MonkeyPatch, eps: float
) -> None:
    # 0.0008 pixels wide around the location at (20, 20), and predictions of that size: unions below 1e-6
    write.losses("fcos", objects=((0, 0, (19.9996, 19.9996, 20.0004, 20.0004)),), reg=5e-5)
    assert failing(write.folder, small) == {}
    monkeypatch.setattr(geometry, "EPS", eps)
    monkeypatch.setattr(giou, "EPS", eps)
    assert "losses" in failing(write.folder, small)["fcos losses/own"]


def test_giou_with_one_added_to_the_areas(vectors: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As FCOS's and ATSS's own code has it."""

    def plus_one(a: Tensor, b: Tensor) -> Tensor:
        plain = giou.giou(a, b)
        overlap = geometry.iou(a, b)
        intersection = overlap / (1 + overlap) * (geometry.area(a) + geometry.area(b))
        union = geometry.area(a) + geometry.area(b) - intersection
        return plain - overlap + (intersection + 1) / (union + 1)

    monkeypatch.setattr(box_loss, "giou", plus_one)
    found = failing(vectors)
    assert {name.partition(" ")[0] for name in found} == {"atss", "autoassign", "fcos"}


@pytest.mark.parametrize("level", range(5))
def test_one_levels_stride(vectors: Path, monkeypatch: pytest.MonkeyPatch, level: int) -> None:
    real = golden.pyramid_priors

    def longer(*arguments: Any, strides: Sequence[int] = priors.STRIDES, **named: Any) -> priors.Priors:
        changed = [stride + stride // 4 * (one == level) for one, stride in enumerate(strides)]
        return real(*arguments, strides=changed, **named)

    monkeypatch.setattr(golden, "pyramid_priors", longer)
    found = failing(vectors)
    assert found["autoassign losses/overlap"] == {"losses", "gradients"}
    if level < 2:
        assert all(len(found[file]) >= 3 for file in ("atss losses/overlap", "retinanet losses/overlap"))
        assert found["fcos detections/images"] >= {"detections"}


@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_half_a_cell(vectors: Path, offset: float) -> None:
    """Locations in the corner or the middle of their cells."""

    def moved(name: str, preset: str) -> Subject:
        found = installed(name, preset)
        assert found.protocol.preset is not None
        head = replace(found.protocol.preset.head, offset=offset)
        return replace(found, protocol=replace(found.protocol, preset=replace(found.protocol.preset, head=head)))

    strategies = {name.partition(" ")[0] for name in failing(vectors, moved)}
    assert strategies == ({"fcos"} if offset == 0 else {"atss", "autoassign", "freeanchor", "retinanet"})


@pytest.mark.parametrize(
    ("settings", "strategies"),
    [
        ({"nms": 0.5}, {"autoassign", "fcos"}),
        ({"nms": 0.59}, {"autoassign", "fcos"}),
        ({"score": "root"}, {"fcos"}),
        ({"detections": 99}, {"autoassign", "fcos"}),
    ],
)
def test_another_post_processing(vectors: Path, settings: Mapping[str, Any], strategies: set[str]) -> None:
    found = failing(vectors, with_settings(installed, "evaluate", **settings))
    assert set(found) == {f"{strategy} detections/images" for strategy in strategies}
    assert all("detections" in groups for groups in found.values())


@pytest.mark.parametrize(
    ("strategy", "form"),
    [("autoassign", "c5_plain"), ("autoassign", "p5_relu"), ("atss", "p5_relu"), ("fcos", "p5_plain")],
)
def test_another_form_of_the_pyramid(networks: Callable[..., Path], small: SubjectOf, strategy: str, form: str) -> None:
    folder = networks(strategy)
    assert failing(folder, small) == {}
    changed = with_settings(small, "model", pyramid=form)
    if strategy == "autoassign" and form.startswith("p5"):  # another width: the checkpoint itself does not fit
        with pytest.raises(UsageError, match=r"misshapen: neck\.fpn_convs\.3\.conv\.weight"):
            failing(folder, changed)
    else:
        assert failing(folder, changed) == {f"{strategy} network/outputs": {"outputs"}}


def test_another_place_of_the_strides_needs_bottlenecks_to_show(shared: Path) -> None:
    changed = with_settings(installed, "model", style="pytorch")
    one = shared / "network" / "fcos.safetensors"
    for subject, passes in ((installed("fcos", "mmdet"), True), (changed("fcos", "mmdet"), False)):
        keys = one.with_suffix(".keys.json")
        learner = build_network(keys, subject.cls, subject.options, subject.recipe.recipe.model, subject.protocol)
        (check,) = replay_network(read_tensors(one, torch.device("cpu")), learner)
        assert check.passed == passes


@pytest.mark.parametrize("strategy", ["atss", "autoassign"])
def test_scale_and_shift_of_norms_trained_or_not(
    networks: Callable[..., Path], small: SubjectOf, one_start: None, strategy: str
) -> None:
    folder = networks(strategy, trajectories=True)
    preset = small(strategy, "mmdet").recipe.recipe.model.norm_affine
    assert preset == (strategy == "atss")
    changed = with_settings(small, "model", norm_affine=not preset)
    assert failing(folder, changed)[f"{strategy} trajectory/steps"] >= {"trainable"}


def test_a_first_stage_that_is_trained(
    networks: Callable[..., Path], small: SubjectOf, one_start: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = networks("fcos", trajectories=True)
    real = Backbone.__init__

    def thawed(self: Backbone, *arguments: Any, **named: Any) -> None:
        real(self, *arguments, **named)
        self.stages[0].requires_grad_(requires_grad=True)

    monkeypatch.setattr(Backbone, "__init__", thawed)
    assert failing(folder, small)["fcos trajectory/steps"] >= {"trainable"}


@pytest.mark.parametrize(("name", "value"), [("MOMENTUM", 0.8), ("LR", 1.1e-3)])
def test_another_optimizer(
    networks: Callable[..., Path], small: SubjectOf, monkeypatch: pytest.MonkeyPatch, name: str, value: float
) -> None:
    """The drift that rounding causes is measured, not assumed: it does not swallow this."""
    folder = networks("freeanchor", trajectories=True)
    monkeypatch.setattr(trajectory, "STARTS", 3)
    monkeypatch.setattr(trajectory, name, value)
    found = failing(folder, small)["freeanchor trajectory/steps"]
    assert found & {"later steps", "beyond that, in rounding errors"}


def test_norms_in_training_mode(
    networks: Callable[..., Path], small: SubjectOf, one_start: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = networks("atss", trajectories=True)
    monkeypatch.setattr(FixedBatchNorm2d, "train", torch.nn.BatchNorm2d.train)
    assert failing(folder, small)["atss trajectory/steps"] >= {"first step"}


def test_a_pair_more(write, small: SubjectOf) -> None:
    """An assignment that differs in one location is counted, whatever the losses say."""

    def without_last(record: Assignment) -> Assignment:
        pairs = record.pairs
        kept = {name: getattr(pairs, name)[:-1] for name in ("object", "location", "weight", "box_weight")}
        return replace(record, pairs=replace(pairs, **kept))

    write.losses("retinanet", change=without_last)
    (one,) = verify(write.folder, subject_of=small).replays
    (assigned,) = (check for check in one.checks if check.group == "assigned")
    assert (assigned.worst.error, assigned.tolerance, assigned.passed) == (1.0, 0.0, False)
