"""What does not fit a model: the place, the value that was given, and what is allowed there.

Places are dotted, and lists are counted from 1: ``rows.2.strategy`` is the second row's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from assignbench.suggest import did_you_mean

Schema = Mapping[str, Any]  # JSON's, as pydantic writes it

_KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
}
_SIGNS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


@dataclass(frozen=True)
class WrongValue:
    """A value that is not allowed where it is given."""

    key: str  # dotted
    given: Any
    allowed: str  # in words

    def sentence(self, origin: str = "") -> str:
        """One sentence; ``origin`` is where the value came from, if that is not clear."""
        shown = json.dumps(self.given, ensure_ascii=False, default=str)
        return f"{self.key} = {shown}{f' (from {origin})' if origin else ''} must be {self.allowed}"


@dataclass(frozen=True)
class BrokenRule:
    """A rule of the model's own, about several values; it says what it wants."""

    key: str  # dotted, of the part that the rule is about; "": the whole
    rule: str

    def sentence(self) -> str:
        """The rule, after its place unless it names that itself."""
        return self.rule if not self.key or f"{self.key}." in self.rule else f"{self.key}: {self.rule}"


@dataclass(frozen=True)
class WrongKey:
    """A key that is missing, or that nobody knows."""

    says: str

    def sentence(self) -> str:
        """One sentence."""
        return self.says


Problem = WrongValue | BrokenRule | WrongKey


def problems_of(error: ValidationError, content: object, model: type[BaseModel]) -> list[Problem]:
    """Everything that does not fit, each problem once.

    Args:
        error: what the model said of the content.
        content: what was given.
        model: what it has to fit.
    """
    problems: list[Any] = error.errors(include_url=False)
    # A misspelt key is also a missing one, and a tuple of wrong values also too short: the first of both says more.
    misspelt = {problem["loc"][:-1] for problem in problems if problem["type"] == "extra_forbidden"}
    around = {problem["loc"][:-1] for problem in problems}
    schema, found = model.model_json_schema(), []
    for problem in problems:
        follows = (problem["type"] == "missing" and problem["loc"][:-1] in misspelt) or (
            problem["type"] == "too_short" and problem["loc"] in around
        )
        if not follows and (one := _problem(problem, content, schema)) not in found:
            found.append(one)
    return found


def allowed(schema: Schema, root: Schema | None = None) -> str:
    """What a value may be, in words: ``a number > 0 and ≤ 10``.

    Args:
        schema: the value's.
        root: the whole document's, where its ``$ref`` lead to; None: it has none.
    """
    said: list[str] = []
    for option in _options(schema, root or {}):
        words = _in_words(option, root or {})
        one = allowed(option["items"], root) if option.get("type") == "array" and option.get("items") else None
        said.append(f"{_list(option)} of such" if one in said else words)
    return ", or ".join(dict.fromkeys(said))


def _in_words(schema: Schema, root: Schema) -> str:
    """`allowed`, of a schema without alternatives."""
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return f"one of {', '.join(map(str, values))}" if len(values) > 1 else str(values[0])
    match schema.get("type"):
        case "object":
            return f"a mapping with some of {', '.join(keys)}" if (keys := _keys(schema)) else "a mapping"
        case "array" if "prefixItems" in schema:
            return f"a list of {len(schema['prefixItems'])}: " + ", ".join(
                allowed(item, root) for item in schema["prefixItems"]
            )
        case "array":
            items = allowed(schema["items"], root) if schema.get("items") else ""
            return _list(schema) + (f", each {items}" if items else "")
        case str() as kind:
            bounds = " and ".join(f"{sign} {schema[bound]}" for bound, sign in _SIGNS.items() if bound in schema)
            multiple = f", a multiple of {schema['multipleOf']}" if "multipleOf" in schema else ""
            form = f" of the form {schema['pattern']}" if "pattern" in schema else ""
            empty = ", not empty" if schema.get("minLength") else ""
            return f"{_KINDS[kind]} {bounds}".strip() + multiple + form + empty
    return "anything"


def _list(schema: Schema) -> str:
    return "a non-empty list" if schema.get("minItems") else "a list"


def _problem(problem: Mapping[str, Any], content: object, root: Schema) -> Problem:
    """One of pydantic's errors."""
    schema, given, place, beyond = root, content, [], ""
    for part in problem["loc"]:
        inner = _inside(schema, part, root)
        if inner is None:  # a key that nobody knows, or pydantic's name for one of several kinds of value
            beyond = beyond or str(part)
            continue
        if isinstance(part, int) and not isinstance(given, list | tuple):
            break  # one value that stands for a list of itself
        schema, given = inner, _part(given, part)
        place.append(str(part + 1) if isinstance(part, int) else part)
    key = ".".join(place)
    if problem["type"] == "extra_forbidden" or problem["loc"][-1:] == ("[key]",):
        known = [name for option in _options(schema, root) for name in _keys(option)]
        hint = did_you_mean(beyond, known) or f"; known: {', '.join(known)}"
        return WrongKey(f"unknown key {'.'.join([*place, beyond])!r}{hint}")
    if problem["type"] == "value_error":
        return BrokenRule(key, str(problem["ctx"]["error"]))
    if problem["type"] == "missing":
        meaning = filter(None, (schema.get("description"), allowed(schema, root)))
        return WrongKey(f"{key} is missing: {'; '.join(meaning)}")
    return WrongValue(key, given, allowed(schema, root))


def _part(content: Any, part: int | str) -> Any:
    """What lies one step further down in what was given; None: there is nothing."""
    if isinstance(part, int):
        return content[part] if part < len(content) else None
    return content.get(part) if isinstance(content, Mapping) else None


def _keys(schema: Schema) -> list[str]:
    """The keys that a mapping may have."""
    return [*schema.get("properties", {}), *schema.get("propertyNames", {}).get("enum", [])]


def _inside(schema: Schema, part: int | str, root: Schema) -> Schema | None:
    """The schema one step further down; None: there is no such step."""
    for option in _options(schema, root):
        if isinstance(part, int):
            if option.get("type") == "array":
                return option["prefixItems"][part] if "prefixItems" in option else option.get("items", {})
        elif part in option.get("properties", {}):
            return option["properties"][part]
        elif isinstance(every := option.get("additionalProperties"), Mapping) and part in (_keys(option) or [part]):
            return every
    return None


def _options(schema: Schema, root: Schema) -> Iterator[Schema]:
    """The alternatives of a schema, references followed; most have one."""
    if "$ref" in schema:
        *_, name = schema["$ref"].split("/")
        yield from _options(root["$defs"][name], root)
    elif alternatives := schema.get("anyOf") or schema.get("oneOf"):
        for alternative in alternatives:
            yield from _options(alternative, root)
    else:
        yield schema
