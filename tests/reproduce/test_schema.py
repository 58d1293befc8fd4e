import csv
from typing import get_args

import pytest
import yaml

from assignbench.config import load_recipe
from assignbench.errors import UsageError
from assignbench.paths import published_results
from assignbench.reproduce import schema
from assignbench.reproduce.schema import (
    Change,
    Reference,
    ScaleName,
    chosen_experiments,
    known_experiments,
    load_experiment,
    load_scale,
)
from assignbench.reproduce.sheet import as_overrides, candidate_of, merged, placed, published_of, row_at
from assignbench.run.scoring import widerface
from assignbench.run.scoring.evaluators import METRICS
from assignbench.run.scoring.views import load_views
from assignbench.run.scoring.voc import AREA, ELEVEN

TABLES = tuple(f"table{number}" for number in range(1, 11))


def test_all_ten_tables_in_the_papers_order():
    assert known_experiments() == TABLES
    assert chosen_experiments(["all"]) == TABLES


@pytest.mark.parametrize("name", TABLES)
def test_every_published_row_is_there(name):
    experiment, _ = load_experiment(name)
    with published_results().open(encoding="utf-8", newline="") as file:
        wanted = {int(line["row"]) for line in csv.DictReader(file) if line["table"] == experiment.table}
    assert {row.published for row in experiment.rows} == wanted
    for group in experiment.groups or [None]:
        for row in experiment.rows:
            value = published_of(experiment, group, row)
            assert value is not None
            assert value.values["AP"] > 0


@pytest.mark.parametrize("scale_name", get_args(ScaleName))
@pytest.mark.parametrize("name", TABLES)
def test_every_row_can_be_run_at_every_scale(name, scale_name):
    experiment, file = load_experiment(name)
    scale = load_scale(scale_name)
    own = experiment.scales.get(scale_name, Change())
    for group in experiment.groups or [None]:
        change = merged(own, group.scales[scale_name] if group else Change())
        for row in (row_at(row, scale_name) for row in experiment.rows):
            if row.not_built:
                continue
            settings = as_overrides({**change.set, **row.set})
            recipe = load_recipe(change.recipe or scale.recipe, settings)
            one = candidate_of(str(row.strategy), scale)
            settled = one.protocol.recipe(recipe).recipe
            if views := placed(row.test_time, file):
                load_views(views, settled.data, settled.evaluate)
            assert settled.model.backbone == row.set.get("model.backbone", settled.model.backbone)
        if dataset := placed(change.dataset, file):
            assert dataset == change.dataset or (file.parent / dataset).is_file()


def rows(**changes):
    row = {"label": "a", "strategy": "atss"}
    return {"title": "t", "table": "1", "paper": "p", "rows": [row, {**row, "label": "b"}], **changes}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (rows(titel="x"), "unknown key 'titel'; did you mean title?"),
        (rows(rows=[{"label": "a", "strategie": "atss"}]), r"unknown key 'rows.1.strategie'; did you mean strategy\?"),
        (rows(rows=[{"label": "a"}]), "rows.1: a row has either a strategy or a sentence in not_built"),
        (rows(rows=[{"label": "a", "strategy": text} for text in ("atss", "fcos")]), "two rows are both called 'a'"),
        (rows(claims=[{"says": "s", "better": "a", "worse": "c"}]), "'s' names the row 'c', which is not there"),
        (rows(claims=[{"says": "s", "better": "a", "worse": "b", "on": "off-centre"}]), "needs off_centre"),
        (rows(claims=[{"says": "s", "better": "a", "worse": "a"}]), "'s' holds the row 'a' against itself"),
        (rows(metrics=["AP", "ap50"]), r'metrics.2 = "ap50" must be one of AP, AP50, .* WIDER-hard'),
        (rows(table=1), "table = 1 must be text, not empty"),
        (rows(scales={"huge": {}}), "unknown key 'scales.huge'; known: smoke, small, full"),
        (rows(rows=[]), r"rows = \[\] must be a non-empty list, each a mapping with some of label"),
        (["a"], "a mapping is needed"),
    ],
)
def test_a_wrong_file_is_explained(content, message, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(UsageError, match=message) as caught:
        load_experiment(str(file))
    assert str(caught.value).startswith(str(file))


def test_names_are_met_with_suggestions():
    with pytest.raises(UsageError, match=r"no experiment is called 'tabel3'; did you mean table3\?"):
        load_experiment("tabel3")
    with pytest.raises(UsageError, match="'all' has every table in it; leave out table2"):
        chosen_experiments(["all", "table2"])
    with pytest.raises(UsageError, match="asked for twice: table2"):
        chosen_experiments(["table2", "table2"])


def test_a_reference_may_point_elsewhere():
    experiment, _ = load_experiment("table6")
    coco = experiment.groups[0]
    assert coco.elsewhere["AutoAssign"] == Reference(table="1", row=7)
    row = next(row for row in experiment.rows if row.label == "AutoAssign")
    value = published_of(experiment, coco, row)
    assert value is not None
    assert value.values == {"AP": 40.5}


def test_every_metric_that_a_run_can_have_can_be_a_column():
    named = [name for part in get_args(schema.Metric) for name in get_args(part)]
    assert named == [*METRICS, ELEVEN, AREA, *widerface.METRICS]
