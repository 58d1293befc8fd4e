"""No document that a command reads ends in "this is a bug in assignbench" (fault 8).

Each document, each of its fields and each option is replaced by what nobody would write.
"""

import contextlib
import hashlib
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from accelerate.state import AcceleratorState, GradientState
from PIL import Image

from assignbench.cli.main import main
from assignbench.run.results.record import RunRecord

DEEP = 100_000
WHOLE: dict[str, bytes] = {
    "empty": b"",
    "cut": b'{"a": [1',
    "lists nested deep": b"[" * DEEP + b"]" * DEEP,
    "lists nested deep, not closed": b"[" * DEEP,
    "mappings nested deep": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "a whole number of 5001 digits": b"1" + b"0" * 5000,
    "a list of one": b"[1" + b"0" * 5000 + b"]",
    "beyond floating point": b"[1e999]",
    "NaN": b"NaN",
    "half a letter": b'"\\ud800"',
    "a list with half a letter": b'[{"\\ud800": "\\udfff"}]',
    "null": b"null",
    "a number": b"-7",
    "text": b'"text"',
    "a list": b"[]",
    "a list of lists": b"[[]]",
    "a list of nulls": b'[null, 1, true, "a", {}]',
    "a mapping": b"{}",
    "zeros": bytes(1000),
    "no UTF-8": b"\xff\xfe\x80",
    "UTF-16": "{}".encode("utf-16"),
    "a mark of byte order": b"\xef\xbb\xbf{}",
}
FIELDS: tuple[str, ...] = (
    *(
        "null",
        "true",
        "-1",
        "1.5",
        "0",
        '""',
        '"x"',
        "[]",
        "{}",
        "[[]]",
        "[null]",
        '{"a": 1}',
        '{"": null}',
        '["\\ud800"]',
    ),
    *("1e308", "-1e308", "NaN", "1e999", "1" + "0" * 5000, "9" * 30, '"\\ud800\\u0000"', "[" * 5000 + "]" * 5000),
)


@pytest.fixture(autouse=True)
def _fresh_accelerate() -> Iterator[None]:
    for turn in range(2):
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        if turn == 0:
            yield


def said(*words: str) -> str:
    """What a command says on stderr; it must not be that it is a bug."""
    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        code = main(list(words))
    text = err.getvalue()
    assert "this is a bug" not in text, text[-600:]
    assert code in (0, 1, 2, 3, 4), text[-600:]
    return text


@pytest.fixture(scope="module")
def kept(finished_run: Callable[..., tuple[RunRecord, Path]]) -> Path:
    AcceleratorState._reset_state(reset_partial_state=True)
    return finished_run("retinanet")[1]


@pytest.fixture
def run(kept: Path, tmp_path: Path) -> Path:
    """A copy of a finished run that may be damaged."""
    return Path(shutil.copytree(kept, tmp_path / "runs" / kept.name))


LOOKING = (
    ("list", "runs", "RUNS"),
    ("compare", "RUNS"),
    ("plan", "RUNS"),
    ("report", "RUNS", "--output", "OUT/a.html", "--pictures", "0"),
)
USING = (
    ("eval", "RUN"),
    ("predict", "RUN", "OUT/a.png", "--output", "OUT"),
    ("figure", "1", "RUN", "RUN", "--output", "OUT/a.svg"),
)


def command(words: tuple[str, ...], run: Path) -> list[str]:
    out = run.parents[1]
    if not (out / "a.png").exists():
        Image.new("RGB", (64, 64)).save(out / "a.png")
    return [word.replace("RUNS", str(run.parent)).replace("RUN", str(run)).replace("OUT", str(out)) for word in words]


READ = {
    "record.json": (*LOOKING, *USING),
    "config.json": LOOKING[3:],
    "losses.jsonl": LOOKING[3:],
    "assignment.jsonl": LOOKING[3:],
    "detections.json": (*LOOKING[1:2], *LOOKING[3:], USING[0]),
    "matches.safetensors": LOOKING[1:],
    "weights.safetensors": USING,
}


# of the other files the record has digests, which decide before anything is read
UNSEALED = ("record.json", "config.json")


@pytest.mark.parametrize(
    ("name", "how"),
    [
        *((name, how) for name in UNSEALED for how in (*WHOLE, "a folder")),
        *((name, how) for name in READ if name not in UNSEALED for how in ("empty", "lists nested deep", "a folder")),
    ],
)
def test_a_file_of_a_run(run, few_pictures, name, how):
    file = run / name
    file.unlink(missing_ok=True)
    if how == "a folder":
        file.mkdir()
    else:
        file.write_bytes(WHOLE[how])
    for words in READ[name]:
        said(
            *command(words, run), *(["--data-root", str(few_pictures.parent)] if words[0] in ("report", "eval") else [])
        )


def with_field(record: dict[str, Any], path: tuple[str, ...], raw: str) -> str:
    """The record as text, one field replaced, under a digest that fits where one can be computed."""
    copy = json.loads(json.dumps(record))
    copy.pop("sha256", None)
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = "HERE"
    text = json.dumps(copy).replace('"HERE"', raw)
    try:
        content = json.loads(text)
        whole = json.dumps(content, sort_keys=True, separators=(",", ":"))
    except (ValueError, RecursionError):
        whole = ""
    return f'{text[:-1]}, "sha256": "{hashlib.sha256(whole.encode()).hexdigest()}"}}'


def paths_of(value: object, path: tuple[str, ...] = (), depth: int = 3) -> Iterator[tuple[str, ...]]:
    if path:
        yield path
    if isinstance(value, dict) and depth:
        for key in list(value)[:12]:
            yield from paths_of(value[key], (*path, key), depth - 1)


def test_each_field_of_a_record(run):
    """Each field, with a value of the list, through what is quick; those that `eval` goes by with every value."""
    record = json.loads((run / "record.json").read_text())
    for number, path in enumerate(paths_of(record)):
        (run / "record.json").write_text(with_field(record, path, FIELDS[number % len(FIELDS)]), encoding="utf-8")
        for words in LOOKING[:3]:
            said(*command(words, run))
    for path in (("config", "assigner.text", "value"), ("config", "assigner.text"), ("config",), ("dataset", "spec")):
        for raw in FIELDS:
            (run / "record.json").write_text(with_field(record, path, raw), encoding="utf-8")
            said(*command(("eval", "RUN"), run))


ROWS = (
    *('"x"', "1", "[]", "null", "{}", '{"iteration": "x"}', '{"iteration": true}', '{"iteration": 1, "total": "x"}'),
    *(f'{{"iteration": 1, "total": {value}}}' for value in FIELDS),
    *(f'{{"iteration": {value}, "total": 1}}' for value in FIELDS),
)


@pytest.mark.parametrize("name", ["losses.jsonl", "assignment.jsonl", "failures.jsonl"])
@pytest.mark.parametrize("finished", [True, False])
def test_rows_of_a_log(run, name, finished):
    from assignbench.errors import RunError
    from assignbench.report.curves import losses_of, statistics_of
    from assignbench.report.facts import plain
    from assignbench.run.results.json_lines import Log
    from assignbench.run.results.record import read_record
    from assignbench.run.results.unfinished import unfinished

    record = read_record(run / "record.json").model_copy(update={"files": {}})  # whose digests nobody knows
    if not finished:
        (run / "record.json").unlink()
    for row in ROWS:
        (run / name).write_text(f"{row}\n", encoding="utf-8")
        for read in (losses_of, statistics_of, lambda folder, _: unfinished(folder.parent, ())):
            with contextlib.suppress(RunError):
                json.dumps(plain(read(run, record)), allow_nan=False)
        Log(run / name, 5)


DETECTION = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5], "score": 0.5}


def test_entries_of_detections(few_pictures, tmp_path):
    for key in (*DETECTION, None):
        for raw in FIELDS:
            entry = json.dumps({**DETECTION, **({key: "HERE"} if key else {})}).replace('"HERE"', raw) if key else raw
            (tmp_path / "a.json").write_text(f"[{entry}]", encoding="utf-8")
            said(
                "eval",
                "--detections",
                str(tmp_path / "a.json"),
                "--dataset",
                str(few_pictures),
                "--data-root",
                str(few_pictures.parent),
            )


@pytest.mark.parametrize("how", WHOLE)
def test_documents_of_other_commands(few_pictures, tmp_path, how):
    data, root = str(few_pictures), str(few_pictures.parent)
    for name in ("a.json", "a.yaml", "a.safetensors", "a.pth", "a.pkl", "a.py"):
        (tmp_path / name).write_bytes(WHOLE[how])
    said("eval", "--detections", str(tmp_path / "a.json"), "--dataset", data, "--data-root", root)
    said("eval", "--weights", str(tmp_path / "a.safetensors"), "--dataset", data, "--data-root", root)
    said("run", "--recipe", str(tmp_path / "a.yaml"), "--dry-run", "--dataset", data)
    said("list", "recipes", str(tmp_path / "a.yaml"))
    said("data", "check", str(tmp_path / "a.yaml"))
    said("data", "open", str(tmp_path / "a.yaml"))
    said("check", f"{tmp_path / 'a.py'}:Mine")
    for name in ("a.pth", "a.pkl", "a.safetensors"):
        said(
            "import",
            str(tmp_path / name),
            "--from",
            "mmdet",
            "--assigner",
            "atss",
            "--output",
            str(tmp_path / "b.safetensors"),
        )
    for layout in ("train/_annotations.coco.json", "annotations/instances_train2017.json", "data.yaml"):
        folder = tmp_path / layout.partition(".")[0].replace("/", "-")
        (folder / layout).parent.mkdir(parents=True)
        (folder / layout).write_bytes(WHOLE[how])
        said("data", "open", str(folder))
    vectors = tmp_path / "vectors"
    for name in (
        "losses/atss/a.safetensors",
        "network/atss.safetensors",
        "detections/atss.safetensors",
        "trajectory/atss.json",
    ):
        (vectors / name).parent.mkdir(parents=True, exist_ok=True)
        (vectors / name).write_bytes(WHOLE[how])
        said("verify", "golden", str(vectors))


VALUES = (
    *FIELDS,
    "[" * DEEP,
    "[" * DEEP + "]" * DEEP,
    "{a: " * 2000,
    "'",
    "\t",
    "&a [*a]",
    "!!python/object:os.system x",
    "- a",
    "? a",
    "\x00",
    "1_0",
    "0x10",
    ".nan",
    ".inf",
    "\ud800",
)


@pytest.mark.parametrize("number", range(len(VALUES)))
def test_set_and_options(few_pictures, monkeypatch, number):
    value = VALUES[number]
    monkeypatch.setattr("assignbench.bench.estimate.show_estimate", lambda *_: None)  # it takes seconds each time
    data = ("--dry-run", "--dataset", str(few_pictures), "--data-root", str(few_pictures.parent))
    keys = ("train.lr", "train.snapshots", "model.weights", "model.backbone", "evaluate.evaluator", "train")
    for key in keys[number % 2 :: 2]:
        said("run", "--set", f"{key}={value}", *data)
    for text in (f"atss[k={value}]", f"dual[one={value}]", value, f"atss+{value}"):
        said("run", "--assigner", text, *data)
    said("run", "--seeds", value, *data)
    said("run", "--recipe", value, *data)
    said("data", "check", value)
    said("list", "assigners", value)
    said("reproduce", value, "--dry-run")
