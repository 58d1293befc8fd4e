"""A figure that some other part of the project computed: a table, a chart of it or both, and when it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas as pd

Field = str | int | float | bool | None
Chosen = Literal["dataset", "metric", "baseline"]


@dataclass(frozen=True)
class Figure:
    """A table with an optional chart."""

    title: str
    reading: str  # one sentence that says how to read it
    columns: tuple[str, ...]
    rows: tuple[tuple[Field, ...], ...]  # None: nothing is known, shown as a dash
    spec: Mapping[str, Any] | None = None  # Vega-Lite with its data; colours may be variables of the page's style
    # what the reader must have chosen: "dataset" → key of a data set (`facts.key_of`), "metric", "baseline"; {}: always
    when: Mapping[Chosen, str] = field(default_factory=dict)


def figure_of_frame(
    title: str, reading: str, frame: pd.DataFrame, when: Mapping[Chosen, str] = MappingProxyType({})
) -> Figure:
    """A pandas table; its index becomes columns where it has a name, a missing value a dash."""
    named = [name for name in frame.index.names if name is not None]
    flat = frame.reset_index() if named else frame
    columns = tuple(" ".join(map(str, name)).strip() if isinstance(name, tuple) else str(name) for name in flat.columns)
    known = flat.astype(object).where(flat.notna(), None)
    return Figure(
        title, reading, columns, tuple(tuple(map(_field, row)) for row in known.to_numpy().tolist()), None, when
    )


def _field(value: Any) -> Field:
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)
