"""What a data set's YAML file may say (see ``configs/datasets``); every other key is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from assignbench.data.spec.sources import Published
from assignbench.document import fitted
from assignbench.errors import UsageError
from assignbench.strict_yaml import read_yaml
from assignbench.suggest import did_you_mean


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _distinct(names: list[str]) -> list[str]:
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"the class {twice[0]!r} is named twice")
    return names


Classes = Annotated[list[str], Field(min_length=1), AfterValidator(_distinct)]


class CocoSplit(_Part):
    """One split: a file of annotations, and its pictures."""

    annotations: Path  # instances_*.json
    images: Path  # folder that file names are relative to


class VocSplit(_Part):
    """One list of a folder in VOC's layout; a split may join several."""

    folder: Path  # what the other paths are relative to
    list: str | None = None  # name of a file in ImageSets/Main, without .txt; None: every annotation of the folder
    annotations: Path = Path("Annotations")
    images: Path = Path("JPEGImages")


class _Divided(_Part):
    """What every data set says of its pictures: how they are divided, and how they are stored."""

    split: float | None = Field(
        default=None, gt=0, lt=1
    )  # share of train's pictures that is taught; the rest is scored
    bits: int | None = Field(default=None, ge=8, le=16)  # of a grey value, where pictures hold 16 bits: 12 of a camera
    upright: bool | None = None  # whether boxes refer to pictures as EXIF turns them; None: yes for YOLO, else no

    @model_validator(mode="after")
    def _one_way_to_divide(self) -> Self:
        if (getattr(self, "evaluation", None) is None) == (self.split is None):
            raise ValueError(
                "give either 'evaluation' or 'split' (the share of the pictures of 'train' that is taught)"
            )
        return self


class CocoSpec(_Divided, Published):
    """A data set in COCO's format."""

    format: Literal["coco"]
    description: str = ""
    train: CocoSplit
    evaluation: CocoSplit | None = None
    test: CocoSplit | None = None  # its objects are secret: predicted for the publisher's server, never scored here
    classes: Classes | None = None  # None: those of the training split, by category id
    folders: int | None = Field(default=None, ge=0)  # of a file_name that count, from the last; None: all
    left_out: list[str] = []  # pictures to drop with their objects, named as `folders` leaves them
    official: Literal["voc", "widerface"] | None = None  # whose own metrics are given beside COCO's
    lists: Path | None = None  # as of `WiderfaceSpec`; with official: widerface

    @model_validator(mode="after")
    def _lists_are_of_widerface(self) -> Self:
        if self.lists is not None and self.official != "widerface":
            raise ValueError("'lists' goes with 'official: widerface' alone")
        return self


class VocSpec(_Divided, Published):
    """A data set in Pascal VOC's layout."""

    format: Literal["voc"]
    description: str = ""
    train: Annotated[list[VocSplit], Field(min_length=1)]
    evaluation: Annotated[list[VocSplit], Field(min_length=1)] | None = None
    classes: Classes | None = None  # None: those of the training split, sorted
    pixel_origin: int = Field(default=1, ge=0, le=1)  # see read_voc


class YoloSpec(_Divided, Published):
    """A data set in YOLO's format: pictures, and a text file of labels for each."""

    format: Literal["yolo"]
    description: str = ""
    classes: Classes  # in the order of the labels
    train: Annotated[list[Path], Field(min_length=1)]  # folders of pictures, or text files that list pictures
    evaluation: Annotated[list[Path], Field(min_length=1)] | None = None
    keypoints: tuple[Annotated[int, Field(ge=1)], Literal[2, 3]] | None = None  # how many follow a box, numbers of each


class WiderfaceSpec(_Divided, Published):
    """WIDER FACE, in its own text format."""

    format: Literal["widerface"]
    description: str = ""
    train: CocoSplit  # annotations: wider_face_*_bbx_gt.txt
    evaluation: CocoSplit | None = None
    lists: Path | None = None  # folder of wider_{easy,medium,hard}_val.mat; need not be there


class ShapesSpec(_Part):
    """The generated data set; see `ShapesParameters` for the units."""

    format: Literal["shapes"]
    description: str = ""
    seed: int = Field(ge=0)
    train: int = Field(ge=1)
    evaluation: int = Field(ge=1)
    short_side: int = Field(ge=64)
    long_side: int
    smallest: float = Field(ge=8)
    largest: float
    turned: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.long_side < self.short_side:
            raise ValueError("long_side must not be less than short_side")
        if not self.smallest < min(self.largest, 0.9 * self.short_side):
            raise ValueError("smallest must be less than largest and than 0.9 × short_side")
        return self


DatasetSpec = CocoSpec | VocSpec | YoloSpec | WiderfaceSpec | ShapesSpec
OfFolder = CocoSpec | VocSpec | YoloSpec  # formats that a folder is recognised in

_MODELS: dict[str, type[DatasetSpec]] = {
    "coco": CocoSpec,
    "voc": VocSpec,
    "yolo": YoloSpec,
    "widerface": WiderfaceSpec,
    "shapes": ShapesSpec,
}


def moved(spec: OfFolder, into: Path) -> OfFolder:
    """The same data set, its relative paths put below a folder."""

    def coco(split: CocoSplit | None) -> CocoSplit | None:
        return None if split is None else CocoSplit(annotations=into / split.annotations, images=into / split.images)

    def voc(splits: list[VocSplit] | None) -> list[VocSplit] | None:
        return splits and [one.model_copy(update={"folder": into / one.folder}) for one in splits]

    def yolo(places: list[Path] | None) -> list[Path] | None:
        return places and [into / place for place in places]

    if isinstance(spec, CocoSpec):
        parts = {"train": coco(spec.train), "evaluation": coco(spec.evaluation), "test": coco(spec.test)}
    elif isinstance(spec, VocSpec):
        parts = {"train": voc(spec.train), "evaluation": voc(spec.evaluation)}
    else:
        parts = {"train": yolo(spec.train), "evaluation": yolo(spec.evaluation)}
    return spec.model_copy(update=parts)


def load_spec(file: Path) -> DatasetSpec:
    """Read a data set's YAML file.

    Raises:
        UsageError: naming file and key, for anything unreadable, unknown, missing or out of range.
    """
    content = read_yaml(file)
    name = str(content.get("format")) if isinstance(content, dict) else "nothing"
    if name not in _MODELS:
        raise UsageError(
            f"{file}: 'format' must be one of {', '.join(_MODELS)}, not {name}{did_you_mean(name, _MODELS)}"
        )
    return fitted(content, _MODELS[name], str(file))
