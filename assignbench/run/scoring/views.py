"""Sets of views: what a picture is looked at in for a number with test-time augmentation, and how they become one."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from assignbench.config import digest
from assignbench.data.load.transforms import View
from assignbench.detector.vote import MergeRule
from assignbench.document import load_document
from assignbench.errors import UsageError
from assignbench.paths import config_file, configs_folder
from assignbench.recipe import DataSettings, EvaluateSettings

SHORT = 8  # digits of the digest in names of files and headers

_Side = Annotated[int, Field(ge=32, le=8192)]


class _Group(BaseModel):
    """Strict, as a recipe is."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class MergeSettings(_Group):
    """How the views become one list of detections."""

    rule: Literal["nms", "vote"] = Field(
        description="nms: the candidates of all views go through one suppression; vote: each view's detections vote"
    )
    iou: float | None = Field(
        None,
        gt=0,
        le=1,
        description="nms: IoU above which the weaker of two boxes of a class is dropped, null: the recipe's "
        "evaluate.nms; vote: IoU from which boxes of a class vote together, needed",
    )
    soft: float | None = Field(
        None,
        gt=0,
        le=1,
        description="vote: a box that voted for a better one stays beside it with its score times 1 − IoU, if that is "
        "at least this; null: none stays",
    )

    @model_validator(mode="after")
    def _rule_fits(self) -> MergeSettings:
        if self.rule == "vote" and self.iou is None:
            raise ValueError("rule vote needs merge.iou, the IoU from which boxes vote together; 0.65 is usual")
        if self.rule == "nms" and self.soft is not None:
            raise ValueError(f"merge.soft = {self.soft} is for rule vote; with rule nms remove it")
        return self


class ViewSettings(_Group):
    """One size of the picture, as it is or mirrored, or both."""

    short_side: _Side | None = Field(
        None, description="shorter side of the resized picture in pixels; null: what the recipe evaluates with"
    )
    long_side: _Side | None = Field(
        None, description="limit of the longer side in pixels; null, with short_side: what the recipe evaluates with"
    )
    flip: Literal["none", "only", "both"] = Field(
        "none", description="the picture as it is (none), mirrored left to right (only), or once each (both)"
    )
    least: float = Field(
        0.0, ge=0, le=1e9, description="least √area of a detection that counts, in pixels of the original picture"
    )
    below: float | None = Field(
        None,
        gt=0,
        le=1e9,
        description="√area that a detection must stay below to count, in pixels of the original picture; null: any",
    )

    @model_validator(mode="after")
    def _sides_and_sizes_fit(self) -> ViewSettings:
        if (self.short_side is None) != (self.long_side is None):
            raise ValueError("short_side and long_side go together: give both, or neither for the recipe's")
        if self.short_side is not None and self.long_side is not None and self.short_side > self.long_side:
            raise ValueError(
                f"short_side = {self.short_side} exceeds long_side = {self.long_side}; "
                "raise the limit or lower the side"
            )
        if self.below is not None and self.least >= self.below:
            raise ValueError(f"least = {self.least:g} is not below = {self.below:g}: no detection has such a size")
        return self


class ViewSetSettings(_Group):
    """A file of ``configs/tta``."""

    merge: MergeSettings = Field(description="how the views become one")
    views: list[ViewSettings] = Field(min_length=1, description="what a picture is looked at in")


@dataclass(frozen=True)
class SizedView:
    """A view, and the sizes of the detections that count in it: √area in original pixels, ``least ≤ √area < below``."""

    view: View
    least: float
    below: float | None

    def overlaps(self, other: SizedView) -> bool:
        """Whether a detection could count twice."""
        ends = [float("inf") if each.below is None else each.below for each in (self, other)]
        return self.view == other.view and max(self.least, other.least) < min(ends)


@dataclass(frozen=True)
class ViewSet:
    """A set of views under a recipe: nothing in it is left to be looked up."""

    name: str
    views: tuple[SizedView, ...]  # largest first, mirrored last: the order in the file does not matter
    merge: MergeRule

    @property
    def content(self) -> dict[str, Any]:
        """All that decides a number, as JSON knows it."""
        views = [{**asdict(sized.view), "least": sized.least, "below": sized.below} for sized in self.views]
        return {"merge": asdict(self.merge), "views": views}

    @property
    def digest(self) -> str:
        """sha256 of `content`; the name does not enter."""
        return digest(self.content)

    @property
    def label(self) -> str:
        """Name and digest: ``flip-1a2b3c4d``; also for names of files."""
        plain = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in self.name).strip("-")
        return f"{plain or 'views'}-{self.digest[:SHORT]}"


def load_views(name_or_path: str, data: DataSettings, settings: EvaluateSettings) -> ViewSet:
    """Read a set of views and settle it under a recipe.

    Args:
        name_or_path: a shipped set (``flip``) or a YAML file.
        data: the recipe's sizes, for views without sizes of their own.
        settings: the recipe's post-processing.

    Raises:
        UsageError: no such set, an unknown or missing key, a wrong value, or views that contradict each other.
    """
    path = config_file("set of views", _views_folder(), known_views(), name_or_path)
    written = load_document(path, ViewSetSettings)
    views = [
        SizedView(View(view.short_side or data.test_sides[0], view.long_side or data.test_sides[1], mirrored), *sizes)
        for view in written.views
        for mirrored in {"none": (False,), "only": (True,), "both": (False, True)}[view.flip]
        for sizes in [(view.least, view.below)]
    ]
    for one, other in combinations(views, 2):
        if one.overlaps(other):
            raise UsageError(
                f"{path}: the view {one.view.short_side}/{one.view.long_side}{', mirrored' * one.view.mirrored} is "
                "there twice for the same sizes, so that its detections would count twice; remove one"
            )
    merge = MergeRule(
        rule=written.merge.rule,
        iou=settings.nms if written.merge.iou is None else written.merge.iou,
        soft=written.merge.soft,
        detections=settings.detections,
        voting=settings.voting if written.merge.rule == "nms" else None,
    )
    return ViewSet(path.stem, tuple(sorted(views, key=_rank)), merge)


def known_views() -> tuple[str, ...]:
    """Names of the shipped sets, sorted."""
    return tuple(sorted(path.stem for path in _views_folder().glob("*.yaml")))


def _rank(sized: SizedView) -> tuple[float, ...]:
    view = sized.view
    return -view.short_side * view.long_side, -view.short_side, view.mirrored, sized.least


def _views_folder() -> Path:
    return configs_folder() / "tta"
