"""The names of runs: whatever decides a result is in them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from assignbench.config import load_recipe
from assignbench.data.dataset import Dataset, Splits
from assignbench.errors import SystemProblem, UsageError
from assignbench.run.matrix.plan import Run, candidate, plan, weights_digest


@pytest.fixture
def splits(make_dataset: Callable[..., Dataset]) -> Splits:
    return Splits("tiny", make_dataset(), make_dataset())


def planned(
    splits: Splits,
    text: str = "atss",
    protocol: str = "controlled",
    preset: str | None = None,
    recipe: str = "tiny",
    overrides: tuple[str, ...] = (),
    seed: int = 0,
) -> Run:
    (run,) = plan([candidate(text, protocol, preset)], [splits], load_recipe(recipe, overrides), [seed])
    return run


def test_a_name_tells_the_preset(splits: Splits) -> None:
    assert planned(splits).run_id.startswith("tiny-atss-tiny-s0-")
    assert planned(splits, protocol="published").run_id.startswith("tiny-atss-mmdet-tiny-s0-")
    assert planned(splits, protocol="published", preset="official").run_id.startswith("tiny-atss-official-tiny-s0-")


def test_what_decides_a_result_is_in_the_name(splits: Splits) -> None:
    names = [
        planned(splits).run_id,
        planned(splits, protocol="published").run_id,
        planned(splits, protocol="published", preset="official").run_id,
        planned(splits, protocol="published", recipe="1x").run_id,
        planned(splits, protocol="published", overrides=("evaluate.nms=0.4",)).run_id,
        planned(splits, "atss[normaliser=batch]", protocol="published").run_id,
        planned(splits, protocol="published", seed=1).run_id,
        planned(splits, "atss+implicit_objectness").run_id,
        planned(splits, "atss+iou", protocol="published").run_id,
        planned(splits, "autoassign").run_id,
        planned(splits, "autoassign[learn=mu]").run_id,
        planned(splits, "autoassign[bag=geometric]").run_id,
        planned(splits, "fcos").run_id,
        planned(splits, "fcos[centerness=false]").run_id,
    ]
    assert len(set(names)) == len(names)
    digests = [name.rpartition("-")[2] for name in names]
    assert len(set(digests)) == len(digests)


def test_naming_the_default_preset_changes_nothing(splits: Splits) -> None:
    named, first = (planned(splits, protocol="published", preset=preset) for preset in ("mmdet", None))
    assert named.run_id == first.run_id
    assert named.recipe == first.recipe


def test_added_outputs_are_in_the_name_in_one_order(splits: Splits) -> None:
    run = planned(splits, "atss[k=5]+iou+implicit_objectness")
    assert run.candidate.strategy.label == "atss[k=5]+implicit_objectness+iou"
    assert run.run_id.startswith("tiny-atss_k_5_implicit_objectness_iou-tiny-s0-")
    assert run.run_id == planned(splits, "atss[k=5]+implicit_objectness+iou").run_id
    assert [extra.name for extra in run.candidate.extras] == ["implicit_objectness", "iou"]


def test_outputs_that_cannot_be_added_are_refused_before_anything_trains(splits: Splits) -> None:
    with pytest.raises(UsageError, match=r"no extra output is called 'iuo'; did you mean iou\?"):
        candidate("atss+iuo")
    with pytest.raises(UsageError, match="ATSS: it has the extra output centerness already"):
        planned(splits, "atss+centerness", "published")
    with pytest.raises(UsageError, match="same strategy is asked for twice: fcos\\+implicit_objectness\\+iou"):
        plan(
            [candidate("fcos+iou+implicit_objectness"), candidate("fcos+implicit_objectness+iou")],
            [splits],
            load_recipe("tiny"),
            [0],
        )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("autoassign[center=none,learn=mu]", "center=none learns neither μ nor σ"),
        ("autoassign+implicit_objectness", "it has the extra output implicit_objectness already"),
    ],
)
def test_a_contradiction_is_refused_before_anything_trains(splits: Splits, text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        planned(splits, text)


def test_every_run_has_the_recipe_as_its_own_preset_changes_it(splits: Splits) -> None:
    candidates = [candidate(text, "published") for text in ("retinanet", "atss")]
    runs = plan(candidates, [splits], load_recipe("1x"), [0, 1])
    assert [run.recipe.recipe.evaluate.nms for run in runs] == [0.5, 0.6, 0.5, 0.6]
    assert [run.recipe.recipe.model.pyramid for run in runs[:2]] == ["c5_plain", "p5_plain"]
    set_by_hand = plan(candidates, [splits], load_recipe("1x", ["evaluate.nms=0.55"]), [0])
    assert [run.recipe.recipe.evaluate.nms for run in set_by_hand] == [0.55, 0.55]


def test_a_preset_that_contradicts_what_was_set_is_refused_before_anything_trains(splits: Splits) -> None:
    with pytest.raises(UsageError, match=r"under preset mmdet.*model\.weights = imagenet are of style pytorch"):
        planned(splits, "fcos", "published", recipe="1x", overrides=("model.weights=imagenet",))


def test_a_strategy_without_presets_is_named(splits: Splits) -> None:
    with pytest.raises(UsageError, match="Plain declares no published preset"):
        candidate("plain", "published")
    with pytest.raises(UsageError, match="FreeAnchor has no preset 'torchvision'"):
        candidate("freeanchor", "published", "torchvision")


def test_other_pictures_under_the_same_names_are_another_run(splits: Splits, tmp_path: Path) -> None:
    images = tuple(replace(image, path=tmp_path / image.path.name) for image in splits.evaluation.images)

    def name(last: bytes) -> str:
        for image in images:
            image.path.write_bytes(b"picture")
        images[-1].path.write_bytes(last)
        return planned(Splits("tiny", splits.train, replace(splits.evaluation, images=images))).run_id

    assert name(b"picture") == name(b"picture") != name(b"another picture")


def test_other_initial_weights_under_the_same_name_are_another_run(splits: Splits, tmp_path: Path) -> None:
    def name() -> str:
        weights_digest.cache_clear()  # kept for a process
        return planned(splits, overrides=(f"model.weights={tmp_path / 'w.pth'}",)).run_id

    with pytest.raises(SystemProblem, match="no weights file at"):
        name()
    (tmp_path / "w.pth").write_bytes(b"one")
    first = name()
    (tmp_path / "w.pth").write_bytes(b"two")
    assert name() != first
