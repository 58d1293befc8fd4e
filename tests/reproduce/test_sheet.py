from dataclasses import replace
from pathlib import Path

import pytest

from assignbench.config import load_recipe
from assignbench.errors import DataError, UsageError
from assignbench.paths import configs_folder
from assignbench.reproduce.schema import Experiment, Scale, load_experiment
from assignbench.reproduce.sheet import Opened, Request, sheet_of
from assignbench.run.matrix.plan import candidate, plan

SCALE = Scale(
    description="d",
    dataset="tiny",
    recipe="smoke",
    protocol="controlled",
    seeds=[0, 1],
    paper=True,
    decides=True,
    says="s",
)
SHIPPED = configs_folder() / "experiments" / "table9.yaml"


def experiment(**changes):
    rows = [
        {"label": "plain", "strategy": "plain", "published": 1},
        {"label": "wide", "strategy": "atss", "set": {"model.channels": 64}},
        {"label": "none", "not_built": "nobody did"},
    ]
    content = {"title": "t", "table": "9", "paper": "p", "rows": rows, **changes}
    return Experiment.model_validate(content)


@pytest.fixture
def build(splits):
    def build(content, request=None, scale=SCALE, data=None, file=SHIPPED):
        opened = Opened(data or (lambda spec: splits), lambda recipe: recipe)
        return sheet_of("mine", content, file, scale, request or Request("smoke"), opened)

    return build


def test_rows_are_the_runs_that_run_would_make(build, splits):
    sheet = build(experiment())
    plain, wide, none = sheet.lines
    by_hand = plan([candidate("atss")], [splits], load_recipe("smoke", ["model.channels=64"]), [0, 1])
    assert [run.run_id for run in wide.runs] == [run.run_id for run in by_hand]
    assert [run.seed for run in plain.runs] == [0, 1]
    assert none.runs == ()
    assert plain.published is not None
    assert plain.published.values["AP"] == 39.8
    assert (sheet.faithful, sheet.changes) == (True, ())


def test_what_a_scale_changes_of_a_row(build):
    rows = [{"label": "a", "strategy": "plain", "scales": {"smoke": {"strategy": "fcos", "set": {"train.lr": 0.001}}}}]
    line = build(experiment(rows=rows)).lines[0]
    assert line.strategy == "fcos"
    assert line.runs[0].recipe.recipe.train.lr == 0.001


def test_the_table_yields_to_the_command_line_and_the_row_does_not(build):
    content = experiment(scales={"smoke": {"set": {"train.iterations": 3, "train.lr": 0.001}}})
    sheet = build(content, Request("smoke", overrides=("train.iterations=5",)))
    train = sheet.lines[0].runs[0].recipe.recipe.train
    assert (train.iterations, train.lr) == (5, 0.001)
    assert sheet.changes == ("--set train.iterations=5",)
    assert sheet.settings == ("train.lr=0.001",)
    assert not sheet.faithful
    with pytest.raises(UsageError, match=r"--set model\.channels: mine sets it itself in the row 'wide'"):
        build(content, Request("smoke", overrides=("model.channels=32",)))


def test_a_row_is_stronger_than_its_table(build):
    content = experiment(scales={"smoke": {"set": {"model.channels": 96}}})
    assert [line.runs[0].recipe.recipe.model.channels for line in build(content).lines[:2]] == [96, 64]


def test_bookkeeping_leaves_the_papers_setting(build):
    assert build(experiment(), Request("smoke", overrides=("data.workers=1",))).faithful


@pytest.mark.parametrize(
    ("request_", "change"),
    [
        (Request("smoke", dataset="voc"), "data set voc instead of tiny"),
        (Request("smoke", recipe="tiny"), "recipe tiny instead of smoke"),
    ],
)
def test_other_data_or_recipe_is_not_the_papers(build, request_, change):
    sheet = build(experiment(), request_)
    assert sheet.changes == (change,)
    assert not sheet.faithful


def test_data_is_held_against_the_experiments_own_first(build):
    own = experiment(scales={"smoke": {"dataset": "own.yaml"}})
    sheet = build(own, Request("smoke", dataset="tiny"))  # the scale's, but not this experiment's
    assert (sheet.changes, sheet.faithful) == (("data set tiny instead of own.yaml",), False)
    beside = SHIPPED.parent / ".." / "experiments" / "own.yaml"
    assert build(own, Request("smoke", dataset=str(beside))).faithful


def test_what_an_experiment_is_about_is_not_replaced(build):
    grouped, _ = load_experiment("table6")
    for request, option in (
        (Request("smoke", dataset="voc"), "--dataset"),
        (Request("smoke", recipe="tiny"), "--recipe"),
    ):
        with pytest.raises(UsageError, match=f"{option}: mine is about its own data sets"):
            build(grouped, request)
    own = experiment(scales={"smoke": {"set": {"train.iterations": 3}}})
    with pytest.raises(UsageError, match=r"at smoke, mine has train.iterations of its own"):
        build(own, Request("smoke", recipe="tiny"))


def test_the_scale_names_presets(build):
    scale = SCALE.model_copy(update={"protocol": "published", "presets": {"atss": "official"}})
    rows = [{"label": "a", "strategy": "atss[k=5]"}, {"label": "b", "strategy": "retinanet"}]
    sheet = build(experiment(rows=rows), scale=scale)
    assert [line.runs[0].candidate.protocol.preset_name for line in sheet.lines] == ["official", "mmdet"]


def test_a_rows_setting_is_stronger_than_its_preset(build):
    scale = SCALE.model_copy(update={"protocol": "published", "presets": {"autoassign": "official"}})
    rows = [{"label": "a", "strategy": "autoassign", "set": {"model.pixels": "torchvision", "model.style": "pytorch"}}]
    model = build(experiment(rows=rows), scale=scale).lines[0].runs[0].recipe.recipe.model
    assert (model.pixels, model.style, model.pyramid) == ("torchvision", "pytorch", "c5_relu")


def test_missing_data_is_the_lines_problem(build):
    def nowhere(spec):
        raise DataError(f"{spec} is not there")

    lines = build(experiment(), data=nowhere).lines
    assert [str(line.problem) if line.problem else None for line in lines] == ["tiny is not there"] * 2 + [None]
    assert all(line.runs == () for line in lines)


def test_shared_runs_are_equal(build, splits):
    first, second = (load_experiment(name)[0] for name in ("table2", "table9"))
    ids = [{run.run_id for line in build(content).lines for run in line.runs} for content in (first, second)]
    assert len(ids[0] & ids[1]) == 2  # AutoAssign with its defaults, two seeds


def test_a_sheet_is_a_value(build):
    sheet = build(experiment())
    assert replace(sheet, name="mine") == sheet


def test_what_is_not_the_papers_setting_at_its_own_scale(build, splits):
    own = build(experiment(), file=Path("/here/mine.yaml"))
    assert (own.faithful, own.doubts) == (False, ("the experiment is one of your own, mine.yaml",))
    unstated = build(experiment(stated=False))
    assert (unstated.faithful, unstated.doubts) == (False, ("the paper does not state its setting",))
    held = [len(splits.train), len(splits.evaluation)]
    assert build(experiment(), scale=SCALE.model_copy(update={"pictures": held})).faithful
    part = build(experiment(), scale=SCALE.model_copy(update={"pictures": [118_287, 5000]}))
    assert part.doubts == ("tiny.yaml has 8 and 4 pictures, not 118,287 and 5,000",)
    assert not part.faithful
    scale = SCALE.model_copy(update={"pictures": [118_287, 5000]})
    groups = [{"name": "another", "scales": {"smoke": {"dataset": "voc"}}}]
    assert build(experiment(groups=groups), scale=scale).doubts == ()  # the count is of the scale's data set


def test_a_mistake_in_a_row_is_said_with_its_row_and_before_anything_trains(build):
    for row, said in (
        ({"set": {"train.iteration": 3}}, r"^mine, row 'a': unknown key 'train\.iteration'"),
        ({"strategy": "ats"}, r"^mine, row 'a': .*ats"),
        ({"test_time": "nosuchbag"}, r"^mine, row 'a': .*nosuchbag"),
    ):
        with pytest.raises(UsageError, match=said):
            build(experiment(rows=[{"label": "a", "strategy": "atss", **row}]))
    with pytest.raises(UsageError, match=r"^--set: unknown key 'train\.iteration'"):
        build(experiment(), Request("smoke", overrides=("train.iteration=3",)))


def test_a_recipe_lies_beside_the_experiment(build, tmp_path):
    (tmp_path / "mine.yaml").write_bytes((configs_folder() / "recipes" / "smoke.yaml").read_bytes())
    own = experiment(scales={"smoke": {"recipe": "mine.yaml"}})
    (run, *_) = build(own, file=tmp_path / "experiment.yaml").lines[0].runs  # not in the folder at hand
    assert run.recipe.name == "mine.yaml"


def test_a_scale_may_add_to_a_reading(build):
    rows = [{"label": "a", "strategy": "atss", "reading": "One.", "scales": {"smoke": {"reading": "Two."}}}]
    assert build(experiment(rows=rows)).lines[0].row.reading == "One. Two."
    rows[0]["scales"] = {"full": {"reading": "Two."}}
    assert build(experiment(rows=rows)).lines[0].row.reading == "One."
