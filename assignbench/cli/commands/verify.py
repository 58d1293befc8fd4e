"""``assignbench verify``: whether published presets are numerically their reference implementations."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assignbench.cli import completing
from assignbench.cli.arguments import Device, DeviceOption, JsonOption
from assignbench.errors import UsageError
from assignbench.paths import documentation, golden_vectors

if TYPE_CHECKING:
    from assignbench.golden.checks import Check, Replay
    from assignbench.golden.verify import Report

DIFFERS = 5  # exit code

app = typer.Typer(
    help="Hold published presets against the numbers of their reference implementations.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

EXAMPLES = (
    r"""[bold]Examples[/bold]

assignbench verify golden   [dim]# those that come with assignbench[/dim]

assignbench verify golden vectors

assignbench verify golden vectors --json > report.json
"""
    f"\n\nWhat the files hold, and the tolerances:\n\n{documentation('background/fidelity')}"
)


@app.callback()
def _verify() -> None:
    """Hold published presets against the numbers of their reference implementations."""


@app.command(epilog=EXAMPLES)
def golden(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIR]",
            help="Folder of vectors: with losses/, network/, detections/ or trajectory/ in it.",
            show_default="the seven that come with assignbench",
        ),
    ] = None,
    preset: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Preset of the implementation that the vectors came from.",
            autocompletion=completing.presets,
        ),
    ] = "mmdet",
    as_json: JsonOption = False,
    device: DeviceOption = Device.CPU,
) -> None:
    """Replay golden vectors: losses, gradients, assignments, networks, detections, first training steps.

    Without DIR: losses of retinanet, fcos, atss, freeanchor and autoassign on one
    batch each, and detections of two, as mmdetection 3.3.0 computes them.
    Exit code 5 when something differs by more than its tolerance.
    """
    from assignbench.cli.output import note, progress, show_json
    from assignbench.golden.verify import rows, verify
    from assignbench.run.training.device import device_of

    if folder is None:
        folder = golden_vectors()
        note(f"a part of the vectors, those that come with assignbench: {folder}")
    report = verify(folder, preset=preset, device=str(device_of(device.value)), progress=progress)
    if as_json:
        skipped = [{"strategy": one.strategy, "files": one.files, "reason": one.reason} for one in report.skipped]
        content = {"preset": preset, "passed": report.passed, "checks": list(rows(report)), "skipped": skipped}
        show_json(content)
    else:
        _show(report)
    if not report.replays:
        raise UsageError(f"nothing in {folder} could be replayed with preset {preset!r}: {report.skipped[0].reason}")
    raise typer.Exit(0 if report.passed else DIFFERS)


def _show(report: "Report") -> None:
    from assignbench.cli.output import progress, say, show, table

    progress("")
    columns = ["strategy", "vectors", "worst relative error of each group, and where", ""]
    rows = [
        [one.strategy, f"{one.kind}/{one.case}", "   ".join(_check(check) for check in one.checks), _verdict(one)]
        for one in report.replays
    ]
    show(table(columns, rows))
    for one in report.replays:
        for note in one.notes:
            say(f"note: {one.strategy} {one.kind}/{one.case}: {note}")
    for one in report.skipped:
        say(f"skipped: {one.strategy} ({one.files} files): {one.reason}")
    failed = sum(not one.passed for one in report.replays)
    done = len(report.replays)
    if done:
        verdict = f"{failed} of {done} files differ" if failed else f"{done} files, all within tolerance"
        say(f"preset {report.preset}: {verdict}")


def _check(check: "Check") -> str:
    worst = check.worst
    if check.tolerance == 0:
        return f"{check.group} " + ("identical" if worst.error == 0 else f"{worst.error:.0f} differ ({worst.name})")
    odd = "" if check.passed else f" > {check.tolerance:g} ({worst.name})"
    return f"{check.group} {worst.error:.1e}{odd}"


def _verdict(one: "Replay") -> str:
    return "ok" if one.passed else "DIFFERS"
