"""From nothing, or from anything that was left behind, to a whole data set."""

import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from assignbench.data.prepare import prepare as module
from assignbench.data.prepare import unpack
from assignbench.data.prepare.plan import plan
from assignbench.data.prepare.prepare import prepare
from assignbench.data.prepare.web import Answer
from assignbench.errors import DataError, SystemProblem, UsageError
from assignbench.paths import configs_folder

ROOT = Path(__file__).parents[3]


@pytest.fixture
def run(offered, notes, hasty, often):
    def run(**options):
        return prepare(offered.plan, notes, patience=hasty, rhythm=often, **options)

    return run


def test_everything_is_fetched_and_laid_down(offered, run, notes):
    outcome = run()
    assert offered.found() == offered.content
    assert outcome.downloaded == outcome.unpacked == ["train.tar", "test.tar.gz", "extra.zip"]
    assert outcome.removed == []
    assert {path.name for path in (offered.file.parent / "archives" / "mine").iterdir()} == set(outcome.downloaded)
    assert "train.tar: 61 files" in notes.text


def test_what_is_there_is_left_alone(offered, run, publisher):
    run()
    asked = len(publisher.asked)
    mine = offered.file.parent / "set" / "V" / "00train.txt"
    mine.write_text("edited")
    assert run().downloaded == []
    assert len(publisher.asked) == asked
    assert mine.read_text() == "edited"


def test_a_read_only_folder_that_is_whole_is_fine(offered, run, monkeypatch):
    run()
    monkeypatch.setattr(module, "exclusive", lambda *_: pytest.fail("locked"))
    assert run().unpacked == []


def test_archives_are_removed_one_by_one_when_asked(offered, run):
    outcome = run(keep_archives=False)
    assert outcome.removed == outcome.downloaded
    assert list((offered.file.parent / "archives" / "mine").iterdir()) == []
    assert offered.found() == offered.content


def test_archives_of_a_whole_data_set_are_removed_when_asked(offered, run):
    run()
    assert len(run(keep_archives=False).removed) == 3
    assert offered.found() == offered.content


@pytest.mark.parametrize(
    ("lost", "laid"),
    [
        ("set/V/00train.txt", ["train.tar"]),
        ("set/V/J/101.jpg", ["train.tar", "test.tar.gz"]),  # a folder that both fill: nobody knows whose is missing
        ("set/own", ["extra.zip"]),
    ],
)
def test_a_part_that_is_missing_is_laid_down_again(offered, run, lost, laid):
    run()
    path = offered.file.parent / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    outcome = run()
    assert outcome.downloaded == []
    assert outcome.unpacked == laid
    assert offered.found() == offered.content


def test_archives_laid_by_hand_are_used(offered, run, publisher):
    place = offered.file.parent / "archives" / "mine"
    place.mkdir(parents=True)
    for name, content in publisher.files.items():
        (place / name.strip("/")).write_bytes(content)
    assert run(offline=True).downloaded == []
    assert offered.found() == offered.content
    assert publisher.asked == []


def test_a_wrong_archive_laid_by_hand_is_named_and_kept(offered, run):
    place = offered.file.parent / "archives" / "mine"
    place.mkdir(parents=True)
    (place / "train.tar").write_bytes(b"mine")
    with pytest.raises(DataError, match=r"train\.tar is not the published file: 4 bytes, expected .*remove it"):
        run()
    assert (place / "train.tar").read_bytes() == b"mine"


def test_offline_opens_no_socket_and_says_what_belongs_where(offered, run, publisher, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a socket was opened")

    place = offered.file.parent / "archives" / "mine"
    place.mkdir(parents=True)
    (place / "train.tar").write_bytes(publisher.files["/train.tar"])
    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(AssertionError, match="a socket"):  # the guard works
        run()
    with pytest.raises(DataError) as caught:
        run(offline=True)
    text = str(caught.value)
    assert "2 files are missing, and --offline downloads nothing" in text
    assert "http://home" in text
    for source in offered.plan.steps[1:]:
        assert str(source.archive) in text
        assert f"{source.source.size:,} bytes, sha256 {source.source.sha256}" in text
        assert source.source.urls[0] in text
    assert "train.tar" not in text.replace("train.tar.gz", "")
    assert (offered.file.parent / "set" / "V" / "00train.txt").is_file(), "what was there was unpacked"


def test_without_a_network_it_says_the_same_after_trying(offered, run, monkeypatch):
    def no_names(*_, **__):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", no_names)
    with pytest.raises(SystemProblem) as caught:
        run()
    assert "no network" in str(caught.value)
    assert all(str(step.archive) in str(caught.value) for step in offered.plan.steps)


def test_what_the_publisher_withdrew_is_a_matter_of_data(offered, run, publisher, spoil):
    publisher.script.append(spoil.status(404))
    with pytest.raises(DataError, match=r"answers 404(.|\n)*put these files there by hand"):
        run()


def test_a_source_without_address_is_for_the_hand(offered, run):
    offered.edit(urls=[])
    with pytest.raises(DataError, match=r"a file is missing, and no address is known(.|\n)*the publisher, see"):
        run()
    assert (offered.file.parent / "set" / "own").is_dir(), "the others were fetched"


def test_only_the_split_that_is_asked_for(offered, notes, hasty):
    with pytest.raises(UsageError, match="no split 'mor'; did you mean more"):
        plan(str(offered.file), offered.file.parent, ["mor"])
    steps = plan(str(offered.file), offered.file.parent, ["more"]).steps
    assert [step.source.file for step in steps] == ["train.tar", "test.tar.gz", "extra.zip"]  # no split: always
    offered.edit(split="test", optional=True)
    steps = offered.plan.steps
    assert [step.source.file for step in steps] == ["test.tar.gz", "extra.zip"]
    steps = plan(str(offered.file), offered.file.parent, ["test"]).steps
    assert [step.source.file for step in steps] == ["train.tar", "test.tar.gz"]


def test_an_archive_of_other_content_reaches_nothing(offered, run, publisher, pack):
    publisher.files["/train.tar"] = content = pack.tar({"V/J/x.jpg": b"1"})
    offered.edit(size=len(content), sha256=None)
    with pytest.raises(DataError, match=r"train\.tar does not hold what it should: set/V/00train\.txt is missing"):
        run()
    assert offered.found() == {}


def test_too_few_files_reach_nothing(offered, run):
    offered.edit(counts={"set/V/J": 31})
    with pytest.raises(DataError, match="set/V/J holds 30 files, not 31"):
        run()
    assert offered.found() == {}


def test_evil_archives_reach_nothing(offered, run, publisher, pack):
    publisher.files["/train.tar"] = content = pack.tar({"V/00train.txt": b"1", "../../evil": b"2"})
    offered.edit(size=len(content), sha256=None, counts={})
    with pytest.raises(DataError, match="leaves its folder"):
        run()
    assert offered.found() == {}
    assert not list(offered.file.parent.parent.rglob("*evil*"))


def test_a_full_disk_while_unpacking_reaches_nothing(offered, run, monkeypatch):
    real = unpack.blocks

    def full(archive, member):
        yield from real(archive, member)
        if member.name.endswith("010.jpg"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(unpack, "blocks", full)
    with pytest.raises(SystemProblem, match=r"010\.jpg: No space left on device"):
        run()
    assert offered.found() == {}
    monkeypatch.undo()
    run()
    assert offered.found() == offered.content


def test_an_interruption_keeps_what_came_and_gives_the_lock_back(offered, run, monkeypatch):
    def interrupted(answer):
        yield answer.body.read1(1000)
        raise KeyboardInterrupt

    monkeypatch.setattr(Answer, "blocks", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run()
    root = offered.file.parent
    assert (root / "archives" / "mine" / "train.tar.part").stat().st_size == 1000
    assert not list(root.glob("*.lease"))
    monkeypatch.undo()
    run()
    assert offered.found() == offered.content


def test_too_small_a_disk_is_said_first(offered, run, publisher, monkeypatch):
    monkeypatch.setattr("assignbench.data.prepare.plan.free_bytes", lambda _: 200_000)
    with pytest.raises(SystemProblem, match=r"about .* are needed, but only 200\.0 kB are free"):
        run()
    assert publisher.asked == []
    sizes = [step.source.size for step in offered.plan.steps]
    monkeypatch.setattr("assignbench.data.prepare.plan.free_bytes", lambda _: sum(sizes) + max(sizes))
    with pytest.raises(SystemProblem, match="are enough with --remove-archives"):
        run()
    run(keep_archives=False)
    assert offered.found() == offered.content


def test_shapes_are_drawn(tmp_path, notes):
    file = tmp_path / "small.yaml"
    text = (configs_folder() / "datasets" / "shapes.yaml").read_text()
    file.write_text(text.replace("train: 500", "train: 2").replace("evaluation: 120", "evaluation: 1"))
    prepare(plan(str(file), tmp_path), notes)
    assert len(list(tmp_path.glob("shapes-*/train/*.jpg"))) == 2


# -- killed at any instant ------------------------------------------------------------------------------------------

DIE = """
import os, signal, sys
from pathlib import Path
from assignbench.data.prepare import download, publish, unpack, prepare, plan
from assignbench.data.prepare.download import Patience
from assignbench.data.prepare.web import Answer

class Silent:
    def say(self, line): print(line, flush=True)
    def track(self, what, total, done=0):
        import contextlib
        return contextlib.nullcontext(lambda count: None)

def dying(owner, name, calls):
    real = getattr(owner, name)
    left = [calls]
    def wrapped(*arguments, **keys):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **keys)
    setattr(owner, name, wrapped)

where, calls, file = sys.argv[1], int(sys.argv[2]), sys.argv[3]
owners = {"Path.replace": (Path, "replace"), "member": (unpack, "_write"), "note": (download, "write_json_atomic"),
          "check": (download, "check_file"), "sync": (os, "sync"), "publish": (prepare, "publish"),
          "rmtree": (prepare.shutil, "rmtree"), "unlink": (Path, "unlink"), "never": (os, "getlogin")}
if where == "block":
    real = Answer.blocks
    def blocks(self):
        for number, block in enumerate(real(self)):
            if number == calls:
                os.kill(os.getpid(), signal.SIGKILL)
            yield block
    Answer.blocks = blocks
else:
    dying(*owners[where], calls)
chosen = plan.plan(file, Path(file).parent)
prepare.prepare(chosen, Silent(), keep_archives="remove" not in sys.argv, patience=Patience(timeout=5, pause=0.01))
"""


def die(file: Path, where: str, calls: int, *more: str) -> subprocess.CompletedProcess[str]:
    """Run a preparation that kills itself at the given call."""
    command = [sys.executable, "-c", DIE, where, str(calls), str(file), *more]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


MOMENTS = [
    ("note", 0),  # before anything is known of a download
    ("block", 3),
    ("check", 0),  # all bytes are there, unchecked
    ("Path.replace", 1),  # before the archive gets its name
    ("member", 80),
    ("sync", 0),  # unpacked, not in place
    ("Path.replace", 2),  # before the first move into place
    ("Path.replace", 20),  # halfway through the second merging
    ("rmtree", 1),
]


@pytest.mark.parametrize(("where", "calls"), MOMENTS)
def test_killed_and_run_again_it_is_whole(offered, run, where, calls):
    end = die(offered.file, where, calls)
    assert end.returncode == -signal.SIGKILL, end.stderr
    for step in offered.plan.steps:  # nothing looks whole that is not
        if step.lacking() is None:
            inside = [name for name in offered.content if _of(step.source.file, name)]
            assert {name: offered.found().get(name) for name in inside} == {
                name: offered.content[name] for name in inside
            }
    run()
    assert offered.found() == offered.content


def _of(archive: str, name: str) -> bool:
    if archive == "extra.zip":
        return "/own/" in name
    second = "/1" in name or name.endswith("test.txt")
    return "/own/" not in name and second == (archive == "test.tar.gz")


def test_killed_while_archives_are_removed(offered, run):
    end = die(offered.file, "unlink", 5, "remove")
    assert end.returncode == -signal.SIGKILL, end.stderr
    run(keep_archives=False)
    assert offered.found() == offered.content


def test_a_download_that_was_killed_goes_on(offered, run, publisher, spoil):
    """The third file, of about 1 MB, whose transfer hangs: killed there, then run again."""
    publisher.files["/extra.zip"] = content = publisher.files["/extra.zip"]
    publisher.script.extend([spoil.serve, spoil.serve, spoil.stall(3000)])
    process = subprocess.Popen(
        [sys.executable, "-c", DIE, "never", "0", str(offered.file)], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    part = offered.file.parent / "archives" / "mine" / "extra.zip.part"
    for _ in range(1000):
        if part.exists() and part.stat().st_size:
            break
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    kept = part.stat().st_size
    assert kept == 3000
    run()
    assert publisher.asked[-1].headers["Range"] == f"bytes={kept}-"
    assert offered.found() == offered.content
    assert content == (part.parent / "extra.zip").read_bytes()


def test_two_at_once_one_downloads_both_have_the_data(offered, publisher, spoil):
    def slow(handler):
        time.sleep(0.7)
        spoil.serve(handler)

    publisher.script.extend([slow] * 3)
    command = [sys.executable, "-c", DIE, "never", "0", str(offered.file)]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    ends = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], ends
    assert len(publisher.asked) == 3, "one of them downloads"
    assert offered.found() == offered.content
    assert sum("waiting for process" in out for out, _ in ends) >= 1


def test_the_moments_are_real(offered):
    """The self-killing script ends well when it is not told to die."""
    end = die(offered.file, "never", 0)
    assert end.returncode == 0, end.stderr
    assert offered.found() == offered.content
