"""The page in a real browser, without a network: what a reader does, and that nothing goes wrong meanwhile."""

from __future__ import annotations

import base64
import io
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from assignbench.report.drawn import DrawnGallery, DrawnPanel, DrawnPicture
from assignbench.report.facts import Facts
from assignbench.report.figure import Figure
from assignbench.report.page import More, page
from assignbench.run.results.unfinished import Unfinished

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")

SVG = "http://www.w3.org/2000/svg"
SHAPES = "shapes · controlled"
SCRIPT, HEBREW = "<script>document.title='hacked'</script>", "שלום"
MARKUP = '\'"><img src=x onerror="document.title=1">'
ROWS = ("atss", "a & b", "emoji 🚀", SCRIPT, MARKUP, HEBREW)  # each two AP better than the one before
DATASETS = ("shapes", "voc:<b>bold</b>")


def picture() -> DrawnPicture:
    """Of a black image, with a drawing of a box."""
    file = io.BytesIO()
    Image.fromarray(np.zeros((30, 40, 3), dtype=np.uint8)).save(file, "JPEG")
    data = base64.b64encode(file.getvalue()).decode()
    svg = (
        f'<svg xmlns="{SVG}" viewBox="0 0 40 30" style="color:red"><use href="#it"/><rect width="9" height="9"/></svg>'
    )
    shared = f'<svg xmlns="{SVG}" style="x:y"><g id="it"><image href="data:image/jpeg;base64,{data}"/></g></svg>'
    return DrawnPicture(
        *(MARKUP, "picture 7", SCRIPT, "atss", 0.4, 40, 30, "it", shared, ("strategy", "found")),
        ((SCRIPT, 1), ("atss", None)),
        (DrawnPanel(SCRIPT, svg, "a note"), DrawnPanel("atss", svg, MARKUP)),
    )


@pytest.fixture(scope="module")
def file(make_facts: Callable[..., Facts], tmp_path_factory: pytest.TempPathFactory) -> Path:
    facts = make_facts(
        ROWS,
        DATASETS,
        leave_out=lambda row, dataset, seed: (dataset != "shapes" and row == "a & b") or (row == "atss" and seed == 2),
        going_on=[Unfinished("folder", "shapes", "new", None, "tiny", 2, 3, 10, None, None)],
    )
    chart = {"mark": "bar", "data": {"values": [{"a": 1}]}, "encoding": {"x": {"field": "a", "type": "quantitative"}}}
    more = More(
        analysis=[
            Figure(MARKUP, "How to read it.", ("class", MARKUP), ((SCRIPT, 1.5), (HEBREW, None)), chart),
            Figure("of AP50", "Read.", ("a",), ((1,),), None, {"metric": "AP50"}),
            Figure("against a & b", "Read.", ("a",), ((1,),), None, {"baseline": "a & b", "dataset": SHAPES}),
        ],
        galleries=[DrawnGallery("shapes", f'<svg xmlns="{SVG}"><text>legend</text></svg>', (SCRIPT,), (picture(),))],
        tables=[Figure("Whole", "Read.", ("a",), ((1,),))],
    )
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page(facts, title=f"Title {SCRIPT}", more=more), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def trouble() -> list[str]:
    """Whatever the browser complained of."""
    return []


@pytest.fixture(scope="module")
def opened(browser: Any, file: Path, trouble: list[str]) -> Iterator[Any]:
    """The page in one tab for all tests; each leaves its choices as it found them."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, color_scheme="light")
    context.set_offline(True)
    tab = context.new_page()
    tab.on("console", lambda message: trouble.append(f"{message.type}: {message.text}"))
    tab.on("pageerror", lambda error: trouble.append(str(error)))
    tab.on("request", lambda one: re.match("(file|data|blob):", one.url) or trouble.append(f"asked for {one.url}"))
    tab.set_default_timeout(60_000)
    tab.goto(file.as_uri())
    settled(tab)
    yield tab
    context.close()


@pytest.fixture(autouse=True)
def _no_trouble(trouble: list[str]) -> Iterator[None]:
    yield
    assert trouble == []


def settled(tab: Any) -> None:
    """Wait until no chart is being drawn."""
    tab.wait_for_timeout(50)
    tab.wait_for_selector("html:not([data-drawing])")


def choose(tab: Any, name: str, value: str) -> None:
    tab.select_option(f"select[name={name}]", value)
    settled(tab)


def rows(tab: Any) -> list[str]:
    return tab.locator("#matrix tbody th").all_inner_texts()


def differences(tab: Any) -> list[str]:
    """Of the first data set's rows to the baseline, as the numbers below the chart have them."""
    figure = tab.locator("#differences figure").first
    figure.locator("summary").click()
    figure.locator("tbody tr").first.wait_for()
    return figure.locator("tbody td:nth-child(2)").all_inner_texts()


def test_names_are_text(opened):
    assert opened.title() == f"Title {SCRIPT}"
    assert set(rows(opened)) == set(ROWS)
    assert opened.locator("img").count() == 0
    assert opened.locator("main b, svg script").count() == 0
    assert opened.locator("h1").inner_text() == f"Title {SCRIPT}"


def test_the_verdict_is_told(opened):
    told = opened.locator(".verdict:visible .headline").all_inner_texts()
    assert len(told) == 2
    assert HEBREW in told[0]
    assert (
        "new on shapes · controlled, seed 2: stopped after 3 of 10 iterations"
        in opened.locator("#missing").inner_text()
    )


def test_sorting_by_click_and_by_keyboard(opened):
    assert rows(opened)[0] == HEBREW  # the highest AP
    head = opened.locator("#matrix thead th")
    assert head.nth(1).get_attribute("aria-sort") == "descending"
    head.nth(1).locator("button").click()
    assert rows(opened)[0] == "atss"
    assert opened.locator("#matrix thead th").nth(1).get_attribute("aria-sort") == "ascending"
    opened.locator("#matrix thead button").nth(0).focus()
    opened.keyboard.press("Enter")
    assert rows(opened) == opened.evaluate("(names) => names.sort((a, b) => a.localeCompare(b, 'en'))", list(ROWS))
    assert opened.evaluate("() => document.activeElement.innerText").startswith("strategy")
    second = opened.locator("#matrix thead button").nth(2)
    second.click()
    assert rows(opened)[-1] == "a & b"  # not run there: last, both ways
    opened.locator("#matrix thead button").nth(2).click()
    assert rows(opened)[-1] == "a & b"
    opened.locator("#matrix thead button").nth(1).click()


def test_filtering_by_name_and_by_data_set(opened):
    opened.fill("input[name=text]", "AT")
    opened.wait_for_timeout(300)
    settled(opened)
    assert rows(opened) == ["atss"]
    opened.fill("input[name=text]", "nothing like this")
    opened.wait_for_timeout(300)
    settled(opened)
    assert "No strategy has this name" in opened.locator("#matrix").inner_text()
    opened.fill("input[name=text]", "")
    opened.wait_for_timeout(300)
    settled(opened)
    assert len(rows(opened)) == 6
    choose(opened, "dataset", DATASETS[1])
    heads = opened.locator("#matrix thead th").all_inner_texts()
    assert [re.sub(r"\W+$", "", head) for head in heads] == ["strategy", "AP", "AP50", "APl", "ranks in AP", "seeds"]
    assert len(rows(opened)) == 5
    assert opened.locator(".verdict:visible").count() == 1
    assert opened.locator("[data-chart=forest]").count() == 1
    choose(opened, "dataset", "")
    assert len(rows(opened)) == 6


def test_another_baseline_and_metric_change_the_charts(opened):
    forest = opened.locator("[data-chart=forest] svg").first
    before = forest.inner_html()
    labels = forest.locator(".role-axis-label text").all_text_contents()
    assert "atss" in labels
    choose(opened, "baseline", "atss")
    after = opened.locator("[data-chart=forest] svg").first
    assert after.inner_html() != before
    assert "atss" not in after.locator(".role-axis-label text").all_text_contents()
    assert "against atss" in opened.locator("#differences figcaption").first.inner_text()
    assert {text[0] for text in differences(opened)} == {"+"}  # atss is the worst
    choose(opened, "baseline", HEBREW)
    assert {text[0] for text in differences(opened)} == {"−"}  # and this one the best
    choose(opened, "baseline", "a & b")
    assert "against a & b" in opened.locator("#where").inner_text()
    assert "of AP50" not in opened.locator("#where").inner_text()
    choose(opened, "metric", "AP50")
    assert "of AP50" in opened.locator("#where").inner_text()
    choose(opened, "metric", "APl")  # which nothing has
    assert opened.locator("[data-chart=forest]").count() == 0
    assert "nothing has a value of APl" in opened.locator(".verdict:visible").first.inner_text()
    choose(opened, "metric", "AP")


def test_every_chart_is_drawn_named_and_has_its_numbers(opened):
    for chart in opened.locator(".chart").all():
        drawn = chart.locator("svg")
        assert drawn.count() == 1, chart.get_attribute("data-chart")
        assert drawn.locator("path, text, rect, line").count() > 3
        assert chart.get_attribute("data-chart") is None or len(chart.get_attribute("aria-label")) > 60
    for figure in opened.locator("main figure").all():
        figure.locator("summary").first.focus()
        if not figure.locator("details").first.evaluate("(one) => one.open"):
            opened.keyboard.press("Enter")
        figure.locator("table tr").nth(1).wait_for()
        assert len(figure.locator("figcaption span").inner_text()) > 4
        figure.locator("details").first.evaluate("(one) => { one.open = false; }")


def test_a_cell_opens_its_runs(opened):
    opened.locator("#matrix tbody tr", has_text=HEBREW).locator("button").first.click()
    settled(opened)
    sheet = opened.locator("#sheet")
    assert sheet.is_visible()
    assert HEBREW in sheet.locator("h2").inner_text()
    text = sheet.inner_text()
    for what in ("Run with seed 0", "Run with seed 2", "Terms of the loss"):
        assert what in text
    sheet.locator("summary", has_text="Run with seed 0").click()
    text = sheet.inner_text()
    for what in (
        "2 of 4 images have no detection",
        "Settings that are: 2",
        "code of the strategy",
        "Versions and machine",
    ):
        assert what in text
    assert sheet.locator("[data-chart=terms] svg").count() == 1
    opened.keyboard.press("Escape")
    assert not sheet.is_visible()


def test_a_picture_opens(opened):
    opened.locator(".shot").click()
    sheet = opened.locator("#sheet")
    assert sheet.locator("h2").inner_text() == f"{MARKUP} (picture 7)"
    assert sheet.locator("figcaption strong").all_inner_texts() == [SCRIPT, "atss"]
    assert sheet.locator("figcaption span").all_inner_texts() == ["a note", MARKUP]
    assert sheet.locator("tbody td").all_inner_texts() == ["1", "–"]
    assert sheet.locator(".panels rect").count() == 2
    assert sheet.locator(".panels svg").first.bounding_box()["width"] > 100
    assert "legend" in sheet.inner_text()
    opened.keyboard.press("Escape")


def test_dark_light_and_paper(opened):
    def paper():
        return opened.evaluate("() => getComputedStyle(document.body).backgroundColor")

    light = paper()
    stroke = "() => getComputedStyle(document.querySelector('[data-chart=forest] svg text')).fill"
    ink = opened.evaluate(stroke)
    opened.click("#theme")
    assert opened.locator("#theme").get_attribute("aria-pressed") == "true"
    assert paper() != light
    assert opened.evaluate(stroke) != ink  # charts follow, and are not drawn again for it
    opened.emulate_media(media="print")
    assert paper() == light
    assert not opened.locator(".bar").is_visible()
    opened.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    assert opened.locator("main details:not([open])").count() == 0
    opened.emulate_media(media="screen")
    opened.click("#theme")
    assert paper() == light


def test_tables_and_charts_are_saved(opened):
    with opened.expect_download() as caught:
        opened.click("[data-save=matrix]")
    text = Path(caught.value.path()).read_text(encoding="utf-8")
    assert text.splitlines()[0].startswith("strategy,shapes")
    assert len(text.splitlines()) == 7
    opened.locator("#differences figure details").first.evaluate("it => { it.open = false; }")
    with opened.expect_download() as caught:  # of numbers that are folded away
        opened.locator("#differences figure button", has_text="CSV").first.click()
    text = Path(caught.value.path()).read_text(encoding="utf-8")
    assert "atss" in text
    assert text.splitlines()[0].startswith("strategy,")
    with opened.expect_download() as caught:
        opened.locator("#differences figure button", has_text="SVG").first.click()
    drawn = Path(caught.value.path()).read_text(encoding="utf-8")
    assert drawn.startswith("<svg")
    assert "var(" not in drawn
    assert "rgb(" in drawn


@pytest.mark.parametrize("width", [400, 1600])
def test_nothing_is_wider_than_the_window(opened, width):
    opened.set_viewport_size({"width": width, "height": 900})
    opened.wait_for_timeout(400)
    settled(opened)
    assert opened.evaluate("() => document.documentElement.scrollWidth - innerWidth") <= 0


def test_the_page_is_small(file):
    assert file.stat().st_size < 3e6
    assert file.read_text(encoding="utf-8").count("data:image/jpeg;base64,") == 1  # once for all drawings
