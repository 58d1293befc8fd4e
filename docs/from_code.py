"""The parts of the documentation that are made from the code when the site is built, so that they cannot go stale.

A page asks for such a part by a line ``<!-- from the code: NAME -->``, and the folder ``strategies`` gets a page for
each built-in strategy. Everything here returns Markdown.
"""

import ast
import csv
import importlib
import inspect
import io
import re
import statistics
import textwrap
import tokenize
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import typer
from rich.text import Text

from assignbench import core
from assignbench.cli.main import app
from assignbench.config import flatten, known_recipes, load_recipe, settings
from assignbench.core import Assigner, Extra, Setting, parts
from assignbench.core.parts import EXTRAS
from assignbench.data.read.findings import KINDS, Severity
from assignbench.errors import UsageError
from assignbench.options import Option, option_schema
from assignbench.recipe import Recipe
from assignbench.run.results import environment, record

ROOT = Path(__file__).resolve().parent.parent
MARKER = re.compile(r"^<!-- from the code: ([\w ]+) -->$", flags=re.MULTILINE)
MADE = "<!-- made from "  # how a page begins that is made as a whole
_CODE = re.compile(r"(`+[^`\n]+?`+)")


# Markdown


def prose(text: str) -> str:
    """Plain text as Markdown: what is in backticks stays code, and no other letter means anything."""
    pieces = _CODE.split(text)
    for place, piece in enumerate(pieces):
        code = place % 2 == 1
        pieces[place] = f"`{piece.strip('`')}`" if code else re.sub(r"([\\*_\[\]<>#~])", r"\\\1", piece)
    return "".join(pieces)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = [[_cell(cell) for cell in line] for line in (head, ["---"] * len(head), *rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return re.sub(r"\s*\n\s*", " ", text).replace("|", r"\|")


def code(text: object) -> str:
    """A piece of code in a line; nothing for nothing."""
    return f"`{text}`" if str(text) else ""


# Commands


def plain(markup: str | None) -> str:
    """Help as typer has it, without rich's markup."""
    return Text.from_markup(inspect.cleandoc(markup or "")).plain


def commands() -> str:
    """Every command with its arguments and options."""
    return "\n\n".join(_commands(typer.main.get_command(app), "assignbench"))


def leaves(command: Any, words: str) -> Iterator[tuple[str, Any]]:
    """Every command that does something, with the words that call it."""
    for name, inner in getattr(command, "commands", {}).items():
        if hasattr(inner, "commands"):
            yield from leaves(inner, f"{words} {name}")
        elif not inner.hidden:
            yield f"{words} {name}", inner


def _commands(root: Any, name: str) -> Iterator[str]:
    for words, command in leaves(root, name):
        yield f"## `{words.removeprefix('assignbench ')}`"
        arguments = [one for one in command.params if one.param_type_name == "argument"]
        named = [one for one in command.params if one.param_type_name == "option" and not one.hidden]
        usage = " ".join([words, *(_metavar(one) for one in arguments), *(["[OPTIONS]"] if named else [])])
        yield f"```text\n{usage}\n```"
        yield "\n\n".join(prose(re.sub(r"\s*\n\s*", " ", part)) for part in plain(command.help).split("\n\n"))
        if command.epilog:
            title, *examples = plain(command.epilog).split("\n\n")
            yield f"{title}:\n\n```bash\n" + "\n".join(line.strip() for line in examples if line.strip()) + "\n```"
        if arguments:
            yield table(["argument", "meaning"], [[code(_metavar(one)), prose(plain(one.help))] for one in arguments])
        if named:
            yield table(["option", "meaning", "default"], [_option_row(one) for one in named])


def _metavar(argument: Any) -> str:
    return plain(argument.metavar or argument.name.upper())


def _option_row(option: Any) -> list[str]:
    value = "" if option.is_flag else f" {plain(option.metavar) or option.name.upper()}"
    names = ", ".join([*option.opts, *option.secondary_opts])
    meaning = prose(plain(option.help))
    return [code(f"{names}{value}"), f"{meaning} **Required.**" if option.required else meaning, _default(option)]


def _default(option: Any) -> str:
    if isinstance(option.show_default, str):  # which says it in words
        return prose(option.show_default)
    value = getattr(option.default, "value", option.default)
    if option.is_flag or value in (None, [], ()):
        return ""
    return code(",".join(map(str, value)) if isinstance(value, list | tuple) else value)


# Recipes


def recipe() -> str:
    """Every setting of a recipe: what it means, what it may be, what it is if a recipe does not say."""
    told = []
    for group, field in Recipe.model_fields.items():
        model: Any = field.annotation
        rows = []
        for key, about in settings().items():
            if key.partition(".")[0] == group:
                inner = next(
                    one for name, one in model.model_fields.items() if (one.alias or name) == key.partition(".")[2]
                )
                default = (
                    "must be given"
                    if inner.is_required()
                    else code(_yaml(inner.get_default(call_default_factory=True)))
                )
                rows.append([code(key), prose(about.meaning), prose(about.allowed), default])
        told.append(f"## `{group}`\n\n{prose(inspect.getdoc(model) or '')}\n\n")
        told.append(table(["key", "meaning", "allowed", "default"], rows) + "\n\n")
    return "".join(told)


def recipes() -> str:
    """What each shipped recipe is for, by its first line, and its values for the keys in which recipes differ most."""
    shown = ("model.backbone", "data.short_side", "train.iterations", "train.batch", "train.lr")
    rows = []
    for name in known_recipes():
        values = flatten(load_recipe(name).recipe)
        file = f"configs/recipes/{name}.yaml"
        first = (ROOT / file).read_text(encoding="utf-8").partition("\n")[0].removeprefix("#").partition(":")[2].strip()
        rows.append([f"[`{name}`](../../{file})", prose(first), *(_range(values[key]) for key in shown)])
    return table(["recipe", "for", *(key.partition(".")[2].replace("_", " ") for key in shown)], rows)


def _range(value: object) -> str:
    if isinstance(value, list):
        return str(value[0]) if len(value) == 1 else f"{value[0]} … {value[-1]}"
    return str(value)


def _yaml(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


# Findings


def findings() -> str:
    """Every kind of finding, what a run does about it, and what the repaired copy has instead."""
    rows = []
    for kind in KINDS:
        run = "refuses it" if kind.severity is Severity.ERROR else f"{kind.how}: {kind.done}" if kind.done else "–"
        rows.append([code(kind.name), str(kind.severity), prose(kind.meaning), prose(run), prose(kind.remedy) or "–"])
    return table(["finding", "severity", "what it is", "`run`", "`--fix`"], rows)


# Fields of types


@dataclass(frozen=True)
class Written:
    """A field as its class's source has it."""

    name: str
    annotation: str
    default: str
    comment: str


def written(cls: type) -> list[Written]:
    """The fields of a class in their order, with the comment behind or above each."""
    source = textwrap.dedent(inspect.getsource(cls))
    comments = {
        token.start[0]: token.string.lstrip("# ").strip()
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    lines = source.splitlines()
    (body,) = ast.parse(source).body
    assert isinstance(body, ast.ClassDef)  # noqa: S101
    told = []
    for node in body.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id[0] != "_":
            above, line = [], node.lineno - 1
            while line in comments and lines[line - 1].lstrip().startswith("#"):
                above.insert(0, comments[line])
                line -= 1
            beside = [comments[n] for n in range(node.lineno, (node.end_lineno or node.lineno) + 1) if n in comments]
            comment = re.sub(r"\s*noqa.*", "", " ".join([*above, *beside]))
            default = ast.unparse(node.value) if node.value else ""
            told.append(Written(node.target.id, ast.unparse(node.annotation), default, comment))
    return told


def _fields(cls: type) -> str:
    known = vars(inspect.getmodule(cls))
    rows = []
    for one in written(cls):
        kind = known.get(one.annotation)  # what its own type says, where the field itself says nothing
        meaning = one.comment or (
            _first(kind) if inspect.isclass(kind) and kind.__module__.startswith("assignbench") else ""
        )
        default = re.sub(r"^field\(default_factory=(\w+)\)$", r"\1()", one.default)
        rows.append([code(one.name), code(one.annotation), prose(meaning), code(default)])
    return table(["field", "type", "meaning", "default"], rows)


def _first(thing: object) -> str:
    """The first paragraph of a docstring, in a line."""
    return re.sub(r"\s*\n\s*", " ", (inspect.getdoc(thing) or "").partition("\n\n")[0])


def fields_of_record() -> str:
    """The fields of record.json."""
    models = (record.RunRecord, record.AssignerFacts, record.DatasetFacts, record.SplitFacts, record.ResolvedValue)
    models = (*models, record.Seconds, record.FileFacts, environment.Environment)
    return "\n".join(f"## `{one.__name__}`\n\n{prose(_first(one))}\n\n{_fields(one)}\n" for one in models)


def types() -> str:
    """Every public name of the core and its parts."""
    return "\n".join(
        f"## `{module.__name__}`\n\n{prose(_first(module))}\n\n" + "\n".join(_names(module)) for module in (core, parts)
    )


def _names(module: Any) -> Iterator[str]:
    for name in sorted(module.__all__, key=str.lower):
        thing = getattr(module, name)
        if inspect.isclass(thing):
            own = issubclass(thing, Assigner | Extra) or not written(thing)
            yield f"### `{name}`\n\n{prose(_first(thing))}\n\n" + ("" if own else f"{_fields(thing)}\n")
        elif callable(thing):
            yield f"### `{name}`\n\n```python\n{name}{_signature(thing)}\n```\n\n{prose(_first(thing))}\n"


def _signature(thing: Callable[..., object]) -> str:
    return re.sub(r"\b(?:\w+\.)+(?=[A-Z])", "", str(inspect.signature(thing)).replace("'", ""))


# Strategies


@cache
def strategies() -> Mapping[str, type[Assigner]]:
    """The built-in strategies by name, in the order in which they are declared."""
    points = entry_points(group="assignbench.assigners")
    return {one.name: one.load() for one in points if one.module.startswith("assigners.")}


def file_of(cls: type) -> str:
    """The strategy's file, from the root of the repository: assigners/fcos.py."""
    return cls.__module__.replace(".", "/") + ".py"


def strategy(name: str) -> str:
    """The page of a strategy, made from its file and from the committed results."""
    cls = strategies()[name]
    module = importlib.import_module(cls.__module__)
    title, rule, rest = _docstring(module)
    sections = {
        "The rule": f"```text\n{rule}\n```\n\n{rest}" if rule else rest,
        "At a glance": table(["", ""], _facts(cls)),
        "Run it": _run_it(name, cls),
        "Options": _options(cls),
        "Presets": _presets(cls),
        "Results": _results(name),
        "The code": _code(file_of(cls)),
    }
    opening = f"{MADE}{file_of(cls)}: change that file -->\n\n# `{name}`\n\n{prose(title)}\n\n{_picture(name)}"
    return opening + "\n".join(f"## {heading}\n\n{text.strip()}\n" for heading, text in sections.items())


def _picture(name: str) -> str:
    """What the strategy assigns, where a picture of it lies beside the pages.

    ``assignbench figure assigned --assigner NAME --levels --no-caption --width 7in --dpi 100`` draws it.
    """
    file = f"pictures/{name}.png"
    if not (ROOT / "docs" / "strategies" / file).exists():
        return ""
    told = (
        "A square is a location that teaches the object of its colour, and a paler one weighs less. An object that "
        "nothing teaches is red. Strategies that read predictions see those of an untrained detector here. "
        f"`assignbench figure assigned --assigner {name} --levels` draws it, also for "
        "[your own pictures](../guide/assigned.md)."
    )
    return f"![The locations that {name} assigns on a picture, level by level]({file})\n\n{told}\n\n"


def _docstring(module: Any) -> tuple[str, str, str]:
    """The first line, the formulas, and what follows them as Markdown."""
    text = inspect.cleandoc(module.__doc__ or "")
    title, _, text = text.partition("\n")
    lines = text.strip("\n").splitlines()
    end = next((n for n, line in enumerate(lines) if line and not line.startswith("    ")), len(lines))
    rule, rest = "\n".join(lines[:end]), "\n".join(lines[end:])
    return title, textwrap.dedent(rule).strip("\n"), "\n\n".join(_paragraph(one) for one in rest.split("\n\n"))


def _paragraph(text: str) -> str:
    if all(line.startswith("    ") for line in text.splitlines()):
        return f"```text\n{textwrap.dedent(text)}\n```"
    told = _linked(text)
    return re.sub(r"(?:^|(?<=[.)])\s+)((?:Source|Choices|Ablations)\b[^.:]*:)", r"\n\n**\1**", told).strip()


def _linked(text: str) -> str:
    return re.sub(r"arXiv (\d{4}\.\d{4,5})", r"[arXiv \1](https://arxiv.org/abs/\1)", prose(text))


def _facts(cls: type[Assigner]) -> list[list[str]]:
    asked = [one for one in inspect.signature(cls.forward).parameters if one != "self"]
    reads = {"predictions", "view", "branches"} & set(asked)
    assigner = cls(Setting(classes=3))
    where = "on the network's device, because it reads predictions" if reads else "on the host, beside the network"
    extras = ", ".join(code(one.name) for one in assigner.head.extras) or "none"
    learned = ", ".join(map(code, assigner.learned())) or "parameters of its own"
    rows = {
        "Source": _linked(cls.source),
        "It [reads](../extend/interface.md#what-a-strategy-is-told)": ", ".join(map(code, asked)),
        "It runs": where,
        "Priors in a cell": str(assigner.head.priors_per_cell),
        "[Extra outputs](../extend/extras.md)": extras,
        "It learns": learned if any(True for _ in assigner.parameters()) else "nothing of its own",
    }
    return [[f"**{left}**", right] for left, right in rows.items()]


def _run_it(name: str, cls: type[Assigner]) -> str:
    lines = [
        f"assignbench run --assigner {name}",
        f"assignbench run --assigner {name},{'fcos' if name == 'atss' else 'atss'} --seeds 0,1,2",
    ]
    changed = next((one for one in map(partial(_changed, cls), option_schema(cls)) if one), "")
    if changed:
        lines.append(f"assignbench run --assigner '{name}[{changed}]'   # with another value of an option")
    lines.append(f"assignbench bench loss --assigner {name}   # what it costs")
    if cls.presets:
        lines.append(f"assignbench run --protocol published --assigner {name} --recipe 1x --dataset coco")
    return "```bash\n" + "\n".join(lines) + "\n```\n"


def _changed(cls: type[Assigner], option: Option) -> str:
    """The option with another value than its default, as text; empty if no such value is allowed alone."""
    now: Any = option.default
    literals = [one for one in typing.get_args(option.hint) if isinstance(one, str)]
    others = (
        [not now]
        if isinstance(now, bool)
        else [now / 2 if now <= 1 else 2 * now]
        if isinstance(now, int | float)
        else literals
    )
    for value in others:
        if value != now:
            with suppress(ValueError, UsageError):
                cls(Setting(classes=3), **{option.name: value})
                return f"{option.name}={_yaml(value)}"
    return ""


def _value(option: Option) -> str:
    return str(option).partition(" = ")[2]


WORDS = {"float": "a number", "int": "a whole number", "str": "text", "true | false": "true or false"}


def _options(cls: type[Assigner]) -> str:
    schema = option_schema(cls)
    if not schema:
        return "It has no options.\n"
    rules = _required(cls)
    rows = []
    for one in schema:
        bounds = [code(rule) for rule in rules if re.search(rf"\b{one.name}\b", rule)]
        kind = WORDS.get(one.kind, one.kind.replace(" | ", ", "))
        allowed = prose(kind) + (f": {', '.join(bounds)}" if bounds else "")
        rows.append([code(one.name), prose(one.meaning), allowed, code(_value(one))])
    return table(["option", "meaning", "allowed", "default"], rows) + "\n"


def _required(cls: type) -> list[str]:
    """The conditions that the constructor requires of its options, as its source has them."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls.__init__)))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    return [ast.unparse(call.args[0]) for call in calls if getattr(call.func, "id", "") == "require"]


def _presets(cls: type[Assigner]) -> str:
    if not cls.presets:
        return "It has no preset: `--protocol published` refuses it.\n"
    rows = [[code(name), _linked(preset.source)] for name, preset in cls.presets.items()]
    return (
        "The first one is the default of `--protocol published`.\n\n"
        + table(["preset", "what it follows"], rows)
        + "\n"
    )


@cache
def _field() -> Mapping[str, Mapping[str, str]]:
    """The table of reports/field: strategy → column → cell."""
    text = (ROOT / "reports" / "field" / "README.md").read_text(encoding="utf-8")
    lines = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")
    ]
    head = next(line for line in lines if line[0] == "strategy")
    return {line[0].strip("`"): dict(zip(head, line, strict=True)) for line in lines if len(line) == len(head)}


@cache
def _runs() -> Sequence[Mapping[str, str]]:
    with (ROOT / "reports" / "field" / "runs.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def ap(name: str, data: str) -> str:
    """Mean and deviation of AP over the committed runs of a strategy on a data set; empty: there are none."""
    values = [float(run["AP"]) for run in _runs() if run["strategy"] == name and run["data"] == data]
    if not values:
        return ""
    return f"{statistics.mean(values):.1f}" + (f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else "")


def _results(name: str) -> str:
    row = _field().get(name)
    if row is None:
        return "No report of this repository has a result of it yet.\n"
    cells = [["BCCD, three seeds", ap(name, "bccd") or row["AP"], row["Δ to ATSS"].replace("base", "–"), row["rank"]]]
    cells += [["`shapes`, one seed", ap(name, "shapes") or row["shapes AP"], "–", "–"]]
    return (
        "From [reports/field](../../reports/field/README.md): the controlled protocol, a small network and a short "
        "training, the same for all strategies. Read there what these numbers say and what they do not.\n\n"
        + table(["data", "AP", "difference to ATSS, 95 % interval", "rank of 22"], cells)
        + "\n"
    )


def _code(file: str) -> str:
    source = (ROOT / file).read_text(encoding="utf-8").strip("\n")
    _, _, body = source.partition('"""')[2].partition('"""')
    return f"[{file}](../../{file}) is the whole strategy:\n\n```python\n{body.strip()}\n```\n"


def results() -> str:
    """All strategies in the order of their AP on BCCD."""
    rows = [
        [f"[`{name}`]({name}.md)", row["AP"], row["Δ to ATSS"], row["positives an object"], row["shapes AP"]]
        for name, row in _field().items()
        if name in strategies()
    ]
    return table(["strategy", "AP on BCCD", "difference to ATSS", "positives an object", "AP on `shapes`"], rows)


def extras() -> str:
    """The extra outputs that any strategy may be given."""
    return table(["name", "meaning"], [[code(name), prose(_first(extra))] for name, extra in EXTRAS.items()])


PARTS: Mapping[str, Callable[[], str]] = {
    "commands": commands,
    "settings of a recipe": recipe,
    "recipes": recipes,
    "findings": findings,
    "fields of a record": fields_of_record,
    "types": types,
    "results of strategies": results,
}


def filled(text: str) -> str:
    """A page with every part that it asks for.

    Raises:
        KeyError: there is no such part.
    """
    return MARKER.sub(lambda found: PARTS[found[1]](), text)
