"""What a page shows of detections: groups, classes, errors and pictures, from two small runs."""

import dataclasses
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from assignbench.analysis.calibration import reliability
from assignbench.analysis.tide import TYPES, tide
from assignbench.data.dataset import Dataset
from assignbench.data.spec.locate import open_dataset
from assignbench.errors import DataError
from assignbench.judging import influences_of
from assignbench.report.errors import error_figures
from assignbench.report.facts import METRICS, gather
from assignbench.report.more import more_of
from assignbench.report.page import More, page
from assignbench.report.where import where_figures
from assignbench.run.results.finished import find_runs
from assignbench.run.results.names import DETECTIONS
from assignbench.run.scoring.detections import read_detections
from assignbench.run.scoring.kept_matches import class_names, found_of, matches_of_run, objects_of
from assignbench.run.scoring.matches import choose


def folders(root: Path) -> dict[str, Path]:
    return {record.run_id: folder for folder, record in find_runs(root).runs}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("more")


@pytest.fixture(scope="module")
def records(small_runs, root):
    outcome, text = small_runs("train.iterations=30", output=root, strategies=("atss", "fcos"))
    assert outcome.exit_code == 0, text
    return sorted(outcome.records, key=lambda record: record.row)


@pytest.fixture(scope="module")
def dataset(few_pictures):
    return open_dataset(str(few_pictures), few_pictures.parent).evaluation


def gathered(root, records, baseline="atss"):
    runs = [(root / record.run_id, record) for record in records]
    influences, _ = influences_of(runs, METRICS)
    return gather(records, pictures=influences, baseline=baseline), influences


@pytest.fixture(scope="module")
def made(root, records, dataset):
    facts, influences = gathered(root, records)
    return facts, *more_of(facts, folders(root), records, influences, lambda _: dataset, pictures=2)


def test_the_table_of_classes_is_that_of_the_records(made, records, dataset):
    _, more, notes = made
    assert notes == ()
    (table,) = [one for one in more.analysis if one.title == "AP on mini.yaml by class"]
    assert table.columns == ("class", "objects", "atss", "fcos")
    objects = np.bincount(dataset.labels[~dataset.crowd], minlength=len(dataset.classes))
    assert [row[1] for row in table.rows] == sorted((n for n in objects.tolist() if n), reverse=True)
    for name, count, *texts in table.rows:
        assert count == objects[dataset.classes.index(name)]
        assert texts == [f"{100 * record.per_class[name]:.1f}" for record in records]  # one seed: no sign


def test_a_group_is_on_the_page_with_its_differences(made):
    facts, more, _ = made
    titles = [one.title for one in more.analysis]
    assert titles[:3] == [
        f"Recall on mini.yaml {how}"
        for how in ("by the size of the object", "by crowding", "by what stands at the object's centre")
    ]
    size = more.analysis[0]
    assert size.when == {"dataset": facts.blocks[0].key}
    points = size.spec["datasets"] if "datasets" in size.spec else size.spec["data"]
    assert "fcos" in str(points)
    text = page(facts, more=more)
    assert "This page was made without" not in text
    assert "Recall on mini.yaml by crowding" in text


def test_errors_and_scores_are_those_of_the_shown_runs(made, root, records, dataset):
    _, more, _ = made
    types, scores = more.errors
    objects = objects_of(dataset)
    for record, row, score in zip(records, types.rows, scores.rows, strict=True):
        found = found_of(dataset, read_detections(dataset, root / record.run_id / DETECTIONS))
        choices = choose(objects, found, len(dataset.classes))
        errors = tide(objects, found, choices, len(dataset.classes))
        assert row[0] == score[0] == record.row
        assert row[1] == pytest.approx(100 * record.metrics["AP50"], abs=1e-3)
        assert row[2 : 2 + len(TYPES)] == pytest.approx([errors.gains[kind] for kind in TYPES], abs=1e-3)
        assert score[2] == pytest.approx(100 * reliability(found, choices).error, abs=1e-3)


def test_pictures_are_drawn(made):
    _, more, _ = made
    (gallery,) = more.galleries
    assert gallery.dataset == "mini.yaml"
    assert len(gallery.pictures) == 2
    assert [panel.row for panel in gallery.pictures[0].panels] in (["atss", "fcos"], ["fcos", "atss"])


def test_signs_stand_with_three_seeds_that_agree(root, records, dataset):
    """Runs of two strategies, one of which finds nothing, repeated as three seeds."""
    (good, bad), colours = records, {"atss": "red", "fcos": "blue"}
    matches, _ = matches_of_run(root / good.run_id, good, lambda _: dataset)
    nothing = type(matches)(
        matches.images,
        matches.image[:0],
        matches.label[:0],
        matches.right[..., :0],
        matches.counted[..., :0],
        matches.objects,
        np.zeros_like(matches.taken),
    )
    runs = [
        (record.model_copy(update={"seed": seed}), found)
        for seed in range(3)
        for record, found in ((good, matches), (bad, nothing))
    ]
    figures = where_figures("key", dataset, runs, "atss", colours)
    by_class = figures[-1]
    assert all(text == "0.0" or text == "0.0 ▼" for *_, text in by_class.rows)
    assert "▲ better and ▼ worse than atss" in by_class.reading
    assert {name for name, *_ in by_class.rows} <= set(class_names(dataset))


def test_data_that_are_not_there_are_said(made, root, records, dataset, tmp_path):
    facts, influences = gathered(root, records)

    def gone(_: str) -> Dataset:
        raise DataError("there is no such folder\nlook elsewhere")

    more, notes = more_of(facts, folders(root), records, influences, gone, pictures=2)
    assert (more.analysis, more.errors, more.galleries) == (None, None, None)
    assert notes == ("mini.yaml: nothing is said of classes, pictures and errors: there is no such folder",)
    _, notes = more_of(facts, folders(root), records, {}, lambda _: dataset, pictures=2)
    assert "no detections are kept" in notes[0]
    copy = tmp_path / "runs"
    shutil.copytree(root, copy)
    for record in records:
        (copy / record.run_id / DETECTIONS).unlink()
    more, notes = more_of(facts, folders(copy), records, influences, lambda _: dataset, pictures=0)
    assert more.analysis is not None  # the matches are kept
    assert more.errors is None
    assert notes[0] == "mini.yaml: nothing is said of the errors of atss: its detections are not there"


@pytest.mark.parametrize("crowd", [False, True], ids=["no objects", "crowds alone"])
def test_a_split_in_which_nothing_is_to_be_found_has_a_page(made, root, records, dataset, crowd):
    facts, *_ = made
    kept = np.full(len(dataset.labels), crowd)
    nothing = dataclasses.replace(
        dataset,
        boxes=dataset.boxes[kept],
        labels=dataset.labels[kept],
        image=dataset.image[kept],
        area=dataset.area[kept],
        annotation_ids=dataset.annotation_ids[kept],
        crowd=np.ones(kept.sum(), dtype=np.bool_),
    )
    runs = [(record, partial(read_detections, nothing, root / record.run_id / DETECTIONS)) for record in records]
    colours = dict.fromkeys(("atss", "fcos"), "#000000")
    errors = error_figures(facts.blocks[0].key, nothing, runs, colours)
    assert [one.title for one in errors] == ["Calibration of scores on mini.yaml"]
    assert "Calibration of scores on mini.yaml" in page(facts, more=More(errors=errors))
