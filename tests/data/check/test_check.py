"""One planted defect for each thing that `check` can find; repaired copies have none that training would refuse."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from assignbench.data.check.check import Check, check_dataset
from assignbench.data.check.fix import stored_boxes
from assignbench.data.check.fix_write import Repaired, corners_to_coco, write_fixed
from assignbench.data.read import findings as check_kinds
from assignbench.data.read.findings import KINDS, Severity
from assignbench.data.read.raw import items
from assignbench.data.spec.locate import open_dataset
from assignbench.errors import DataError, UsageError

W, H = 40, 30
COUNT = 3  # pictures of each split that no defect touches
EXIF_ORIENTATION = 0x0112
HARMLESS = {"overlap-id"}  # comes along where entries are copied


def noise(seed: int, width: int = W, height: int = H) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8))


@dataclass
class Split:
    """A split before it is written; every picture i has the annotations 10 i + 1 and 10 i + 2."""

    folder: Path
    first: int
    images: dict[int, dict[str, Any]] = field(default_factory=dict)
    annotations: dict[int, dict[str, Any]] = field(default_factory=dict)
    categories: list[dict[str, Any]] = field(
        default_factory=lambda: [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    )
    more: dict[str, list[Any]] = field(default_factory=lambda: {"images": [], "annotations": []})

    def add(self) -> int:
        number = self.first + len(self.images)
        self.images[number] = {"id": number, "file_name": f"{number}.png", "width": W, "height": H}
        self.folder.mkdir(parents=True, exist_ok=True)
        noise(number).save(self.file(number))
        for rank, box in ((1, [2, 3, 10, 12]), (2, [15, 5, 20, 20])):
            entry = {"id": 10 * number + rank, "image_id": number, "category_id": rank, "bbox": box}
            self.annotations[entry["id"]] = entry | {"area": float(box[2] * box[3]), "iscrowd": 0}
        return number

    def file(self, number: int) -> Path:
        return self.folder / self.images[number]["file_name"]

    def object(self, number: int, rank: int = 1) -> dict[str, Any]:
        return self.annotations[10 * number + rank]

    def content(self) -> dict[str, Any]:
        return {
            "images": [*self.images.values(), *self.more["images"]],
            "annotations": [*self.annotations.values(), *self.more["annotations"]],
            "categories": self.categories,
        }


class Planted:
    """A data set in COCO's layout, sound until something is planted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.train, self.evaluation = Split(folder / "train", 1), Split(folder / "val", 101)
        for split in (self.train, self.evaluation):
            for _ in range(COUNT):
                split.add()

    def write(self) -> str:
        (self.folder / "annotations").mkdir(exist_ok=True)
        for split in (self.train, self.evaluation):
            file = self.folder / "annotations" / f"instances_{split.folder.name}.json"
            file.write_text(json.dumps(split.content()))
        return f"coco:{self.folder}"


Planter = Callable[[Planted, Split, int], None]
DEFECTS: dict[str, Planter] = {}


def defect(plant: Planter) -> Planter:
    """A defect of one picture; its name is that of the finding, up to a double underscore."""
    DEFECTS[plant.__name__.replace("_", "-")] = plant
    return plant


def box(name: str, *bbox: float) -> None:
    DEFECTS[name] = lambda data, split, i: split.object(i).update(bbox=list(bbox))


def missing(name: str, key: str) -> None:
    DEFECTS[name] = lambda data, split, i: split.object(i).pop(key) and None


box("box-degenerate", 5, 5, 0, 4)
box("box-degenerate--negative", 5, 5, 4, -1)
box("box-outside", 50, 5, 4, 4)
box("box-clipped", -1, 5, 10, 10)
box("box-rounded", -0.009, 5, 10, 10)
box("box-thin", 5, 5, 0.001, 10)
box("box-not-finite", 5, 5, float("nan"), 4)
box("box-not-finite--far", 5, 5, 1e12, 4)
box("entry-malformed", 5, 5, 4)
missing("area-missing", "area")
missing("entry-malformed--key", "category_id")
DEFECTS["crowd-missing"] = lambda data, split, i: split.object(i).pop("iscrowd")
DEFECTS["entry-malformed--text"] = lambda data, split, i: split.object(i).update(area="large")
DEFECTS["id-in-text"] = lambda data, split, i: split.object(i).update(category_id="1")
DEFECTS["id-numbered"] = lambda data, split, i: split.object(i).update(id=f"object {i}")
DEFECTS["whole-with-point"] = lambda data, split, i: split.object(i).update(category_id=1.0)
DEFECTS["number-in-text"] = lambda data, split, i: split.object(i).update(area="20.5")
DEFECTS["crowd-boolean"] = lambda data, split, i: split.object(i).update(iscrowd=False)
DEFECTS["box-from-polygon"] = lambda data, split, i: split.object(i).update(
    bbox=None, segmentation=[[5, 5, 12, 5, 12, 14]]
)
DEFECTS["box-from-mask"] = lambda data, split, i: split.object(i).update(
    bbox=None, segmentation={"size": [H, W], "counts": [H + 5, 9, H * W - H - 14]}
)
DEFECTS["entry-malformed--area"] = lambda data, split, i: split.object(i).update(area=-1)
DEFECTS["area-of-picture"] = lambda data, split, i: split.object(i).update(area=W * H)
DEFECTS["area-zero"] = lambda data, split, i: split.object(i).update(area=0)
DEFECTS["crowd"] = lambda data, split, i: split.object(i).update(iscrowd=1)
DEFECTS["annotation-orphan"] = lambda data, split, i: split.object(i).update(image_id=9999)
DEFECTS["category-unknown"] = lambda data, split, i: split.object(i).update(category_id=77)
DEFECTS["annotation-id-zero"] = lambda data, split, i: split.object(i).update(id=0)
DEFECTS["annotation-id-repeated"] = lambda data, split, i: split.object(i, 2).update(id=10 * i + 1)
DEFECTS["size-missing"] = lambda data, split, i: split.images[i].pop("width")
DEFECTS["size-missing--text"] = lambda data, split, i: split.images[i].update(height="tall")
DEFECTS["picture-size"] = lambda data, split, i: split.images[i].update(width=W + 1)
DEFECTS["picture-missing"] = lambda data, split, i: split.file(i).unlink()
DEFECTS["picture-unreadable"] = lambda data, split, i: split.file(i).write_bytes(b"") and None
DEFECTS["picture-damaged"] = lambda data, split, i: split.file(i).write_bytes(split.file(i).read_bytes()[:900])


@defect
def box_repeated(data, split, i):
    split.object(i).update(bbox=split.object(i, 2)["bbox"], category_id=2)


@defect
def image_id_repeated(data, split, i):
    noise(i + 1000).save(split.folder / f"{i}_other.png")
    split.more["images"].append({**split.images[i], "file_name": f"{i}_other.png"})


@defect
def image_id_repeated__equal(data, split, i):
    split.more["images"].append(split.images[i])


@defect
def picture_mislabelled(data, split, i):
    noise(i).save(split.folder / f"{i}.jpg", format="PNG")
    split.file(i).unlink()
    split.images[i]["file_name"] = f"{i}.jpg"


@defect
def picture_rotated(data, split, i):
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 3
    noise(i).save(split.file(i), exif=exif)


@defect
def picture_turned(data, split, i):
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    noise(i, H, W).save(split.file(i), exif=exif)


@defect
def picture_twice(data, split, i):
    split.more["images"].append({**split.images[i], "id": i + 5000})


@defect
def picture_copy(data, split, i):
    noise(i).save(split.folder / f"{i}_copy.png")
    split.more["images"].append({**split.images[i], "id": i + 5000, "file_name": f"{i}_copy.png"})


@defect
def picture_unlisted(data, split, i):
    noise(i + 2000).save(split.folder / f"{i}_extra.png")


@defect
def image_empty(data, split, i):
    del split.annotations[10 * i + 1], split.annotations[10 * i + 2]


@defect
def id_zero(data, split, i):
    split.images[i]["id"] = split.object(i)["image_id"] = split.object(i, 2)["image_id"] = 0


@defect
def overlap_file(data, split, i):
    split.file(i).unlink()
    split.file(i).symlink_to("../val/101.png")


@defect
def overlap_content(data, split, i):
    noise(101).save(split.file(i))


@defect
def overlap_id(data, split, i):
    split.images[i]["id"] = split.object(i)["image_id"] = split.object(i, 2)["image_id"] = 101


TRAIN_ONLY = {"overlap-file", "overlap-content", "overlap-id"}
# What is found beside the defect itself, since one thing is two.
BESIDES = {
    "picture-twice": {"image-empty"},
    "picture-copy": {"image-empty"},
    "image-id-repeated--equal": {"picture-twice"},
}


def kind_of(name: str) -> str:
    return name.partition("--")[0]


def check(spec: str, **options: Any) -> Check:
    return check_dataset(spec, Path(), **options)


def found(one: Check, part: str | None = None) -> set[str]:
    return {finding.kind.name for finding in one.findings if part in (None, finding.part)}


def errors(one: Check) -> set[str]:
    return {finding.kind.name for finding in one.findings if finding.kind.severity is Severity.ERROR}


def named(one: Check, kind: str) -> str:
    """Everything that is said of one kind, with all ids."""
    return "; ".join(
        f"{item} {item.as_json()}"
        for finding in one.findings
        if finding.kind.name == kind
        for item in items(one.raw(finding), finding)
    )


def repaired(one: Check, folder: Path, **options: Any) -> tuple[Repaired, Check, dict[str, Any]]:
    done = write_fixed(one, folder, **options)
    return done, check(str(done.spec)), json.loads(done.report.read_text())


def test_a_sound_set_has_nothing_to_find(tmp_path):
    one = check(Planted(tmp_path / "set").write())
    assert one.findings == ()


@pytest.mark.parametrize("part", ["train", "evaluation"])
@pytest.mark.parametrize("name", DEFECTS)
def test_every_planted_defect_is_found_and_repaired(name, part, tmp_path):
    if part == "evaluation" and name in TRAIN_ONLY:
        return
    data = Planted(tmp_path / "set")
    split = getattr(data, part)
    number = split.add()
    DEFECTS[name](data, split, number)
    one = check(data.write())
    kind = kind_of(name)
    assert kind in found(one)
    assert found(one) - {kind} <= BESIDES.get(name, set()) | HARMLESS
    said = named(one, kind)
    assert str(number) in said or kind in ("id-zero", "annotation-id-zero", "overlap-id", "annotation-orphan"), said
    if errors(one):
        with pytest.raises(DataError):
            strict(one.spec, one)
    done, again, report = repaired(one, tmp_path / "fixed")
    assert not errors(again)
    changed = {change["finding"] for change in report["changes"]}
    remedy = next(known for known in KINDS if known.name == kind).remedy
    training_alone = "in training" in remedy or "if copied" in remedy
    assert bool(remedy) == (kind in changed) or training_alone
    assert {change.kind.name for change in done.changes} == changed
    if remedy and not (training_alone and part == "evaluation") and kind != "picture-mislabelled":
        assert kind not in found(again)
    untouched(one, again)


def strict(spec: str, one: Check) -> None:
    """Training refuses, or a picture is refused when it is read; an overlap only makes a number wrong."""
    from assignbench.data.pictures import read_picture

    splits = open_dataset(spec, Path())
    for dataset in (splits.train, splits.evaluation):
        for image in dataset.images:
            read_picture(image)
    if {name for name in errors(one) if name.startswith("overlap")}:
        raise DataError("evaluated on what was taught")


def untouched(one: Check, again: Check) -> None:
    """Pictures without a defect are what they were."""
    for before, after in ((one.train, again.train), (one.evaluation, again.evaluation)):
        first = 1 if before.part == "train" else 101
        rows = []
        for raw in (before, after):
            mine = raw.annotations.take(np.isin(raw.annotations.image_ids, range(first, first + COUNT)))
            names = dict(raw.categories)
            kinds = [names[number] for number in mine.category_ids.tolist()]
            columns = (mine.ids, mine.image_ids, mine.boxes, mine.areas, mine.crowd)
            rows.append([kinds, *(column.tolist() for column in columns)])
        assert rows[0] == rows[1]
        assert len(rows[0][0]) >= 2 * COUNT


@settings(max_examples=50, derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(sorted(DEFECTS)), st.booleans()), min_size=1, max_size=12, unique=True))
def test_defects_together_are_all_found_and_none_is_left(tmp_path_factory, chosen):
    folder = tmp_path_factory.mktemp("planted")
    data = Planted(folder / "set")
    planted: dict[str, set[str]] = {"train": set(), "evaluation": set()}
    single = {"id-zero", "overlap-id"}  # a second one would be another defect
    for name, in_training in chosen:
        part = "train" if in_training or name in TRAIN_ONLY else "evaluation"
        if name in single and name in planted[part]:
            continue
        split = getattr(data, part)
        DEFECTS[name](data, split, split.add())
        planted[part].add(name)
    one = check(data.write())
    for part, names in planted.items():
        missed = {kind_of(name) for name in names} - found(one, part) - found(one, "both")
        assert not missed
    expected = {kind_of(name) for names in planted.values() for name in names}
    besides = {also for names in planted.values() for name in names for also in BESIDES.get(name, ())}
    # several pictures may share the pixels or the file of one evaluated picture
    assert found(one) <= expected | besides | HARMLESS | {"picture-copy", "picture-twice"}
    done, again, _ = repaired(one, folder / "fixed")
    assert not errors(again)
    kept = {"picture-mislabelled", "picture-rotated", "picture-twice"}
    left = {f.kind.name for f in again.findings if f.kind.severity is Severity.WARNING and f.part == "train"}
    assert left <= kept
    open_dataset(str(done.spec), Path())


CATEGORIES: dict[str, tuple[list[tuple[int, str]], list[tuple[int, str]], set[str]]] = {
    "category-id-repeated": ([(1, "cat"), (2, "dog"), (2, "cow")], [(1, "cat"), (2, "dog")], {"category-unused"}),
    "category-name-repeated": ([(1, "cat"), (2, "cat")], [(1, "cat"), (2, "cat")], set()),
    "class-not-trained": ([(1, "cat"), (2, "dog")], [(1, "cat"), (2, "cow")], {"class-not-evaluated"}),
    "class-not-evaluated": ([(1, "cat"), (2, "dog"), (3, "cow")], [(1, "cat"), (2, "dog")], {"category-unused"}),
    "class-id-differs": ([(1, "cat"), (2, "dog")], [(1, "dog"), (2, "cat")], set()),
    "class-alike": ([(1, "cat"), (2, "Cat")], [(1, "cat"), (2, "Cat")], set()),
    "name-blanks": ([(1, "cat"), (2, "dog ")], [(1, "cat"), (2, "dog")], set()),
    "category-gaps": ([(1, "cat"), (2, "dog"), (9, "cow")], [(1, "cat"), (2, "dog")], {"category-unused"}),
    "category-unused": ([(1, "cat"), (2, "dog"), (3, "cow")], [(1, "cat"), (2, "dog"), (3, "cow")], set()),
    "entry-malformed": ([(1, "cat"), (2, "dog"), (3.5, "cow")], [(1, "cat"), (2, "dog")], set()),  # type: ignore[list-item]
}


@pytest.mark.parametrize("kind", CATEGORIES)
def test_odd_categories(kind, tmp_path):
    train, evaluation, besides = CATEGORIES[kind]
    data = Planted(tmp_path / "set")
    for split, rows in ((data.train, train), (data.evaluation, evaluation)):
        split.categories = [{"id": number, "name": name} for number, name in rows]
    one = check(data.write())
    assert kind in found(one)
    assert found(one) - {kind} <= besides | {"class-not-evaluated"}
    if kind == "category-id-repeated":  # what is left out of training is unknown there
        besides = {"class-not-trained"}
    _, again, _ = repaired(one, tmp_path / "fixed")
    assert not errors(again)
    if kind == "category-name-repeated":
        assert again.train.categories == [(1, "cat")]
        assert set(again.train.annotations.category_ids.tolist()) == {1}


def test_every_kind_has_a_planted_defect():
    elsewhere = {"file-unreadable", "labels-unreadable", "image-listed-again", "refused", "picture-left-out"}
    elsewhere |= {"labels-orphan", "labels-missing"}
    elsewhere |= {"line-respelt", "polygon-suspect", "corners-exchanged", "pixel-origin"}  # of single formats
    elsewhere |= {"polygons-triangles", "labels-otherwise"}
    elsewhere |= {
        "picture-aside",
        "picture-unlabelled",
        "picture-respelt",
        "category-parent",
        "pictures-dim",
        "frames-divided",
        "box-rotated",
        "class-doubtful",
        "boxes-fractions",
        "boxes-beyond",
        "boxes-below-pixel",
        "boxes-crossed",
    }
    assert {kind.name for kind in KINDS} == {*map(kind_of, DEFECTS), *CATEGORIES, *elsewhere}
    assert len({kind.name for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize("text", ["{", "[]", '{"images": [], "categories": []}', '{"images": 3}'])
def test_a_broken_file_is_one_finding_and_cannot_be_repaired(text, tmp_path):
    data = Planted(tmp_path / "set")
    spec = data.write()
    (tmp_path / "set" / "annotations" / "instances_train.json").write_text(text)
    one = check(spec)
    assert found(one) == {"file-unreadable"}
    with pytest.raises(DataError, match="nothing can be repaired"):
        write_fixed(one, tmp_path / "fixed")
    assert not (tmp_path / "fixed").exists()


def test_missing_files_are_said_at_once(tmp_path):
    spec = Planted(tmp_path / "set").write()
    (tmp_path / "set" / "annotations" / "instances_val.json").unlink()
    with pytest.raises(DataError, match="instances_val"):
        check(spec)


def test_quick_reads_headers_only(tmp_path):
    data = Planted(tmp_path / "set")
    DEFECTS["picture-damaged"](data, data.train, 1)
    DEFECTS["overlap-content"](data, data.train, 2)
    DEFECTS["picture-size"](data, data.train, 3)
    spec = data.write()
    assert found(check(spec, quick=True)) == {"picture-size"}
    assert found(check(spec, threads=3)) == {"picture-damaged", "overlap-content", "picture-size"}


def test_what_the_rules_miss_is_still_refused(tmp_path, monkeypatch):
    spec = Planted(tmp_path / "set").write()

    def refuse(*_: object) -> None:
        raise DataError("something new")

    monkeypatch.setattr("assignbench.data.check.check.open_dataset", refuse)
    assert errors(check(spec)) == {"refused"}


def test_pictures_are_copied_under_their_true_suffix(tmp_path):
    data = Planted(tmp_path / "set")
    DEFECTS["picture-mislabelled"](data, data.train, 2)
    done, again, _ = repaired(check(data.write()), tmp_path / "fixed", copy_pictures=True)
    assert found(again) == set()
    assert sorted(path.name for path in (tmp_path / "fixed" / "train").iterdir()) == ["1.png", "2.png", "3.png"]
    (tmp_path / "fixed").rename(tmp_path / "moved")  # all of it is inside
    open_dataset(str(tmp_path / "moved" / done.spec.name), Path())


def test_a_full_folder_is_left_alone(tmp_path):
    one = check(Planted(tmp_path / "set").write())
    (tmp_path / "fixed").mkdir()
    (tmp_path / "fixed" / "mine").touch()
    with pytest.raises(UsageError, match="not empty"):
        write_fixed(one, tmp_path / "fixed")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_nothing_to_keep(tmp_path):
    data = Planted(tmp_path / "set")
    for number in list(data.train.images):
        data.train.file(number).unlink()
    with pytest.raises(DataError, match="no picture of the train split"):
        write_fixed(check(data.write()), tmp_path / "fixed")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_turn_as_viewers_turn_pictures(orientation):
    stored = np.zeros((H, W, 3), np.uint8)
    stored[4:9, 10:30] = 255
    picture = Image.fromarray(stored)
    exif = picture.getexif()
    exif[EXIF_ORIENTATION] = orientation
    shown = np.asarray(ImageOps.exif_transpose(picture))[..., 0]
    (top, *_, bottom), (left, *_, right) = (np.flatnonzero(shown.any(axis=axis)) for axis in (1, 0))
    seen = np.array([[left, top, right + 1, bottom + 1]], dtype=np.float64)
    assert stored_boxes(seen, orientation, W, H).tolist() == [[10, 4, 30, 9]]


def test_written_boxes_are_read_back_as_they_were():
    low = np.random.default_rng(0).uniform(0, 500, (20_000, 2))
    boxes = np.concatenate((low, low + np.random.default_rng(1).uniform(0, 500, (20_000, 2))), axis=1)
    written = corners_to_coco(boxes)
    assert np.array_equal(written[:, :2] + written[:, 2:], boxes[:, 2:])


def test_evaluation_keeps_what_official_scores_need(tmp_path):
    data = Planted(tmp_path / "set")
    for split in (data.train, data.evaluation):
        DEFECTS["box-clipped"](data, split, split.first)
        DEFECTS["box-repeated"](data, split, split.first + 1)
    _, again, report = repaired(check(data.write()), tmp_path / "fixed")
    assert found(again, "train") == set()
    assert found(again, "evaluation") == {"box-clipped", "box-repeated"}
    assert {change["split"] for change in report["changes"]} == {"train"}


def test_a_copy_that_would_be_refused_is_not_left_behind(tmp_path, monkeypatch):
    one = check(Planted(tmp_path / "set").write())

    def refuse(*_: object) -> None:
        raise DataError("something new")

    monkeypatch.setattr("assignbench.data.check.fix_write.open_dataset", refuse)
    with pytest.raises(DataError, match="refused, too: something new"):
        write_fixed(one, tmp_path / "fixed")
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


FORMATS = ["coco", "objects365", "voc", "widerface", "yolo"]


@pytest.mark.parametrize("name", FORMATS)
def test_sound_sets_of_every_format_and_their_copies(name, miniatures, tmp_path):
    mini = miniatures.WRITERS[name](tmp_path / "set")
    one = check_dataset(mini.spec, tmp_path / "set")
    assert all(finding.kind.severity is Severity.NOTE for finding in one.findings), found(one)
    done, again, _ = repaired(one, tmp_path / "fixed")
    assert not errors(again)
    before, after = open_dataset(mini.spec, tmp_path / "set"), open_dataset(str(done.spec), Path())
    for old, new in ((before.train, after.train), (before.evaluation, after.evaluation)):
        assert new.classes == old.classes
        for array in ("boxes", "labels", "image", "area", "crowd"):
            assert np.array_equal(getattr(new, array), getattr(old, array)), array
        assert [image.path.name for image in new.images] == [image.path.name for image in old.images]


def test_odd_voc(voc, tmp_path):
    good = voc.xml(voc.object("cat", 2, 2, 20, 20))
    spec = voc.write(
        trainval={
            "a": good,
            "b": voc.xml(voc.object("dog", "x", 2, 3, 4), voc.object("dog", 1, 2, 30, 40, difficult="")),
            "c": "<annotation>",
            "d": good,
            "e": voc.xml(voc.object("dog", 5, 5, 5, 9), voc.object("dog", 40, 30, 60, 50), size=""),
            "f": good.replace("50", "51"),
        },
        test={
            "g": voc.xml(voc.object("cow", 1, 1, 9, 9), voc.object("cat", 5, "nan", 9, 9)),
            "h": voc.xml(voc.object("cow", 1, 1, 9, 9)),
        },
    )
    (voc.folder / "Annotations" / "d.xml").unlink()
    for stem in "abcdefgh":
        noise(ord(stem), 50, 40).save(voc.folder / "JPEGImages" / f"{stem}.png")
    listed = voc.folder / "ImageSets" / "Main" / "trainval.txt"
    listed.write_text(listed.read_text() + "a\n")
    one = check(spec)
    assert found(one, "train") - {"category-unused"} == {
        "image-listed-again", "entry-malformed", "crowd-missing", "labels-unreadable", "image-empty",
        "box-degenerate", "box-clipped", "picture-size", "size-missing",
    }  # fmt: skip
    assert found(one, "evaluation") == {"class-not-trained", "entry-malformed"}
    assert "object 1" in named(one, "entry-malformed")
    assert "c.png" in named(one, "labels-unreadable")
    assert "d.xml" in named(one, "labels-unreadable")
    done, again, report = repaired(one, tmp_path / "fixed")
    assert not errors(again)
    splits = open_dataset(str(done.spec), Path())
    assert splits.train.classes == ("cat", "dog", "cow")
    assert [image.path.stem for image in splits.train.images] == [
        "a",
        "e",
    ]  # what b states of one object cannot be read
    assert report["splits"]["train"]["images"] == [6, 2]


def test_classes_that_a_specification_names(voc, tmp_path):
    voc.write(
        trainval={"a": voc.xml(voc.object("cat", 2, 2, 20, 20), voc.object("cow", 2, 2, 9, 9))},
        test={"b": voc.xml(voc.object("cat", 2, 2, 20, 20))},
    )
    noise(1, 50, 40).save(voc.folder / "JPEGImages" / "a.png")
    (tmp_path / "my.yaml").write_text(
        f"format: voc\nclasses: [cat]\ntrain: [{{folder: {voc.folder}, list: trainval}}]\n"
        f"evaluation: [{{folder: {voc.folder}, list: test}}]\n"
    )
    one = check(str(tmp_path / "my.yaml"))
    assert errors(one) == {"category-unknown"}
    assert "'cow'" in named(one, "category-unknown")
    _, again, _ = repaired(one, tmp_path / "fixed")
    assert not errors(again)


def test_odd_yolo(miniatures, tmp_path):
    mini = miniatures.WRITERS["yolo"](tmp_path / "set")
    labels = sorted((tmp_path / "set").rglob("lying.txt"))[0]
    labels.write_text(labels.read_text() + "0 0.5 0.5 0.2\n7 0.5 0.5 0.1 0.1\n")
    (labels.parent / "stray.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (labels.parent / "square.txt").unlink()
    picture = next((tmp_path / "set").rglob("upright.*g"))
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 8
    with Image.open(picture) as opened:
        stored = opened.transpose(Image.Transpose.ROTATE_270)
    stored.save(picture, exif=exif)
    one = check_dataset(mini.spec, tmp_path)
    assert found(one, "train") == {
        "entry-malformed", "labels-orphan", "labels-missing", "image-empty"
    }  # fmt: skip
    _, again, _ = repaired(one, tmp_path / "fixed")
    assert not errors(again)
    # 64 × 128 as it is shown; turned to the stored 128 × 64 by hand: x = 128 − y', y = x'
    place = next(place for place, path in enumerate(again.train.images.paths()) if "upright" in path)
    own = again.train.annotations.image_ids == again.train.images.ids[place]
    assert again.train.annotations.boxes[own].tolist() == [[4, 4, 64, 60], [88, 8, 120, 24]]


def test_odd_widerface(miniatures, tmp_path):
    mini = miniatures.WRITERS["widerface"](tmp_path / "set")
    file = next((tmp_path / "set").rglob("*train*gt.txt"))
    lines = file.read_text().splitlines()
    place = next(at for at, line in enumerate(lines) if line.endswith("lying.jpg"))
    assert lines[place + 1] == "2"
    lines[place + 1] = "3"  # one more than there are
    lines.insert(place + 2, "1 2 3 nonsense 0 0 0 0 0 0")
    lines[place + 3] += " 5 5"
    lines.insert(0, "stray")
    file.write_text("\n".join(lines) + "\n")
    one = check_dataset(mini.spec, tmp_path)
    assert errors(one) == {"entry-malformed"}
    said = named(one, "entry-malformed")
    assert all(f"line {line}" in said for line in (1, place + 4, place + 5)), said
    assert len(one.train.images) == len(mini.train)
    _, again, _ = repaired(one, tmp_path / "fixed")
    assert not errors(again)
    lines[place + 2] = "9"
    file.write_text("\n".join(lines) + "\n")
    assert "9 faces" in named(check_dataset(mini.spec, tmp_path), "entry-malformed")


def test_pictures_that_a_specification_leaves_out(tmp_path):
    data = Planted(tmp_path / "set")
    data.train.file(2).unlink()
    data.write()
    (tmp_path / "my.yaml").write_text(
        "format: coco\nleft_out: [2.png]\n"
        "train: {annotations: set/annotations/instances_train.json, images: set/train}\n"
        "evaluation: {annotations: set/annotations/instances_val.json, images: set/val}\n"
    )
    one = check(str(tmp_path / "my.yaml"))
    assert found(one) == {check_kinds.PICTURE_LEFT_OUT.name}
