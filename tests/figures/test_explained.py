"""`explain` says what the record says, and the numbers that strategies give are those they go by."""

import json
import math
import statistics
from dataclasses import asdict

import numpy as np
import pytest
import torch

from assignbench.cli.main import main
from assignbench.config import load_recipe
from assignbench.figures.explained import Explanation, explained
from assignbench.figures.given import made
from assignbench.figures.picture import Picture
from assignbench.figures.teachers import Size, teachers
from assignbench.plain_text import json_text
from assignbench.plugins import known_strategies

pytestmark = pytest.mark.usefixtures("small_untrained")

EVERY = [strategy.name for strategy in known_strategies() if strategy.ours]
TINY = Size("tiny", load_recipe("tiny").recipe.data)


def told(strategy: str, picture: Picture, number: int) -> Explanation:
    (teacher,) = teachers([strategy], picture, [], 0, "cpu")
    return explained(teacher, TINY, number)


def key(place):
    return place.level, place.row, place.column, place.anchor


@pytest.mark.parametrize("name", EVERY)
def test_it_says_what_the_record_says(scene, name):
    (teacher,) = teachers([name], scene, [], 0, "cpu")
    taught = teacher.teach(TINY.data)
    pairs, priors, grid = taught.assignment.pairs, taught.priors, taught.grid
    weight = {
        (one, location): (w, b)
        for one, location, w, b in zip(
            pairs.object.tolist(),
            pairs.location.tolist(),
            pairs.weight.tolist(),
            pairs.box_weight.tolist(),
            strict=True,
        )
        if w > 0 or b > 0
    }

    def at(place):
        level = int(place.level[1]) - 3
        return (
            int(grid.start[level]) + (place.row * int(grid.columns[level]) + place.column) * grid.anchors + place.anchor
        )

    for number in (0, 4, 6):
        said = explained(teacher, TINY, number)
        own = {location: values for (one, location), values in weight.items() if one == number}
        assert {at(one.place): (one.weight, one.box_weight) for one in said.positives} == own
        assert bool(said.untaught) == (not own)
        for place in [one.place for one in (*said.positives, *said.rivals)]:
            x, y = (priors.points[at(place)] / torch.tensor(taught.scale)).tolist()
            assert (place.x, place.y) == pytest.approx((x, y))
        for one in said.rivals:
            assert {other - 1 for other in one.objects} == {o for o, location in weight if location == at(one.place)}
            assert number + 1 not in one.objects
        for one in said.positives:
            assert set(one.also) == {o + 1 for o, location in weight if location == at(one.place)} - {number + 1}
        box = taught.targets.boxes[number]
        inside = [
            location
            for location, (x, y) in enumerate(priors.points.tolist())
            if box[0] < x < box[2] and box[1] < y < box[3]
        ]
        assert sum(level.inside for level in said.levels) == len(inside)
        others = {location for one, location in weight if one != number} & set(inside) - own.keys()
        assert others <= {at(one.place) for one in said.rivals}
        ignored = taught.assignment.ignored
        wanted = set() if ignored is None else {location for location in inside if ignored[0, location]}
        assert {at(place) for place in said.ignored} == wanted
        assert said.rule is not None
        candidates = {at(one.place) for one in said.candidates}
        assert own.keys() <= candidates
        assert [level.candidates for level in said.levels] == [
            sum(one.place.level == level.level for one in said.candidates) for level in said.levels
        ]
        assert json.loads(json_text(asdict(said)))["object"] == number + 1


def test_atss_goes_by_mean_and_deviation(scene):
    said = told("atss", scene, 2)  # alone
    overlap = [one.numbers["IoU"] for one in said.candidates]
    mean, deviation = statistics.fmean(overlap), statistics.stdev(overlap)
    assert said.numbers == pytest.approx({"mean IoU": mean, "deviation": deviation, "threshold": mean + deviation})
    chosen = {
        key(one.place) for one in said.candidates if one.numbers["IoU"] >= mean + deviation and one.numbers["inside"]
    }
    assert {key(one.place) for one in said.positives} == chosen != set()


def test_fcos_goes_by_range_and_centre(scene):
    said = told("fcos", scene, 0)
    wide, high = said.network_size
    for one in said.candidates:
        level = next(level for level in said.levels if level.level == one.place.level)
        x = one.place.x / 2 - said.box[0] / 2
        y = one.place.y / 2 - said.box[1] / 2
        reach = max(x, wide - x, y, high - y)
        central = max(abs(x - wide / 2), abs(y - high / 2)) / level.stride
        low, top = one.numbers["range from"], one.numbers["range to"]
        assert one.numbers["reach, pixels"] == pytest.approx(reach, abs=1e-3)
        assert one.numbers["from its centre, strides"] == pytest.approx(central, abs=1e-3)
        fits = (low is None or reach >= low) and (top is None or reach <= top) and central < 1.5
        assert one.numbers["candidate"] == fits
        assert low == (None if level.level == "P3" else 4 * level.stride)
    lost = {key(one.place) for one in said.rivals}
    fits = {key(one.place) for one in said.candidates if one.numbers["candidate"]}
    assert {key(one.place) for one in said.positives} == fits - lost


def test_retinanet_goes_by_overlap(scene):
    said = told("retinanet", scene, 0)
    assert said.numbers["largest IoU"] == pytest.approx(max(one.numbers["IoU"] for one in said.candidates))
    won = {key(one.place) for one in said.positives}
    for one in said.candidates:
        sure = one.numbers["IoU"] >= 0.5 or one.numbers["forced"]
        assert (key(one.place) in won) <= sure
    assert all(key(one.place) not in won for one in said.rivals)


@pytest.mark.parametrize("name", ["simota", "soft_label"])
def test_dynamic_k_takes_the_cheapest(scene, name):
    alone = made(scene.info, scene.pixels, [scene.boxes[0]], ["crescent"], "one")
    said = told(name, alone, 0)
    overlap = sorted((one.numbers["IoU"] for one in said.candidates), reverse=True)
    k = max(1, math.floor(sum(overlap[: 10 if name == "simota" else 13])))
    assert said.numbers["k"] == k == len(said.positives)
    cheapest = sorted(said.candidates, key=lambda one: one.numbers["cost"])[:k]
    assert {key(one.place) for one in cheapest} == {key(one.place) for one in said.positives}
    assert all(one.quality == pytest.approx(one.numbers["IoU"]) for one in said.positives)


def test_autoassign_weighs_by_prior_and_confidence(scene):
    said = told("autoassign", scene, 0)
    product = [one.numbers["centre prior G"] * one.numbers["confidence C"] for one in said.positives]
    np.testing.assert_allclose([one.weight for one in said.positives], np.array(product) / sum(product), rtol=1e-3)
    assert said.numbers == {"μ x, strides": 0, "μ y": 0, "σ x, strides": 1, "σ y": 1}


def test_paa_cuts_and_ota_supplies(scene):
    alone = made(scene.info, scene.pixels, [scene.boxes[0]], ["crescent"], "one")
    said = told("paa", alone, 0)
    assert max(one.numbers["cost e"] for one in said.positives) == pytest.approx(said.numbers["cut"])
    said = told("ota", alone, 0)
    won = {key(one.place) for one in said.positives}
    assert won == {
        key(one.place) for one in said.candidates if one.numbers["share"] >= one.numbers["background's share"]
    }


@pytest.mark.parametrize(
    ("name", "boxes", "number", "sentence"),
    [
        ("fcos", [(0, 0, 100, 100), (24.4, 318.4, 38.6, 333.5)], 1, "No location lies in its box: it is 7.1 × 7.6"),
        ("fcos", [(0, 0, 100, 100), (0, 0, 100, 100)], 1, "It has the same box as object 1."),
        ("plain", [(5, 5, 11, 11), (6, 6, 10, 10)], 0, "All its candidates, 1, teach other objects: object 2 has 1."),
    ],
)
def test_why_nothing_teaches_an_object(scene, name, boxes, number, sentence):
    said = told(name, made(scene.info, scene.pixels, boxes, ["a"] * len(boxes), "boxes"), number)
    assert said.positives == ()
    assert sentence in " ".join(said.untaught)


@pytest.fixture
def say(capsys):
    def say(*arguments):
        code = main(["explain", *map(str, arguments), "--device", "cpu"])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return say


def test_in_words(say):
    code, out, err = say("--assigner", "atss", "--object", 3)
    assert (code, err) == (0, "")
    for words in (
        "atss: object 3 of 7, lollipop, of generated scene 187",
        "17.4 × 34.6 network pixels",
        "threshold 0.105",
        "It is taught at (6 locations)",
        "The candidates are the 9 priors nearest",
    ):
        assert words in out
    code, out, _ = say("--assigner", "fcos", "--object", 7)
    assert "Nothing teaches this object.\n  No location lies in its box" in out
    code, out, _ = say("--assigner", "simota", "--object", 1)
    assert "predictions: untrained detector, seed 0" in out


def test_json_is_one_document(say):
    code, out, err = say("--assigner", "simota", "--object", 1, "--json")
    assert (code, err) == (0, "")
    content = json.loads(out)
    assert content["strategy"] == "simota"
    assert content["positives"][0].keys() >= {"place", "weight", "box_weight", "quality", "numbers"}
    assert content["weights"] == "untrained detector, seed 0"


def test_a_strategy_that_says_nothing_is_still_explained(say, tmp_path):
    (tmp_path / "own.py").write_text(
        "from assignbench.core import *\nclass Own(Assigner):\n    '''Own.'''\n    head = Head()\n"
        "    def forward(self, priors, targets):\n"
        "        objects, locations = inside_pairs(targets, priors)\n"
        "        won = winners(-area(targets.boxes)[objects], objects, locations, targets, priors)\n"
        "        return hard_assignment(objects[won], locations[won], targets)\n"
        "class Asking(Own):\n    '''Own.'''\n    def explain(self, preds):\n        pass\n"
    )
    code, out, _ = say("--assigner", f"{tmp_path / 'own.py'}:Own", "--object", 1)
    assert code == 0
    assert "gives no reasons of its own" in out
    assert "Rivals: in its box, or candidates of it, but they teach others" in out
    code, _, err = say("--assigner", f"{tmp_path / 'own.py'}:Asking")
    assert (code, "Asking.explain asks for 'preds'" in err) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--assigner", "atss", "--object", "99"), "--object 99: generated scene 187 holds 7: 1 crescent"),
        (("--assigner", "atss", "--object", "0"), "--object 0: generated scene 187 holds 7"),
        (("--assigner", "atss,fcos"), "explain is about one strategy, and --assigner names 2"),
        (("--assigner", "atsss"), "did you mean atss?"),
        ((), "name strategies with --assigner"),
    ],
)
def test_wrong_usage_is_one_sentence(say, arguments, message):
    code, out, err = say(*arguments)
    assert (code, out) == (2, "")
    assert message in err
