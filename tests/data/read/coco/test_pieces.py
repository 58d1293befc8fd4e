"""Reading piece by piece gives what reading the whole gives, wherever the pieces end."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assignbench.data.read.coco import pieces as module
from assignbench.data.read.coco.pieces import Piece, Repeated, pieces
from assignbench.errors import DataError

QUIET = settings(
    max_examples=150, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

# Texts that look like the borders between entries, in every place.
TEXTS = st.text(max_size=6) | st.sampled_from(["},{", "}]", '"', "\\", "}, {", "]}", "é😀", "\\u0022},"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=3)
DOCUMENTS = st.dictionaries(TEXTS, st.lists(OBJECTS, max_size=8) | st.lists(VALUES, max_size=6) | VALUES, max_size=4)
LAYOUTS = st.sampled_from([{}, {"indent": 1}, {"separators": (",", ":")}, {"ensure_ascii": False}])


NUMBERS = msgspec.json.Decoder(list[dict[str, int]])


def read(file: Path, usual: Iterable[str] = ()) -> dict[str, Any]:
    """All members put together again; entries of ``usual`` lists are made where they hold whole numbers alone."""
    members: dict[str, Any] = {}
    for part in pieces(file, hashlib.sha256(), dict.fromkeys(usual, NUMBERS)):
        if isinstance(part, Piece):
            assert part.usual is None or part.usual == part.entries()
            assert part.first == len(members.get(part.key, []))
            assert part.count == len(part.entries())
            members.setdefault(part.key, []).extend(part.entries())
        else:
            members[part.key] = part.value
    return members


@QUIET
@given(document=DOCUMENTS, layout=LAYOUTS, block=st.integers(1, 64))
def test_pieces_make_up_the_document(tmp_path, monkeypatch, document, layout, block):
    monkeypatch.setattr(module, "BLOCK", block)
    file = tmp_path / "a.json"
    file.write_text(json.dumps(document, **layout), encoding="utf-8", errors="surrogatepass")
    assert repr(read(file)) == repr(document)  # NaN equals nothing
    assert repr(read(file, usual=document)) == repr(document)


def test_usual_entries_come_with_their_pieces_and_others_do_not_stop_them(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 100)
    rows: list[dict[str, Any]] = [{"id": number} for number in range(200)]
    rows[100] = {"id": "a"}
    (tmp_path / "a.json").write_text(json.dumps({"rows": rows}))
    found = [
        part for part in pieces(tmp_path / "a.json", hashlib.sha256(), {"rows": NUMBERS}) if isinstance(part, Piece)
    ]
    assert [part.count for part in found if part.usual is None] == [part.count for part in found if '"a"' in part.text]
    assert sum(part.count for part in found) == 200
    assert len(found) > 10


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
        assert repr(read(file)) == repr(whole)
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
        ('{"a": [1,]}', "(a value|no comma) expected .* at character|at character [89]"),
        ('{"a": [1 2]}', r"',' or '\]' expected at character 9, in '\{\"a\": \[1 2\]\}'"),
        ('{"a": 1} x', "the end of the file expected at character 9"),
        ('{"a": [{"b": 1}, {"c": tru}]}', "a value expected at character 23"),
        ('{"a": [{"b": 1}, {"c" 1}]}', "':' expected at character 22"),
        ('{"a": [{"b": 1}', r"',' or '\]' expected at character 15, but the file ends: it was cut off; copy it again"),
        ('{"a": [{"b": "x', "a quote expected that ends the text at character 13, but the file ends"),
        ('{"a": [{"b": "x\ty"}]}', "a line break or control character inside a text at character 15"),
        ('{"a": [{"b": "C:\\data"}]}', r"a backslash that is followed by none of .* at character 16"),
        ('{"a": [{"b": "\\u12"}]}', "without four hexadecimal digits"),
        ("{'a': 1}", "a key in double quotes expected at character 1"),
        ('{"a": 1, "a": 2}', "the key 'a' is given twice"),
        ('{"a" 1}', "':' expected at character 5"),
        ("[1]", "the top level must be an object .*, not a list"),
        ("[1", "not valid JSON"),
        ('{"a": ' + "9" * 5000 + "}", "a number with thousands of digits at character 6"),
        ('{"a": [' + "[" * 200_000, "its brackets are nested too deeply"),
    ],
)
@pytest.mark.parametrize("block", [3, 1 << 20])
def test_errors_say_where_in_our_words(tmp_path, monkeypatch, text, message, block):
    monkeypatch.setattr(module, "BLOCK", block)
    file = tmp_path / "a.json"
    file.write_text(text)
    with pytest.raises(DataError, match=message):
        read(file)


@pytest.mark.parametrize("end", [b"\xc3", b"\xf0\x9f", b"\xff"])
def test_half_a_character_at_the_end_is_refused(tmp_path, monkeypatch, end):
    file = tmp_path / "a.json"
    file.write_bytes(b'{"a": 1} ' + end)
    with pytest.raises(DataError, match=r"no text in UTF-8 \(at byte 9\)"):
        read(file)


def test_an_early_error_does_not_read_the_whole_file(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 64)
    file = tmp_path / "a.json"
    file.write_text('{"a": {"b": tru, "c": [' + "1," * 100_000)
    digest = hashlib.sha256()
    with pytest.raises(DataError):
        list(pieces(file, digest))
    assert digest.hexdigest() == hashlib.sha256(file.read_bytes()[:32]).hexdigest()


def test_every_byte_goes_into_the_digest(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 7)
    file = tmp_path / "a.json"
    file.write_text('{"a": [1, 2, {"b": 3}]}\n\n' + " " * 50)
    digest = hashlib.sha256()
    list(pieces(file, digest))
    assert digest.hexdigest() == hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.parametrize("layout", [{}, {"indent": 2}, {"separators": (",", ":")}])
def test_long_lists_are_cut_into_few_pieces(tmp_path, monkeypatch, layout):
    """Entries that hold lists of objects, whose borders look like those of entries, included."""
    monkeypatch.setattr(module, "BLOCK", 1 << 12)
    slowly: list[int] = []
    original = module._some

    def counted(*arguments: Any) -> Piece:
        piece = original(*arguments)
        slowly.append(piece.count)
        return piece

    monkeypatch.setattr(module, "_some", counted)
    entry = {"id": 1, "parts": [{"id": 2}, {"id": 3}], "text": "}, {", "rle": {"counts": [1, 2]}, "z": 0}
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"a": [entry] * 1000, "b": [{"c": 1}] * 1000}, **layout))
    found = [(part.key, part.count) for part in pieces(file, hashlib.sha256()) if isinstance(part, Piece)]
    assert {key: sum(count for other, count in found if other == key) for key in "ab"} == {"a": 1000, "b": 1000}
    assert len(found) < 4 * file.stat().st_size / module.BLOCK
    assert sum(slowly) < 50  # at the end of the first list, where its window shows the second, too


def test_repeated_keys_are_named():
    text = '[{"id": 1, "id": 2, "x": 0, "x": 1}, {"id": 3, "rle": {"x": 1, "x": 1}}]'
    first, second = Piece("a", 0, 2, text).entries()
    assert isinstance(first, Repeated)
    assert first.keys_given_twice == {"id", "x"}
    assert not isinstance(second, Repeated)
