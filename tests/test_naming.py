from pathlib import PurePath

import pytest

from assignbench.naming import Known, KnownData, data_names_apart, file_name, is_opened_by, names_apart


def named(*strategies: tuple[str, str, str]) -> list[str]:
    every = [Known(*one) for one in strategies]
    names = names_apart(every)
    return [names[one] for one in every]


def test_files_of_one_name_are_told_apart_by_as_little_as_it_takes():
    assert named(("mine.py:S", "/p/v1/mine.py", "a"), ("mine.py:S", "/p/v2/mine.py", "b")) == [
        "v1/mine.py:S",
        "v2/mine.py:S",
    ]
    assert named(("mine.py:S", "/p/a/v/mine.py", "a"), ("mine.py:S", "/p/b/v/mine.py", "b")) == [
        "a/v/mine.py:S",
        "b/v/mine.py:S",
    ]
    assert named(("mine.py:S", "/p/mine.py", "a"), ("mine.py:S", "/p/v2/mine.py", "b")) == [
        "p/mine.py:S",
        "v2/mine.py:S",
    ]


def test_what_needs_no_telling_apart_keeps_its_name():
    assert named(("mine.py:S", "/p/v1/mine.py", "a"), ("mine.py:T", "/p/v2/mine.py", "b")) == ["mine.py:S", "mine.py:T"]
    # the same code on two machines; the same file before and after an edit; what comes from no file
    assert named(("mine.py:S", "/p/mine.py", "a"), ("mine.py:S", "/q/mine.py", "a")) == ["mine.py:S"] * 2
    assert named(("mine.py:S", "/p/mine.py", "a"), ("mine.py:S", "/p/mine.py", "b")) == ["mine.py:S"] * 2
    assert named(("atss", "assignbench 0.1.0", "a"), ("atss", "assignbench 0.2.0", "b")) == ["atss"] * 2


def test_a_code_that_lies_in_two_places_is_one_row_beside_another():
    strategies = (("S.py:S", "/p/v1/S.py", "a"), ("S.py:S", "/q/v1/S.py", "a"), ("S.py:S", "/p/v2/S.py", "b"))
    assert named(*strategies) == ["v1/S.py:S", "v1/S.py:S", "v2/S.py:S"]


def called(*sets: tuple[str, str, str]) -> list[str]:
    every = [KnownData(*one) for one in sets]
    names = data_names_apart(every)
    return [names[one] for one in every]


def test_data_sets_of_one_name_are_told_apart_by_as_little_as_it_takes():
    assert called(("yolo:data", "yolo:/p/a/data", "1"), ("yolo:data", "yolo:/p/b/data", "2")) == [
        "yolo:a/data",
        "yolo:b/data",
    ]
    assert called(("m.yaml", "/p/a/v/m.yaml", "1"), ("m.yaml", "/p/b/v/m.yaml", "2")) == ["a/v/m.yaml", "b/v/m.yaml"]
    assert called(("fixed", "/a/fixed/dataset.yaml", "1"), ("fixed", "/b/fixed/data.yaml", "2")) == [
        "a/fixed",
        "b/fixed",
    ]
    three = [("coco:data", f"coco:/{place}/data", place) for place in ("a/x", "b/x", "c/y")]
    assert called(*three) == ["coco:a/x/data", "coco:b/x/data", "coco:c/y/data"]


def test_data_sets_that_need_no_telling_apart_keep_their_names():
    assert called(("coco:data", "coco:/a/data", "1"), ("voc:data", "voc:/b/data", "2")) == ["coco:data", "voc:data"]
    # moved, or a copy; another content at one place, which is refused elsewhere; what lies nowhere
    assert called(("coco:data", "coco:/a/data", "1"), ("coco:data", "coco:/b/data", "1")) == ["coco:data"] * 2
    assert called(("coco:data", "coco:/a/data", "1"), ("coco:data", "coco:/a/data", "2")) == ["coco:data"] * 2
    assert called(("shapes", "shapes", "1"), ("shapes", "shapes", "2")) == ["shapes"] * 2


def test_a_file_that_every_tool_calls_the_same_goes_by_its_folder():
    assert file_name(PurePath("/a/cats/dataset.yaml")) == file_name(PurePath("/a/cats/data.yml")) == "cats"
    assert file_name(PurePath("/a/cats/mine.yaml")) == "mine.yaml"
    assert file_name(PurePath("/dataset.yaml")) == "dataset.yaml"
    # records of before, which kept the file's name
    assert called(("dataset.yaml", "/a/cats/dataset.yaml", "1"), ("dataset.yaml", "/a/dogs/dataset.yaml", "2")) == [
        "cats",
        "dogs",
    ]
    assert called(("cats", "/a/cats/dataset.yaml", "1"), ("cats", "/a/cats/data.yaml", "2")) == [
        "cats/dataset.yaml",
        "cats/data.yaml",
    ]


@pytest.mark.parametrize("spec", ["coco:/data", "coco:/", "/dataset.yaml", "", "coco:"])
def test_odd_places_have_names_all_the_same(spec):
    assert called(("coco:data", spec, "1"), ("coco:data", "coco:/a/data", "2"))


@pytest.mark.parametrize(
    ("spec", "wanted", "opened"),
    [
        ("coco:{}/data?split=0.8", "data", True),
        ("coco:{}/data?split=0.8", "./data/", True),
        ("coco:{}/data?split=0.8", "coco:data", True),
        ("coco:{}/data?split=0.8", "data?split=0.8", True),
        ("coco:{}/data?split=0.8", "data?split=0.7", False),
        ("coco:{}/data", "voc:data", False),
        ("coco:{}/data", "dat", False),
        ("{}/data/dataset.yaml", "data", True),
        ("{}/data/dataset.yaml", "data/dataset.yaml", True),
        ("{}/data/mine.yaml", "data", False),
        ("{}/data/mine.yaml", "data/mine.yaml", True),
        ("shapes", "shapes", False),
        ("coco", "coco", False),
    ],
)
def test_what_is_typed_opens_a_data_set_or_does_not(spec, wanted, opened, tmp_path, monkeypatch):
    """Names of built-in data sets are no places: those are compared as names."""
    monkeypatch.chdir(tmp_path)
    assert is_opened_by(spec.format(tmp_path), wanted) == opened
