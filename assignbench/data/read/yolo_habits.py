"""What the lines of YOLO's labels have in common, which no line shows alone: numbers that mean something else.

``0 0.2 0.3 0.6 0.9`` is a centre and a size, or two corners. Read as the wrong one, every box is wrong and nothing
fails, so all lines of a split are looked at together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from assignbench.data.read.findings import LABELS_OTHERWISE, POLYGON_SUSPECT, POLYGONS_TRIANGLES, Kind
from assignbench.data.read.rules import CLEARLY

BEYOND = 1e-3  # of a side: a number may lie this far outside 0 … 1, as rounding leaves it
_SOME = 4  # lines that show a habit
_OFTEN = 0.25  # of the boxes; of small objects at random places, read as corners, half of them leave the picture


@dataclass(eq=False)
class Habits:
    """What was seen of a split so far, in numbers of lines."""

    boxes: int = 0
    ordered: int = 0  # boxes that can be corners: 0 ≤ x0 ≤ x1 ≤ 1, and y
    leaving: int = 0  # boxes that, as centre and size, clearly leave the picture
    polygons: int = 0
    triangles: int = 0
    whole: int = 0  # triangles whose last number is 0 or 1
    held: int = 0  # polygons that look like a box and its keypoints

    def see(self, numbers: Sequence[float], keypoints: bool) -> None:
        """One more line: what stands behind its class, as fractions."""
        if keypoints or len(numbers) == 4:
            x, y, width, height = numbers[:4]
            self.boxes += 1
            self.ordered += x <= width and y <= height
            self.leaving += max(width / 2 - min(x, 1 - x), height / 2 - min(y, 1 - y)) > CLEARLY
            return
        self.polygons += 1
        self.triangles += len(numbers) == 6
        self.whole += len(numbers) == 6 and float(numbers[5]).is_integer()
        self.held += _looks_like_keypoints(numbers)

    def findings(self) -> Iterator[tuple[Kind, str]]:
        """What all lines together show."""
        every = self.boxes + self.polygons
        if self.boxes >= _SOME and self.ordered == self.boxes and self.leaving >= _OFTEN * self.boxes:
            text = (
                f"all {self.boxes} boxes are in order as corners x0 y0 x1 y1, and as centre and size "
                f"{self.leaving} of them leave the picture: if these are corners, write x y width height, counted "
                "from the centre; else clip the boxes"
            )
            yield LABELS_OTHERWISE, text
        if every >= _SOME and self.triangles == self.whole == every:
            text = (
                f"all {every} lines have a class and six numbers, the last of them whole: a box, a score and a "
                "track? Labels have a class and a box; remove the other columns"
            )
            yield LABELS_OTHERWISE, text
        elif 2 * self.held > self.polygons:
            text = f"{self.held} of {self.polygons} polygons: their first four numbers are a box that holds the others"
            yield POLYGON_SUSPECT, text
        elif every >= _SOME and self.triangles == every:
            yield POLYGONS_TRIANGLES, f"all {every} lines have a class and six numbers"


def _looks_like_keypoints(fractions: Sequence[float]) -> bool:
    """Whether the first four numbers, as centre and size, are a box that holds all other points.

    The third and fourth number of a polygon are its second corner, which as a size would hardly hold the others.
    """
    x, y, width, height = fractions[:4]
    rest = np.array(fractions[4:])
    seen = rest[2::3]  # whether a keypoint is visible, where it has three numbers: 0, 1 or 2
    triples = len(rest) % 3 == 0 and bool(np.all(np.isin(seen, (0, 1, 2))))
    points = rest.reshape(-1, 3)[:, :2] if triples else rest.reshape(-1, 2)
    return bool(np.all(np.abs(points - (x, y)) <= np.array((width, height)) / 2 + BEYOND))
