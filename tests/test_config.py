import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from assignbench import config
from assignbench.config import deciding, digest, flatten, known_recipes, load_recipe, with_preset
from assignbench.errors import UsageError
from assignbench.recipe import BOOKKEEPING

CONFIGS = Path(__file__).parents[1] / "configs"
RECIPES = sorted((CONFIGS / "recipes").rglob("*.yaml"))


def refused(name: str, *overrides: str) -> str:
    with pytest.raises(UsageError) as error:
        load_recipe(name, overrides)
    return str(error.value)


def test_every_shipped_file_is_found():
    assert {file.stem for file in RECIPES} >= {"tiny", "scratch", "1x", "2x"}
    assert known_recipes() == tuple(file.stem for file in RECIPES)


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_shipped_recipe(file):
    resolved = load_recipe(file.stem)
    assert resolved.name == file.stem
    assert set(resolved.origins) == set(flatten(resolved.recipe)) == set(config.settings())
    # the traps of YAML 1.1 are avoided, so every other reader sees the same values
    plain = config._flat(yaml.safe_load(file.read_text()), "")
    below = plain.pop("base", None)
    chain = [file.stem]
    while below is not None:
        chain.append(below)
        below = yaml.safe_load(file.with_stem(below).read_text()).get("base")
    assert set(resolved.origins.values()) <= {*(f"recipe {name}" for name in chain), "default"}
    assert {key for key, origin in resolved.origins.items() if origin == f"recipe {file.stem}"} == set(plain)
    values = flatten(resolved.recipe)
    assert set(plain) <= set(values)
    assert [key for key, value in plain.items() if values[key] not in (value, [value])] == []


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_every_line_of_a_shipped_recipe_is_commented(file):
    lines = [line for line in file.read_text().splitlines() if line.startswith("  ")]
    assert lines
    assert [line for line in lines if "#" not in line] == []


def test_every_setting_has_a_sentence_and_a_range():
    for key, setting in config.settings().items():
        assert len(setting.meaning) > 5, key
        assert setting.allowed, key


def test_the_papers_schedule():
    once, twice = (load_recipe(name).recipe for name in ("1x", "2x"))
    assert (once.train.iterations, once.train.steps) == (90_000, (60_000, 80_000))
    assert (twice.train.iterations, twice.train.steps) == (180_000, (120_000, 160_000))
    changed = {key for key, value in flatten(once).items() if flatten(twice)[key] != value}
    assert changed == {"train.iterations", "train.steps"}


@pytest.fixture
def chain(tmp_path) -> Path:
    """A recipe over another one, in a folder beside it, over 1x."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "ours.yaml").write_text("base: 1x\ntrain: {lr: 0.02, batch: 32}\nevaluate: {nms: 0.5}\n")
    file = tmp_path / "mine.yaml"
    file.write_text("base: shared/ours.yaml\ntrain:\n  lr: 0.03\n")
    return file


def test_a_recipe_goes_over_its_base_and_that_over_its_own(chain, monkeypatch):
    monkeypatch.chdir("/")  # a path is relative to the file that says it
    resolved = load_recipe(str(chain), ["evaluate.nms=0.7"])
    values = flatten(resolved.recipe)
    assert {key: (values[key], resolved.origins[key]) for key in ("train.lr", "train.batch", "train.iterations")} == {
        "train.lr": (0.03, "recipe mine.yaml"),
        "train.batch": (32, "recipe ours.yaml"),
        "train.iterations": (90_000, "recipe 1x"),
    }
    assert (values["evaluate.nms"], resolved.origins["evaluate.nms"]) == (0.7, "--set")
    assert resolved.origins["evaluate.voting"] == "default"


def test_how_values_were_inherited_is_no_part_of_what_decides(chain, tmp_path):
    """One file that says everything, and a chain that comes to the same, are one recipe; ids are of the values."""
    inherited = load_recipe(str(chain)).recipe
    nested: dict[str, dict[str, object]] = {}
    for key, value in flatten(inherited).items():
        group, _, name = key.partition(".")
        nested.setdefault(group, {})[name] = value
    (tmp_path / "whole.yaml").write_text(json.dumps(nested))
    whole = load_recipe(str(tmp_path / "whole.yaml")).recipe
    assert whole == inherited
    assert digest(deciding(whole)) == digest(deciding(inherited))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a": "base: a.yaml"}, "a.yaml: its bases go round in a circle: a.yaml → a.yaml; take base out"),
        ({"a": "base: b.yaml", "b": "base: c.yaml", "c": "base: b.yaml"}, "circle: b.yaml → c.yaml → b.yaml"),
        ({"a": "base: 1"}, "base = 1 must be a recipe's name, or a file that ends in .yaml"),
        ({"a": "base: tinny"}, "a.yaml: base: no recipe is called 'tinny'; did you mean tiny?"),
        ({"a": "base: gone.yaml"}, "gone.yaml: cannot be read: No such file or directory (base of "),
        (
            {"a": "base: b.yaml", "b": "base: 1x\ntrain: {learning_rate: 1}"},
            "b.yaml: unknown key 'train.learning_rate'",
        ),
        ({"a": "base: 1x\ntrain: {lr: 11}"}, "train.lr = 11 (from recipe a.yaml) must be a number > 0 and ≤ 10"),
        ({"a": "base: b.yaml", "b": "base: 1x\ntrain: {lr: 11}"}, "train.lr = 11 (from recipe b.yaml) must be"),
    ],
)
def test_bases_that_cannot_be_are_explained(tmp_path, files, message):
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    assert message in refused(str(tmp_path / "a.yaml"))


def test_override_changes_value_and_origin():
    resolved = load_recipe("1x", ["train.lr=1e-3", "data.short_side=[640, 800]", "train.precision=no"])
    assert resolved.recipe.train.lr == 1e-3
    assert resolved.recipe.data.short_side == (640, 800)
    assert resolved.recipe.train.precision == "no"  # not False, as YAML 1.1 has it
    assert {key for key, origin in resolved.origins.items() if origin == "--set"} == {
        "train.lr",
        "data.short_side",
        "train.precision",
    }
    assert resolved.origins["train.batch"] == "recipe 1x"


def test_one_number_is_a_list_of_one():
    assert load_recipe("tiny", ["data.short_side=128"]).recipe.data.short_side == (128,)


def test_a_file_needs_only_what_has_no_default(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "model: {backbone: resnet18, weights: none}\n"
        "data: {short_side: 64, long_side: 96}\n"
        "train: {iterations: 10, batch: 2, optimizer: sgd, lr: 0.1, schedule: step}\n"
    )
    resolved = load_recipe(str(file))
    assert resolved.name == "mine.yaml"
    assert resolved.origins["train.lr"] == "recipe mine.yaml"
    assert resolved.origins["evaluate.nms"] == "default"
    file.write_text(file.read_text().replace("lr: 0.1, ", ""))
    with pytest.raises(UsageError, match=r"recipe mine\.yaml: train\.lr is missing: .*; a number > 0"):
        load_recipe(str(file))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.lr", "--set train.lr: write key=value"),
        ("lr=1", "--set: unknown key 'lr'; did you mean train.lr?"),
        ("train.lrr=1", "did you mean train.lr?"),
        ("zzz=1", "unknown key 'zzz'\nknown: model.backbone, "),
        ("train.zzz=1", "unknown key 'train.zzz'\nknown: train.iterations, "),
        ("train=1", "'train' is a group of settings"),
        ("train={lr: 1}", "'train' is a group of settings"),
        ("train.lr=fast", 'train.lr = "fast" (from --set) must be a number > 0 and ≤ 10'),
        ("train.lr=0", "train.lr = 0 (from --set) must be a number > 0"),
        ("train.lr=.inf", "must be a number > 0"),
        ("train.batch=true", "train.batch = true (from --set) must be a whole number ≥ 1"),
        ("train.batch='4'", "must be a whole number ≥ 1"),
        ("train.batch=4.0", "must be a whole number ≥ 1"),
        ("train.optimizer=adam", "must be one of sgd, adamw"),
        ("train.clip=.inf", "must be a number > 0, or null"),
        ("train.clip=0", "must be a number > 0, or null"),
        ("data.short_side=[]", "or a non-empty list of such"),
        ("data.short_side=[64, a]", "must be a whole number ≥ 32 and ≤ 4096"),
        ("model.channels=100", "a multiple of 32"),
        ("train.lr=[1", "--set train.lr: a list is not closed"),
        ("data.short_side=800", "data.short_side = 800 exceeds data.long_side = 256"),
        ("train.accumulation=3", "train.batch = 8 does not divide by train.accumulation = 3"),
        ("train.warmup=1201", "longer than train.iterations = 1200"),
        ("train.steps=[9]", "cosine has none"),
        ("train.schedule=onecycle", "train.schedule = onecycle is called cosine now"),
    ],
)
def test_wrong_override_is_explained(override, message):
    assert message in refused("tiny", override)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.steps=[80000, 60000]"], "must increase"),
        (["train.steps=[60000, 60000]"], "must increase"),
        (["train.steps=[60000, 90000]"], "must lie before train.iterations = 90000"),
        (["train.iterations=5000"], "with --set train.iterations: train.steps = [60000, 80000]"),
        (["train.steps=[500]"], "must lie after the warm-up"),
    ],
)
def test_steps_fit_the_schedule(overrides, message):
    assert message in refused("1x", *overrides)


def test_every_wrong_value_is_reported_at_once():
    message = refused("tiny", "data.flip=2", "train.batch=0")
    assert [line.partition(" =")[0] for line in message.splitlines()] == ["data.flip", "train.batch"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("data.short_side=[64, a]", 'data.short_side.2 = "a" (from --set) must be a whole number ≥ 32 and ≤ 4096'),
        ("data.short_side=[5]", "data.short_side.1 = 5 (from --set) must be a whole number ≥ 32 and ≤ 4096"),
        ("train.steps=[64, 0]", "train.steps.2 = 0 (from --set) must be a whole number ≥ 1"),
        ("train.steps=0", "train.steps = 0 (from --set) must be a whole number ≥ 1, or a list of such"),
    ],
)
def test_a_wrong_value_in_a_list_is_told_with_its_place(given, message):
    assert refused("tiny", given) == message


def test_a_key_twice_is_refused(tmp_path):
    assert "key 'train.lr' is given twice" in refused("tiny", "train.lr=1", "train.lr=2")
    file = tmp_path / "a.yaml"
    file.write_text("train: {lr: 1}\ntrain.lr: 2\n")
    assert "key 'train.lr' is given twice" in refused(str(file))
    file.write_text("train: {lr: 1}\ntrain: {lr: 2}\n")
    assert "line 2: key 'train' is given twice" in refused(str(file))


@pytest.mark.parametrize(
    "content", ["", "- a", "text", "train:\n", "train: 5", "train: {}", "1: 2", "train: {lr: {a: 1}}"]
)
def test_a_file_that_is_no_recipe(tmp_path, content):
    file = tmp_path / "a.yaml"
    file.write_text(content)
    assert str(file) in refused(str(file))


def test_unknown_recipe():
    assert refused("tinny").startswith("no recipe is called 'tinny'; did you mean tiny?\nknown: 1x, 2x, ")
    assert "no recipe is called 'configs'" in refused("configs")
    assert "cannot be read" in refused("/nowhere/a.yaml")


def test_bookkeeping_does_not_decide():
    assert set(config.settings()) >= BOOKKEEPING
    tiny = load_recipe("tiny").recipe
    assert set(flatten(tiny)) - set(deciding(tiny)) == BOOKKEEPING
    assert deciding(tiny) == deciding(load_recipe("tiny", ["data.workers=0", "evaluate.batch=3"]).recipe)
    assert deciding(tiny) != deciding(load_recipe("tiny", ["train.lr=0.004"]).recipe)


def test_a_recipe_survives_its_record():
    shared = load_recipe("1x", ["train.lr=0.02"])
    for resolved in (shared, with_preset(shared, "mmdet", CHANGES, SCHEDULE)):
        values = json.loads(json.dumps(flatten(resolved.recipe)))
        assert config.recorded_recipe("1x", values, resolved.origins) == resolved


CHANGES = {"evaluate.nms": 0.5, "model.pyramid": "c5_plain"}
SCHEDULE = {"train.warmup": 500, "train.clip": 35.0}


def test_a_preset_changes_values_and_origins():
    before = load_recipe("1x", ["data.workers=0"])
    after = with_preset(before, "mmdet", CHANGES, {})
    assert (after.recipe.evaluate.nms, after.recipe.model.pyramid) == (0.5, "c5_plain")
    assert {key for key, origin in after.origins.items() if origin == "preset mmdet"} == set(CHANGES)
    old, new = flatten(before.recipe), flatten(after.recipe)
    assert {key for key in old if old[key] != new[key]} == set(CHANGES)
    assert {key for key in old if before.origins[key] != after.origins[key]} == set(CHANGES)
    assert after.name == "1x"
    assert before.recipe.evaluate.nms == 0.6  # the recipe that the others share is as it was


def test_what_set_says_goes_before_a_preset():
    before = load_recipe("1x", ["evaluate.nms=0.7", "train.warmup=2000"])
    after = with_preset(before, "mmdet", CHANGES, SCHEDULE)
    assert (after.recipe.evaluate.nms, after.recipe.train.warmup, after.recipe.train.clip) == (0.7, 2000, 35.0)
    assert (after.origins["evaluate.nms"], after.origins["train.warmup"]) == ("--set", "--set")
    assert after.origins["model.pyramid"] == after.origins["train.clip"] == "preset mmdet"


def test_a_presets_schedule_is_for_the_papers_schedule_only():
    papers = with_preset(load_recipe("1x"), "mmdet", CHANGES, SCHEDULE)
    assert (papers.recipe.train.warmup, papers.recipe.train.clip) == (500, 35.0)
    for recipe in (load_recipe("tiny"), load_recipe("1x", ["train.papers=false"])):
        other = with_preset(recipe, "mmdet", CHANGES, SCHEDULE)
        assert (other.recipe.train.warmup, other.recipe.train.clip) == (
            recipe.recipe.train.warmup,
            recipe.recipe.train.clip,
        )
        assert other.origins["train.clip"] == recipe.origins["train.clip"]
        assert other.recipe.evaluate.nms == 0.5
    assert [name for name in known_recipes() if load_recipe(name).recipe.train.papers] == ["1x", "2x"]


@pytest.mark.parametrize(
    ("changes", "schedule", "message"),
    [
        ({"evaluate.nmss": 0.5}, {}, "preset mine: unknown key 'evaluate.nmss'; did you mean evaluate.nms?"),
        ({"evaluate": 0.5}, {}, "preset mine: 'evaluate' is a group of settings"),
        ({"evaluate.nms": 2}, {}, "evaluate.nms = 2 (from preset mine) must be a number > 0 and ≤ 1"),
        ({}, {"train.warmup": 100_000}, "recipe 1x under preset mine: train.warmup = 100000 is longer"),
        ({}, {"model.weights": "msra"}, "model.weights = msra are of style caffe, but model.style = pytorch"),
    ],
)
def test_a_wrong_preset_is_explained(changes, schedule, message):
    with pytest.raises(UsageError) as error:
        with_preset(load_recipe("1x"), "mine", changes, schedule)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.weights=detectron"], "model.weights = detectron are of style caffe, but model.style = pytorch"),
        (["model.style=caffe"], "model.weights = imagenet are of style pytorch, but model.style = caffe"),
        (
            ["model.style=caffe", "model.weights=msra", "model.backbone=resnet18"],
            "exist for resnet50 and resnet101, not resnet18",
        ),
        (["model.backbone=miniature"], "resnet101 and resnext101_64x4d, not miniature; choose other weights"),
    ],
)
def test_weights_fit_the_style_of_the_backbone(overrides, message):
    assert message in refused("1x", *overrides)
    caffe = ["model.style=caffe", "model.weights=msra", "model.pixels=caffe"]
    assert load_recipe("1x", caffe).recipe.model.weights == "msra"
    assert load_recipe("1x", ["model.style=caffe", "model.weights=mine.pth"]).recipe.model.style == "caffe"


def test_digest_by_hand():
    # printf '{"a":1,"b":[1.5,null,"é"]}' | sha256sum
    expected = "7d5a50c3860ccb526ba470ab27b955a38f2e8c6e89c71cf2cd1da1784965b95f"
    assert digest({"b": [1.5, None, "é"], "a": 1}) == expected
    assert digest({"a": 1}) != digest({"a": 1.0})
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest({"a": float("nan")})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=30, derandomize=True, deadline=None)
@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_digest_ignores_order_and_survives_json(content):
    backwards = dict(reversed(content.items()))
    assert digest(content) == digest(backwards) == digest(json.loads(json.dumps(content)))
