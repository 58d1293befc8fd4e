"""Pictures as the page shows them: drawn already, with their numbers beside them."""

from __future__ import annotations

from dataclasses import dataclass

from assignbench.report.figure import Field


@dataclass(frozen=True)
class DrawnPanel:
    """What one row made of a picture."""

    row: str
    svg: str  # one element of our own making, in which all text of strangers is escaped; it may use the picture's image
    note: str  # what the drawing leaves out, and why


@dataclass(frozen=True)
class DrawnPicture:
    """One picture."""

    name: str  # of its file
    detail: str  # "picture 95, 192 × 227"
    better: str  # the row that the picture speaks for
    worse: str  # and against
    points: float  # by which it moves their difference, percent points of AP
    width: int
    height: int
    image: str  # id of the element of `shared` that holds the pixels
    shared: str  # an svg element that takes no room
    columns: tuple[str, ...]  # of the picture's numbers
    rows: tuple[tuple[Field, ...], ...]  # one a row
    panels: tuple[DrawnPanel, ...]  # those that differ most come first


@dataclass(frozen=True)
class DrawnGallery:
    """The pictures of one data set, the largest difference first."""

    dataset: str
    legend: str  # an svg element
    notes: tuple[str, ...]
    pictures: tuple[DrawnPicture, ...]
