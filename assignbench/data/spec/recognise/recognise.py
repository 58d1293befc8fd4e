"""What a folder is: a function of its tree and of its small text files; no picture is decoded, nothing is counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from assignbench.data.spec.recognise.answer import (
    FORMATS,
    TITLES,
    Absent,
    Fit,
    Format,
    Recognised,
    Tried,
    Unrecognised,
    Wrong,
)
from assignbench.data.spec.recognise.coco import coco_in
from assignbench.data.spec.recognise.strangers import strangers_in
from assignbench.data.spec.recognise.tree import Tree
from assignbench.data.spec.recognise.voc import voc_in
from assignbench.data.spec.recognise.yolo import yolo_in
from assignbench.data.spec.schema import moved

_MOST_WRAPPED = 20  # folders that are looked into where the folder itself holds no data set
_READERS: dict[Format, Callable[[Tree], Fit | Wrong | Absent]] = {"coco": coco_in, "voc": voc_in, "yolo": yolo_in}


def recognise(folder: Path, formats: Sequence[Format] = FORMATS) -> Recognised | Unrecognised:
    """Say which data set a folder holds, by itself or in the only folder of it that holds one.

    Args:
        folder: absolute.
        formats: those to try.
    """
    tree = Tree(folder)
    fits, tried = _tried(tree, formats)
    if len(fits) == 1:
        ((name, fit),) = fits.items()
        return Recognised(name, fit.spec, fit.chosen, fit.remarks, _described(tree))
    if fits:
        return Unrecognised(tried, tuple(f"{name}:{folder}" for name in fits))
    if any(one.wrong for one in tried):
        return Unrecognised(tried, (), _described(tree))
    inner: list[tuple[str, Format, Fit]] = [
        (place, name, fit)
        for place in tree.folders()[:_MOST_WRAPPED]
        for name, fit in _tried(Tree(folder / place), formats)[0].items()
    ]
    if len(inner) == 1:
        place, name, fit = inner[0]
        remark = f"the data set lies in {place}"
        return Recognised(name, moved(fit.spec, Path(place)), fit.chosen, (remark, *fit.remarks), _described(tree))
    if inner:
        return Unrecognised(tried, tuple(f"{name}:{folder / place}" for place, name, _ in inner))
    others: list[Format] = [name for name in FORMATS if name not in formats]
    hints = tuple(f"it is in {TITLES[name]}'s format: {name}:{folder}" for name in _tried(tree, others)[0])
    return Unrecognised(tried, (), (*(hints or strangers_in(tree)), *_described(tree)))


def _tried(tree: Tree, formats: Sequence[Format]) -> tuple[dict[Format, Fit], tuple[Tried, ...]]:
    answers: dict[Format, Fit | Wrong | Absent] = {name: _READERS[name](tree) for name in formats}
    fits: dict[Format, Fit] = {name: answer for name, answer in answers.items() if isinstance(answer, Fit)}
    tried = [
        Tried(name, answer.why, isinstance(answer, Wrong))
        for name, answer in answers.items()
        if not isinstance(answer, Fit)
    ]
    return fits, tuple(sorted(tried, key=lambda one: not one.wrong))


def _described(tree: Tree) -> tuple[str, ...]:
    """YAML files of ours that lie here."""
    names = [name for name in tree.at(".").of(".yaml", ".yml") if "\nformat:" in f"\n{tree.head(name, 4096)}"]
    return tuple(f"{name} describes a data set, too: {tree.root / name}" for name in names)
