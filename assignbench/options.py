"""A strategy's options: their text form, and the constructor's signature as their schema.

``autoassign[center=fixed,tau=0.5]`` is a name with options; values are YAML. A strategy declares them as
typed keyword arguments with defaults: ``__init__(self, setting, *, tau: float = 1 / 3, …)``.
"""

import inspect
import json
import math
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from assignbench.errors import UsageError
from assignbench.strict_yaml import parse_yaml
from assignbench.suggest import did_you_mean

_REQUIRED = inspect.Parameter.empty


@dataclass(frozen=True)
class Option:
    """One keyword argument of a strategy's constructor."""

    name: str
    hint: Any  # the annotation
    default: Any  # inspect.Parameter.empty when the option must be given

    @property
    def kind(self) -> str:
        """What the option may be, in words."""
        if typing.get_origin(self.hint) is typing.Literal:
            return " | ".join(map(str, typing.get_args(self.hint)))
        return self.hint.__name__ if isinstance(self.hint, type) else str(self.hint).replace("typing.", "")

    def __str__(self) -> str:
        if self.default is _REQUIRED:
            return f"{self.name}: {self.kind}"
        default = f"{self.default:.4g}" if isinstance(self.default, float) else _text(self.default)
        return f"{self.name}: {self.kind} = {default}"


def split_list(text: str) -> tuple[str, ...]:
    """``"autoassign[tau=0.5,center=fixed],atss"`` → its two parts; commas inside brackets or quotes stay.

    Raises:
        UsageError: brackets do not match.
    """
    return tuple(part.strip() for part in _split(text, text) if part.strip())


def parse_strategy(text: str) -> tuple[str, dict[str, Any]]:
    """``"atss[k=9]"`` → ``("atss", {"k": 9})``.

    Raises:
        UsageError: brackets do not match, an option has no value or is given twice.
    """
    text = text.strip()
    opened = [position for position, character in _top_level(text, text) if character == "["]
    start = opened[-1] if opened and text.endswith("]") else len(text)  # a folder's name may hold brackets too
    name, inner = text[:start].strip(), text[start + 1 : -1]
    if not name:
        raise UsageError(f"{text!r} names no strategy; write name or name[option=value]")
    options: dict[str, Any] = {}
    for part in filter(str.strip, _split(inner, text)):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not key:
            raise UsageError(f"{text}: {part.strip()!r} is not an option; write {name}[option=value]")
        if key in options:
            raise UsageError(f"{text}: option {key!r} is given twice")
        options[key] = parse_yaml(value, f"{text}: option {key}")
    return name, options


def format_strategy(name: str, options: Mapping[str, Any]) -> str:
    """The canonical text, options sorted: what `parse_strategy` reads back."""
    inner = ",".join(f"{key}={_text(options[key])}" for key in sorted(options))
    return f"{name}[{inner}]" if inner else name


def option_schema(cls: type) -> tuple[Option, ...]:
    """The options that a strategy's constructor declares.

    Raises:
        UsageError: the annotations cannot be read.
    """
    parameters = list(inspect.signature(cls.__init__).parameters.values())
    try:
        hints = typing.get_type_hints(cls.__init__)
    except Exception as error:  # a plug-in's annotation may be anything
        raise UsageError(f"{cls.__name__}.__init__: its annotations cannot be read: {error}") from error
    return tuple(
        Option(parameter.name, hints.get(parameter.name, Any), parameter.default)
        for parameter in parameters[2:]  # after self and setting
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    )


def check_options(cls: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as the constructor wants them: a whole number for a float becomes one, a list a tuple.

    Raises:
        UsageError: an unknown option, a missing one, or a value of another type; names the valid ones.
    """
    schema = {option.name: option for option in option_schema(cls)}
    valid = f"\nits options: {', '.join(map(str, schema.values()))}" if schema else "\nit has no options"
    for name in options:
        if name not in schema:
            raise UsageError(f"{cls.__name__} has no option {name!r}{did_you_mean(name, schema)}{valid}")
    for option in schema.values():
        if option.default is _REQUIRED and option.name not in options:
            raise UsageError(f"{cls.__name__} needs option {option.name!r}{valid}")
    return {name: _fitted(cls, schema[name], value) for name, value in options.items()}


def _fitted(cls: type, option: Option, value: Any) -> Any:
    from pydantic import TypeAdapter, ValidationError
    from pydantic.errors import PydanticUserError

    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{cls.__name__}: option {option.name} = {value} must be a finite number")
    try:  # JSON in strict mode: a list may become a tuple, but no text a number and no number a truth value
        return TypeAdapter(option.hint).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        raise UsageError(f"{cls.__name__}: option {option.name} = {_text(value)} must be {option.kind}") from error
    except PydanticUserError as error:
        raise UsageError(f"{cls.__name__}: option {option} has a type that cannot be given as text") from error


def _text(value: Any) -> str:
    """YAML on one line: text stays bare where it reads back as itself."""
    if isinstance(value, str):
        bare = value == value.strip() and not set(value) & set("'\"[]{},=:#&*!|>%@`")
        return value if bare and parse_yaml(value, value) == value else "'" + value.replace("'", "''") + "'"
    try:
        return json.dumps(value, ensure_ascii=False)
    except TypeError:  # a default may be any object; an option's value is always YAML's
        return repr(value)


def _split(text: str, whole: str) -> Iterator[str]:
    """The parts between the commas that are outside brackets and quotes."""
    start = 0
    for position, character in _top_level(text, whole):
        if character == ",":
            yield text[start:position]
            start = position + 1
    yield text[start:]


def _top_level(text: str, whole: str) -> Iterator[tuple[int, str]]:
    """Commas and opening brackets that are outside brackets and quotes, with their positions.

    A quotation mark opens where a value begins; elsewhere it is an apostrophe.
    """
    depth, quote, before = 0, "", ","
    for position, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"" and before in "=,[{'\"":
            quote = character
        elif character in "[{":
            if depth == 0:
                yield position, character
            depth += 1
        elif character in "]}":
            depth -= 1
            if depth < 0:
                break
        elif character == "," and depth == 0:
            yield position, character
        before = before if character.isspace() else character
    if depth or quote:
        raise UsageError(f"{whole}: {'quotes' if quote else 'brackets'} do not match; write name[option=value,…]")
