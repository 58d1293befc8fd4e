"""Sets of views: what the shipped ones hold, and what is refused."""

import pytest

from assignbench.config import load_recipe
from assignbench.data.load.transforms import View
from assignbench.errors import UsageError
from assignbench.paths import configs_folder
from assignbench.run.scoring.views import known_views, load_views

RECIPE = load_recipe("1x").recipe
GOOD = "merge: {rule: vote, iou: 0.65}\nviews:\n  - {short_side: 400, long_side: 600}\n"


def load(name, recipe=RECIPE):
    return load_views(str(name), recipe.data, recipe.evaluate)


def written(tmp_path, text):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    return file


def test_the_shipped_sets():
    assert known_views() == ("atss", "flip", "freeanchor")
    for name in known_views():
        file = (configs_folder() / "tta" / f"{name}.yaml").read_text()
        settings = [line for line in file.splitlines() if ":" in line and line[0] == " "]
        assert len(settings) > 6
        assert all("#" in line for line in settings), "every line is commented"
        assert f"{load(name).name}-" in load(name).label


def test_flip_is_the_recipes_size_and_its_mirror_image():
    assert [sized.view for sized in load("flip").views] == [View(800, 1333), View(800, 1333, mirrored=True)]
    tiny = load_recipe("tiny").recipe
    assert {(sized.view.short_side, sized.view.long_side) for sized in load("flip", tiny).views} == {(192, 256)}
    assert load("flip").digest != load("flip", tiny).digest


def test_freeanchor_is_six_sizes_and_the_recipes_suppression():
    view_set = load("freeanchor")
    sizes = [(480, 800), (640, 1067), (800, 1333), (960, 1600), (1120, 1867), (1280, 2133)]
    assert [(sized.view.short_side, sized.view.long_side) for sized in view_set.views] == sizes[::-1]
    assert not any(sized.view.mirrored for sized in view_set.views)
    assert (view_set.merge.rule, view_set.merge.iou, view_set.merge.detections) == ("nms", RECIPE.evaluate.nms, 100)


def test_atss_is_thirteen_sizes_twice():
    view_set = load("atss")
    ranges = {sized.view: (sized.least, sized.below) for sized in view_set.views}
    expected = dict.fromkeys((400, 500), (96, None)) | dict.fromkeys((600, 640, 700), (64, None))
    expected |= dict.fromkeys((900, 1000), (0, None)) | dict.fromkeys((1100, 1200), (0, 256))
    expected |= dict.fromkeys((1300, 1400), (0, 192)) | {1800: (0, 96)}
    wanted = {View(side, 3000, flip): sizes for side, sizes in expected.items() for flip in (False, True)}
    assert ranges == wanted | {View(800, 1333, flip): (0, None) for flip in (False, True)}
    assert len(view_set.views) == 26
    assert (view_set.merge.rule, view_set.merge.iou, view_set.merge.soft) == ("vote", 0.65, 0.05)


def test_the_order_in_the_file_does_not_matter(tmp_path):
    views = [
        "  - {short_side: 400, long_side: 600}\n",
        "  - {short_side: 400, long_side: 600, flip: only}\n",
        "  - {short_side: 500, long_side: 600, below: 64}\n",
        "  - {short_side: 500, long_side: 600, least: 64}\n",
    ]
    head = "merge: {rule: nms}\nviews:\n"
    one, other = (load(written(tmp_path, head + "".join(order))) for order in (views, views[::-1]))
    assert one == other
    assert one.digest == other.digest
    changed = load(written(tmp_path, head + "".join(views).replace("64", "65")))
    assert changed.digest != one.digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1\n", "a mapping is needed, with merge, views"),
        ("merge: {rule: nms}\n", "views is missing: what a picture is looked at in; a non-empty list, each a mapping"),
        (
            "merge: {rule: nms}\nviews: []\n",
            "views = [] must be a non-empty list, each a mapping with some of short_side",
        ),
        ("merge: {rule: nms}\nviews: 3\n", "views = 3 must be a non-empty list"),
        ("merge: {rule: nms}\nviews: [3]\n", "views.1 = 3 must be a mapping with some of short_side"),
        (
            GOOD.replace("merge: {rule: vote, iou: 0.65}", ""),
            "merge is missing: how the views become one; a mapping with some of rule, iou, soft",
        ),
        (GOOD.replace("vote", "soup"), 'merge.rule = "soup" must be one of nms, vote'),
        (GOOD.replace("rule: vote, ", ""), "merge.rule is missing: nms: the candidates"),
        (GOOD.replace(", iou: 0.65", ""), "rule vote needs merge.iou"),
        (GOOD.replace("0.65", "0"), "merge.iou = 0 must be a number > 0 and ≤ 1, or null"),
        (GOOD.replace("0.65", "1.01"), "merge.iou = 1.01 must be a number > 0 and ≤ 1"),
        (GOOD.replace("0.65", '"0.65"'), 'merge.iou = "0.65" must be a number'),
        (GOOD.replace("vote", "nms").replace("}", ", soft: 0.1}", 1), "merge.soft = 0.1 is for rule vote"),
        (GOOD.replace("iou", "iuo"), "unknown key 'merge.iuo'; did you mean iou?"),
        (GOOD.replace("merge:", "merging:"), "unknown key 'merging'; did you mean merge?"),
        (GOOD.replace("long_side", "longside"), "unknown key 'views.1.longside'; did you mean long_side?"),
        (GOOD.replace("400", "4"), "views.1.short_side = 4 must be a whole number ≥ 32 and ≤ 8192, or null"),
        (GOOD.replace("400", "601"), "views.1: short_side = 601 exceeds long_side = 600"),
        (GOOD.replace(", long_side: 600", ""), "views.1: short_side and long_side go together"),
        (GOOD.replace("600}", "600, flip: true}"), "views.1.flip = true must be one of none, only, both"),
        (GOOD.replace("600}", "600, least: 64, below: 64}"), "views.1: least = 64 is not below = 64"),
        (GOOD.replace("600}", "600, least: 96, below: 64}"), "views.1: least = 96 is not below = 64"),
        (GOOD.replace("600}", "600, least: .nan}"), "views.1.least ="),
        (GOOD + GOOD.splitlines()[2] + "\n", "the view 400/600 is there twice for the same sizes"),
        (GOOD + "  - {short_side: 400, long_side: 600, least: 9, flip: both}\n", "the view 400/600 is there twice"),
        (GOOD.replace("400", "800").replace("600", "1333") + "  - {flip: none}\n", "the view 800/1333 is there twice"),
    ],
)
def test_contradictions_are_refused(tmp_path, text, message):
    file = written(tmp_path, text)
    with pytest.raises(UsageError) as error:
        load(file)
    assert message in str(error.value)
    assert str(file) in str(error.value)


def test_a_view_may_come_twice_for_different_sizes(tmp_path):
    file = written(
        tmp_path, GOOD.replace("600}", "600, below: 64}") + GOOD.splitlines()[2].replace("}", ", least: 64}")
    )
    assert len(load(file).views) == 2


def test_an_unknown_set_is_refused_with_the_known_ones():
    with pytest.raises(
        UsageError, match=r"'flop'; did you mean flip\?\nknown: atss, flip, freeanchor; or write a file"
    ):
        load("flop")
    with pytest.raises(UsageError, match=r"no\.yaml: cannot be read"):
        load("no.yaml")
