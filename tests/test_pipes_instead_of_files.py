"""A pipe or a device in the place of a file that is read by its name: nobody waits for it."""

import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from assignbench.config import load_recipe
from assignbench.data import decoding
from assignbench.data.damage import what_is_wrong
from assignbench.data.images import ImageInfo
from assignbench.data.pictures import decoded, picture_size
from assignbench.data.prepare.download import Part
from assignbench.data.read.cache import remembered
from assignbench.data.read.coco.pieces import pieces
from assignbench.data.read.plain import read_lines as text_lines
from assignbench.data.read.stored import load as load_arrays
from assignbench.data.read.xml import parse_xml
from assignbench.data.shapes.shapes import _intact
from assignbench.detector.pickles import read_checkpoint
from assignbench.document import load_document
from assignbench.errors import AssignbenchError
from assignbench.files import read_json, sha256_of
from assignbench.kept_influences import kept_influences
from assignbench.recipe import TrainSettings
from assignbench.run.results.finished import find_runs
from assignbench.run.results.json_lines import Log, append, read_lines
from assignbench.run.results.record import read_record
from assignbench.run.scoring.foreign import require_plain
from assignbench.run.scoring.kept_matches import kept_matches, lacking
from assignbench.run.scoring.weights import read_weights_facts
from assignbench.run.training.checkpoint import load_tensors, read_progress
from assignbench.run.training.snapshots import load_snapshot
from assignbench.strict_yaml import read_yaml

SOMETHING = SimpleNamespace(detections_sha256="0")


def unread(*_: object) -> None:
    raise AssertionError("the reader was asked")


READERS: dict[str, Callable[[Path], object]] = {
    "JSON": read_json,
    "digest": sha256_of,
    "YAML": read_yaml,
    "document": lambda path: load_document(path, TrainSettings),
    "recipe": lambda path: load_recipe(str(path)),
    "log": read_lines,
    "append": lambda path: append(path, {"iteration": 1}),
    "own log": Log,
    "record": read_record,
    "tensors": load_tensors,
    "snapshot": lambda path: load_snapshot(path, 1, "run"),
    "weights": read_weights_facts,
    "checkpoint of others": read_checkpoint,
    "picture": lambda path: picture_size(path),
    "pixels": lambda path: decoded(ImageInfo(1, path, 2, 2)),
    "decoded": lambda path: decoding._content(ImageInfo(1, path, 2, 2)),
    "what is wrong": what_is_wrong,
    "text": lambda path: text_lines(path, "list"),
    "XML": parse_xml,
    "annotations": lambda path: list(pieces(path, SimpleNamespace(update=unread))),
    "cached annotations": lambda path: remembered(
        path, {}, lambda digest: list(pieces(path, digest)), name="", split="", pictures=path.parent
    ),
    "arrays": lambda path: load_arrays(path, "", "", path.parent),
    "digests": decoding._kept,
    "part": lambda path: Part.of(path.with_suffix("")).length(),
    "detections": require_plain,
}
IN_FOLDERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "runs": ("run/record.json", find_runs),
    "manifest": ("manifest.json", read_progress),
    "shapes": ("manifest.json", lambda folder: _intact(folder, {})),
    "matches": ("matches.safetensors", lambda folder: kept_matches(folder, "", "")),
    "influences": ("influences.safetensors", lambda folder: kept_influences(folder, SOMETHING)),  # type: ignore[arg-type]
    "lacking": ("detections.json", lambda folder: lacking(folder, SOMETHING)),  # type: ignore[arg-type]
}


@pytest.fixture(autouse=True)
def waited(tmp_path: Path) -> Iterator[list[str]]:
    """What a reader has waited for, which is then helped out: nobody may have waited in the end."""
    seen: list[str] = []
    done = threading.Event()

    def serve() -> None:
        while not done.wait(0.02):
            for path in tmp_path.rglob("*"):
                if path.is_fifo():
                    with contextlib.suppress(OSError):  # nobody is there
                        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
                        seen.append(path.name)

    def wake(*_: object) -> None:
        seen.append("a device")
        raise KeyboardInterrupt

    thread = threading.Thread(target=serve)
    before = signal.signal(signal.SIGALRM, wake)
    signal.alarm(5)
    thread.start()
    yield seen
    done.set()
    thread.join()
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    assert seen == []


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def tried(read: Callable[[Path], object], path: Path) -> str:
    """What is said of it; "": it counts as if it were not there."""
    try:
        read(path)
    except AssignbenchError as error:
        return str(error)
    except (OSError, ValueError, KeyboardInterrupt) as error:
        return f"{path.name}: {error}"
    return ""


@pytest.mark.parametrize("make", [make_pipe, make_device])
@pytest.mark.parametrize("reader", READERS)
def test_no_reader_waits_for_a_pipe_or_a_device(tmp_path, reader, make):
    path = tmp_path / "file.part" if reader == "part" else tmp_path / "file.yaml"
    make(path)
    said = tried(READERS[reader], path)
    assert said == "" or path.name in said or "/dev/zero is" in said or "/dev/zero: " in said


@pytest.mark.parametrize("make", [make_pipe, make_device])
@pytest.mark.parametrize("reader", IN_FOLDERS)
def test_no_reader_of_a_folder_waits_for_a_pipe_or_a_device_in_it(tmp_path, reader, make):
    name, read = IN_FOLDERS[reader]
    (tmp_path / name).parent.mkdir(exist_ok=True)
    make(tmp_path / name)
    said = tried(read, tmp_path)
    assert said == "" or Path(name).name in said or reader == "lacking"


def test_a_link_to_a_file_is_a_file(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([1]))
    (tmp_path / "b.json").symlink_to("a.json")
    assert read_json(tmp_path / "b.json") == [1]
