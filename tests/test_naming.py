from assignbench.naming import Known, names_apart


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
