"""The site of the documentation: ``sphinx-build -W -n docs build/docs``, after ``pip install -e '.[docs]'``."""

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from from_code import MARKER, filled  # noqa: E402
from from_code.strategies import MADE, strategies, strategy  # noqa: E402

with (HERE.parent / "pyproject.toml").open("rb") as file:
    PROJECT = tomllib.load(file)["project"]

project = "assignbench"
author = "the authors of assignbench"
release = version = PROJECT["version"]

extensions = ["myst_parser", "sphinx_copybutton"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
exclude_patterns = ["_build"]
highlight_language = "bash"  # of indented blocks
copybutton_exclude = ".linenos, .gp, .go, .c1"  # comments behind commands are not copied
nitpicky = True

html_theme = "furo"
html_title = f"assignbench {version}"
html_show_sphinx = False
html_show_copyright = False
smartquotes = False  # which make one dash of the two before an option
html_copy_source = False
html_static_path = ["static"]
html_css_files = ["wide.css"]
html_theme_options = {
    "source_repository": PROJECT["urls"]["Homepage"],
    "source_branch": "main",
    "source_directory": "docs/",
}

STRATEGIES = HERE / "strategies"
HOME = f"{PROJECT['urls']['Homepage']}/blob/main"
LINK = re.compile(r"(\]\()(\.\./[^)#\s]+)(#[^)]*)?(\))")


def leaving(text: str, page: Path) -> str:
    """A page whose links to files outside this folder lead to the repository, or to the page made from a strategy."""
    own = page.parent == STRATEGIES and page.name != "index.md"

    def led(found: re.Match[str]) -> str:
        target = (page.parent / found[2]).resolve()
        if target.is_relative_to(HERE):
            return found[0]
        inside = target.relative_to(HERE.parent)
        if inside.parent.name == "assigners" and inside.stem in strategies() and not own:
            return f"{found[1]}/strategies/{inside.stem}.md{found[4]}"
        return f"{found[1]}{HOME}/{inside.as_posix()}{found[3] or ''}{found[4]}"

    return LINK.sub(led, text)


def write_strategies(_app: Any) -> None:
    """A page for each built-in strategy, beside the list of them; git ignores these pages."""
    pages = {STRATEGIES / f"{name}.md": strategy(name) for name in strategies()}
    for page in set(STRATEGIES.glob("*.md")) - set(pages):
        if page.read_text(encoding="utf-8").startswith(MADE):
            page.unlink()  # of a strategy that is gone
    for page, text in pages.items():
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


def read(app: Any, name: str, source: list[str]) -> None:
    """Put in what is made from the code, and lead links out of this folder to the repository."""
    source[0] = leaving(filled(source[0]), Path(app.env.doc2path(name)))


def outdated(_app: Any, env: Any, *_: Any) -> list[str]:
    """Pages with something from the code are always read anew, since the code may have changed."""
    return [name for name in env.found_docs if MARKER.search(Path(env.doc2path(name)).read_text("utf-8"))]


def setup(app: Any) -> dict[str, bool]:
    """Sphinx calls this."""
    app.connect("builder-inited", write_strategies)
    app.connect("env-get-outdated", outdated)
    app.connect("source-read", read)
    return {"parallel_read_safe": True}
