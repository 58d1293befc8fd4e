"""Folders in YOLO's format: a ``data.yaml``, or Darknet's ``obj.data``, or label files beside a list of classes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath

from assignbench.data.read.plain import control_in, lines_of
from assignbench.data.spec.data_yaml import instead_of, is_data_yaml, read_data_yaml
from assignbench.data.spec.recognise.answer import Absent, Fit, Wrong
from assignbench.data.spec.recognise.splits import SHARE, Found, choose, role_of
from assignbench.data.spec.recognise.tree import Tree, join
from assignbench.data.spec.schema import YoloSpec
from assignbench.data.spec.tails import existing_tail
from assignbench.errors import DataError, UsageError
from assignbench.strict_yaml import parse_yaml

USUAL = ("data.yaml", "data.yml")  # taken whatever else describes a data set beside it
_CLASSES = (
    "classes.txt",
    "obj.names",
    "labels.txt",
    "classes.names",
    "_darknet.labels",
    "class_names.txt",
    "predefined_classes.txt",
)
_NO_LABELS = {*_CLASSES, "notes.txt", "readme.txt", "readme.dataset.txt", "readme.roboflow.txt", "license.txt"}
_MOST_YAML = 20
_LOOKED_INTO = 5  # label files of a folder, and lines of each


def yolo_in(tree: Tree) -> Fit | Wrong | Absent:
    """What is taught and what is scored in a folder in YOLO's format, or why it is none."""
    if files := _yaml_files(tree):
        return _by_yaml(tree, files)
    for name in tree.at(".").of(".data"):
        stated = _key_values(tree.head(name))
        if "train" in stated and "names" in stated:
            return _by_darknet(tree, name, stated)
    return _by_labels(tree)


def _yaml_files(tree: Tree) -> list[str]:
    """YAML files that describe a data set, or mean to."""
    found = []
    for name in filter(tree.is_file, sorted(tree.at(".").of(".yaml", ".yml"))[:_MOST_YAML]):
        text = tree.head(name)
        try:
            meant = is_data_yaml(parse_yaml(text, name))
        except UsageError:  # one that cannot be read may be the one that counts
            meant = re.search("^names *:", text, re.MULTILINE) is not None
        if meant or (name in USUAL and "format" not in text):
            found.append(name)
    return found


def _by_yaml(tree: Tree, files: Sequence[str]) -> Fit | Wrong:
    fits: dict[str, Fit] = {}
    problems: list[str] = []
    usual = [name for name in files if name in USUAL][:1]
    for name in usual or files:
        try:
            fits[name] = described_by(tree, name)
        except DataError as error:
            problems.append(str(error))
    if not fits:
        return Wrong("; ".join(problems))
    (name, fit), *others = fits.items()
    if any(other.spec != fit.spec for _, other in others):
        return Wrong(
            f"several YAML files describe different data sets: {', '.join(fits)}; name one, as yolo:{tree.root / name}"
        )
    unread = [f"not read: {', '.join(one for one in files if one != name)}"] if len(files) > 1 else []
    return replace(fit, remarks=(*unread, *fit.remarks))


def described_by(tree: Tree, name: str) -> Fit:
    """The data set that a ``data.yaml`` in the folder describes, whatever the file is called.

    Raises:
        DataError: as `read_data_yaml`.
    """
    found = read_data_yaml(tree.root / name)
    spec = found.spec
    remarks = list(found.instead)
    if found.key is None:
        beside = [one.as_posix() for place in spec.train for one in _other_splits(tree, place)]
        unused = f", and {', '.join(beside)} is not used" if beside else ""
        remarks.append(f"{name} states no 'val'{unused}")
    elif found.key == "test":
        remarks.append(f"{name} states no 'val': 'test' is for evaluation")
    elif found.unused:
        remarks.append("not used: test")
    said = f"YOLO's format, {f'classes from {name}' if found.instead else f'as {name} says'}: "
    said += f"{_listed(spec.train)} for training"
    said += "" if spec.evaluation is None else f", {_listed(spec.evaluation)} for evaluation"
    inside = (f"paths of {name} that begin with ../ are looked up in its own folder, as Roboflow means them",)
    return Fit(spec, (said, *(inside if found.from_inside else ())), tuple(remarks))


def _other_splits(tree: Tree, place: Path) -> list[Path]:
    """Folders beside that of the training pictures that are called as a split for evaluation."""
    folder = place.parent
    names = [] if folder.is_absolute() else tree.at(folder.as_posix()).folders
    return [folder / name for name in names if role_of(name) in ("val", "test")]


def _by_darknet(tree: Tree, file: str, stated: dict[str, str]) -> Fit | Wrong:
    """Darknet's ``obj.data``: lists of pictures, whose paths are relative to where Darknet was started."""
    places = {key: existing_tail(tree.root, stated[key]) for key in ("train", "valid", "names") if stated.get(key)}
    if missing := [f"{key} = {stated[key]}" for key, place in places.items() if place is None]:
        return Wrong(f"{file} says {', '.join(missing)}, but there is no such file below the folder")
    below = {key: place.relative_to(tree.root) for key, place in places.items() if place is not None}
    classes = _class_names(tree, below["names"].as_posix())
    if isinstance(classes, str):
        return Wrong(classes)
    if stated.get("classes", str(len(classes))) != str(len(classes)):
        return Wrong(f"{file} says classes = {stated['classes']}, but {below['names']} names {len(classes)}")
    valid = below.get("valid")
    moved = {key: place for key, place in below.items() if place != Path(stated[key])}
    foreign = [key for key in moved if _leads_out(stated[key])]
    said = f"Darknet's format, {f'by {file}' if moved else f'as {file} says'}: {below['train']} for training"
    started = (f"paths of {file} count from where Darknet was started: what is here of each is taken",)
    return Fit(
        YoloSpec(
            format="yolo",
            classes=classes,
            train=[below["train"]],
            evaluation=None if valid is None else [valid],
            split=SHARE if valid is None else None,
        ),
        (
            said + ("" if valid is None else f", {valid} for evaluation"),
            *(started if len(moved) > len(foreign) else ()),
        ),
        tuple(instead_of(file, stated[key], moved[key].as_posix(), there=tree.is_file(stated[key])) for key in foreign),
    )


def _leads_out(path: str) -> bool:
    """Whether a path names a place outside of the folder that it counts from."""
    return PurePosixPath(path).is_absolute() or PureWindowsPath(path).is_absolute() or ".." in Path(path).parts


def _by_labels(tree: Tree) -> Fit | Wrong | Absent:
    """Neither of them: pictures, labels, and a list of classes somewhere."""
    found = list(_labelled(tree))
    if not found:
        return Absent("no YAML file with names and train was found, and no folder of pictures with labels of YOLO")
    classes = _classes(
        tree, [place for one in found for place in (".", "labels", "data", one.name, f"{one.name}/labels")]
    )
    if isinstance(classes, str):
        return Wrong(classes)
    lists = [
        Found(name, role_of(name[:-4]), Path(name))
        for name in tree.at(".").of(".txt")
        if role_of(name[:-4]) is not None and _lists_pictures(tree.head(name, 4096))
    ]
    if lists and not any(one.role for one in found):
        found = lists
    chosen = choose(found, "lists" if found is lists else "folders")
    if isinstance(chosen, str):
        return Wrong(chosen)
    train, evaluation = chosen.train.part, chosen.evaluation and chosen.evaluation.part
    said = f"YOLO's format without a YAML file, classes from {classes[0]}: {_listed([train])} for training"
    return Fit(
        YoloSpec(
            format="yolo",
            classes=classes[1],
            train=[train],
            evaluation=None if evaluation is None else [evaluation],
            split=SHARE if evaluation is None else None,
        ),
        (said + ("" if evaluation is None else f", {_listed([evaluation])} for evaluation"),),
        chosen.remarks,
    )


def _labelled(tree: Tree) -> Iterator[Found[Path]]:
    """Folders of pictures whose labels lie where YOLO looks for them."""
    for name in tree.at("images").folders:
        place = f"images/{name}"
        if tree.at(place).pictures and _holds_labels(tree, f"labels/{name}"):
            yield Found(place, role_of(name), Path(place))
    if tree.at("images").pictures and _holds_labels(tree, "labels"):
        yield Found("images", None, Path("images"))
    for name in tree.folders():
        if name in ("images", "labels"):
            continue
        if tree.at(f"{name}/images").pictures and _holds_labels(tree, f"{name}/labels"):
            yield Found(name, role_of(name), Path(name, "images"))
        elif tree.at(name).pictures and _holds_labels(tree, name):
            yield Found(name, role_of(name), Path(name))
    if tree.at(".").pictures and _holds_labels(tree, "."):
        yield Found("the folder itself", None, Path())


def _holds_labels(tree: Tree, place: str) -> bool:
    names = [name for name in tree.at(place).of(".txt") if name.casefold() not in _NO_LABELS]
    return any(_is_label(tree.head(join(place, name), 4096)) for name in names[:_LOOKED_INTO])


def _is_label(text: str) -> bool:
    """Whether lines hold a class and at least four numbers; nothing at all is a picture without objects."""
    return all(map(_is_object, [line for line in text.splitlines() if line.strip()][:_LOOKED_INTO]))


def _is_object(line: str) -> bool:
    words = line.replace(",", " ").split()
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        return False
    fractions = all(-0.5 <= number <= 1.5 for number in numbers[1:])
    return len(numbers) >= 5 and (fractions or "," not in line) and numbers[0] >= 0 and numbers[0] % 1 == 0


def _lists_pictures(text: str) -> bool:
    return re.search(r"\.\w+\s*$", lines_of(text)[0]) is not None


def _classes(tree: Tree, places: Sequence[str]) -> tuple[str, list[str]] | str:
    """The file of the classes and what it names, or why there is none."""
    found: dict[str, list[str]] = {}
    for place in dict.fromkeys(places):
        listing = tree.at(place)
        names = [name for name in listing.of(".txt", ".names", ".labels") if name.casefold() in _CLASSES]
        for name in dict.fromkeys((*names, *listing.of(".names"))):
            classes = _class_names(tree, join(place, name))
            if isinstance(classes, str):
                return classes
            found[join(place, name)] = classes
    if not found:
        return (
            "there are pictures with labels, but nothing that names the classes: write them into classes.txt, "
            "one a line, in the order of their numbers"
        )
    (first, classes), *others = found.items()
    if odd := [place for place, other in others if other != classes]:
        return f"{first} and {odd[0]} name different classes; keep one"
    return first, classes


def _class_names(tree: Tree, place: str) -> list[str] | str:
    """The classes that a file names, one a line, or what is wrong with it."""
    text = tree.head(place).rstrip()
    if control := control_in(text):
        return f"{place}, {control}"
    names = [line.strip() for line in lines_of(text)]
    if "" in names:
        where = names.index("") + 1
        return f"{place}, line {where}: a class has no name" if any(names) else f"{place} names no classes"
    if any("\ufffd" in name for name in names):
        return f"{place} is not a text in UTF-8"
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        lines = [at for at, name in enumerate(names, start=1) if name == twice[0]]
        return f"{place}, line {lines[1]}: the class {twice[0]!r} is named twice"
    return names


def _key_values(text: str) -> dict[str, str]:
    """Lines of ``key = value``."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.lstrip().startswith("#"))
    return {key.strip(): value.strip() for key, _, value in pairs}


def _listed(places: Sequence[Path]) -> str:
    return " and ".join("the folder itself" if place == Path() else place.as_posix() for place in places)
