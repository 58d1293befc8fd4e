import math
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assignbench.errors import UsageError
from assignbench.options import Wanted, check_options, format_strategy, option_schema, parse_strategy, split_list


class Strategy:
    """Has options.

    Args:
        tau: temperature, the higher
            the flatter: a limit exists.
        k: number.

            Of what, it does not say.
        center:
            from the next line on

    Note: not an argument.
        k: neither.
    """

    def __init__(
        self,
        setting: object,
        *,
        tau: float = 1 / 3,
        k: int = 9,
        center: Literal["fixed", "none"] = "fixed",
        force: bool = False,
        limit: float | None = None,
        sizes: tuple[int, ...] = (1, 2),
    ) -> None: ...


class Demanding:
    def __init__(self, setting: object, *, k: int) -> None: ...


class Plain:
    def __init__(self, setting: object) -> None: ...


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("autoassign[tau=0.5,center=fixed],atss", ("autoassign[tau=0.5,center=fixed]", "atss")),
        (" a , b ,", ("a", "b")),
        ("a[x=[1,2]],b[y={c: 1, d: 2}]", ("a[x=[1,2]]", "b[y={c: 1, d: 2}]")),
        ("a[x='],['],b", ("a[x='],[']", "b")),
        ("/o'brien/a.py:A,b", ("/o'brien/a.py:A", "b")),
        ("", ()),
    ],
)
def test_split_outside_brackets(text, parts):
    assert split_list(text) == parts


@pytest.mark.parametrize("text", ["a[", "a]", "a[b=[1]", "a[b='x]", "a[x=1],b]"])
def test_brackets_must_match(text):
    with pytest.raises(UsageError, match="do not match"):
        split_list(text)


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("atss", "atss", {}),
        ("atss[]", "atss", {}),
        (" atss [ k = 3 ] ", "atss", {"k": 3}),
        ("a[x=1e-3,y=true,z=no,n=null]", "a", {"x": 1e-3, "y": True, "z": "no", "n": None}),
        ("dir[1]/a.py:A[k=3]", "dir[1]/a.py:A", {"k": 3}),
        ("dir[1]/a.py:A", "dir[1]/a.py:A", {}),
    ],
)
def test_parse(text, name, options):
    assert parse_strategy(text) == Wanted(name, options)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("fcos+iou", Wanted("fcos", {}, ("iou",))),
        (" atss[k=3] + iou + centerness ", Wanted("atss", {"k": 3}, ("centerness", "iou"))),
        ("a[x='b+c']", Wanted("a", {"x": "b+c"})),
        ("c++/dir+1/a+b.py:A", Wanted("c++/dir+1/a+b.py:A", {})),
        ("c++/a.py:A[k=1]+iou", Wanted("c++/a.py:A", {"k": 1}, ("iou",))),
        ("a.b:C+iou", Wanted("a.b:C", {}, ("iou",))),
    ],
)
def test_extras_stand_behind(text, wanted):
    assert parse_strategy(text) == wanted
    assert parse_strategy(format_strategy(wanted.name, wanted.options, wanted.extras)) == wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no strategy"),
        ("[k=1]", "names no strategy"),
        ("a[k]", "'k' is not an option; write a\\[option=value\\]"),
        ("a[=1]", "is not an option"),
        ("a[k=1,k=2]", "option 'k' is given twice"),
        ("a[k=[1]", "do not match"),
        ("a[k={1]", "do not match|while parsing"),
        ("+iou", "names no strategy"),
        ("a+", r"a\+: \+ is followed by the name of an extra output, as in a\+implicit_objectness"),
        ("a[k=1]++iou", "is followed by the name"),
        ("a+iou + iou", r"\+iou is given twice"),
        ("a[k=1,k=2]+iou", "option 'k' is given twice"),
        ("a+iou[k=1]", r"a\+iou\[k=1\]: options stand before added outputs: a\[k=1\]\+iou"),
    ],
)
def test_unreadable(text, message):
    with pytest.raises(UsageError, match=message):
        parse_strategy(text)


def test_canonical_text_is_sorted():
    assert format_strategy("a", {"tau": 0.5, "k": 3}) == "a[k=3,tau=0.5]"
    assert format_strategy("a", {}) == "a"
    assert format_strategy("a", {"k": 3}, ("iou", "centerness")) == "a[k=3]+centerness+iou"
    assert format_strategy("a", {"x": "no", "y": "1", "z": True}) == "a[x=no,y='1',z=true]"


VALUES = st.none() | st.booleans() | st.integers(-999, 999) | st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S", "Zs"]), max_size=6)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(
    st.dictionaries(st.from_regex(r"[a-z_]{1,5}", fullmatch=True), VALUES | TEXT | st.lists(VALUES, max_size=3)),
    st.sets(st.sampled_from(["iou", "centerness", "implicit_objectness"])),
)
def test_canonical_text_reads_back(options: dict[str, Any], extras: set[str]):
    text = format_strategy("name", options, extras)
    assert parse_strategy(text) == Wanted("name", options, tuple(sorted(extras)))
    assert split_list(f"{text},other") == (text, "other")


def test_meanings_come_from_the_docstring():
    meanings = {option.name: option.meaning for option in option_schema(Strategy)}
    assert meanings.pop("tau") == "temperature, the higher the flatter: a limit exists."
    assert meanings.pop("k") == "number. Of what, it does not say."
    assert meanings.pop("center") == "from the next line on"
    assert not any(meanings.values())
    assert option_schema(Demanding)[0].meaning == ""


def test_schema_is_the_signature():
    assert [str(option) for option in option_schema(Strategy)] == [
        "tau: float = 0.3333",
        "k: int = 9",
        "center: fixed | none = fixed",
        "force: true | false = false",
        "limit: float | None = null",
        "sizes: tuple[int, ...] = [1, 2]",
    ]
    assert [str(option) for option in option_schema(Demanding)] == ["k: int"]
    assert option_schema(Plain) == ()


@pytest.mark.parametrize(
    ("given_", "fitted"),
    [
        ({"tau": 1}, {"tau": 1.0}),
        ({"center": "none", "force": True}, {"center": "none", "force": True}),
        ({"limit": None}, {"limit": None}),
        ({"limit": 2}, {"limit": 2.0}),
        ({"sizes": [3]}, {"sizes": (3,)}),
    ],
)
def test_options_fit(given_, fitted):
    found = check_options(Strategy, given_)
    assert found == fitted
    assert [type(value) for value in found.values()] == [type(value) for value in fitted.values()]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"tua": 1},
            "Strategy has no option 'tua'; did you mean tau?\nits options: tau: float = 0.3333, k: int = 9",
        ),
        ({"k": 9.0}, "Strategy: option k = 9.0 must be a whole number, from −1,000,000,000 to 1,000,000,000"),
        ({"k": True}, "option k = true must be a whole number, from"),
        ({"k": "9"}, "option k = '9' must be a whole number, from"),
        ({"tau": "high"}, "option tau = high must be a number, from −1,000,000,000 to"),
        ({"tau": math.inf}, "option tau = Infinity must be a number, from"),
        ({"sizes": [math.nan]}, "must be a list, each a whole number, from"),
        ({"tau": False}, "option tau = false must be a number"),
        ({"tau": -1e30}, "option tau = -1e+30 is beyond ±1,000,000,000"),
        ({"center": "mid"}, "option center = mid must be one of fixed, none"),
        ({"force": 1}, "option force = 1 must be true or false"),
        ({"limit": "x"}, "must be a number, or null, from"),
        ({"sizes": [1, "a"]}, "must be a list, each a whole number"),
    ],
)
def test_wrong_options_are_explained(options, message):
    with pytest.raises(UsageError) as error:
        check_options(Strategy, options)
    assert message in str(error.value)


def test_missing_and_none():
    with pytest.raises(UsageError, match="Demanding needs option 'k'\nits options: k: int"):
        check_options(Demanding, {})
    with pytest.raises(UsageError, match="Plain has no option 'k'\nit has no options"):
        check_options(Plain, {"k": 1})


def test_options_that_no_text_can_give():
    class Odd:
        def __init__(self, setting: object, *, net: "Plain" = None, lost: int = 0) -> None: ...  # type: ignore

    with pytest.raises(UsageError, match="option net has the type Plain, which cannot be given as text: use bool, int"):
        check_options(Odd, {"net": 1})

    class Unreadable:
        def __init__(self, setting: object, *, k: "Nowhere" = None) -> None: ...  # type: ignore # noqa: F821

    with pytest.raises(UsageError, match="annotations cannot be read: name 'Nowhere'"):
        check_options(Unreadable, {})
