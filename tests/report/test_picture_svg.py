"""The SVG of a picture: whole, escaped, and with names that cover nothing."""

from base64 import b64decode
from dataclasses import replace
from itertools import combinations
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assignbench.report.assigned import Locations
from assignbench.report.contrasts import Contrast
from assignbench.report.detected import Detected, Detection, TrueObject
from assignbench.report.gallery import Panel, Picture
from assignbench.report.picture_svg import COVERED, _Name, legend_svg, picture_svg, placed, shared_image

SVG = "{http://www.w3.org/2000/svg}"


def panel_of(*shown: Detection, scores: tuple[float | None, ...] = (), locations: Locations | None = None) -> Panel:
    return Panel("atss", "run", 0, -0.25, Detected(shown, 0.5, 30, 2, 3, scores), locations, ())


def picture_of(*objects: TrueObject, panels: tuple[Panel, ...] = ()) -> Picture:
    return Picture(12, "a.jpg", 480, 240, b"\xff\xd8 no picture", objects, Contrast("a", "b", (0,), 0.5), panels)


CAT = TrueObject((10, 100, 60, 150), "cat", False)
DOG = TrueObject((200, 100, 260, 150), "dog", False)
CROWD = TrueObject((400, 0, 480, 60), "cat", True)
FOUND = Detection((12, 101, 61, 149), "cat", 0.9, "right", 0)
WRONG = Detection((300, 20, 340, 60), "dog", 0.875, "wrong", None)
TAUGHT = Locations(((30, 120), (40, 130), (220, 120)), (1, 0, 0), (1.0, 0.1, 1.0), (0, 0, 1), 4, 0)


def read(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)  # noqa: S314 - made a line above


def groups(root: ElementTree.Element) -> dict[str, ElementTree.Element]:
    return {name: each for each in root.iter(f"{SVG}g") if (name := each.get("class")) is not None}


def test_what_is_drawn():
    panel = panel_of(FOUND, WRONG, scores=(0.9, 0.2, None), locations=TAUGHT)
    root = read(picture_svg(picture_of(CAT, DOG, CROWD), panel))
    part = groups(root)
    assert list(part) == ["gallery-truth", "gallery-locations", "gallery-detections", "gallery-names"]
    assert [text.text for text in part["gallery-names"].iter(f"{SVG}text")] == [
"dog 0.88", "dog", "cat 0.90",
    ]  # fmt: skip
    assert [title.text for title in part["gallery-detections"].iter(f"{SVG}title")] == [
        "cat, score 0.900: right",
        "dog, score 0.875: wrong",
    ]
    (dashed,) = [each for each in part["gallery-detections"].iter(f"{SVG}g") if each.get("stroke-dasharray")]
    assert [title.text for title in dashed.iter(f"{SVG}title")] == ["dog, score 0.875: wrong"]
    assert [title.text for title in part["gallery-truth"].iter(f"{SVG}title")] == [
        "object: dog; found with score 0.20, which is not shown"
    ]
    dots = [(path.get("d"), path.get("stroke-width")) for path in part["gallery-locations"].iter(f"{SVG}path")]
    assert dots[1::2] == [("M30 120h0", "7"), ("M220 120h0", "7"), ("M40 130h0", "3")]
    image = root.find(f"{SVG}image")
    assert image is not None
    assert b64decode((image.get("href") or "").removeprefix("data:image/jpeg;base64,")) == b"\xff\xd8 no picture"


def test_the_sentence_says_what_is_not_shown():
    panel = panel_of(FOUND, WRONG, scores=(0.9, 0.2, None), locations=TAUGHT)
    root = read(picture_svg(picture_of(CAT, DOG, CROWD), replace(panel, remarks=("the source has changed",))))
    assert root.get("role") == "img"
    assert root.get("aria-label") == (
        "Picture 12 (a.jpg), atss, seed 0; 2 of 2 objects found at IoU 0.5, 1 of them by detections shown; "
        "3 wrong detections with a score of at least 0.50; 2 detections shown, 32 not shown; "
        "3 assigned locations shown, 4 not shown; the source has changed; the picture moves AP by −0.25 percent points"
    )


def test_without_detections_locations_or_pixels():
    panel = replace(panel_of(), detected=None, influence=None)
    root = read(picture_svg(replace(picture_of(CAT, CROWD), jpeg=None), panel))
    assert list(groups(root)) == ["gallery-truth"]
    assert root.find(f"{SVG}image") is None
    assert root.get("aria-label") == "Picture 12 (a.jpg), atss, seed 0"


def test_pixels_once_for_several_panels():
    picture = picture_of(CAT)
    shared = read(shared_image(picture, 'p"1'))
    (group,) = shared.iter(f"{SVG}g")
    panel = panel_of(FOUND, scores=(0.9,))
    (use,) = read(picture_svg(picture, panel, 'p"1')).iter(f"{SVG}use")
    assert use.get("href") == f"#{group.get('id')}" == '#p"1'
    assert "base64" not in picture_svg(picture, panel, "p")


ODD = st.one_of(
    st.sampled_from(["<script>alert(1)</script>", "\"'><b>&amp;", "]]>", "قطة", "😀 猫", "\x00\x1b\udc80\ufffe", ""]),
    st.text(max_size=30),
)


@settings(deadline=None, max_examples=30)
@given(name=ODD, row=ODD, file=ODD, remark=ODD)
def test_names_never_become_markup(name, row, file, remark):
    panel = replace(
        panel_of(replace(FOUND, name=name), replace(WRONG, name=name), scores=(0.9, None), locations=TAUGHT),
        row=row, remarks=(remark,),
    )  # fmt: skip
    plain = picture_svg(picture_of(CAT, DOG), panel_of(FOUND, WRONG, scores=(0.9, None), locations=TAUGHT))
    text = picture_svg(replace(picture_of(replace(CAT, name=name), replace(DOG, name=name)), name=file), panel)
    text.encode("utf-8")
    known = {each.tag for each in read(plain).iter()}
    assert {each.tag for each in read(text).iter()} <= known
    attributes = {key for each in read(plain).iter() for key in each.attrib}
    assert {key for each in read(text).iter() for key in each.attrib} <= attributes


box = st.tuples(st.integers(-20, 470), st.integers(-20, 230), st.integers(1, 300), st.integers(1, 200)).map(
    lambda one: (float(one[0]), float(one[1]), float(one[0] + one[2]), float(one[1] + one[3]))
)


@settings(deadline=None, max_examples=60)
@given(boxes=st.lists(box, max_size=12), high=st.sampled_from([5.0, 14.0, 400.0]))
def test_names_cover_neither_objects_nor_each_other(boxes, high):
    names = [_Name(("some class 0.93", "0.93"), one, "#000000") for one in boxes]
    bounds = (0.0, -16.0, 480.0, 256.0)
    found = placed(names, boxes, bounds, high)
    assert [one for one, *_ in found] == [one for one in names if any(one is name for name, *_ in found)]
    for _, _, (x0, y0, x1, y1) in found:
        assert bounds[0] <= x0 < x1 <= bounds[2] + 1e-9
        assert bounds[1] <= y0 < y1 <= bounds[3] + 1e-9
        for other in boxes:
            assert shared((x0, y0, x1, y1), other) <= COVERED * (x1 - x0) * (y1 - y0) + 1e-9
    for (*_, a), (*_, b) in combinations(found, 2):
        assert shared(a, b) <= 1e-9


def shared(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def test_a_name_that_finds_no_room_is_shortened_or_left_out():
    whole = (0.0, 0.0, 480.0, 240.0)
    wide = _Name(("x" * 90, "0.93"), (100.0, 100.0, 120.0, 120.0), "#000000")
    assert [text for _, text, _ in placed([wide], [], whole, 14)] == ["0.93"]
    assert placed([_Name(("cat",), whole, "#000000")], [whole], whole, 14) == []


@pytest.mark.parametrize("longer", [50, 333, 4000])
def test_lines_and_letters_grow_with_the_picture(longer):
    picture = replace(picture_of(CAT), width=longer, height=longer // 2)
    root = read(picture_svg(picture, panel_of(FOUND, scores=(0.9,))))
    assert float(root.get("font-size") or 0) == pytest.approx(11 * longer / 480, rel=0.01)
    assert root.get("width") == "480"


def test_a_name_from_right_to_left_does_not_turn_its_score_round():
    panel = panel_of(replace(FOUND, name="قطة"), scores=(0.9,))
    (text,) = groups(read(picture_svg(picture_of(CAT), panel)))["gallery-names"].iter(f"{SVG}text")
    assert text.text == "\u2068قطة\u2069 0.90"


def test_the_legend_names_every_sign():
    root = read(legend_svg((0, 2)))
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert [text for text in texts if text and "assigned" in text] == ["assigned on P3", "assigned on P5"]
    assert len(texts) == 8
    assert root.get("aria-label") == "; ".join(text or "" for text in texts)
