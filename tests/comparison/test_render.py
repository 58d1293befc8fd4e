import csv
import io
import json
import re
import shutil
import subprocess

import pytest
from rich.console import Console

from assignbench.comparison.render import COLUMNS, as_csv, facts, html, latex, markdown, terminal, values
from assignbench.comparison.table import compare
from assignbench.plain_text import json_text


@pytest.fixture
def table(make_record):
    records = [
        *(make_record("fcos", seed, ap) for seed, ap in enumerate((0.40, 0.42))),
        *(make_record("my_assigner[tau=0.5]", seed, ap) for seed, ap in enumerate((0.405, 0.405))),
        make_record("fcos", dataset="voc:/data/50%_x", recipe="1x", ap=0.7),
    ]
    return compare(records, baseline="fcos", metrics=("AP", "AP50", "APl"))


def plain(table):
    """Markdown without the blanks that align its columns."""
    return re.sub(" +", " ", markdown(table))


def shown(table, width=100):
    console = Console(file=io.StringIO(), width=width)
    console.print(terminal(table))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_json_is_a_list_of_unrounded_rows(table):
    entries = json.loads(json_text(facts(table)))["rows"]
    assert len(entries) == 2 * 2 * 3  # data sets, strategies, metrics
    assert entries == values(table).to_dict("records")
    first = next(e for e in entries if e["strategy"] == "fcos" and e["dataset"] == "shapes" and e["metric"] == "AP")
    assert first == {
        "dataset": "shapes",
        "strategy": "fcos",
        "protocol": "controlled",
        "recipe": "tiny",
        "metric": "AP",
        "mean": pytest.approx(41),
        "std": pytest.approx(2**0.5),
        "n": 2,
        **dict.fromkeys(COLUMNS[8:]),
    }
    other = next(e for e in entries if e["strategy"] != "fcos" and e["dataset"] == "shapes" and e["metric"] == "AP")
    half = 12.706 * 2**0.5 / 2**0.5  # Student's with one degree of freedom; differences 0.5 and −1.5
    assert (other["low"], other["high"]) == (pytest.approx(-0.5 - half, abs=1e-3), pytest.approx(-0.5 + half, abs=1e-3))
    assert (other["about"], other["shared_seeds"], other["images"]) == ("set", 2, None)
    assert other["p_family"] is other["best"] is None  # two seeds: no verdict
    missing = [e for e in entries if e["dataset"] != "shapes" and e["strategy"] != "fcos"]
    assert {(e["mean"], e["std"], e["n"], e["difference"]) for e in missing} == {(None, None, 0, None)}


def test_csv_holds_the_same_rows(table):
    lines = list(csv.DictReader(io.StringIO(as_csv(table))))
    for line, entry in zip(lines, values(table).to_dict("records"), strict=True):
        assert line == {key: "" if value is None else str(value) for key, value in entry.items()}


def test_markdown_prints_aps_as_papers_do(table):
    text = plain(table)
    assert "**shapes · controlled protocol · recipe tiny**" in text
    assert "| strategy | n | AP | AP50 | APl | Δ AP |\n" in text
    assert re.search(r"^\|:-+\|-+:\|-+:\|-+:\|-+:\|-+:\|$", text, re.MULTILINE)
    assert "| fcos | 2 | 41.0 ± 1.4 | 41.0 ± 1.4 | – | base |" in text
    assert r"| my\_assigner\[tau=0.5\] | 2 | 40.5 ± 0.0 | 40.5 ± 0.0 | – | −0.5 \[−13.2, 12.2\]? |" in text
    assert "| fcos | 1 | 70.0 | 70.0 | – | base |" in text
    assert r"| my\_assigner\[tau=0.5\] | 0 | – | – | – | – |" in text
    assert text.endswith(r"not run (–): my\_assigner\[tau=0.5\]" + "\n")


def test_markdown_survives_a_pipe_in_a_name(make_record):
    line = plain(compare([make_record("a|b")])).splitlines()[4]
    assert line.startswith(r"| a\|b |")
    assert line.replace(r"\|", "").count("|") == len(("strategy", "n", "AP", "AP50", "AP75", "s", "m", "l")) + 1


def test_latex_is_escaped_and_uses_booktabs(table):
    text = latex(table)
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\begin{tabular}{lrrrrr}"):
        assert rule in text
    sd, minus = r"\ensuremath{\pm}", r"\ensuremath{-}"
    row = rf"my\_assigner[tau=0.5] & 2 & 40.5 {sd} 0.0 & 40.5 {sd} 0.0 & {{\textendash}} & {minus}0.5 "
    assert row + rf"[{minus}13.2, 12.2]? \\" in text
    assert r"voc:/data/50\%\_x {\textperiodcentered} controlled protocol {\textperiodcentered} recipe 1x" in text
    assert r"strategy & n & AP & AP50 & APl & \ensuremath{\Delta} AP \\" in text
    assert r"{\footnotesize\raggedright voc:/data/50\%\_x: not run ({\textendash}): my\_assigner[tau=0.5]\par}" in text
    assert text.isascii()


HOSTILE = '*[\\{}$&#^_%~<>|"’ τ = ½ 🎉 שלום]'


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no LaTeX")
def test_latex_compiles_whatever_a_name_holds(make_record, tmp_path):
    table = compare([make_record(name, seed) for name in (HOSTILE, "fcos") for seed in (0, 1)], baseline="fcos")
    page = (
        rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{latex(table, pairs=True)}\end{{document}}"
    )
    (tmp_path / "page.tex").write_text(page, encoding="ascii")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "page.tex"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-2000:]
    assert (tmp_path / "page.pdf").is_file()


def test_html_escapes_names_and_marks_numbers(make_record):
    text = html(compare([make_record("<script>alert(1)</script>&")], metrics=("AP",)))
    assert "<script" not in text
    assert "<td>&lt;script&gt;alert(1)&lt;/script&gt;&amp;</td>" in text
    assert '<th scope="col">strategy</th><th scope="col" class="number">n</th>' in text
    assert '<td class="number">40.0</td>' in text


def test_the_terminal_shows_brackets_and_notes(table):
    text = shown(table)
    assert text.count("my_assigner[tau=0.5]") == 4  # a row in each table, the difference and the note
    assert "my_assigner[tau=0.5] − fcos" in text
    assert "[−13.2, 12.2]" in text
    assert "41.0±1.4" in text
    assert "not run (–)" in text


def test_eighty_letters_hold_six_metrics_with_spread_and_difference(make_record):
    records = [
        make_record(label, seed, 0.4 + seed / 20) for label in ("fcos", "autoassign[center=fixed]") for seed in (0, 1)
    ]
    text = shown(compare(records, baseline="fcos"), width=80)
    assert "autoassign" in text
    assert text.count("42.5±3.5") == 2 * 5
    assert "…" not in text


def test_without_a_baseline_there_is_no_column_of_differences(make_record):
    table = compare([make_record()])
    assert "Δ" not in markdown(table) + latex(table) + shown(table)


def test_a_difference_that_rounds_to_nothing_has_no_sign(make_record):
    table = compare([make_record("fcos", ap=0.4), make_record("atss", ap=0.39999)], baseline="fcos")
    assert "| atss | 1 | 40.0 | 40.0 | 40.0 | 40.0 | 40.0 | – | 0.0? |" in plain(table)


def test_a_gain_is_shown_with_its_sign(make_record):
    table = compare([make_record("fcos", ap=0.4), make_record("atss", ap=0.412)], baseline="fcos")
    assert "| +1.2? |" in plain(table)


def several(make_record, **values: list[float]):
    """Three seeds of each strategy, in percent points."""
    return compare(
        [make_record(name, seed, value / 100) for name, each in values.items() for seed, value in enumerate(each)],
        baseline="fcos",
        metrics=("AP",),
    )


def test_bold_is_what_no_other_row_is_shown_to_be_better_than(make_record):
    table = several(make_record, fcos=[40, 40.1, 40.2], atss=[43.0, 43.2, 43.1], plain=[43.1, 43.0, 43.2])
    assert "| **43.1 ± 0.1** |" in plain(table)
    assert "| 40.1 ± 0.1 | base |" in plain(table)
    assert r"\bfseries 43.1 \ensuremath{\pm} 0.1 &" in latex(table)
    assert "<strong>43.1 ± 0.1</strong>" in html(table)
    assert "Best, and not to be told apart: atss, plain (3 pairs, Holm)." in markdown(table)
    assert "+3.0 \\[2.8, 3.2\\]\\*" in markdown(table)
    assert "better" in shown(table)
    entries = {one["strategy"]: one for one in values(table).to_dict("records")}
    assert [entries[name]["best"] for name in ("fcos", "atss", "plain")] == [0, 1, 1]
    assert (entries["atss"]["rank_low"], entries["atss"]["rank_high"]) == (1, 2)


def test_nothing_is_bold_where_nothing_is_decided(make_record):
    table = several(make_record, fcos=[40, 42, 44], atss=[44, 42, 40.5])
    assert "**4" not in markdown(table)
    assert "No row is shown to be better than another (1 pair, Holm). That does not make them equal." in markdown(table)


def test_two_seeds_decide_nothing_however_far_apart(make_record):
    table = several(make_record, fcos=[10, 10.1], atss=[90, 90.2])
    assert "**9" not in markdown(table)
    assert "No verdict: it takes three seeds that both rows have." in markdown(table)


def test_all_pairs_are_shown_when_they_are_asked_for(make_record):
    table = several(make_record, fcos=[40, 42, 44], atss=[44, 42, 40.5], plain=[1, 2, 3])
    console = Console(file=io.StringIO(), width=100)
    console.print(terminal(table, pairs=True))
    assert "atss − plain" in console.file.getvalue()  # type: ignore[attr-defined]
    assert "atss − plain" not in shown(table)
