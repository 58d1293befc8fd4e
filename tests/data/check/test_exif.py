"""Pictures of phones: whether boxes refer to what is stored or to what viewers show, by their EXIF tag."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from assignbench.data.check.check import Check, check_dataset
from assignbench.data.check.fix_write import write_fixed
from assignbench.data.decoding import see_pictures
from assignbench.data.pictures import read_picture
from assignbench.data.read.findings import Severity
from assignbench.data.read.raw import items
from assignbench.data.spec.locate import open_dataset
from assignbench.errors import DataError

W, H = 40, 30


@pytest.fixture(autouse=True)
def _own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))


def check(spec: str) -> Check:
    return check_dataset(spec, Path())


def found(one: Check) -> set[str]:
    return {finding.kind.name for finding in one.findings}


def errors(one: Check) -> set[str]:
    return {finding.kind.name for finding in one.findings if finding.kind.severity is Severity.ERROR}


def details(one: Check, kind: str) -> list[str]:
    return [
        str(item.detail)
        for finding in one.findings
        if finding.kind.name == kind
        for item in items(one.raw(finding), finding)
    ]


def repaired(one: Check, folder: Path) -> tuple[str, Check]:
    done = write_fixed(one, folder)
    return str(done.spec), check(str(done.spec))


def phone(folder: Path, orientations: Sequence[int], as_viewed: Collection[int]) -> str:
    """A COCO set of noise with one box around a white patch in each picture, and the EXIF tags of a phone.

    Boxes and sizes of the pictures at ``as_viewed`` are those of the picture as viewers show it. Both splits are alike.
    """
    for part in ("train", "evaluation"):
        (folder / part).mkdir(parents=True)
        rows: dict[str, list] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "patch"}]}
        for place, orientation in enumerate(orientations):
            number = place + 100 * (part == "train")
            stored = np.random.default_rng(number).integers(0, 90, (H, W, 3), dtype=np.uint8)
            stored[4:9, 10:30] = 255
            picture = Image.fromarray(stored)
            exif = picture.getexif()
            exif[ExifTags.Base.Orientation] = orientation
            picture.save(folder / part / f"{number}.png", exif=exif)
            meant = np.asarray(ImageOps.exif_transpose(picture) if place in as_viewed else picture)
            (top, *_, bottom), (left, *_, right) = (
                np.flatnonzero((meant[..., 0] > 200).any(axis=axis)) for axis in (1, 0)
            )
            box = [int(left), int(top), int(right + 1 - left), int(bottom + 1 - top)]
            size = {"width": meant.shape[1], "height": meant.shape[0]}
            rows["images"].append({"id": number, "file_name": f"{number}.png", **size})
            entry = {"id": number + 1, "image_id": number, "category_id": 1, "bbox": box, "area": box[2] * box[3]}
            rows["annotations"].append(entry | {"iscrowd": 0})
        (folder / f"{part}.json").write_text(json.dumps(rows))
    parts = "".join(f"{part}: {{annotations: {part}.json, images: {part}}}\n" for part in ("train", "evaluation"))
    (folder / "phone.yaml").write_text(f"format: coco\n{parts}")
    return str(folder / "phone.yaml")


def patches_fit(spec: str) -> bool:
    """Whether every box holds nothing but its white patch."""
    train = open_dataset(spec, Path()).train
    fits = []
    for number, image in enumerate(train.images):
        x0, y0, x1, y1 = train.boxes[train.objects_of(number)][0].astype(int).tolist()
        fits.append(bool((read_picture(image)[y0:y1, x0:x1] == 255).all()))
    return all(fits)


def test_a_tool_that_turns_pictures_turns_all_of_them(tmp_path):
    """Size shows it for a quarter turn; upside down and mirrored pictures are annotated by the same tool."""
    spec = phone(tmp_path / "set", [1, 6, 3, 8, 2], as_viewed=range(5))
    one = check(spec)
    assert errors(one) == {"picture-turned"}
    alike = [detail for detail in details(one, "picture-turned") if "like 2 whose size shows it" in detail]
    assert len(alike) == 4, "two pictures of each split"
    spec, again = repaired(one, tmp_path / "fixed")
    assert not errors(again)
    assert "picture-rotated" not in found(again), "what boxes of a copy refer to is settled"
    assert patches_fit(spec)


def test_where_sizes_show_both_or_nothing_the_user_is_asked(tmp_path):
    for name, orientations, as_viewed in (("both", [6, 8, 3], [0, 2]), ("none", [1, 3], [1])):
        one = check(phone(tmp_path / name, orientations, as_viewed))
        assert "picture-rotated" in found(one)
        spec, again = repaired(one, tmp_path / f"fixed-{name}")
        assert "picture-rotated" in found(again)
        assert "upright" not in Path(spec).read_text()


def test_a_file_may_say_what_boxes_refer_to(tmp_path):
    spec = phone(tmp_path / "set", [1, 6, 3, 8, 2], as_viewed=range(5))
    with pytest.raises(DataError, match="upright: true in the YAML"):
        see_pictures(open_dataset(spec, Path()), threads=1)
    with Path(spec).open("a") as file:
        file.write("upright: true\n")
    assert patches_fit(spec)
    one = check(spec)
    assert not errors(one)
    assert "picture-rotated" not in found(one)
    spec, again = repaired(one, tmp_path / "fixed")
    assert not errors(again)
    assert patches_fit(spec)
