from types import SimpleNamespace

import pytest

from assigners.atss import ATSS


@pytest.mark.parametrize("passed", [True, False])
def test_check(call, stand_in, passed):
    seen = []

    def laws(cls, options):
        seen.append((cls, options))
        return [
            SimpleNamespace(name="empty images", passed=True, message=""),
            SimpleNamespace(name="order of objects", passed=passed, message="" if passed else "differs by 0.1"),
        ]

    stand_in("assignbench.contract", check=laws)
    code, out, err = call("check", "assigners.atss:ATSS[k=3]")
    assert (code, err) == (int(not passed), "")
    assert seen == [(ATSS, {"k": 3})]
    assert "empty images" in out
    assert ("keeps the contract" in out) is passed
    assert ("1 of 2 laws broken" in out) is not passed
    assert ("differs by 0.1" in out) is not passed


def test_a_strategy_that_cannot_be_imported(call, stand_in, tmp_path):
    stand_in("assignbench.contract", check=None)
    (tmp_path / "bad.py").write_text("1 / 0\n")
    code, _, err = call("check", f"{tmp_path / 'bad.py'}:Bad")
    assert code == 2
    assert "ZeroDivisionError" in err
