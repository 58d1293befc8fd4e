"""A strategy's options: their text form, and the constructor's signature as their schema.

``autoassign[center=fixed,tau=0.5]`` is a name with options; values are YAML. A strategy declares them as
typed keyword arguments with defaults: ``__init__(self, setting, *, tau: float = 1 / 3, …)``, and says what they mean
under ``Args:`` of its class's docstring. ``atss[k=9]+implicit_objectness`` adds extra outputs to it, by their names.
"""

import inspect
import json
import math
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from assignbench.errors import UsageError
from assignbench.problems import allowed
from assignbench.strict_yaml import parse_yaml
from assignbench.suggest import did_you_mean

_PLAIN = (bool, int, float, str)
LARGEST = 10**9  # what an option of a strategy can be; squares of it are still numbers in float32
_REQUIRED = inspect.Parameter.empty
# what may stand after a name: nothing that a path, a class or a value could be
_SUFFIX = re.compile(r"(\+[^+\[\]{}'\"=,:./\\]*)+$")


@dataclass(frozen=True)
class Option:
    """One keyword argument of a strategy's constructor."""

    name: str
    hint: Any  # the annotation
    default: Any  # inspect.Parameter.empty when the option must be given
    meaning: str = ""  # one line out of the class's docstring; empty when it says nothing

    @property
    def is_strategy(self) -> bool:
        """Whether the option is another strategy, ``Assigner`` or ``Assigner | None``, which is given as its text."""
        from assignbench.core.assigner import Assigner

        return Assigner in (self.hint, *typing.get_args(self.hint))

    @property
    def kind(self) -> str:
        """What the option may be, in words."""
        if typing.get_origin(self.hint) is typing.Literal:
            return " | ".join(map(str, typing.get_args(self.hint)))
        if self.hint is bool:
            return "true | false"
        if self.is_strategy:
            return "a strategy"
        return self.hint.__name__ if isinstance(self.hint, type) else str(self.hint).replace("typing.", "")

    @property
    def allowed(self) -> str:
        """What its value may be, in plain English, numbers with the range of all options."""
        from pydantic import TypeAdapter

        words = allowed(TypeAdapter(self.hint).json_schema())
        return f"{words}, from −{LARGEST:,} to {LARGEST:,}" if "number" in words else words

    @property
    def problem(self) -> str:
        """Why nobody could set the option; empty: its type can be given as text, and its default is of it."""
        if self.hint is Any:
            kind = type(self.default).__name__ if type(self.default) in _PLAIN else "int"
            return f"option {self.name} says no type: write {self.name}: {kind} = …"
        if self.is_strategy:
            return ""
        if not _can_be_text(self.hint):
            return (
                f"option {self.name} has the type {self.kind}, which cannot be given as text: "
                "use bool, int, float, str, Literal[…], a tuple of these, or Assigner"
            )
        if self.default is not _REQUIRED and not _is(self.hint, self.default):
            return f"option {self.name}: its default {_text(self.default)} is not of its type, {self.kind}"
        return ""

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


@dataclass(frozen=True)
class Wanted:
    """A strategy as text names it."""

    name: str
    options: dict[str, Any]
    extras: tuple[str, ...] = ()  # names of extra outputs to add, sorted


def parse_strategy(text: str) -> Wanted:
    """``"atss[k=9]+iou"`` → ``Wanted("atss", {"k": 9}, ("iou",))``.

    Raises:
        UsageError: brackets do not match, an option has no value, or an option or extra output is given twice.
    """
    whole = text.strip()
    if late := re.search(r"(\+[\w]+)(\[.*\])$", whole):
        raise UsageError(f"{whole}: options stand before added outputs: {whole[: late.start()]}{late[2]}{late[1]}")
    suffix = _SUFFIX.search(whole)
    extras = [extra.strip() for extra in suffix.group()[1:].split("+")] if suffix else []
    text = whole[: suffix.start()].rstrip() if suffix else whole
    opened = [position for position, character in _top_level(text, whole) if character == "["]
    start = opened[-1] if opened and text.endswith("]") else len(text)  # a folder's name may hold brackets too
    name, inner = text[:start].strip(), text[start + 1 : -1]
    if not name:
        raise UsageError(f"{whole!r} names no strategy; write name or name[option=value]")
    options: dict[str, Any] = {}
    for part in filter(str.strip, _split(inner, whole)):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not key:
            raise UsageError(f"{whole}: {part.strip()!r} is not an option; write {name}[option=value]")
        if key in options:
            raise UsageError(f"{whole}: option {key!r} is given twice")
        options[key] = parse_yaml(value, f"{whole}: option {key}")
    for extra in extras:
        if not extra:
            raise UsageError(f"{whole}: + is followed by the name of an extra output, as in {name}+implicit_objectness")
        if extras.count(extra) > 1:
            raise UsageError(f"{whole}: +{extra} is given twice")
    return Wanted(name, options, tuple(sorted(extras)))


def format_strategy(name: str, options: Mapping[str, Any], extras: Iterable[str] = ()) -> str:
    """The canonical text, options and extra outputs sorted: what `parse_strategy` reads back."""
    inner = ",".join(f"{key}={_text(options[key])}" for key in sorted(options))
    return "+".join((f"{name}[{inner}]" if inner else name, *sorted(extras)))


def without_folders(text: str) -> str:
    """A strategy's text as names hold it: ``dual[one='v1/mine.py:Mine']`` without ``v1/``, wherever the file lies."""
    return re.sub(r"[^\[\],=+'\"]*/(?=[^/\[\],=+'\"]+\.py:)", "", text)


@cache
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
    meanings = documented(cls)
    return tuple(
        Option(parameter.name, hints.get(parameter.name, Any), parameter.default, meanings.get(parameter.name, ""))
        for parameter in parameters[2:]  # after self and setting
        if parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    )


def documented(cls: type) -> dict[str, str]:
    """What the class's own docstring says about its arguments under ``Args:``, each on one line; {}: nothing."""
    _, _, section = inspect.cleandoc(cls.__doc__ or "").partition("\nArgs:\n")
    meanings: dict[str, str] = {}
    for line in section.splitlines():
        if line.strip() and not line.startswith(" "):
            break  # the next section
        name, colon, meaning = line.strip().partition(":")
        if colon and name.isidentifier() and re.match(r" {1,4}\S", line):
            meanings[name] = meaning.strip()
        elif meanings:
            last = next(reversed(meanings))
            meanings[last] = f"{meanings[last]} {line.strip()}".strip()
    return meanings


def check_options(cls: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as the constructor wants them: a whole number for a float becomes one, a list a tuple.

    A strategy stays text: `assignbench.plugins.built` makes one of it.

    Raises:
        UsageError: an unknown option, a missing one, or a value of another type; names the valid ones.
    """
    schema = {option.name: option for option in option_schema(cls)}
    for option in schema.values():
        if option.problem:
            raise UsageError(f"{cls.__name__}.__init__: {option.problem}")
    valid = f"\nits options: {', '.join(map(str, schema.values()))}" if schema else "\nit has no options"
    for name in options:
        if name not in schema:
            raise UsageError(f"{cls.__name__} has no option {name!r}{did_you_mean(name, schema)}{valid}")
    for option in schema.values():
        if option.default is _REQUIRED and option.name not in options:
            raise UsageError(f"{cls.__name__} needs option {option.name!r}{valid}")
    return {name: _fitted(cls, schema[name], value) for name, value in options.items()}


def _can_be_text(hint: Any) -> bool:
    """Whether YAML can say every value of a type."""
    parts = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return all(type(part) in _PLAIN for part in parts)
    if typing.get_origin(hint) in (tuple, typing.Union, types.UnionType):
        return all(part in (Ellipsis, type(None)) or _can_be_text(part) for part in parts)
    return hint in _PLAIN


def _is(hint: Any, value: Any) -> bool:
    """Whether a value is of a type."""
    from pydantic import TypeAdapter

    try:
        TypeAdapter(hint).validate_python(value, strict=True)
    except ValueError:
        return False
    return True


def _fitted(cls: type, option: Option, value: Any) -> Any:
    from pydantic import TypeAdapter

    if option.is_strategy and isinstance(value, str):  # as text: who builds the other builds this one before
        wanted = parse_strategy(value)
        return format_strategy(wanted.name, wanted.options, wanted.extras)
    if option.is_strategy:
        if value is None and option.default is None:
            return None
        raise UsageError(
            f"{cls.__name__}: option {option.name} = {_text(value)} must be a strategy: a name or file.py:Class"
        )
    if isinstance(value, int | float) and LARGEST < abs(value) < math.inf:
        raise UsageError(f"{cls.__name__}: option {option.name} = {_text(value)} is beyond ±{LARGEST:,}")
    try:  # JSON in strict mode: a list may become a tuple, but no text a number, no number a truth value; no infinity
        return TypeAdapter(option.hint).validate_json(json.dumps(value, allow_nan=False), strict=True)
    except ValueError as error:
        what = f"{cls.__name__}: option {option.name} = {_text(value)} must be {option.allowed}"
        means = f"; {option.name}: {option.meaning.rstrip('.')}" if option.meaning else ""
        raise UsageError(what + means) from error


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
