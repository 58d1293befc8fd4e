"""What is handed to matplotlib is what the strategy's record says, at the right places."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from assignbench.core import pick, sum_by
from assignbench.data.dataset import Dataset
from assignbench.data.load.streams import view_batches
from assignbench.data.load.transforms import View
from assignbench.errors import UsageError
from assignbench.figures.canvas import Paper, broken, confidence_key, fit
from assignbench.figures.confidence import draw_confidence
from assignbench.figures.detections import draw_detections, found_in
from assignbench.figures.parts import draw_parts, meaning_of_blanks, settings_of
from assignbench.figures.picture import Picture, open_object, open_picture, open_pictures
from assignbench.figures.priors import category_priors, chosen_categories, draw_prior, draw_priors
from assignbench.figures.runs import ShownRun, evaluation_split, open_runs
from assignbench.figures.taught import LevelMap, Taught, level_fractions, relative_weights, spots, teach
from assignbench.figures.weights import LEAST, StrategyWeights, draw_weights, levels_with_weight
from assignbench.figures.weights import caption as caption_of_weights
from assignbench.run.scoring.reopen import open_run
from assignbench.run.training.snapshots import load_snapshot, snapshot_file

pytest.importorskip("matplotlib")
from matplotlib.figure import Figure


@pytest.fixture(scope="module")
def shown(runs: Mapping[str, Path]) -> Mapping[str, ShownRun]:
    names = ("autoassign", "without", "retinanet")
    return dict(zip(names, open_runs([runs[name] for name in names], "cpu"), strict=True))


@pytest.fixture(scope="module")
def dataset(shown: Mapping[str, ShownRun], root: Path) -> Dataset:
    return evaluation_split(shown["autoassign"].record, root)


@pytest.fixture(scope="module")
def one(dataset: Dataset) -> tuple[Picture, int]:
    return open_object(dataset, None, None)


def expected(taught: Taught, values: torch.Tensor, locations: torch.Tensor, level: int) -> np.ndarray:
    """Slowly: the largest number at each cell of a level."""
    grid = taught.priors.grid
    start, rows, columns = (int(part[level]) for part in (grid.start, grid.rows, grid.columns))
    found = np.full((rows, columns), np.nan)
    for value, location in zip(values.tolist(), locations.tolist(), strict=True):
        if taught.priors.level[location] == level:
            row, column = divmod((location - start) // grid.anchors, columns)
            found[row, column] = np.nanmax([found[row, column], value])
    return found


def drawn(panel) -> np.ndarray:
    """The cells of a panel; below them lies the picture."""
    return panel.images[-1].get_array().filled(np.nan)


def test_weights_are_their_parts(shown, dataset, one):
    """The record's w⁺ is the product of the parts that are drawn, made to sum to 1 over the box."""
    taught = teach(shown["autoassign"].learner, dataset, one[0].index, shown["autoassign"].recipe.data)
    made, pairs = taught.assignment.diagnostics, taught.assignment.pairs
    product = made["center"] * made["confidence"]
    whole = product / pick(sum_by(product, pairs.object, len(one[0].labels)), pairs.object)
    torch.testing.assert_close(whole, pairs.weight, rtol=1e-4, atol=1e-7)


@pytest.fixture
def narrow(shown: Mapping[str, ShownRun]) -> Iterator[ShownRun]:
    """AutoAssign with a centre prior so narrow that most locations in a box weigh nothing."""
    run = shown["autoassign"]
    sigma = run.learner.assigner.sigma
    before = sigma.detach().clone()
    with torch.no_grad():
        sigma.fill_(0.1)  # type: ignore[operator]
        yield run
        sigma.copy_(before)  # type: ignore[operator]


def test_what_the_record_leaves_out_weighs_nothing_and_stays_blank(narrow, dataset, one):
    picture, _ = one
    number = int((picture.boxes[:, 2:] - picture.boxes[:, :2]).prod(axis=1).argmax())
    taught = teach(narrow.learner, dataset, picture.index, narrow.recipe.data)
    pairs, priors = taught.assignment.pairs, taught.priors
    box = torch.from_numpy(picture.boxes[number] * np.tile(taught.scale, 2))
    inside = ((priors.points > box[:2]) & (priors.points < box[2:])).all(-1)
    mu = narrow.learner.assigner.mu[picture.labels[number]]  # type: ignore[index]
    offset = (priors.points - (box[:2] + box[2:]) / 2) / priors.stride[:, None]
    center = (-((offset - mu) ** 2) / (2 * 0.1**2)).sum(-1).exp() * inside
    left_out = inside.clone()
    left_out[pairs.location[pairs.object == number]] = False
    assert left_out.sum() > 5
    assert center[left_out].sum() * math.e**3 < 1e-7 * center.sum()  # C is at most e³, at least 1

    figure = draw_parts(narrow, dataset, picture, number)
    rows = np.array(figure.axes[1:16], dtype=object).reshape(3, 5)
    for level in range(5):
        blank = ~np.isnan(expected(taught, left_out[left_out], left_out.nonzero()[:, 0], level))
        assert all(np.isnan(drawn(row[level])[blank]).all() for row in rows)
    caption = " ".join(figure.get_supxlabel().split())
    assert "colour: its location lies outside the box, or G is so small there that it weighs nothing." in caption


def test_without_a_centre_weighting_no_cell_is_left_blank(shown):
    record = shown["autoassign"].record
    bare = record.assigner.model_copy(update={"options": {**record.assigner.options, "center": "none"}})
    run = replace(shown["autoassign"], record=record.model_copy(update={"assigner": bare}))
    assert meaning_of_blanks(run) == ""
    assert meaning_of_blanks(shown["autoassign"]).endswith("weighs nothing. ")


@pytest.mark.parametrize("side", [None, 64])
def test_the_picture_is_sized_as_for_evaluation(shown, dataset, one, side):
    run = shown["autoassign"]
    data = run.recipe.data.model_copy(update={"test_short_side": side})
    batches = view_batches(dataset, [View(*data.test_sides)], batch=1, process=0, processes=1, workers=0)
    (batch,) = (batch for batch in batches if batch.indices == (one[0].index,))
    taught = teach(run.learner, dataset, one[0].index, data)
    assert taught.scale == tuple(batch.scales[0].tolist())
    with torch.no_grad():
        seen = {"main": run.learner.detector(batch.images, batch.sizes)}
        wanted = run.learner.charge(seen, batch.targets).assignment
    assert torch.equal(taught.assignment.pairs.location, wanted.pairs.location)
    torch.testing.assert_close(taught.assignment.pairs.weight, wanted.pairs.weight)


def test_pairs_lie_in_their_boxes(shown, dataset, one):
    """In pixels of the original picture."""
    picture, number = one
    run = shown["autoassign"]
    taught = teach(run.learner, dataset, picture.index, run.recipe.data)
    pairs = taught.assignment.pairs
    places = taught.priors.points[pairs.location[pairs.object == number]].numpy() / taught.scale
    x0, y0, x1, y1 = picture.boxes[number]
    assert len(places)
    assert ((places > (x0, y0)) & (places < (x1, y1))).all()
    assert not run.learner.training


def test_figure_3_draws_the_record(shown, dataset, one):
    picture, number = one
    run = shown["autoassign"]
    figure = draw_parts(run, dataset, picture, number)
    taught = teach(run.learner, dataset, picture.index, run.recipe.data)
    made, pairs = taught.assignment.diagnostics, taught.assignment.pairs
    rows = np.array(figure.axes[1:16], dtype=object).reshape(3, 5)
    pictured = [panel for panel in figure.axes if panel.images and panel.images[0].get_array().ndim == 3]
    assert pictured == [figure.axes[0]], "the picture stands there once, all else is pale"
    mine = pairs.object == number
    for level in range(5):
        for panels, values in zip(rows, (made["center"], made["confidence"], pairs.weight), strict=True):
            wanted = expected(taught, values[mine], pairs.location[mine], level)
            np.testing.assert_array_equal(drawn(panels[level]), wanted.astype(np.float32))
        fraction = pairs.weight[mine][taught.priors.level[pairs.location[mine]] == level].sum().item()
        assert level_fractions(taught, number)[level] == pytest.approx(fraction, abs=1e-5)
    assert rows[2][0].images[-1].norm.vmin == 0
    assert [panel.get_title() for panel in rows[0]] == ["P3", "P4", "P5", "P6", "P7"]
    assert not any(panel.get_title() for panel in rows[1:].ravel())


def test_cells_are_centred_on_their_locations(shown, dataset, one):
    picture, number = one
    run = shown["autoassign"]
    figure = draw_parts(run, dataset, picture, number)
    taught = teach(run.learner, dataset, picture.index, run.recipe.data)
    for level, panel in enumerate(figure.axes[1:6]):
        left, right, bottom, top = panel.images[-1].get_extent()
        rows, columns = drawn(panel).shape
        start = int(taught.priors.grid.start[level])
        wide, high = (right - left) / columns, (bottom - top) / rows
        place = taught.priors.points[start].numpy() / taught.scale
        np.testing.assert_allclose((left + wide / 2, top + high / 2), place, rtol=1e-5)
        last = taught.priors.points[start + rows * columns - 1].numpy() / taught.scale
        np.testing.assert_allclose((right - wide / 2, bottom - high / 2), last, rtol=1e-5)


@pytest.mark.parametrize("count", [1, 2])
def test_figure_1_draws_the_records(shown, dataset, count):
    """RetinaNet has nine anchors a cell: the largest counts."""
    pictures = open_pictures(dataset, (), count)
    figure = draw_weights(list(shown.values()), dataset, pictures)
    used = [level for level in range(5) if count == 1 and any(
        (np.nan_to_num(relative_weights(teach(run.learner, dataset, pictures[0].index, run.recipe.data),
                                        len(pictures[0].labels))[level].values) >= LEAST).any()
        for run in shown.values()
    )]  # fmt: skip
    columns = 1 + len(used) if count == 1 else count
    panels = np.array(figure.axes[: 3 * columns], dtype=object).reshape(3, columns)
    for run, line in zip(shown.values(), panels, strict=True):
        for picture, panel in zip(pictures, line, strict=False):
            taught = teach(run.learner, dataset, picture.index, run.recipe.data)
            pairs = taught.assignment.pairs
            fraction = pairs.weight.clone()
            for number in pairs.object.unique():
                fraction[pairs.object == number] /= fraction[pairs.object == number].max()
            spots = {}
            for value, location in zip(fraction.tolist(), pairs.location.tolist(), strict=True):
                level = int(taught.priors.level[location])
                x, y = (taught.priors.points[location].numpy() / taught.scale).round(2).tolist()
                if value >= LEAST:
                    spots[level, x, y] = max(value, spots.get((level, x, y), 0.0))
            (cloud,) = panel.collections
            assert len(cloud.get_offsets()) == len(spots)
            assert sorted(cloud.get_array().tolist()) == pytest.approx(sorted(spots.values()), rel=1e-5)
            for place in spots:
                assert np.abs(cloud.get_offsets() - place[1:]).max(axis=1).min() < 0.02
            if count == 1:
                for level in range(5):
                    wanted = expected(taught, fraction, pairs.location, level)
                    if level in used:
                        np.testing.assert_allclose(drawn(line[1 + used.index(level)]), wanted, rtol=1e-5)
                    else:
                        assert not (wanted >= LEAST).any()
            assert len(panel.patches) == len(picture.boxes)
    titles = [panel.get_title() for panel in panels[0]]
    if count == 1:
        assert [title.split(":")[0] for title in titles] == ["all levels", *(f"P{level + 3}" for level in used)]
    else:
        assert titles == [f"picture {picture.info.id}" for picture in pictures]
        assert not any(panel.get_title() for panel in panels[1:].ravel())


def test_figure_4_draws_the_prior(shown, dataset):
    run = shown["autoassign"]
    found, absent = category_priors(run, dataset, 7)
    assert {one.name for one in found} | set(absent) == set(dataset.classes)
    figure = draw_priors(run, dataset, 7)
    for one, panel in zip(found, figure.axes, strict=False):
        taught = teach(run.learner, dataset, one.picture.index, run.recipe.data)
        stride = 8 * 2 ** int(level_fractions(taught, one.number).argmax())
        x0, y0, x1, y1 = one.picture.boxes[one.number]
        mu, sigma = run.learner.assigner.mu[run.record.dataset.classes.index(one.name)], run.learner.assigner.sigma  # type: ignore
        middle = (
            (x0 + x1) / 2 + mu[0].item() * stride / taught.scale[0],
            (y0 + y1) / 2 + mu[1].item() * stride / taught.scale[1],
        )
        assert one.middle == pytest.approx(middle, abs=1e-3)
        rings = [patch for patch in panel.patches if hasattr(patch, "get_angle") and hasattr(patch, "center")]
        rings = [patch for patch in rings if type(patch).__name__ == "Ellipse"]
        assert [ring.get_center() for ring in rings] == [pytest.approx(middle, abs=1e-3)] * 2
        width = 2 * abs(sigma[run.record.dataset.classes.index(one.name), 0].item()) * stride / taught.scale[0]
        assert rings[0].get_width() == pytest.approx(width, rel=1e-4)
        assert rings[1].get_width() == pytest.approx(2 * width, rel=1e-4)
        offset = (run.record.true_offsets or {})[one.name]
        assert one.truth == pytest.approx(
            ((x0 + x1) / 2 + offset[0] * (x1 - x0), (y0 + y1) / 2 + offset[1] * (y1 - y0))
        )
        assert f"({percent_of(one.fraction)} of w⁺)" in panel.get_title(loc="left")


def test_levels_on_which_nothing_is_drawn_are_left_out_and_named(shown, dataset):
    pictures = open_pictures(dataset, (), 1)

    def of(*levels: float) -> StrategyWeights:
        maps = [LevelMap(f"P{at + 3}", np.array([[value]]), (0, 1, 1, 0)) for at, value in enumerate(levels)]
        return StrategyWeights(maps, spots(maps, LEAST), np.array(levels))

    assert levels_with_weight([of(0.0, 1.0, np.nan, LEAST / 2, 0.0), of(0.0, 0.0, LEAST, 0.0, 0.0)]) == [1, 2]
    assert levels_with_weight([of(np.nan)]) == []
    said = caption_of_weights(list(shown.values()), dataset, pictures, ["P6", "P7"])
    assert "Left out, since nothing is drawn there: P6, P7." in said


def test_runs_of_different_lengths_are_not_compared(shown, dataset):
    run = shown["retinanet"]
    longer = replace(run, record=run.record.model_copy(update={"iterations": 3000}))
    with pytest.raises(UsageError, match=r"equally many iterations, and these runs have autoassign 3, retinanet 3,000"):
        draw_weights([shown["autoassign"], longer], dataset, open_pictures(dataset, (), 1))


def test_captions_say_how_pictures_were_chosen(shown, dataset, one):
    runs = [shown["autoassign"], shown["without"]]
    chosen, named = open_pictures(dataset, (), 1), open_pictures(dataset, (str(dataset.images[0].id),), 1)
    for pictures, words in (
        (chosen, "Picture: of the first 100 those with the most clear objects"),
        (named, "named by"),
    ):
        for figure in (draw_detections(runs, dataset, pictures, 0.1), draw_weights(runs, dataset, pictures)):
            assert words in figure.get_label()
    assert "Picture: of the first 100 the one with the largest object" in draw_parts(runs[0], dataset, *one).get_label()


def test_in_figure_4_all_marks_are_seen(shown, dataset):
    """Wherever the marks lie: in the view, and each of another size, all but the smallest hollow or a cross."""
    run = shown["autoassign"]
    found, _ = category_priors(run, dataset, 1)
    x0, y0, x1, y1 = found[0].picture.boxes[found[0].number]
    away = replace(found[0], middle=(x1 + 40.0, y0 - 30.0), best=(x0 - 20.0, y1 + 50.0), truth=(x0, y0))
    panel = Figure().subplots()
    draw_prior(panel, away)
    (left, right), (bottom, top) = panel.get_xlim(), panel.get_ylim()
    for line in panel.lines:
        (x,), (y,) = line.get_data()
        assert left < x < right
        assert top < y < bottom
    upwards = sorted(panel.lines, key=lambda line: line.get_zorder())
    sizes = [line.get_markersize() for line in upwards]
    assert sizes == sorted(set(sizes), reverse=True), "the smaller on top of the larger"
    assert {line.get_label() for line in upwards} == {
        "prior's centre, μ", "best location", "true centre of mass", "box centre"
    }  # fmt: skip
    assert [line.get_label() for line in upwards if line.get_fillstyle() == "full"][-1] == "prior's centre, μ"
    assert upwards[0].get_fillstyle() == "none"


def test_a_figure_shrinks_to_the_paper_with_its_letters(shown, dataset, one):
    usual, narrow = (draw_parts(shown["autoassign"], dataset, *one, Paper(False, width)) for width in (None, 6.3))
    letters = narrow.axes[0].title.get_fontsize()
    fit(narrow, Paper(False, 6.3))
    assert narrow.get_figwidth() == pytest.approx(6.3)
    assert letters * 0.6 < narrow.axes[0].title.get_fontsize() < letters
    before = usual.get_size_inches().tolist()
    fit(usual, Paper(False, None))
    assert usual.get_size_inches().tolist() == before
    assert usual.get_suptitle() == ""


def percent_of(fraction: float) -> str:
    return f"{100 * fraction:.0f} %"


def test_categories_are_chosen_by_the_length_of_their_mean():
    facts = {
        name: {"mu_x": x, "mu_y": y, "sigma_x": 1.0, "sigma_y": 1.0}
        for name, x, y in (("a", 0, 0), ("b", 0.3, -0.4), ("c", 0.1, 0), ("d", 0, -0.2))
    }
    classes = ("a", "b", "c", "d")
    assert chosen_categories(facts, None, classes, 2) == ["b", "d"]
    assert chosen_categories(facts, {"a": (0.0, 0.2), "c": (0.01, 0.0)}, classes, 1) == ["a", "b"]
    assert chosen_categories({"all": facts["b"]}, {"d": (0.0, 0.1)}, classes, 2) == ["a", "b", "d"]


def test_what_is_no_prior_is_not_shown_as_one(shown):
    run = shown["autoassign"]
    assert "μ = " in settings_of(run, "disc")
    other = replace(run, record=run.record.model_copy(update={"learned": {"all": {"gain": 2.0}}}))
    assert settings_of(other, "disc") == "τ = 0.333"


def test_figure_5_draws_what_is_found(shown, dataset):
    pictures = open_pictures(dataset, (), 2)
    runs = [shown["autoassign"], shown["without"]]  # in the wrong order
    figure = draw_detections(runs, dataset, pictures, 0.01)
    panels = np.array(figure.axes, dtype=object).reshape(2, 2)
    for line, picture in zip(panels, pictures, strict=True):
        for panel, run, which in zip(line, reversed(runs), ("without", "with"), strict=True):
            found = found_in(run, picture, 0.01)
            assert (found.scores >= 0.01).all()
            assert len(panel.patches) == len(found.boxes) + len(picture.boxes)
            right = int(found.right.sum())
            assert not (found.right & found.wrong).any()
            title = f"{which}: {right} of {len(picture.labels)} objects found, {len(found.right) - right} wrong"
            assert panel.get_title(loc="left") == title
    assert len(found_in(runs[0], pictures[0], 1.0).boxes) == 0


def test_nothing_is_asked_for_on_a_crowd_region(shown, dataset):
    (picture,) = open_pictures(dataset, (), 1)
    run = shown["autoassign"]
    before = found_in(run, picture, 0.01)
    assert before.wrong.any()
    where = int(np.flatnonzero(before.wrong)[0])
    crowded = replace(picture, ignored_boxes=before.boxes[[where]], ignored_labels=before.labels[[where]])
    after = found_in(run, crowded, 0.01)
    assert not after.wrong[where]
    assert not after.right[where]
    assert len(after.boxes) == len(before.boxes)


def test_figure_6_draws_every_snapshot(shown, dataset, one, runs):
    picture, number = one
    run = shown["autoassign"]
    final = {name: tensor.clone() for name, tensor in run.learner.state_dict().items()}
    figure = draw_confidence(run, dataset, picture, number)
    assert all(torch.equal(final[name], tensor) for name, tensor in run.learner.state_dict().items())
    columns = [panel for panel in figure.axes if panel.get_title(loc="center")]
    assert [panel.get_title(loc="center") for panel in columns] == ["start", "1", "3"]
    learner = open_run(runs["autoassign"]).learner.eval()
    for column, iteration in enumerate((0, 1, 3)):
        if iteration < 3:
            weights = load_snapshot(snapshot_file(runs["autoassign"], iteration), iteration, run.record.run_id)
            learner.load_state_dict(weights)
        else:
            learner.load_state_dict(final)
        taught = teach(learner, dataset, picture.index, run.recipe.data)
        pairs, confidence = taught.assignment.pairs, taught.assignment.diagnostics["confidence"]
        mine = pairs.object == number
        wanted = [expected(taught, confidence[mine], pairs.location[mine], level) for level in range(5)]
        wanted = [each for each in wanted if not np.isnan(each).all()]
        for row, each in enumerate(wanted):
            panel = figure.axes[row * 3 + column]
            np.testing.assert_allclose(drawn(panel), each, rtol=1e-5)


def test_a_strategy_is_told_how_far_training_was_at_a_snapshot(shown, dataset, one, monkeypatch):
    """A snapshot after i of n iterations is what the step at progress i / n learned with."""
    run, told = shown["autoassign"], []
    assert run.record.iterations == 3
    charge = run.learner.charge
    monkeypatch.setattr(
        run.learner, "charge", lambda *seen, **how: (told.append(how["progress"]), charge(*seen, **how))[1]
    )
    draw_confidence(run, dataset, *one)
    draw_parts(run, dataset, *one)
    assert sorted(told) == [0.0, pytest.approx(1 / 3), 1.0, 1.0]


NOWHERE = (
    r"object 1 of picture \d+ \(.*\) is taught at no location: none lies in its box, or all that do weigh nothing;"
)


@pytest.mark.parametrize("draw", [draw_parts, draw_confidence])
def test_of_an_object_without_a_location_nothing_is_drawn(draw, shown, dataset):
    boxes = dataset.boxes.copy()
    boxes[0] = [10.1, 10.1, 10.4, 10.4]
    small = replace(dataset, boxes=boxes)
    picture = open_picture(small, int(small.image[0]))
    with pytest.raises(UsageError, match=NOWHERE):
        draw(shown["autoassign"], small, picture, 0)


@pytest.mark.parametrize("draw", [draw_parts, draw_confidence])
def test_of_an_object_whose_locations_weigh_nothing_nothing_is_drawn(draw, shown, dataset, one, monkeypatch):
    run = shown["autoassign"]
    nothing = torch.zeros(0, dtype=torch.int64)
    monkeypatch.setattr("assigners.autoassign.central_pairs", lambda *_, **__: (nothing, nothing))
    with pytest.raises(UsageError, match=NOWHERE):
        draw(run, dataset, one[0], 0)


def test_numbers_beside_a_scale_differ():
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    for most, wanted in ((16.0, ["1", "2", "4", "8", "16"]), (1.01, ["1", "1.002", "1.005", "1.007", "1.01"])):
        figure = Figure()
        image = ScalarMappable(LogNorm(1, most), "magma")
        confidence_key(figure, image, [figure.subplots()])
        assert image.colorbar is not None
        assert [text.get_text() for text in image.colorbar.ax.get_yticklabels()] == wanted


def test_names_are_broken_between_their_options():
    assert broken("autoassign", 22) == ["autoassign"]
    assert broken("autoassign[center=none,confidence=off,negative=one]", 22) == [
        "autoassign[",
        "center=none,",
        "confidence=off,",
        "negative=one]",
    ]
    assert broken("autoassign[negative_normaliser=objects]", 22) == ["autoassign[", "negative_normaliser=", "objects]"]
    assert broken("fcos+implicit_objectness, run 1a2b3c", 20) == ["fcos+", "implicit_objectness,", "run 1a2b3c"]
