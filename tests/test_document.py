from collections.abc import Mapping
from typing import Annotated, Literal, Self

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from assignbench.document import fitted, load_document
from assignbench.errors import UsageError
from assignbench.problems import allowed


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Wheel(Part):
    size: float = Field(gt=0, le=3, description="metres")
    kind: Literal["steel", "wood"] = "steel"


class Cart(Part):
    name: Annotated[str, Field(min_length=1)]
    wheels: Annotated[list[Wheel], Field(min_length=1)]
    pulled_by: int | Wheel | None = None
    loads: Mapping[Literal["front", "back"], Wheel] = {}
    notes: Mapping[str, int] = {}
    ends: Annotated[list[int], Field(max_length=2)] = []
    span: tuple[int, int] | None = None
    code: str | None = Field(default=None, pattern="^[a-z]+$")
    dozens: int = Field(default=0, multiple_of=12)
    only: Literal["cart"] = "cart"

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.name == "horse":
            raise ValueError("a horse is no cart")
        return self


GOOD = {"name": "a", "wheels": [{"size": 1.0}]}


def told(content: object) -> list[str]:
    with pytest.raises(UsageError) as error:
        fitted(content, Cart, "F")
    lines = str(error.value).splitlines()
    assert all(line.startswith("F: ") for line in lines)
    return [line.removeprefix("F: ") for line in lines]


def test_what_fits_is_the_model():
    assert fitted(GOOD, Cart, "F") == Cart(name="a", wheels=[Wheel(size=1.0)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": ""}, 'name = "" must be text, not empty'),
        ({"name": 3}, "name = 3 must be text, not empty"),
        ({"name": "horse"}, "a horse is no cart"),
        ({"wheels": []}, "wheels = [] must be a non-empty list, each a mapping with some of size, kind"),
        ({"wheels": [{"size": 1.0}, {"size": 4.0}]}, "wheels.2.size = 4.0 must be a number > 0 and ≤ 3"),
        ({"wheels": [{"kind": "wood"}]}, "wheels.1.size is missing: metres; a number > 0 and ≤ 3"),
        ({"wheels": [{"size": 1.0, "kind": "tin"}]}, 'wheels.1.kind = "tin" must be one of steel, wood'),
        ({"wheels": [3]}, "wheels.1 = 3 must be a mapping with some of size, kind"),
        ({"loads": {"top": {"size": 1.0}}}, "unknown key 'loads.top'; known: front, back"),
        ({"loads": {"font": {"size": 1.0}}}, "unknown key 'loads.font'; did you mean front?"),
        ({"loads": {"back": {"size": 0.0}}}, "loads.back.size = 0.0 must be a number > 0 and ≤ 3"),
        ({"notes": {"x": "y"}}, 'notes.x = "y" must be a whole number'),
        ({"ends": ["x"]}, 'ends.1 = "x" must be a whole number'),
        ({"span": ["x", 1]}, 'span.1 = "x" must be a whole number'),
        ({"code": "A"}, 'code = "A" must be text of the form ^[a-z]+$, or null'),
        ({"dozens": 13}, "dozens = 13 must be a whole number, a multiple of 12"),
        ({"only": "sledge"}, 'only = "sledge" must be cart'),
        ({"colour": 1}, "unknown key 'colour'; known: name, wheels, pulled_by, "),
        ({"wheel": 1}, "unknown key 'wheel'; did you mean wheels?"),
    ],
)
def test_each_problem_has_its_place_its_value_and_what_is_allowed(change, message):
    (line,) = told({**GOOD, **change})
    assert line == message or (message.endswith(", ") and line.startswith(message))


def test_a_value_of_several_kinds_keeps_its_place():
    assert set(told({**GOOD, "pulled_by": {"size": 9.0}})) == {
        'pulled_by = {"size": 9.0} must be a whole number, or a mapping with some of size, kind, or null',
        "pulled_by.size = 9.0 must be a number > 0 and ≤ 3",
    }


def test_all_problems_are_told_but_a_misspelt_key_is_not_missing_too():
    assert told({"nam": "a", "wheels": [{"size": 4.0}]}) == [
        "wheels.1.size = 4.0 must be a number > 0 and ≤ 3",
        "unknown key 'nam'; did you mean name?",
    ]
    assert told({"name": "a"}) == ["wheels is missing: a non-empty list, each a mapping with some of size, kind"]


def test_something_else_than_a_mapping_is_refused():
    assert told([1])[0].startswith("a mapping is needed, with name, wheels")


def test_a_file_is_named(tmp_path):
    file = tmp_path / "cart.yaml"
    file.write_text("name: a\nwheels: [{size: 0}]\n")
    with pytest.raises(UsageError, match=r"cart\.yaml: wheels\.1\.size = 0 must be"):
        load_document(file, Cart)


def test_anything_is_allowed_where_nothing_is_said():
    assert allowed({}) == "anything"
