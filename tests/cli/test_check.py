from types import SimpleNamespace

import pytest

from assignbench.core.parts import PredictedIoU
from assigners.atss import ATSS


@pytest.mark.parametrize("passed", [True, False])
def test_check(call, stand_in, passed):
    seen = []

    def laws(cls, options, extras):
        seen.append((cls, options, extras))
        return [
            SimpleNamespace(name="empty images", passed=True, message=""),
            SimpleNamespace(name="order of objects", passed=passed, message="" if passed else "differs by 0.1"),
        ]

    stand_in("assignbench.contract.laws", check=laws)
    code, out, err = call("check", "assigners.atss:ATSS[k=3]+iou")
    assert (code, err) == (int(not passed), "")
    assert seen == [(ATSS, {"k": 3}, (PredictedIoU(),))]
    assert "empty images" in out
    assert ("keeps the contract" in out) is passed
    assert ("1 of 2 laws broken" in out) is not passed
    assert ("differs by 0.1" in out) is not passed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("atss+iuo", "no extra output is called 'iuo'; did you mean iou?"),
        ("atss+centerness", "ATSS: it has the extra output centerness already; leave out +centerness"),
        ("atss[k=0]", "ATSS: k must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_built_is_refused_before_any_law(call, stand_in, text, message):
    stand_in("assignbench.contract.laws", check=None)
    code, _, err = call("check", text)
    assert code == 2
    assert message in err


def test_a_strategy_that_cannot_be_imported(call, stand_in, tmp_path):
    stand_in("assignbench.contract.laws", check=None)
    (tmp_path / "bad.py").write_text("1 / 0\n")
    code, _, err = call("check", f"{tmp_path / 'bad.py'}:Bad")
    assert code == 2
    assert "ZeroDivisionError" in err
