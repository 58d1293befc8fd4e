"""Whatever a server does, the file in its place is the published one."""

import hashlib
import json
import socket
import zlib

import pytest

from assignbench.data.prepare import download as module
from assignbench.data.prepare.download import Part, UnavailableError, download
from assignbench.data.prepare.web import LONGEST_WAIT
from assignbench.errors import DataError, SystemProblem

CONTENT = hashlib.shake_128(b"one").digest(300_000)
OTHER = hashlib.shake_128(b"other").digest(300_000)


@pytest.fixture
def target(tmp_path):
    return tmp_path / "archives" / "f.bin"


@pytest.fixture
def fetch(target, notes, hasty):
    def fetch(source):
        download(source, target, notes, hasty)
        assert not list(target.parent.glob("*.part*")), "the beginning is still there"
        return target.read_bytes()

    return fetch


def ranges(publisher):
    return [asked.headers.get("Range") for asked in publisher.asked]


def test_a_plain_download(publisher, fetch, notes):
    assert fetch(publisher.offer("f.bin", CONTENT)) == CONTENT
    assert ranges(publisher) == [None]
    assert notes.tracked[0] == ("downloading f.bin", len(CONTENT), 0)
    assert max(notes.counts) == len(CONTENT)


@pytest.mark.parametrize("way", ["cut", "reset", "stall"])
def test_a_broken_transfer_goes_on_where_it_ended(publisher, fetch, notes, way, spoil):
    publisher.script.append(getattr(spoil, way)(100_000))
    assert fetch(publisher.offer("f.bin", CONTENT)) == CONTENT
    first, second = ranges(publisher)
    assert first is None
    kept = int(second.removeprefix("bytes=").removesuffix("-"))
    assert 0 < kept <= 100_000
    if way != "reset":  # what was on its way at a reset may be lost
        assert kept == 100_000
    assert publisher.asked[1].headers["If-Range"] == f'"{zlib.crc32(CONTENT)}"'
    assert "trying again" in notes.text
    assert "are kept" in notes.text


def test_many_breaks_with_progress_are_endured(publisher, fetch, spoil):
    publisher.script.extend(spoil.cut(20_000) for _ in range(14))
    assert fetch(publisher.offer("f.bin", CONTENT)) == CONTENT
    assert len(publisher.asked) == 15


def test_breaks_without_progress_end(publisher, fetch, target, spoil):
    publisher.script.extend(spoil.cut(100) for _ in range(50))
    with pytest.raises(UnavailableError, match=r"ended the transfer after .* of 300,000 bytes") as caught:
        fetch(publisher.offer("f.bin", CONTENT))
    assert caught.value.network
    assert len(publisher.asked) < 10
    assert Part.of(target).length() == 400
    assert not target.exists()


def test_a_server_that_ignores_ranges(publisher, fetch, spoil):
    publisher.script.extend([spoil.cut(100_000), spoil.no_ranges])
    assert fetch(publisher.offer("f.bin", CONTENT)) == CONTENT


def test_a_server_that_always_starts_anew_and_breaks_makes_no_progress(publisher, fetch):
    def cut_anew(handler):
        handler.send(handler.start(handler.body(), ranges=False)[:100_000])

    publisher.script.extend([cut_anew] * 50)
    with pytest.raises(UnavailableError):
        fetch(publisher.offer("f.bin", CONTENT))
    assert len(publisher.asked) < 10


@pytest.mark.parametrize("checked", [True, False])
def test_a_file_that_changes_between_attempts_is_not_glued(publisher, fetch, checked, spoil):
    source = publisher.offer("f.bin", CONTENT)

    def change(handler):
        spoil.cut(100_000)(handler)
        publisher.files["/f.bin"] = OTHER

    publisher.script.append(change)
    keys = {"sha256": hashlib.sha256(OTHER).hexdigest() if checked else None}
    assert fetch(source.model_copy(update=keys)) == OTHER


def test_a_changed_file_is_noticed_though_the_server_ignores_the_condition(publisher, fetch, spoil):
    """A 206 with another ETag: the beginning is dropped."""
    source = publisher.offer("f.bin", CONTENT).model_copy(update={"sha256": None})

    def change(handler):
        spoil.cut(100_000)(handler)
        publisher.files["/f.bin"] = OTHER

    def careless(handler):
        del handler.headers["If-Range"]
        spoil.serve(handler)

    publisher.script.extend([change, careless])
    assert fetch(source) == OTHER
    assert ranges(publisher) == [None, "bytes=100000-", None]


def test_without_a_version_and_a_checksum_nothing_is_continued(publisher, fetch, spoil):
    publisher.etags["/f.bin"] = ""
    publisher.script.append(spoil.cut(100_000))
    assert fetch(publisher.offer("f.bin", CONTENT, sha256=None)) == CONTENT
    assert ranges(publisher) == [None, None]


def test_without_a_version_the_checksum_is_enough_to_continue(publisher, fetch, spoil):
    publisher.etags["/f.bin"] = ""
    publisher.script.append(spoil.cut(100_000))
    assert fetch(publisher.offer("f.bin", CONTENT)) == CONTENT
    assert ranges(publisher) == [None, "bytes=100000-"]


def test_a_weak_tag_is_no_condition_but_a_date_is(publisher, fetch, spoil):
    publisher.etags["/f.bin"] = 'W/"weak"'
    publisher.modified = "Mon, 01 Jan 2024 00:00:00 GMT"
    publisher.script.append(spoil.cut(100_000))
    assert fetch(publisher.offer("f.bin", CONTENT, sha256=None)) == CONTENT
    assert publisher.asked[1].headers["If-Range"] == publisher.modified


def test_the_end_was_reached_before_the_kill(publisher, fetch, target):
    """All bytes are there, only the check was not made: nothing is asked for."""
    target.parent.mkdir()
    part = Part.of(target)
    part.begin(publisher.url("f.bin"), module.Version('"x"'), len(CONTENT))
    part.file.write_bytes(CONTENT)
    assert fetch(publisher.offer("f.bin", CONTENT)) == CONTENT
    assert publisher.asked == []


@pytest.mark.parametrize(
    "note", ["", "{", "[]", '{"url": 3}', '{"url": "x", "etag": "", "modified": "", "total": "9"}']
)
def test_a_beginning_without_a_good_note_is_not_trusted(publisher, fetch, target, note):
    target.parent.mkdir()
    part = Part.of(target)
    part.file.write_bytes(OTHER[:1000])
    if note:
        part.note.write_text(note)
    assert fetch(publisher.offer("f.bin", CONTENT)) == CONTENT
    assert ranges(publisher) == [None]


@pytest.mark.parametrize("length", [300_001, 400_000])
def test_a_beginning_longer_than_the_file_is_dropped(publisher, fetch, target, length):
    target.parent.mkdir()
    part = Part.of(target)
    part.begin(publisher.url("f.bin"), module.Version('"x"'), None)
    part.file.write_bytes(bytes(length))
    assert fetch(publisher.offer("f.bin", CONTENT, size=None)) == CONTENT


def test_wrong_bytes_are_fetched_once_more(publisher, fetch, notes, spoil):
    publisher.script.append(spoil.wrong)
    assert fetch(publisher.offer("f.bin", CONTENT)) == CONTENT
    assert ranges(publisher) == [None, None]
    assert "wrong bytes" in notes.text
    assert "deleted" in notes.text


@pytest.mark.parametrize("kind", ["sha256", "md5"])
def test_wrong_bytes_twice_name_both_digests(publisher, fetch, target, kind):
    source = publisher.offer("f.bin", CONTENT, **{"sha256": None, kind: hashlib.new(kind, OTHER).hexdigest()})
    with pytest.raises(DataError) as caught:
        fetch(source)
    assert f"{kind} {hashlib.new(kind, CONTENT).hexdigest()}" in str(caught.value)
    assert f"expected {hashlib.new(kind, OTHER).hexdigest()}" in str(caught.value)
    assert len(publisher.asked) == 2
    assert list(target.parent.iterdir()) == []


def test_a_wrong_size_is_refused_before_the_body_is_read(publisher, fetch):
    big = bytes(30_000_000)
    source = publisher.offer("f.bin", big, size=len(CONTENT), sha256=None)
    with pytest.raises(DataError, match="30,000,000 bytes offered, expected 300,000"):
        fetch(source)
    assert publisher.sent < len(big)


def test_the_second_address_serves_where_the_first_is_wrong(publisher, fetch):
    source = publisher.offer("f.bin", CONTENT)
    publisher.files["/bad.bin"] = OTHER
    both = source.model_copy(update={"urls": [publisher.url("bad.bin"), publisher.url("f.bin")]})
    assert fetch(both) == CONTENT
    assert [asked.path for asked in publisher.asked] == ["/bad.bin", "/f.bin"]


def test_the_second_address_goes_on_where_the_first_ended(publisher, fetch, spoil):
    source = publisher.offer("f.bin", CONTENT)
    publisher.files["/first.bin"] = CONTENT
    publisher.script.extend([spoil.cut(100_000), spoil.status(404)])
    assert fetch(source.model_copy(update={"urls": [publisher.url("first.bin"), publisher.url("f.bin")]})) == CONTENT
    assert ranges(publisher) == [None, "bytes=100000-", "bytes=100000-"]
    assert "If-Range" not in publisher.asked[2].headers


@pytest.mark.parametrize("code", [404, 403, 410, 401])
def test_refusals_are_not_repeated(publisher, fetch, code, spoil):
    publisher.script.append(spoil.status(code))
    with pytest.raises(UnavailableError, match=f"answers {code}") as caught:
        fetch(publisher.offer("f.bin", CONTENT))
    assert not caught.value.network
    assert len(publisher.asked) == 1


@pytest.mark.parametrize("code", [500, 502, 503, 504, 429])
def test_passing_faults_are_repeated(publisher, fetch, code, spoil):
    publisher.script.append(spoil.status(code))
    assert fetch(publisher.offer("f.bin", CONTENT)) == CONTENT


def test_passing_faults_are_not_repeated_for_ever(publisher, fetch, spoil, hasty):
    publisher.script.extend([spoil.status(500)] * 50)
    with pytest.raises(UnavailableError, match="answers 500") as caught:
        fetch(publisher.offer("f.bin", CONTENT))
    assert caught.value.network
    assert len(publisher.asked) == hasty.tries


def test_pauses_grow_and_a_server_may_ask_for_more(publisher, fetch, monkeypatch, spoil):
    pauses = []
    monkeypatch.setattr(module.time, "sleep", pauses.append)
    publisher.script.extend(
        [
            spoil.status(500),
            spoil.status(500),
            spoil.status(503, Retry_After="7"),
            spoil.status(503, Retry_After="9999"),
        ]
    )
    with pytest.raises(UnavailableError):
        fetch(publisher.offer("f.bin", CONTENT))
    assert pauses == [0.01, 0.02, 7.0]
    pauses.clear()
    publisher.script.clear()
    publisher.script.append(spoil.status(503, Retry_After="9999"))
    fetch(publisher.offer("f.bin", CONTENT))
    assert pauses == [LONGEST_WAIT]


def test_a_web_page_instead_of_the_file(publisher, fetch, spoil):
    publisher.script.append(spoil.page)
    with pytest.raises(UnavailableError, match="answers with a web page"):
        fetch(publisher.offer("f.bin", CONTENT))


def test_a_body_without_length(publisher, fetch, spoil):
    publisher.script.append(spoil.no_length)
    assert fetch(publisher.offer("f.bin", CONTENT)) == CONTENT
    publisher.script.extend([lambda handler: handler.send(handler.start(handler.body(), length=False)[:5000])])
    assert fetch(publisher.offer("f.bin", CONTENT)) == CONTENT, "the size of the spec tells that it was cut"


def test_redirections_keep_the_range(publisher, fetch, spoil):
    publisher.files["/there.bin"] = CONTENT
    away = spoil.status(302, Location=publisher.url("there.bin"))
    publisher.script.extend([away, spoil.cut(100_000), away])
    assert fetch(publisher.offer("f.bin", CONTENT)) == CONTENT
    assert ranges(publisher)[-1] == "bytes=100000-"


@pytest.mark.parametrize("place", ["file:///etc/hostname", "ftp://127.0.0.1/x", "gopher://x/y"])
def test_redirections_leave_http_for_nothing(publisher, fetch, place, spoil):
    publisher.script.append(spoil.status(302, Location=place))
    with pytest.raises(UnavailableError):
        fetch(publisher.offer("f.bin", CONTENT))


def test_nobody_listens(publisher, fetch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    source = publisher.offer("f.bin", CONTENT).model_copy(update={"urls": [f"http://127.0.0.1:{port}/f.bin"]})
    with pytest.raises(UnavailableError, match="cannot be reached") as caught:
        fetch(source)
    assert caught.value.network


def test_no_such_server(publisher, fetch, monkeypatch):
    def no_names(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", no_names)
    source = publisher.offer("f.bin", CONTENT).model_copy(update={"urls": ["http://nowhere.invalid/f.bin"]})
    with pytest.raises(UnavailableError, match="no network, or no such server"):
        fetch(source)


def test_the_proxy_of_the_environment_is_used(publisher, fetch, monkeypatch):
    monkeypatch.setenv("http_proxy", publisher.address)
    source = publisher.offer("f.bin", CONTENT).model_copy(update={"urls": ["http://elsewhere.invalid/f.bin"]})
    assert fetch(source) == CONTENT
    assert publisher.asked[0].path == "http://elsewhere.invalid/f.bin"


def test_a_full_disk_keeps_what_came(publisher, fetch, target, monkeypatch):
    real, written = module.os.fsync, []

    def full(handle):
        if len(written) < 2:
            written.append(handle)
            return real(handle)  # of the note and its folder
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    source = publisher.offer("f.bin", CONTENT)
    with pytest.raises(SystemProblem, match=r"f\.bin\.part: No space left on device"):
        fetch(source)
    assert Part.of(target).length() == len(CONTENT)
    monkeypatch.undo()
    assert fetch(source) == CONTENT
    assert len(publisher.asked) == 1


def test_too_little_room_is_said_before_the_body_is_read(publisher, fetch, target, monkeypatch):
    monkeypatch.setattr("assignbench.disk.free_bytes", lambda _: 1000)
    big = bytes(30_000_000)
    with pytest.raises(SystemProblem, match=r"needs 30\.0 MB, but only 1\.0 kB are free"):
        fetch(publisher.offer("f.bin", big))
    assert publisher.sent < len(big)


def test_a_folder_that_cannot_be_made(publisher, fetch, target):
    target.parent.write_text("a file")
    with pytest.raises(SystemProblem, match="archives"):
        fetch(publisher.offer("f.bin", CONTENT))


def test_the_note_is_of_the_version_that_was_begun(publisher, fetch, target, spoil):
    publisher.script.extend([spoil.cut(1000), spoil.status(404)])
    with pytest.raises(UnavailableError):
        fetch(publisher.offer("f.bin", CONTENT))
    note = json.loads(Part.of(target).note.read_text())
    assert note["url"] == publisher.url("f.bin")
    assert note["etag"] == f'"{zlib.crc32(CONTENT)}"'
    assert note["total"] == len(CONTENT)
