"""The Ray engine, on Ray's own cluster of several nodes of this machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from assignbench.engines.job import Job
from assignbench.engines.ray import moved, pack, unpack
from assignbench.errors import RunError


def test_a_folder_comes_back_whole_and_the_record_last(tmp_path, monkeypatch) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    (theirs / "snapshots").mkdir(parents=True)
    files = {"record.json": b"{}", "weights.safetensors": b"w" * 1000, "snapshots/1": b"one", "a": b""}
    for name, content in files.items():
        (theirs / name).write_bytes(content)
    order = []
    monkeypatch.setattr(Path, "write_bytes", lambda path, _: order.append(path.name) or path.touch())
    unpack(pack(theirs), ours)
    assert "record" in order[-1]
    assert len(order) == len(files)
    monkeypatch.undo()
    unpack(pack(theirs), ours)
    assert {str(path.relative_to(ours)): path.read_bytes() for path in ours.rglob("*") if path.is_file()} == files


def test_what_comes_back_stays_in_the_run_s_folder(tmp_path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "x").write_text("x")
    packed = pack(tmp_path / "theirs").replace(b"./x\0\0\0", b"../../x")
    with pytest.raises(RunError, match=r"\.\./\.\./x lies outside the run's folder"):
        unpack(packed, tmp_path / "a" / "ours")
    assert not (tmp_path / "x").exists()


def test_nothing_comes_back_where_the_disk_is_shared(tmp_path) -> None:
    unpack(b"", tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_a_job_moves_to_another_output_folder() -> None:
    job = Job("r", "r", ("reproduce", "--output", "out", "--only", "r"), Path("/home/me/out/runs/r"))
    there = moved(job, Path("/home/me"), Path("/scratch"))
    assert there.arguments == ("reproduce", "--output", "/scratch", "--only", "r")
    assert there.folder == Path("/scratch/runs/r")


def test_a_node_that_dies_loses_nothing(ray_cluster, command, facts, undisturbed, eventually, tmp_path) -> None:
    words = command(tmp_path, "--on", f"ray:{ray_cluster.address}", "--needs", "cpus=1")
    with command.braked() as release:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        eventually(lambda: len(list(tmp_path.glob("*/checkpoints/iteration-*"))) >= 2, "two runs with checkpoints")
        ray_cluster.tell("kill 0")
        ray_cluster.tell("add")
        release()
        output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert "its worker was lost (NodeDiedError); it goes on" in output
    assert facts(tmp_path) == undisturbed
    assert not list(tmp_path.glob(".seen-*"))
    log = "".join(file.read_text() for file in tmp_path.glob("*/job.log"))
    assert "continuing" in log


def test_a_node_without_the_disk_sends_the_run_back(ray_cluster, command, facts, undisturbed, tmp_path) -> None:
    output = tmp_path / "output"
    output.mkdir()
    hidden = ["unshare", "--mount", "--propagation", "private", "sh", "-c"]
    cover = f"mount -t tmpfs none {output}"
    if subprocess.run([*hidden, cover], capture_output=True).returncode:
        pytest.skip("no mount namespaces here, so a node cannot be kept from seeing the disk")
