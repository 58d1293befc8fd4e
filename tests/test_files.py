import errno
import json
import math
import os
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from assignbench import files
from assignbench.errors import RunError, SystemProblem

ROOT = Path(__file__).parents[1]


def test_text_is_written_and_replaced(tmp_path):
    file = tmp_path / "new" / "note.txt"
    files.write_text_atomic(file, "σ one\n")
    files.write_text_atomic(file, "two\n")
    assert file.read_text(encoding="utf-8") == "two\n"
    assert [entry.name for entry in file.parent.iterdir()] == ["note.txt"]


def test_others_may_read_what_the_umask_allows(tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("x")
    files.write_text_atomic(tmp_path / "atomic", "x")
    assert (tmp_path / "atomic").stat().st_mode == plain.stat().st_mode


def _fail(*_args, **_kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("step", ["write", "flush to disk", "rename"])
def test_a_full_disk_keeps_the_old_file(tmp_path, monkeypatch, step):
    file = tmp_path / "record.json"
    file.write_text("old")
    if step == "write":
        real = Path.open

        def half_open(path, *args, **kwargs):
            handle = real(path, *args, **kwargs)
            handle.write("ha")
            monkeypatch.setattr(handle, "write", _fail, raising=False)
            return handle

        monkeypatch.setattr(Path, "open", half_open)
    elif step == "flush to disk":
        monkeypatch.setattr(files.os, "fsync", _fail)
    else:
        monkeypatch.setattr(Path, "replace", _fail)
    with pytest.raises(SystemProblem, match=r"record\.json: No space left"):
        files.write_text_atomic(file, "new")
    monkeypatch.undo()
    assert file.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["record.json"]


def test_an_interrupt_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    file = tmp_path / "record.json"
    file.write_text("old")

    def interrupt(_handle):
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.write_text_atomic(file, "new")
    assert file.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["record.json"]


KILLED = """
import os, signal, sys
from pathlib import Path
from assignbench.files import written
with written(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    temporary.with_name("stray of the writer").touch()
    print("writing", flush=True)
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("clock", [-1e6, 0, 1e6], ids=["behind", "right", "ahead"])
def test_what_a_killed_process_left_is_taken_away_and_what_another_writes_is_not_whatever_the_clock_says(
    tmp_path, monkeypatch, clock
):
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + clock)
    file = tmp_path / "record.json"
    arguments = [sys.executable, "-c", KILLED, str(file)]
    with subprocess.Popen(arguments, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        files.write_text_atomic(file, "whole")
        assert file.read_text() == "whole"
        assert {path.name for path in tmp_path.iterdir()} == {"record.json", ".record.json.tmp"}
        process.communicate("")
    assert (tmp_path / ".record.json.tmp").is_dir()
    files.write_text_atomic(file, "whole again")
    assert file.read_text() == "whole again"
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_many_writers_of_one_file_leave_one_whole_version(tmp_path):
    file, versions = tmp_path / "note.txt", [letter * 100_000 for letter in "abcd"]
    threads = [threading.Thread(target=files.write_text_atomic, args=(file, text)) for text in versions * 5]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert file.read_text() in versions
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_that_others_write_and_fail_to(tmp_path):
    file = tmp_path / "deep" / "numbers.npy"
    with files.written(file) as temporary, temporary.open("wb") as stream:
        np.save(stream, np.arange(3))
    assert np.load(file).tolist() == [0, 1, 2]
    with pytest.raises(ZeroDivisionError), files.written(file) as temporary:
        temporary.write_bytes(b"half" * (1 // 0))
    assert np.load(file).tolist() == [0, 1, 2]
    assert list(file.parent.iterdir()) == [file]


def test_a_folder_is_whole_or_absent(tmp_path):
    folder = tmp_path / "set"
    with pytest.raises(ZeroDivisionError), files.written_folder(folder) as temporary:
        (temporary / "a").write_bytes(b"half" * (1 // 0))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".set.tmp").mkdir()
    (tmp_path / ".set.tmp" / "half").touch()  # of a process that was killed
    with files.written_folder(folder) as temporary:
        (temporary / "a").touch()
    assert [path.name for path in folder.iterdir()] == ["a"]
    quicker = pytest.raises(SystemProblem, match=r"cannot write .*set: Directory not empty")
    with quicker, files.written_folder(folder) as temporary:
        (temporary / "b").touch()
    assert [path.name for path in folder.iterdir()] == ["a"]
    assert list(tmp_path.iterdir()) == [folder]


def test_an_impossible_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemProblem, match=r"file.inside\.txt"):
        files.write_text_atomic(tmp_path / "file" / "inside.txt", "x")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_json_never_holds_nan_and_names_the_key(tmp_path, value):
    with pytest.raises(RunError, match=r"losses\.1\.box is not a finite number"):
        files.write_json_atomic(tmp_path / "a.json", {"step": 1, "losses": [{"box": 1.0}, {"box": value}]})
    assert not (tmp_path / "a.json").exists()


def test_json_survives_the_round_trip(tmp_path):
    content = {"text": "σ ±", "number": 0.1 + 0.2, "none": None, "list": [1, True]}
    files.write_json_atomic(tmp_path / "a.json", content)
    assert files.read_json(tmp_path / "a.json") == content


@pytest.mark.parametrize("text", ["", "{", "[NaN]", '{"a": Infinity}', "\udcff"])
def test_damaged_json_is_refused_by_name(tmp_path, text):
    (tmp_path / "a.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(RunError, match=r"a\.json is damaged"):
        files.read_json(tmp_path / "a.json")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RunError, match=r"missing\.json: No such file"):
        files.read_json(tmp_path / "missing.json")
    with pytest.raises(RunError, match=r"missing\.json: No such file"):
        files.sha256_of(tmp_path / "missing.json")


def test_digest_of_known_bytes(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert files.sha256_of(tmp_path / "abc").startswith("ba7816bf8f01cfea")


def test_json_text_is_readable_by_eye(tmp_path):
    files.write_json_atomic(tmp_path / "a.json", {"mu": "μ"})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == json.dumps(
        {"mu": "μ"}, indent=2, ensure_ascii=False
    ) + "\n"


def test_a_link_keeps_standing_for_its_file(tmp_path: Path):
    (tmp_path / "file.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "file.txt")
    files.write_text_atomic(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "file.txt").read_text() == "new"


def test_a_device_is_written_through_and_stays_one(tmp_path):
    (tmp_path / "link").symlink_to("/dev/null")
    for place in (Path("/dev/null"), tmp_path / "link"):
        files.write_text_atomic(place, "text")
    assert (tmp_path / "link").is_symlink()
    assert Path("/dev/null").is_char_device()
    assert list(tmp_path.iterdir()) == [tmp_path / "link"]


def test_a_folder_is_no_place_for_a_file(tmp_path):
    with pytest.raises(SystemProblem, match="is a folder, not a file"):
        files.write_text_atomic(tmp_path, "text")


def test_a_pipe_is_written_through_or_refused_when_nobody_reads(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    with pytest.raises(SystemProblem, match="pipe that nobody reads"):
        files.write_text_atomic(tmp_path / "link", "text")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    files.write_text_atomic(tmp_path / "link", "text")
    assert os.read(reader, 100) == b"text"
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "link").is_symlink()
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", "link"}


@pytest.mark.parametrize("place", ["/dev/fd/{}", "/proc/self/fd/{}"])
def test_an_open_descriptor_goes_on_where_it_is(tmp_path, place):
    file = tmp_path / "log"
    with file.open("wb") as log:
        log.write(b"before\n")
        log.flush()
        (tmp_path / "link").symlink_to(place.format(log.fileno()))
        files.write_text_atomic(Path(place.format(log.fileno())), "one\n")
        files.write_text_atomic(tmp_path / "link", "two\n")
        log.write(b"after\n")
    assert file.read_text() == "before\none\ntwo\nafter\n"
    with pytest.raises(SystemProblem, match="Bad file descriptor"):
        files.write_text_atomic(Path("/dev/fd/987"), "text")


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_every_writer_s_file_has_the_mode_that_the_umask_gives(tmp_path, umask):
    def private(temporary: Path) -> None:  # as safetensors writes: its own file of mode 600, renamed
        handle, name = tempfile.mkstemp(dir=temporary.parent)
        os.close(handle)
        Path(name).replace(temporary)

    before = os.umask(umask)
    try:
        with files.written(tmp_path / "file") as temporary:
            private(temporary)
        with files.written_folder(tmp_path / "folder") as staged, files.written(staged / "file") as temporary:
            private(temporary)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~umask
    assert stat.S_IMODE((tmp_path / "folder" / "file").stat().st_mode) == 0o666 & ~umask
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o777 & ~umask


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")], ids=["pipe", "device"])
def test_a_pipe_or_a_device_in_the_place_of_a_file_is_refused_and_not_waited_for(tmp_path, make):
    make(tmp_path / "a.json")
    for read in (files.read_json, files.sha256_of):
        with pytest.raises(RunError, match=r"a\.json: it is a device or a pipe, not a file"):
            read(tmp_path / "a.json")
