from pathlib import Path
from types import SimpleNamespace

import pytest

from assignbench.data.spec.locate import open_dataset
from assignbench.reproduce.filled import Filled
from assignbench.reproduce.published import Published
from assignbench.reproduce.results import result_of
from assignbench.reproduce.schema import Experiment, load_scale
from assignbench.reproduce.sheet import Line, Sheet

SHAPES = """
format: shapes
seed: 5
train: 8
evaluation: 4
short_side: 64
long_side: 80
smallest: 16
largest: 50
"""


@pytest.fixture(scope="session")
def root(tmp_path_factory) -> Path:
    """A data root."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def tiny(root) -> Path:
    """A data set of a few small pictures."""
    file = root / "tiny.yaml"
    file.write_text(SHAPES, encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def splits(tiny, root):
    return open_dataset(str(tiny), root)


CONTENT = {
    "title": "t",
    "table": "3",
    "paper": "p",
    "off_centre": 0.05,
    "rows": [{"label": "fixed", "strategy": "plain"}, {"label": "category", "strategy": "atss"}],
    "claims": [
        {"says": "category beats fixed", "better": "category", "worse": "fixed"},
        {"says": "and off centre", "better": "category", "worse": "fixed", "on": "off-centre"},
    ],
}
PUBLISHED = {"fixed": 40.3, "category": 40.5}


@pytest.fixture(scope="session")
def build(make_record):
    """Fill an experiment of two rows, *fixed* and *category*, or of others, with records."""

    def build(
        values, *, scale="small", split="val2017", failures=None, settings=(), pictures=None, same=None, **changes
    ):
        """A result: label → seed → AP; the class ring, off centre, has half of it.

        ``same`` names rows whose runs are those of another row.
        """
        experiment = Experiment.model_validate({**CONTENT, **changes})
        filled = []
        for row in experiment.rows:
            seeds = values.get(row.label, {})
            records = {
                seed: make_record(row.label, seed, ap).model_copy(update={"per_class": {"disc": ap, "ring": ap / 2}})
                for seed, ap in seeds.items()
            }
            failed = (failures or {}).get(row.label, {})
            runs = tuple(
                SimpleNamespace(
                    seed=seed,
                    run_id=f"{(same or {}).get(row.label, row.label)}{seed}",
                    candidate=SimpleNamespace(strategy=SimpleNamespace(label=row.strategy)),
                    splits=SimpleNamespace(train=SimpleNamespace(name="shapes")),
                    recipe=SimpleNamespace(name="tiny"),
                )
                for seed in (0, 1, 2)
            )
            value = Published("COCO", split, {"AP": PUBLISHED[row.label]}) if row.label in PUBLISHED else None
            line = Line(None, row, "shapes", value, runs if row.strategy else ())  # type: ignore[arg-type]
            numbers = [
                {seed: record.metrics for seed, record in records.items()},
                {seed: record.per_class for seed, record in records.items()},
            ]
            filled.append(Filled(line, records, failed, *numbers, pictures=(pictures or {}).get(row.label, {})))
        sheet = Sheet(
            "table3", experiment, scale, load_scale(scale), tuple(one.line for one in filled), (0, 1, 2), settings, ()
        )
        return result_of(sheet, filled)

    return build
