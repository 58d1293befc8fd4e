"""The application: its commands, and how errors become messages and exit codes."""

import contextlib
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer

import assignbench
from assignbench.cli import wrong_usage
from assignbench.cli.commands import (
    check,
    clean,
    compare,
    explain,
    export,
    figure,
    listing,
    new,
    plan,
    report,
    reproduce,
    run,
    runs,
    status,
    verify,
    weights,
)
from assignbench.cli.commands.bench import bench
from assignbench.cli.commands.data import data
from assignbench.cli.commands.doctor import doctor
from assignbench.cli.launching import settle_machine
from assignbench.cli.output import lasting_streams
from assignbench.errors import AssignbenchError, AssignbenchWarning, RunError, Stopped, SystemProblem, UsageError
from assignbench.importing import place
from assignbench.plain_text import lines

# what their work leaves are files: it goes on where nobody can read what they print
IN_FILES = (
    *(["run"], ["reproduce"], ["report"], ["figure"], ["predict"], ["export"], ["new"], ["import"]),
    *(["data", "prepare"], ["data", "show"]),
)
INTERRUPTED = 130  # as shells count: 128 + SIGINT
GO_ON = {
    "run": "; finished runs are kept, and the same command with --resume continues from the last checkpoint",
    "reproduce": "; finished runs are kept, and the same command continues from the last checkpoint",
}  # command → what to do when it was ended

app = typer.Typer(
    name="assignbench",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with [bold]assignbench run[/bold]: AutoAssign on generated pictures, in minutes.\n\n"
    "A strategy of your own starts with [bold]assignbench new[/bold] NAME.\n\n"
    "Exit codes: 0 fine, 1 run failed, 2 usage, 3 data, 4 machine, 5 numbers differ, "
    "6 memory or device, 75 stopped by the system, 130 interrupted.",
)
app.command("run", epilog=run.EXAMPLES)(run.run)
app.command("status", epilog=status.EXAMPLES)(status.status)
app.command("compare", epilog=compare.EXAMPLES)(compare.compare)
app.command("plan", epilog=plan.EXAMPLES)(plan.plan)
app.command("report", epilog=report.EXAMPLES)(report.report)
app.command("reproduce", epilog=reproduce.EXAMPLES)(reproduce.reproduce)
app.command("eval", epilog=runs.EVAL_EXAMPLES)(runs.evaluate)
app.command("predict", epilog=runs.PREDICT_EXAMPLES)(runs.predict)
app.command("export", epilog=export.EXAMPLES)(export.export)
app.command("new", epilog=new.EXAMPLES)(new.new)
app.command("check", epilog=check.EXAMPLES)(check.check)
app.command("explain", epilog=explain.EXAMPLES)(explain.explain)
app.command("doctor", epilog=doctor.EXAMPLES)(doctor.doctor)
app.command("clean", epilog=clean.EXAMPLES)(clean.clean)
app.command("import", epilog=weights.EXAMPLES)(weights.import_)
app.add_typer(listing.app, name="list")
app.add_typer(verify.app, name="verify")
app.add_typer(data.app, name="data")
app.add_typer(bench.app, name="bench")
app.add_typer(figure.app, name="figure")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"assignbench {assignbench.__version__}")
        raise typer.Exit


@app.callback()
def _assignbench(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    _debug: Annotated[bool, typer.Option("--debug", help="With an error, show the traceback.")] = False,
) -> None:
    """Compare label-assignment strategies of dense object detectors.

    One detector, one trainer, one loss; the strategy is what differs.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code; never raises."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = given[: given.index("--")] if "--" in given else given
    debug = "--debug" in options
    rest = [word for word in options if word != "--debug"] + given[len(options) :]
    if not os.environ.get("COLUMNS", "1").strip("0"):  # no width at all, which rich would take for one
        del os.environ["COLUMNS"]
    printed = {"--dry-run", "--print-jobs", "--json"} & set(rest)
    in_files = any(rest[: len(words)] == words for words in IN_FILES) and not printed
    with lasting_streams(raises=not in_files):
        return _answered(rest, debug)


def _answered(rest: Sequence[str], debug: bool) -> int:
    """Run the command of these words; whatever happens becomes a message and an exit code."""
    try:
        settle_machine()
        with _silent_unless_main(), _plain_warnings():
            code = _run(rest)
            return _ended("interrupted", rest, code) if code == INTERRUPTED else code  # typer's, for Ctrl-C
    except KeyboardInterrupt:
        return _ended("interrupted", rest, INTERRUPTED)
    except Stopped as signal:
        return _ended(f"stopped by {signal}", rest, signal.exit_code)
    except BrokenPipeError:  # the reader of our output left, as head does
        return 1
    except AssignbenchError as error:
        _explain(error, str(error), debug)
        return error.exit_code
    except OSError as error:
        path = f" {error.filename}" if error.filename else ""
        _explain(error, f"cannot use{path}: {error.strerror or error}", debug)
        return SystemProblem.exit_code
    except Exception as error:
        what = f"{type(error).__name__}: {error}".removesuffix(": ")
        hint = "" if debug else "; run again with --debug for the traceback"
        _explain(error, f"{what}\nthis is a bug in assignbench{hint}", debug)
        return 1


@cache
def _command() -> Any:
    """The application as what parses a command line; it is built once, which takes as long as a quick command."""
    return typer.main.get_command(app)


def _run(arguments: Sequence[str]) -> int:
    code = 0
    try:
        ended = _command()(args=list(arguments), prog_name="assignbench", standalone_mode=False)
        code = ended if isinstance(ended, int) else 0
    except wrong_usage.Wrong as error:
        if type(error).__name__ != "NoArgsIsHelpError":
            raise wrong_usage.usage_error(error) from error
        code = UsageError.exit_code  # the help was shown
    except SystemExit as end:
        if not _by_command_line(end):  # a code of ours would say what is not so
            raise RunError(
                f"SystemExit: {end.code} ({place(end)}): a plug-in must raise an error, not end the program"
            ) from end
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    sys.stdout.flush()  # here, where a closed pipe can still be answered
    return code


def _ended(how: str, arguments: Sequence[str], code: int) -> int:
    """Say how to go on after Ctrl-C, or after the system has asked the process to leave; returns the code."""
    if _rank() == 0:
        sys.stderr.write(f"{how}{GO_ON.get(next(iter(arguments), ''), '')}\n")
    return code


def _by_command_line(end: SystemExit) -> bool:
    """Whether this is how typer always ends, or rich where nobody reads on; not a plug-in's doing."""
    frames = [frame for frame, _ in traceback.walk_tb(end.__traceback__)]
    return frames[-1].f_globals.get("__name__", "").partition(".")[0] in ("typer", "click", "rich")


def _rank() -> int:
    """Number of this process among those that a launcher started; 0 is the main one."""
    rank = os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or "0"
    return int(rank) if rank.isdecimal() else 0


@contextlib.contextmanager
def _silent_unless_main() -> Iterator[None]:
    if _rank() == 0:
        yield
        return
    with Path(os.devnull).open("w", encoding="utf-8") as nothing, contextlib.redirect_stdout(nothing):
        yield


@contextlib.contextmanager
def _plain_warnings() -> Iterator[None]:
    """Warnings of our own as one line on stderr, by the main process only; all others as Python has them."""
    python_s = warnings.formatwarning

    def worded(message: Warning | str, category: type[Warning], *place: Any) -> str:
        if not issubclass(category, AssignbenchWarning):
            return python_s(message, category, *place)
        return f"warning: {lines(str(message))}\n" if _rank() == 0 else ""

    warnings.formatwarning = worded
    try:
        yield
    finally:
        warnings.formatwarning = python_s


def _explain(error: Exception, message: str, debug: bool) -> None:
    """Print an error on stderr; wrong usage, which every process finds, by the main process only."""
    if _rank() != 0 and isinstance(error, UsageError):
        return
    if debug:
        traceback.print_exception(error)
    label = "error" if _rank() == 0 else f"error in process {_rank()}"
    if sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
        label = f"\033[1;31m{label}\033[0m"
    told = lines(message).replace("\n", "\n  ")  # a line at the margin is ours alone
    print(f"{label}: {told}", file=sys.stderr)  # noqa: T201  # plain on purpose: no markup, no wrapping
