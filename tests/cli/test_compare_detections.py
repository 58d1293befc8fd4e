"""``compare --detections``: results files of any tool, from the command line to the table."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from assignbench.cli.commands.comparing_files import places_of
from assignbench.data.dataset import Dataset
from assignbench.data.spec.locate import open_dataset, open_evaluation
from assignbench.errors import UsageError
from assignbench.run.scoring.evaluate import Detections, evaluate, write_detections

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")


@pytest.fixture
def data(few_pictures) -> Dataset:
    return open_evaluation(str(few_pictures), few_pictures.parent)


def found(dataset: Dataset, spread: float, seed: int) -> list[Detections]:
    """Every object, as far off as `spread` says in pixels, and a false alarm a picture."""
    rng = np.random.default_rng(seed)
    parts = []
    for image in range(len(dataset.images)):
        some = dataset.objects_of(image)
        true = dataset.boxes[some]
        boxes = np.vstack([true + rng.uniform(-spread, spread, true.shape), [[0.0, 0.0, 9.0, 9.0]]])
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        labels = np.append(dataset.labels[some], 0)
        parts.append(Detections(image, boxes, rng.uniform(0.1, 1, len(boxes)), labels))
    return parts


@pytest.fixture
def file(data, tmp_path) -> Callable[..., Path]:
    """Write a canonical detections file."""

    def file(name: str, spread: float = 2, seed: int = 0) -> Path:
        write_detections(data, found(data, spread, seed), tmp_path / name)
        return tmp_path / name

    return file


@pytest.fixture
def compared(call, few_pictures) -> Callable[..., tuple[int, str, str]]:
    """``compare --detections … --dataset`` of the few pictures."""

    def compared(*arguments: object) -> tuple[int, str, str]:
        return call("compare", "--detections", *map(str, arguments), "--dataset", str(few_pictures))

    return compared


def foreign(file: Path, place: Path) -> Path:
    """The same detections as another tool would write them: any order, other keys, other numbers for the same ids."""
    entries = json.loads(file.read_text())
    order = np.random.default_rng(3).permutation(len(entries))
    entries = [{"id": int(n), "area": 1.5, **entries[n], "image_id": float(entries[n]["image_id"])} for n in order]
    place.write_text(json.dumps(entries, indent=4))
    return place


def numbers(out: str) -> Mapping[str, Any]:
    """Row and metric → entry of the JSON form."""
    return {f"{one['strategy']} {one['metric']}": one for one in json.loads(out)["rows"]}


def test_a_foreign_file_gives_the_numbers_of_record(compared, data, file, tmp_path):
    ours = file("ours.json")
    record = evaluate(data, ours).metrics
    assert record["AP"] is not None
    assert 0.2 < record["AP"] < 0.95  # neither nothing nor everything
    code, out, err = compared(foreign(ours, tmp_path / "theirs.json"), ours, "--json")
    assert (code, err) == (0, "")
    for row in ("ours", "theirs"):
        for metric in METRICS:
            value = record[metric]
            assert numbers(out)[f"{row} {metric}"]["mean"] == (None if value is None else 100 * value)


def test_equal_detections_differ_by_nothing_and_that_is_said(compared, file, tmp_path):
    a = file("a.json")
    b = foreign(a, tmp_path / "b.json")
    entry = numbers(compared(a, b, "--baseline", "a", "--json")[1])["b AP"]
    assert (entry["difference"], entry["low"], entry["p"], entry["p_family"]) == (0, None, None, None)
    _, out, _ = compared(a, b, "--baseline", "a")
    assert "a and b hold the same detections" in out
    assert "no verdict" in out


def test_one_file_each_is_said_to_be_about_the_files(compared, file):
    a, b = file("a.json", 1), file("b.json", 6)
    _, out, _ = compared(a, b, "--baseline", "a", "--format", "markdown")
    assert "evaluation (val) · detections of files**" in out
    assert "of exactly these detections files, not of the strategies behind them" in out
    assert "**" not in out.partition("| --- |")[2]  # nothing is bold
    assert f"{a}, " in out.replace("\\", "")
    assert "sha256" in out


def test_three_files_each_decide_and_their_order_among_rows_does_not_count(compared, file):
    spreads = {"good": 1, "bad": 6}
    places = [f"{row}={file(f'{row}{n}.json', spread, n)}" for row, spread in spreads.items() for n in range(3)]
    _, out, _ = compared(*places, "--baseline", "bad", "--json")
    entry = numbers(out)["good AP"]
    assert (entry["about"], entry["n"], entry["shared_seeds"], entry["best"]) == ("strategies", 3, 3, 1)
    assert entry["low"] > 0
    assert entry["p_family"] < 0.05
    again = compared(*places[3:], *places[:3], "--baseline", "bad", "--json")[1]
    assert json.loads(again)["rows"] == json.loads(out)["rows"]
    _, out, _ = compared(*places, "--baseline", "bad")
    assert "files 0, 1, 2 of each row as its seeds" in out
    assert "file 0 of a row is held against file 0 of every other one" in out
    assert "Best: good (1 pair, Holm)." in out


def test_every_file_is_described_with_what_was_passed_over(compared, data, file, tmp_path):
    a = foreign(file("a.json"), tmp_path / "x.json")
    entries = json.loads(a.read_text())
    a.write_text(json.dumps([one for one in entries if one["image_id"] != data.images[0].id]))
    _, out, _ = compared(a)
    (line,) = [line for line in out.replace("\n", " ").split("x: ") if "sha256" in line]
    assert f"1 of {len(data)} images have no detection" in line
    assert "'area' (" in line


def test_a_data_set_without_ids_says_its_numbers_and_that_its_own_metrics_are_not_here(call, miniatures, tmp_path):
    spec = miniatures.write_voc(tmp_path / "voc").spec
    dataset = open_dataset(spec, tmp_path).evaluation
    write_detections(dataset, found(dataset, 1, 0), tmp_path / "a.json")
    _, out, err = call("compare", "--detections", str(tmp_path / "a.json"), "--dataset", spec)
    assert err == ""
    out = " ".join(out.split())
    assert f"states no ids: pictures are 1 = {dataset.images[0].path.name} to {len(dataset)} = " in out
    assert f"classes 1 = {dataset.classes[0]}" in out
    assert "these are COCO's numbers; the data set's own are not computed of files" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{a}", "--recipe", "tiny"), "--recipe and --protocol choose among runs"),
        (("{a}", "--protocol", "controlled"), "--recipe and --protocol choose among runs"),
        (("{a}", "--metrics", "AR100"), "'AR100' is not computed of detections files"),
        (("{a}", "--baseline", "aa"), "no row is called 'aa'; did you mean a?"),
        (("{a}", "{other}"), "several files would be called a: write NAME="),
        (("a={b}", "{a}"), "several files would be called a: write NAME="),
        (("x={a}", "x={a}"), "hold the same detections; files of one name (x) are seeds"),
        (("x={b}", "no.json"), "there is no detections file no.json"),
        (("={a}",), "there is no detections file ="),
        (("x\ny={a}",), "has no name that a table could show"),
        ((" ={a}",), "has no name that a table could show"),
        ((), "--detections needs files and their data set"),
    ],
)
def test_every_misuse_has_its_message(compared, file, tmp_path, arguments, message):
    a, b = file("a.json"), file("b.json", seed=1)
    other = tmp_path / "deeper" / "a.json"
    other.parent.mkdir()
    other.write_bytes(b.read_bytes())
    code, out, err = compared(*(text.format(a=a, b=b, other=other) for text in arguments))
    assert (code, out) == (2, "")
    assert message in err


def test_a_damaged_file_is_named_with_its_entry(compared, file, tmp_path):
    entries = json.loads(file("a.json").read_text())
    entries[3]["bbox"][2] *= -1
    (tmp_path / "a.json").write_text(json.dumps(entries))
    code, out, err = compared(tmp_path / "a.json")
    assert (code, out) == (1, "")
    assert "a.json, entry 4: image id" in err
    assert "without positive size" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--detections", "a.json"), "--detections needs files and their data set"),
        (
            (__file__,),
            "is no run's record; name a record.json, a run, or a folder of runs. Detections files are compared",
        ),
    ],
)
def test_what_belongs_to_the_other_form_is_refused(call, arguments, message):
    code, out, err = call("compare", *arguments)
    assert (code, out) == (2, "")
    assert message in err


def test_names_may_hold_an_equals_sign_in_brackets_and_paths_anywhere(tmp_path):
    odd = tmp_path / "lr=0.1" / "detections.json"
    odd.parent.mkdir()
    odd.touch()
    places = places_of([str(odd), f"atss[k=9]={odd}", "b = c=d.json", "b=e.json"])
    assert [(one.row, one.number, one.file) for one in places] == [
        ("detections", 0, odd),
        ("atss[k=9]", 0, odd),
        ("b", 0, Path(" c=d.json")),
        ("b", 1, Path("e.json")),
    ]
    assert [str(one) for one in places] == ["detections", "atss[k=9]", "b, file 0", "b, file 1"]


@pytest.mark.parametrize("name", ["<script>", "a&b", "😀", "שלום", "a|b*"])
def test_any_name_that_can_be_shown_is(name):
    assert places_of([f"{name}=x.json"])[0].row == name


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[31m", "a\u2028b", ""])
def test_a_name_that_would_break_a_table_is_refused(name):
    with pytest.raises(UsageError, match="no name that a table could show"):
        places_of([f"{name} =x.json"])
