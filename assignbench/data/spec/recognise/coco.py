"""Folders in COCO's format: JSON files of annotations, and where the pictures of each lie."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from assignbench.data.spec.recognise.answer import Absent, Fit, Wrong
from assignbench.data.spec.recognise.splits import SHARE, Found, Role, choose, role_of
from assignbench.data.spec.recognise.tree import Tree, join, name_of, parent
from assignbench.data.spec.schema import CocoSpec, CocoSplit

MOST_FOLDERS = 50  # in which annotations are looked for
MOST_FILES = 30  # that are looked into in each
LOOKED_UP = 20  # names of pictures that show where the pictures are
_FOLDERS = ("images", "imgs", "img", "image", "data", "pictures", "photos", "jpegimages")
_NAMED = re.compile(r"instances_.*\.json|.*\.coco\.json", re.IGNORECASE)
_HOLDING = re.compile("anno|label|json|instances", re.IGNORECASE)
_KNOWN = re.compile(r"coco|annotation|instances|result|label", re.IGNORECASE)
_IMAGES = re.compile(r'"images"\s*:|"file_name"\s*:')
_OBJECTS = re.compile(r'"annotations"\s*:|"bbox"\s*:')
_BOXES = re.compile(r'"bbox"\s*:|"segmentation"\s*:|"annotations"\s*:\s*\[\s*\]')
_OTHERS = re.compile(r'"segments_info"\s*:')  # panoptic: one object is a whole picture
_AROUND = re.compile(r"^(instances|person_keypoints|keypoints|annotations?|labels?|coco)_|_?(annotations?|coco|\.)+$")
_FILE_NAME = re.compile(r'"file_name"\s*:\s*("(?:[^"\\]|\\.)*")')


@dataclass(frozen=True)
class _File:
    place: str
    pictures: tuple[str, ...]  # some of the names that it states


@dataclass(frozen=True)
class _Rivals:
    """Two folders that hold equally many of a file's names, in different pictures, and neither by its name's right."""

    file: str
    places: tuple[str, str]


def coco_in(tree: Tree) -> Fit | Wrong | Absent:
    """What is taught and what is scored in a folder in COCO's format, or why it is none."""
    seen: list[str] = []
    files = []
    for place in _json_files(tree):
        seen.append(place)
        if (file := _looked_into(tree, place)) is not None:
            files.append(file)
    if not files:
        if not seen:
            return Absent("no JSON file was found, neither in the folder nor in the folders of it")
        more = f" and {len(seen) - 1} others" if len(seen) > 1 else ""
        return Absent(f"{seen[0]}{more}: none has the keys images, annotations and categories")
    chosen = choose(_told_apart([Found(file.place, _role(file.place), file) for file in files]), "annotation files")
    if isinstance(chosen, str):
        return Wrong(chosen)
    if chosen.evaluation is None and chosen.train.role == "train" and (place := _unannotated(tree)):
        file = f"instances_{name_of(place)}.json"
        return Wrong(f"{place} holds pictures for evaluation, but no file states their objects, as {file} would")
    parts = [chosen.train] if chosen.evaluation is None else [chosen.train, chosen.evaluation]
    found = _pictures_of(tree, [one.part for one in parts])
    if isinstance(found, _Rivals):
        return Wrong(_which(found, [one.name for one in parts]))
    folders, images = found
    splits = [CocoSplit(annotations=Path(one.name), images=Path(at)) for one, at in zip(parts, images, strict=True)]
    words = [
        f"{one.name} with the pictures in {_called(_shared(one.part, at, folders))}"
        for one, at in zip(parts, images, strict=True)
    ]
    if len(parts) == 1:
        said = f"{_kind(chosen.train.name)}: {words[0]}"
    else:
        said = f"{_kind(chosen.train.name)}: {words[0]} for training, {words[1]} for evaluation"
    return Fit(
        CocoSpec(
            format="coco",
            train=splits[0],
            evaluation=splits[1] if len(splits) > 1 else None,
            split=None if len(splits) > 1 else SHARE,
            folders=folders,
        ),
        (said, *_about_names(folders)),
        chosen.remarks,
    )


def _unannotated(tree: Tree) -> str | None:
    """A folder of pictures for evaluation, where only annotations for training were found: something is missing."""
    places = (one for base in (".", *tree.inside(".", "images")) for one in tree.folders(base))
    return next((one for one in places if role_of(name_of(one)) == "val" and tree.at(one).pictures), None)


def _json_files(tree: Tree) -> Iterator[str]:
    """Where annotations may be: in the folder, and in those below it whose names say so or are those of splits."""
    places = [".", *filter(_may_hold, tree.folders())]
    places += [one for place in places[1:] for one in tree.folders(place) if _may_hold(one)]
    for place in places[:MOST_FOLDERS]:
        names = sorted(tree.at(place).of(".json"), key=lambda name: (_KNOWN.search(name) is None, name))
        yield from filter(tree.is_file, (join(place, name) for name in names[:MOST_FILES]))


def _may_hold(place: str) -> bool:
    name = name_of(place)
    return bool(_HOLDING.search(name) or role_of(name) or name.casefold() in _FOLDERS)


def _looked_into(tree: Tree, place: str) -> _File | None:
    """The file, if it is one of COCO's by its name or by what stands in it; of a large one both ends are read."""
    text = tree.head(place)
    if _NAMED.fullmatch(name_of(place)):  # also one that is damaged, so that the reader says how
        return _File(place, tuple(_file_names(text)))
    if not text.lstrip().startswith("{"):
        return None
    text += "\n" + tree.tail(place)
    if not (_IMAGES.search(text) and _OBJECTS.search(text) and _BOXES.search(text)) or _OTHERS.search(text):
        return None
    return _File(place, tuple(_file_names(text)))


def _file_names(text: str) -> Iterator[str]:
    found = _FILE_NAME.findall(text)
    for quoted in found[:: max(1, len(found) // LOOKED_UP)][:LOOKED_UP]:
        try:
            yield json.loads(quoted).replace("\\", "/")
        except ValueError:  # no text in JSON: the reader will say so
            continue


def _role(place: str) -> Role | None:
    """As the file is called, else its folder, else the folder of that."""
    folder = parent(place)
    names = (name_of(place).rpartition(".")[0], name_of(folder), name_of(parent(folder)))
    return next((role for role in map(role_of, names) if role is not None), None)


def _told_apart(found: Sequence[Found[_File]]) -> list[Found[_File]]:
    """Of a split's ``instances_*`` and ``person_keypoints_*`` the former."""
    instances = {(one.role, parent(one.name)) for one in found if name_of(one.name).startswith("instances")}
    return [
        one
        for one in found
        if name_of(one.name).startswith("instances") or (one.role, parent(one.name)) not in instances
    ]


def _pictures_of(tree: Tree, files: Sequence[_File]) -> tuple[int | None, list[str]] | _Rivals:
    """How many folders of a file name count (None: all), and the folder of each file's pictures."""
    for folders in (None, 3, 2, 1, 0):
        places = [_holding(tree, file, folders) for file in files]
        found = [place for place in places if place is not None]
        if len(found) == len(files):
            rivals = next((place for place in found if isinstance(place, _Rivals)), None)
            return rivals or (folders, [place for place in found if isinstance(place, str)])
    return None, [_last_resort(tree, file.place) for file in files]


def _holding(tree: Tree, file: _File, folders: int | None) -> str | _Rivals | None:
    """The folder that holds most of the pictures of a file; None: no folder holds any.

    Folders of other splits do not count: names repeat, and 000001.jpg of val is not the one of train. Of folders that
    hold equally many the one counts whose name stands for the split, then one that is called as folders of pictures
    are; between others, as ``rgb`` and ``depth``, nobody but the user can decide, unless the pictures are the same.
    """
    names = [_kept(name, folders) for name in file.pictures]
    held: dict[str, set[str]] = {}
    for place in dict.fromkeys(_candidates(tree, file.place)):
        if not _of_another_split(place, _role(file.place)):
            spellings = {spelt for name in names if name for spelt in (name, unquote(name))}
            held[place] = {name for name in spellings if tree.is_file(join(place, name))}
    most = max(map(len, held.values()), default=0)
    if not most:
        return None
    best, *others = sorted((one for one in held if len(held[one]) == most), key=lambda one: _standing(one, file.place))
    for other in others:
        differ = (not tree.same_file(join(best, name), join(other, name)) for name in held[best] & held[other])
        if _standing(best, file.place) == _standing(other, file.place) and any(differ):
            return _Rivals(file.place, (best, other))
    return best


def _standing(place: str, file: str) -> int:
    """Whether a folder is called as the split of a file (0), is the usual one for pictures (1), or any other (2)."""
    name, role = name_of(place).casefold(), _role(file)
    if name == _AROUND.sub("", name_of(file).rpartition(".")[0]).casefold() or (role and role_of(name) == role):
        return 0
    return 1 if place == parent(file) or name in _FOLDERS else 2


def _which(rivals: _Rivals, files: Sequence[str]) -> str:
    """What to write where two folders of pictures can be meant."""
    lines = [
        f"{key}: {{annotations: {file}, images: {rivals.places[0] if file == rivals.file else 'FOLDER'}}}"
        for key, file in zip(("train", "evaluation"), files, strict=False)
    ]
    return (
        f"{' and '.join(map(_called, rivals.places))} hold different pictures under the names that {rivals.file} "
        "states; say in a YAML file in this folder which are meant, for example\n  "
        + "\n  ".join(("format: coco", *lines, *([] if len(files) > 1 else [f"split: {SHARE}"])))
    )


def _of_another_split(place: str, role: Role | None) -> bool:
    others = {role_of(part) for part in place.split("/")} - {None, role, "trainval"}
    return bool(others) and role not in (None, "trainval")


def _kept(name: str, folders: int | None) -> str:
    """A file name without what lies before the folders that count; empty where it leaves its folder."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if folders is None:
        return "" if name.startswith("/") or ".." in parts or ":" in parts[:1] else "/".join(parts)
    return "/".join(parts[-1 - folders :]) if len(parts) > folders and ".." not in parts[-1 - folders :] else ""


def _shared(file: _File, at: str, folders: int | None) -> str:
    """The folder below ``at`` that all names of pictures begin with: Label Studio writes ``images/a.jpg``."""
    above = {parent(join(at, kept)) for name in file.pictures if (kept := _kept(name, folders))}
    return above.pop() if len(above) == 1 else at


def _last_resort(tree: Tree, place: str) -> str:
    """Where no picture is found: a folder that holds others, so that the reader names them, else COCO's own."""
    role = _role(place)
    candidates = (one for one in _candidates(tree, place) if not _of_another_split(one, role))
    held = next((one for one in candidates if tree.at(one).pictures), None)
    return held or (_AROUND.sub("", name_of(place).rpartition(".")[0]) if role else None) or "images"


def _candidates(tree: Tree, place: str) -> Iterator[str]:
    """Where the pictures of a file may be, the likeliest first."""
    folder, stem = parent(place), name_of(place).rpartition(".")[0]
    split = _AROUND.sub("", stem)
    role = _role(place)
    if tree.at(folder).pictures:
        yield folder
    for base in dict.fromkeys((".", folder, parent(folder))):
        for images in (*tree.inside(base, *_FOLDERS), base):
            yield from tree.inside(images, split)
            yield from (one for one in tree.folders(images) if role is not None and role_of(name_of(one)) == role)
        yield from (one for here in tree.inside(base, split) for one in tree.inside(here, *_FOLDERS))
    for base in dict.fromkeys((folder, ".")):
        yield from tree.inside(base, *_FOLDERS)
        yield base
    yield from tree.folders()


def _about_names(folders: int | None) -> tuple[str, ...]:
    if folders is None:
        return ()
    kept = f"the last {folders} of its folders count" if folders else "none of its folders counts"
    return (f"the pictures are not where the file names say: of each name {kept}",)


def _called(place: str) -> str:
    return "the folder itself" if place == "." else place


def _kind(place: str) -> str:
    """Whose export it looks like."""
    name = name_of(place)
    if name == "_annotations.coco.json":
        return "Roboflow's export as COCO"
    if name == "instances_default.json":
        return "CVAT's export as COCO"
    if name == "result.json":
        return "Label Studio's export as COCO"
    return "COCO's format"
