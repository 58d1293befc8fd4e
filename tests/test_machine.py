"""What a process chooses on a machine that is described here: cores, threads, waiting, loader processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from assignbench.cli.launching import launched_with
from assignbench.machine import loader_processes, settle, share, usable_cores, waiting


def groups(folder: Path, text: str, files: dict[str, str]) -> tuple[Path, Path]:
    """A process's list of control groups, and the folder that they are mounted in."""
    (folder / "cgroup").write_text(text)
    for name, content in files.items():
        file = folder / "mounted" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return folder / "cgroup", folder / "mounted"


@pytest.mark.parametrize(
    ("text", "files", "cores"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n"}, 16),
        ("0::/a/b\n", {"a/b/cpu.max": "200000 100000\n"}, 2),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "300000 100000\n"}, 3),  # the outer group's
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 2),  # a container; one and a half cores keep two threads busy
        ("0::/\n", {"cpu.max": "20000 100000\n"}, 1),  # never none
        ("0::/\n", {"cpu.max": "6400000 100000\n"}, 16),  # more than it is bound to
        ("0::/elsewhere\n", {}, 16),
        (
            "4:cpu,cpuacct:/docker/1\n0::/\n",
            {
                "cpu,cpuacct/docker/1/cpu.cfs_quota_us": "400000\n",
                "cpu,cpuacct/docker/1/cpu.cfs_period_us": "100000\n",
            },
            4,
        ),
        # a container that sees its own group as the mount's root, and is told the host's path
        ("1:cpu:/docker/1\n", {"cpu/cpu.cfs_quota_us": "500000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 5),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 16),
        ("1:cpuset:/\n", {"cpuset/cpu.cfs_quota_us": "100000\n", "cpuset/cpu.cfs_period_us": "100000\n"}, 16),
    ],
)
def test_cores_are_those_bound_to_within_every_quota(
    tmp_path: Path, text: str, files: dict[str, str], cores: int
) -> None:
    assert usable_cores(16, *groups(tmp_path, text, files)) == cores


def test_where_there_are_no_control_groups_the_bound_cores_count(tmp_path: Path) -> None:
    assert usable_cores(3, tmp_path / "none", tmp_path) == 3


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ({}, {"OMP_NUM_THREADS": "6", "GOMP_SPINCOUNT": "1000"}),
        ({"OMP_NUM_THREADS": "2"}, {"OMP_NUM_THREADS": "2", "GOMP_SPINCOUNT": "1000"}),
        ({"MKL_NUM_THREADS": "2"}, {"MKL_NUM_THREADS": "2", "GOMP_SPINCOUNT": "1000"}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_NUM_THREADS": "6", "OMP_WAIT_POLICY": "ACTIVE"}),
        ({"GOMP_SPINCOUNT": "5"}, {"OMP_NUM_THREADS": "6", "GOMP_SPINCOUNT": "5"}),
        ({"KMP_BLOCKTIME": "0"}, {"OMP_NUM_THREADS": "6", "KMP_BLOCKTIME": "0"}),
        ({"LOCAL_WORLD_SIZE": "4"}, {"LOCAL_WORLD_SIZE": "4", "OMP_NUM_THREADS": "1", "GOMP_SPINCOUNT": "1000"}),
    ],
)
def test_threads_and_waiting_are_chosen_where_the_user_has_not(given: dict[str, str], chosen: dict[str, str]) -> None:
    environment = dict(given)
    settle(environment, given, 6)
    assert environment == chosen


def test_a_launcher_s_choice_is_not_the_user_s() -> None:
    environment = {"LOCAL_WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}  # torchrun's habit
    settle(environment, {}, 8)
    assert environment["OMP_NUM_THREADS"] == "4"
    environment = {"LOCAL_WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    settle(environment, {"OMP_NUM_THREADS": "1"}, 8)
    assert environment["OMP_NUM_THREADS"] == "1"


def test_what_the_user_had_set_is_read_off_the_launcher() -> None:
    plain = {"OMP_NUM_THREADS": "3"}
    assert launched_with(plain) is plain
    found = launched_with({"LOCAL_WORLD_SIZE": "2", "OMP_NUM_THREADS": "1", "NOT_THE_LAUNCHER_S": "1"})
    assert "PATH" in found  # the environment of the process that started this one
    assert "NOT_THE_LAUNCHER_S" not in found


@pytest.mark.parametrize(("processes", "cores"), [("1", 8), ("3", 2), ("16", 1), ("odd", 8)])
def test_processes_of_one_launcher_divide_the_cores(processes: str, cores: int) -> None:
    assert share(8, {"LOCAL_WORLD_SIZE": processes}) == cores


@pytest.mark.parametrize(
    ("workers", "cores", "on_gpu", "count"),
    [
        (3, 1, False, 3),  # the user's word
        (0, 64, True, 0),
        ("auto", 1, False, 0),
        ("auto", 2, False, 0),
        ("auto", 4, False, 1),
        ("auto", 1, True, 1),
        ("auto", 6, True, 6),
        ("auto", 64, True, 8),
    ],
)
def test_loader_processes_leave_the_cores_to_what_computes(workers, cores, on_gpu, count) -> None:
    assert loader_processes(workers, cores, on_gpu=on_gpu) == count


def test_waiting_is_told_as_it_was_set() -> None:
    assert waiting({}) == "OpenMP's default"
    assert waiting({"GOMP_SPINCOUNT": "1000", "OMP_WAIT_POLICY": "PASSIVE"}) == (
        "GOMP_SPINCOUNT=1000, OMP_WAIT_POLICY=PASSIVE"
    )


def test_the_command_settles_before_torch_is_loaded() -> None:
    code = (
        "import os, sys; from assignbench.cli.main import main; main(['--version']); "
        "assert 'torch' not in sys.modules; import torch; print(os.environ['GOMP_SPINCOUNT'], torch.get_num_threads())"
    )
    free = {name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", "GOMP_SPINCOUNT")}
    environment = {**free, "LOCAL_RANK": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    threads = usable_cores(len(os.sched_getaffinity(0)))
    assert done.stdout.splitlines()[-1] == f"1000 {threads}"


def test_the_user_s_threads_reach_torch_through_the_command() -> None:
    code = "from assignbench.cli.main import main; main(['--version']); import torch; print(torch.get_num_threads())"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "1"
