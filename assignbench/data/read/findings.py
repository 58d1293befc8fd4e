"""Every kind of finding: how bad it is, what a reader does about it, and what `fix` does.

An error is something that training refuses, or that makes a number wrong. A warning is put right or left out by
a rule of the readers, counted each time. A note is good to know.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from assignbench.data.dataset import How


class Severity(StrEnum):
    """See the module."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Kind:
    """One kind of finding."""

    name: str  # stable: scripts look for it
    severity: Severity
    meaning: str
    remedy: str = ""  # what the repaired copy has instead; empty: the same
    how: How = "repaired"  # what `done` does: whole pictures are left aside; what is noted stays as it was
    done: str = ""  # what reading for a run does about it, counted and said each time; empty: nothing

    @property
    def reading(self) -> str:
        """What a run does about it, in words."""
        if self.severity is Severity.ERROR:
            return "not seen by a run, only by data check" if self.name.startswith("overlap-") else "refused"
        return f"{self.how}: {self.done}" if self.done else "nothing"


Table = Literal["images", "annotations", "categories", "nothing"]  # of a `RawSplit`; what places count in


@dataclass(frozen=True, eq=False)
class Finding:
    """Everything of one kind in one split."""

    kind: Kind
    part: str  # "train", "evaluation" or, between them, "both"
    table: Table
    places: NDArray[np.int64]  # [item]
    details: tuple[str, ...] = ()  # [item], or none

    @property
    def count(self) -> int:
        """How many items."""
        return len(self.places) if self.table != "nothing" else len(self.details)


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
_OUT = "picture left out with its objects"
_DROPPED = "dropped"

FILE_UNREADABLE = Kind("file-unreadable", _E, "an annotation file that cannot be read as a whole")
ENTRY_MALFORMED = Kind("entry-malformed", _E, "an entry that cannot be understood", _DROPPED)
LABELS_UNREADABLE = Kind("labels-unreadable", _E, "a picture whose own annotation file is missing or damaged", _OUT)
LISTED_AGAIN = Kind("image-listed-again", _E, "a picture that stands in the image list twice", "kept once")
REFUSED = Kind("refused", _E, "the reader refuses the data set for another reason")
WHOLE_WITH_POINT = Kind(
    "whole-with-point",
    _W,
    "a whole number written with a point (1.0)",
    "written without",
    done="whole number written as 1.0",
)
NUMBER_IN_TEXT = Kind(
    "number-in-text", _W, "a number written as text", "written as a number", done="number written as text"
)
ID_IN_TEXT = Kind(
    "id-in-text", _W, "a numeric id written as text", "written as a number", done="numeric id written as text"
)
ID_NUMBERED = Kind(
    "id-numbered", _W, "an id that is no number", "a number instead", done="id that is no number, numbered from 1"
)
CROWD_BOOLEAN = Kind(
    "crowd-boolean",
    _W,
    "iscrowd written as true or false",
    "written as 1 or 0",
    done="iscrowd written as true or false",
)
BOX_FROM_POLYGON = Kind(
    "box-from-polygon",
    _W,
    "an object with a polygon and no box",
    "the box around it",
    done="box missing, taken around the polygon",
)
BOX_FROM_MASK = Kind(
    "box-from-mask",
    _W,
    "an object with a mask and no box",
    "the box around it",
    done="box missing, taken around the mask",
)
CATEGORY_PARENT = Kind(
    "category-parent",
    _W,
    "a category without objects that others name as their supercategory: no class",
    "left out",
    done="category without objects that only groups others, left out",
)
NAME_BLANKS = Kind(
    "name-blanks",
    _W,
    "a class name with blanks at its ends",
    "without them",
    done="class name with blanks at its ends, taken without",
)

IMAGE_ID_REPEATED = Kind("image-id-repeated", _E, "several image entries with one id", _OUT + ", all of that id")
ANNOTATION_ID_REPEATED = Kind(
    "annotation-id-repeated", _E, "several annotations with one id", "all but the first get new ids"
)
CATEGORY_ID_REPEATED = Kind(
    "category-id-repeated", _E, "several categories with one id", "left out with their objects, all of that id"
)
CATEGORY_NAME_REPEATED = Kind(
    "category-name-repeated", _E, "several categories with one name", "objects get the first one's id"
)
ANNOTATION_ID_ZERO = Kind(
    "annotation-id-zero", _W, "annotation id 0, which pycocotools takes for no match; renumbered here", "a new id"
)
ID_ZERO = Kind("id-zero", _N, "an image or category with id 0: fine here, not everywhere")

SIZE_MISSING = Kind(
    "size-missing",
    _W,
    "an image entry without a usable width and height; taken from the picture",
    "taken from the picture",
    done="size missing, taken from the picture",
)
PICTURE_MISSING = Kind("picture-missing", _E, "an image entry whose file is not there", _OUT)
PICTURE_UNREADABLE = Kind("picture-unreadable", _E, "a file that is no picture, or of a kind that cannot be read", _OUT)
PICTURE_DAMAGED = Kind("picture-damaged", _E, "a picture with a header but without all its pixels: truncated", _OUT)
PICTURES_DIM = Kind("pictures-dim", _E, "pictures of 16 bits that use fewer and do not say so: nearly black")
PICTURE_SIZE = Kind("picture-size", _E, "a picture that has not the size its annotation states", _OUT)
PICTURE_TURNED = Kind(
    "picture-turned",
    _E,
    "annotations of a picture as viewers turn it (EXIF), not as it is stored",
    "boxes turned to the stored pixels",
)
PICTURE_ROTATED = Kind(
    "picture-rotated",
    _W,
    "an EXIF tag that viewers apply and training does not: if the boxes fit the stored pixels, write upright: false in "
    "the YAML file of the data set, and if they fit what viewers show, upright: true",
)
PICTURE_MISLABELLED = Kind(
    "picture-mislabelled", _W, "a suffix of another format than the content; read by content", "renamed if copied"
)
PICTURE_TWICE = Kind(
    "picture-twice",
    _W,
    "one file under several image ids: it counts several times",
    how="noted",
    done="file that other image ids have, too: it counts several times",
)
PICTURE_COPY = Kind("picture-copy", _N, "the same pixels in another file of the split")
PICTURE_UNLISTED = Kind("picture-unlisted", _N, "a picture file in the folder that no split lists")
PICTURE_LEFT_OUT = Kind(
    "picture-left-out",
    _N,
    "a picture that the specification leaves out",
    how="left aside",
    done="picture left out with its objects, as the specification says",
)
LABELS_ORPHAN = Kind(
    "labels-orphan", _W, "a label file without a picture; left aside", done="label file without a picture left aside"
)
LINE_RESPELT = Kind(
    "line-respelt",
    _W,
    "a line with a suffix, a flag, commas or a class like 1.0",
    "as it is meant",
    done="line with a suffix, a flag, commas or a class like 1.0, read as it is meant",
)
POLYGON_SUSPECT = Kind(
    "polygon-suspect",
    _W,
    "a polygon that looks like a box and its keypoints: give kpt_shape (YAML: keypoints)",
    "the box around its numbers",
    how="noted",
    done="polygon that looks like a box and its keypoints (say kpt_shape), taken as a polygon",
)
POLYGONS_TRIANGLES = Kind(
    "polygons-triangles",
    _W,
    "polygons that are triangles, all of a split: a box and two other columns?",
    how="noted",
    done="lines of a class and six numbers, all of a split, taken as triangles: are they a box and two other columns?",
)
LABELS_OTHERWISE = Kind(
    "labels-otherwise", _E, "labels whose numbers mean something else: corners, or a box, a score and a track"
)
CORNERS_EXCHANGED = Kind(
    "corners-exchanged",
    _W,
    "corners in the wrong order, exchanged",
    "exchanged",
    done="box whose corners are exchanged, put in order",
)
PIXEL_ORIGIN = Kind(
    "pixel-origin",
    _W,
    "a corner at 0 or with a fraction: VOC counts pixels from 1. Does the tool count from 0?",
    how="noted",
    done="corner at 0 or with a fraction: if the tool counts pixels from 0, say pixel_origin: 0 in a YAML file",
)
PICTURE_RESPELT = Kind(
    "picture-respelt",
    _W,
    "a picture that was found under another spelling of its name",
    "named as it is",
    done="picture found under another spelling of its name",
)
PICTURE_ASIDE = Kind(
    "picture-aside",
    _W,
    "a picture that is left aside: hidden, of a kind that cannot be read, or behind a second link",
    how="left aside",
    done="picture left aside: hidden, of a kind that cannot be read, or behind a second link",
)
FRAMES_DIVIDED = Kind(
    "frames-divided",
    _W,
    "a frame of a video, by its name, in a list that chance divides: its neighbours are on the other side",
    how="noted",
    done="frame of a video, by its name, divided by chance: neighbours are taught and scored, so AP is too high",
)
PICTURE_UNLABELLED = Kind(
    "picture-unlabelled",
    _W,
    "a picture without an annotation file, where the files are the list; left aside",
    how="left aside",
    done="picture without an annotation file left aside",
)
LABELS_MISSING = Kind(
    "labels-missing",
    _W,
    "a picture without a label file; taken as one without objects",
    done="picture without a label file, taken as one without objects",
)

ANNOTATION_ORPHAN = Kind("annotation-orphan", _E, "an annotation of an image that is not listed", _DROPPED)
CATEGORY_UNKNOWN = Kind("category-unknown", _E, "an annotation of a category that is not defined", _DROPPED)
BOX_NOT_FINITE = Kind("box-not-finite", _E, "a box with NaN, infinity or a coordinate beyond a billion", _DROPPED)
BOX_DEGENERATE = Kind(
    "box-degenerate",
    _W,
    "a box of zero or negative size; dropped",
    _DROPPED,
    done="box of zero or negative size dropped",
)
BOX_OUTSIDE = Kind(
    "box-outside",
    _W,
    "a box wholly outside its picture; dropped",
    _DROPPED,
    done="box wholly outside the image dropped",
)
BOX_ROTATED = Kind(
    "box-rotated",
    _W,
    "a box that its tool turns by an angle; taken upright",
    how="noted",
    done="box that its tool turns by an angle, taken upright",
)
BOXES_FRACTIONS = Kind("boxes-fractions", _E, "no box is larger than a pixel: fractions of the picture?")
BOXES_CROSSED = Kind(
    "boxes-crossed",
    _E,
    "boxes that end before they begin, more than a third of a split: width and height in place of corners?",
)
BOXES_BELOW = Kind(
    "boxes-below-pixel",
    _W,
    "boxes with both sides below a pixel, 5 % of a split or more: fractions of the picture?",
    how="noted",
    done="box with both sides below a pixel, as many are: COCO and VOC count in pixels, YOLO alone in fractions",
)
BOXES_BEYOND = Kind(
    "boxes-beyond",
    _W,
    "boxes that reach beyond their pictures, most of a split: corners in place of size, or the reverse?",
    how="noted",
    done="box that reaches beyond its picture, as most do: are these corners in place of width and height?",
)
CLASS_DOUBTFUL = Kind(
    "class-doubtful",
    _W,
    "a class name without a letter of a … z: another encoding, as GBK, read as UTF-8?",
    how="noted",
    done="class name without a letter of a … z: is it another encoding, as GBK, read as UTF-8?",
)
BOX_CLIPPED = Kind(
    "box-clipped",
    _W,
    "a box partly outside; clipped in training, kept in evaluation",
    "clipped in training",
    done="box clipped to the image",
)
BOX_ROUNDED = Kind(
    "box-rounded",
    _N,
    "a box that reaches beyond its picture by less than a hundredth of a pixel, as rounding leaves it",
    "clipped in training",
    done="box clipped by less than a hundredth of a pixel",
)
BOX_THIN = Kind(
    "box-thin",
    _W,
    "a box thinner than a 200th of a pixel; dropped in training",
    "dropped in training",
    done="box thinner than 0.005 pixels dropped",
)
BOX_REPEATED = Kind(
    "box-repeated",
    _W,
    "the same box and class again; dropped in training, kept in evaluation",
    "dropped in training",
    done="repeated box of the same class dropped",
)
AREA_MISSING = Kind(
    "area-missing", _W, "no area; taken from the box", "area of the box", done="area missing, taken from the box"
)
AREA_ZERO = Kind("area-zero", _W, "area 0 though the box has one: it counts as small", "area of the box")
AREA_OF_PICTURE = Kind(
    "area-of-picture",
    _W,
    "an area that is the whole picture's, of a smaller box: it counts as large",
    "area of the box",
    how="noted",
    done="area that is the whole picture's, of a smaller box, kept: small, medium and large go by it",
)
CROWD_MISSING = Kind(
    "crowd-missing",
    _W,
    "iscrowd or difficult missing; taken as 0",
    "0",
    done="iscrowd or difficult missing, taken as 0",
)
CROWD = Kind("crowd", _N, "crowd or difficult regions: neither taught nor required")
IMAGE_EMPTY = Kind("image-empty", _N, "images without objects; kept")

CATEGORY_GAPS = Kind("category-gaps", _N, "category ids with gaps: fine, mapped to 0 … K−1")
CATEGORY_UNUSED = Kind("category-unused", _N, "a class without objects in this split")
CLASS_NOT_TRAINED = Kind(
    "class-not-trained", _E, "a class that the training split or the list of classes lacks", "added without objects"
)
CLASS_NOT_EVALUATED = Kind("class-not-evaluated", _N, "a class that only the training split defines")
CLASS_ID_DIFFERS = Kind("class-id-differs", _N, "a class with different ids in the splits: matched by name")
CLASS_ALIKE = Kind(
    "class-alike",
    _W,
    "class names that differ only in case, spaces or hyphens",
    how="noted",
    done="class that is called as another one but for case, spaces or hyphens, kept apart",
)
OVERLAP_FILE = Kind("overlap-file", _E, "a training picture that is evaluated, too", _OUT + " of training")
OVERLAP_CONTENT = Kind(
    "overlap-content", _E, "a training picture whose pixels are evaluated in another file", _OUT + " of training"
)
OVERLAP_ID = Kind("overlap-id", _N, "an image id in both splits, of different pictures")

KINDS: tuple[Kind, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Kind))
