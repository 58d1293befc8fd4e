"""``assignbench data check``: everything that is odd about a data set, and a repaired copy."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assignbench.cli import completing
from assignbench.cli.arguments import DataRootOption, JsonOption, ShareOption, written_option
from assignbench.errors import DataError, UsageError

if TYPE_CHECKING:
    from assignbench.data.check.check import Check
    from assignbench.data.check.fix_write import Repaired

EXAMPLES = r"""[bold]Examples[/bold]

assignbench data check voc:my/folder

assignbench data check coco:my/folder --fix my/folder_repaired

assignbench data check my.yaml --quick --json

assignbench data check my.yaml --strict   [dim]# exit code 3 for warnings, too[/dim]
"""

SHOWN = 3  # items of a finding in the table
MOST_THREADS = 16

SpecArgument = Annotated[
    str,
    typer.Argument(
        metavar="SPEC",
        help="A data set: a folder, coco:DIR, voc:DIR, yolo:DIR, a YAML file, a name.",
        autocompletion=completing.datasets,
    ),
]


def check(
    spec: SpecArgument,
    share: ShareOption = None,
    data_root: DataRootOption = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Read the headers of pictures only: much faster, sees less.")
    ] = False,
    fix: Annotated[
        Path | None, written_option("Write a repaired copy into this new folder, as COCO JSON.", metavar="DIR")
    ] = None,
    copy_pictures: Annotated[bool, typer.Option("--copy-pictures", help="With --fix: copy the pictures, too.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Warnings fail as errors do, with exit code 3: for tests on a server.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Look for everything that is wrong or odd about a data set.

    Errors are what training refuses or what makes a number wrong; warnings are
    put right or left out by rule; notes are good to know. The exit code is 3
    when there is an error, with --strict also when there is a warning. The
    data set itself is never changed. All that can be found:
    assignbench list findings.
    """
    from assignbench.cli.output import progress, show_json
    from assignbench.data.check.check import check_dataset
    from assignbench.data.check.fix_write import refuse_full_folder, write_fixed
    from assignbench.data.read.findings import Severity
    from assignbench.data.spec.locate import data_root as root_of
    from assignbench.data.spec.locate import read_folders
    from assignbench.data.spec.share import with_share
    from assignbench.overwriting import refuse_among

    spec, root = with_share(spec, share), root_of(data_root)
    if copy_pictures and fix is None:
        raise UsageError("--copy-pictures needs --fix DIR")
    if fix is not None:
        fix = fix.expanduser().absolute()
        refuse_full_folder(fix)
        refuse_among(fix, read_folders(spec, root), "--fix")
    found = check_dataset(
        spec,
        root,
        quick=quick,
        threads=min(MOST_THREADS, os.cpu_count() or 1),
        watch=lambda done, every: progress(f"{done} of {every} pictures"),
    )
    progress("")
    repaired = problem = None
    if fix is not None:
        try:
            repaired = write_fixed(found, fix, copy_pictures=copy_pictures)
        except DataError as error:
            problem = error  # what was found is said all the same
    if as_json:
        show_json(_as_json(found, repaired))
    else:
        _print(found, repaired)
    if problem is not None:
        raise problem
    failing = (Severity.ERROR, Severity.WARNING) if strict else (Severity.ERROR,)
    raise typer.Exit(DataError.exit_code if any(map(found.count, failing)) else 0)


def _print(found: "Check", repaired: "Repaired | None") -> None:
    from assignbench.cli.output import say, show, table
    from assignbench.data.read.findings import Severity
    from assignbench.data.read.raw import items

    rows = []
    for finding in found.findings:
        first = [str(item) for item in items(found.raw(finding), finding, SHOWN)]
        more = ["…"] if finding.count > len(first) else []
        kind = finding.kind
        rows.append(
            [kind.severity, kind.name, finding.part, f"{finding.count:,}", kind.meaning, ", ".join(first + more)]
        )
    if rows:
        show(table(["", "finding", "split", "count", "what it is", "first of them"], rows, numbers=["count"]))
    for raw in (found.train, found.evaluation):
        if raw.readable:
            images, objects = len(raw.images), len(raw.annotations)
            say(f"{raw.part}: {images:,} images, {objects:,} annotations, {len(raw.categories):,} categories")
    say(*(f"note: {remark}" for remark in found.remarks))
    if found.quick:
        show(
            "quick: only the headers of pictures were read; damaged pixels, dark ones and equal pictures stay unseen\n"
        )
    counts = {severity: found.count(severity) for severity in Severity}
    said = ", ".join(f"{count} {severity}{'s' * (count > 1)}" for severity, count in counts.items() if count)
    say(f"{found.name}: {said or 'nothing odd'}")
    if repaired is not None:
        changed = sum(len(change.items) for change in repaired.changes)
        say(f"repaired copy: {repaired.spec} ({changed:,} changes, each in {repaired.report.name})")
        if repaired.left:
            say(_what_is_left(repaired))
    elif any(one.kind.severity is Severity.ERROR and one.kind.remedy for one in found.findings):
        say("--fix DIR writes a repaired copy, with a list of what was changed")


def _what_is_left(repaired: "Repaired") -> str:
    """The errors of the copy, by kind, and what to do."""
    kinds = dict.fromkeys(one.kind for one in repaired.left)
    each = []
    for kind in kinds:
        of_kind = [one for one in repaired.left if one.kind == kind]
        parts = " and ".join(dict.fromkeys(one.part for one in of_kind))
        each.append(f"{kind.name} in {parts} ({(*of_kind[0].details, kind.meaning)[0]})")
    return (
        f"errors that no rule can repair are left in the copy: {'; '.join(each)}; correct them yourself, and check "
        f"{repaired.spec} again"
    )


def _as_json(found: "Check", repaired: "Repaired | None") -> dict[str, object]:
    from assignbench.data.read.findings import Severity
    from assignbench.data.read.raw import items

    return {
        "spec": found.spec,
        "name": found.name,
        "quick": found.quick,
        "remarks": found.remarks,
        **{f"{severity}s": found.count(severity) for severity in Severity},
        "splits": {
            raw.part: {"images": len(raw.images), "annotations": len(raw.annotations), "readable": raw.readable}
            for raw in (found.train, found.evaluation)
        },
        "findings": [
            {
                "severity": str(finding.kind.severity),
                "finding": finding.kind.name,
                "meaning": finding.kind.meaning,
                "split": finding.part,
                "count": finding.count,
                "items": [item.as_json() for item in items(found.raw(finding), finding)],
            }
            for finding in found.findings
        ],
        "repaired": None
        if repaired is None
        else {
            "spec": str(repaired.spec),
            "report": str(repaired.report),
            "changes": sum(len(change.items) for change in repaired.changes),
            "errors_left": [{"finding": one.kind.name, "split": one.part} for one in repaired.left],
        },
    }
