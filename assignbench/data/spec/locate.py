"""Data sets by name: ``shapes``, ``coco``, …, by folder: ``DIR``, or ``coco:DIR`` to insist, or by a YAML file.

A YAML file describes a data set (see ``configs/datasets``). Its paths are relative to the file; those of
the built-in files are relative to the data root.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from assignbench.data.dataset import Dataset, Splits
from assignbench.data.read.findings import PICTURE_LEFT_OUT
from assignbench.data.shapes.shapes import SPLITS, ShapesParameters, prepare_shapes
from assignbench.data.spec.data_yaml import is_data_yaml
from assignbench.data.spec.opening import Part, Readable, files_of, open_part
from assignbench.data.spec.recognise.answer import FORMATS, TITLES, Format, Unrecognised
from assignbench.data.spec.recognise.recognise import recognise
from assignbench.data.spec.recognise.tree import Tree
from assignbench.data.spec.recognise.yolo import described_by
from assignbench.data.spec.schema import CocoSpec, CocoSplit, DatasetSpec, ShapesSpec, load_spec
from assignbench.data.spec.share import parted, with_share
from assignbench.errors import DataError, UsageError
from assignbench.naming import file_name
from assignbench.overwriting import require_place
from assignbench.paths import configs_folder, names_a_path
from assignbench.strict_yaml import read_yaml
from assignbench.suggest import did_you_mean

YAML = (".yaml", ".yml")
SHOWN = 6  # data sets of a folder that holds several
USUAL = "data.yaml"  # of YOLO
_PARTS: tuple[Part, ...] = ("train", "evaluation")


@dataclass(frozen=True)
class DatasetInfo:
    """A data set that goes by name."""

    name: str
    description: str
    origin: Path  # its YAML file


def data_root(option: Path | None) -> Path:
    """Where data sets lie: ``--data-root``, else ``ASSIGNBENCH_DATA``, else ``datasets`` in this folder; absolute.

    Raises:
        UsageError: the folder that it is to lie in is not there.
    """
    root = (option or Path(os.environ.get("ASSIGNBENCH_DATA") or "datasets")).expanduser().resolve()
    require_place(root, "ASSIGNBENCH_DATA" if option is None else "--data-root")
    return root


def known_datasets() -> tuple[DatasetInfo, ...]:
    """The built-in data sets, sorted by name."""
    files = sorted((configs_folder() / "datasets").glob("*.yaml"))
    return tuple(DatasetInfo(file.stem, load_spec(file).description, file) for file in files)


def open_dataset(spec: str, data_root: Path) -> Splits:
    """Read both splits of a data set; ``shapes`` is generated first when it is not there.

    Args:
        spec: a built-in name, a folder, ``coco:DIR``, ``voc:DIR``, ``yolo:DIR``, or the path of a YAML file. Behind
            what is one list of pictures may stand ``?split=0.7``, the share of it that is taught.
        data_root: folder of the built-in data sets.

    Raises:
        UsageError: for an unknown name or a wrong YAML file.
        DataError: when files are missing, damaged or inconsistent.
        SystemProblem: when ``shapes`` cannot be written.
    """
    found = locate(spec, data_root)
    require(found, _PARTS)  # what the evaluation needs, too, so that nothing trains in vain
    train = _open(found, "train", None).remarked(*found.remarks)
    evaluation = _open(found, "evaluation", train.classes)
    _require_left_out(found, train, evaluation)
    return Splits(found.canonical, train, evaluation)


def _require_left_out(found: Located, *splits: Dataset) -> None:
    """Refuse names under ``left_out`` that are in no split: they were meant to leave something out.

    A built-in data set may lack them: people cut its annotation files, and nobody can edit its YAML file.
    """
    if not isinstance(found.spec, CocoSpec) or not found.spec.left_out or not found.canonical.endswith(YAML):
        return
    gone = {
        name
        for one in splits
        for repair in one.repairs
        if repair.kind == PICTURE_LEFT_OUT.done
        for name in repair.details
    }
    if idle := [name for name in dict.fromkeys(found.spec.left_out) if name not in gone]:
        count = found.spec.folders
        kept = (
            "" if count is None else f", of which the last {count} folders count" if count else " without its folders"
        )
        more = f" and {len(idle) - SHOWN} more" if len(idle) > SHOWN else ""
        raise DataError(
            f"{found.canonical}: left_out names {', '.join(idle[:SHOWN])}{more}, and no split has such a picture; "
            f"write each name as file_name in the annotation file spells it{kept}, or remove it"
        )


def open_evaluation(spec: str, data_root: Path) -> Dataset:
    """The evaluation split alone, with the classes of its own annotations: the training split need not be there.

    Raises:
        As `open_dataset`.
    """
    found = locate(spec, data_root)
    require(found, ("evaluation",))
    return _open(found, "evaluation", None)


def states_ids(spec: str, data_root: Path) -> bool:
    """Whether the files of a data set state the ids of pictures and classes; else they are numbered from 1 here.

    Raises:
        As `locate`.
    """
    return isinstance(locate(spec, data_root).spec, CocoSpec)


def open_test(spec: str, data_root: Path, classes: tuple[str, ...]) -> tuple[Dataset, str]:
    """The split whose objects only the publisher knows, without any, and the publisher's name for it.

    Args:
        spec: as in `open_dataset`.
        data_root: as in `open_dataset`.
        classes: those that a run has learned.

    Raises:
        As `open_dataset`; UsageError also when the data set has no such split.
    """
    found = locate(spec, data_root)
    require(found, ("test",))
    return _open(found, "test", classes), files_of(found.spec, found.base, "test")[0].stem.removeprefix("image_info_")


def read_folders(spec: str, data_root: Path) -> list[Path]:
    """Folders into which a command that reads a data set writes nothing: the one that was named, those of pictures.

    Raises:
        As `locate`.
    """
    found = locate(spec, data_root)
    whole, _ = parted(spec)
    kind, _, place = whole.partition(":")
    named = Path(place if kind in FORMATS and place else whole).expanduser()
    paths = [path for part in _PARTS for path in files_of(found.spec, found.base, part)]
    return [path for path in dict.fromkeys((named, *paths)) if path.is_dir()]


@dataclass(frozen=True)
class Located:
    """A data set that was asked for: where its parts are."""

    canonical: str  # what opens it again from any folder
    name: str  # what tables print
    spec: Readable
    base: Path  # what its paths are relative to
    chosen: tuple[str, ...] = ()  # of a folder: what was taken for what, in sentences
    remarks: tuple[str, ...] = ()  # what a reader of a number must know of that
    alternatives: tuple[str, ...] = ()  # other descriptions that lie in the folder


def locate(spec: str, data_root: Path) -> Located:
    """Where the parts of a data set are; ``shapes`` is drawn on the way.

    Raises:
        UsageError: for an unknown name, a wrong YAML file, or a folder that can be read in several ways.
        DataError: there is no such folder, or it holds no such data set.
    """
    if not names_a_path(spec):
        raise UsageError(f"data set {spec!r}: no file or folder can have such a name")
    whole, stated = parted(spec)
    found = _located(whole, data_root)
    own = found.spec.split
    if stated is not None and own is None:
        raise UsageError(f"data set {spec}: {whole} states what is for evaluation; leave the split away")
    if own is None or (stated is None and found.canonical.startswith("/")):  # a YAML file of ours says it for ever
        return found
    share = own if stated is None else stated
    return replace(
        found,
        canonical=with_share(found.canonical, share),
        name=with_share(found.name, share),
        spec=found.spec.model_copy(update={"split": share}),
        remarks=(*found.remarks, _divided(share)),
    )


def _divided(share: float) -> str:
    return (
        f"there is one list of pictures: {100 * share:.4g} % of them are taught and the others are scored, as their "
        "names decide; --share sets another one"
    )


def _located(spec: str, data_root: Path) -> Located:
    kind, _, place = spec.partition(":")
    if kind in FORMATS and place:
        path = Path(place).expanduser().resolve()
        if kind == "yolo" and path.suffix in YAML and not path.is_dir():
            return _in_data_yaml(path)
        if not path.is_dir():
            raise DataError(f"data set {spec}: there is no folder {path}{_like(path)}")
        return _in_folder(path, (kind,))
    if spec in _names():
        file = configs_folder() / "datasets" / f"{spec}.yaml"
        return _placed(load_spec(file), spec, spec, data_root, data_root)
    path = Path(spec).expanduser().resolve() if spec else None
    if path is not None and path.is_dir():
        return _in_folder(path, FORMATS)
    if path is not None and path.suffix in YAML:
        if is_data_yaml(read_yaml(path)):
            return _in_data_yaml(path)
        return _placed(load_spec(path), str(path), file_name(path), path.parent, data_root)
    raise UsageError(_unknown(spec))


def _in_folder(folder: Path, formats: tuple[Format, ...]) -> Located:
    own = folder / "dataset.yaml"
    if formats == FORMATS and own.is_file() and not is_data_yaml(content := read_yaml(own)) and "format" in content:
        return _placed(
            load_spec(own), str(own), file_name(own), folder, folder
        )  # as check --fix and data open write it
    answer = recognise(folder, formats)
    if isinstance(answer, Unrecognised):
        raise refusal(folder, answer)
    return Located(
        canonical=f"{answer.format}:{folder}",
        name=f"{answer.format}:{folder.name}",
        spec=answer.spec,
        base=folder,
        chosen=answer.chosen,
        remarks=answer.remarks,
        alternatives=answer.alternatives,
    )


def refusal(folder: Path, answer: Unrecognised) -> UsageError | DataError:
    """What is said of a folder in which no data set, or more than one, was found."""
    if answer.fits:
        more = f" or {len(answer.fits) - SHOWN} others" if len(answer.fits) > SHOWN else ""
        return UsageError(f"{folder} can be read in several ways; say which: {' or '.join(answer.fits[:SHOWN])}{more}")
    wrong = [one for one in answer.tried if one.wrong]  # what is there and wrong is what was meant
    lines = [f"{TITLES[one.format]}: {one.why}" for one in wrong or answer.tried]
    opening = f"{folder} cannot be opened as a data set" + (": " if len(lines) == 1 else "\n  ") + "\n  ".join(lines)
    example = (
        "Any other layout of files in these formats can be described in a YAML file, for example\n"
        "  format: coco\n  train: {annotations: FILE.json, images: FOLDER}\n  split: 0.8"
    )
    return DataError("\n".join((opening, *answer.strangers, example) if not wrong else (opening, *answer.strangers)))


def _in_data_yaml(file: Path) -> Located:
    """YOLO's own file, named itself; the usual name in a folder is what the folder stands for."""
    fit = described_by(Tree(file.parent), file.name)
    folder = file.parent
    own = (folder, folder.name) if file.name == USUAL else (file, f"{folder.name}/{file.name}")
    return Located(f"yolo:{own[0]}", f"yolo:{own[1]}", fit.spec, folder, fit.chosen, fit.remarks)


def _placed(spec: DatasetSpec, canonical: str, name: str, base: Path, data_root: Path) -> Located:
    """Shapes are drawn on the way; they are a data set in COCO's layout then."""
    if isinstance(spec, ShapesSpec):
        fields = spec.model_dump(exclude={"format", "description"})
        folder = prepare_shapes(ShapesParameters(**fields), data_root)
        return Located(canonical, name, _coco_in(folder, *SPLITS), folder)
    return Located(canonical, name, spec, base)


def _names() -> list[str]:
    return sorted(file.stem for file in (configs_folder() / "datasets").glob("*.yaml"))


def _unknown(spec: str) -> str:
    names = _names()
    path = Path(spec).expanduser()
    if path.is_file():
        return f"data set {spec!r} is a file; name its folder, or a YAML file that describes a data set"
    if "/" in spec or "\\" in spec:
        return f"data set {spec!r}: there is no such folder{_like(path)}"
    return (
        f"unknown data set {spec!r}: there is no such name and no such folder{did_you_mean(spec, names) or _like(path)}"
        f"\nknown: {', '.join(names)}, a folder, coco:DIR, voc:DIR, yolo:DIR, or the path of a YAML file"
    )


def _like(path: Path) -> str:
    """The folder beside a missing one that is called alike, as a question."""
    try:
        return did_you_mean(path.name, [one.name for one in path.parent.iterdir() if one.is_dir()])
    except OSError:
        return ""


def _open(found: Located, part: Part, classes: tuple[str, ...] | None) -> Dataset:
    return open_part(found.spec, found.base, part, name=found.name, classes=classes)


def require(found: Located, parts: Sequence[Part]) -> None:
    """Name every file and folder that is not where it belongs, all at once."""
    paths = [path for part in parts for path in files_of(found.spec, found.base, part)]
    missing = [str(path) for path in dict.fromkeys(paths) if not path.exists()]
    if missing:
        named = found.name in _names()
        fetch = f"fetch it with assignbench data prepare {found.name}, " if named else ""
        written = f"correct the path in {found.canonical}" if found.canonical.endswith(YAML) else None
        other = written or "describe the layout in a YAML file"
        other = "point --data-root (ASSIGNBENCH_DATA) to where it is" if named else other
        raise DataError(
            f"data set {found.name} is not complete, it needs {', '.join(missing)}; "
            f"{fetch}put the data there, or {other}"
        )


def _coco_in(folder: Path, train: str, evaluation: str) -> CocoSpec:
    def split(suffix: str) -> CocoSplit:
        return CocoSplit(annotations=folder / "annotations" / f"instances_{suffix}.json", images=folder / suffix)

    return CocoSpec(format="coco", train=split(train), evaluation=split(evaluation))
