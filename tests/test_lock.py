"""One at a time, also when holders die or the file system has no locks."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from filelock import SoftFileLease

from assignbench.errors import SystemProblem
from assignbench.lock import Rhythm, Taken, exclusive, holder_of, patiently

ROOT = Path(__file__).parents[1]
HOLD = """
import sys, time
from pathlib import Path
from assignbench.lock import Rhythm, exclusive
with exclusive(Path(sys.argv[1]), bool, Rhythm(0.02, 0.1, 60)):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / ".set.lease"


def foreign(path: Path, pid: int = 7, host: str = "far") -> None:
    """The lease of another machine."""
    path.write_text(f"filelock/2\npid={pid}\nhost={host}\nmode=lease\ntoken=t\nduration=0.6\n")


def test_it_is_held_and_given_back(path, often):
    for _ in range(2):
        with exclusive(path, pytest.fail, often):
            assert path.exists()
        assert not path.exists()


def test_it_is_given_back_after_an_error(path, often):
    with pytest.raises(ZeroDivisionError), exclusive(path, pytest.fail, often):
        raise ZeroDivisionError
    assert not path.exists()


def test_threads_take_turns(path, often):
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


def test_a_holder_that_was_killed_is_followed_at_once(path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    assert holder_of(path) == f"process {process.pid} on {socket.gethostname()}"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert path.exists()
    assert holder_of(path) is None
    start = time.monotonic()
    with exclusive(path, lambda _: True, Rhythm(poll=0.02, beat=0.1, dead=60)):
        pass
    assert time.monotonic() - start < 5


def test_the_lease_of_another_machine_is_kept_while_it_is_touched(path, often):
    foreign(path)
    told = []
    done = threading.Event()

    def beat():  # longer than `dead`, then gone
        for _ in range(12):
            os.utime(path)
            time.sleep(0.1)
        path.unlink()
        done.set()

    thread = threading.Thread(target=beat)
    thread.start()
    with exclusive(path, patiently(told.append), often):
        assert done.is_set()
    thread.join()
    assert told == ["process 7 on far"]


@pytest.mark.parametrize("content", ["", "{", None])
def test_a_lease_that_nobody_touches_is_void(path, often, content):
    foreign(path) if content is None else path.write_text(content)
    start = time.monotonic()
    with exclusive(path, lambda _: True, often):
        assert time.monotonic() - start >= often.dead
        assert holder_of(path) == f"process {os.getpid()} on {socket.gethostname()}"


def test_the_holder_touches_its_lease(path, often):
    with exclusive(path, pytest.fail, often):
        first = path.stat().st_mtime_ns
        time.sleep(3 * often.beat)
        assert path.stat().st_mtime_ns > first


def test_a_lease_that_was_taken_over_is_not_removed(path, often):
    with exclusive(path, pytest.fail, often):
        path.unlink()
        foreign(path)
    assert holder_of(path) == "process 7 on far"


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(SystemProblem, match=r"cannot lock .*file/\.set\.lease"),
        exclusive(tmp_path / "file" / ".set.lease", bool),
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


CRASH = """
import os, sys
handle = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_EXCL)  # the first half of taking a lease
os._exit(9)
"""


def test_a_pipe_in_the_place_of_a_lease_is_refused_and_not_waited_for(path):
    os.mkfifo(path)
    with pytest.raises(SystemProblem, match=r"cannot lock .*lease: it is a device or a pipe"), exclusive(path, bool):
        pass


def test_an_empty_lease_of_a_crash_holds_nobody_up(path):
    assert subprocess.run([sys.executable, "-c", CRASH, str(path)], check=False).returncode == 9
    assert path.read_bytes() == b""
    start = time.monotonic()
    with exclusive(path, lambda _: True):
        assert holder_of(path) == f"process {os.getpid()} on {socket.gethostname()}"
    assert time.monotonic() - start < 15
    assert not path.exists()


@pytest.mark.parametrize("pause", [0.3, 5.0], ids=["slow", "halted"])
def test_who_is_halted_between_making_and_writing_a_lease_is_no_second_holder(path, monkeypatch, pause):
    """By a stop signal or a network disk: it has made the file, and writes into it when others have given it up."""
    real, made = SoftFileLease._write_lock_info, threading.Event()

    def halting(self: SoftFileLease, handle: int) -> None:
        if not made.is_set():
            made.set()
            time.sleep(pause)
        real(self, handle)

    monkeypatch.setattr(SoftFileLease, "_write_lock_info", halting)
    rhythm = Rhythm(poll=0.05, beat=0.5, dead=30)
    inside, most, order = [0], [0], []

    def work(name: str, long: float) -> None:
        with exclusive(path, lambda _: True, rhythm):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            order.append(name)
            time.sleep(long)
            inside[0] -= 1

    halted = threading.Thread(target=work, args=("halted", 0.1))
    halted.start()
    assert made.wait(5)
    other = threading.Thread(target=work, args=("other", 4.0))
    other.start()
    halted.join()
    other.join()
    assert most == [1]
    assert order == (["halted", "other"] if pause < 1 else ["other", "halted"])
    assert list(path.parent.iterdir()) == []
