"""The names of runs: whatever decides a result is in them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from assignbench.config import load_recipe
from assignbench.data.dataset import Dataset, Splits
from assignbench.data.images import Images, Stored
from assignbench.errors import SystemProblem, UsageError
from assignbench.run.matrix.plan import Run, candidate, candidates, known_data, plan, weights_digest


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


def test_how_pictures_are_read_is_in_the_name(splits: Splits) -> None:
    """The same files with other ``bits``, or turned as viewers turn them, teach something else."""

    def seen(stored: Stored) -> Splits:
        return Splits(
            "tiny",
            *(
                replace(one, images=replace(Images.of(one.images), stored=stored))
                for one in (splits.train, splits.train)
            ),
        )

    ways = (Stored(), Stored(bits=12), Stored(bits=16), Stored(upright=True), Stored(True, 12))
    assert len({planned(seen(stored)).run_id for stored in ways}) == len(ways)
    assert len({known_data(seen(stored)).content for stored in ways}) == len(ways)
    assert planned(seen(Stored(stated=True))).run_id == planned(seen(Stored())).run_id


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
    images = tuple(replace(image, path=tmp_path / image.path.name) for image in splits.train.images)

    def name(last: bytes, split: str) -> str:
        for image in images:
            image.path.write_bytes(b"picture")
        images[-1].path.write_bytes(last)
        changed = replace(getattr(splits, split), images=images)
        return planned(replace(splits, **{split: changed})).run_id

    assert name(b"picture", "train") == name(b"picture", "train") != name(b"another picture", "train")
    # they decide no weights: a picture that is mended leaves the names of runs
    assert name(b"picture", "evaluation") == name(b"another picture", "evaluation")


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


MINE = """from assignbench.core import Assigner, Head
from assignbench.core.parts import {parts}

class S(Assigner):
    head = Head()
    presets = {{"mine": Preset(source="mine", head=Head(), loss={loss})}}

    def __init__(self, setting, *, k: int = 9) -> None:
        super().__init__(setting)

    def forward(self, priors, targets):
        raise NotImplementedError
{more}
"""


def plugin(file: Path, more: str = "", loss: str = "PairLoss()", parts: str = "PairLoss, Preset") -> str:
    file.parent.mkdir(exist_ok=True)
    file.write_text(MINE.format(loss=loss, parts=parts, more=more))
    return f"{file}:S"


def test_two_files_of_one_name_stand_side_by_side(splits: Splits, tmp_path: Path) -> None:
    texts = [plugin(tmp_path / "v1" / "mine.py"), plugin(tmp_path / "v2" / "mine.py", "K = 1")]
    texts += [f"{texts[0]}[k=3]", "atss"]
    runs = plan(candidates(texts), [splits], load_recipe("tiny"), [0])
    labels = ["v1/mine.py:S", "v2/mine.py:S", "v1/mine.py:S[k=3]", "atss"]
    assert [run.title for run in runs] == [f"{label} on tiny, seed 0" for label in labels]
    assert len({run.run_id for run in runs}) == 4
    assert [run.run_id for run in runs] == [planned(splits, text).run_id for text in texts]  # whoever else is there


def test_two_files_with_the_same_code_are_the_same_strategy(splits: Splits, tmp_path: Path) -> None:
    texts = [plugin(tmp_path / name / "mine.py", "# a comment" * (name == "v1")) for name in ("v1", "v2")]
    with pytest.raises(UsageError, match=r"twice: mine.py:S; .*/v1/mine.py and .*/v2/mine.py hold the same code"):
        plan(candidates(texts), [splits], load_recipe("tiny"), [0])
    with pytest.raises(UsageError, match=r"the same strategy is asked for twice: mine.py:S$"):
        plan(candidates(texts[:1] * 2), [splits], load_recipe("tiny"), [0])


def test_an_edited_helper_is_another_run_and_an_edit_beside_it_is_not(splits: Splits, tmp_path: Path) -> None:
    text = plugin(tmp_path / "mine.py", "from helper import K")
    names = []
    for helper, unrelated in (("K = 1", "A = 1"), ("K = 1", "A = 2"), ("K = 2", "A = 2")):
        (tmp_path / "helper.py").write_text(helper)
        (tmp_path / "unrelated.py").write_text(unrelated)
        names.append(planned(splits, text).run_id)
    assert names[0] == names[1] != names[2]


OWN_LOSS = """
from dataclasses import dataclass, field
from assignbench.core.parts import BoxLoss

@dataclass(frozen=True)
class Own(BoxLoss):
    weight: float = field(default=1.0, init=False)

    @property
    def coding(self):
        raise ValueError("no coding fits")

    def __call__(self, pair):
        raise NotImplementedError

S.presets = {"mine": Preset(source="mine", head=Head(), loss=PairLoss(box=Own()))}
"""


def test_planning_builds_a_strategy_with_the_loss_of_its_preset(splits: Splits, tmp_path: Path) -> None:
    text = plugin(tmp_path / "mine.py", OWN_LOSS)
    assert planned(splits, text).candidate.label == "mine.py:S"
    with pytest.raises(UsageError, match=r"S, preset mine: ValueError: no coding fits \(.*mine.py:\d+\)"):
        planned(splits, text, "published")
    with pytest.raises(UsageError, match=r"S, preset mine: .*weight"):
        planned(splits, text, "published", overrides=("loss.box_weight=2",))
    with pytest.raises(UsageError, match="a PairLoss is made of objects"):
        candidate(plugin(tmp_path / "mine.py", loss="PairLoss(Focal)", parts="Focal, PairLoss, Preset"), "published")
    with pytest.raises(UsageError, match=r"S.presets must map names to presets"):
        candidate(plugin(tmp_path / "mine.py", 'S.presets = {"mine": 1}'), "published")


def test_a_strategy_of_a_file_in_an_option_has_one_name_wherever_the_file_lies(tmp_path, monkeypatch):
    names = set()
    for folder in ("v1", "v2"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text("from assigners.plain import Plain as Mine\n")
        one = candidate(f"dual[many={tmp_path}/{folder}/mine.py:Mine,one=poto]")
        names.add((one.strategy.label, one.all_options["many"], one.source_sha256))
        monkeypatch.chdir(tmp_path / folder)
        assert candidate("dual[many=mine.py:Mine,one=poto]").all_options == one.all_options
    ((label, many, _),) = names
    assert label == "dual[many='mine.py:Mine',one=poto]"
    assert many == "mine.py:Mine"


def test_data_sets_of_one_name_are_planned_side_by_side(make_dataset: Callable[..., Dataset]) -> None:
    data = [
        Splits(f"yolo:/{place}/data", *(replace(make_dataset(), name="yolo:data", fingerprint=place),) * 2)
        for place in "ab"
    ]
    runs = plan([candidate("atss")], data, load_recipe("tiny"), [0])
    assert [run.data for run in runs] == ["yolo:a/data", "yolo:b/data"]
    assert [run.title for run in runs] == ["atss on yolo:a/data, seed 0", "atss on yolo:b/data, seed 0"]
    assert runs[0].run_id != runs[1].run_id
    assert all(run.run_id.startswith("yolo_data-atss-") for run in runs)


def test_a_copy_of_a_data_set_is_refused(make_dataset: Callable[..., Dataset]) -> None:
    one, other = (Splits(f"coco:/{place}/data", make_dataset(), make_dataset()) for place in "ab")
    with pytest.raises(UsageError, match="coco:/a/data and coco:/b/data hold the same data; leave one out"):
        plan([candidate("atss")], [one, other], load_recipe("tiny"), [0])
