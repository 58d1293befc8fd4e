"""What a run was made with: versions, code and machine. Described, never compared for equality."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

import assignbench
from assignbench.machine import waiting

if TYPE_CHECKING:
    import torch

STRICT = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Environment(BaseModel):
    """Software and hardware of a run."""

    model_config = STRICT

    python: str
    torch: str  # version, with its build: "2.11.0+cu128"
    torchvision: str
    accelerate: str
    pycocotools: str
    numpy: str
    assignbench: str
    commit: str | None  # git commit of the code, "-dirty" appended when files differ; None: not from a checkout
    platform: str  # operating system and architecture
    cpu: str
    cpu_threads: int  # threads that torch uses in one process; sums are rounded by how they share them
    waiting: str | None = None  # how they wait for each other: "GOMP_SPINCOUNT=1000"; None: not noted then
    workers: int | None = None  # loader processes beside each process; None: not noted then, or nothing was trained
    gpus: tuple[str, ...]  # one a process, all taken to be the main process's kind; empty on CPU
    processes: int
    precision: str  # mixed precision: "no", "bf16" or "fp16"


def environment(processes: int, precision: str, device: torch.device | str, workers: int | None = None) -> Environment:
    """Gather the environment of the calling process.

    Args:
        processes: number of training processes.
        precision: as in the recipe: "no", "bf16" or "fp16".
        device: where this process computes.
        workers: loader processes beside each process.
    """
    import torch

    device = torch.device(device)
    return Environment(
        python=platform.python_version(),
        torch=str(torch.__version__),
        torchvision=metadata.version("torchvision"),
        accelerate=metadata.version("accelerate"),
        pycocotools=metadata.version("pycocotools"),
        numpy=metadata.version("numpy"),
        assignbench=assignbench.__version__,
        commit=_commit(Path(assignbench.__file__)),
        platform=platform.platform(),
        cpu=processor(),
        cpu_threads=torch.get_num_threads(),
        waiting=waiting(os.environ),
        workers=workers,
        gpus=(torch.cuda.get_device_name(device),) * processes if device.type == "cuda" else (),
        processes=processes,
        precision=precision,
    )


def _commit(source: Path) -> str | None:
    """The commit that holds ``source``; None where git does not track it (an installed copy)."""
    git = shutil.which("git")
    if git is None:
        return None

    def ask(*arguments: str) -> str | None:
        # An unusual repository (foreign owner, locked index) must not stop a run that has just finished.
        try:
            answer = subprocess.run(  # noqa: S603 - fixed arguments
                [git, *arguments],
                cwd=source.parent,
                env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return answer.stdout.strip() if answer.returncode == 0 else None

    if ask("ls-files", "--error-unmatch", source.name) is None:
        return None
    commit = ask("rev-parse", "HEAD")
    changed = ask("status", "--porcelain", "--untracked-files=no")
    return f"{commit}-dirty" if commit and changed != "" else commit


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name; `platform` knows only its family on Linux."""
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
