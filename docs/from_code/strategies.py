"""A page for each built-in strategy, made from its file and from the committed results."""

import ast
import csv
import importlib
import inspect
import re
import statistics
import textwrap
import typing
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from importlib.metadata import entry_points
from typing import Any

from assignbench.core import Assigner, Setting
from assignbench.errors import UsageError
from assignbench.options import Option, option_schema
from from_code.markdown import ROOT, code, prose, table, yaml_text

MADE = "<!-- made from "  # how a page begins that is made as a whole


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
                return f"{option.name}={yaml_text(value)}"
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
