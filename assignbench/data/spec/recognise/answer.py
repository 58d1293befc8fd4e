"""What recognising a folder, or trying one format on it, can end with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from assignbench.data.spec.schema import OfFolder

Format = Literal["coco", "voc", "yolo"]
FORMATS: tuple[Format, ...] = ("coco", "voc", "yolo")
TITLES = {"coco": "COCO", "voc": "VOC", "yolo": "YOLO"}


@dataclass(frozen=True)
class Fit:
    """How a format fits a folder."""

    spec: OfFolder  # paths are relative to the folder, or absolute
    chosen: tuple[str, ...]  # what was taken for what, in sentences
    remarks: tuple[str, ...] = ()  # what a reader of a number must know: what is not used, what was divided


@dataclass(frozen=True)
class Wrong:
    """A folder in a format, in which something is missing or contradictory."""

    why: str


@dataclass(frozen=True)
class Absent:
    """A folder that is not in a format."""

    why: str


@dataclass(frozen=True)
class Recognised:
    """A folder whose files are in one format."""

    format: Format
    spec: OfFolder  # paths are relative to the folder, or absolute
    chosen: tuple[str, ...]
    remarks: tuple[str, ...]
    alternatives: tuple[str, ...] = ()  # other data sets that are described here: YAML files


@dataclass(frozen=True)
class Tried:
    """A format that does not fit, and why, in a sentence."""

    format: Format
    why: str
    wrong: bool  # the files of the format are there; else they are not


@dataclass(frozen=True)
class Unrecognised:
    """A folder in which nothing fits, or too much."""

    tried: tuple[Tried, ...]  # formats that do not fit; first those whose files are there
    fits: tuple[str, ...] = ()  # what each of several data sets that lie here is opened by: "coco:DIR"
    strangers: tuple[str, ...] = ()  # formats that are known and not read, what to do about them; and other advice
