"""`figure assigned`: what the picture draws is what the record says, for every strategy."""

import json
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure
from PIL import Image

from assignbench.config import load_recipe
from assignbench.data.dataset import Dataset
from assignbench.data.load.batch import load_batch
from assignbench.errors import DataError, UsageError
from assignbench.figures.assigned import LEAST, Assigned, assigned
from assignbench.figures.canvas import SCREEN, Paper, frame_text
from assignbench.figures.given import made, picture_beside, picture_with
from assignbench.figures.picture import open_picture
from assignbench.figures.runs import evaluation_split, open_runs
from assignbench.figures.side_by_side import COLOURS, FAINTEST, UNTAUGHT, colours_of, draw_assigned
from assignbench.figures.taught import Taught, batch_of, geometry_of
from assignbench.figures.teachers import Size, size_for, teachers
from assignbench.plugins import known_strategies

pytestmark = pytest.mark.usefixtures("small_untrained")

EVERY = [strategy.name for strategy in known_strategies() if strategy.ours]
SMALL = Size("smoke", load_recipe("smoke").recipe.data)


def slowly(taught: Taught) -> tuple[dict, set]:
    """(x, y, level, object) → strength of what is drawn, and the cells that are ignored alone; pair by pair."""
    pairs, priors, grid = taught.assignment.pairs, taught.priors, taught.grid
    most: dict[int, float] = defaultdict(float)
    rows = []
    for one, location, weight, box in zip(
        pairs.object.tolist(), pairs.location.tolist(), pairs.weight.tolist(), pairs.box_weight.tolist(), strict=True
    ):
        if weight > 0 or box > 0:
            most[one] = max(most[one], weight)
            rows.append((one, location, weight))

    def cell(location: int) -> tuple[float, float, int]:
        x, y = priors.points[location].tolist()
        return round(x / taught.scale[0], 3), round(y / taught.scale[1], 3), int(priors.level[location])

    drawn: dict[tuple, float] = {}
    for one, location, weight in rows:
        key = (*cell(location), one)
        drawn[key] = max(drawn.get(key, 0.0), weight / most[one] if most[one] else 0.0)
    busy = {cell(location) for _, location, _ in rows}
    ignored = set()
    if taught.assignment.ignored is not None:
        for location in taught.assignment.ignored[0].nonzero()[:, 0].tolist():
            if priors.inside is None or priors.inside[0, location]:
                ignored.add(cell(location))
    assert grid.anchors in (1, 9)
    return {key: value for key, value in drawn.items() if value >= LEAST or value == 0}, ignored - busy


def shown_by(found: Assigned) -> tuple[dict, set]:
    """The same of what the drawing gets."""
    places = zip(found.positive.places.tolist(), found.positive.levels.tolist(), found.objects.tolist(), strict=True)
    keys = [(round(x, 3), round(y, 3), level, one) for (x, y), level, one in places]
    assert len(set(keys)) == len(keys)
    ignored = zip(found.ignored.places.tolist(), found.ignored.levels.tolist(), strict=True)
    return dict(zip(keys, found.strengths.tolist(), strict=True)), {
        (round(x, 3), round(y, 3), level) for (x, y), level in ignored
    }


@pytest.mark.parametrize("name", EVERY)
def test_what_is_drawn_is_the_record(scene, name):
    (teacher,) = teachers([name], scene, [], 0, "cpu")
    taught = teacher.teach(SMALL.data)
    found = assigned(taught)
    (wanted, ignored), (drawn, crossed) = slowly(taught), shown_by(found)
    assert drawn == pytest.approx(wanted)
    assert crossed == ignored
    weights = taught.assignment.pairs.weight.detach()
    by_object = torch.zeros(len(scene.labels)).index_add(0, taught.assignment.pairs.object, weights)
    assert found.untaught == tuple((by_object == 0).nonzero()[:, 0].tolist())
    if len(weights) and bool((weights == 1).all()):
        levels = taught.priors.level[taught.assignment.pairs.location]
        assert found.positives.tolist() == torch.bincount(levels, minlength=5).tolist()
    assert (teacher.weights is None) == (name in {"plain", "fcos", "atss", "retinanet", "fovea"})


@pytest.fixture(scope="module")
def drawn(scene):
    """The figure of a hard strategy with ignored anchors and of a soft one, and what it is of."""
    shown = teachers(["retinanet", "autoassign"], scene, [], 0, "cpu")
    return draw_assigned(shown, scene, SMALL)


def test_the_panels_hold_these_squares_in_these_colours(scene, drawn):
    figure, found = drawn
    colours = colours_of(scene.boxes)
    for panel, each in zip(figure.axes[1:3], found, strict=True):
        *crosses, squares = panel.collections
        fills = defaultdict(set)
        for place, fill in zip(squares.get_offsets().tolist(), squares.get_facecolors(), strict=True):
            fills[tuple(np.round(place, 3))].add((to_hex(fill), round(float(fill[3]), 4)))
        wanted = defaultdict(set)
        for place, one, strength in zip(each.positive.places, each.objects, each.strengths, strict=True):
            alpha = FAINTEST + (1 - FAINTEST) * strength if strength else 0.0
            wanted[tuple(np.round(place, 3))].add((to_hex(to_rgba(colours[one])), round(float(alpha), 4)))
        assert fills == wanted
        assert sum(len(one.get_offsets()) for one in crosses) == len(each.ignored.levels)
    assert sum(len(one.ignored.levels) for one in found) > 0


def test_red_is_of_objects_that_nobody_teaches(scene, drawn):
    figure, found = drawn
    for panel, each in zip(figure.axes[1:3], found, strict=True):
        red = [one for one in panel.patches if to_hex(one.get_edgecolor()) == UNTAUGHT.lower()]
        boxes = {tuple(np.round(one.get_bbox().extents, 2)) for one in red}
        assert boxes == {tuple(np.round(scene.boxes[one], 2)) for one in each.untaught}
        said = f"{len(each.untaught)} taught nowhere" if each.untaught else f"all {len(scene.labels)} taught"
        assert panel.get_title("right") == said
    assert [each.untaught for each in found] == [(), (5, 6)]


def test_several_objects_of_one_cell_are_all_seen(scene):
    box = [100.0, 100.0, 300.0, 300.0]
    twins = made(scene.info, scene.pixels, [box, box, [120.0, 120.0, 280.0, 290.0]], ["a", "b", "c"], "three")
    (teacher,) = teachers(["autoassign"], twins, [], 0, "cpu")
    found = assigned(teacher.teach(SMALL.data))
    assert found.sharing.max() == 3
    for place in {tuple(place) for place in found.positive.places[found.sharing == 3].tolist()}:
        here = (found.positive.places == place).all(1) & (found.sharing == 3)
        for level in set(found.positive.levels[here].tolist()):
            at = here & (found.positive.levels == level)
            assert sorted(found.ranks[at].tolist()) == [0, 1, 2]
            assert sorted(found.objects[at].tolist()) == [0, 1, 2]


def test_of_one_cell_no_square_hides_another(scene):
    box = [100.0, 100.0, 300.0, 300.0]
    three = made(scene.info, scene.pixels, [box, box, [120.0, 120.0, 280.0, 290.0]], ["a", "b", "c"], "three")
    figure, _ = draw_assigned(teachers(["autoassign"], three, [], 0, "cpu"), three, SMALL)
    squares = figure.axes[1].collections[-1]
    seen: dict[tuple, list[float]] = defaultdict(list)
    for place, size in zip(squares.get_offsets().tolist(), squares.get_sizes().tolist(), strict=True):
        seen[tuple(place)].append(size)
    assert max(map(len, seen.values())) == 3
    assert all(sizes == sorted(set(sizes), reverse=True) for sizes in seen.values())


def test_colours_are_apart_and_none_is_red():
    random = np.random.default_rng(0)
    low = random.uniform(0, 400, (40, 2))
    boxes = np.concatenate((low, low + 20), axis=1)
    colours = colours_of(boxes)
    assert colours[: len(COLOURS)] == list(COLOURS)
    assert UNTAUGHT not in COLOURS
    for colour in COLOURS:
        mine = low[[one == colour for one in colours]]
        away = np.hypot(*(mine[:, None] - mine[None]).transpose(2, 0, 1))[~np.eye(len(mine), dtype=bool)]
        assert away.min() > 20
    assert len(colours_of(boxes[:0])) == 0


@pytest.mark.parametrize("side", [64, 192])
def test_a_picture_in_memory_is_the_batch_that_a_split_gives(runs, root, side):
    (run,) = open_runs([runs["retinanet"]], "cpu")
    dataset: Dataset = evaluation_split(run.record, root)
    data = run.recipe.data.model_copy(update={"test_short_side": side, "test_long_side": 256})
    for index in range(len(dataset)):
        geometry = geometry_of(*dataset.size_of(index), data)
        wanted, found = load_batch(dataset, [index], [geometry]), batch_of(open_picture(dataset, index), geometry)
        assert len(wanted.tensors()) == len(found.tensors())
        assert all(torch.equal(one, other) for one, other in zip(wanted.tensors(), found.tensors(), strict=True))
        assert torch.equal(wanted.sizes, found.sizes)


@pytest.mark.parametrize(
    ("width", "height", "recipe"), [(256, 192, "tiny"), (192, 256, "tiny"), (300, 200, "small"), (640, 480, "scratch")]
)
def test_the_recipe_is_the_smallest_that_shrinks_nothing(scene, width, height, recipe):
    picture = made(scene.info.__class__(1, Path("a"), width, height), scene.pixels, [], [], "a")
    assert size_for(picture, None, []).recipe == recipe
    assert size_for(picture, "1x", []).recipe == "1x"
    huge = made(scene.info.__class__(1, Path("a"), 4000, 3000), scene.pixels, [], [], "a")
    assert size_for(huge, None, []).words(huge) == "1067 × 800 network pixels (recipe 1x)"


BOXES = "10 20 60 80 cat, 70 5 95 40 dog"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    file = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)).save(file)
    return file


def write_beside(photo: Path, form: str) -> None:
    boxes = [((10, 20, 60, 80), "cat"), ((70, 5, 95, 40), "dog")]
    if form == "json":
        content = {
            "images": [{"id": 5, "file_name": "far/photo.png", "width": 120, "height": 90},
                       {"id": 6, "file_name": "other.png", "width": 9, "height": 9}],
            "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}, {"id": 3, "name": "elk"}],
            "annotations": [
                {"id": at, "image_id": 5, "category_id": at, "bbox": [x0, y0, x1 - x0, y1 - y0]}
                | {"area": 9, "iscrowd": 0}
                for at, ((x0, y0, x1, y1), _) in enumerate(boxes, start=1)
            ],
        }  # fmt: skip
        photo.with_suffix(".json").write_text(json.dumps(content))
    elif form == "xml":
        objects = "".join(
            f"<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>{x0 + 1}</xmin><ymin>{y0 + 1}</ymin>"
            f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
            for (x0, y0, x1, y1), name in boxes
        )
        size = "<size><width>120</width><height>90</height></size>"
        photo.with_suffix(".xml").write_text(f"<annotation><filename>photo.png</filename>{size}{objects}</annotation>")
    else:
        photo.with_suffix(".txt").write_text(
            "".join(
                f"{at} {(x0 + x1) / 240} {(y0 + y1) / 180} {(x1 - x0) / 120} {(y1 - y0) / 90}\n"
                for at, ((x0, y0, x1, y1), _) in enumerate(boxes)
            )
        )
        photo.with_name("classes.txt").write_text("cat\ndog\nelk\n")


@pytest.mark.parametrize("form", ["json", "xml", "txt"])
def test_annotations_beside_and_boxes_in_words_are_the_same(photo, form):
    write_beside(photo, form)
    (beside, notes), words = picture_beside(photo), picture_with(photo, BOXES)
    assert notes == ()
    np.testing.assert_allclose(beside.boxes, words.boxes, atol=1e-9)
    assert [beside.name(one) for one in range(2)] == [words.name(one) for one in range(2)] == ["cat", "dog"]
    assert beside.classes == ("cat", "dog")
    assert (beside.pixels == words.pixels).all()


@pytest.mark.parametrize(
    ("boxes", "said"),
    [
        ("", "box 1 is ''; write x0 y0 x1 y1"),
        ("1 2 3", "box 1 is '1 2 3'"),
        ("1 2 3 4, 5 6 x 8 cat", "box 2 is '5 6 x 8 cat'"),
        ("1 2 nan 4", "box 1 is '1 2 nan 4'"),
        ("30 2 3 40", "box 1, '30 2 3 40', has no area"),
        ("1 2 121 40 cat", "reaches beyond the picture, which is 120 × 90 pixels"),
        ("-1 2 12 40", "reaches beyond the picture"),
    ],
)
def test_boxes_that_are_none(photo, boxes, said):
    with pytest.raises(UsageError, match=re.escape(said)):
        picture_with(photo, boxes)


def test_pictures_that_have_no_objects_to_go_by(photo):
    with pytest.raises(UsageError, match=r"has no annotation beside it \(photo.json, photo.xml, photo.txt\)"):
        picture_beside(photo)
    write_beside(photo, "json")
    write_beside(photo, "xml")
    with pytest.raises(UsageError, match=r"photo.json and photo.xml; keep one"):
        picture_beside(photo)
    photo.with_suffix(".xml").unlink()
    other = photo.with_name("unlisted.png")
    other.write_bytes(photo.read_bytes())
    photo.with_suffix(".json").rename(other.with_suffix(".json"))
    with pytest.raises(DataError, match=r"names no picture unlisted.png"):
        picture_beside(other)
    other.write_text("text")
    with pytest.raises(DataError, match="it is no picture but text"):
        picture_beside(other)


def test_a_strategy_of_ones_own_and_the_words_of_the_picture(call, photo, tmp_path, capsys):
    (tmp_path / "own.py").write_text(
        "from assigners.plain import Plain\nfrom assignbench.core import *\n"
        "class Own(Assigner):\n    '''Own.'''\n    head = Head()\n"
        "    def forward(self, priors, targets):\n        return Plain(self.setting)(priors, targets)\n"
        "class Typo(Own):\n    '''Own.'''\n    def forward(self, priors, targets):\n        return targets.boxs\n"
    )
    file = tmp_path / "a.svg"
    own = f"plain,{tmp_path / 'own.py'}:Own,simota"
    code, _, err = call("assigned", photo, "--boxes", BOXES, "--assigner", own, "--recipe", "smoke", "--output", file)
    assert (code, err) == (0, "")
    text = re.sub(r"<[^>]*>|\s+", " ", file.read_text())
    text = re.sub(r"\s+", " ", text)
    for words in ("own.py:Own", "untrained detector, seed 0", "85 × 64 network pixels", "recipe smoke", "all 2 taught"):
        assert words in text
    code, _, err = call("assigned", "--assigner", f"{tmp_path / 'own.py'}:Typo", "--output", file)
    assert (code, "fails on generated scene 187: AttributeError" in err, "own.py:11" in err) == (1, True, True)


def test_a_finished_run_lends_its_weights(call, runs, tmp_path):
    file = tmp_path / "a.svg"
    code, out, err = call(
        "assigned", "--assigner", "autoassign,fcos", "--run", runs["autoassign"], "--dataset", "mini3.yaml",
        "--output", file,
    )  # fmt: skip
    assert code == 2, "a data set by a name that is no file here"
    data = runs["autoassign"].parents[1] / "mini3.yaml"
    code, out, err = call(
        "assigned", "--assigner", "autoassign,fcos", "--run", runs["autoassign"], "--dataset", data, "--levels",
        "--no-caption", "--output", file,
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert f"read: run {runs['autoassign'].name.rpartition('-')[2]}" in out
    assert "untrained" not in out
    assert "Which locations teach" not in file.read_text()
    code, _, err = call("assigned", "--run", runs["autoassign"], "--output", file)
    assert code == 0, err  # the scene's classes are those of the run's data
    code, _, err = call("assigned", "--run", runs["autoassign"], "--run", runs["autoassign"])
    assert (code, "is named twice" in err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--assigner", "atsss"), "did you mean atss?"),
        (("--assigner", "atss,atss"), "the strategy atss is named twice"),
        ((), "name strategies with --assigner, or finished runs with --run"),
        (("--assigner", "atss", "--boxes", "1 2 3 4"), "--boxes are the objects of a picture; name its file"),
        (("--assigner", "atss", "--image", "3"), "name that with --dataset"),
        (("a.png", "--assigner", "atss", "--dataset", "shapes"), "name either a picture, a.png, or a data set"),
        (("--assigner", "atss", "--width", "8"), "--width 8: write a number and its unit, as 8.4cm or 3.3in"),
        (("--assigner", "atss", "--width", "nancm"), "a figure is 1.5in (3.81cm) to 60in"),
        (("--assigner", "atss", "--recipe", "tinny"), "tiny"),
    ],
)
def test_wrong_usage_is_one_sentence(call, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = call("assigned", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_as_a_paper_takes_it(call, tmp_path):
    file = tmp_path / "a.png"
    sizes = ("--width", "10cm", "--dpi", "100", "--recipe", "smoke")
    code, out, err = call("assigned", "--assigner", "fcos,atss", "--no-caption", *sizes, "--output", file)
    assert (code, err) == (0, "")
    assert out.startswith("caption: The picture: generated scene 187, ")
    with Image.open(file) as picture:
        assert picture.width == pytest.approx(10 / 2.54 * 100, abs=1)


@pytest.mark.parametrize("letter", ["W", "i", "Σ"])
@pytest.mark.parametrize("inches", [0.8, 3.0, 12.0])
def test_a_caption_ends_where_its_figure_ends(letter, inches):
    figure = Figure(figsize=(inches, 2))
    frame_text(figure, SCREEN, "", " ".join([3 * letter] * 200))
    text = next(one for one in figure.texts if letter in one.get_text())
    assert text.get_window_extent().x1 <= figure.bbox.x1 or inches < 1, "no line is broken inside a word"
    assert text.get_text().split() == [3 * letter] * 200


def test_a_caption_makes_room_for_itself(scene):
    shown = teachers(["fcos"], scene, [], 0, "cpu")
    heights = [
        draw_assigned(shown, scene, SMALL, paper=Paper(caption=some))[0].get_figheight() for some in (True, False)
    ]
    assert heights[0] > heights[1] + 0.5


def test_a_picture_that_would_be_nearly_black_is_refused(tmp_path):
    Image.fromarray(np.full((64, 64), 4000, np.uint16)).save(tmp_path / "dark.png")
    (tmp_path / "dark.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "classes.txt").write_text("cat\n")
    for look in (picture_beside, lambda file: picture_with(file, "10 10 40 40 cat")):
        with pytest.raises(DataError, match=r"dark\.png: no value of its 16-bit pictures is above 4000"):
            look(tmp_path / "dark.png")
