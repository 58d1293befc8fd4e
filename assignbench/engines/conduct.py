"""Jobs brought to their records by an engine: submitted, watched, and submitted again where that helps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from assignbench.engines import history
from assignbench.engines.ends import Tries, judged
from assignbench.engines.engine import Engine, Look
from assignbench.engines.job import LOG, Job
from assignbench.errors import RunError, Stopped
from assignbench.run.matrix.ended import Ended


class Watcher(Protocol):
    """Is told what happens."""

    def __call__(self, job: Job, look: Look, said: str) -> None:
        """``said`` is a line for a person; "": the run is done."""
        ...


@dataclass
class _Standing:
    job: Job
    handle: str
    look: Look = field(default_factory=lambda: Look("queued"))
    tries: Tries = field(default_factory=Tries)


def conduct(
    jobs: Sequence[Job], engine: Engine, done: Callable[[Job], bool], watch: Watcher
) -> Iterator[tuple[Job, Ended]]:
    """Bring jobs to their records, and yield each as it ends.

    The engine is closed at the end, and whenever the caller stops early: jobs of an engine that does not survive this
    process are asked to save a checkpoint and leave.

    Args:
        jobs: runs that have no record yet.
        engine: what computes them.
        done: whether a job's run has a whole record: the only truth.
        watch: is told what happens.

    Raises:
        SystemProblem: the engine cannot be reached.
    """
    standing: list[_Standing] = []
    try:
        standing = _taken_up(jobs, engine, watch)
        while standing:
            again: list[_Standing] = []
            for one, look in zip(standing, engine.look([one.handle for one in standing]), strict=True):
                before, one.look = one.look, look
                if look.state != "ended":
                    if look != before:
                        _started(one, engine, watch)
                    continue
                end = _ended(one, engine, done, watch)
                if end is None:
                    again.append(one)
                else:
                    yield one.job, end
            standing = [one for one in standing if one.look.state != "ended"]
            standing += _submitted(again, engine)
            if standing:
                time.sleep(engine.poll)
    except (KeyboardInterrupt, Stopped):
        if not engine.survives:
            for one in standing:
                watch(one.job, one.look, "is asked to save a checkpoint and to leave")
        raise
    finally:
        engine.close()
        for one in standing if not engine.survives else ():
            history.note(one.job, history.LEFT, engine.name, one.handle, one.look)


def _taken_up(jobs: Sequence[Job], engine: Engine, watch: Watcher) -> list[_Standing]:
    """All jobs submitted but for those that an earlier command has submitted, however they stand now."""
    known = [_Standing(job, entry.handle) for job in jobs if (entry := _entry(job, engine)) is not None]
    for one in known:
        watch(one.job, one.look, f"submitted earlier, as {engine.name} job {one.handle}")
    taken = {one.job.run_id for one in known}
    return known + _submitted([_Standing(job, "") for job in jobs if job.run_id not in taken], engine)


def _entry(job: Job, engine: Engine) -> history.Entry | None:
    """What an earlier command noted of a job that may still go on."""
    entry = history.newest(job.folder) if engine.survives else None
    return entry if entry and entry.engine == engine.name and entry.event in history.OPEN else None


def _submitted(some: Iterable[_Standing], engine: Engine) -> list[_Standing]:
    some = list(some)
    if some:
        for one, handle in zip(some, engine.submit([one.job for one in some]), strict=True):
            one.handle, one.look = handle, Look("queued")
            history.note(one.job, history.SUBMITTED, engine.name, handle)
    return some


def _started(one: _Standing, engine: Engine, watch: Watcher) -> None:
    history.note(
        one.job,
        history.RUNNING if one.look.state == "running" else history.SUBMITTED,
        engine.name,
        one.handle,
        one.look,
    )
    watch(one.job, one.look, f"started, {one.look.where}" if one.look.state == "running" else "queued again")


def _ended(one: _Standing, engine: Engine, done: Callable[[Job], bool], watch: Watcher) -> Ended | None:
    """How a run ended; None: its job is to be submitted again."""
    look = one.look
    try:
        finished = done(one.job)
    except RunError as error:  # of the record; no other try mends it
        history.note(one.job, history.FAILED, engine.name, one.handle, look, str(error))
        watch(one.job, look, f"failed: {error}")
        return Ended(error.exit_code, str(error))
    if finished:
        history.note(one.job, history.DONE, engine.name, one.handle, look)
        watch(one.job, look, "")
        return Ended(0)
    verdict = judged(look, one.job.folder, one.tries)
    event = history.AGAIN if verdict.again else history.FAILED
    history.note(one.job, event, engine.name, one.handle, look, verdict.reason)
    one.tries = verdict.tries
    if verdict.again:
        watch(one.job, look, f"{verdict.reason}; it goes on")
        return None
    watch(one.job, look, f"failed: {verdict.reason}; what it printed is in {one.job.folder / LOG}")
    return Ended(verdict.code, verdict.reason)
