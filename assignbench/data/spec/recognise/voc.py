"""Folders in Pascal VOC's format: an XML file for each picture, with lists of them or without."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from assignbench.data.spec.recognise.answer import Absent, Fit, Wrong
from assignbench.data.spec.recognise.splits import SHARE, Found, choose, role_of
from assignbench.data.spec.recognise.tree import Tree, join, name_of, read_bytes
from assignbench.data.spec.schema import VocSpec, VocSplit

LISTS = "ImageSets/Main"
_ANNOTATIONS = ("Annotations", "annotation", "annots", "annot", "xmls", "xml", "labels", "label", "bbox")
_PICTURES = ("JPEGImages", "images", "image", "imgs", "img", "pictures", "photos", "data")
_LOOKED_INTO = 3  # XML files of a folder
_FEW, _SHARE = 2, 0.01  # boxes, and of all boxes: fewer are slips of the hand
_MOST = 1 << 16  # bytes of an XML file that are searched for corners
_CORNER = re.compile(rb"<([xy]m(?:in|ax))>\s*(-?\d+(?:\.\d+)?)\s*</")


def voc_in(tree: Tree) -> Fit | Wrong | Absent:
    """What is taught and what is scored in a folder in VOC's format, or why it is none."""
    if lists := [name[: -len(".txt")] for name in tree.at(LISTS).of(".txt")]:
        return _by_lists(tree, lists)
    pairs = list(_pairs(tree))
    if not pairs:
        return _why_not(tree)
    if any(pair.role for pair in pairs):
        chosen = choose(pairs, "folders")
        if isinstance(chosen, str):
            return Wrong(chosen)
        train, evaluation, remarks = [chosen.train], chosen.evaluation, chosen.remarks
    else:
        train, evaluation, remarks = pairs, None, ()
    words = ", and ".join(map(_words, train))
    if evaluation is None:
        said = f"VOC's format without lists: {words}"
    else:
        said = f"VOC's format, a folder for each split: {words} for training, {_words(evaluation)} for evaluation"
    spec = VocSpec(
        format="voc",
        train=[pair.part for pair in train],
        evaluation=None if evaluation is None else [evaluation.part],
        split=SHARE if evaluation is None else None,
    )
    return _counted(tree, Fit(spec, (said,), (*remarks, *_loose_lists(tree))))


def _counted(tree: Tree, fit: Fit) -> Fit:
    """The same with the origin of the pixels: VOC's is 1, that of tools which write fractions or zeros is 0."""
    splits = (*fit.spec.train, *(fit.spec.evaluation or ())) if isinstance(fit.spec, VocSpec) else ()
    folders = dict.fromkeys(tree.root / one.folder / one.annotations for one in splits)
    counts = [_corners_from_zero(file) for folder in folders if folder.is_dir() for file in folder.glob("*.xml")]
    odd, boxes = (sum(count[column] for count in counts) for column in (0, 1))
    if odd < _FEW or odd < _SHARE * boxes:  # a slip of the hand does not move all boxes; the reader counts it
        return fit
    said = (
        f"pixels are counted from 0 in both splits, since {odd} of {boxes} boxes have a corner at 0 or a fraction; "
        "VOC counts from 1: if your tool does, too, say pixel_origin: 1 in a YAML file"
    )
    return Fit(fit.spec.model_copy(update={"pixel_origin": 0}), fit.chosen, (*fit.remarks, said))


def _corners_from_zero(file: Path) -> tuple[int, int]:
    """How many boxes of a file pixels that are counted from 1 do not have: below 1, or with a fraction; and all."""
    found = _CORNER.findall(read_bytes(file, _MOST))
    boxes = [found[at : at + 4] for at in range(0, len(found), 4)]
    odd = [any(float(text) % 1 or (key.endswith(b"min") and float(text) < 1) for key, text in box) for box in boxes]
    return sum(odd), len(boxes)


def _by_lists(tree: Tree, lists: Sequence[str]) -> Fit | Wrong:
    """The lists that are called as VOC calls them; those of single classes, cat_train.txt, are left aside."""
    found = [Found(f"{LISTS}/{name}.txt", role_of(name), name) for name in lists]
    whole = [one for one in found if one.role is not None and "_" not in one.part]
    chosen = choose(whole or found, "lists")
    if isinstance(chosen, str):
        return Wrong(chosen)
    annotations = next((one for one in tree.inside(".", *_ANNOTATIONS)), _ANNOTATIONS[0])
    pictures = next((one for one in tree.inside(".", *_PICTURES)), _PICTURES[0])
    parts = [chosen.train] if chosen.evaluation is None else [chosen.train, chosen.evaluation]
    splits = [
        VocSplit(folder=Path(), list=one.part, annotations=Path(annotations), images=Path(pictures)) for one in parts
    ]
    words = f"{parts[0].name} for training, {parts[1].name} for evaluation" if len(parts) > 1 else parts[0].name
    spec = VocSpec(format="voc", train=splits[:1], evaluation=splits[1:] or None, split=None if splits[1:] else SHARE)
    said = f"VOC's format: {words}; annotations in {annotations}, pictures in {pictures}"
    return _counted(tree, Fit(spec, (said,), chosen.remarks))


def _pairs(tree: Tree) -> Iterator[Found[VocSplit]]:
    """Folders of annotations, each with the folder of their pictures: in the folder, and in those of splits."""
    splits = (one for one in tree.folders() if role_of(one) is not None and not tree.at(join(one, LISTS)).count(".txt"))
    for base in (".", *splits):
        role = None if base == "." else role_of(base)
        folder = Path(base)
        if _holds_voc(tree, base) and tree.at(base).pictures:
            yield Found(base, role, VocSplit(folder=folder, annotations=Path(), images=Path()))
            continue
        for xml, images in _beside(tree, base):
            below = [Path(name_of(place)) for place in (xml, images)]
            if _holds_voc(tree, xml):
                yield Found(base, role, VocSplit(folder=folder, annotations=below[0], images=below[1]))
                break
            found = [name for name in tree.at(xml).folders if name in tree.at(images).folders]
            these = [name for name in found if _holds_voc(tree, join(xml, name))]
            for name in these:
                part = VocSplit(folder=folder, annotations=below[0] / name, images=below[1] / name)
                yield Found(join(xml, name), role or role_of(name), part)
            if these:
                break


def _beside(tree: Tree, base: str) -> Iterator[tuple[str, str]]:
    """Folders that may hold annotations, and the pictures of them, by their names, else by what is in them."""
    annotations, pictures = list(tree.inside(base, *_ANNOTATIONS)), list(tree.inside(base, *_PICTURES))
    yield from ((one, other) for one in annotations for other in pictures if one != other)
    xml = [place for place in tree.folders(base) if _holds_voc(tree, place)]
    shown = [place for place in tree.folders(base) if tree.at(place).pictures]
    if len(xml) == len(shown) == 1 and xml != shown:
        yield xml[0], shown[0]


def _holds_voc(tree: Tree, place: str) -> bool:
    return any(_is_voc(tree, join(place, name)) for name in tree.at(place).of(".xml")[:_LOOKED_INTO])


def _is_voc(tree: Tree, place: str) -> bool:
    """Whether a file's root is ``<annotation>``; half a file passes, so that the reader names it."""
    text = tree.head(place, 4096)
    return "<annotation>" in text or "<annotation " in text


def _why_not(tree: Tree) -> Wrong | Absent:
    if _holds_voc(tree, "."):
        return Wrong(f"there are annotations in XML, but no pictures beside them or in {', '.join(_PICTURES[:3])}")
    for place in (".", *tree.folders()):
        if _holds_voc(tree, place):
            return Absent(f"{place} holds annotations in XML, but no pictures belong to them by their place")
        if names := tree.at(place).of(".xml"):
            return Absent(f"{join(place, names[0])} is not VOC's: its root is not <annotation>")
    return Absent("no XML file was found, neither in the folder nor in the folders of it")


def _loose_lists(tree: Tree) -> tuple[str, ...]:
    """Lists that VOC would keep elsewhere, so that nobody takes them for read."""
    places = (".", "ImageSets")
    found = [
        join(place, name) for place in places for name in tree.at(place).of(".txt") if role_of(name[:-4]) is not None
    ]
    return (f"not read: {', '.join(found[:4])}; lists belong into {LISTS}",) if found else ()


def _words(pair: Found[VocSplit]) -> str:
    part = pair.part
    places = [(part.folder / one).as_posix() for one in (part.annotations, part.images)]
    if places[0] == places[1]:
        return "annotations beside the pictures" + f" in {places[0]}" * (places[0] != ".")
    return f"annotations in {places[0]}, pictures in {places[1]}"
