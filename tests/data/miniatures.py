"""One small data set in every format: the same pictures with the same boxes, written as each publisher would.

The pictures show what the boxes say, so they can be looked at. Boxes have whole pixels, and sides that a computer
divides exactly, so every format states them without rounding.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

COLOURS = {"cat": (230, 120, 40), "dog": (60, 140, 230)}
ODD_IDS = {"cat": 2, "dog": 9}  # COCO's own ids have gaps

Box = tuple[int, int, int, int]  # x0 y0 x1 y1


@dataclass(frozen=True)
class Truth:
    """One object."""

    name: str
    box: Box
    ignored: bool = False  # crowd, difficult or invalid


@dataclass(frozen=True)
class Picture:
    name: str  # without suffix
    width: int
    height: int
    objects: tuple[Truth, ...]


@dataclass(frozen=True)
class Miniature:
    """A data set on the disk, and what is true of it."""

    spec: str  # opens it
    classes: tuple[str, ...]  # in the order of the labels
    train: tuple[Picture, ...]  # in the order in which the reader numbers them
    evaluation: tuple[Picture, ...]


TRAIN = (
    Picture("lying", 128, 64, (Truth("cat", (8, 8, 40, 48)), Truth("dog", (64, 16, 120, 56)))),
    Picture("nothing", 64, 64, ()),
    Picture("square", 128, 128, (Truth("dog", (16, 32, 80, 112)), Truth("cat", (72, 8, 120, 56), ignored=True))),
    Picture("upright", 64, 128, (Truth("cat", (4, 64, 60, 124)), Truth("cat", (8, 8, 24, 40)))),
)
EVALUATION = (
    Picture("first", 128, 96, (Truth("cat", (32, 16, 96, 80)),)),
    Picture("second", 96, 128, (Truth("dog", (8, 8, 40, 120)), Truth("cat", (48, 64, 88, 104)))),
    Picture("third", 64, 64, (Truth("dog", (8, 8, 24, 24)), Truth("dog", (32, 32, 56, 56), ignored=True))),
)


def write_coco(folder: Path) -> Miniature:
    """``coco:DIR``."""
    for split, pictures in (("train2017", TRAIN), ("val2017", EVALUATION)):
        content = coco_content(pictures, ODD_IDS, {one.name: f"{one.name}.png" for one in pictures})
        write_json(folder / "annotations" / f"instances_{split}.json", content)
        for one in pictures:
            draw(one, folder / split / f"{one.name}.png")
    return Miniature(f"coco:{folder}", ("cat", "dog"), TRAIN, EVALUATION)


def write_objects365(folder: Path) -> Miniature:
    """The built-in ``objects365`` with ``folder`` as data root, and a YAML file of the same layout.

    One picture of the training annotations does not exist, as in the official release; the YAML file leaves it out.
    """
    numbers = {"cat": 140, "dog": 93}  # Cat and Dog of v2
    place = folder / "objects365"
    for split, pictures in (("train", TRAIN), ("val", EVALUATION)):
        names = {one.name: f"images/v1/patch{number}/{one.name}.jpg" for number, one in enumerate(pictures)}
        content = coco_content(pictures, numbers, names, spelt=str.capitalize)
        for entry in content["annotations"]:
            entry |= {"isfake": 0, "isreflected": 0}
        if split == "train":
            absent = "images/v1/patch6/objects365_v1_00320532.jpg"
            content["images"].append({"id": 320532, "file_name": absent, "width": 64, "height": 64})
            content["annotations"].append(content["annotations"][0] | {"id": 999, "image_id": 320532})
        write_json(place / "annotations" / f"zhiyuan_objv2_{split}.json", content)
        for number, one in enumerate(pictures):
            draw(one, place / split / f"patch{number}" / f"{one.name}.jpg")
    part = "{annotations: objects365/annotations/zhiyuan_objv2_%s.json, images: objects365/%s}"
    file = folder / "mini365.yaml"
    file.write_text(
        f"format: coco\ntrain: {part % ('train', 'train')}\nevaluation: {part % ('val', 'val')}\n"
        "folders: 1\nleft_out: [patch6/objects365_v1_00320532.jpg]\n"
    )
    return Miniature(str(file), ("Dog", "Cat"), TRAIN, EVALUATION)


def write_voc(folder: Path) -> Miniature:
    """``voc:DIR``."""
    for split, pictures in (("trainval", TRAIN), ("test", EVALUATION)):
        write(folder / "ImageSets" / "Main" / f"{split}.txt", "".join(f"{one.name}\n" for one in pictures))
        for one in pictures:
            write(folder / "Annotations" / f"{one.name}.xml", voc_xml(one))
            draw(one, folder / "JPEGImages" / f"{one.name}.jpg")
    return Miniature(f"voc:{folder}", ("cat", "dog"), TRAIN, EVALUATION)


def write_widerface(folder: Path) -> Miniature:
    """The built-in ``widerface`` with ``folder`` as data root, and a YAML file of the same layout; all are faces."""
    place = folder / "widerface"
    for split, pictures in (("train", TRAIN), ("val", EVALUATION)):
        text = "".join(widerface_text(f"{number}--Event/{one.name}.jpg", one) for number, one in enumerate(pictures))
        write(place / "wider_face_split" / f"wider_face_{split}_bbx_gt.txt", text)
        for number, one in enumerate(pictures):
            draw(one, place / f"WIDER_{split}" / "images" / f"{number}--Event" / f"{one.name}.jpg")
    file = folder / "miniwider.yaml"
    part = "{annotations: widerface/wider_face_split/wider_face_%s_bbx_gt.txt, images: widerface/WIDER_%s/images}"
    file.write_text(f"format: widerface\ntrain: {part % ('train', 'train')}\nevaluation: {part % ('val', 'val')}\n")
    train, evaluation = (
        tuple(replace(one, objects=tuple(replace(face, name="face") for face in one.objects)) for one in pictures)
        for pictures in (TRAIN, EVALUATION)
    )
    return Miniature(str(file), ("face",), train, evaluation)


def write_yolo(folder: Path) -> Miniature:
    """``yolo:DIR``; YOLO cannot ignore an object, so those are not in it."""
    train, evaluation = (
        tuple(replace(one, objects=tuple(truth for truth in one.objects if not truth.ignored)) for one in pictures)
        for pictures in (TRAIN, EVALUATION)
    )
    classes = ("cat", "dog")
    for split, pictures in (("train", train), ("val", evaluation)):
        for one in pictures:
            lines = "".join(f"{classes.index(truth.name)} {yolo_box(one, truth.box)}\n" for truth in one.objects)
            write(folder / "labels" / split / f"{one.name}.txt", lines)
            draw(one, folder / "images" / split / f"{one.name}.jpg")
    write(folder / "data.yaml", "path: .\ntrain: images/train\nval: images/val\nnames: {0: cat, 1: dog}\n")
    return Miniature(f"yolo:{folder}", classes, train, evaluation)


WRITERS = {
    "coco": write_coco,
    "voc": write_voc,
    "objects365": write_objects365,
    "widerface": write_widerface,
    "yolo": write_yolo,
}


def coco_content(
    pictures: tuple[Picture, ...], categories: Mapping[str, int], names: Mapping[str, str], spelt: object = str
) -> dict[str, list[dict[str, object]]]:
    """An annotation file in COCO's format."""
    images, annotations = [], []
    for number, one in enumerate(pictures, start=1):
        images.append({"id": number, "file_name": names[one.name], "width": one.width, "height": one.height})
        for truth in one.objects:
            x0, y0, x1, y1 = truth.box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": categories[truth.name],
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "iscrowd": int(truth.ignored),
                }
            )
    kinds = [{"id": number, "name": spelt(name)} for name, number in categories.items()]  # type: ignore[operator]
    return {"images": images, "annotations": annotations, "categories": kinds}


def voc_xml(one: Picture) -> str:
    """An annotation in VOC's format: pixels are counted from 1, both ends included."""
    objects = "".join(
        f"<object><name>{truth.name}</name><pose>Left</pose><truncated>0</truncated>"
        f"<difficult>{int(truth.ignored)}</difficult><bndbox><xmin>{truth.box[0] + 1}</xmin>"
        f"<ymin>{truth.box[1] + 1}</ymin><xmax>{truth.box[2]}</xmax><ymax>{truth.box[3]}</ymax></bndbox></object>"
        for truth in one.objects
    )
    size = f"<size><width>{one.width}</width><height>{one.height}</height><depth>3</depth></size>"
    return f"<annotation><filename>{one.name}.jpg</filename>{size}<segmented>0</segmented>{objects}</annotation>"


def widerface_text(name: str, one: Picture) -> str:
    """A picture in WIDER FACE's format; without faces, one line of zeros follows all the same."""
    lines = [
        f"{x0} {y0} {x1 - x0} {y1 - y0} {number % 3} 0 1 {int(truth.ignored)} 2 0 "
        for number, truth in enumerate(one.objects)
        for x0, y0, x1, y1 in [truth.box]
    ]
    return "\n".join([name, str(len(lines)), *(lines or ["0 0 0 0 0 0 0 0 0 0 "]), ""])


def yolo_box(one: Picture, box: Box) -> str:
    """Centre and size in fractions of the picture."""
    x0, y0, x1, y1 = box
    fractions = ((x0 + x1) / 2 / one.width, (y0 + y1) / 2 / one.height, (x1 - x0) / one.width, (y1 - y0) / one.height)
    return " ".join(map(repr, fractions))


def draw(one: Picture, path: Path) -> None:
    """A texture with a filled rectangle for each box; crowds and the like are only outlined."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(one.name)).integers(70, 120, (one.height, one.width, 1), dtype=np.uint8)
    picture = Image.fromarray(np.repeat(noise, 3, axis=2))
    pen = ImageDraw.Draw(picture)
    for truth in one.objects:
        x0, y0, x1, y1 = truth.box
        colour = COLOURS.get(truth.name, (220, 200, 60))
        pen.rectangle((x0, y0, x1 - 1, y1 - 1), fill=None if truth.ignored else colour, outline=colour, width=2)
    picture.save(path, quality=95)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_json(path: Path, content: object) -> None:
    write(path, json.dumps(content))
