"""Data sets by name: ``shapes``, ``coco``, ``voc``, ``coco:DIR``, ``voc:DIR``, or a YAML file.

A YAML file describes a data set (see ``configs/datasets``). Its paths are relative to the file; those of
the built-in files are relative to the data root.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from assignbench.data.coco import read_coco
from assignbench.data.dataset import Dataset, Splits
from assignbench.data.schema import CocoSpec, CocoSplit, DatasetSpec, ShapesSpec, VocSpec, VocSplit, load_spec
from assignbench.data.shapes import SPLITS, ShapesParameters, prepare_shapes
from assignbench.data.voc import VocList, read_voc
from assignbench.errors import DataError, UsageError
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
        spec: a built-in name, ``coco:DIR``, ``voc:DIR``, or the path of a YAML file.
        data_root: folder of the built-in data sets.

    Raises:
        UsageError: for an unknown name or a wrong YAML file.
        DataError: when files are missing, damaged or inconsistent.
        SystemProblem: when ``shapes`` cannot be written.
    """
    found = _locate(spec, data_root)
    train = _open_train(found)
    return Splits(found.canonical, train, _open_evaluation(found, train.classes))


def open_evaluation(spec: str, data_root: Path) -> Dataset:
    """The evaluation split alone, with the classes of its own annotations: the training split need not be there.

    Raises:
        As `open_dataset`.
    """
    return _open_evaluation(_locate(spec, data_root), None)


@dataclass(frozen=True)
class _Located:
    """A data set that was asked for: where its parts are."""

    canonical: str  # what opens it again from any folder
    name: str  # what tables print
    spec: CocoSpec | VocSpec
    base: Path  # what its paths are relative to


def _locate(spec: str, data_root: Path) -> _Located:
    kind, _, place = spec.partition(":")
    if kind in ("coco", "voc") and place:
        folder = Path(place).expanduser().resolve()
        if not folder.is_dir():
            raise DataError(f"data set {spec}: there is no folder {folder}")
        return _Located(f"{kind}:{folder}", f"{kind}:{folder.name}", _FOLDERS[kind](folder), folder)
    if spec in _names():
        file = configs_folder() / "datasets" / f"{spec}.yaml"
        return _placed(load_spec(file), spec, spec, data_root, data_root)
    if spec.endswith((".yaml", ".yml")):
        file = Path(spec).expanduser().resolve()
        return _placed(load_spec(file), str(file), file.name, file.parent, data_root)
    raise UsageError(_unknown(spec))


def _placed(spec: DatasetSpec, canonical: str, name: str, base: Path, data_root: Path) -> _Located:
    """Shapes are drawn on the way; they are a data set in COCO's layout then."""
    if isinstance(spec, ShapesSpec):
        fields = spec.model_dump(exclude={"format", "description"})
        folder = prepare_shapes(ShapesParameters(**fields), data_root)
        return _Located(canonical, name, _coco_in(folder, *SPLITS), folder)
    return _Located(canonical, name, spec, base)


def _names() -> list[str]:
    return sorted(file.stem for file in (configs_folder() / "datasets").glob("*.yaml"))


def _unknown(spec: str) -> str:
    if spec and Path(spec).is_dir():
        return f"data set {spec!r} is a folder; say in which layout: coco:{spec} or voc:{spec}"
    names = _names()
    return (
        f"unknown data set {spec!r}{did_you_mean(spec, names)}\nknown: {', '.join(names)}, "
        "coco:DIR, voc:DIR, or the path of a YAML file"
    )


def _open_train(found: _Located) -> Dataset:
    """The training split; what the evaluation split needs is checked at once, so that nothing trains in vain."""
    spec, base, name = found.spec, found.base, found.name
    if isinstance(spec, CocoSpec):
        part = spec.train
        _require(name, [base / path for one in (part, spec.evaluation) for path in (one.annotations, one.images)])
        split = f"train ({part.images.name})"
        return read_coco(base / part.annotations, base / part.images, name=name, split=split, training=True)
    lists = [VocList(base / part.folder, part.list) for part in spec.train]
    evaluation = [VocList(base / part.folder, part.list) for part in spec.evaluation]
    _require(name, _voc_files([*lists, *evaluation]))
    return read_voc(
        lists,
        name=name,
        split=f"train ({_joined(lists)})",
        training=True,
        classes=spec.classes,
        pixel_origin=spec.pixel_origin,
    )


def _open_evaluation(found: _Located, classes: tuple[str, ...] | None) -> Dataset:
    """The evaluation split, with the classes of the training split; None: its own."""
    spec, base, name = found.spec, found.base, found.name
    if isinstance(spec, CocoSpec):
        part = spec.evaluation
        _require(name, [base / part.annotations, base / part.images])
        return read_coco(
            base / part.annotations,
            base / part.images,
            name=name,
            split=f"evaluation ({part.images.name})",
            training=False,
            classes=classes,
        )
    lists = [VocList(base / part.folder, part.list) for part in spec.evaluation]
    _require(name, _voc_files(lists))
    return read_voc(
        lists,
        name=name,
        split=f"evaluation ({_joined(lists)})",
        training=False,
        classes=spec.classes if classes is None else classes,
        pixel_origin=spec.pixel_origin,
    )


def _voc_files(lists: list[VocList]) -> list[Path]:
    return [
        *(part.file for part in lists),
        *(part.folder / kind for part in lists for kind in ("Annotations", "JPEGImages")),
    ]


def _joined(lists: list[VocList]) -> str:
    return " + ".join(f"{part.folder.name} {part.list}" for part in lists)


def _require(name: str, paths: list[Path]) -> None:
    """Name every file and folder that is not where it belongs, all at once."""
    missing = [str(path) for path in dict.fromkeys(paths) if not path.exists()]
    if missing:
        raise DataError(
            f"data set {name} is not complete, it needs {', '.join(missing)}; "
            "put the data there, or point --data-root (ASSIGNBENCH_DATA) to where it is"
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
        if all(VocList(folder, name).file.is_file() for name in pair):
            return VocSpec(format="voc", train=[train], evaluation=[evaluation])
    wanted = " nor ".join(f"{a}.txt with {b}.txt" for a, b in pairs)
    raise DataError(f"{folder / 'ImageSets' / 'Main'} holds neither {wanted}; put the image lists there")


_FOLDERS = {"coco": _coco_folder, "voc": _voc_folder}
