"""What typer finds wrong with a command line, in our words: what is wrong, and what to write instead."""

import inspect
import re
from enum import Enum
from typing import Any, get_args, get_type_hints

import typer

from assignbench.errors import UsageError
from assignbench.suggest import did_you_mean

# typer's own, or click's, as the version has it
Wrong: Any = typer.BadParameter.__mro__[1]

_KINDS = {int: "a whole number", float: "a number", bool: "true or false"}


def usage_error(error: Any) -> UsageError:
    """An error of typer's as one of ours.

    Args:
        error: a `Wrong`.
    """
    context: Any = error.ctx
    command = context.command_path if context is not None else "assignbench"
    help_ = f"see: {command} --help"
    match type(error).__name__:
        case "NoSuchOption":
            known = [name for one in context.command.params for name in one.opts if not one.hidden] if context else []
            hint = did_you_mean(error.option_name, known)
            return UsageError(f"{command} has no option {error.option_name}{hint or '; ' + help_}")
        case "MissingParameter":
            return UsageError(f"{command} needs {_named(error)}; {help_}")
        case "BadOptionUsage":
            takes = "takes no value" if "not take a value" in error.message else "needs a value behind it"
            return UsageError(f"{error.option_name} {takes}")
        case "BadParameter" if error.param is not None:
            return UsageError(f"{_named(error)}{_wrong_value(error)}")
    if context is not None and (
        found := re.fullmatch(r"No such command ['\"](.*?)['\"]\..*", error.message, re.DOTALL)
    ):
        known = [name for name in context.command.list_commands(context) if not context.command.commands[name].hidden]
        hint = did_you_mean(found[1], known) or f"; it has {', '.join(known)}"
        return UsageError(f"{command} has no command {found[1]}{hint}")
    if found := re.search(r"unexpected extra argument\S* \((.*)\)", error.message, re.DOTALL):
        return UsageError(f"{command} takes no further argument, and cannot use {found[1]}; {help_}")
    return UsageError(f"{command}: {error.format_message()}")


def _named(error: Any) -> str:
    """What the option or the argument is called on the command line."""
    one = error.param
    if one is None:
        return "a further argument"
    if one.param_type_name == "option":
        return next((name for name in one.opts if name.startswith("--")), one.opts[0])
    return one.metavar or one.name.upper()


def _wrong_value(error: Any) -> str:
    """The value that was given, as far as typer says it, and what may stand there, as the command declares it."""
    given = re.search(r"(?:^|, )'(.*)' is not ", error.message, re.DOTALL)
    value = f" {given[1]}" if given else ""
    kinds, bounds = _declared(error)
    choices = [str(one.value) for kind in kinds if issubclass(kind, Enum) for one in kind]
    if choices:
        return f"{value} must be one of {', '.join(choices)}{did_you_mean(value.strip(), choices)}"
    if words := [_KINDS[kind] for kind in kinds if kind in _KINDS]:
        return f"{value} must be {' '.join([words[0], ' and '.join(bounds)]).strip()}"
    return f"{value}: {error.message}"


def _declared(error: Any) -> tuple[list[type], list[str]]:
    """The types of the parameter, and its bounds in words."""
    hints = get_type_hints(inspect.unwrap(error.ctx.command.callback), include_extras=True)
    hint, info = get_args(hints[error.param.name])[:2]
    kinds = [kind for kind in (hint, *get_args(hint)) if isinstance(kind, type)]
    bounds = [
        f"{sign} {bound:g}"
        for sign, bound in (("≥", getattr(info, "min", None)), ("≤", getattr(info, "max", None)))
        if bound is not None
    ]
    return kinds, bounds
