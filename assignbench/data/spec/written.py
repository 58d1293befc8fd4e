"""A specification as the text of a YAML file."""

from __future__ import annotations

import json
import re
from pathlib import Path

from assignbench.data.spec.schema import DatasetSpec

_BARE = re.compile(r"\.|(\.{0,2}/|[A-Za-z_])[\w./-]*( [\w./-]+)*", re.ASCII)
_FIRST = ("format", "description", "train", "evaluation", "split")
_OTHERWISE = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}  # not text to every reader of YAML


def as_yaml(spec: DatasetSpec) -> str:
    """What `load_spec` reads as the same specification; what is as it would be anyway is left out."""
    content = {"format": spec.format, **spec.model_dump(exclude_defaults=True)}
    keys = [key for key in _FIRST if key in content] + [key for key in content if key not in _FIRST]
    return "".join(f"{key}: {_value(content[key])}\n" for key in keys)


def _quoted(text: str) -> str:
    """As YAML quotes; JSON would write letters beyond 16 bits as two halves, which YAML takes for two letters."""
    escaped = text.replace("\\", r"\\").replace('"', r"\"")
    return '"' + "".join(one if one.isprintable() else f"\\U{ord(one):08x}" for one in escaped) + '"'


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_value(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, str | Path):
        text = value.as_posix() if isinstance(value, Path) else value
        bare = _BARE.fullmatch(text) and text.casefold() not in _OTHERWISE
        return text if bare else _quoted(text)
    return json.dumps(value)
