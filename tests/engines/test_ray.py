"""The Ray engine, on Ray's own cluster of several nodes of this machine."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from assignbench.engines.job import Job, Needs
from assignbench.engines.ray import OnRay, moved, pack, unpack
from assignbench.errors import RunError, SystemProblem


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
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../../x"))
    with pytest.raises(RunError, match=r"\.\./\.\./x lies outside the run's folder"):
        unpack(buffer.getvalue(), tmp_path / "a" / "ours")
    assert not (tmp_path / "x").exists()


def test_nothing_comes_back_where_the_disk_is_shared(tmp_path) -> None:
    unpack(b"", tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_a_job_moves_to_another_output_folder() -> None:
    job = Job("r", "r", ("reproduce", "--output", "out", "--only", "r"), Path("/home/me/out/runs/r"))
    there = moved(job, Path("/home/me"), Path("/scratch"))
    assert there.arguments == ("reproduce", "--output", "/scratch", "--only", "r")
    assert there.folder == Path("/scratch/runs/r")


def test_a_node_that_dies_loses_nothing(ray_of, command, facts, undisturbed, eventually, tmp_path) -> None:
    ray = ray_of(2)
    words = command(tmp_path, "--on", f"ray:{ray.address}", "--needs", "cpus=1")
    with command.braked() as release:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        eventually(lambda: len({path.parent for path in tmp_path.glob("*/checkpoints/iteration-*")}) == 2, "two runs")
        ray.tell("kill 0")
        ray.tell("add")
        release()
        output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert "its worker was lost (NodeDiedError); it goes on" in output
    assert facts(tmp_path) == undisturbed
    assert not list(tmp_path.glob(".seen-*"))


def test_a_node_that_does_not_see_the_output_folder_sends_runs_back(
    ray_of, command, facts, undisturbed, tmp_path
) -> None:
    output = tmp_path / "output"
    output.mkdir()
    alone = ["unshare", "--mount", "--propagation", "private", "sh", "-c"]
    hide = f"mount -t tmpfs none '{output}'"
    if shutil.which("unshare") is None or subprocess.run([*alone, hide], capture_output=True).returncode:
        pytest.skip("no mount namespaces here, so the folder cannot be hidden from a node")
    ray, one = ray_of(0), replace(command, names=("Slow",))
    start = f"{sys.executable} -m ray.scripts.scripts start --address={ray.address} --num-cpus=2 --block"
    with subprocess.Popen([*alone, f"{hide} && exec {start}"], stdout=subprocess.DEVNULL) as node:
        try:
            said = one.call(output, "--on", f"ray:{ray.address}", "--needs", "cpus=1")
        finally:
            node.terminate()
    assert "0 done, 1 to do" in said
    found = facts(output)
    assert found == {name: undisturbed[name] for name in found}
    assert found
    assert "mini.yaml" in next(output.glob("*/job.log")).read_text()


def test_where_no_ray_answers_it_is_said() -> None:
    pytest.importorskip("ray")
    words = [sys.executable, "-m", "assignbench", "run", "--recipe", "smoke", "--on", "ray:127.0.0.1:1"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 4
    assert "no Ray answers at 127.0.0.1:1" in done.stderr


def test_more_than_this_machine_has_is_refused_instead_of_waited_for() -> None:
    pytest.importorskip("ray")
    words = [sys.executable, "-m", "assignbench", "run", "--recipe", "smoke", "--on", "ray", "--needs", "cpus=4000"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 4
    assert "a job needs 4000 CPU, more than there are here" in done.stderr


def test_without_ray_it_is_said_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SystemProblem, match=r"pip install 'assignbench\[ray\]'"):
        OnRay(None, Needs())
