"""What a file states is read as it is written; what is clear is put right and said, and the rest is named."""

import copy
import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask as masks

from assignbench.data.read.coco import pieces as reading
from assignbench.data.read.coco.coco import read_coco
from assignbench.data.read.coco.file import _ANNOTATIONS, _usual_annotations, read_json
from assignbench.data.read.coco.pieces import Piece, _made, pieces
from assignbench.data.read.findings import ENTRY_MALFORMED, Severity
from assignbench.data.read.raw import RawSplit
from assignbench.errors import DataError

QUIET = settings(
    max_examples=150, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
PLAIN = {
    "info": {"year": 2025, "note": "}], "},
    "images": [
        {"id": 7, "file_name": "a.png", "width": 100, "height": 80},
        {"id": 3, "file_name": "b.png", "width": 60, "height": 90, "license": {"id": 1}},
    ],
    "annotations": [
        {"id": 12, "image_id": 7, "category_id": 9, "bbox": [10, 20.5, 30, 40], "area": 10.5, "iscrowd": 0},
        {"id": 11, "image_id": 7, "category_id": 2, "bbox": [50, 5, 20, 10], "area": None},
        {"id": 5, "image_id": 3, "category_id": 9, "bbox": [0, 0, 60, 45], "area": 20, "iscrowd": 1},
        {"iscrowd": 0, "segmentation": [[1, 1, 5, 5]], "id": 6, "image_id": 3, "category_id": 9, "bbox": [1, 1, 4, 4]},
    ],
    "categories": [{"id": 9, "name": "dog", "supercategory": "animal"}, {"id": 2, "name": "cat"}],
}  # fmt: skip


def read(place: Path, content: Any, **choices: Any) -> RawSplit:
    """Content that is no text or bytes is written as JSON."""
    file = place / "a.json"
    data = content if isinstance(content, bytes | str) else json.dumps(content)
    file.write_bytes(data if isinstance(data, bytes) else data.encode())
    return read_json(file, place / "pictures", "train", hashlib.sha256(), **choices)


def said(found: RawSplit) -> dict[str, list[int] | list[str]]:
    """Kind → places, or sentences."""
    return {
        finding.kind.name: list(finding.details) if finding.table == "nothing" else finding.places.tolist()
        for finding in found.findings
    }


def changed(change: Callable[[Any], object]) -> Any:
    content = copy.deepcopy(PLAIN)
    change(content)
    return content


def test_the_columns_by_hand(tmp_path):
    found = read(tmp_path, PLAIN)
    assert found.findings == []
    assert found.categories == [(9, "dog"), (2, "cat")]
    assert found.images.ids.tolist() == [7, 3]
    assert found.images.sizes.tolist() == [[100, 80], [60, 90]]
    assert [image.path for image in found.images] == [tmp_path / "pictures" / name for name in ("a.png", "b.png")]
    annotations = found.annotations
    assert annotations.ids.tolist() == [12, 11, 5, 6]
    assert annotations.image_ids.tolist() == [7, 7, 3, 3]
    assert annotations.category_ids.tolist() == [9, 2, 9, 9]
    assert annotations.boxes.tolist() == [[10, 20.5, 40, 60.5], [50, 5, 70, 15], [0, 0, 60, 45], [1, 1, 5, 5]]
    assert annotations.crowd.tolist() == [0, -1, 1, 0]
    assert np.array_equal(annotations.areas, [10.5, math.nan, 20, math.nan], equal_nan=True)


def entry(key: str, value: object, at: int = 0, table: str = "annotations") -> Callable[[Any], object]:
    return lambda content: content[table][at].update({key: value})


def without_box(segmentation: object) -> Callable[[Any], object]:
    def change(content: Any) -> None:
        del content["annotations"][0]["bbox"]
        content["annotations"][0]["segmentation"] = segmentation

    return change


BOX = [10, 20.5, 40, 60.5]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (entry("id", 12.0), "whole-with-point"),
        (entry("image_id", 7.0), "whole-with-point"),
        (entry("category_id", 9.0), "whole-with-point"),
        (entry("iscrowd", 0.0), "whole-with-point"),
        (entry("iscrowd", False), "crowd-boolean"),
        (entry("iscrowd", "0"), "number-in-text"),
        (entry("bbox", ["10", 20.5, "3e1", " 40 "]), "number-in-text"),
        (entry("area", "10.5"), "number-in-text"),
        (entry("image_id", "7"), "id-in-text"),
        (entry("image_id", "007"), "id-in-text"),
        (without_box([[10, 60.5, 40, 60.5, 25, 20.5]]), "box-from-polygon"),
        (without_box([[10, 60.5, 11, 60.5], [40, 20.5, 30, 30]]), "box-from-polygon"),
        (without_box([10, 60.5, 40, 60.5, 25, 20.5]), "box-from-polygon"),
    ],
)
def test_what_is_clear_is_put_right_and_counted(tmp_path, change, kind):
    found = read(tmp_path, changed(change))
    plain = read(tmp_path, PLAIN).annotations
    assert said(found) == {kind: [0]}
    assert all(finding.kind.severity is Severity.WARNING and finding.kind.done for finding in found.findings)
    for name in ("ids", "image_ids", "category_ids", "boxes", "areas", "crowd"):
        assert np.array_equal(getattr(found.annotations, name), getattr(plain, name), equal_nan=True), name


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (entry("bbox", [1, 2, 3]), "'bbox' must be [x, y, width, height], not [1, 2, 3]"),
        (entry("bbox", None), "'bbox' must be [x, y, width, height], not None; there is no outline either"),
        (without_box([]), "'bbox' must be [x, y, width, height], not missing; there is no outline either"),
        (
            without_box([[1, 2, 3]]),
            "it has no 'bbox', and 'segmentation' is not made of [x, y, x, y, …] but of [1, 2, 3]",
        ),
        (without_box([[1, 2, 3, None]]), "'segmentation' must hold numbers, not None"),
        (without_box([[1, 2, 3, math.nan]]), "it has no 'bbox', and 'segmentation' has a corner that is not finite"),
        (
            without_box({"size": [3, 4], "counts": "PPYo0"}),
            "it has no 'bbox', only a compressed mask; add the box that pycocotools.mask.toBbox gives for it",
        ),
        (
            without_box({"size": [3, 4], "counts": [5]}),
            "it has no 'bbox', and 'segmentation' is no mask: 'counts' must add up to the area of 'size'",
        ),
        (without_box({"size": [3, 4], "counts": [12]}), "it has no 'bbox', and its mask is empty"),
    ],
)
def test_what_is_not_clear_is_named_and_the_rest_goes_on(tmp_path, change, sentence):
    found = read(tmp_path, changed(change))
    assert said(found) == {"entry-malformed": [f"annotations[0] (annotation 12 of image 7): {sentence}"]}
    assert found.annotations.ids.tolist() == [11, 5, 6]


@QUIET
@given(height=st.integers(1, 6), width=st.integers(1, 6), pixels=st.integers(0, 2**36 - 1))
def test_the_box_around_a_mask_is_that_of_pycocotools(tmp_path, height, width, pixels):
    counts, last = [0], 0
    for pixel in (pixels >> place & 1 for place in range(height * width)):
        counts += [0] if pixel != last else []
        counts[-1] += 1
        last = pixel
    found = read(tmp_path, changed(without_box({"size": [height, width], "counts": counts})))
    mask = masks.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    if masks.area(mask):
        x, y, w, h = masks.toBbox(mask).tolist()
        assert found.annotations.boxes[0].tolist() == [x, y, x + w, y + h]
        assert said(found) == {"box-from-mask": [0]}
    else:
        assert list(said(found)) == ["entry-malformed"]


@pytest.mark.parametrize(
    ("width", "height", "size", "kinds"),
    [
        (100.0, 80, [100, 80], {"whole-with-point": [0]}),
        ("100", 80, [100, 80], {"number-in-text": [0]}),
        (None, 80, [0, 0], {}),
        (0, 0, [0, 0], {}),
        (-5, 80, [0, 0], {}),
        (10**10, 80, [0, 0], {}),
        ("wide", 80, [0, 0], {}),
        (True, 80, [0, 0], {}),
        (99.5, 80, [0, 0], {}),
        (math.nan, 80, [0, 0], {}),
    ],
)
def test_a_size_is_read_or_not_stated(tmp_path, width, height, size, kinds):
    """The picture knows better, so that a size is no reason to leave an entry out."""
    found = read(tmp_path, changed(lambda content: content["images"][0].update(width=width, height=height)))
    assert found.images.sizes.tolist() == [size, [60, 90]]
    assert {kind: places for kind, places in said(found).items() if size[0]} == kinds


def test_ids_that_are_text_are_the_same_numbers_everywhere(tmp_path):
    def change(content: Any) -> None:
        for row in content["images"]:
            row["id"] = f"img-{row['id']}"
        for row in content["annotations"]:
            row |= {"id": f"{row['id']:04}", "image_id": f"img-{row['image_id']}"}

    found = read(tmp_path, changed(change))
    assert found.images.ids.tolist() == [2, 1]  # "img-3" comes first
    assert found.annotations.image_ids.tolist() == [2, 2, 1, 1]
    assert found.annotations.ids.tolist() == [12, 11, 5, 6]
    kinds = [(finding.kind.name, finding.table, finding.count, finding.details[0]) for finding in found.findings]
    assert kinds == [
        ("id-numbered", "images", 2, "id 'img-7' is 2"),
        ("id-numbered", "annotations", 4, "image_id 'img-7' is 2"),
        ("id-in-text", "annotations", 4, "id '0012' is 12"),
    ]


def test_a_text_that_nobody_has_refers_to_nobody(tmp_path):
    found = read(tmp_path, changed(entry("category_id", "bird")))
    assert found.annotations.category_ids[0] not in (9, 2)
    assert said(found) == {"id-numbered": [0]}


def categories(*rows: tuple[int, str, str | None]) -> Callable[[Any], object]:
    new = [{"id": number, "name": name, "supercategory": above} for number, name, above in rows]
    return lambda content: content.update(categories=new)


@pytest.mark.parametrize(
    ("rows", "kept"),
    [
        ([(0, "animals", "none"), (9, "dog", "animals"), (2, "cat", "animals")], [(9, "dog"), (2, "cat")]),
        ([(0, "dog", "none"), (9, "dog", "dog"), (2, "cat", "dog")], [(9, "dog"), (2, "cat")]),  # as Roboflow writes it
        ([(0, "cat", "none"), (9, "dog", "cat"), (2, "cat", "cat")], [(9, "dog"), (2, "cat")]),
        ([(9, "dog", "none"), (2, "cat", "dog")], [(9, "dog"), (2, "cat")]),  # it has objects
        ([(9, "dog", "dog"), (2, "cat", "dog"), (4, "cow", "cow")], [(9, "dog"), (2, "cat"), (4, "cow")]),
        ([(9, "dog", "cow"), (2, "cat", None), (4, "cow", "cow")], [(9, "dog"), (2, "cat"), (4, "cow")]),  # its own
        ([(9, "dog", None), (2, "cat", None), (4, "cat", None)], [(9, "dog"), (2, "cat"), (4, "cat")]),  # the gate's
    ],
)
def test_a_category_that_only_groups_others_is_no_class(tmp_path, rows, kept):
    found = read(tmp_path, changed(categories(*rows)))
    assert found.categories == kept
    gone = [f"category {number} ({name})" for number, name, _ in rows if (number, name) not in kept]
    assert said(found) == ({"category-parent": gone} if gone else {})


def test_blanks_at_the_ends_of_a_class_name_go(tmp_path):
    found = read(tmp_path, changed(categories((0, "x", None), (9, " dog\u00a0", "x"), (2, "cat", None))))
    assert found.categories == [(9, "dog"), (2, "cat")]
    assert said(found) == {"name-blanks": [0], "category-parent": ["category 0 (x)"]}  # the place is that of today


def test_a_split_that_has_no_labels_keeps_its_categories(tmp_path):
    content = changed(categories((0, "x", None), (9, "dog", "x")))
    with pytest.raises(DataError, match="it holds annotations, but this split is known for having none"):
        read(tmp_path, content, labelled=False)
    del content["annotations"]
    assert read(tmp_path, content, labelled=False).categories == [(0, "x"), (9, "dog")]


def test_pictures_go_with_their_objects_and_findings(tmp_path):
    content = changed(lambda content: [row.update(id=float(row["id"])) for row in content["annotations"]])
    content["images"][0]["id"] = 7.0
    (tmp_path / "a.json").write_text(json.dumps(content))
    found = read_coco(tmp_path / "a.json", tmp_path, "train", hashlib.sha256(), left_out=["a.png", "other.png"])
    assert list(found.images.names()) == ["b.png"]
    assert found.annotations.ids.tolist() == [5, 6]
    assert [(finding.table, finding.places.tolist()) for finding in found.findings] == [
        ("annotations", [0, 1]),
        ("nothing", []),
    ]
    assert found.findings[-1].details == ("a.png",)


def test_folders_of_a_name_may_not_count(tmp_path):
    content = changed(entry("file_name", "x/y/a.png", table="images"))
    assert list(read(tmp_path, content, folders=1).images.names()) == ["y/a.png", "b.png"]


# A key given twice: seen by the counts alone, however it is written, and never suspected where all is usual.


def usual(text: str) -> bool:
    made = _made(_ANNOTATIONS, text)
    return _usual_annotations(Piece("annotations", 0, len(json.loads(text)), text, made)) is not None


ROW = '{"id": 1, "image_id": 2, "category_id": 3, "bbox": [1, 2, 3, 4], "area": 5, "iscrowd": 0}'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ROW, True),
        (ROW.replace(', "area": 5', "").replace(', "iscrowd": 0', ""), True),
        (ROW.replace("5", "null").replace("0}", "null}"), True),
        (ROW.replace('"id"', '"note": "a:b", "id"'), True),
        (ROW.replace('"id"', '"note": {"x": [1]}, "id"'), True),
        (ROW.replace('"id"', '"note": "\\u00e9", "id"'), True),
        (ROW.replace('"id"', '"note": {"id": 1}, "id"'), False),  # not certain, hence read with care
        (ROW.replace('"id"', '"id": 7, "id"'), False),
        (ROW.replace('"bbox"', '"bbox" : [1, 2, 3, 4], "bbox"'), False),
        (ROW.replace('"area"', '"area": null, "area"'), False),
        (ROW.replace('"area"', '"area": -1, "area"'), False),
        (ROW.replace('"iscrowd"', '"iscrowd": -1, "iscrowd"'), False),
        (ROW.replace('"id"', '"\\u0069d": 7, "id"'), False),
        (ROW.replace('"image_id"', '"image\\u005fid": 7, "image_id"'), False),
        (ROW.replace('"image_id"', '"image\\u005Fid": 7, "image_id"'), False),
        (ROW.replace('"area": 5', '"area": -1'), False),
        (ROW.replace('"iscrowd": 0', '"iscrowd": -1'), False),
        (ROW.replace('"id": 1', '"id": 9223372036854775808'), False),
        (ROW.replace('"id": 1', '"id": -9223372036854775808'), False),
    ],
)
def test_only_what_is_certain_is_read_at_once(text, expected):
    assert usual(f"[{text}]") is expected
    assert usual(f"[{ROW}, {text}, {ROW}]") is expected


def test_one_entry_without_a_key_does_not_hide_another_that_has_it_twice():
    """The colons of both together are as many as they should be."""
    short = ROW.replace(', "area": 5', "")
    for key in ("area", "id"):
        twice = ROW.replace(f'"{key}"', f'"{key}": 6, "{key}"')
        assert (short + twice).count(":") == 2 * 6
        assert not usual(f"[{short}, {twice}]")


# Whatever is done to a file.

KEYS = {
    "annotations": ("id", "image_id", "category_id", "bbox", "area", "iscrowd"),
    "images": ("id", "file_name", "width", "height"),
    "categories": ("id", "name", "supercategory"),
}


class Pairs(list[tuple[str, Any]]):
    """An object as the file has it."""


def written(value: Any, space: str) -> str:
    if isinstance(value, Pairs):
        return "{" + f",{space}".join(f"{json.dumps(key)}:{space}{written(one, space)}" for key, one in value) + "}"
    if isinstance(value, list):
        return f"[{space}" + f"{space},".join(written(one, space) for one in value) + "]"
    return json.dumps(value)


def nodes(value: Any) -> list[tuple[Any, int]]:
    """Every place in it: container and index."""
    found: list[tuple[Any, int]] = []
    for index, one in enumerate(value):
        found.append((value, index))
        inner = one[1] if isinstance(value, Pairs) else one
        if isinstance(inner, list):
            found += nodes(inner)
    return found


NUMBERS = [0, 1, -1, 7, 7.0, 9, 12, 2.5, 1e300, math.nan, math.inf, 2**53, 2**63, -(2**63), 10**30]
STRINGS = ["", "7", "0012", "x", "2.5", "1_0", " 4", "a\0", "\ud800"]
LISTS = [[], [1, 2, 3, 4], ["1", "2", "3", "4"], [[1, 1, 5, 5]]]
OBJECTS = [Pairs([]), Pairs([("id", 1)]), Pairs([("counts", [2, 3, 1]), ("size", [2, 3])])]
SCRAPS = st.sampled_from([None, True, False, *NUMBERS, *STRINGS, *LISTS, *OBJECTS])
RETYPED: list[Callable[[Any], Any]] = [str, lambda one: [one], lambda one: one, lambda one: Pairs([("id", one)])]
RETYPED += [lambda one: float(one) if isinstance(one, int) else repr(one)]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    tree = json.loads(json.dumps(PLAIN), object_pairs_hook=Pairs)
    for _ in range(draw(st.integers(1, 3))):
        places = nodes(tree)
        container, index = places[draw(st.integers(0, len(places) - 1))]
        pair = isinstance(container, Pairs)
        key, value = container[index] if pair else ("", container[index])
        what = draw(st.sampled_from(["drop", "repeat", "reorder", "replace", "retype"]))
        if what == "drop":
            del container[index]
        elif what == "repeat":
            container.insert(draw(st.integers(0, len(container))), copy.deepcopy(container[index]))
        elif what == "reorder":
            container[:] = draw(st.permutations(container))
        else:
            new = copy.deepcopy(draw(SCRAPS)) if what == "replace" else draw(st.sampled_from(RETYPED))(value)
            container[index] = (key, new) if pair else new
        if not tree:
            break
    text = written(tree, draw(st.sampled_from(["", " ", "\n  "])))
    data = text.encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32-be"])))
    return data[: int(draw(st.floats(0.9, 1)) * len(data))] if draw(st.integers(0, 9)) == 0 else data


def pairs_of(data: bytes) -> Pairs | None:
    """The plainest reading; None when the file must be refused."""
    try:
        tree = json.loads(data, object_pairs_hook=Pairs)
    except (ValueError, RecursionError):
        return None
    if not isinstance(tree, Pairs) or len({key for key, _ in tree}) < len(tree):
        return None
    lists = {key for key, value in tree if isinstance(value, list) and not isinstance(value, Pairs)}
    return tree if lists >= {"images", "annotations", "categories"} else None


def number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def plain(table: str, one: Any) -> dict[str, Any] | None:
    """An entry of which nothing needs to be said, with what it states; else None."""
    if not isinstance(one, Pairs) or [key for key, _ in one if key in KEYS[table]] != list(
        dict.fromkeys(key for key, _ in one if key in KEYS[table])
    ):
        return None
    has = dict(one)
    ids = [has.get(key) for key in KEYS[table] if key.endswith("id")]
    if not all(whole(value) and -(2**62) < value < 2**63 for value in ids):  # type: ignore[operator]
        return None
    if table == "annotations":
        box, area, crowd = has.get("bbox"), has.get("area"), has.get("iscrowd")
        fine = isinstance(box, list) and len(box) == 4 and all(map(number, box))
        fine &= area is None or (number(area) and 0 <= area < math.inf)
        fine &= crowd is None or (whole(crowd) and crowd in (0, 1))
        if not fine:
            return None
        x, y, width, height = (float(value) for value in box)  # type: ignore[union-attr]
        return {
            "ids": has["id"],
            "image_ids": has["image_id"],
            "category_ids": has["category_id"],
            "boxes": [x, y, x + width, y + height],
            "areas": math.nan if area is None else float(area),
            "crowd": -1 if crowd is None else crowd,
        }
    name = has.get("file_name" if table == "images" else "name")
    if not isinstance(name, str) or not name or "\0" in name or "\ud800" in name:
        return None
    if table == "categories" and name != name.strip():
        return None
    size = [has.get("width"), has.get("height")]
    if any(isinstance(side, str | float) for side in size):
        return None  # said, unless the size is not stated then
    return {"id": has["id"], "name": name, "size": size if all(whole(s) and 0 < s < 1e9 for s in size) else [0, 0]}  # type: ignore[operator]


def held_to_account(tree: Pairs, found: RawSplit) -> None:
    """Every entry is as it is written, or something is said of it."""
    content = dict(tree)
    names, sizes = list(found.images.names()), found.images.sizes.tolist()
    rows: dict[str, list[dict[str, Any]]] = {
        "images": [
            {"id": number, "name": name, "size": size}
            for number, name, size in zip(found.images.ids.tolist(), names, sizes, strict=True)
        ],
        "annotations": [
            {key: getattr(found.annotations, key)[at].tolist() for key in vars(found.annotations) if key != "flags"}
            for at in range(len(found.annotations))
        ],
        "categories": [{"id": number, "name": name} for number, name in found.categories],
    }
    sentences = [text for finding in found.findings if finding.kind is ENTRY_MALFORMED for text in finding.details]
    dropped = [text for finding in found.findings if finding.kind.name == "category-parent" for text in finding.details]
    for table, read_rows in rows.items():
        noted = {at for finding in found.findings if finding.table == table for at in finding.places.tolist()}
        aside = {
            at for at in range(len(content[table])) if any(text.startswith(f"{table}[{at}]") for text in sentences)
        }
        kept = [one for at, one in enumerate(content[table]) if at not in aside]
        if table == "categories":
            kept = [
                one for one in kept if f"category {dict(one)['id']} ({str(dict(one)['name']).strip()})" not in dropped
            ]
        assert len(kept) == len(read_rows)
        for at, one in enumerate(content[table]):
            if at in aside:
                assert plain(table, one) is None, one
        for at, (one, row) in enumerate(zip(kept, read_rows, strict=True)):
            states = plain(table, one)
            assert states is not None or at in noted or row.get("size") == [0, 0], one
            if states is not None:
                assert at not in noted, one
                assert repr({key: states[key] for key in row}) == repr(row)
    assert len(sentences) == sum(map(len, (content[table] for table in rows))) - sum(map(len, rows.values())) - len(
        dropped
    )


@settings(QUIET, max_examples=300)
@given(data=mutated(), block=st.sampled_from([1, 150, 250, 400, 1 << 20]))
def test_whatever_is_done_to_a_file_every_entry_is_accounted_for(tmp_path, monkeypatch, data, block):
    monkeypatch.setattr(reading, "BLOCK", block)
    tree = pairs_of(data)
    if tree is None:
        with pytest.raises(DataError, match=r"a\.json") as caught:
            read(tmp_path, data)
        assert str(caught.value).encode()
        return
    found = read(tmp_path, data)
    held_to_account(tree, found)
    for finding in found.findings:
        assert finding.kind.done or finding.kind is ENTRY_MALFORMED
        assert all(detail.encode("utf-8", "backslashreplace") for detail in finding.details)


def test_places_count_in_the_whole_file(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "BLOCK", 1000)
    content = copy.deepcopy(PLAIN)
    content["annotations"] = [{**PLAIN["annotations"][0], "id": number} for number in range(200)]
    for number in range(0, 200, 7):
        content["annotations"][number]["category_id"] = 9.0
    for number in range(3, 200, 50):
        content["annotations"][number]["bbox"] = "wide"
    found = read(tmp_path, content)
    named = [int(text.partition("]")[0].removeprefix("annotations[")) for text in said(found)["entry-malformed"]]
    assert named == [3, 53, 103, 153]
    assert found.annotations.ids[said(found)["whole-with-point"]].tolist() == list(range(0, 200, 7))
    parts = list(pieces(tmp_path / "a.json", hashlib.sha256()))
    assert sum(part.key == "annotations" for part in parts) > 10


def test_the_digest_is_that_of_the_file(tmp_path):
    read(tmp_path, PLAIN)
    digest = hashlib.sha256()
    list(pieces(tmp_path / "a.json", digest))
    assert digest.digest() == hashlib.sha256((tmp_path / "a.json").read_bytes()).digest()
