"""``assignbench check``: whether a strategy keeps the contract."""

from typing import TYPE_CHECKING, Annotated

import typer

from assignbench.cli import completing
from assignbench.cli.arguments import JsonOption, Protocol

if TYPE_CHECKING:
    from assignbench.contract.laws import LawResult

EXAMPLES = r"""[bold]Examples[/bold]

assignbench check mine.py   [dim]# every strategy in it[/dim]

assignbench check 'mine.py:Mine\[k=5]'

assignbench check atss --protocol published --preset mmdet

pytest --assignbench mine.py   [dim]# the same laws as tests[/dim]
"""


def check(
    strategy: Annotated[
        str,
        typer.Argument(
            metavar="STRATEGY",
            help=r"file.py, file.py:Class, module:Class, a name or all, with options as name\[option=value], "
            "extras as name+extra.",
            autocompletion=completing.strategies,
        ),
    ],
    protocol: Annotated[
        Protocol | None,
        typer.Option(
            metavar="P", help="Only under this one: controlled, or published.", show_default="controlled, then presets"
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="With published: only this preset.",
            show_default="each of them",
            autocompletion=completing.presets,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Try on small problems whether a strategy keeps the contract.

    The laws that every strategy must obey are in the documentation; the exit
    code is 1 when one is broken.
    """
    from assignbench.cli.output import say, show_json
    from assignbench.contract.asked import trials_of
    from assignbench.plugins import resolve_all
    from assignbench.trust import remember

    if protocol is not None or preset is not None:
        _refuse_unknown(strategy, protocol or Protocol.CONTROLLED, preset)
    for one in resolve_all(strategy):
        remember(one.text)
    found: dict[str, list[LawResult]] = {}
    for label, trials in trials_of(strategy, protocol and protocol.value, preset).items():
        results = found[label] = [trial() for trial in trials]
        if not as_json:
            _show(results)
            failed = sum(not law.passed for law in results)
            say(f"{label}: {f'{failed} of {len(results)} laws broken' if failed else 'keeps the contract'}")
    if as_json:
        show_json({"strategies": [_facts(label, results) for label, results in found.items()]})
    raise typer.Exit(int(not all(law.passed for results in found.values() for law in results)))


def _refuse_unknown(strategy: str, protocol: Protocol, preset: str | None) -> None:
    """Say so where a strategy has no such preset, or none at all."""
    from assignbench.plugins import resolve_all
    from assignbench.run.matrix.protocol import protocol_of

    for one in resolve_all(strategy):
        protocol_of(one.load(), protocol.value, preset)


def _facts(label: str, results: "list[LawResult]") -> dict[str, object]:
    laws = [{"law": law.name, "passed": law.passed, "message": law.message} for law in results]
    return {"strategy": label, "passed": all(law.passed for law in results), "laws": laws}


def _show(results: "list[LawResult]") -> None:
    """A row for each law; what was said before is not said again."""
    from assignbench.cli.output import show, table

    first: dict[str, str] = {}  # message → the law that said it first
    rows = []
    for law in results:
        said = f"as {first[law.message]}" if law.message in first else law.message
        rows.append([law.name, "ok" if law.passed else "BROKEN", said])
        if law.message:
            first.setdefault(law.message, law.name)
    show(table(["law", "", ""], rows))
