"""Facts → one HTML file that needs nothing else: no network, no other file, no right to run anything but its own code.

Strangers' names (strategies, classes, data sets, files) reach the page as text only: jinja2 escapes them, the data lie
in a block that no browser runs, and the page's code writes text, never HTML. The policy in its head forbids everything
but the page's own scripts and styles, which it names by their digests.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from unicodedata import bidirectional

import assignbench
from assignbench.errors import SystemProblem
from assignbench.plain_text import one_line
from assignbench.report.charts import charts, config
from assignbench.report.drawn import DrawnGallery
from assignbench.report.facts import Facts, Held, plain
from assignbench.report.figure import Figure
from assignbench.report.words import Name

TEMPLATES = Path(__file__).parent / "templates"
MISSING = "a report needs altair and vl-convert-python: pip install 'assignbench[report]'"
# the one part of the data that no sentence of ours breaks up: what a browser reads as markup, or as an end of line
_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


@dataclass(frozen=True)
class More:
    """What other parts of the project compute for the page; None: it was not computed, and the page says so."""

    analysis: Sequence[Figure] | None = None  # by size, class, centre and crowding
    galleries: Sequence[DrawnGallery] | None = None  # one a data set
    errors: Sequence[Figure] | None = None  # types of errors, calibration
    tables: Sequence[Figure] | None = None  # whole tables


NOTHING = More()


def check_report() -> None:
    """Refuse what cannot be made, before anything is computed for it.

    Raises:
        SystemProblem: one of the extra's packages is missing.
    """
    try:
        import altair  # noqa: F401  # only whether it is there
        import vl_convert  # noqa: F401
    except ImportError as error:
        raise SystemProblem(MISSING) from error


def page(facts: Facts, *, title: str | None = None, more: More = NOTHING, made: datetime | None = None) -> str:
    """The whole page.

    Args:
        facts: from `gather`.
        title: None: made from what is compared.
        more: figures and galleries of other parts.
        made: when; None: now.

    Raises:
        SystemProblem: one of the extra's packages is missing.
    """
    check_report()
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup, escape

    vega, script, style = _vega(), _read("report.js"), _read("report.css")
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=lambda part: one_line(part) if isinstance(part, str) and not isinstance(part, Markup) else part,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["isolated"] = lambda text: escape(isolated(text, names=facts.rows))
    environment.filters["drawn"] = lambda svg: Markup(unstyled(svg))  # noqa: S704  # see `DrawnPanel.svg`
    environment.tests["name"] = lambda part: isinstance(part, Name)
    data = {
        "facts": facts,
        "charts": charts(),
        "config": config(),
        "figures": {"analysis": more.analysis, "errors": more.errors, "tables": more.tables},
        "galleries": None if more.galleries is None else [_undrawn(gallery) for gallery in more.galleries],
    }
    return environment.get_template("report.html.j2").render(
        title=title or title_of(facts),
        facts=facts,
        more=more,
        progress=progress_of(facts.held),
        environment_names=list(dict.fromkeys(name for one in facts.environments for name in one)),
        made=(made or datetime.now(UTC)).strftime("%Y-%m-%d %H:%M UTC"),
        version=assignbench.__version__,
        policy=policy((vega, script), (style,)),
        vega=Markup(vega),  # noqa: S704  # a kept package's code, no stranger's text
        script=Markup(script),  # noqa: S704
        style=Markup(style),  # noqa: S704
        data=Markup(as_data(data)),  # noqa: S704  # escaped there
    )


def as_data(value: Any) -> str:
    """JSON that may stand inside a script element: nothing in it ends the element or begins another."""
    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate(str.maketrans(_UNSAFE))


def unstyled(svg: str) -> str:
    """A drawing without style attributes, which the policy forbids: the page's style sheet says how it is laid out."""
    return re.sub(r' style="[^"]*"', "", svg)


def _undrawn(gallery: DrawnGallery) -> dict[str, Any]:
    """A gallery as data: its drawings stand in the page as elements."""
    drawings = {"shared", "legend", "svg"}

    def without(value: Any) -> Any:
        if isinstance(value, tuple):
            return [without(each) for each in value]
        if not hasattr(value, "__dataclass_fields__"):
            return value
        return {name: without(getattr(value, name)) for name in value.__dataclass_fields__ if name not in drawings}

    return without(gallery)


def policy(scripts: Iterable[str], styles: Iterable[str]) -> str:
    """What the page may do: run these scripts, wear these styles, show pictures that lie in it. Nothing else."""
    run, worn = (" ".join(f"'{_digest(text)}'" for text in each) for each in (scripts, styles))
    return f"default-src 'none'; script-src {run}; style-src {worn}; img-src data:; base-uri 'none'; form-action 'none'"


def title_of(facts: Facts) -> str:
    """What is compared, in a line."""
    names = list(dict.fromkeys(block.dataset for block in facts.blocks))
    where = names[0] if len(names) == 1 else f"{len(names)} data sets"
    many = len(facts.rows)
    return f"Label assignment: {many} {'strategy' if many == 1 else 'strategies'} on {where}"


def isolated(text: str, names: Sequence[str]) -> str:
    """Names that run from right to left, set apart, so that what follows them is not turned around as well."""
    text = one_line(text)
    for name in map(one_line, names):
        if any(bidirectional(letter) in ("R", "AL", "RLE", "RLO", "RLI") for letter in name):
            text = text.replace(name, f"\u2068{name}\u2069")
    return text


@dataclass(frozen=True)
class Hole:
    """Strategies that lack the same seeds on a data set."""

    key: str
    seeds: tuple[int, ...]
    rows: tuple[str, ...]


@dataclass(frozen=True)
class Progress:
    """How complete the comparison is."""

    finished: int
    unfinished: tuple[Held, ...]
    missing: int
    holes: tuple[Hole, ...]

    @property
    def complete(self) -> bool:
        """Whether every strategy has a finished run with every seed of every data set."""
        return not self.unfinished and not self.missing

    @property
    def in_words(self) -> str:
        """`12 runs are finished; 1 is unfinished; 3 are missing`."""
        told = [f"{self.finished} {'run is' if self.finished == 1 else 'runs are'} finished"]
        for count, what in ((len(self.unfinished), "unfinished"), (self.missing, "missing")):
            told += [f"{count} {'is' if count == 1 else 'are'} {what}"] if count else []
        return "; ".join(told)


def progress_of(held: Sequence[Held]) -> Progress:
    """Finished, unfinished and missing."""
    missing = [one for one in held if one.state == "missing"]
    seeds: dict[tuple[str, str], list[int]] = {}
    for one in missing:
        seeds.setdefault((one.key, one.row), []).append(one.seed or 0)  # what is missing has a seed
    holes: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for (key, row), some in seeds.items():
        holes.setdefault((key, tuple(some)), []).append(row)
    return Progress(
        sum(one.state == "finished" for one in held),
        tuple(one for one in held if one.state not in ("finished", "missing")),
        len(missing),
        tuple(Hole(key, some, tuple(rows)) for (key, some), rows in holes.items()),
    )


@cache
def _vega() -> str:
    """Vega, Vega-Lite and Vega-Embed in one script; making it takes a second."""
    from vl_convert import javascript_bundle

    return javascript_bundle("window.vegaEmbed = vegaEmbed;")


def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
