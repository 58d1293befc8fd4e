"""What the shell may complete: names that options and arguments take.

Nothing here imports torch or a strategy: a person waits for the answer, and pressing a key must not run a stranger's
code. What a strategy's class says is read out of its source. A completer that finds nothing returns nothing, and the
shell offers files.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer


def _silent(find: Callable[..., list[str]]) -> Callable[..., list[str]]:
    """Whatever goes wrong: the line that a person is writing is no place for messages."""

    @wraps(find)
    def found(**given: Any) -> list[str]:
        try:
            return find(**given)
        except Exception:  # a broken file of ours, a folder that cannot be read
            return []

    return found


@_silent
def strategies(incomplete: str) -> list[str]:
    """A list of strategies: ``atss,fc`` → ``atss,fcos``; within brackets, as in ``atss[k=9,re``, the options."""
    before, last = last_part(incomplete)
    name, bracket, _ = last.partition("[")
    if not bracket:
        return [before + one for one in _strategy_names()]
    within, _ = last_part(last.removeprefix(f"{name}["))
    taken = {part.partition("=")[0].strip() for part in within.split(",")}
    return [f"{before}{name}[{within}{option}=" for option in options_of(name) if option not in taken]


@_silent
def datasets(incomplete: str) -> list[str]:
    """A list of data sets that go by name."""
    return _in_list(incomplete, _shipped("datasets"))


@_silent
def recipes() -> list[str]:
    """The shipped recipes."""
    return _shipped("recipes")


@_silent
def experiments(incomplete: str) -> list[str]:
    """A list of the paper's tables, and all of them."""
    return _in_list(incomplete, [*_shipped("experiments"), "all"])


@_silent
def views() -> list[str]:
    """The shipped sets of views for ``--tta``."""
    return _shipped("tta")


@_silent
def engines() -> list[str]:
    """What can compute runs."""
    from assignbench.engines.engine import ENGINES

    return [name for name in ENGINES if ":" not in name]


@_silent
def presets(ctx: typer.Context) -> list[str]:
    """The presets of the strategies on the command line; of all, where none is there."""
    given = ctx.params.get("assigner") or _argument(ctx, "strategy") or []
    texts = [given] if isinstance(given, str) else list(given)
    names = [part.partition("[")[0].partition("+")[0] for text in texts for part in parts(text)]
    wanted = _strategy_names() if not names or "all" in names else names
    return list(dict.fromkeys(preset for name in wanted for preset in presets_of(name)))


@_silent
def splits(ctx: typer.Context) -> list[str]:
    """The splits of a published data set, as its description names its downloads."""
    from assignbench.paths import configs_folder
    from assignbench.strict_yaml import read_yaml

    content = read_yaml(configs_folder() / "datasets" / f"{_argument(ctx, 'name')}.yaml")
    return list(dict.fromkeys(one["split"] for one in content["sources"] if "split" in one))


@_silent
def run_ids(ctx: typer.Context) -> list[str]:
    """Ids of the runs in the folder of ``--output``."""
    output = Path(ctx.params.get("output") or "runs")
    return [run.name for folder in (output, output / "runs") for run in _runs_in(folder)]


@_silent
def run_folders(incomplete: str) -> list[str]:
    """Folders of runs: in ``runs``, or in the folder that is being written."""
    folder = incomplete.rpartition("/")[0]
    return [str(run) for run in _runs_in(Path(folder or ("/" if incomplete.startswith("/") else "runs")))]


def last_part(text: str) -> tuple[str, str]:
    """What is finished of a list, its comma included, and the part that is being written.

    >>> last_part("atss[k=5,reference=true],fc")
    ('atss[k=5,reference=true],', 'fc')
    """
    at = max(_commas(text), default=-1) + 1
    return text[:at], text[at:]


def parts(text: str) -> list[str]:
    """All parts of a list; commas within brackets stay."""
    ends = [*_commas(text), len(text)]
    starts = [0, *(end + 1 for end in ends)]
    return [text[start:end] for start, end in zip(starts, ends, strict=False)]


def options_of(name: str) -> list[str]:
    """The options of a strategy, by the signature in its source; []: it cannot be found there."""
    cls = _class_of(name)
    found = [] if cls is None else [one for one in cls[1].body if isinstance(one, ast.FunctionDef)]
    signature = next((one.args for one in found if one.name == "__init__"), None)
    return [] if signature is None else [argument.arg for argument in signature.kwonlyargs]


def presets_of(name: str) -> list[str]:
    """The presets of a strategy: the keys of its ``presets``, or of the dictionary of another module that they are."""
    cls = _class_of(name)
    if cls is None or (value := _value_of("presets", cls[1].body)) is None:
        return []
    if isinstance(value, ast.Name):
        imports = [one for one in cls[0].body if isinstance(one, ast.ImportFrom)]
        where = next((one.module for one in imports for alias in one.names if alias.name == value.id), None)
        body = cls[0].body if where is None else _parsed(_source_of(where)).body
        value = _value_of(value.id, body)
    keys = value.keys if isinstance(value, ast.Dict) else []
    return [key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)]


def _class_of(name: str) -> tuple[ast.Module, ast.ClassDef] | None:
    """The source of a strategy: of its file, and of its class; None: there is none."""
    where, _, class_name = _target_of(name).rpartition(":")
    file = Path(where).expanduser() if where.endswith(".py") else _source_of(where)
    if not file.is_file():
        return None
    tree = _parsed(file)
    found = (one for one in tree.body if isinstance(one, ast.ClassDef) and one.name == class_name)
    return next(((tree, one) for one in found), None)


def _target_of(name: str) -> str:
    """``module:Class`` of a name; what is none stands for itself."""
    from assignbench.plugins import known_strategies

    return next((known.target for known in known_strategies() if known.name == name), name)


def _source_of(module: str) -> Path:
    """The file of a module; its packages are not imported, as `find_spec` would with the whole name."""
    top, *below = module.split(".")
    spec = find_spec(top) if top else None
    if spec is None:
        return Path()
    if not below:
        return Path(spec.origin or "")
    stems = [Path(folder).joinpath(*below) for folder in spec.submodule_search_locations or ()]
    files = [file for stem in stems for file in (stem.with_suffix(".py"), stem / "__init__.py")]
    return next((file for file in files if file.is_file()), Path())


def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _value_of(name: str, body: Iterable[ast.stmt]) -> ast.expr | None:
    """What is assigned to a name."""
    for one in body:
        targets = one.targets if isinstance(one, ast.Assign) else [one.target] if isinstance(one, ast.AnnAssign) else []
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return one.value  # type: ignore[union-attr]
    return None


def _argument(ctx: typer.Context, name: str) -> str | None:
    """The first argument of the command, which typer leaves unnamed where the last option waits for its value."""
    return ctx.params.get(name) or next(iter(ctx.args), None)


def _strategy_names() -> list[str]:
    from assignbench.plugins import known_strategies

    return [*dict.fromkeys(known.name for known in known_strategies()), "all"]


def _shipped(kind: str) -> list[str]:
    """Names of the files that travel with the code."""
    from assignbench.paths import configs_folder

    return sorted(file.stem for file in (configs_folder() / kind).glob("*.yaml"))


def _in_list(incomplete: str, names: Iterable[str]) -> list[str]:
    before, _ = last_part(incomplete)
    taken = before.split(",")
    return [before + name for name in names if name not in taken]


def _runs_in(folder: Path) -> list[Path]:
    """The folders of runs in a folder."""
    from assignbench.run.results.names import CONFIG

    return sorted(file.parent for file in folder.glob(f"*/{CONFIG}"))


def _commas(text: str) -> Iterator[int]:
    """Where the commas of a list are: those outside of brackets."""
    depth = 0
    for at, letter in enumerate(text):
        depth += (letter == "[") - (letter == "]")
        if letter == "," and depth <= 0:
            yield at
