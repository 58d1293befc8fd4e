"""One at a time, also when holders die or the file system has no locks."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock

from assignbench import lock as module
from assignbench.errors import SystemProblem
from assignbench.lock import Rhythm, Taken, exclusive, holder_of, patiently

ROOT = Path(__file__).parents[1]
HOLD = """
import sys, time
from pathlib import Path
from assignbench.lock import Rhythm, exclusive
with exclusive(Path(sys.argv[1]), bool, Rhythm(0.02, 0.1, 0.6)):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / ".set.lock"


@pytest.fixture
def lease(path):
    return path.with_name(".set.lock.lease")


@pytest.fixture
def no_flock(monkeypatch):
    """A file system without locks, or one that keeps them to each machine."""
    monkeypatch.setattr(FileLock, "acquire", lambda *_, **__: (_ for _ in ()).throw(OSError(37, "No locks available")))


def foreign(lease: Path) -> None:
    """The lease of another machine."""
    lease.write_text(json.dumps({"host": "far", "pid": 7, "machine": "another", "token": "t"}))


def test_it_is_held_and_given_back(path, lease, often):
    with exclusive(path, pytest.fail, often):
        assert json.loads(lease.read_text())["pid"] == os.getpid()
    assert not lease.exists()
    with exclusive(path, pytest.fail, often):
        pass


def test_it_is_given_back_after_an_error(path, lease, often):
    with pytest.raises(ZeroDivisionError), exclusive(path, pytest.fail, often):
        raise ZeroDivisionError
    assert not lease.exists()


@pytest.mark.parametrize("locks", [True, False])
def test_threads_take_turns(path, often, locks, request):
    if not locks:
        request.getfixturevalue("no_flock")
    inside, most, told = [0], [0], []

    def work():
        with exclusive(path, patiently(told.append), often):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.05)
            inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert told
    assert all(line.startswith(("process", "another process")) for line in told)


def test_a_holder_that_was_killed_is_followed_at_once(path, lease):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert lease.exists()
    start = time.monotonic()
    with exclusive(path, pytest.fail, Rhythm(poll=0.02, beat=0.1, dead=60)):
        assert json.loads(lease.read_text())["pid"] == os.getpid()
    assert time.monotonic() - start < 5


def test_the_lease_of_another_machine_is_kept_while_it_is_touched(path, lease, often):
    foreign(lease)
    told = []
    done = threading.Event()

    def beat():  # longer than `dead`, then gone
        for _ in range(12):
            os.utime(lease)
            time.sleep(0.1)
        lease.unlink()
        done.set()

    thread = threading.Thread(target=beat)
    thread.start()
    with exclusive(path, patiently(told.append), often):
        assert done.is_set()
    thread.join()
    assert told == ["process 7 on far"]


@pytest.mark.parametrize("content", ["", "{", None])
def test_a_lease_that_nobody_touches_is_void(path, lease, often, content):
    foreign(lease) if content is None else lease.write_text(content)
    start = time.monotonic()
    with exclusive(path, lambda _: True, often):
        assert time.monotonic() - start >= often.dead
        assert json.loads(lease.read_text())["pid"] == os.getpid()


def test_the_holder_touches_its_lease(path, lease, often):
    with exclusive(path, pytest.fail, often):
        first = lease.stat().st_mtime_ns
        time.sleep(3 * often.beat)
        assert lease.stat().st_mtime_ns > first


def test_a_lease_that_was_taken_over_is_not_removed(path, lease, often):
    with exclusive(path, pytest.fail, often):
        foreign(lease)
    assert json.loads(lease.read_text())["host"] == "far"


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(SystemProblem, match=r"cannot lock .*file/\.set\.lock"),
        exclusive(tmp_path / "file" / ".set.lock", bool),
    ):
        pass


def test_who_does_not_want_to_wait_is_told_the_holder(path, often):
    assert holder_of(path) is None
    with exclusive(path, pytest.fail, often):
        assert holder_of(path) == f"process {os.getpid()} on {socket.gethostname()}"
        with pytest.raises(Taken, match=f"process {os.getpid()} on "), exclusive(path, lambda _: False, often):
            pytest.fail("two hold it")
    with exclusive(path, pytest.fail, often):
        pass


def test_a_dead_process_holds_nothing(path, lease):
    with exclusive(path, pytest.fail):
        left = json.loads(lease.read_text())
    child = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    lease.write_text(json.dumps({**left, "pid": int(child.stdout)}))
    assert holder_of(path) is None
    lease.write_text(json.dumps({**left, "pid": int(child.stdout), "machine": "another"}))
    assert holder_of(path) == f"process {int(child.stdout)} on {left['host']}"


def test_the_kernel_is_the_machine():
    assert module._machine() == module._machine() != ""
