"""What all figures of pictures share: a pale picture, cells over it, boxes, a caption."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from assignbench.figures.taught import Extent, LevelMap, Map

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

HEAT = "magma_r"  # pale is little, dark is much; in order for the colour-blind and in print without colour, too
INK = "#222222"
TRUE = "#0072B2"  # true boxes
SEEN_THROUGH = 0.85  # opacity of cells
PALE = 0.4  # contrast that is left of a picture below cells
FAINT = 130.0  # grey values: less contrast than this is not stretched
LINE = 19  # at most: characters of a caption in an inch of width
NARROW = 20  # characters that a line of a caption has at least


def clear(panel: Axes) -> None:
    """No ticks, no grid; a thin frame."""
    panel.grid(False)
    panel.set(xticks=[], yticks=[])
    for spine in panel.spines.values():
        spine.set(visible=True, color="#BBBBBB", linewidth=0.6)


def show_pale(panel: Axes, pixels: NDArray[np.uint8], contrast: float = PALE) -> None:
    """A picture as light grey ground for cells; ``contrast`` is what is left of it, 0 … 1."""
    grey = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    height, width = grey.shape
    dark, bright = np.percentile(grey, (1, 99))
    pale = 1 - contrast * (1 - ((grey - dark) / max(FAINT, bright - dark)).clip(0, 1))
    panel.imshow(pale, cmap="gray", vmin=0, vmax=1, extent=(0, width, height, 0), interpolation="bilinear")
    clear(panel)


def show_picture(panel: Axes, pixels: NDArray[np.uint8]) -> None:
    """A picture as it is."""
    height, width = pixels.shape[:2]
    panel.imshow(pixels, extent=(0, width, height, 0), interpolation="bilinear")
    clear(panel)


def show_cells(panel: Axes, values: Map, extent: Extent, norm: Normalize, least: float = -np.inf) -> AxesImage:
    """Numbers as squares; those that are not there, and those below ``least``, leave the picture visible."""
    view = panel.axis()
    shown = np.ma.masked_invalid(values)
    seen = np.where(~np.ma.getmaskarray(shown) & (shown.filled(0) >= least), SEEN_THROUGH, 0.0)
    image = panel.imshow(shown, cmap=HEAT, norm=norm, alpha=seen, extent=extent, interpolation="nearest")
    panel.axis(view)
    return image


def show_level(panel: Axes, one: LevelMap, norm: Normalize, least: float = -np.inf) -> AxesImage:
    """As `show_cells`."""
    return show_cells(panel, one.values, one.extent, norm, least)


def outline(
    panel: Axes, box: Sequence[float] | NDArray[np.float64], color: str, width: float = 1.2, style: str = "-"
) -> None:
    """A box ``x0 y0 x1 y1``, on white so that it is seen on any picture."""
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import Normal, Stroke

    x0, y0, x1, y1 = box
    frame = Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=color, linewidth=width, linestyle=style)
    frame.set_path_effects([Stroke(linewidth=width + 1.2, foreground="white", alpha=0.8), Normal()])
    panel.add_patch(frame)


def tag(panel: Axes, text: str, at: tuple[float, float], color: str) -> None:
    """A few words at the upper left corner of a box."""
    label = panel.annotate(
        text, at, xytext=(1.5, -1.5), textcoords="offset points", va="top", fontsize=7, color="white", clip_on=True
    )
    label.set_bbox({"facecolor": color, "edgecolor": "none", "pad": 1.0, "alpha": 0.9})


def zoom(panel: Axes, box: Sequence[float] | NDArray[np.float64], margin: float = 0.15) -> None:
    """Show an object's surroundings: a square around its box, blank where the picture ends."""
    x0, y0, x1, y1 = box
    half = (0.5 + margin) * max(x1 - x0, y1 - y0)
    panel.set_xlim((x0 + x1) / 2 - half, (x0 + x1) / 2 + half)
    panel.set_ylim((y0 + y1) / 2 + half, (y0 + y1) / 2 - half)


def key(figure: Figure, image: ScalarMappable, panels: Sequence[Axes], label: str) -> None:
    """A colour bar beside some panels."""
    bar = figure.colorbar(image, ax=list(panels), fraction=0.03, pad=0.01, aspect=14)
    bar.set_label(label)
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.ax.grid(False)


def confidence_key(
    figure: Figure, image: ScalarMappable, panels: Sequence[Axes], label: str = "confidence weighting C"
) -> None:
    """The same for C on `confidence_scale`, in plain numbers: five of them, or three where the bar is short."""
    least, most = image.get_clim()
    key(figure, image, panels, label)
    bar = image.colorbar
    assert bar is not None  # noqa: S101 - it has just been made
    ticks = np.geomspace(least or 1, most or 1, 5 if len(label) > 1 else 3).tolist()
    written = ([f"{tick:.{digits}g}" for tick in ticks] for digits in range(3, 9))  # as many as tell them apart
    bar.set_ticks(ticks, labels=next(labels for labels in written if len(set(labels)) == len(ticks)), minor=False)
    bar.minorticks_off()


def confidence_scale(maps: Iterable[LevelMap]) -> Normalize:
    """Logarithmic from 1, what C is without any confidence, to the largest: colours are then linear in confidence."""
    from matplotlib.colors import LogNorm

    return LogNorm(1, max([1.01, *(float(one.values[~np.isnan(one.values)].max()) for one in maps if not one.empty)]))


SMALLEST = 0.62  # of the usual size of letters: 9 points become 5.6, which print can bear


@dataclass(frozen=True)
class Paper:
    """How a figure is to be laid out: as a picture that explains itself, or as a paper takes it."""

    caption: bool = True  # whether the title stands above and the caption below; else nothing but the panels
    width: float | None = None  # inches; None: what the panels usually take

    def layout(self, usual: float) -> float:
        """Inches that panels are laid out on, of ``usual`` ones: `fit` then shrinks all to the width, if it is less.

        Letters shrink to `SMALLEST` of their size and no further; below that, panels get narrower.
        """
        if self.width is None:
            return usual
        return max(self.width, min(usual, self.width / SMALLEST))

    def side(self, columns: float, beside: float, usual: float) -> float:
        """Inches of a panel, of ``columns`` beside each other and ``beside`` inches of other things."""
        if self.width is None:
            return usual
        return max(0.3, (self.layout(usual * columns + beside) - beside) / columns)


SCREEN = Paper()


def frame_text(figure: Figure, paper: Paper, title: str, caption: str) -> None:
    """The title above, and below what a reader has to know, wrapped; the figure grows by what they take.

    Whether or not they are written, the figure's label is the caption.
    """
    figure.set_label(caption)
    if not paper.caption:
        return
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, weight="bold")
    text = figure.supxlabel("", x=0.01, ha="left", fontsize=8, color="#333333")
    most = max(NARROW, int(LINE * figure.get_figwidth()))
    for characters in range(most, NARROW - 1, -2):  # fewer, until they fit: some letters are wider than others
        lines = textwrap.wrap(caption, characters)
        text.set_text("\n".join(lines))
        if text.get_window_extent().x1 <= 0.99 * figure.bbox.x1:
            break
    figure.set_figheight(figure.get_figheight() + 0.3 + 0.14 * len(text.get_text().splitlines()))


def fit(figure: Figure, paper: Paper) -> None:
    """Shrink a figure to the width of the paper, with its letters, lines and marks."""
    from matplotlib.collections import Collection, PathCollection
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.patheffects import Normal, Stroke
    from matplotlib.text import Text

    if paper.width is None or paper.width >= figure.get_figwidth():
        return
    scale = paper.width / figure.get_figwidth()
    for one in figure.findobj():
        if isinstance(one, Text):
            one.set_fontsize(float(one.get_fontsize()) * scale)
        elif isinstance(one, Line2D):
            one.set(
                linewidth=one.get_linewidth() * scale,
                markersize=one.get_markersize() * scale,
                markeredgewidth=one.get_markeredgewidth() * scale,
            )
        elif isinstance(one, Patch):
            one.set_linewidth(one.get_linewidth() * scale)
        elif isinstance(one, Collection):
            one.set_linewidth((np.atleast_1d(one.get_linewidth()) * scale).tolist())
            if isinstance(one, PathCollection):
                one.set_sizes(np.asarray(one.get_sizes()) * scale**2)
        if one.get_path_effects() and isinstance(one, Line2D | Patch):  # the white around a line
            line = one.get_markeredgewidth() if isinstance(one, Line2D) else one.get_linewidth()
            one.set_path_effects([Stroke(linewidth=line + 1.3 * scale, foreground="white"), Normal()])
    figure.set_size_inches(paper.width, figure.get_figheight() * scale)


def name_rows(panels: Iterable[Axes], names: Sequence[str], inches: float) -> None:
    """Strategies' names along the left side of panels of that height: of one size, in as many lines as it takes."""
    for size in (10, 9, 8, 7, 6):
        rows = [broken(name, int(inches * 115 / size)) for name in names]  # 115: bold letters of one point in an inch
        if max(map(len, rows)) <= 3:
            break
    for panel, lines in zip(panels, rows, strict=True):
        panel.set_ylabel("\n".join(lines), color=INK, weight="bold", fontsize=size)


def broken(name: str, width: int) -> list[str]:
    """A strategy's name in lines, broken between its options, and within one only if it is longer than a line."""
    lines = [""]
    for option in re.findall(r"[^,+\[ ]+[,+\[ ]*", name):
        whole = len(option.rstrip()) <= width
        for piece in [option] if whole else re.findall(r"[^=]+=?", option):
            if lines[-1] and len(lines[-1]) + len(piece.rstrip()) > width:
                lines.append("")
            lines[-1] += piece
    return [line.rstrip() for line in lines]


def legend_on_top(figure: Figure, handles: Sequence[Artist], labels: Sequence[str]) -> None:
    """Signs and their names in as many lines as they take, under the title or at the very top."""
    wide = 14 * figure.get_figwidth()  # letters in a line, signs included
    columns = next(
        (some for some in range(len(labels), 1, -1) if some * (5 + max(map(len, labels))) <= wide),
        1,
    )
    lines = -(-len(labels) // columns)
    title = figure.get_suptitle()
    room = "\n" * (lines if title else lines - 1) + " "
    figure.suptitle(f"{title}{room}", x=0.01, ha="left", fontsize=12, weight="bold")
    figure.set_figheight(figure.get_figheight() + 0.22 * lines)
    figure.legend(
        list(handles),
        list(labels),
        loc="upper left",
        bbox_to_anchor=(0.01, 1 - (0.27 if title else 0.03) / figure.get_figheight()),
        borderaxespad=0,
        borderpad=0,
        ncols=columns,
        columnspacing=1.4,
        handletextpad=0.5,
    )


def signed(*numbers: float) -> str:
    """``(+0.12, −0.53)``, with the sign that typesetters use."""
    return f"({', '.join(f'{number:+.2f}' for number in numbers)})".replace("-", "−")


def percent(fraction: float) -> str:
    """``38 %``; what is more than nothing does not become it."""
    return "< 1 %" if 0 < fraction < 0.01 else f"{100 * fraction:.0f} %"
