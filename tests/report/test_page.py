import base64
import hashlib
import json
import re
import sys
from html.parser import HTMLParser

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assignbench.errors import SystemProblem
from assignbench.plain_text import one_line
from assignbench.report.facts import Held
from assignbench.report.figure import Figure, figure_of_frame
from assignbench.report.page import More, as_data, check_report, isolated, page, progress_of

HOSTILE = "</script><script>alert(1)</script><!--\u2028"


class Elements(HTMLParser):
    """Scripts, styles and addresses of a page."""

    def __init__(self, text):
        super().__init__()
        self.inside, self.texts, self.addresses, self.policy, self.handlers = None, [], [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.addresses += [values[name] for name in ("src", "href", "data", "action") if name in values]
        self.handlers += [name for name in values if name.startswith("on")]
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"]
        if tag in ("script", "style"):
            self.inside = (tag, values.get("type"))
            self.texts.append((*self.inside, ""))

    def handle_data(self, data):
        if self.inside:
            tag, kind, text = self.texts[-1]
            self.texts[-1] = (tag, kind, text + data)

    def handle_endtag(self, tag):
        self.inside = None


@pytest.fixture(scope="module")
def hostile(make_facts):
    facts = make_facts((HOSTILE, "שלום"), (f"voc:{HOSTILE}",), (0,), pictures=None)
    figures = [Figure(HOSTILE, HOSTILE, (HOSTILE,), ((HOSTILE,),))]
    return page(facts, title=HOSTILE, more=More(analysis=figures, tables=figures))


@given(st.text(alphabet="<>&!-/script\u2028\u2029\"'\\\n"))
def test_data_end_no_element(text):
    data = as_data({"a": text})
    assert not set("<>&\u2028\u2029") & set(data)
    assert json.loads(data) == {"a": one_line(text)}


def test_strangers_names_make_no_elements(hostile):
    found = Elements(hostile)
    assert [(tag, kind) for tag, kind, _ in found.texts] == [
        ("style", None),
        ("script", "application/json"),
        ("script", None),
        ("script", None),
    ]
    assert found.handlers == []
    assert all(address.startswith("#") for address in found.addresses)


def test_the_policy_names_every_script_and_style_and_nothing_else(hostile):
    found = Elements(hostile)
    rules = dict(rule.strip().split(" ", 1) for rule in found.policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert "unsafe" not in found.policy
    assert "http" not in found.policy

    def digests(tag):
        texts = [text for each, kind, text in found.texts if each == tag and kind is None]
        made = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts]
        return {f"'sha256-{one}'" for one in made}

    assert set(rules["script-src"].split()) == digests("script")
    assert set(rules["style-src"].split()) == digests("style")


def test_what_was_not_computed_is_said(make_facts, hostile):
    text = page(make_facts(seeds=(0,), pictures=None))
    for what in ("without the numbers by size", "without pictures", "without types of errors"):
        assert what in text
    assert "without the numbers by size" not in hostile


def test_the_same_facts_make_the_same_page(make_facts):
    facts = make_facts(("a",), seeds=(0,))
    one, other = (re.sub(r"Made .*? with", "", page(facts)) for _ in range(2))
    assert one == other


@pytest.mark.parametrize("package", ["altair", "vl_convert"])
def test_what_is_missing_is_named(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SystemProblem, match=r"assignbench\[report\]"):
        check_report()


def test_progress_in_words():
    held = [
        Held("a", "x", 0, "finished"),
        Held("a", "x", 1, "stopped"),
        *(Held("a", "y", seed, "missing") for seed in (0, 1)),
    ]
    progress = progress_of(held)
    assert progress.in_words == "1 run is finished; 1 is unfinished; 2 are missing"
    (hole,) = progress.holes
    assert (hole.key, hole.seeds, hole.rows) == ("a", (0, 1), ("y",))
    assert progress_of(held[:1]).complete
    assert not progress.complete


def test_a_frame_becomes_a_figure():
    frame = pd.DataFrame(
        {("AP", "mean"): [1.5, None], ("AP", "n"): [3, 0]}, index=pd.Index(["atss", "<b>"], name="row")
    )
    figure = figure_of_frame("t", "r", frame, {"metric": "AP"})
    assert figure.columns == ("row", "AP mean", "AP n")
    assert figure.rows == (("atss", 1.5, 3), ("<b>", None, 0))
    assert figure_of_frame("t", "r", pd.DataFrame({"a": [True]})).rows == ((True,),)


def test_names_from_right_to_left_are_set_apart():
    assert isolated("שלום 0, 1; atss 0", ["שלום", "atss"]) == "\u2068שלום\u2069 0, 1; atss 0"


def test_what_must_be_known_of_the_data_stands_at_the_top(make_facts):
    text = page(make_facts(caveats=["12 of 120 evaluation pictures are also <taught>"]))
    head = text.partition("</header>")[0]
    assert "12 of 120 evaluation pictures are also &lt;taught&gt;</strong>" in head
    assert "evaluation pictures" not in page(make_facts()).partition("</header>")[0]
