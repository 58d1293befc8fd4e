"""Which picture of the evaluation split a figure shows, and which of its objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from assignbench.data.dataset import Dataset
from assignbench.data.images import ImageInfo
from assignbench.data.pictures import read_picture
from assignbench.errors import UsageError

LOOKED_AT = 100  # pictures, from the first on, among which the default is chosen
BY_CLEARNESS = (  # how `choose_pictures` chooses, for captions
    f"of the first {LOOKED_AT} those with the most clear objects (whole, apart from others, an eighth of the shorter "
    "side or more) and the fewest others"
)
BY_SIZE = f"of the first {LOOKED_AT} the one with the largest object that lies whole and apart from others"  # standouts
CLEAR = 8  # an object is clear when its shorter side is at least this part of the picture's


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture of a split, with the objects that can be learned; crowd and difficult regions stand apart."""

    index: int  # in Dataset.images
    info: ImageInfo
    pixels: NDArray[np.uint8]  # [height, width, 3]
    boxes: NDArray[np.float64]  # [object, 4] pixels
    labels: NDArray[np.int64]  # [object]
    ignored_boxes: NDArray[np.float64]  # [region, 4] crowd or difficult: neither taught nor required
    ignored_labels: NDArray[np.int64]  # [region]
    classes: tuple[str, ...]
    called: str | None = None  # in captions; None: by id and file
    chosen: str | None = None  # by which rule it was found among others, for captions; None: it was named

    @property
    def title(self) -> str:
        """For captions: ``picture 12 (000012.jpg)``."""
        return self.called or f"picture {self.info.id} ({self.info.path.name})"

    def name(self, number: int) -> str:
        """Class of an object."""
        return self.classes[int(self.labels[number])]


def open_picture(dataset: Dataset, index: int) -> Picture:
    """Read a picture and its objects, in the order of the annotations.

    Raises:
        DataError: it cannot be read.
    """
    objects = dataset.objects_of(index)
    kept = ~dataset.crowd[objects]
    info = dataset.images[index]
    boxes, labels = dataset.boxes[objects], dataset.labels[objects]
    return Picture(
        index, info, read_picture(info), boxes[kept], labels[kept], boxes[~kept], labels[~kept], dataset.classes
    )


def open_pictures(dataset: Dataset, wanted: Sequence[str], count: int) -> list[Picture]:
    """The pictures that are asked for, or as many of the default ones as ``count`` says.

    Raises:
        UsageError: there is no such picture, or one is named twice.
        DataError: one cannot be read.
    """
    indices = [find_picture(dataset, one) for one in wanted] or choose_pictures(dataset, count)
    if len(set(indices)) < len(indices):
        raise UsageError("--picture: the same picture is named twice")
    rule = None if wanted else BY_CLEARNESS
    return [replace(open_picture(dataset, index), chosen=rule) for index in indices]


def chosen_by(pictures: Sequence[Picture]) -> str:
    """The rule that pictures of a figure were chosen by, a sentence and a space."""
    one = len(pictures) == 1
    rule = pictures[0].chosen or "named by whoever drew this"
    return f"{'Picture' if one else 'Pictures'}: {rule}. "


def find_picture(dataset: Dataset, wanted: str, option: str = "--picture") -> int:
    """The index of a picture by its id or its file's name; ``option`` is what asks for it, for errors.

    Raises:
        UsageError: there is none, or several have the name.
    """
    for index, image in enumerate(dataset.images):
        if wanted == str(image.id):
            return index
    found = [index for index, image in enumerate(dataset.images) if image.path.name == wanted]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(str(dataset.images[index].id) for index in found[:5])
        raise UsageError(
            f"{option} {wanted}: {len(found)} pictures of {dataset.name} have this name; write an id: {ids}"
        )
    first, last = dataset.images[0], dataset.images[len(dataset) - 1]
    raise UsageError(
        f"{option} {wanted}: {dataset.name}, {dataset.split}, has no such picture\n"
        f"write an id or a file's name, as {first.id} or {first.path.name} … {last.id} or {last.path.name}"
    )


def choose_pictures(dataset: Dataset, count: int = 1) -> list[int]:
    """Of the first `LOOKED_AT` pictures those with many clear objects and few others; of equals the first.

    Clear is an object that lies whole in its picture, whose shorter side is at least an eighth of the picture's, and
    whose box no other one's meets: in crowds nothing can be told apart. A clear one counts twice what any other takes.

    Raises:
        UsageError: there are fewer pictures with objects.
    """
    looked = min(LOOKED_AT, len(dataset))
    score, some = np.zeros(looked, dtype=np.int64), np.zeros(looked, dtype=np.bool_)
    for index in range(looked):
        objects = dataset.objects_of(index)
        boxes = dataset.boxes[objects][~dataset.crowd[objects]]
        if len(boxes):
            large = (boxes[:, 2:] - boxes[:, :2]).min(axis=1) * CLEAR >= dataset.sizes[index].min()
            seen = large & stand_alone(boxes) & lie_whole(boxes, dataset.sizes[index])
            score[index], some[index] = 3 * seen.sum() - len(boxes), True
    order = np.lexsort((-score, ~some))[:count]  # stable: of equals the first
    if count > looked or not some[order].all():
        raise UsageError(
            f"{dataset.name}: fewer than {count} of the first {looked} pictures hold an object; name one with --picture"
        )
    return order.tolist()


def stand_alone(boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which boxes of a picture overlap no other: ``[object, 4] → [object]``."""
    least, most = np.maximum(boxes[:, None, :2], boxes[:, :2]), np.minimum(boxes[:, None, 2:], boxes[:, 2:])
    return np.equal((most > least).all(axis=2).sum(axis=1), 1)


def lie_whole(boxes: NDArray[np.float64], size: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which boxes keep off the borders of a picture of width and height ``size``: ``[object, 4] → [object]``."""
    return np.logical_and((boxes[:, :2] > 1).all(axis=1), (boxes[:, 2:] < size - 1).all(axis=1))


def standouts(dataset: Dataset) -> list[tuple[int, int]]:
    """Picture and object (crowds not counted) of every object of the first `LOOKED_AT` pictures, best to look at first.

    First come those that lie whole in their picture and whose box no other one's meets, then those that lie whole, then
    the others; each by the shorter side.
    """
    ranks = []
    for index in range(min(LOOKED_AT, len(dataset))):
        objects = dataset.objects_of(index)
        boxes = dataset.boxes[objects][~dataset.crowd[objects]]
        whole = lie_whole(boxes, dataset.sizes[index])
        rank = 2 - whole - (whole & stand_alone(boxes))
        sides = (boxes[:, 2:] - boxes[:, :2]).min(axis=1)
        ranks += [(int(rank[one]), -float(sides[one]), index, one) for one in range(len(boxes))]
    return [(index, number) for _, _, index, number in sorted(ranks)]


def open_object(dataset: Dataset, picture: str | None, number: int | None) -> tuple[Picture, int]:
    """The picture and the object, counted from 0, of a figure of one object.

    Without either it is the best of `standouts`; of a picture that is named, its largest object.

    Args:
        dataset: the split.
        picture: id or name of a file.
        number: of the object, from 1 on, in the file's order.

    Raises:
        UsageError: there is no such picture or object.
        DataError: the picture cannot be read.
    """
    if picture is None and number is None:
        best = standouts(dataset)[:1]
        if not best:
            raise UsageError(
                f"the first {LOOKED_AT} pictures of {dataset.name} hold no object; name one with --picture"
            )
        return replace(open_picture(dataset, best[0][0]), chosen=BY_SIZE), best[0][1]
    (opened,) = open_pictures(dataset, () if picture is None else (picture,), 1)
    return opened, choose_object(opened, number)


def choose_object(picture: Picture, wanted: int | None) -> int:
    """Index of an object: the one asked for, counted from 1 in the file's order, or the largest.

    Raises:
        UsageError: the picture holds no such object.
    """
    if not len(picture.labels):
        raise UsageError(f"{picture.title} holds no object to be learned; name another with --picture")
    if wanted is None:
        size = picture.boxes[:, 2:] - picture.boxes[:, :2]
        return int(size.prod(axis=1).argmax())
    if not 1 <= wanted <= len(picture.labels):
        listed = ", ".join(
            f"{number} {picture.name(number - 1)}" for number in range(1, min(len(picture.labels), 20) + 1)
        )
        raise UsageError(f"--object {wanted}: {picture.title} holds {len(picture.labels)}: {listed}")
    return wanted - 1


def taught_nowhere(picture: Picture, number: int) -> UsageError:
    """What to say of an object that the record has no pair of: nothing can be drawn of it."""
    return UsageError(
        f"object {number + 1} of {picture.title} is taught at no location: none lies in its box, or all that do weigh "
        "nothing; choose another with --object"
    )
