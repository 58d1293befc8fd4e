"""The fields of types, as their source explains them."""

import ast
import inspect
import io
import re
import textwrap
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from assignbench import core
from assignbench.core import Assigner, Extra, parts
from assignbench.run.results import environment, record
from from_code.markdown import code, prose, table


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
            first(kind) if inspect.isclass(kind) and kind.__module__.startswith("assignbench") else ""
        )
        default = re.sub(r"^field\(default_factory=(\w+)\)$", r"\1()", one.default)
        rows.append([code(one.name), code(one.annotation), prose(meaning), code(default)])
    return table(["field", "type", "meaning", "default"], rows)


def first(thing: object) -> str:
    """The first paragraph of a docstring, in a line."""
    return re.sub(r"\s*\n\s*", " ", (inspect.getdoc(thing) or "").partition("\n\n")[0])


def fields_of_record() -> str:
    """The fields of record.json."""
    models = (record.RunRecord, record.AssignerFacts, record.DatasetFacts, record.SplitFacts, record.ResolvedValue)
    models = (*models, record.Seconds, record.FileFacts, environment.Environment)
    return "\n".join(f"## `{one.__name__}`\n\n{prose(first(one))}\n\n{_fields(one)}\n" for one in models)


def types() -> str:
    """Every public name of the core and its parts."""
    return "\n".join(
        f"## `{module.__name__}`\n\n{prose(first(module))}\n\n" + "\n".join(_names(module)) for module in (core, parts)
    )


def _names(module: Any) -> Iterator[str]:
    for name in sorted(module.__all__, key=str.lower):
        thing = getattr(module, name)
        if inspect.isclass(thing):
            own = issubclass(thing, Assigner | Extra) or not written(thing)
            yield f"### `{name}`\n\n{prose(first(thing))}\n\n" + ("" if own else f"{_fields(thing)}\n")
        elif callable(thing):
            yield f"### `{name}`\n\n```python\n{name}{_signature(thing)}\n```\n\n{prose(first(thing))}\n"


def _signature(thing: Callable[..., object]) -> str:
    return re.sub(r"\b(?:\w+\.)+(?=[A-Z])", "", str(inspect.signature(thing)).replace("'", ""))
