"""Worker processes that load ahead: started, watched, explained when they die.

Nothing here knows what is loaded.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import multiprocessing.context
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from functools import partial
from multiprocessing import forkserver
from typing import Any, TypeVar, cast

import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data._utils.pin_memory import pin_memory

from assignbench.data.load.heap import keep_freed
from assignbench.data.load.slots import SLOTS, begin_item, forget, open_slots
from assignbench.errors import DataError, SystemProblem
from assignbench.machine import STOPS, bound_to

WATCH = 2.0  # seconds between a worker's looks at the main process
LAST = 60.0  # seconds that a worker goes on after SIGTERM
KEPT = 1 << 27  # bytes that a picture needed and the next one will; fetching them anew is a fifth of a worker's time

Item = TypeVar("Item")

_loaders = itertools.count()  # names of this process's loaders


class _Loads(TorchDataset[Any]):
    """What the loader's workers call; a problem is an answer, so that its message arrives unwrapped."""

    def __init__(self, load: Callable[[int], object]) -> None:
        self.load = load

    def __getitem__(self, index: int) -> object:
        begin_item()
        try:
            return self.load(index)
        except (DataError, SystemProblem) as error:
            return error


def load_ahead(load: Callable[[int], Item], numbers: range, workers: int) -> Generator[Item]:
    """What ``load`` makes of ``numbers``, in order and ahead of use.

    Args:
        load: called in this process or in a worker, so it must be possible to pickle it.
        numbers: what to call it with.
        workers: processes, no more of them than CPU cores (they would only slow each other down); 0 loads in this one.

    Raises:
        DataError, SystemProblem: what ``load`` raised, or a worker died.
    """
    workers = min(workers, len(numbers), bound_to())
    pinned = torch.cuda.is_available()
    if not workers:
        keep_freed(KEPT)  # as a worker does
        for number in numbers:
            item = load(number)
            yield cast("Item", pin_memory(item)) if pinned else item
        return
    name = next(_loaders)
    loader = DataLoader(
        _Loads(load),
        sampler=numbers,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=SLOTS,
        multiprocessing_context=_fresh_processes(),
        worker_init_fn=partial(_attend, os.getpid(), name),
        pin_memory=pinned,
        generator=torch.Generator(),  # its own, or every loader would advance the global random state
    )
    try:
        yield from _received(loader)
    finally:  # the workers have ended
        forget(name)


def _received(loader: DataLoader[Any]) -> Generator[Any]:
    """What workers send; errors as `load_ahead`."""
    try:
        for item in loader:
            if isinstance(item, (DataError, SystemProblem)):
                raise item
            yield item
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise SystemProblem(
            f"a data worker died, most likely for want of memory or shared memory; use fewer workers: {error}"
        ) from error


def _attend(main: int, loader: int, worker: int) -> None:
    """Make a worker live as long as the process it works for, and no longer.

    Ctrl-C is the main process's to answer: workers would only print tracebacks, and end with it anyway. So is what a
    scheduler sends to all processes of a job: the main one still needs batches for its last iteration. A main
    process that is killed outright can end nobody, and the loader's own watchdog looks at the parent, which is
    the fork server here; so a thread looks at the main process itself.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _outlast_a_stop()
    keep_freed(KEPT)
    open_slots(loader, worker)

    def watch() -> None:
        while is_alive(main):
            time.sleep(WATCH)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _outlast_a_stop() -> None:
    """Go on working for a while after SIGTERM, by which the loader ends workers that do not answer, too."""

    def end_later(*_: object) -> None:
        timer = threading.Timer(LAST, os._exit, (1,))
        timer.daemon = True
        timer.start()

    signal.signal(signal.SIGTERM, end_later)
    for number in STOPS:
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)


def is_alive(process: int) -> bool:
    """Whether there is a process of that number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _fresh_processes() -> multiprocessing.context.BaseContext:
    """Workers never fork this process: its threads (progress, OpenMP, CUDA) may hold locks."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["assignbench.data.load.batch"])  # torch is imported once, not once a worker
    with _ignored():  # a program inherits what is ignored, and nothing else
        forkserver.ensure_running()
    return context


@contextlib.contextmanager
def _ignored() -> Iterator[None]:
    """In the block, what a scheduler sends to all processes of a job is ignored; only the main thread can do so."""
    numbers = STOPS if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
