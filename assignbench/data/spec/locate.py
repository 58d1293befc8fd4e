"""Data sets by name: ``shapes``, ``coco``, …, by folder: ``coco:DIR``, ``voc:DIR``, ``yolo:DIR``, or a YAML file.

A YAML file describes a data set (see ``configs/datasets``). Its paths are relative to the file; those of
the built-in files are relative to the data root.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from assignbench.data.dataset import Dataset, Splits
from assignbench.data.shapes.shapes import SPLITS, ShapesParameters, prepare_shapes
from assignbench.data.spec.opening import Part, Readable, files_of, open_part
from assignbench.data.spec.schema import CocoSpec, CocoSplit, DatasetSpec, ShapesSpec, VocSpec, VocSplit, load_spec
from assignbench.data.spec.yolo_yaml import read_yolo_folder
from assignbench.errors import DataError, UsageError
from assignbench.naming import file_name
from assignbench.paths import configs_folder
from assignbench.suggest import did_you_mean


@dataclass(frozen=True)
class DatasetInfo:
    """A data set that goes by name."""

    name: str
    description: str
    origin: Path  # its YAML file


def data_root(option: Path | None) -> Path:
    """Where data sets lie: ``--data-root``, else ``ASSIGNBENCH_DATA``, else ``datasets`` in this folder; absolute."""
    return (option or Path(os.environ.get("ASSIGNBENCH_DATA") or "datasets")).expanduser().resolve()


def known_datasets() -> tuple[DatasetInfo, ...]:
    """The built-in data sets, sorted by name."""
    files = sorted((configs_folder() / "datasets").glob("*.yaml"))
    return tuple(DatasetInfo(file.stem, load_spec(file).description, file) for file in files)


def open_dataset(spec: str, data_root: Path) -> Splits:
    """Read both splits of a data set; ``shapes`` is generated first when it is not there.

    Args:
        spec: a built-in name, ``coco:DIR``, ``voc:DIR``, ``yolo:DIR``, or the path of a YAML file.
        data_root: folder of the built-in data sets.

    Raises:
        UsageError: for an unknown name or a wrong YAML file.
        DataError: when files are missing, damaged or inconsistent.
        SystemProblem: when ``shapes`` cannot be written.
    """
    found = locate(spec, data_root)
    require(found, ("train", "evaluation"))  # what the evaluation needs, too, so that nothing trains in vain
    train = _open(found, "train", None)
    return Splits(found.canonical, train, _open(found, "evaluation", train.classes))


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


@dataclass(frozen=True)
class Located:
    """A data set that was asked for: where its parts are."""

    canonical: str  # what opens it again from any folder
    name: str  # what tables print
    spec: Readable
    base: Path  # what its paths are relative to


def locate(spec: str, data_root: Path) -> Located:
    """Where the parts of a data set are; ``shapes`` is drawn on the way.

    Raises:
        UsageError: for an unknown name or a wrong YAML file.
        DataError: there is no such folder, or it holds no such data set.
    """
    kind, _, place = spec.partition(":")
    if kind in _FOLDERS and place:
        folder = Path(place).expanduser().resolve()
        if not folder.is_dir():
            raise DataError(f"data set {spec}: there is no folder {folder}")
        return Located(f"{kind}:{folder}", f"{kind}:{folder.name}", _FOLDERS[kind](folder), folder)
    if spec in _names():
        file = configs_folder() / "datasets" / f"{spec}.yaml"
        return _placed(load_spec(file), spec, spec, data_root, data_root)
    if spec.endswith((".yaml", ".yml")):
        file = Path(spec).expanduser().resolve()
        return _placed(load_spec(file), str(file), file_name(file), file.parent, data_root)
    raise UsageError(_unknown(spec))


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
    if spec and Path(spec).is_dir():
        return f"data set {spec!r} is a folder; say in which layout: coco:{spec}, voc:{spec} or yolo:{spec}"
    names = _names()
    return (
        f"unknown data set {spec!r}{did_you_mean(spec, names)}\nknown: {', '.join(names)}, "
        "coco:DIR, voc:DIR, yolo:DIR, or the path of a YAML file"
    )


def _open(found: Located, part: Part, classes: tuple[str, ...] | None) -> Dataset:
    return open_part(found.spec, found.base, part, name=found.name, classes=classes)


def require(found: Located, parts: Sequence[Part]) -> None:
    """Name every file and folder that is not where it belongs, all at once."""
    paths = [path for part in parts for path in files_of(found.spec, found.base, part)]
    missing = [str(path) for path in dict.fromkeys(paths) if not path.exists()]
    if missing:
        fetch = f"fetch it with assignbench data prepare {found.name}, " if found.name in _names() else ""
        raise DataError(
            f"data set {found.name} is not complete, it needs {', '.join(missing)}; "
            f"{fetch}put the data there, or point --data-root (ASSIGNBENCH_DATA) to where it is"
        )


def _coco_folder(folder: Path) -> CocoSpec:
    """The one training and the one evaluation file of a folder in COCO's layout."""
    suffixes = []
    for split in SPLITS:
        pattern = f"instances_{split}*.json"
        files = sorted((folder / "annotations").glob(pattern))
        if len(files) != 1:
            found = ", ".join(file.name for file in files) or "none"
            raise DataError(
                f"{folder / 'annotations'} must hold exactly one {pattern}, not {found}; "
                "describe other layouts in a YAML file"
            )
        suffixes.append(files[0].stem.removeprefix("instances_"))
    return _coco_in(folder, *suffixes)


def _coco_in(folder: Path, train: str, evaluation: str) -> CocoSpec:
    def split(suffix: str) -> CocoSplit:
        return CocoSplit(annotations=folder / "annotations" / f"instances_{suffix}.json", images=folder / suffix)

    return CocoSpec(format="coco", train=split(train), evaluation=split(evaluation))


def _voc_folder(folder: Path) -> VocSpec:
    """Trainval → test as VOC publishes it, else train → val."""
    pairs = (("trainval", "test"), ("train", "val"))
    for pair in pairs:
        train, evaluation = (VocSplit(folder=folder, list=name) for name in pair)
        if all((folder / "ImageSets" / "Main" / f"{name}.txt").is_file() for name in pair):
            return VocSpec(format="voc", train=[train], evaluation=[evaluation])
    wanted = " nor ".join(f"{a}.txt with {b}.txt" for a, b in pairs)
    raise DataError(f"{folder / 'ImageSets' / 'Main'} holds neither {wanted}; put the image lists there")


_FOLDERS: dict[str, Callable[[Path], Readable]] = {
    "coco": _coco_folder,
    "voc": _voc_folder,
    "yolo": read_yolo_folder,
}
