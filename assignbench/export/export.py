"""A finished run → a file of its network, held against the run, and a JSON file that says how to use it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from assignbench.core.types import PADDING
from assignbench.data.dataset import ImageInfo
from assignbench.data.folders import SUFFIXES, pictures_below
from assignbench.data.images import Stored
from assignbench.data.pictures import picture_size, read_picture, refuse_dim
from assignbench.data.spec.locate import data_root as resolve_data_root
from assignbench.data.spec.locate import open_dataset
from assignbench.errors import DataError, RunError, UsageError
from assignbench.export.check import Checked, check
from assignbench.export.description import KIND, describe
from assignbench.export.formats import (
    ENDS,
    LEAST,
    MOST,
    SHORT,
    Form,
    opened,
    require_packages,
    traced,
    versions_of,
    write,
)
from assignbench.export.network import BOXES, NAMES, Exported
from assignbench.files import is_stream, read_json, sha256_of, write_json_atomic, written
from assignbench.overwriting import refuse_inputs, refuse_strangers
from assignbench.recipe import DataSettings
from assignbench.run.results.record import RunRecord
from assignbench.run.scoring.detect import rule_of
from assignbench.run.scoring.predict import network_input
from assignbench.run.scoring.reopen import Finished, open_run, unchanged
from assignbench.run.training.device import memory_advice

COMMAND = "export"
NAME = "exported"  # of the file in the run's folder, where no other is asked for
LOOKED_AT = 4  # pictures that the file is held against: spread over a split or a folder


@dataclass(frozen=True)
class Done:
    """What was written."""

    file: Path
    document: Path
    about: Mapping[str, Any]  # the document
    checked: Checked
    notes: tuple[str, ...]


def export(
    folder: Path,
    *,
    form: Form = "torch",
    output: Path | None = None,
    size: tuple[int, int] | None = None,
    pictures: Path | None = None,
    data_root: Path | None = None,
    trust: bool = False,
) -> Done:
    """Write a run's network as one file, and ``FILE.json`` beside it.

    Args:
        folder: of the run.
        form: torch or onnx.
        output: the file; None: in the run's folder.
        size: height and width of the input in pixels; None: they may vary.
        pictures: a picture or a folder of them to hold the file against; None: the run's evaluation pictures.
        data_root: folder of the data sets.
        trust: as `open_run`.

    Raises:
        UsageError: as `open_run`; a size does not fit, or somebody else's file is there.
        SystemProblem: packages are missing, the disk is full, or memory is short.
        DataError: the pictures are missing, damaged, or others than the run was evaluated on.
        RunError: the network cannot be exported, or the file is not equal to it. No file is left.
    """
    require_packages(form)
    file = output or folder / f"{NAME}{ENDS[form]}"
    document = document_of(file)
    _refuse_overwriting(file, document, folder, asked=output is not None)
    if size is not None and any(not PADDING <= side <= MOST or side % PADDING for side in size):
        raise UsageError(
            f"--size {size[0]}x{size[1]}: both sides must be multiples of {PADDING} up to {MOST}, as in 800x1344"
        )
    finished = open_run(folder, trust=trust)
    record, recipe = finished.record, finished.recipe.recipe
    infos = _pictures(record, pictures, data_root)
    refuse_inputs(file, (info.path for info in infos))
    with memory_advice(SHORT):
        inputs = list(_inputs(infos, recipe.data, size))

    detector = finished.learner.detector.eval()
    detector.branches = nn.ModuleDict()  # they do not speak at test, and would only make the file larger
    rule = rule_of(recipe.evaluate, suppress=detector.spec.suppress)
    network = Exported(detector, rule).eval()
    about = describe(record, detector.spec, detector.pixels, recipe.data, rule, size)
    program = traced(network, size)
    with written(document) as describing, written(file) as temporary, memory_advice(SHORT):
        write(form, program, (BOXES, *(NAMES[one] for one in network.outputs)), temporary)
        checked = check(opened(form, temporary), network, inputs, about, recipe.evaluate)
        facts = {"name": file.name, "format": form, "bytes": temporary.stat().st_size, "sha256": sha256_of(temporary)}
        about = {**about, "file": facts, "versions": versions_of(form), "check": checked.as_json()}
        write_json_atomic(describing, about)
    return Done(file, document, about, checked, _notes(finished, checked))


def document_of(file: Path) -> Path:
    """The JSON file beside an exported network."""
    return file.with_name(f"{file.name}.json")


def is_description(file: Path) -> bool:
    """Whether a file is a JSON file that was written here."""
    try:
        content = read_json(file)
    except RunError:
        return False
    return isinstance(content, dict) and content.get("kind") == KIND


def _refuse_overwriting(file: Path, document: Path, folder: Path, *, asked: bool) -> None:
    """Of the two names the user has typed one at most."""
    if is_stream(file):
        raise UsageError(f"--output {file}: an exported network is a file, with its description beside it; name a file")
    refuse_strangers(document, is_description, COMMAND)
    if not asked:
        refuse_strangers(file, lambda _: is_description(document), COMMAND)
    # what was exported into the run's folder may be exported there again
    beside = folder.iterdir() if folder.is_dir() else ()
    refuse_inputs(file, (one for one in beside if not is_description(document_of(one))))


def _pictures(record: RunRecord, place: Path | None, data_root: Path | None) -> Sequence[ImageInfo]:
    """The pictures that are looked at, some of all."""
    if place is None:
        try:
            split = open_dataset(record.dataset.spec, resolve_data_root(data_root)).evaluation
        except (DataError, UsageError) as error:
            raise type(error)(f"{error}\nor hold the file against pictures of your own: --pictures FOLDER") from error
        every: Sequence[Any] = unchanged(split, record.dataset.evaluation, record, "evaluated").images
        return _some(every)
    paths = pictures_below(place).paths if place.is_dir() else (place,)
    if not paths:
        raise DataError(f"{place} holds no picture; pictures end in {', '.join(sorted(SUFFIXES))}")
    stored = Stored(record.dataset.upright, record.dataset.bits)
    infos = [ImageInfo(0, path, *picture_size(path, stored), stored) for path in _some(paths)]
    refuse_dim(infos, str(place))
    return infos


def _some(every: Sequence[Any]) -> Sequence[Any]:
    """A few of many, spread evenly, the first among them."""
    count = min(LOOKED_AT, len(every))
    return [every[place * len(every) // count] for place in range(count)]


def _inputs(
    infos: Sequence[ImageInfo], data: DataSettings, size: tuple[int, int] | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Images and sizes of each picture, padded as `predict` pads it, or to the size.

    Raises:
        UsageError: a picture is too small, or does not fit into the size.
    """
    for info in infos:
        image, sizes = network_input(read_picture(info), data)
        height, width = image.shape[-2:]
        if size is None:
            if min(height, width) < LEAST:
                raise UsageError(
                    f"{info.path} is {height} × {width} pixels as the network sees it, and sides that may vary begin "
                    f"at {LEAST}; add a fixed size: --size {_square(data)}"
                )
            yield image, sizes
            continue
        if height > size[0] or width > size[1]:
            raise UsageError(
                f"{info.path} is {height} × {width} pixels as the network sees it, and does not fit into --size "
                f"{size[0]}x{size[1]}; every picture of this run fits into --size {_square(data)}"
            )
        larger = torch.zeros(1, 3, *size, dtype=torch.uint8)
        larger[:, :, :height, :width] = image
        yield larger, sizes


def _square(data: DataSettings) -> str:
    side = -(-data.test_sides[1] // PADDING) * PADDING
    return f"{side}x{side}"


def _notes(finished: Finished, checked: Checked) -> tuple[str, ...]:
    none = () if checked.detections else ("nothing was detected in these pictures: only the outputs were compared",)
    return (*finished.notes, *none)
