import hashlib
import json
import socket
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO

import pytest
from rich.console import Console

from assignbench import disk
from assignbench.cli import progress
from assignbench.cli.progress import Progress


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def spec(tmp_path, monkeypatch):
    """A YAML file whose one archive lies on a server of ours."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    offered, root = tmp_path / "offered", tmp_path / "root"
    offered.mkdir()
    root.mkdir()
    archive = offered / "val.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("i/1.jpg", b"1" * 2000)
        opened.writestr("a.json", b"{}")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(offered)))
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01))
    thread.start()
    content = archive.read_bytes()
    part = {"annotations": "set/a.json", "images": "set/i"}
    source = {
        "file": "val.zip",
        "urls": [f"http://127.0.0.1:{server.server_port}/val.zip"],
        "size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "unpack_to": "set",
        "needs": ["set/a.json", "set/i"],
        "split": "val",
    }
    file = root / "mine.yaml"
    about = {"licence": "CC0", "homepage": "http://home"}
    file.write_text(json.dumps({"format": "coco", "train": part, "evaluation": part, "sources": [source], **about}))
    yield file
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def no_sockets(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_fetched_unpacked_and_told(call, spec):
    code, out, err = call("data", "prepare", str(spec))
    assert code == 0
    assert (spec.parent / "set" / "i" / "1.jpg").read_bytes() == b"1" * 2000
    assert "licence: CC0 (http://home)" in out
    assert f"mine is complete in {spec.parent}" in out
    assert "archives are kept in" in out
    assert err.splitlines()[0].startswith("downloading val.zip, ")
    assert "val.zip: 2 files, 2.0 kB, unpacked" in err
    code, out, err = call("data", "prepare", str(spec), "--remove-archives")
    assert (code, err) == (0, "")
    assert "archives are kept" not in out


def test_json_for_scripts(call, spec):
    code, out, _ = call("data", "prepare", str(spec), "--json")
    content = json.loads(out)
    assert code == 0
    assert content["complete"] is True
    assert content["downloaded"] == content["unpacked"] == ["val.zip"]
    assert content["sources"][0]["state"] == "there"
    assert content["sources"][0]["to_fetch"] == 0


def test_json_when_it_fails(call, spec):
    code, out, err = call("data", "prepare", str(spec), "--json", "--offline")
    content = json.loads(out)
    assert code == 3
    assert content["complete"] is False
    assert content["sources"][0]["state"] == "absent"
    assert content["sources"][0]["archive"] == str(spec.parent / "archives" / "mine" / "val.zip")
    assert err.startswith("error: mine is not complete: a file is missing, and --offline downloads nothing")


def test_a_dry_run_changes_nothing(call, spec, no_sockets):
    code, out, _ = call("data", "prepare", str(spec), "--dry-run")
    assert code == 0
    row = next(line for line in out.splitlines() if "val.zip" in line)
    assert "absent" in row
    assert "sha256" in row
    assert "needed" in out
    assert [path.name for path in spec.parent.iterdir()] == [spec.name]


@pytest.mark.parametrize("name", ["coco", "voc"])
def test_offline_names_files_of_the_built_in_ones(call, tmp_path, no_sockets, name):
    code, out, err = call("data", "prepare", name, "--data-root", str(tmp_path), "--offline")
    assert (code, out) == (3, "")
    assert f"{tmp_path}/archives/{name}/" in err
    assert "bytes, " in err
    assert "from http" in err
    assert list(tmp_path.iterdir()) == []


def test_offline_with_the_archive_in_place(call, spec, no_sockets):
    place = spec.parent / "archives" / "mine"
    place.mkdir(parents=True)
    (spec.parents[1] / "offered" / "val.zip").rename(place / "val.zip")
    assert call("data", "prepare", str(spec), "--offline")[0] == 0


def test_shapes_are_nothing_to_fetch(call, tmp_path, no_sockets):
    code, out, _ = call("data", "prepare", "shapes", "--data-root", str(tmp_path), "--dry-run")
    assert code == 0
    assert "shapes is drawn: nothing to download" in out
    content = json.loads(call("data", "prepare", "shapes", "--data-root", str(tmp_path), "--dry-run", "--json")[1])
    assert content["complete"] is None


def test_what_is_gone_is_exit_3_what_the_network_lacks_exit_4(call, spec, monkeypatch):
    text = spec.read_text()
    spec.write_text(text.replace("/val.zip", "/gone.zip"))
    code, _, err = call("data", "prepare", str(spec))
    assert code == 3
    assert "answers 404" in err
    assert "put these files there by hand" in err
    spec.write_text(text.replace("127.0.0.1", "nowhere.invalid"))

    def no_names(*_, **__):
        raise socket.gaierror(socket.EAI_AGAIN, "no network")

    monkeypatch.setattr(socket, "getaddrinfo", no_names)
    code, _, err = call("data", "prepare", str(spec))
    assert code == 4
    assert "put these files there by hand" in err
    assert "Traceback" not in err


def test_a_small_disk_is_exit_4(call, spec, monkeypatch):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
    code, _, err = call("data", "prepare", str(spec))
    assert code == 4
    assert "only 10 bytes are free" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["coc"], "unknown data set 'coc'; did you mean coco?"),
        (["coco:here"], "a folder of yours"),
        (["missing.yaml"], "missing.yaml: cannot be read"),
        (["coco", "--split", "tets"], "did you mean test?"),
        (["mine.yaml", "--data-root", "x"], "--data-root is for built-in data sets"),
    ],
)
def test_wrong_usage_is_exit_2(call, arguments, message):
    code, _, err = call("data", "prepare", *arguments)
    assert code == 2
    assert message in err


def test_without_sources_it_says_what_must_lie_where(call, spec):
    content = json.loads(spec.read_text())
    del content["sources"]
    spec.write_text(json.dumps(content))
    code, out, err = call("data", "prepare", str(spec))
    assert (code, out) == (3, "")
    assert "no address is known that gives its files; http://home" in err
    assert str(spec.parent / "set" / "a.json") in err
    (spec.parent / "set" / "i").mkdir(parents=True)
    (spec.parent / "set" / "a.json").touch()
    code, out, _ = call("data", "prepare", str(spec))
    assert code == 0
    assert "is complete" in out


def test_sources_that_do_not_hold_what_is_read(call, spec):
    spec.write_text(spec.read_text().replace('"annotations": "set/a.json"', '"annotations": "set/b.json"'))
    code, _, err = call("data", "prepare", str(spec))
    assert code == 3
    assert "all archives were unpacked, yet" in err
    assert "set/b.json is missing" in err


def test_plain_lines_come_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr(progress, "EVERY", 0.0)
    with Progress().track("downloading x", 2_000_000, 500_000) as advance:
        advance(1_000_000)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "downloading x, 2.0 MB, from 500.0 kB on"
    assert lines[1].startswith("downloading x: 1.0 MB of 2.0 MB, ")
    assert lines[2] == "downloading x: 1.0 MB, done"


def test_a_bar_in_a_terminal():
    shown = Progress()
    text = StringIO()
    shown._console = Console(file=text, force_terminal=True, width=100)
    with shown.track("downloading x", 2_000_000) as advance:
        advance(1_000_000)
    assert "downloading x" in text.getvalue()
    assert "1.0/2.0 MB" in text.getvalue()


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (999_960, "1.0 MB"), (10**16, "10000.0 TB")],
)
def test_sizes_as_people_write_them(count, text):
    assert disk.human(count) == text
