"""JSON documents with a digest of their own: a flipped bit, a cut or an edit is found by whoever reads them.

Tensor files have theirs in their metadata, among other facts; that, too, is one JSON document.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assignbench.errors import RunError
from assignbench.files import read_json, write_json_atomic

SEAL = "sha256"  # key of the digest of all other fields
FACTS = "facts"  # key of the one text in the metadata of a tensor file


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write a document, atomically.

    Args:
        path: where to.
        content: fields, of which none is called `SEAL`.

    Raises:
        RunError: a number is NaN or infinite.
        SystemProblem: the file cannot be written.
    """
    write_json_atomic(path, {**content, SEAL: _digest(content)})


def read_sealed(path: Path, what: str, advice: str) -> dict[str, Any]:
    """The fields of a document, without its digest, which fits.

    Args:
        path: the file.
        what: the document is, for the message: "a run record".
        advice: what to do with a damaged one.

    Raises:
        RunError: it is missing, damaged or edited, or no such document.
    """
    content = read_json(path)
    if not isinstance(content, dict) or SEAL not in content:
        raise RunError(f"{path} is damaged: it is not {what}; {advice}")
    if content.pop(SEAL) != _digest(content):
        raise RunError(f"{path} is damaged or was edited: its sha256 does not fit; {advice}")
    return content


def as_metadata(facts: Mapping[str, str]) -> dict[str, str]:
    """Facts about a tensor file, as its metadata: in one text, since safetensors writes several in any order."""
    return {FACTS: json.dumps(facts, sort_keys=True)}


def facts_in(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """Inverse of `as_metadata`; of files of before, the metadata itself.

    Raises:
        ValueError: the text is no JSON object.
    """
    metadata = metadata or {}
    return dict(json.loads(metadata[FACTS]) if metadata.keys() == {FACTS} else metadata)


def _digest(content: Mapping[str, Any]) -> str:
    """Of the values, whatever the layout of the file."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
