"""``compare --detections``: which file belongs to which row, and what is said of each."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from assignbench.errors import UsageError

if TYPE_CHECKING:
    from assignbench.comparison.influences import Scored
    from assignbench.comparison.table import Table
    from assignbench.comparison.twolevel import About
    from assignbench.comparison.verdicts import Spread

# NAME=FILE; within brackets a NAME may hold "=", as in autoassign[tau=0.5]
_NAMED = re.compile(r"((?:[^=\[\]]|\[[^\[\]]*\])+)=(.+)", flags=re.DOTALL)


@dataclass(frozen=True)
class Place:
    """One detections file of a row."""

    row: str
    number: int  # among the files of the row, from 0: it stands for the seed
    of: int  # files that the row has
    file: Path

    def __str__(self) -> str:
        return self.row if self.of == 1 else f"{self.row}, file {self.number}"


def places_of(texts: Sequence[str]) -> list[Place]:
    """``FILE`` or ``NAME=FILE``, in the order given; a row without a NAME is called as its file, without the ending.

    Raises:
        UsageError: a name that is empty or cannot be shown, or a file whose name is that of another row.
    """
    named: list[tuple[str | None, Path]] = []
    for text in texts:
        match = None if Path(text).exists() else _NAMED.fullmatch(text)  # a path may hold "=", too
        named.append((match[1].strip(), Path(match[2])) if match else (None, Path(text)))
    rows = [file.stem if name is None else name for name, file in named]
    for row, text in zip(rows, texts, strict=True):
        if not row or any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in row):
            raise UsageError(f"{text!r} has no name that a table could show; write NAME=FILE")
    count = Counter(rows)
    for row, (name, file) in zip(rows, named, strict=True):
        if name is None and count[row] > 1:
            raise UsageError(
                f"several files would be called {row}: write NAME={file}. Files of one NAME are seeds of one strategy"
            )
    files = [file for _, file in named]
    return [Place(row, rows[:place].count(row), count[row], files[place]) for place, row in enumerate(rows)]


def table_of_files(
    texts: Sequence[str],
    spec: str,
    metrics: Sequence[str] | None,
    data_root: Path | None,
    baseline: str | None,
    about: "About",
    spread: "Spread",
) -> "Table":
    """Score detections files and put them side by side.

    Args:
        texts: as in `places_of`.
        spec: data set whose evaluation split the files are of.
        metrics: columns; None: those of a table.
        data_root: folder of the data sets.
        baseline: name of a row.
        about: the question.
        spread: whose spread over seeds counts.

    Raises:
        UsageError: a name, a file, a metric or the data set is not what it has to be.
        RunError: a file is damaged, or of other data.
        DataError: the data set cannot be read or scored.
    """
    from assignbench.cli.output import progress
    from assignbench.comparison.influences import scored
    from assignbench.comparison.table import METRICS, check_question, compare_detections
    from assignbench.data.spec.locate import data_root as resolve_data_root
    from assignbench.run.scoring.evaluate import check_dataset
    from assignbench.run.scoring.foreign import open_for_files, read_foreign, require_plain, told_of
    from assignbench.run.scoring.kept_matches import matches_of

    metrics = METRICS if metrics is None else metrics
    places = places_of(texts)
    check_question({place.row for place in places}, baseline, metrics)
    for place in places:
        require_plain(place.file)
    dataset, remarks = open_for_files(spec, resolve_data_root(data_root))
    check_dataset(dataset)
    if dataset.official is not None:
        remarks.append(
            f"{dataset.name}: these are COCO's numbers; the data set's own are not computed of files here, but by "
            "assignbench eval --detections"
        )
    rows: dict[str, dict[int, Scored]] = {}
    seen: dict[str, Place] = {}
    for number, place in enumerate(places, start=1):
        progress(f"file {number} of {len(places)}")
        found = read_foreign(dataset, place.file)
        if len(found.rows) and (same := seen.setdefault(found.content, place)) is not place:
            remarks.append(_alike(same, place))
        rows.setdefault(place.row, {})[place.number] = scored(matches_of(dataset, found.rows), metrics)
        remarks.append("; ".join((f"{place}: {told_of(place.file, found)}", *found.remarks)))
    if len(places) > len(rows) > 1:
        remarks.insert(0, "file 0 of a row is held against file 0 of every other one, and so on, as runs of one seed")
    return compare_detections(
        rows,
        dataset.name,
        dataset.split,
        baseline=baseline,
        metrics=metrics,
        about=about,
        spread=spread,
        remarks=remarks,
    )


def _alike(one: Place, other: Place) -> str:
    """What is said of two files that hold the same detections.

    Raises:
        UsageError: they are to be two seeds of one strategy; their spread would be 0.
    """
    if one.row == other.row:
        raise UsageError(
            f"{one.file} and {other.file} hold the same detections; files of one name ({one.row}) are seeds of one "
            "strategy, so leave one out"
        )
    return f"{one} and {other} hold the same detections"
