"""Formats that are known and not read: what each looks like, and which tool converts it."""

from __future__ import annotations

from collections.abc import Iterator

from assignbench.data.spec.recognise.splits import role_of
from assignbench.data.spec.recognise.tree import Tree, join, name_of

_MOST_FOLDERS = 30
_LOOKED_INTO = 2  # files of each suffix in a folder
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".bz2", ".xz")
_WRITTEN = (".json", ".xml", ".txt", ".yaml", ".yml")
_DATUMARO = "convert it to COCO with Datumaro (datum convert … -f coco)"
_FIFTYONE = "convert it to COCO with FiftyOne (fiftyone convert)"

# A JSON file is in the first format all of whose marks stand in its beginning.
_JSON: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("LabelMe's format", ('"shapes"', '"imagePath"'), "convert it to COCO with labelme2coco"),
    ("VGG Image Annotator's format", ('"regions"', '"filename"'), "export the annotations from VIA as COCO"),
    ("VGG Image Annotator's format", ('"_via_',), "export the annotations from VIA as COCO"),
    ("Label Studio's own format", ('"from_name"', '"to_name"'), "convert it to COCO with label-studio-converter"),
    ("Supervisely's format", ('"classTitle"',), "export the project from Supervisely as COCO"),
    ("Datumaro's own format", ('"categories"', '"items"', '"infos"'), _DATUMARO),
    ("BDD100K's format", ('"box2d"',), _FIFTYONE),
    ("CreateML's format", ('"coordinates"', '"annotations"'), "import it into Roboflow and export it as COCO"),
    (
        "COCO's format of detections, which a detector writes",
        ('"score"', '"image_id"', '"bbox"'),
        "a data set has the keys images, annotations and categories",
    ),
)
_XML: tuple[tuple[str, str, str], ...] = (
    ("CVAT's own format", "<annotations>", f"export it from CVAT as COCO, or {_DATUMARO}"),
    ("dlib's format", "<dataset>", "write it as VOC or COCO"),
)
_NO_BOXES = "there are no boxes to learn from"


def strangers_in(tree: Tree) -> tuple[str, ...]:
    """What else a folder may be, in sentences that say what to do; each once."""
    places = [".", *tree.folders()[:_MOST_FOLDERS]]
    places += [one for place in places[1:] for one in tree.folders(place)][:_MOST_FOLDERS]
    found: dict[str, str] = {}
    for place in places:
        for title, sentence in _of(tree, place):
            found.setdefault(title, sentence)
    return tuple(found.values()) or _nothing(tree)


def _of(tree: Tree, place: str) -> Iterator[tuple[str, str]]:
    """What the files of one folder look like: title, and what is said of it."""
    listing = tree.at(place)
    for name in listing.of(".json")[:_LOOKED_INTO]:
        text = tree.head(join(place, name))
        yield from (_refused(title, place, name, advice) for title, advice in _kinds(text))
    for name in listing.of(".xml")[:_LOOKED_INTO]:
        text = tree.head(join(place, name), 4096)
        yield from (_refused(title, place, name, advice) for title, mark, advice in _XML if mark in text)
    for name in listing.of(".csv", ".tsv")[:_LOOKED_INTO]:
        if "ImageID" in tree.head(join(place, name), 4096):
            yield _refused("the format of Open Images", place, name, f"{_FIFTYONE} or Globox")
        else:
            advice = "import it into Roboflow and export it as COCO, or write COCO's JSON from it with pandas"
            yield _refused("a table", place, name, advice)
    for name in listing.of(".parquet", ".arrow", ".jsonl")[:1]:
        yield _refused("a table of Hugging Face's datasets", place, name, _FIFTYONE)
    for suffix in listing.files:
        if suffix.startswith((".tfrec", ".record")) and (names := listing.of(suffix)):
            yield _refused("TFRecord", place, names[0], _DATUMARO)
    if "label_2" in listing.folders:
        yield _refused("KITTI's format", place, "label_2", f"{_FIFTYONE} or Datumaro")
    for name in listing.of(".txt")[:_LOOKED_INTO]:
        yield from _of_text(tree, place, name)


def _of_text(tree: Tree, place: str, name: str) -> Iterator[tuple[str, str]]:
    lines = tree.head(join(place, name), 4096).splitlines()
    words = lines[0].split() if lines else []
    commas = lines[0].split(",") if lines else []
    if name.startswith("wider_face_") and name.endswith("_gt.txt"):
        yield "WIDER FACE", f"{join(place, name)} belongs to WIDER FACE, which goes by its name: --dataset widerface"
    elif name == "gt.txt":
        yield _refused("the format of MOT", place, name, _DATUMARO)
    elif len(words) == 15 and not _is_number(words[0]) and all(map(_is_number, words[1:])) and "label_2" not in place:
        yield _refused("KITTI's format", place, name, f"{_FIFTYONE} or Datumaro")
    elif len(words) in (9, 10) and all(map(_is_number, words[:8])) and not _is_number(words[8]):
        yield _refused("DOTA's format of turned boxes", place, name, "write upright boxes as COCO")
    elif len(commas) in (8, 9) and all(map(_is_number, filter(None, commas))):
        yield _refused("VisDrone's format", place, name, "write it as COCO or YOLO")


def _kinds(text: str) -> Iterator[tuple[str, str]]:
    """The first format whose marks a JSON file bears, and what to do about it."""
    yield from [(title, advice) for title, marks, advice in _JSON if all(mark in text for mark in marks)][:1]


def _nothing(tree: Tree) -> tuple[str, ...]:
    """Neither annotations nor a format that is known."""
    here = tree.at(".")
    if not here.readable:
        return (f"{tree.root} cannot be read; check its rights",)
    if archives := here.of(*_ARCHIVES):
        return (f"{archives[0]} is an archive; unpack it",)
    places = (".", *tree.folders()[:_MOST_FOLDERS])
    if any(tree.at(place).count(*_WRITTEN) for place in places):
        return ()
    shown = {place: tree.at(place).pictures for place in places}
    named = [place for place in shown if shown[place] and place != "." and role_of(name_of(place)) is None]
    if not any(shown.values()):
        return () if here.folders or here.files else (f"{tree.root} is empty",)
    if len(named) > 2:
        return (f"pictures are sorted into {', '.join(named[:3])}, … as labels of whole pictures are; {_NO_BOXES}",)
    return (f"{sum(shown.values()):,} pictures lie here, and no annotations of them; {_NO_BOXES}",)


def _refused(title: str, place: str, name: str, advice: str) -> tuple[str, str]:
    where = join(place, name)
    if place != "." and name != "label_2":
        where = f"{name} in {place}"
    return title, f"this looks like {title} ({where}), which is not supported; {advice}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
