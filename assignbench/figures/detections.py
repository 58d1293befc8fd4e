"""Figure 5: detections without and with implicit objectness, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from assignbench.config import deciding
from assignbench.data.dataset import Dataset
from assignbench.errors import UsageError
from assignbench.figures.canvas import SCREEN, Paper, frame_text, legend_on_top, outline, show_picture, tag
from assignbench.figures.picture import Picture, chosen_by
from assignbench.figures.runs import ShownRun
from assignbench.plot import GREY, styled
from assignbench.run.scoring.matching import OVERLAP, judge
from assignbench.run.scoring.predict import detect_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

IMPLICIT = "implicit_objectness"
RIGHT, WRONG = "#0072B2", "#D55E00"
NAMED = 8  # wrong detections in a picture; of more, none has its class written to it


@dataclass(frozen=True, eq=False)
class Found:
    """The detections of one run in one picture above the threshold, best first."""

    boxes: np.ndarray  # [detection, 4] pixels of the original picture
    labels: np.ndarray  # [detection]
    scores: np.ndarray  # [detection]
    right: np.ndarray  # [detection] overlaps an object of its class, which no better one has
    wrong: np.ndarray  # [detection] neither that nor on a crowd or difficult region, where nothing is asked for


def without_and_with(runs: Sequence[ShownRun]) -> tuple[ShownRun, ShownRun]:
    """Two runs in the order of the figure.

    Raises:
        UsageError: both have implicit objectness, or neither.
    """
    has = [IMPLICIT in {extra.name for extra in run.learner.head.extras} for run in runs]
    if has[0] == has[1]:
        what = "both have it" if has[0] else "neither has it"
        raise UsageError(
            "figure 5 needs a run with implicit objectness and one without; of "
            f"{runs[0].name} and {runs[1].name} {what}"
        )
    return (runs[1], runs[0]) if has[0] else (runs[0], runs[1])


def other_differences(pair: tuple[ShownRun, ShownRun]) -> list[str]:
    """What the two runs differ in besides objectness: detections then differ for that, too."""
    one, other = (run.record for run in pair)
    settings = [deciding(run.recipe) for run in pair]
    extras = [{extra.name for extra in run.learner.head.extras} - {IMPLICIT} for run in pair]
    same = one.assigner.name == other.assigner.name
    options = one.assigner.options, other.assigner.options
    changed = [name for name in options[0] if name in options[1] and options[0][name] != options[1][name]]
    return [
        *([] if same else ["strategy"]),
        *([name for name in changed if name != "objectness"] if same else []),
        *([] if extras[0] == extras[1] else ["other extra outputs"]),
        *([] if (one.protocol, one.preset) == (other.protocol, other.preset) else ["protocol"]),
        *([] if one.seed == other.seed else ["seed"]),
        *(key for key, value in settings[0].items() if settings[1].get(key) != value),
    ]


def found_in(run: ShownRun, picture: Picture, threshold: float) -> Found:
    """Detections of a run, held against the picture's objects."""
    rows = detect_picture(run.learner.detector.eval(), picture.pixels, run.recipe.data, run.recipe.evaluate)
    rows = [row for row in rows if row[0] >= threshold]
    boxes = np.array([box for _, _, box in rows], dtype=np.float64).reshape(-1, 4)
    labels = np.array([label for _, label, _ in rows], dtype=np.int64)
    true_labels = np.concatenate((picture.labels, picture.ignored_labels))
    true_boxes = np.concatenate((picture.boxes, picture.ignored_boxes))
    ignored = np.arange(len(true_labels)) >= len(picture.labels)
    order = np.argsort(true_labels, kind="stable")
    verdict = judge(boxes, labels, true_boxes[order], true_labels[order], ignored[order])
    scores = np.array([score for score, _, _ in rows])
    return Found(boxes, labels, scores, verdict.right, verdict.counted & ~verdict.right)


def draw_detections(
    runs: Sequence[ShownRun],
    dataset: Dataset,
    pictures: Sequence[Picture],
    threshold: float,
    paper: Paper = SCREEN,
) -> Figure:
    """A row a picture; on the left without, on the right with.

    Raises:
        UsageError: as `without_and_with`.
    """
    pair = without_and_with(runs)
    table = [[found_in(run, picture, threshold) for run in pair] for picture in pictures]
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    width = paper.side(2, 0.3, 4.4)
    heights = [width * len(picture.pixels) / picture.pixels.shape[1] for picture in pictures]
    with styled():
        figure = Figure(figsize=(2 * width + 0.3, sum(heights) + 0.3 * len(pictures) + 0.1), layout="constrained")
        panels = figure.subplots(len(pictures), 2, squeeze=False, height_ratios=heights)
        for line, picture, founds in zip(panels, pictures, table, strict=True):
            for panel, found, which in zip(line, founds, ("without", "with"), strict=True):
                draw_found(panel, picture, found)
                right = int(found.right.sum())
                panel.set_title(
                    _counted(f"{which}: {right} of {len(picture.labels)} objects found", int(found.wrong.sum()), width),
                    weight="normal",
                )
        handles = [
            Line2D([], [], color=RIGHT, linewidth=2),
            Line2D([], [], color=WRONG, linewidth=2),
            Line2D([], [], color="#777777", linewidth=1, linestyle="--"),
        ]
        labels = [f"right: its class, IoU ≥ {OVERLAP:g}", "wrong, or a repetition", "true box"]
        frame_text(
            figure,
            paper,
            "Detections without and with implicit objectness",
            caption(pair, dataset, pictures, table, threshold),
        )
        legend_on_top(figure, handles, labels)
    return figure


def _counted(found: str, wrong: int, inches: float) -> str:
    """The title of a panel, in two lines where one is too narrow."""
    whole = f"{found}, {wrong} wrong"
    return whole if len(whole) <= 13 * inches else f"{found},\n{wrong} wrong"


def draw_found(panel: Axes, picture: Picture, found: Found) -> None:
    """True boxes thin, detections on them: right ones and high scores on top, with class and score."""
    show_picture(panel, picture.pixels)
    for box in picture.boxes:
        outline(panel, box, "#444444", 0.8, "--")
    order = np.lexsort((found.scores, found.right))
    states = zip(found.right.tolist(), found.wrong.tolist(), strict=True)
    colours = [RIGHT if right else WRONG if wrong else GREY for right, wrong in states]
    for number in order:
        outline(panel, found.boxes[number], colours[number], 1.6)
    for number in order:
        if found.right[number] or found.wrong.sum() <= NAMED:
            at = found.boxes[number, :2].clip(min=0)
            text = f"{picture.classes[found.labels[number]]} {found.scores[number]:.2f}"
            tag(panel, text, (float(at[0]), float(at[1])), colours[number])
    height, width = picture.pixels.shape[:2]
    panel.set(xlim=(0, width), ylim=(height, 0))


def caption(
    pair: tuple[ShownRun, ShownRun],
    dataset: Dataset,
    pictures: Sequence[Picture],
    table: Sequence[Sequence[Found]],
    threshold: float,
) -> str:
    """What is drawn, and of what."""
    sums = [
        (sum(int(found.right.sum()) for found in column), sum(int(found.wrong.sum()) for found in column))
        for column in zip(*table, strict=True)
    ]
    regions = sum(len(picture.ignored_labels) for picture in pictures)
    grey = "Grey: on crowd or difficult regions, neither right nor wrong. " if regions else ""
    objects = sum(len(picture.labels) for picture in pictures)
    counted = "; ".join(
        f"{which} {right} of {objects} found, {wrong} wrong"
        for which, (right, wrong) in zip(("without", "with"), sums, strict=True)
    )
    differ = other_differences(pair)
    more = f"The runs differ in more than objectness: {', '.join(differ)}. " if differ else ""
    return (
        f"{more}{grey}Everything with a score of at least {threshold:g}, in both; class and score are written to wrong "
        f"detections where there are at most {NAMED}. Together: {counted}. These are a few pictures: how the two "
        f"compare says AP. {chosen_by(pictures)}All their objects are shown. {dataset.name}, {dataset.split}, "
        f"{'; '.join(picture.title for picture in pictures)}. "
        f"Without: {pair[0].facts}. With: {pair[1].facts}."
    )
