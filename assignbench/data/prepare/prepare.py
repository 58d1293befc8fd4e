"""A data set made whole: what is missing is fetched, checked and unpacked, by one process at a time."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field

from assignbench.data.prepare.digest import WrongBytesError, check_file
from assignbench.data.prepare.download import Patience, UnavailableError, download
from assignbench.data.prepare.plan import Plan, Step, lacking, require_rooms
from assignbench.data.prepare.publish import publish
from assignbench.data.prepare.report import Report
from assignbench.data.prepare.unpack import unpack
from assignbench.data.spec.schema import ShapesSpec
from assignbench.disk import explained, human
from assignbench.errors import DataError, SystemProblem
from assignbench.lock import Rhythm, exclusive, patiently


@dataclass
class Outcome:
    """What was done."""

    downloaded: list[str] = field(default_factory=list)  # names of files
    unpacked: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)


def prepare(
    plan: Plan,
    report: Report,
    *,
    offline: bool = False,
    keep_archives: bool = True,
    patience: Patience | None = None,
    rhythm: Rhythm | None = None,
) -> Outcome:
    """Fetch, check and unpack what is missing of a data set.

    Any number of processes, on any number of machines that share the disk, may call this at once: one works, the
    others wait and find everything there. A process that is killed at any instant leaves nothing that looks whole
    and is not; the next one goes on where it ended.

    Args:
        plan: from `plan`.
        report: what is going on.
        offline: open no connection; use the archives that are there.
        keep_archives: False: remove each archive once its content is in place.
        patience: with the network; None: the usual.
        rhythm: of waiting for other processes; None: the usual.

    Raises:
        DataError: files are missing or not the published ones; the message says which file belongs where.
        SystemProblem: the network, the disk.
    """
    outcome = Outcome()
    if isinstance(plan.spec, ShapesSpec):
        from assignbench.data.shapes.shapes import ShapesParameters, prepare_shapes  # numpy and Pillow

        fields = plan.spec.model_dump(include=set(ShapesParameters.__dataclass_fields__))
        prepare_shapes(ShapesParameters(**fields), plan.root)
        return outcome
    if not plan.steps and plan.unread():
        raise _by_hand(plan)
    missing = plan.missing()
    laid = [step for step in plan.steps if step.archive.is_file()]
    if not missing and (keep_archives or not laid):
        return outcome  # without the lock: the folder may be read-only
    if offline and missing and not laid:
        raise _incomplete(plan, missing, offline)
    with explained(plan.root):
        plan.root.mkdir(parents=True, exist_ok=True)
    waiting = patiently(lambda holder: report.say(f"{plan.name}: waiting for {holder}"))
    with exclusive(plan.lock, waiting, rhythm or Rhythm()):
        _complete(plan, report, offline, keep_archives, patience or Patience(), outcome)
    return outcome


def _complete(
    plan: Plan, report: Report, offline: bool, keep_archives: bool, patience: Patience, outcome: Outcome
) -> None:
    """File by file, so that with ``keep_archives=False`` only one archive is on the disk at a time."""
    missing = plan.missing()  # looked up again: another process may have been quicker
    require_rooms(missing, keep_archives=keep_archives)
    absent, done = [], []
    for step in plan.steps:
        if step in missing:
            if not step.archive.is_file():
                if offline or not step.source.urls:
                    absent.append(step)
                    continue
                try:
                    download(step.source, step.archive, report, patience)
                except UnavailableError as error:
                    rest = [one for one in missing if one not in done and not one.archive.is_file()]
                    kind = SystemProblem if error.network else DataError
                    raise kind(f"{error}\n{_guide(plan, rest)}") from error
                outcome.downloaded.append(step.source.file)
            else:
                _check_laid(step, report)
            _lay_down(step, report)
            outcome.unpacked.append(step.source.file)
            done.append(step)
        if not keep_archives and step.archive.is_file():
            with explained(step.archive, "remove"):
                step.archive.unlink()
            outcome.removed.append(step.source.file)
    if absent:
        raise _incomplete(plan, absent, offline)
    left = [step.lacking() or f"{step.folder} holds too few files" for step in plan.missing()]
    left += [f"{path} is missing" for path in plan.unread()]
    if left:
        raise DataError(f"{plan.name}: all archives were unpacked, yet {left[0]}; do its sources hold what it reads?")


def _by_hand(plan: Plan) -> DataError:
    homepage = f"; {plan.published.homepage}" if plan.published.homepage else ""
    places = "\n".join(f"  {path}" for path in plan.unread())
    return DataError(
        f"{plan.name} cannot be fetched: no address is known that gives its files{homepage}\n"
        f"unpacked by hand, this must be there:\n{places}"
    )


def _incomplete(plan: Plan, absent: Sequence[Step], offline: bool) -> DataError:
    why = "--offline downloads nothing" if offline else "no address is known for them"
    count = f"{len(absent)} files are" if len(absent) > 1 else "a file is"
    return DataError(f"{plan.name} is not complete: {count} missing, and {why}\n{_guide(plan, absent)}")


def _guide(plan: Plan, steps: Sequence[Step]) -> str:
    homepage = f" (homepage: {plan.published.homepage})" if plan.published.homepage else ""
    lines = [f"put these files there by hand, then run the command again{homepage}:"]
    return "\n".join(lines + [step.guide() for step in steps])


def _check_laid(step: Step, report: Report) -> None:
    """An archive that was there already: laid by hand, or downloaded by a process that was killed later."""
    try:
        check_file(step.archive, step.source, report)
    except WrongBytesError as error:
        raise DataError(
            f"{step.archive} is not the published file: {error}; remove it to have it fetched again"
        ) from error


def _lay_down(step: Step, report: Report) -> None:
    """Unpack beside the destination, verify, and only then move into place."""
    staged = step.folder / f".unpacking-{step.archive.name}"
    try:
        with explained(staged, "remove"):
            if staged.exists():  # of a process that was killed
                shutil.rmtree(staged)
        content = unpack(step.archive, staged, report)
        if (problem := lacking(step.source, staged)) is not None:
            raise DataError(
                f"{step.archive} does not hold what it should: {problem.replace(str(staged), step.source.unpack_to)}; "
                "if the publisher has changed it, describe it in a YAML file of your own"
            )
        with explained(step.folder):
            replaced = publish(
                staged, step.folder, [step.folder / step.source.inside(need) for need in step.source.needs]
            )
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(staged)
    odd = [f"{content.left_out} files of macOS left out"] if content.left_out else []
    odd += [f"{replaced} files that were there replaced"] if replaced else []
    report.say("; ".join([f"{step.source.file}: {content.files:,} files, {human(content.bytes)}, unpacked", *odd]))
