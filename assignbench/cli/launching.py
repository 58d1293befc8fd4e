"""``accelerate launch --cpu --num_processes N``: all N processes, not one.

On a CPU accelerate's launcher (1.15) starts a single process whatever it was asked for, unless MPI is set up: the
training would go on alone and nobody would notice. It leaves marks in the environment (an address to meet at, and
no rank), so the processes that were asked for are started here, by torchrun.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from assignbench.errors import UsageError
from assignbench.machine import THREADS, WAITING, bound_to, settle, usable_cores
from assignbench.run.training.surroundings import cpu_was_asked_for

MEETING = ("MASTER_ADDR", "MASTER_PORT")
HERE = "127.0.0.1"  # where accelerate's launcher lets the processes of one machine meet
_INSTEAD = (
    "accelerate launch starts one process a machine on CPUs, whatever its file of defaults asks for; give it "
    f"--num_processes N, and --main_process_ip {HERE} if that file names another machine, "
    "or use torchrun --nproc_per_node N -m assignbench run --device cpu …"
)


def settle_machine() -> None:
    """Choose threads and how they wait for whatever this process computes; without effect once torch is loaded."""
    if "torch" not in sys.modules:
        settle(os.environ, launched_with(os.environ), usable_cores(bound_to()))


def launched_with(environment: Mapping[str, str]) -> Mapping[str, str]:
    """What the user had set: launchers add threads of their own choice, of which their own environment is free."""
    if "LOCAL_WORLD_SIZE" not in environment and "ACCELERATE_DYNAMO_BACKEND" not in environment:
        return environment
    import psutil

    try:
        parent = psutil.Process().parent()
        return environment if parent is None else parent.environ()
    except (psutil.Error, OSError):
        return environment


def start_all_processes() -> None:
    """Replace this process by torchrun with N of its kind, when a launcher that was asked for N started only one.

    Raises:
        UsageError: N cannot be found out, or several machines are to take part.
    """
    if not is_alone(os.environ):
        return
    import psutil

    own = launched_with(os.environ)
    if meets_elsewhere(os.environ, own):
        raise UsageError(_INSTEAD)
    parent = psutil.Process().parent()
    count = processes_asked_for(parent.cmdline() if parent else [])
    chosen = (*MEETING, *(name for name in (THREADS, *WAITING) if name not in own))
    environment = {key: value for key, value in os.environ.items() if key not in chosen}  # each process chooses anew
    arguments = ("--standalone", "--nproc_per_node", str(count), "-m", "assignbench", *sys.argv[1:])
    sys.stderr.write(f"accelerate started one process on the CPU; torchrun starts the {count} that were asked for\n")
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, "-m", "torch.distributed.run", *arguments], environment)  # noqa: S606


def is_alone(environment: Mapping[str, str]) -> bool:
    """Whether accelerate's launcher was asked for several processes on the CPU and started this one only."""
    return (
        cpu_was_asked_for(environment)
        and all(key in environment for key in MEETING)
        and "WORLD_SIZE" not in environment
    )


def meets_elsewhere(environment: Mapping[str, str], launched_with: Mapping[str, str]) -> bool:
    """Whether the launcher was told of another machine to meet at, by an option or by its file of defaults.

    Args:
        environment: of this process, which `is_alone`.
        launched_with: the launcher's own: an address that the user had exported is none of its choice.
    """
    return environment["MASTER_ADDR"] not in (HERE, launched_with.get("MASTER_ADDR"))


def processes_asked_for(command: Sequence[str]) -> int:
    """N of ``accelerate launch … --num_processes N …``.

    Raises:
        UsageError: it is not there, or several machines are.
    """
    start = next((place for place, word in enumerate(command) if "launch" in Path(word).name), len(command))
    words, found = list(command[start + 1 :]), {}
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        name = name.lstrip("-").replace("-", "_")
        if name in ("num_processes", "num_machines", "module", "m"):
            found.setdefault(name, value if equals else following)
        if name in ("module", "m"):  # what follows is ours
            break
    count = found.get("num_processes", "")
    if not count.isdecimal() or found.get("num_machines", "1") != "1":
        raise UsageError(_INSTEAD)
    return int(count)
