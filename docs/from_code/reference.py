"""Commands with their options, recipes with their settings, and kinds of findings."""

import inspect
import re
from collections.abc import Iterator
from typing import Any

import typer
from rich.text import Text

from assignbench.cli.main import app
from assignbench.config import flatten, known_recipes, load_recipe, settings
from assignbench.data.read.findings import KINDS
from assignbench.recipe import Recipe
from from_code.markdown import ROOT, code, prose, table, yaml_text


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
                    else code(yaml_text(inner.get_default(call_default_factory=True)))
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


def findings() -> str:
    """Every kind of finding, what a run does about it, and what the repaired copy has instead."""
    rows = []
    for kind in KINDS:
        words = (prose(text) or "–" for text in (kind.meaning, kind.reading, kind.remedy))
        rows.append([code(kind.name), str(kind.severity), *words])
    return table(["finding", "severity", "what it is", "`run`", "`--fix`"], rows)
