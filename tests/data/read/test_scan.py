"""Reading piece by piece gives what reading the whole gives, wherever the pieces end."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assignbench.data.read import scan as module
from assignbench.data.read.scan import Piece, Repeated, scan
from assignbench.errors import DataError

QUIET = settings(
    max_examples=150, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

# Texts that look like the borders between entries, in every place.
TEXTS = st.text(max_size=6) | st.sampled_from(["},{", '"', "\\", "}, {", "]}", "é😀", "\\u0022},"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(TEXTS, st.lists(VALUES, max_size=6) | VALUES, max_size=4)
LAYOUTS = st.sampled_from([{}, {"indent": 1}, {"separators": (",", ":")}, {"ensure_ascii": False}])


def read(file: Path) -> dict[str, Any]:
    """All members put together again."""
    members: dict[str, Any] = {}
    for part in scan(file, hashlib.sha256()):
        if isinstance(part, Piece):
            assert part.first == len(members.get(part.key, []))
            assert part.careful() == part.entries
            members.setdefault(part.key, []).extend(part.entries)
        else:
            members[part.key] = part.value
    return members


@QUIET
@given(document=DOCUMENTS, layout=LAYOUTS, block=st.integers(1, 64))
def test_pieces_make_up_the_document(tmp_path, monkeypatch, document, layout, block):
    monkeypatch.setattr(module, "BLOCK", block)
    file = tmp_path / "a.json"
    file.write_text(json.dumps(document, **layout), encoding="utf-8")
    assert read(file) == document


@QUIET
@given(
    document=DOCUMENTS,
    block=st.integers(1, 64),
    at=st.floats(0, 1),
    cut=st.integers(0, 3),
    put=st.sampled_from(["", ",", "]", "}", "[", "{", '"', "\\", "1", "-", "nul", " ", ":", "\t", "\0", "NaN"]),
)
def test_what_is_not_json_is_refused_and_nothing_else(tmp_path, monkeypatch, document, block, at, cut, put):
    monkeypatch.setattr(module, "BLOCK", block)
    text = json.dumps(document)
    place = int(at * len(text))
    text = text[:place] + put + text[place + cut :]
    file = tmp_path / "a.json"
    file.write_text(text, encoding="utf-8")

    try:
        whole = json.loads(text)
        pairs = json.loads(text, object_pairs_hook=list)
        keys = [key for key, _ in pairs] if isinstance(whole, dict) else []
    except ValueError:
        whole, keys = None, []
    if isinstance(whole, dict) and len(keys) == len(set(keys)):
        assert repr(read(file)) == repr(whole)  # NaN equals nothing
    else:
        with pytest.raises(DataError, match=r"a\.json"):
            read(file)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le"])
def test_every_encoding_of_json_is_read(tmp_path, monkeypatch, encoding):
    monkeypatch.setattr(module, "BLOCK", 5)  # cuts characters in two
    file = tmp_path / "a.json"
    document = {"é": [{"😀": 1}, {"ü": 2}]}
    file.write_bytes(json.dumps(document, ensure_ascii=False).encode(encoding))
    assert read(file) == document


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": [1,]}', "Expecting value at character 9"),
        ('{"a": [1 2]}', "',' or '\\]' expected at character 9"),
        ('{"a": 1} x', "the end of the file expected at character 9"),
        ('{"a": [{"b": 1}, {"c": tru}]}', "Expecting value at character 23"),
        ('{"a": [{"b": 1}', "',' or '\\]' expected at character 15"),
        ("{'a': 1}", "a key in double quotes expected at character 1"),
        ('{"a": 1, "a": 2}', "the key 'a' is given twice"),
        ('{"a" 1}', "':' expected at character 5"),
        ("[1]", "the top level must be an object"),
        ("[1", "not valid JSON"),
        ('{"a": ' + "9" * 5000 + "}", "Exceeds the limit"),
        ('{"a": [' + "[" * 200_000, "not valid JSON"),
    ],
)
@pytest.mark.parametrize("block", [3, 1 << 20])
def test_errors_say_where(tmp_path, monkeypatch, text, message, block):
    monkeypatch.setattr(module, "BLOCK", block)
    file = tmp_path / "a.json"
    file.write_text(text)
    with pytest.raises(DataError, match=message):
        read(file)


@pytest.mark.parametrize("end", [b"\xc3", b"\xf0\x9f", b"\xff"])
def test_half_a_character_at_the_end_is_refused(tmp_path, end):
    file = tmp_path / "a.json"
    file.write_bytes(b'{"a": 1} ' + end)
    with pytest.raises(DataError, match="not valid JSON: 'utf-8' codec"):
        read(file)


def test_an_early_error_does_not_read_the_whole_file(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 64)
    file = tmp_path / "a.json"
    file.write_text('{"a": {"b": tru, "c": [' + "1," * 100_000)
    digest = hashlib.sha256()
    with pytest.raises(DataError):
        list(scan(file, digest))
    assert digest.hexdigest() == hashlib.sha256(file.read_bytes()[: 4 + 64]).hexdigest()


def test_every_byte_goes_into_the_digest(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 7)
    file = tmp_path / "a.json"
    file.write_text('{"a": [1, 2, {"b": 3}]}\n\n')
    digest = hashlib.sha256()
    list(scan(file, digest))
    assert digest.hexdigest() == hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ('{"id": 1}, {"id": 2}', True),
        ('{"id": 1, "id": 2}', False),
        ('{"id": 1, "\\u0069d": 2}', False),
        ('{"id": 1}, {"id": 2, "note": "a:b"}', True),  # counted key by key
        ('{"id": 1, "rle": {"x": [1]}}', True),
        ('{"id": 1, "rle": {"id": 1}}', False),  # not certain, hence read with care
        ('{"id" : 1, "id":2}, {"x": 3}', False),
    ],
)
def test_repeated_keys_are_suspected_from_counts_alone(text, plain):
    piece = Piece("a", 0, json.loads(f"[{text}]"), text)
    assert piece.plain(("id",)) is plain


def test_repeated_keys_are_named():
    text = '{"id": 1, "id": 2, "x": 0, "x": 1}, {"id": 3, "rle": {"x": 1, "x": 1}}'
    first, second = Piece("a", 0, [], text).careful()
    assert isinstance(first, Repeated)
    assert first.keys_given_twice == {"id", "x"}
    assert not isinstance(second, Repeated)
