"""The console of all commands: rich's, through which no text from outside reaches the terminal as it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from assignbench.plain_text import lines, one_line


class Screen(Console):
    """A text is one line; in whatever else is drawn, letters that a terminal would obey are spelt out, too."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, highlight=False, emoji=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As rich's."""
        if isinstance(renderable, str):
            renderable = self.render_str(renderable)
        if isinstance(renderable, Text):
            renderable = renderable.copy()
            renderable.plain = one_line(renderable.plain)
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else lines(text), style, control)
