"""The two forms of an exported network: how each is written, and how it is opened and run again."""

from __future__ import annotations

import importlib.util
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from assignbench.core.types import PADDING
from assignbench.errors import AssignbenchError, RunError, SystemProblem
from assignbench.run.training.device import memory_advice

Form = Literal["torch", "onnx"]
Run = Callable[[Tensor, Tensor], Sequence[Tensor]]  # images and sizes → outputs

ENDS: dict[Form, str] = {"torch": ".pt2", "onnx": ".onnx"}
NEEDS: dict[Form, tuple[str, ...]] = {"torch": (), "onnx": ("onnx", "onnxscript", "onnxruntime")}
INPUTS = ("images", "sizes")
LEAST, MOST = 160, 8192  # pixels of a side that may vary: below, the coarsest map has a single row or column
SHORT = "the network does not fit into memory with pictures of that size; choose a smaller --size or smaller --pictures"
TRACED = (2, LEAST + PADDING, LEAST + 2 * PADDING)  # images, height, width of the example that the export follows


def require_packages(form: Form) -> None:
    """Before any work.

    Raises:
        SystemProblem: packages are missing.
    """
    if missing := [name for name in NEEDS[form] if importlib.util.find_spec(name) is None]:
        raise SystemProblem(f"--format {form} needs {', '.join(missing)}: pip install 'assignbench[{form}]'")


def versions_of(form: Form) -> dict[str, str]:
    """The packages that write and check a form, with their versions."""
    return {name: version(name) for name in ("assignbench", "torch", "torchvision", *NEEDS[form])}


def traced(network: nn.Module, size: tuple[int, int] | None) -> ExportedProgram:
    """The network as a graph; the number of images is free, and height and width are unless a size is given.

    Args:
        network: in evaluation mode, on the CPU.
        size: height and width, multiples of 32; None: both are free.

    Raises:
        RunError: the network does something that cannot be followed.
        DeviceFault: memory is short.
    """
    images, height, width = (TRACED[0], *(size or TRACED[1:]))
    free: dict[int, object] = {0: Dim("images", min=1, max=1024)}
    if size is None:
        rows, columns = (Dim(name, min=LEAST // PADDING, max=MOST // PADDING) for name in ("rows", "columns"))
        free |= {2: PADDING * rows, 3: PADDING * columns}
    advice = "try --size, as in --size 800x1344" if size is None else None
    with _explained("followed by torch.export", advice), torch.no_grad(), _quiet():
        example = torch.zeros(images, 3, height, width, dtype=torch.uint8), torch.tensor([[height, width]] * images)
        return torch.export.export(network, example, dynamic_shapes=(free, {0: free[0]}), strict=False)


def write(form: Form, program: ExportedProgram, outputs: Sequence[str], file: Path) -> None:
    """Write a graph; ``outputs`` are the names of its outputs, which ONNX keeps.

    Raises:
        RunError: the graph holds something that the form cannot say.
        OSError: the disk refuses.
    """
    if form == "torch":
        # by way of memory: where torch itself meets a full disk, it ends the whole process
        content = io.BytesIO()
        with _quiet():
            torch.export.save(program, content)
        file.write_bytes(content.getbuffer())
        return
    with _explained("written as ONNX", "use --format torch"), _quiet():
        written = torch.onnx.export(
            program, dynamo=True, input_names=INPUTS, output_names=list(outputs), verbose=False, optimize=True
        )
        assert written is not None  # noqa: S101 - for the type checker: with dynamo it is a program
        written.save(str(file), external_data=False)


def opened(form: Form, file: Path) -> Run:
    """A file, ready to run on the CPU."""
    if form == "torch":
        with _quiet():
            module = torch.export.load(file).module()
        return lambda images, sizes: module(images, sizes)
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])

    def run(images: Tensor, sizes: Tensor) -> list[Tensor]:
        found = session.run(None, dict(zip(INPUTS, (images.numpy(), sizes.numpy()), strict=True)))
        return [torch.from_numpy(each) for each in found]

    return run


@contextmanager
def _explained(what: str, advice: str | None) -> Iterator[None]:
    """Whatever torch raises here, of a dozen types, is about the network, unless it is the system's word."""
    try:
        with memory_advice(SHORT):
            yield
    except (AssignbenchError, OSError):
        raise
    except Exception as error:
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise RunError(f"the network cannot be {what}: {reason:.300}{f'; {advice}' if advice else ''}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """What torch says of its own progress and future is nothing that a user can act on."""
    log = logging.getLogger("torch")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(action="ignore"), redirect_stdout(io.StringIO()):
            yield
    finally:
        log.setLevel(level)
