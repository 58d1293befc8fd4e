from types import SimpleNamespace

import pytest


def trial(name: str, message: str = ""):
    return lambda: SimpleNamespace(name=name, passed=not message, message=message)


@pytest.mark.parametrize("message", ["", "differs by 0.1"])
def test_check(call, stand_in, message):
    seen = []

    def trials_of(*asked):
        seen.append(asked)
        return {"mine": [trial("empty images"), trial("order of objects", message), trial("other", message)]}

    stand_in("assignbench.contract.asked", trials_of=trials_of)
    code, out, err = call("check", "atss[k=3]+iou")
    assert (code, err) == (int(bool(message)), "")
    assert seen == [("atss[k=3]+iou", None, None)]
    assert "empty images" in out
    assert ("mine: keeps the contract" in out) is not bool(message)
    assert ("mine: 2 of 3 laws broken" in out) is bool(message)
    assert out.count("differs by 0.1") == bool(message)
    assert ("as order of objects" in out) is bool(message)


def test_a_protocol_and_a_preset(call, stand_in):
    seen = []
    stand_in("assignbench.contract.asked", trials_of=lambda *asked: seen.append(asked) or {})
    assert call("check", "atss", "--protocol", "published", "--preset", "mmdet")[0] == 0
    assert seen == [("atss", "published", "mmdet")]
    assert "is for --protocol published" in call("check", "atss", "--preset", "mmdet")[2]
    assert "did you mean mmdet?" in call("check", "atss", "--protocol", "published", "--preset", "mmdt")[2]
    code, _, err = call("check", "plain", "--protocol", "published")
    assert (code, "declares no published preset" in err) == (2, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("atss+iuo", "no extra output is called 'iuo'; did you mean iou?"),
        ("atss+centerness", "ATSS: it has the extra output centerness already; leave out +centerness"),
        ("atss[k=0]", "ATSS: k must be at least 1, got 0"),
    ],
)
def test_what_cannot_be_built_is_refused_before_any_law(call, text, message):
    code, out, err = call("check", text)
    assert (code, out) == (2, "")
    assert message in err


STRATEGY = """
from assignbench.core import Assigner, Head

class Bad(Assigner):
    head = Head()

    def __init__(self, setting, *, how: str = "raise"):
        super().__init__(setting)
        {constructor}

    def forward(self, targets):
        {rule}
"""


def built_by(line: str) -> str:
    return STRATEGY.format(constructor=line, rule="...")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 / 0", "cannot be imported\n  ZeroDivisionError: division by zero ({file}:1)"),
        ("x = 1", "no strategy in it; derive a class from assignbench.core.Assigner"),
        (built_by("1 / 0"), "cannot be constructed\n  ZeroDivisionError: division by zero ({file}:9)"),
        (built_by("raise SystemExit(3)"), "cannot be constructed\n  SystemExit: 3 ({file}:9)"),
    ],
)
def test_a_file_without_a_strategy_that_can_be_built_is_told_in_a_sentence(call, tmp_path, text, message):
    file = tmp_path / "bad.py"
    file.write_text(text)
    code, out, err = call("check", str(file))
    assert (code, out) == (2, "")
    assert err.endswith(message.format(file=file) + "\n")


def test_a_rule_that_ends_the_program_breaks_laws(call, tmp_path):
    (tmp_path / "bad.py").write_text(STRATEGY.format(constructor="pass", rule="raise SystemExit(3)"))
    code, out, err = call("check", str(tmp_path / "bad.py"))
    assert (code, err) == (1, "")
    assert "raises SystemExit: 3" in out
