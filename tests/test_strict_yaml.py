import pytest

from assignbench.errors import UsageError
from assignbench.strict_yaml import parse_yaml, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),  # YAML 1.1: False
        ("on", "on"),
        ("1e-4", 1e-4),  # YAML 1.1: a string
        ("1:30", "1:30"),  # YAML 1.1: 90
        ("010", "010"),  # YAML 1.1: 8
        ("2020-01-01", "2020-01-01"),
        ("90_000", 90_000),
        ("-3", -3),
        (".5", 0.5),
        ("5.", 5.0),
        ("true", True),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ("[1, 2.0, a]", [1, 2.0, "a"]),
        ("{a: 1, b: {c: no}}", {"a": 1, "b": {"c": "no"}}),
    ],
)
def test_scalars_are_what_people_mean(text, value):
    found = parse_yaml(text, "here")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "here, line 3: key 'a' is given twice"),
        ("a: [1", "here: a list is not closed"),
        ("a: &x 1\nb: *x", "here, line 2: aliases are not supported"),
        ("? [a]\n: 1", "line 1: a key must be plain text"),
        ("a: 1\n---\nb: 2", "line 2: it holds several documents; keep one"),
        ("a: {b", "here: a mapping is not closed"),
        ("a: 'b", "here: a quotation mark is not closed"),
        ("a: 1\n\tb: 2", "here, line 2: a tab stands where spaces are needed"),
        ("a: b: c", "here: a colon stands where none can be"),
        ("a: 1\nb\nc: 2", "a colon is missing behind a key"),
        ("a:\n  - 1\n b: 2", "its indentation does not fit"),
        ("a: @b", "a letter stands where none can be"),
        ("!!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("!!int x", "not readable as YAML"),
    ],
)
def test_what_is_refused(text, message):
    with pytest.raises(UsageError) as error:
        parse_yaml(text, "here")
    assert message in str(error.value)
    assert str(error.value).startswith("here")


def test_files_are_named(tmp_path):
    file = tmp_path / "a.yaml"
    with pytest.raises(UsageError, match=r"a\.yaml: cannot be read: No such file"):
        read_yaml(file)
    file.write_bytes(b"a: \xff")
    with pytest.raises(UsageError, match=r"a\.yaml: not a text file in UTF-8"):
        read_yaml(file)
    file.write_text("a: 1\na: 2\n")
    with pytest.raises(UsageError, match=r"a\.yaml, line 2: key 'a'"):
        read_yaml(file)
    file.write_text("a: é\n", encoding="utf-8")
    assert read_yaml(file) == {"a": "é"}


@pytest.mark.parametrize("bracket", ["[", "{a: "])
def test_a_hundred_brackets_in_each_other_are_read_and_no_more(bracket):
    closing = {"[": "]", "{a: ": "}"}[bracket]
    assert parse_yaml(bracket * 100 + closing * 100, "here")
    for text in (bracket * 101 + closing * 101, bracket * 100_000):  # the latter would take minutes
        with pytest.raises(UsageError, match="here: it is nested too deeply"):
            parse_yaml(text, "here")
