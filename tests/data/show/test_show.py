from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from assignbench.data.check.check import read_raw
from assignbench.data.load.transforms import resized
from assignbench.data.show.draw import COLOURS, Shown, colour_of, colour_of_class, draw_picture
from assignbench.data.show.show import choose, file_name, find, gallery, picture_of, refuse_unknown, save_picture
from assignbench.errors import DataError, SystemProblem, UsageError

GREY = 90


def grey(width: int = 400, height: int = 300) -> Image.Image:
    return Image.new("RGB", (width, height), (GREY, GREY, GREY))


def shown(*box: float, crowd: bool = False, odd: tuple[str, ...] = (), colour: int | None = 1) -> Shown:
    return Shown(7, "cat", colour, (box[0], box[1], box[2], box[3]), crowd, odd)


def is_drawn(picture: Image.Image, colour: str) -> np.ndarray:
    wanted = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)])
    return np.asarray(picture).astype(int)[:300] == wanted


def test_a_box_is_drawn_where_it_is():
    marks = is_drawn(draw_picture(grey(), [shown(100, 50, 300, 250)], "title"), COLOURS[1]).all(-1)
    assert marks[150, 98:103].any()
    assert marks[150, 298:303].any()
    assert marks[248:253, 200].any()
    assert not marks[100:200, 110:290].any()
    assert not marks[260:, :].any()


def test_crowds_are_hatched_and_broken_lines():
    marks = is_drawn(draw_picture(grey(), [shown(100, 50, 300, 250, crowd=True)], "title"), COLOURS[1]).all(-1)
    assert marks[100:200, 110:290].any()
    assert 0.3 < marks[248:253, 100:300].any(axis=0).mean() < 0.8


def test_odd_objects_stand_between_black_lines_and_are_named_below():
    plain, odd = (draw_picture(grey(), [shown(100, 50, 300, 250, odd=odd)], "title") for odd in ((), ("box-clipped",)))
    assert is_drawn(odd, "#000000").all(-1)[245:256, 200].any()
    assert not is_drawn(plain, "#000000").all(-1)[245:256, 200].any()
    assert odd.height > plain.height > 300


@pytest.mark.parametrize(
    "box", [(50, 50, 50, 80), (60, 60, 40, 40), (-1e8, -1e8, 1e8, 1e8), (500, 10, 600, 20), (0, 0, 1e-3, 1e-3)]
)
def test_boxes_that_are_none_are_drawn_all_the_same(box):
    for crowd in (False, True):
        draw_picture(grey(60, 40), [shown(*box, crowd=crowd, odd=("x",), colour=None)], "a long title " * 20)
    draw_picture(grey(1, 1), [], "")
    draw_picture(grey(), [Shown(1, "cat", 0, None, False, ("box-not-finite",))], "title")


def test_every_class_has_its_colour():
    assert len(set(COLOURS)) == len(COLOURS) == 21
    assert colour_of_class(0) == "#E69F00"


def test_a_legend_stands_below_in_the_order_of_the_classes():
    objects = [Shown(n, name, n, (10, 10, 50, 50), False, ()) for n, name in ((2, "c"), (0, "a"), (1, "b"))]
    strip = np.asarray(draw_picture(grey(), objects, "title"))[300:]
    squares = [
        np.flatnonzero((strip == [int(COLOURS[n][at : at + 2], 16) for at in (1, 3, 5)]).all(-1).any(0))
        for n in range(3)
    ]
    assert all(len(one) == 11 for one in squares)
    assert squares[0].max() < squares[1].min() < squares[1].max() < squares[2].min()


@pytest.mark.parametrize("ground", [0, 90, 200, 255])
def test_a_line_is_seen_on_any_ground(ground):
    """Of the line and its edge one at least is far from the ground, by what the eye takes for brightness."""
    for number, colour in enumerate(COLOURS):
        picture = draw_picture(
            Image.new("RGB", (400, 300), (ground,) * 3), [shown(100, 50, 300, 250, colour=number)], ""
        )
        across = np.asarray(picture)[150, 95:106] @ np.array([0.299, 0.587, 0.114])
        assert np.abs(across - ground).max() > 40, colour


def test_colours_go_round_by_class():
    assert colour_of(shown(0, 0, 1, 1, colour=len(COLOURS) + 2)) == COLOURS[2]
    assert colour_of(shown(0, 0, 1, 1, colour=None)) not in COLOURS


def test_a_broken_set_can_be_shown(coco):
    content = coco.content()
    content["annotations"] += [
        coco.annotation(30, [90, 70, 30, 30]),
        coco.annotation(31, [5, 5, 0, 3]),
        coco.annotation(32, [5, 5, float("nan"), 3]),
        coco.annotation(33, [5, 5, 9, 9], category_id=77),
        coco.annotation(34, [5, 5, 9, 9], image_id=99),
    ]
    content["images"][1]["width"] = 61
    _, train, _ = read_raw(coco.write(content), coco.folder)
    one = gallery(train, ["cat", "dog"])
    assert one.odd[3] == ("box-clipped",)
    assert one.odd[4] == ("box-degenerate",)
    assert one.odd[5] == ("box-not-finite",)
    assert one.odd[6] == ("category-unknown",)
    first, second = (picture_of(one, place) for place in (0, 1))
    assert (first.width, second.width) == (400, 360)  # 4 × 100; 6 × 60
    network = picture_of(one, 0, lambda width, height: resized(width, height, 400, 600))
    assert network.width == 500
    assert file_name(one, 0) == "train_7_a.png"


def test_the_choice_is_the_seeds(coco):
    content = coco.content(images=[{"id": i, "file_name": "a.png", "width": 100, "height": 80} for i in range(40)])
    _, train, _ = read_raw(coco.write(content), coco.folder)
    assert choose(train, 5, 0) == choose(train, 5, 0) == sorted(choose(train, 5, 0))
    assert choose(train, 5, 0) != choose(train, 5, 1)
    assert set(choose(train, 5, 0)) < set(choose(train, 9, 0))
    assert choose(train, 99, 0) == list(range(40))
    assert find(train, [3, 99, 1]) == [3, 1]
    with pytest.raises(DataError, match="no image 99"):
        refuse_unknown([3, 99], [train])


def test_a_picture_that_cannot_be_read(coco):
    _, train, _ = read_raw(coco.write(), coco.folder)
    (coco.folder / "train2017" / "a.png").write_text("no picture")
    with pytest.raises(DataError, match=r"a\.png"):
        picture_of(gallery(train, []), 0)


def test_saving_is_all_or_nothing(tmp_path):
    save_picture(grey(), tmp_path / "new" / "a.png")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.png"]
    (tmp_path / "file").touch()
    with pytest.raises(SystemProblem, match="cannot write"):
        save_picture(grey(), Path(tmp_path / "file" / "a.png"))


def test_only_its_own_pictures_are_replaced(tmp_path):
    for _ in range(2):
        save_picture(Image.new("RGB", (3, 2)), tmp_path / "ours.png")
    Image.new("RGB", (9, 9)).save(tmp_path / "train_7_a.png")
    with pytest.raises(UsageError, match=r"train_7_a\.png was not written by data show, and would be overwritten"):
        save_picture(Image.new("RGB", (3, 2)), tmp_path / "train_7_a.png")
    with Image.open(tmp_path / "train_7_a.png") as theirs:
        assert theirs.size == (9, 9)
