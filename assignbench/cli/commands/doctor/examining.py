"""What ``assignbench doctor`` looks at: one function a topic, one line a fact."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Literal

from assignbench.disk import existing, free_bytes, human
from assignbench.errors import AssignbenchError
from assignbench.importing import in_words

State = Literal["fine", "note", "problem"]
Check = Callable[[], Iterator["Line"]]

ROOM = 5_000_000_000  # free bytes that a folder of runs or data should have
MEMORY = 4_000_000_000  # bytes of memory that a small training takes
SHARED = 1_000_000_000  # bytes of /dev/shm that loader processes beside a GPU may fill
SHOWN = ("torch", "torchvision", "accelerate", "pycocotools", "numpy")  # the others are counted
EXTRAS = {
    "plots": "figure, bench growth --plot",
    "report": "report",
    "onnx": "export --format onnx",
    "fast": "evaluate.evaluator = fast",
    "tensorboard": "run --tracker tensorboard",
    "slurm": "run --on slurm",
    "ray": "run --on ray",
}  # and what needs them


@dataclass(frozen=True)
class Line:
    """One fact."""

    topic: str
    name: str
    state: State
    found: str
    advice: str = ""  # what to do; of a line that is fine mostly nothing


def topics(output: Path, data_root: Path | None) -> dict[str, Check]:
    """What is looked at, in order.

    Args:
        output: folder of runs.
        data_root: as the option has it.
    """
    return {
        "versions": versions,
        "extras": extras,
        "strategies": strategies,
        "processor and devices": devices,
        "memory": memory,
        "folders and disks": partial(folders, output, data_root),
        "variables": variables,
    }


def looked_at(topic: str, check: Check) -> list[Line]:
    """What a check says; where it fails itself, that is a problem, and the others go on."""
    found: list[Line] = []
    try:
        found.extend(check())
    except Exception as error:  # a broken library may raise anything
        what, advice = in_words(error).replace("\n", "; "), "mend this first: the rest was not looked at"
        found.append(Line(topic, topic.partition(" ")[0], "problem", what, advice))
    return found


def versions() -> Iterator[Line]:
    """Python and the packages that are needed, by what the installation asks for."""
    from packaging.requirements import Requirement

    from assignbench.run.results.environment import environment

    topic = "versions"
    yield Line(topic, "python", "fine", f"{platform.python_version()}, {platform.platform()}")
    here = environment(1, "no", "cpu")
    commit, dash, changed = (here.commit or "").partition("-")
    found = f"{here.assignbench}, commit {commit[:12]}{dash}{changed}" if commit else here.assignbench
    yield Line(topic, "assignbench", "fine", found)
    needed = [Requirement(text) for text in metadata.requires("assignbench") or ()]
    needed = [one for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
    others = 0
    for one in needed:
        have = _version(one.name)
        if have is None or not one.specifier.contains(have, prereleases=True):
            found = "not installed" if have is None else f"{have}, and {one.specifier} is needed"
            yield Line(topic, one.name, "problem", found, f"pip install '{one.name}{one.specifier}'")
        elif one.name in SHOWN:
            yield Line(topic, one.name, "fine", have)
        else:
            others += 1
    yield Line(topic, "others", "fine", f"{others} more packages, all as they are needed")


def extras() -> Iterator[Line]:
    """What may be installed besides."""
    from packaging.requirements import Requirement

    every = [Requirement(text) for text in metadata.requires("assignbench") or ()]
    for extra, use in EXTRAS.items():
        marked = [(one, one.marker) for one in every if one.marker is not None]
        asked = [(one, marker) for one, marker in marked if marker.evaluate({"extra": extra})]
        own = [one for one, marker in asked if not marker.evaluate({"extra": ""})]
        missing = [one.name for one in own if _version(one.name) is None]
        if missing or not own:
            found = f"for {use}: {', '.join(missing) or 'not known to this installation'}"
            yield Line("extras", extra, "note", f"not installed; {found}", f"pip install 'assignbench[{extra}]'")
            continue
        have = ", ".join(f"{one.name} {_version(one.name)}" for one in own)
        if extra == "slurm" and shutil.which("sbatch") is None:
            yield Line(
                "extras", extra, "note", f"{have}; sbatch is not on the PATH", "start it on a login node of the cluster"
            )
        else:
            yield Line("extras", extra, "fine", f"{have}, for {use}")


def strategies() -> Iterator[Line]:
    """Entry points; those of others are imported."""
    from assignbench.plugins import known_strategies

    known = known_strategies()
    ours = [one for one in known if one.ours]
    if ours:
        yield Line("strategies", "built in", "fine", f"{len(ours)}")
    else:
        yield Line("strategies", "built in", "problem", "none: the distribution is not installed", "pip install -e .")
    for one in known:
        if one.ours:
            continue
        try:
            one.load()
        except Exception as error:  # a stranger's class may be anything
            found, advice = in_words(error).replace("\n", "; "), f"mend or uninstall {one.origin}"
            yield Line("strategies", one.name, "problem", f"{one.origin}: {found}", advice)
        else:
            yield Line("strategies", one.name, "fine", f"{one.target}, by {one.origin}")


def devices() -> Iterator[Line]:
    """Processor, cores and GPUs, and what a run takes of them."""
    import torch

    from assignbench.machine import bound_to, loader_processes, own_cores, usable_cores, waiting
    from assignbench.run.results.environment import environment
    from assignbench.run.training.device import has_amx

    topic = "processor and devices"
    cpu, level = environment(1, "no", "cpu").cpu, torch.backends.cpu.get_cpu_capability()
    slow = level == "DEFAULT" and platform.machine() in ("x86_64", "AMD64")
    advice = "torch computes without AVX2 and is slow; ATEN_CPU_CAPABILITY may say so" if slow else ""
    amx = "AMX: bf16 is fast" if has_amx() else "no AMX: bf16 is slower than float32"
    yield Line(
        topic,
        "processor",
        "note" if slow else "fine",
        f"{cpu}; torch uses {level}; {amx}",
        advice,
    )
    cores, bound, threads = usable_cores(bound_to()), bound_to(), torch.get_num_threads()
    quota = f", of {bound} that it is bound to" if cores < bound else ""
    yield Line(topic, "cores", "fine", f"{cores} for this process{quota}; the machine has {os.cpu_count()}")
    odd = threads != own_cores()
    advice = "OMP_NUM_THREADS or MKL_NUM_THREADS says so; unset it to take all cores" if odd else ""
    yield Line(topic, "threads", "note" if odd else "fine", f"{threads} a run, {waiting(os.environ)}", advice)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    workers = loader_processes("auto", own_cores(), on_gpu=count > 0)
    yield Line(topic, "loaders", "fine", f"data.workers = auto is {workers} beside a run")
    for number in range(count):
        yield _gpu(topic, number)
    if count == 0:
        yield _no_gpu(topic)


def _gpu(topic: str, number: int) -> Line:
    import torch

    name, (free, total) = torch.cuda.get_device_name(number), torch.cuda.mem_get_info(number)
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    found = f"{name}, {human(free)} of {human(total)} free; bf16 is {'fast' if native else 'not native'}"
    if free < total / 2:
        return Line(
            topic, f"cuda:{number}", "note", found, "another program holds most of its memory: nvidia-smi shows it"
        )
    return Line(topic, f"cuda:{number}", "fine", found)


def _no_gpu(topic: str) -> Line:
    import torch

    there = Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi") is not None
    if there and torch.version.cuda is None:
        advice = "install a build of torch for CUDA: https://pytorch.org/get-started/locally"
        return Line(topic, "gpu", "problem", "one is there, and this torch is built without CUDA", advice)
    if "CUDA_VISIBLE_DEVICES" in os.environ and there:
        shown = os.environ["CUDA_VISIBLE_DEVICES"]
        return Line(
            topic, "gpu", "note", f"CUDA_VISIBLE_DEVICES={shown} hides all of them", "unset it to train on a GPU"
        )
    if there:
        return Line(
            topic, "gpu", "problem", "one is there, and torch cannot use it", "nvidia-smi says whether its driver works"
        )
    return Line(
        topic, "gpu", "note", "none: runs train on the processor", "recipes tiny, small and own-cpu are made for that"
    )


def memory() -> Iterator[Line]:
    """What is free, and what loader processes hand pictures over in."""
    import psutil

    now = psutil.virtual_memory()
    short = now.available < MEMORY
    advice = "close other programs, or take --set train.batch and data.short_side smaller" if short else ""
    found = f"{human(now.available)} of {human(now.total)} free"
    yield Line("memory", "memory", "note" if short else "fine", found, advice)
    shared = Path("/dev/shm")  # noqa: S108  # it is only looked at
    if shared.is_dir():
        free = free_bytes(shared)
        short = free < SHARED
        advice = "loader processes may die: docker run --shm-size=8g, or --set data.workers=0" if short else ""
        yield Line(
            "memory", str(shared), "note" if short else "fine", f"{human(free)} free, for loader processes", advice
        )


def folders(output: Path, data_root: Path | None) -> Iterator[Line]:
    """Where things are read and written."""
    import torch

    from assignbench.data.read.cache import folder as annotations
    from assignbench.data.spec.locate import data_root as root_of
    from assignbench.paths import state_folder

    root, weights = root_of(data_root), Path(torch.hub.get_dir()) / "checkpoints"
    for name, folder, how, room in (
        ("runs", output, "--output names another", ROOM),
        ("data sets", root, "--data-root or ASSIGNBENCH_DATA names another", ROOM),
        ("weights", weights, "TORCH_HOME names another", ROOM // 10),
        ("annotations", annotations(), "XDG_CACHE_HOME names another", ROOM // 10),
        ("known code", state_folder(), "XDG_STATE_HOME names another", 0),
    ):
        yield _folder(name, folder, how, room)
    files = sorted(weights.glob("*.pth")) if weights.is_dir() else []
    kept = f": {', '.join(file.name for file in files)}" if files else "; model.weights = imagenet fetches one"
    yield Line("folders and disks", "downloaded", "fine", f"{len(files)} files of weights{kept}")
    there, missing = _datasets(root)
    found = f"there: {', '.join(there) or 'none'}; not there: {', '.join(missing) or 'none'}"
    yield Line("folders and disks", "published", "fine", found, "assignbench data prepare NAME" if missing else "")


def _folder(name: str, folder: Path, how: str, room: int) -> Line:
    """Whether a folder, or the nearest one above it that is there, can be written to and has room."""
    topic, place = "folders and disks", existing(folder.absolute())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        return Line(topic, name, "problem", f"{folder} cannot be written to", f"{how} place")
    new = "" if folder.is_dir() else ", will be made"
    free = free_bytes(place)
    found = f"{folder}{new}; {human(free)} free"
    return Line(
        topic, name, "note" if free < room else "fine", found, f"free space; {how} place" if free < room else ""
    )


def _datasets(root: Path) -> tuple[list[str], list[str]]:
    """Published data sets whose files are all there, and those whose are not; generated ones are neither."""
    from assignbench.data.spec.locate import known_datasets
    from assignbench.data.spec.opening import files_of
    from assignbench.data.spec.schema import ShapesSpec, load_spec

    there: dict[bool, list[str]] = {True: [], False: []}
    for known in known_datasets():
        spec = load_spec(known.origin)
        if not isinstance(spec, ShapesSpec):
            files = [file for part in ("train", "evaluation") for file in files_of(spec, root, part)]
            there[all(file.exists() for file in files)].append(known.name)
    return there[True], there[False]


# what a variable does; those that decide in a recipe's place are `assignbench.run.training.surroundings`'s
KNOWN = {
    "ASSIGNBENCH_DATA": "folder of the data sets",
    "CUDA_VISIBLE_DEVICES": "which GPUs a run can take",
    "OMP_NUM_THREADS": "threads of a run on the processor",
    "MKL_NUM_THREADS": "threads of a run on the processor",
    "GOMP_SPINCOUNT": "how long threads wait for each other awake",
    "OMP_WAIT_POLICY": "how threads wait for each other",
    "KMP_BLOCKTIME": "how long threads wait for each other awake",
    "ATEN_CPU_CAPABILITY": "which instructions of the processor torch uses",
    "PYTORCH_CUDA_ALLOC_CONF": "how torch divides the memory of a GPU",
    "CUBLAS_WORKSPACE_CONFIG": "which of several algorithms rounds",
    "TORCH_HOME": "folder of downloaded weights",
    "XDG_CACHE_HOME": "folder of parsed annotations and of weights",
    "XDG_STATE_HOME": "folder of the list of known code",
    "NO_COLOR": "no colours",
    "COLUMNS": "width of tables",
}
FAMILIES = ("ASSIGNBENCH_", "TORCH_", "TORCHDYNAMO_", "ACCELERATE_", "HF_")


def variables() -> Iterator[Line]:
    """Those that are set and matter, as this process was started with them."""
    import psutil

    from assignbench.run.training import surroundings
    from assignbench.suggest import did_you_mean

    try:
        given: Mapping[str, str] = psutil.Process().environ()  # without what this process has set for torch
    except (psutil.Error, OSError):
        given = os.environ
    refused = {one.name: one for one in (*surroundings.REFUSED, *surroundings.REFUSED_ON_GPU)}
    compiled = {one.name: one for one in surroundings.REFUSED_WITH_COMPILE}
    aside = {one.name: one for one in surroundings.SET_ASIDE}
    matter = (*KNOWN, *refused, *compiled, *aside)
    names = sorted(name for name in given if name in matter or name.startswith(FAMILIES))
    topic = "variables"
    for name in names:
        value = f"{given[name]!r}" if given[name] else "empty"
        one = refused.get(name) or compiled.get(name) or aside.get(name)
        if one is not None and one.matters(given):
            state: State = "problem" if name in refused else "note"
            refusal = "is refused with train.compile" if name in compiled else "is set aside"
            then = "is refused" if name in refused else refusal
            yield Line(topic, name, state, f"{value}: would {one.effect}, and {then}", one.instead)
        elif name in KNOWN:
            yield Line(topic, name, "fine", f"{value}: {KNOWN[name]}")
        elif name.startswith("ASSIGNBENCH_"):
            meant = did_you_mean(name, ["ASSIGNBENCH_DATA"]).removeprefix("; ")
            yield Line(topic, name, "note", f"{value}: nothing reads it", meant or "unset it")
        else:
            yield Line(topic, name, "fine", f"{value}: changes no number of a run")
    try:
        surroundings.refuse_half_a_launch(given)
    except AssignbenchError as error:
        yield Line(topic, "launcher", "problem", str(error))
    if not names:
        yield Line(topic, "none", "fine", "no variable that matters is set")
    defaults = (
        Path(given.get("HF_HOME") or Path.home() / ".cache" / "huggingface") / "accelerate" / "default_config.yaml"
    )
    if defaults.is_file():
        found = f"{defaults}: accelerate launch reads it; assignbench and torchrun do not"
        yield Line(
            topic, "accelerate", "note", found, "accelerate env shows it; what decides a result is set aside or refused"
        )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
