"""YAML without its traps: only data, no duplicate keys, no aliases, and scalars as people mean them.

YAML 1.1 reads ``no`` as false, ``1e-4`` as a string, ``1:30`` as 90 and the last of two equal keys as the
only one. Here ``true`` and ``false`` are the booleans, ``null``, ``~`` and nothing are null, numbers are
decimal, and everything else is text.
"""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError

from assignbench.errors import UsageError
from assignbench.files import read_regular
from assignbench.paths import names_a_path

DEEPEST = 100  # brackets in brackets


class _Loader(yaml.SafeLoader):
    """The safe loader with its own scalars, without duplicate keys and aliases."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # PyYAML's own convention

    def fetch_flow_collection_start(self, TokenClass: type[yaml.Token]) -> None:  # noqa: N803  # PyYAML's own name
        """As PyYAML's, whose time for open brackets grows with their square, up to a depth that no reader follows."""
        if self.flow_level >= DEEPEST:
            raise RecursionError
        super().fetch_flow_collection_start(TokenClass)

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """As PyYAML's, but a document is a tree: what is written is all there is."""
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise ComposerError(None, None, "aliases are not supported", event.start_mark)
        return super().compose_node(parent, index)

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        """As PyYAML's, but for letters that no file's name, and no text in UTF-8, can hold."""
        value = super().construct_scalar(node)
        if any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in str(value)) and not names_a_path(value):
            raise ConstructorError(None, None, "a zero, or half a letter, is no text", node.start_mark)
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """As PyYAML's, after the keys were found to be plain and different."""
        seen: set[str] = set()
        for key, _ in node.value:
            problem = "a key must be plain text" if not isinstance(key, yaml.ScalarNode) else None
            if problem is None and key.value in seen:
                problem = f"key {key.value!r} is given twice"
            if problem:
                raise ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_WHOLE = "(0|[1-9][0-9_]*)"
for _tag, _pattern, _first in (
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", "true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", f"[-+]?{_WHOLE}", list("-+0123456789")),
    ("float", rf"[-+]?({_WHOLE}(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("float", r"[-+]?\.inf|\.nan", list("-+.")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


_WORDS = (
    (r"flow sequence", "a list is not closed: [ needs its ], and commas between its entries"),
    (r"flow mapping", "a mapping is not closed: { needs its }, and commas between its entries"),
    (r"quoted scalar", "a quotation mark is not closed"),
    (r"character '\\t'", "a tab stands where spaces are needed"),
    (r"mapping values are not allowed", "a colon stands where none can be; put the text into quotation marks"),
    (r"could not find expected ':'", "a colon is missing behind a key"),
    (
        r"expected <block end>|expected the node content",
        "its indentation does not fit the lines before, or a key has no value",
    ),
    (r"cannot start any token", "a letter stands where none can be; put the text into quotation marks"),
    (r"expected a single document", "it holds several documents; keep one, without ---"),
)  # what PyYAML says → what is wrong


def parse_yaml(text: str, where: str) -> Any:
    """Read one document.

    Args:
        text: YAML.
        where: a file or an option, named in errors.

    Raises:
        UsageError: with the line, when the text is not YAML or repeats a key.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506, TID251  # the loader is a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}" if mark and "\n" in text.strip() else ""
        raise UsageError(f"{where}{line}: {_in_words(error)}") from error
    except RecursionError as error:
        raise UsageError(f"{where}: it is nested too deeply; correct it") from error
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{where}: not readable as YAML: {error}") from error


def _in_words(error: yaml.MarkedYAMLError) -> str:
    """What PyYAML found, as somebody would say it who has never seen a parser; what is rare, as PyYAML says it."""
    found = ", ".join(part for part in (error.context, error.problem) if part)
    return next((words for pattern, words in _WORDS if re.search(pattern, found, re.DOTALL)), found)


def read_yaml(path: Path) -> Any:
    """Read the one document of a file.

    Raises:
        UsageError: when the file cannot be read, is not UTF-8, is not YAML, or repeats a key.
    """
    try:
        text = read_regular(path)
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not a text file in UTF-8 ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    return parse_yaml(text, str(path))
