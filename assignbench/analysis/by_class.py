"""AP of each class, and how much each picture moves it: `comparison.weighted`, class by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from assignbench.analysis.parts import Floats, Measure, Measured, Part, PartDifference, part_differences
from assignbench.comparison import weighted
from assignbench.comparison.influences import kinds_by_class
from assignbench.comparison.twolevel import About
from assignbench.comparison.verdicts import Spread
from assignbench.run.scoring.matches import Matches


def class_parts(matches: Matches, names: Sequence[str]) -> tuple[Part, ...]:
    """The classes of the data.

    Args:
        matches: of any run on it.
        names: of all classes, in the order of the matches (`kept_matches.class_names`).
    """
    objects = matches.objects[0]
    counts = zip(names, objects.sum(axis=0).tolist(), (objects > 0).sum(axis=0).tolist(), strict=True)
    return tuple(Part(name, count, pictures) for name, count, pictures in counts)


def class_values(matches: Matches) -> Floats:
    """``[class]`` AP in percent points, as in a record; NaN: the class has no objects."""
    return 100 * weighted.by_class(weighted.pack(matches))


def class_measure(matches: Matches) -> Measure:
    """AP of classes of one run; it holds what AP needs, not the matches."""
    packed = weighted.pack(matches)

    def measure(classes: slice) -> Measured:
        some = weighted.only(packed, classes)
        return Measured(100 * weighted.by_class(some), 100 * kinds_by_class(some))

    return measure


def class_differences(
    parts: Sequence[Part],
    images: int,
    rows: Mapping[str, Mapping[int, Measure]],
    pairs: Sequence[tuple[str, str]],
    about: About = "strategies",
    spread: Spread = "auto",
) -> dict[tuple[str, str], tuple[PartDifference, ...]]:
    """Judge pairs of strategies class by class: of the classes said to differ at most 10 % are expected not to.

    Args:
        parts: as `class_parts` gives them.
        images: number of pictures.
        rows: strategy → seed → run, as `class_measure` gives it.
        pairs: names of strategies, first − second.
        about: the question, see `twolevel`.
        spread: as `verdicts`.
    """
    return part_differences(parts, images, rows, pairs, "benjamini-hochberg", about, spread)
