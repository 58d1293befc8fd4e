"""The whole gallery, from two small runs."""

import shutil
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assignbench.comparison.influences import influences
from assignbench.data.dataset import Dataset
from assignbench.data.spec.locate import open_dataset
from assignbench.errors import DataError, UsageError
from assignbench.figures.taught import relative_weights, spots, teach
from assignbench.figures.weights import LEAST
from assignbench.report.assigned import assigned_locations, strongest
from assignbench.report.detected import true_objects
from assignbench.report.gallery import QUALITY, SIDE, Gallery, as_jpeg, gallery, shown_runs
from assignbench.report.picture_svg import picture_svg
from assignbench.run.results.finished import find_runs
from assignbench.run.results.record import RunRecord, write_record
from assignbench.run.scoring.kept_matches import kept_matches
from assignbench.run.scoring.reopen import open_run


def folders(root: Path) -> dict[str, Path]:
    return {record.run_id: folder for folder, record in find_runs(root).runs}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("gallery")


@pytest.fixture(scope="module")
def records(small_runs, root) -> Mapping[str, RunRecord]:
    """Row → record: anchors, and points with weights of their own."""
    outcome, text = small_runs(
        "train.iterations=2", "train.warmup=1", output=root, strategies=("retinanet", "autoassign")
    )
    assert outcome.exit_code == 0, text
    return {record.row: record for record in outcome.records}


@pytest.fixture(scope="module")
def dataset(few_pictures) -> Dataset:
    return open_dataset(str(few_pictures), few_pictures.parent).evaluation


@pytest.fixture(scope="module")
def moved(root, records) -> Mapping[str, Mapping[str, np.ndarray]]:
    """Influences: those of the runs, but large ones on the second and the fourth picture."""
    found = {}
    for record in records.values():
        matches = kept_matches(root / record.run_id, record.detections_sha256, record.dataset.evaluation.fingerprint)
        assert matches is not None
        found[record.run_id] = influences(matches, ["AP"])
    found[records["autoassign"].run_id]["AP"][-1][[3, 1]] += 9, -7
    return found


@pytest.fixture(scope="module")
def built(root, records, dataset, moved) -> tuple[Gallery, list[str]]:
    told: list[str] = []
    some, options = [*records.values()], {"baseline": "retinanet", "count": 2, "device": "cpu"}
    return gallery(folders(root), some, moved, dataset, progress=told.append, **options), told


def test_pictures_and_their_numbers(built, records, dataset, moved):
    found, told = built
    assert (found.dataset, found.rows, found.notes) == ("mini.yaml", ("retinanet", "autoassign"), ())
    assert [picture.id for picture in found.pictures] == [dataset.images[3].id, dataset.images[1].id]
    for picture, place in zip(found.pictures, (3, 1), strict=True):
        assert picture.contrast.points == pytest.approx(
            moved[records["autoassign"].run_id]["AP"][-1][place] - moved[records["retinanet"].run_id]["AP"][-1][place]
        )
        assert picture.objects == true_objects(dataset, place)
        assert [panel.row for panel in picture.panels] == ["retinanet", "autoassign"]
        for panel in picture.panels:
            assert panel.influence == moved[panel.run_id]["AP"][-1][place]
            assert panel.remarks == ()
            assert panel.seed == 0
    assert told[:2] == ["detections of retinanet", "locations of retinanet: picture 1 of 2"]


def test_found_as_in_the_kept_matches(built, root, records, dataset):
    for picture, place in zip(built[0].pictures, (3, 1), strict=True):
        for panel in picture.panels:
            record = records[panel.row]
            matches = kept_matches(root / record.run_id, record.detections_sha256, dataset.fingerprint)
            assert panel.detected is not None
            assert matches is not None
            assert panel.detected.found == matches.right[0, 0, matches.image == place].sum()


def test_locations_are_those_of_the_figures(built, root, records, dataset):
    for row, record in records.items():
        run = open_run(root / record.run_id)
        for picture, place in zip(built[0].pictures, (3, 1), strict=True):
            panel = next(panel for panel in picture.panels if panel.row == row)
            taught = teach(run.learner, dataset, place, run.recipe.recipe.data)
            drawn = spots(relative_weights(taught, picture.required), LEAST)
            known = {(level, *map(round3, at)) for level, at in zip(drawn.levels.tolist(), drawn.places, strict=True)}
            everything = strongest(taught, picture.required, 10**6)
            assert {
                (level, *map(round3, at)) for level, at in zip(everything.levels, everything.places, strict=True)
            } == known
            kept = panel.locations
            assert kept is not None
            assert len(kept.levels) + kept.left_out == len(everything.levels) + everything.left_out
            counts = np.bincount(kept.objects, minlength=picture.required)
            assert counts.max() <= 12
            assert (counts == 0).sum() == kept.untaught
            for one in np.flatnonzero(counts):  # the largest ones
                theirs = sorted(
                    f for f, owner in zip(everything.fractions, everything.objects, strict=True) if owner == one
                )
                mine = sorted(f for f, owner in zip(kept.fractions, kept.objects, strict=True) if owner == one)
                assert mine == theirs[-len(mine) :]
                assert mine[-1] == 1


def round3(value: float) -> float:
    return round(float(value), 3)


def test_the_same_every_time(built, root, records, dataset, moved):
    some = [*records.values()][::-1]
    again = gallery(folders(root), some, moved, dataset, baseline="retinanet", count=2, device="cpu")
    assert again == built[0]
    assert [picture_svg(one, panel) for one in again.pictures for panel in one.panels] == [
        picture_svg(one, panel) for one in built[0].pictures for panel in one.panels
    ]


def test_what_is_missing_is_said(root, records, dataset, moved, tmp_path):
    copy = tmp_path / "runs"
    shutil.copytree(root, copy)
    first, second = (records[row].run_id for row in ("retinanet", "autoassign"))
    (copy / first / "weights.safetensors").unlink()
    (copy / first / "detections.json").unlink()
    file = copy / second / "detections.json"
    file.write_text(file.read_text(encoding="utf-8") + " ", encoding="utf-8")
    weights = copy / second / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    found = gallery(folders(copy), [*records.values()], moved, dataset, count=1, device="cpu")
    remarks = {panel.row: panel.remarks for panel in found.pictures[0].panels}
    assert remarks["retinanet"] == (
        "no detections are shown: its detections are not there",
        "no locations: the weights are not there",
    )
    assert remarks["autoassign"][0] == "no detections are shown: its detections are not those of its record"
    assert remarks["autoassign"][1].startswith("no locations: ")
    assert "altered" in remarks["autoassign"][1]
    assert all(panel.detected is panel.locations is None for panel in found.pictures[0].panels)
    without = gallery(folders(copy), [*records.values()], moved, dataset, count=1, locations=False)
    assert len(without.pictures[0].panels[0].remarks) == 1


def test_no_picture_without_a_difference(root, records, dataset):
    found = gallery(folders(root), [*records.values()], {}, dataset, device="cpu")
    assert found.pictures == ()
    assert found.rows == ("autoassign", "retinanet")
    assert len(found.notes) == 2


def test_other_data_is_refused(root, records, few_pictures, moved):
    training = open_dataset(str(few_pictures), few_pictures.parent).train
    with pytest.raises(DataError, match="no longer the data"):
        gallery(folders(root), [*records.values()], moved, training)


def test_a_strangers_code_is_not_run(root, records, dataset, tmp_path):
    """The record names a file that exists and would tell if it were imported."""
    marker = tmp_path / "was imported"
    stranger = tmp_path / "mine.py"
    stranger.write_text(f"open({str(marker)!r}, 'w')\nclass S: pass\n")
    record = records["retinanet"]
    for text, reason in (
        (f"{stranger}:S", f"its strategy comes from {stranger}, whose code a report does not run"),
        (f"{tmp_path}/gone.py:S", "there is no file"),
        ("module_of_mine:S", "its strategy comes from module module_of_mine, whose code"),
        ("retinanet[nothing=1]", "nothing"),
    ):
        config = {**record.config, "assigner.text": record.config["assigner.text"].model_copy(update={"value": text})}
        folder = tmp_path / record.run_id
        folder.mkdir(exist_ok=True)
        write_record(folder, record.model_copy(update={"config": config}))
        shutil.copy(root / record.run_id / "weights.safetensors", folder)
        found, remarks = assigned_locations(folder, record, dataset, [0], "cpu")
        assert found is None
        assert reason in remarks[0]
    assert not marker.exists()


def test_the_first_seed_that_all_have(make_record):
    def seeds(**rows: tuple[int, ...]) -> list[tuple[str, int]]:
        records = [make_record(row, seed) for row, own in rows.items() for seed in own]
        return [(record.row, record.seed) for record in shown_runs(records, "fcos")]

    assert seeds(atss=(0, 1, 2), fcos=(2, 1)) == [("fcos", 1), ("atss", 1)]
    assert seeds(atss=(3, 4), fcos=(2,)) == [("fcos", 2), ("atss", 3)]


def test_pictures_are_small(built):
    picture = Image.open(BytesIO(as_jpeg(np.zeros((200, 3 * SIDE, 3), dtype=np.uint8))))
    assert (picture.format, picture.size) == ("JPEG", (SIDE, 67))
    assert QUALITY == 80
    for one in built[0].pictures:  # small ones stay as they are
        assert Image.open(BytesIO(one.jpeg)).size == (one.width, one.height)


def test_misuse(root, records, dataset, moved):
    with pytest.raises(UsageError, match="a gallery needs finished runs"):
        gallery(folders(root), [], moved, dataset)
    with pytest.raises(UsageError, match="unknown device"):
        gallery(folders(root), [*records.values()], moved, dataset, device="abacus")
