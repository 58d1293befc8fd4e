"""Where a run detects best, against a slow loop over objects and locations."""

import math
import re
import statistics

import pytest
import torch

from assignbench.core import giou
from assignbench.data.load.batch import load_batch
from assignbench.data.load.transforms import View
from assignbench.figures.best import best_places, best_table
from assignbench.figures.runs import open_runs, training_split


@pytest.fixture(scope="module")
def shown(runs):
    return open_runs([runs["autoassign"], runs["without"], runs["retinanet"]], "cpu")


def slowly(run, dataset):
    """Label → for each object the places of the best location by P⁺, class and box."""
    found: dict[int, list[list[tuple[float, float]]]] = {}
    for index, image in enumerate(dataset.images):
        geometry = View(*run.recipe.data.test_sides).geometry(image.width, image.height)
        batch = load_batch(dataset, [index], [geometry])
        with torch.no_grad():
            predictions, priors = run.learner.detector(batch.images, batch.sizes)
        for box, label in zip(batch.targets.boxes, batch.targets.labels.tolist(), strict=True):
            x0, y0, x1, y1 = box.tolist()
            rows = []
            for location, (x, y) in enumerate(priors.points.tolist()):
                if x0 < x < x1 and y0 < y < y1:
                    cost = 5 * (1 - giou(predictions.boxes[0, location][None], box[None]).item())
                    surprise = math.log1p(math.exp(-predictions.logits_at(*map(torch.tensor, (0, location, label)))))
                    place = (x - (x0 + x1) / 2) / (x1 - x0), (y - (y0 + y1) / 2) / (y1 - y0)
                    rows.append((surprise + cost, surprise, cost, place))
            if rows:
                found.setdefault(label, []).append([min(rows, key=lambda row: row[k])[3] for k in range(3)])
    return found


@pytest.mark.parametrize("which", [0, 1])
def test_best_places_are_those_of_a_slow_loop(shown, root, which):
    dataset = training_split(shown[which].record, root)
    wanted, found = slowly(shown[which], dataset), best_places(shown[which], dataset)
    assert {dataset.classes[label] for label in wanted} == set(found)
    for label, objects in wanted.items():
        one = found[dataset.classes[label]]
        assert one.objects == len(objects)
        for measure, place in enumerate((one.likelihood, one.classes, one.boxes)):
            for axis in (0, 1):
                values = [places[measure][axis] for places in objects]
                assert place.mean[axis] == pytest.approx(statistics.fmean(values), abs=1e-5)
                if len(values) > 1:
                    error = statistics.stdev(values) / math.sqrt(len(values))
                    assert place.error[axis] == pytest.approx(error, abs=1e-5)


def test_the_table_says_what_goes_together(shown, root):
    found = best_places(shown[2], training_split(shown[2].record, root))
    table = best_table(shown[0], shown[2], found)
    assert table.row_count == len(found)
    assert "retinanet" in str(table.title)
    assert "with the mass: " in str(table.caption)
    assert "with the best location: " in str(table.caption)
    assert best_table(shown[2], shown[0], found).caption is None, "it learned no prior"


def test_the_command_marks_them(call, runs, tmp_path):
    file = tmp_path / "a.svg"
    code, out, err = call("4", runs["autoassign"], "--best-of", runs["retinanet"], "--output", file)
    assert (code, err) == (0, "")
    assert "where retinanet" in out
    assert "best location" in file.read_text()
    assert "highest P⁺ by retinanet" in " ".join(re.sub("<[^>]*>", " ", file.read_text()).split())
    code, out, err = call("4", runs["retinanet"], "--best-of", runs["autoassign"], "--output", file)
    assert (code, out) == (2, "")
    assert "learned no centre prior" in err
    code, out, err = call("4", runs["autoassign"], "--best-of", runs["elsewhere"], "--output", file)
    assert code == 2
    assert "a figure needs runs on one data set" in err
