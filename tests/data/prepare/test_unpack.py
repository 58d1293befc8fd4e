"""Archives come out as they went in; what could do harm does not come out at all."""

import contextlib
import gzip
import hashlib
import io
import stat
import tarfile
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assignbench.data.prepare import unpack as module
from assignbench.data.prepare.unpack import unpack
from assignbench.errors import DataError, SystemProblem

FILES = {"a/one.txt": b"one", "a/b/two.bin": hashlib.shake_128().digest(2_300_000), "three": b"", "a/é ü.txt": b"x"}


@pytest.fixture
def extract(tmp_path, notes):
    """Unpack bytes under a name: (what unpack says, path → content)."""

    def extract(name: str, content: bytes):
        archive, folder = tmp_path / name, tmp_path / "out"
        archive.write_bytes(content)
        result = unpack(archive, folder, notes)
        found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
        return result, {key: path.read_bytes() for key, path in found.items() if path.is_file()}

    return extract


@pytest.mark.parametrize("name", ["f.zip", "F.ZIP", "f.tar", "f.tar.gz", "f.tgz"])
def test_everything_comes_out(extract, pack, name, notes):
    kind = name.lower()
    content = pack.zip(FILES) if kind.endswith("zip") else pack.tar(FILES, "w" if kind.endswith("tar") else "w:gz")
    result, found = extract(name, content)
    assert found == FILES
    assert (result.files, result.bytes, result.left_out) == (4, sum(map(len, FILES.values())), 0)
    assert notes.counts[-1] == result.bytes


def test_another_file_is_laid_down_as_it_is(extract):
    result, found = extract("val.json", b"{}")
    assert found == {"val.json": b"{}"}
    assert result.files == 1


def test_folders_and_the_dot_are_fine(extract, pack):
    folder, dot = tarfile.TarInfo("./empty"), tarfile.TarInfo("./")
    folder.type = dot.type = tarfile.DIRTYPE
    _, found = extract("f.tar", pack.tar({"./": dot, "./empty": folder, "./x": b"1"}))
    assert found == {"x": b"1"}


def test_what_macos_adds_is_left_out_and_counted(extract, pack):
    junk = {"__MACOSX/a/._one.txt": b"j", "a/.DS_Store": b"j", "a/._two": b"j"}
    result, found = extract("f.zip", pack.zip({**junk, "a/one.txt": b"1"}))
    assert found == {"a/one.txt": b"1"}
    assert (result.files, result.left_out) == (1, 3)


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


EVIL = [
    "../evil",
    "a/../../evil",
    "/evil",
    "C:/evil",
    "C:evil",
    "a\\..\\..\\evil",
    "\\\\host\\share\\evil",
    "\\evil",
]


@pytest.mark.parametrize("name", EVIL)
@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_members_that_leave_the_folder_are_refused(extract, pack, tmp_path, name, kind):
    files = {"fine": b"1", name: b"evil"}
    content = pack.zip(files) if kind == "zip" else pack.tar(files, "w" if kind == "tar" else "w:gz")
    before = set(tmp_path.iterdir())
    with pytest.raises(DataError, match="leaves its folder"):
        extract(f"f.{kind}", content)
    assert {path.name for path in set(tmp_path.iterdir()) - before} == {f"f.{kind}", "out"}
    assert [path.name for path in (tmp_path / "out").rglob("*")] == ["fine"]


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (tarfile.SYMTYPE, "a link"),
        (tarfile.LNKTYPE, "a link"),
        (tarfile.CHRTYPE, "neither file nor folder"),
        (tarfile.FIFOTYPE, "neither file nor folder"),
    ],
)
def test_links_and_devices_in_a_tar_are_refused(extract, pack, kind, what):
    with pytest.raises(DataError, match=what):
        extract("f.tar", pack.tar({"x": link("x", "/etc/passwd", kind)}))


def test_links_in_a_zip_are_refused(extract):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        info = zipfile.ZipInfo("x")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="a link, 'x'"):
        extract("f.zip", content.getvalue())


def test_encrypted_files_are_refused(extract, pack):
    content = bytearray(pack.zip({"x": b"1"}))
    content[content.index(b"PK\1\2") + 8] |= 1
    with pytest.raises(DataError, match="an encrypted file"):
        extract("f.zip", bytes(content))


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_bombs_are_refused(extract, pack, kind, tmp_path):
    files = {"zeros": bytes(50_000_000)}
    with pytest.raises(DataError, match="over 100 times its size"):
        extract(f"f.{kind}", pack.zip(files) if kind == "zip" else pack.tar(files, "w:gz"))
    assert list((tmp_path / "out").iterdir()) == []


def test_a_bomb_of_empty_files_is_refused(extract, pack, monkeypatch):
    monkeypatch.setattr(module, "FLOOR", 0)
    monkeypatch.setattr(module, "RATIO", 20)
    with pytest.raises(DataError, match="over 20 times its size"):
        extract("f.tar.gz", pack.tar({f"{n}": b"" for n in range(3000)}, "w:gz"))


def test_a_zip_that_lies_about_sizes_is_damaged(extract, pack):
    """The bomb says that it is small: reading ends at what it says, and its checksum does not fit."""
    content = pack.zip({"zeros": bytes(5_000_000)}).replace(
        (5_000_000).to_bytes(4, "little"), (9).to_bytes(4, "little")
    )
    with pytest.raises(DataError, match="is damaged"):
        extract("f.zip", content)


def test_a_zip_that_promises_more_than_it_holds_is_damaged(extract, pack):
    content = bytearray(pack.zip({"x": b"1" * 500}))
    entry = content.index(b"PK\1\2")
    content[entry + 24 : entry + 28] = (900).to_bytes(4, "little")
    with pytest.raises(DataError, match=r"is damaged: 'x' has 500 of 900 bytes"):
        extract("f.zip", bytes(content))


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_truncated_archives_are_damaged(extract, pack, kind):
    content = pack.zip(FILES) if kind == "zip" else pack.tar(FILES, "w" if kind == "tar" else "w:gz")
    with pytest.raises(DataError, match=rf"f\.{kind} is damaged: .*remove it"):
        extract(f"f.{kind}", content[: len(content) // 2])


def test_a_tar_broken_at_a_later_header_is_damaged_not_short(extract, pack):
    content = bytearray(pack.tar({"a": b"1" * 600, "b": b"2" * 600, "c": b"3" * 600}))
    content[2 * (512 + 1024) - 1536 : 2 * (512 + 1024) - 1536 + 100] = b"\xff" * 100
    with pytest.raises(DataError, match="is damaged"):
        extract("f.tar", bytes(content))


def test_a_gzip_whose_checksum_is_wrong_is_damaged(extract, pack):
    content = bytearray(pack.tar(FILES, "w:gz"))
    content[-8] ^= 1
    with pytest.raises(DataError, match="is damaged"):
        extract("f.tar.gz", bytes(content))


@pytest.mark.parametrize("name", ["f.zip", "f.tar", "f.tar.gz"])
@pytest.mark.parametrize(
    "content",
    # named: a gzip file holds the time it was made, and parallel workers must collect the same tests
    [b"", b"<html>sorry</html>", gzip.compress(b"no tar")],
    ids=["nothing", "page", "gzip"],
)
def test_other_files_are_damaged_archives(extract, name, content):
    with pytest.raises(DataError, match="is damaged"):
        extract(name, content)


def test_too_little_room(extract, pack, monkeypatch):
    monkeypatch.setattr("assignbench.disk.free_bytes", lambda _: 1000)
    with pytest.raises(SystemProblem, match=r"unpacking f\.zip needs 2\.3 MB, but only 1\.0 kB are free"):
        extract("f.zip", pack.zip(FILES))


def test_a_name_that_the_disk_does_not_take(extract, pack):
    with pytest.raises(SystemProblem, match="cannot write"):
        extract("f.tar", pack.tar({"x" * 300: b"1"}))


@settings(
    derandomize=True, deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(["zip", "tar", "tar.gz"]), st.data())
def test_no_damage_is_a_traceback(pack, notes, tmp_path_factory, kind, data):
    """Some bytes of an archive are changed: it comes out, or it is refused by name."""
    files = {"a/one.txt": b"one" * 50, "b/two.bin": bytes(range(256)) * 3}
    content = bytearray(pack.zip(files) if kind == "zip" else pack.tar(files, "w" if kind == "tar" else "w:gz"))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    folder = tmp_path_factory.mktemp("fuzz")
    archive = folder / f"f.{kind}"
    archive.write_bytes(content)
    with contextlib.suppress(SystemProblem):  # a name that the disk does not take
        try:
            unpack(archive, folder / "out", notes)
        except DataError as error:
            if str(archive) not in str(error):
                raise
    assert {path.name for path in folder.iterdir()} == {archive.name, "out"}
