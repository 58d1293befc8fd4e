"""Text from outside reaches no terminal, table or page as something that is obeyed (fault 5).

One name that every format would take for something else goes through every command: as label, data set, class,
picture, note and message of a plug-in.
"""

import contextlib
import csv
import io
import json
import re
import unicodedata
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState, GradientState
from PIL import Image

from assignbench import plain_text
from assignbench.cli.main import main
from assignbench.run.results.record import RunRecord, write_record

BITS = (
    '=HYPERLINK("http:x","y")',
    "\x1b]0;owned\x07\x1b[31m",
    "\r\nerror: fake\u2028error: fake\x85error: fake",
    "\x9b2J\x7f\u202etxt.exe\u200b",
    "|<script>alert(1)<script>",
    '"onload="x"\'><img src=x onerror=y>',
    "`[a](b)` **c** ~~d~~ $\\input{x}$ %&#_^",
    "𝐗\U000e0041",
)
NAME = "".join(BITS)
SHORT = "=1+1\x1b[31m\u202e\n<b>"  # of files
UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")


@pytest.fixture(autouse=True)
def _fresh_accelerate() -> Iterator[None]:
    for _ in range(2):
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
        if _ == 0:
            yield


class Page(HTMLParser):
    """The elements and attributes of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += [name for name, _ in attrs]


def refuse_terminal(text: str) -> None:
    obeyed = {letter for letter in text if unicodedata.category(letter) in UNSEEN} - {"\n"}
    assert not obeyed, sorted(map(ascii, obeyed))
    assert not [line for line in text.splitlines() if line.startswith("error: fake")], text


def refuse_csv(text: str) -> None:
    refuse_terminal(text)
    for row in csv.reader(io.StringIO(text)):
        for field in row:
            assert re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?|", field) or field.lstrip()[:1] not in tuple("=+-@"), field


def refuse_markdown(text: str) -> None:
    refuse_terminal(text)
    assert not re.search(r"(?<!\\)[<`]|(?<!\\)\[a|(?<!\\)\*\* ?c", text)


def refuse_latex(text: str) -> None:
    refuse_terminal(text)
    assert r"\input{x}" not in text
    assert not re.search(r"(?<!\\)[$#%]", text)


def refuse_html(text: str) -> None:
    refuse_terminal(text)
    found = Page(text)
    assert not {"script", "img"} & set(found.elements)
    assert not {"onload", "onerror"} & set(found.attributes)


def refuse_json(text: str) -> None:
    refuse_terminal(text)
    json.loads(text)


FORMATS: dict[str, Callable[[str], None]] = {
    "terminal": refuse_terminal,
    "csv": refuse_csv,
    "markdown": refuse_markdown,
    "latex": refuse_latex,
    "html": refuse_html,
}


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command, hold its stderr harmless, and return its stdout."""

    def call(*words: str, code: int = 0) -> str:
        capfd.readouterr()
        got = main(list(words))
        out, err = capfd.readouterr()
        refuse_terminal(err)
        assert got == code, err
        return out

    return call


@pytest.fixture
def runs(make_record: Callable[..., RunRecord], tmp_path: Path) -> Path:
    """A stranger's folder of records."""
    for row, ap in ((NAME, 0.4), ("-1+1", 0.3), ("@cmd", 0.2)):
        for seed in (0, 1):
            record = make_record(row, seed, ap + 0.01 * seed, dataset=NAME, caveats=[NAME], run_id=f"{ap}-{seed}")
            data = record.dataset.model_copy(update={"classes": (NAME, "ring")})
            record = record.model_copy(
                update={
                    "dataset": data,
                    "recipe": NAME,
                    "notes": (NAME,),
                    "per_class": {NAME: ap, "ring": None},
                    "metrics": {**record.metrics, "=1+1\x1b[31m": ap},
                    "assigner": record.assigner.model_copy(update={"label": row, "name": row}),
                    "learned": {NAME: {NAME: 1.0}},
                    "true_offsets": None,
                }
            )
            write_record(tmp_path / "runs" / record.run_id, record)
    return tmp_path / "runs"


@pytest.mark.parametrize("pairs", [[], ["--pairs"]])
@pytest.mark.parametrize("form", FORMATS)
def test_compare_in_every_format(runs, call, form, pairs, tmp_path):
    metric = ["--metrics", "AP,=1+1\x1b[31m"]
    FORMATS[form](call("compare", str(runs), "--format", form, *metric, *pairs))
    if form != "terminal":
        file = tmp_path / f"table.{form}"
        call("compare", str(runs), "--format", form, "--output", str(file), *metric, *pairs)
        FORMATS[form](file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("words", [["list", "runs"], ["plan"]])
def test_lists_and_plans(runs, call, words):
    refuse_terminal(call(*words, str(runs)))


@pytest.mark.parametrize("words", [["list", "runs"], ["plan"], ["compare"], ["compare", "--pairs"], ["status"]])
def test_documents(runs, call, words):
    refuse_json(call(*words, str(runs), "--json"))


def refuse_page(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    own = re.sub(r"<(script|style)\b[^>]*>.*?</\1>", "", text, flags=re.DOTALL)
    refuse_html(own.replace("\u2068", "").replace("\u2069", ""))  # which keep names apart
    data = re.search(r'<script[^>]*type="application/json"[^>]*>(.*?)</script>', text, re.DOTALL)
    assert data is not None
    refuse_terminal("".join(texts_of(json.loads(data[1]))))


def test_the_page_of_a_report(runs, call, tmp_path):
    refuse_terminal(call("report", str(runs), "--output", str(tmp_path / "page.html"), "--title", NAME))
    refuse_page(tmp_path / "page.html")


def texts_of(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for each in value.values():
            yield from texts_of(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts_of(each)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of six pictures; folder, classes and pictures have such names."""
    folder = tmp_path_factory.mktemp("data") / SHORT
    number = 0
    for split in ("train", "valid"):
        (folder / split).mkdir(parents=True)
        images, boxes = [], []
        for index in range(3):
            name = f"{SHORT}{index}.png"
            Image.new("RGB", (96, 64), (40 * index, 90, 30)).save(folder / split / name)
            images.append({"id": index + 1, "file_name": name, "width": 96, "height": 64})
            for box in ([4 + index, 6, 40, 40], [50, 8, 200, 30]):  # the second reaches over the edge
                number += 1
                boxes.append(
                    {
                        "id": number,
                        "image_id": index + 1,
                        "category_id": 1 + number % 2,
                        "bbox": box,
                        "area": 9,
                        "iscrowd": 0,
                    }
                )
        content = {
            "images": images,
            "annotations": boxes,
            "categories": [{"id": 1, "name": NAME}, {"id": 2, "name": "ring"}],
        }
        (folder / split / "_annotations.coco.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.mark.parametrize("command", ["check", "stats", "open"])
@pytest.mark.parametrize("as_json", [False, True])
def test_commands_on_data(data, call, command, as_json):
    out = call("data", command, str(data), *(["--json"] if as_json else []), code=3 if command == "check" else 0)
    (refuse_json if as_json else refuse_terminal)(out)


def test_pictures_of_data(data, call, tmp_path):
    refuse_terminal(call("data", "show", str(data), "--output", str(tmp_path / "shown")))


SMALL = (
    *("model.backbone=miniature", "model.channels=32", "model.towers=1", "data.short_side=64", "data.long_side=96"),
    *("data.workers=0", "train.iterations=2", "train.batch=2", "train.warmup=1", "train.precision=no"),
    *("train.log_every=1", "evaluate.score_threshold=0.005"),
)
STRATEGY = """
from assigners.retinanet import RetinaNet

class Mine(RetinaNet):
    pass

class Fails(RetinaNet):
    def __init__(self, setting):
        raise RuntimeError({name!r})

class Later(RetinaNet):
    def forward(self, targets, priors, predictions):
        raise RuntimeError({name!r})
"""


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with two runs, and what was printed; a third one fails."""
    folder = tmp_path_factory.mktemp("trained")
    file = folder / f"{SHORT.replace('[', '')}.py"
    file.write_text(STRATEGY.format(name=NAME), encoding="utf-8")
    settings = [word for setting in SMALL for word in ("--set", setting)]
    names = [f"{file}:Mine+implicit_objectness", "atss", f"{file}:Later"]
    words = [
        "run",
        "--dataset",
        str(data),
        "--recipe",
        "tiny",
        *settings,
        "--output",
        str(folder / "runs"),
        "--device",
        "cpu",
    ]
    found = io.StringIO()
    for name in names:
        AcceleratorState._reset_state(reset_partial_state=True)
        with contextlib.redirect_stdout(found), contextlib.redirect_stderr(found):
            main([*words, "--assigner", name])
    return folder / "runs", found.getvalue()


def test_what_a_run_prints(trained):
    refuse_terminal(trained[1])
    assert trained[1].count("AP50") >= 2
    assert "RuntimeError: =HYPERLINK" in trained[1]


RUNS: dict[str, tuple[str, ...]] = {
    "eval": ("eval", "RUN"),
    "eval --json": ("eval", "RUN", "--json"),
    "predict": ("predict", "RUN", "PICTURES", "--output", "OUT", "--threshold", "0"),
    "figure 1": ("figure", "1", "RUN", "OTHER", "--output", "OUT/a.svg"),
    "figure 1 png": ("figure", "1", "RUN", "OTHER", "--output", "OUT/a.png"),
    "figure 5": ("figure", "5", "RUN", "OTHER", "--output", "OUT/a.svg"),
    "compare": ("compare", "RUNS", "--format", "csv"),
    "report": ("report", "RUNS", "--output", "OUT/a.html"),
    "list runs": ("list", "runs", "RUNS"),
    "eval --detections": ("eval", "--detections", "RUN/detections.json", "--dataset", "DATA"),
    "compare --detections": ("compare", "--detections", "RUN/detections.json", "--dataset", "DATA"),
}


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("command", RUNS)
def test_commands_on_runs(trained, data, call, tmp_path, command):
    first, second = sorted(folder.parent for folder in trained[0].glob("*/record.json"))
    names = {
        "RUNS": trained[0],
        "RUN": first,
        "OTHER": second,
        "PICTURES": data / "valid",
        "OUT": tmp_path,
        "DATA": data,
    }
    words = [
        re.sub(r"\b(RUNS|RUN|OTHER|PICTURES|OUT|DATA)\b", lambda word: str(names[word[0]]), one)
        for one in RUNS[command]
    ]
    out = call(*words)
    {"eval --json": refuse_json, "compare": refuse_csv}.get(command, refuse_terminal)(out)
    for file in tmp_path.rglob("*.svg"):
        elements = [one.tag.rpartition("}")[2] for one in ET.parse(file).iter()]  # noqa: S314 - our own
        assert "script" not in elements
        refuse_terminal("".join(ET.parse(file).getroot().itertext()))  # noqa: S314
    for file in tmp_path.glob("*.html"):
        refuse_page(file)


def test_a_csv_beside_a_run_holds_no_formula(trained):
    files = list(trained[0].glob("*/repairs.csv"))
    assert files
    for file in files:
        refuse_csv(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("run", "--assigner", NAME), 2),
        (("run", "--assigner", f"atss[{SHORT}=1]"), 2),
        (("run", "--set", f"train.lr={SHORT}"), 2),
        (("run", "--set", f"{SHORT}=1"), 2),
        (("run", "--dataset", SHORT), 2),
        (("run", "--recipe", f"{SHORT}.yaml"), 2),
        (("compare", SHORT), 2),
        (("report", SHORT), 2),
        (("eval", SHORT), 2),
        (("predict", SHORT, SHORT), 2),
        (("data", "check", SHORT), 2),
        (("import", SHORT, "--from", "mmdet", "--assigner", "atss", "--output", "a.safetensors"), 2),
        (("figure", "1", SHORT, SHORT), 2),
        (("new", SHORT), 2),
        (("check", SHORT), 2),
        (("reproduce", SHORT), 2),
        (("bench", "loss", "--assigner", SHORT), 2),
        (("verify", "golden", SHORT), 2),
    ],
    ids=lambda value: " ".join(value[:2]).encode("unicode_escape").decode()[:20] if isinstance(value, tuple) else None,
)
def test_messages_of_errors(call, words, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refuse_terminal(call(*words, code=code))


def test_a_plug_in_that_fails_with_such_a_message(call, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(STRATEGY.format(name=NAME), encoding="utf-8")
    refuse_terminal(call("check", f"{file}:Fails", code=2))
    refuse_terminal(call("check", f"{file}:Later", code=1))
    file.write_text(f"raise RuntimeError({NAME!r})", encoding="utf-8")
    refuse_terminal(call("check", f"{file}:Fails", code=2))


@pytest.mark.parametrize("lead", "=+-@\t\r＝")
def test_no_text_of_a_csv_begins_as_a_formula_and_no_number_changes(lead):
    assert not str(plain_text.csv_field(f"{lead}1+1")).startswith(lead)
    assert plain_text.csv_field(-1.5) == -1.5
    assert plain_text.csv_field("plain, [k=1]") == "plain, [k=1]"


def test_json_says_the_same():
    content = {"a": NAME, "b": ["\u202e", "𝐗\U000e0041", "ä", "\x7f\x9b\ud800"]}
    text = plain_text.json_text(content)
    refuse_terminal(text)
    assert json.loads(text) == content
    assert "ä" in text


def test_text_of_people_stays_as_it_is():
    for text in ("naïve µ σ² – x", "日本語", "العربية", "𝐗🙂", "a  b"):
        assert plain_text.one_line(text) == text
