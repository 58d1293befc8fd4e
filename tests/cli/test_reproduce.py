from pathlib import Path

import pytest

from assignbench.reproduce.sheet import Request


@pytest.fixture
def conduct(stand_in):
    """What was asked for; the code can be changed."""
    seen = []

    def reproduce(names, request, **named):
        named.pop("console")
        assert (named.pop("only"), named.pop("conduct")) == (None, None)
        seen.append((names, request, named))
        return 1

    stand_in("assignbench.reproduce.conduct", reproduce=reproduce, RUNS="runs")
    return seen


def test_defaults(call, conduct):
    assert call("reproduce", "table3")[0] == 1
    assert conduct == [
        (
            ("table3",),
            Request("small"),
            {"datasets": None, "output": Path("reproduced"), "device": "auto", "dry_run": False},
        )
    ]


def test_everything_given(call, conduct):
    call(
        *("reproduce", "table3,table8", "table9", "--scale", "full", "--dataset", "voc", "--seeds", "1,2"),
        *("--recipe", "2x", "--set", "train.lr=0.1", "--data-root", "/d", "--output", "o", "--dry-run"),
        *("--device", "cpu"),
    )
    assert conduct == [
        (
            ("table3", "table8", "table9"),
            Request("full", "voc", "2x", ("train.lr=0.1",), (1, 2)),
            {"datasets": Path("/d"), "output": Path("o"), "device": "cpu", "dry_run": True},
        )
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([","], "EXPERIMENT is empty"),
        (["table3", "--seeds", "a"], "--seeds a: write whole numbers"),
        (["table3", "--dataset", ""], "--dataset is empty; leave it out"),
        (["table3", "--recipe", " "], "--recipe is empty; leave it out"),
        (["table3", "--scale", "huge"], "--scale huge must be one of smoke, small, full"),
        ([], "assignbench reproduce needs EXPERIMENT"),
    ],
)
def test_wrong_usage(call, conduct, arguments, message):
    code, _, err = call("reproduce", *arguments)
    assert code == 2
    assert message in err
    assert conduct == []
