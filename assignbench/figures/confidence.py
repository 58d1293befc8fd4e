"""Figure 6: the confidence weighting of one object in the course of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from assignbench.data.dataset import Dataset
from assignbench.errors import UsageError
from assignbench.figures.canvas import (
    INK,
    SCREEN,
    TRUE,
    Paper,
    confidence_key,
    confidence_scale,
    frame_text,
    outline,
    show_level,
    show_pale,
    zoom,
)
from assignbench.figures.parts import meaning_of_blanks, meaning_of_confidence, parts_of
from assignbench.figures.picture import Picture, chosen_by, taught_nowhere
from assignbench.figures.runs import ShownRun
from assignbench.figures.taught import LevelMap, teach
from assignbench.plot import styled
from assignbench.run.training.snapshots import START, load_snapshot, snapshots

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def confidence_over_training(
    run: ShownRun, dataset: Dataset, picture: Picture, number: int
) -> Mapping[int, Sequence[LevelMap]]:
    """Iteration → C of an object per level, at each snapshot and at the end.

    The learner has the final weights again afterwards.

    Raises:
        UsageError: the run kept no snapshots, or its strategy has no confidence weighting.
        RunError: a snapshot is damaged or of another run.
    """
    end = run.record.iterations

    def after(iteration: int) -> Sequence[LevelMap]:
        taught = teach(run.learner, dataset, picture.index, run.recipe.data, progress=iteration / end)
        return parts_of(taught, number, run.record.assigner.label).confidence

    found = {end: after(end)}
    kept = {iteration: file for iteration, file in snapshots(run.folder).items() if iteration != end}
    if not kept:
        some = sorted({max(1, end // 10), max(1, end // 3)})
        raise UsageError(
            f"{run.record.run_id} kept no snapshots; repeat it into another --output with "
            f"--set train.snapshots=[{','.join(map(str, some))}]"
        )
    final = {name: tensor.clone() for name, tensor in run.learner.state_dict().items()}
    try:
        for iteration, file in kept.items():
            run.learner.load_state_dict(load_snapshot(file, iteration, run.record.run_id))
            found[iteration] = after(iteration)
    finally:
        run.learner.load_state_dict(final)
    return dict(sorted(found.items()))


def draw_confidence(run: ShownRun, dataset: Dataset, picture: Picture, number: int, paper: Paper = SCREEN) -> Figure:
    """A column a snapshot, a row a level that has locations in the box; one scale of colours for all.

    Raises:
        As `confidence_over_training`.
    """
    course = confidence_over_training(run, dataset, picture, number)
    from matplotlib.figure import Figure

    last = list(course.values())[-1]
    levels = [level for level, one in enumerate(last) if not one.empty]
    if not levels:
        raise taught_nowhere(picture, number)
    norm = confidence_scale(one for maps in course.values() for one in maps)
    box = picture.boxes[number]
    with styled():
        side = paper.side(len(course), 1.4, 1.75)
        figure = Figure(figsize=(side * len(course) + 1.4, (side + 0.05) * len(levels) + 0.3), layout="constrained")
        panels = figure.subplots(len(levels), len(course), squeeze=False)
        image = None
        for column, (iteration, maps) in enumerate(course.items()):
            for panel, level in zip(panels[:, column], levels, strict=True):
                show_pale(panel, picture.pixels)
                image = show_level(panel, maps[level], norm)
                zoom(panel, box)
                outline(panel, box, TRUE, 0.9)
                if not column:
                    panel.set_ylabel(maps[level].name, weight="bold", fontsize=10, color=INK)
            panels[0, column].set_title("start" if iteration == START else f"{iteration:,}", loc="center")
        if image is not None:
            confidence_key(figure, image, panels.ravel().tolist())
        frame_text(
            figure,
            paper,
            "Confidence weighting in the course of training",
            caption(run, dataset, picture, number, list(course)),
        )
    return figure


def caption(run: ShownRun, dataset: Dataset, picture: Picture, number: int, iterations: Sequence[int]) -> str:
    """What is drawn, and of what."""
    listed = ", ".join(f"{iteration:,}" for iteration in iterations)
    return (
        f"Confidence weighting of one object, {picture.name(number)} ({number + 1} of {len(picture.labels)}), after "
        f"{listed} iterations. {meaning_of_confidence(run)} It is 1 where a location detects nothing of it. "
        "A square is the cell of one location in the true box (blue), as large as its stride. "
        f"{meaning_of_blanks(run)}{chosen_by([picture])}{dataset.name}, {dataset.split}, {picture.title}. {run.facts}."
    )
