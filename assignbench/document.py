"""A YAML file that has to fit a model; what does not is told with its place, its value and what is allowed there.

Places are dotted, and lists are counted from 1: ``rows.2.strategy`` is the second row's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from assignbench.errors import UsageError
from assignbench.strict_yaml import read_yaml
from assignbench.suggest import did_you_mean

Model = TypeVar("Model", bound=BaseModel)
Schema = Mapping[str, Any]  # JSON's, as pydantic writes it

_KINDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
}
_SIGNS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def load_document(file: Path, model: type[Model]) -> Model:
    """Read a file.

    Raises:
        UsageError: it cannot be read, or does not fit: a line for each problem.
    """
    return fitted(read_yaml(file), model, str(file))


def fitted(content: object, model: type[Model], where: str) -> Model:
    """What was read of a file, as the model.

    Raises:
        UsageError: it does not fit; a line for each problem, each with ``where``.
    """
    if not isinstance(content, Mapping):
        raise UsageError(f"{where}: a mapping is needed, with {', '.join(model.model_fields)}")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problems: list[Any] = error.errors(include_url=False)
    # A misspelt key is also a missing one; its spelling is the more useful of the two.
    misspelt = {problem["loc"][:-1] for problem in problems if problem["type"] == "extra_forbidden"}
    told = [problem for problem in problems if problem["type"] != "missing" or problem["loc"][:-1] not in misspelt]
    schema = model.model_json_schema()
    raise UsageError("\n".join(dict.fromkeys(f"{where}: {_explain(problem, schema)}" for problem in told)))


def allowed(schema: Schema, root: Schema | None = None) -> str:
    """What a value may be, in words: ``a number > 0 and ≤ 10``.

    Args:
        schema: the value's.
        root: the whole document's, where its ``$ref`` lead to; None: it has none.
    """
    return ", or ".join(dict.fromkeys(_in_words(option, root or {}) for option in _options(schema, root or {})))


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
            return ("a non-empty list" if schema.get("minItems") else "a list") + (f", each {items}" if items else "")
        case str() as kind:
            bounds = " and ".join(f"{sign} {schema[bound]}" for bound, sign in _SIGNS.items() if bound in schema)
            multiple = f", a multiple of {schema['multipleOf']}" if "multipleOf" in schema else ""
            form = f" of the form {schema['pattern']}" if "pattern" in schema else ""
            empty = ", not empty" if schema.get("minLength") else ""
            return f"{_KINDS[kind]} {bounds}".strip() + multiple + form + empty
    return "anything"


def _explain(problem: Mapping[str, Any], root: Schema) -> str:
    """One sentence for one of pydantic's errors."""
    schema, place, beyond = root, [], ""
    for part in problem["loc"]:
        inner = _inside(schema, part, root)
        if inner is None:  # a key that nobody knows, or pydantic's name for one of several kinds of value
            beyond = beyond or str(part)
            continue
        schema = inner
        place.append(str(part + 1) if isinstance(part, int) else part)
    key = ".".join(place)
    if problem["type"] == "extra_forbidden" or problem["loc"][-1:] == ("[key]",):
        known = [name for option in _options(schema, root) for name in _keys(option)]
        hint = did_you_mean(beyond, known) or f"; known: {', '.join(known)}"
        return f"unknown key {'.'.join([*place, beyond])!r}{hint}"
    if problem["type"] == "value_error":  # a rule of the model's own, which says what it wants
        return ": ".join(filter(None, (key, str(problem["ctx"]["error"]))))
    if problem["type"] == "missing":
        return f"{key} is missing: " + "; ".join(filter(None, (schema.get("description"), allowed(schema, root))))
    shown = json.dumps(problem["input"], ensure_ascii=False, default=str)
    return f"{key} = {shown} must be {allowed(schema, root)}"


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
