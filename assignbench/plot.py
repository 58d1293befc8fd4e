"""How pictures of numbers look, and how they are written: one style for every figure.

matplotlib is an extra, `assignbench[plots]`: it is imported when a figure is drawn. No screen is used or needed.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

from assignbench import plain_text
from assignbench.errors import SystemProblem, UsageError
from assignbench.files import is_stream, written
from assignbench.overwriting import is_png_of, mark_of, refuse_strangers, require_place

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 160  # pixels of a PNG in an inch
UNITS = {"cm": 1 / 2.54, "in": 1.0}  # inches
WIDTHS = (1.5, 60.0)  # inches: less holds no words, more no paper

FORMATS = {".svg": "Date", ".pdf": "CreationDate", ".png": None}  # and where each keeps the time of writing

# Okabe and Ito's colours, apart for the colour-blind too, and a marker each for print without colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8A6D00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
GREY = "#666666"

STYLE: dict[str, Any] = {
    "font.size": 9.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "xtick.color": "#333333",
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E5E5E5",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "svg.hashsalt": "assignbench",  # the same figure is the same file
    "svg.fonttype": "none",  # text stays text, to be searched and edited
    "pdf.fonttype": 42,
    "savefig.dpi": DPI,
}


COMMAND = "figure"  # who drew it, in the PNG


def check_plot(file: Path, option: str = "--plot", *, chosen: bool = True) -> None:
    """Refuse a picture that cannot be made, before anything is measured or loaded for it.

    Args:
        file: to be written.
        option: that named it.
        chosen: whether the user has named it; else only what was drawn here is overwritten.

    Raises:
        UsageError: a picture of somebody else's is there.
        UsageError: the name ends in no known format, or the folder that it is to lie in is not there.
        SystemProblem: matplotlib is missing, or the file cannot be written.
    """
    if file.suffix.lower() not in FORMATS:
        raise UsageError(f"{option} {file}: the name must end in {', '.join(FORMATS)}")
    try:
        import matplotlib  # noqa: F401  # only whether it is there
    except ImportError as error:
        raise SystemProblem("pictures need matplotlib: pip install 'assignbench[plots]'") from error
    if file.is_dir():
        raise SystemProblem(f"{option} {file} is a folder; name a file in it")
    if not chosen:
        refuse_strangers(file, lambda found: is_png_of(found, COMMAND), COMMAND)
    if is_stream(file):
        return
    require_place(file, option)
    try:
        with TemporaryFile(dir=file.parent):
            pass
    except OSError as error:
        raise SystemProblem(f"{option} {file} cannot be written: {error.strerror}") from error


def inches_of(width: str, option: str) -> float:
    """``8.4cm`` or ``3.3in`` as inches.

    Raises:
        UsageError: it is no width, has no unit, or is none that a figure can have.
    """
    text = width.strip().lower()
    number, unit = text[:-2].strip(), text[-2:]
    try:
        inches = float(number) * UNITS[unit]
    except (KeyError, ValueError):
        raise UsageError(f"{option} {width}: write a number and its unit, as 8.4cm or 3.3in") from None
    if not WIDTHS[0] <= inches <= WIDTHS[1]:
        low, high = (f"{end:g}in ({2.54 * end:g}cm)" for end in WIDTHS)
        raise UsageError(f"{option} {width}: a figure is {low} to {high} wide")
    return inches


def styled() -> AbstractContextManager[None]:
    """A block in which figures are drawn, whatever the user's own settings of matplotlib are."""
    from matplotlib import style

    return style.context(["default", STYLE])


def log_log(panel: Axes) -> None:
    """Logarithmic axes with numbers as they are spoken: 1, 10, 100, 1k, 1M."""
    from matplotlib.ticker import EngFormatter, NullFormatter

    panel.set(xscale="log", yscale="log")
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_formatter(EngFormatter(sep=""))
        axis.set_minor_formatter(NullFormatter())
    panel.minorticks_off()


def slope_guides(panel: Axes) -> None:
    """Faint parallels of slope 1 across a log-log panel, one a decade: what is proportional runs along them."""
    (left, right), (bottom, top) = panel.get_xlim(), panel.get_ylim()
    for decade in range(math.floor(math.log10(bottom / right)), math.ceil(math.log10(top / left)) + 1):
        panel.plot(
            (left, right),
            (left * 10.0**decade, right * 10.0**decade),
            color=GREY,
            linewidth=0.8,
            linestyle=":",
            zorder=0,
        )
    panel.set(xlim=(left, right), ylim=(bottom, top))


def save(figure: Figure, file: Path, dpi: int = DPI) -> None:
    """Write a figure in the format of the file's name, whole or not at all; the same figure gives the same bytes.

    Args:
        figure: what.
        file: where.
        dpi: pixels of a PNG in an inch, and of what is no line and no letter in SVG and PDF.

    Raises:
        SystemProblem: the file cannot be written.
    """
    from matplotlib.text import Text

    for one in figure.findobj(Text):
        if isinstance(one, Text) and r"\math" not in one.get_text():  # of axes; no formula of ours is anywhere else
            one.set_text(plain_text.lines(one.get_text()))
            one.set_parse_math(False)
    form = file.suffix.lower()
    date = FORMATS[form]
    with written(file) as temporary, styled():
        figure.savefig(temporary, format=form[1:], dpi=dpi, metadata=mark_of(COMMAND) if date is None else {date: None})
