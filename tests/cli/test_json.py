"""With --json a command leaves one JSON object on standard output, whatever else prints; no number in it is NaN."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
import typer

from assignbench.cli.main import app
from assignbench.run.results.record import write_record

VECTORS = Path(__file__).parents[1] / "golden" / "vectors"
TINY = ("--assigner", "fcos", "--image", "64x64", "--batch", "1", "--classes", "3", "--repeat", "1", "--objects", "2")
DATA = ("--data-root", "{root}")

# what these leave are files, which they name
IN_FILES = {
    "report",
    "predict",
    "new",
    "import",
    "data show",
    *(f"figure {name}" for name in ("assigned", 1, 3, 4, 5, 6)),
}
LINES: dict[str, tuple[tuple[str, ...], set[int], set[str]]] = {  # command → words, exit codes, keys
    "run": (("--dry-run", "--assigner", "{noisy}", "--dataset", "{spec}", *DATA), {0}, {"runs"}),
    "reproduce": (("table2", "--scale", "smoke", "--dataset", "{spec}", "--dry-run", *DATA), {0}, {"tables", "runs"}),
    "status": (("{runs}",), {0}, {"folder", "runs"}),
    "compare": (("{runs}",), {0}, {"rows", "notes"}),
    "plan": (("{runs}", "--baseline", "atss"), {0}, {"plans", "refused", "notes"}),
    "export": (("{finished}", "--size", "96x96", *DATA), {0}, {"path", "input", "outputs", "postprocessing", "check"}),
    "eval": (("--detections", "{detections}", "--dataset", "{spec}", *DATA), {0}, {"metrics", "classes", "notes"}),
    "check": (("{noisy}",), {0, 1}, {"strategies"}),
    "explain": (("--assigner", "{noisy}", "--device", "cpu"), {0}, {"rule", "levels", "positives", "rivals"}),
    "doctor": (("--quick", "--output", "{runs}"), {0, 4}, {"fine", "note", "problem", "lines"}),
    "clean": (("{runs}",), {0}, {"dry_run", "leftovers", "busy", "unfinished"}),
    "list assigners": ((), {0}, {"strategies"}),
    "list datasets": ((), {0}, {"datasets"}),
    "list recipes": (("tiny",), {0}, {"recipes", "settings"}),
    "list findings": ((), {0}, {"findings"}),
    "list runs": (("{runs}",), {0}, {"folder", "runs"}),
    "verify golden": (("{golden}",), {0}, {"preset", "passed", "checks", "skipped"}),
    "data prepare": (("coco", "--dry-run", *DATA), {0}, {"name", "root", "complete", "sources"}),
    "data open": (("{spec}", *DATA), {0}, {"spec", "format", "splits", "classes", "next"}),
    "data check": (("{spec}", *DATA), {0, 3}, {"spec", "findings", "splits"}),
    "data stats": (("{spec}", *DATA), {0}, {"spec", "splits"}),
    "bench loss": (TINY, {0}, {"rows"}),
    "bench growth": ((*TINY[:2], "--axis", "image", "--image", "32x32", "--repeat", "1"), {0}, {"rows", "growth"}),
    "bench step": ((*TINY, "--device", "cpu"), {0}, {"rows"}),
    "bench data": (("--dataset", "{spec}", "--workers", "0", "--pictures", "4", "--batch", "2", *DATA), {0}, {"rows"}),
    "bench eval": ((*TINY, "--score", "2"), {0}, {"rows"}),
}
NOISY = '''
"""A strategy that speaks while it is imported."""
from assignbench.core import Assigner, Assignment, Head, inside_pairs, hard_assignment
print("NOISE")

class Noisy(Assigner):
    """Pairs an object with every location in its box."""

    head = Head()

    def forward(self, targets, priors):
        print("NOISE")
        return hard_assignment(*inside_pairs(targets, priors), targets)
'''


def commands(command: Any = None, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command that is no group, by its words."""
    command = command or typer.main.get_command(app)
    below = {name: one for name, one in getattr(command, "commands", {}).items() if not one.hidden}
    if not below:
        yield " ".join(words), command
    for name, one in below.items():
        yield from commands(one, (*words, name))


def refused(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is no number of JSON")


@pytest.fixture
def places(tmp_path: Path, few_pictures: Path, make_record: Callable, monkeypatch) -> dict[str, str]:
    for seed in (0, 1, 2):
        for label in ("atss", "fcos"):
            record = make_record(label, seed, 0.4 + 0.01 * seed ** (2 if label == "fcos" else 1))
            write_record(tmp_path / "runs" / record.run_id, record)
    (tmp_path / "golden" / "losses" / "atss").mkdir(parents=True)
    vectors = "losses/atss/overlap.safetensors"
    shutil.copy(VECTORS / vectors, tmp_path / "golden" / vectors)
    (tmp_path / "noisy.py").write_text(NOISY)
    (tmp_path / "detections.json").write_text("[]")
    monkeypatch.setattr("assignbench.bench.loss.in_fresh_process", lambda *_: 1_000_000)
    return {
        "runs": str(tmp_path / "runs"),
        "golden": str(tmp_path / "golden"),
        "noisy": f"{tmp_path / 'noisy.py'}:Noisy",
        "detections": str(tmp_path / "detections.json"),
        "spec": str(few_pictures),
        "root": str(few_pictures.parent),
    }


def test_every_command_prints_a_document_or_leaves_files():
    with_json = {name for name, one in commands() if any("--json" in each.opts for each in one.params)}
    every = {name for name, _ in commands()}
    assert with_json == set(LINES)
    assert every - with_json == IN_FILES


@pytest.mark.parametrize("command", LINES)
def test_standard_output_is_one_document(command, places, call, request):
    words, codes, keys = LINES[command]
    if "{finished}" in words:  # copied: others read it, too
        shutil.copytree(request.getfixturevalue("finished_run")("fcos")[1], places["runs"] + "/finished")
        places["finished"] = places["runs"] + "/finished"
    code, out, err = call(*command.split(), *(word.format(**places) for word in words), "--json")
    assert code in codes, err
    document = json.loads(out, parse_constant=refused)
    assert isinstance(document, dict)
    assert keys <= set(document)
    assert out == json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    assert ("NOISE" in err) == ("{noisy}" in words)


@pytest.mark.parametrize("command", LINES)
def test_an_error_leaves_no_half_of_a_document(command, call):
    code, out, err = call(*command.split(), "--json", "--no-such-option")
    assert (code, out) == (2, "")
    assert "--no-such-option" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run",), "--json prints the plan: add --dry-run"),
        (("reproduce", "all"), "--json prints the plan: add --dry-run"),
        (("run", "--dry-run", "--print-jobs"), "leave one of the two out"),
        (("compare", "{runs}", "--format", "csv"), "name an --output for both"),
    ],
)
def test_what_does_not_go_together(words, message, places, call):
    code, out, err = call(*(word.format(**places) for word in words), "--json")
    assert (code, out) == (2, "")
    assert message in err


def test_compare_writes_its_table_and_prints_the_document(places, call, tmp_path):
    file = tmp_path / "table.csv"
    code, out, err = call("compare", places["runs"], "--format", "csv", "--output", str(file), "--json")
    assert (code, err) == (0, f"wrote {file}\n")
    assert {row["strategy"] for row in json.loads(out)["rows"]} == {"atss", "fcos"}
    assert file.read_text().startswith("dataset,")


def test_a_number_that_is_none_ends_the_command(call, monkeypatch):
    odd = SimpleNamespace(name="odd", description="d", origin=float("nan"))
    monkeypatch.setattr("assignbench.cli.commands.listing.str", lambda value: value, raising=False)
    monkeypatch.setattr("assignbench.data.spec.locate.known_datasets", lambda: (odd,))
    code, out, err = call("list", "datasets", "--json")
    assert (code, out) == (1, "")
    assert "this is a bug in assignbench" in err
