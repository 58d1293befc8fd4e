"""Trackers that Accelerate knows (TensorBoard, Weights & Biases, MLflow, …) are told how a run goes.

They are guests: one that fails in whatever way is said and dropped, and the run goes on as if it had not been asked
for. Random numbers and signals are as before whenever one had its turn.
"""

from __future__ import annotations

import contextlib
import inspect
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from assignbench.errors import UsageError
from assignbench.importing import in_words
from assignbench.machine import STOPS
from assignbench.run.training.undisturbed import same_randomness
from assignbench.suggest import did_you_mean

PROJECT = "assignbench"  # what trackers with projects call all runs together
STAND_INS = {"tensorboard": "tensorboardX"}  # a package that does as well


def known() -> Mapping[str, type[Any]]:
    """Accelerate's trackers by name."""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS  # here: it may bring the trackers' own packages

    return LOGGER_TYPE_TO_CLASS


def check_trackers(names: Sequence[str]) -> None:
    """Whether trackers can be asked for; to be called before training.

    Raises:
        UsageError: Accelerate knows none of a name, or its package is not installed.
    """
    for name in names:
        if name not in known():
            listed = ", ".join(sorted(known()))
            raise UsageError(f"--tracker {name}: Accelerate knows {listed}{did_you_mean(name, known())}")
        if not any(find_spec(package) for package in (name, STAND_INS.get(name, name))):
            package = "'assignbench[tensorboard]'" if name == "tensorboard" else name
            raise UsageError(f"--tracker {name}: its package is not installed; pip install {package}")


def arguments(name: str, folder: Path, run_id: str, iteration: int) -> dict[str, Any]:
    """What a tracker is made with, beside the folder that it may need: a run that goes on is to stay one run there.

    Args:
        name: of the tracker.
        folder: that a tracker which keeps files may keep them in.
        run_id: of the run.
        iteration: that a checkpoint is of; what TensorBoard has of later ones is to be replaced.
    """
    own: dict[str, dict[str, Any]] = {
        "tensorboard": {"run_name": name, "purge_step": iteration + 1},
        "wandb": {"run_name": PROJECT, "id": run_id, "name": run_id, "resume": "allow"},
        "mlflow": {"experiment_name": PROJECT, "run_name": run_id},
        "trackio": {"run_name": PROJECT, "name": run_id, "resume": "allow"},
        "swanlab": {"run_name": PROJECT, "experiment_name": run_id},
        "dvclive": {"run_name": run_id, "dir": str(folder / name)},
        "clearml": {
            "run_name": PROJECT,
            "task_name": run_id,
            "auto_connect_arg_parser": False,
            "auto_connect_frameworks": False,
        },
        "aim": {"run_name": run_id},
    }
    return own.get(name, {"run_name": PROJECT})


class Trackers:
    """The trackers of one run; without effect where there is none, or none any more."""

    def __init__(
        self,
        names: Sequence[str],
        folder: Path,
        run_id: str,
        settings: Mapping[str, Any],
        say: Callable[[str], None],
    ) -> None:
        """Nothing is started yet.

        Args:
            names: of trackers that `check_trackers` has seen.
            folder: that those keep their files in which keep any here.
            run_id: of the run.
            settings: what trackers are told of the run, by dotted key.
            say: tells a person.
        """
        self.names, self.folder, self.run_id, self.settings, self.say = names, folder, run_id, settings, say
        self.at_work: dict[str, Any] = {}

    def start(self, iteration: int) -> None:
        """Begin behind an iteration: 0, or that of the checkpoint that the run goes on from."""
        facts = {
            key: value if isinstance(value, (int, float, str)) else str(value) for key, value in self.settings.items()
        }
        for name in self.names:
            with self.forgiven(name):
                self.at_work[name] = started(name, self.folder, self.run_id, iteration)
                if name != "tensorboard":  # which would show them as a run of their own, at each start
                    self.at_work[name].store_init_configuration(facts)

    def log(self, values: Mapping[str, float | None], iteration: int) -> None:
        """Tell numbers, by name, of an iteration; those that are None are left out."""
        numbers = {name: value for name, value in values.items() if value is not None}
        for name in tuple(self.at_work):
            with self.forgiven(name):
                self.at_work[name].log(dict(numbers), step=iteration)

    def finish(self) -> None:
        """Let all of them end."""
        for name in tuple(self.at_work):
            with self.forgiven(name):
                self.at_work.pop(name).finish()

    @contextlib.contextmanager
    def forgiven(self, name: str) -> Iterator[None]:
        """Drop a tracker that fails in the block, and say so."""
        try:
            with same_randomness(), same_signals():
                yield
        except (Exception, SystemExit) as error:
            self.at_work.pop(name, None)
            self.say(f"tracker {name} failed and is left out from here on: {in_words(error)}; the run goes on")


def started(name: str, folder: Path, run_id: str, iteration: int) -> Any:
    """A tracker at work; arguments as those of `arguments`."""
    cls = known()[name]
    own = arguments(name, folder, run_id, iteration)
    if cls.requires_logging_directory:
        folder.mkdir(parents=True, exist_ok=True)
        own["logging_dir"] = str(folder)
    tracker = cls(**own)
    if inspect.isfunction(getattr(cls, "start", None)):  # older versions of Accelerate start one as they make it
        tracker.start()
    return tracker


@contextlib.contextmanager
def same_signals() -> Iterator[None]:
    """After the block the system's wish to stop is heard by whom it was heard before."""
    if threading.current_thread() is not threading.main_thread():  # which alone can set it
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *STOPS)}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)
