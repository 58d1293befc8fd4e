"""``assignbench check``: whether a strategy keeps the contract."""

from typing import Annotated

import typer

EXAMPLES = r"""[bold]Examples[/bold]

assignbench check mine.py:Mine

assignbench check atss
"""


def check(
    strategy: Annotated[
        str,
        typer.Argument(
            metavar="STRATEGY",
            help=r"file.py:Class, module:Class or a name, with options as name\[option=value], extras as name+extra.",
        ),
    ],
) -> None:
    """Try on small problems whether a strategy keeps the contract.

    The laws that every strategy must obey are in the documentation; the exit
    code is 1 when one is broken.
    """
    from assignbench.cli.output import show, table
    from assignbench.contract.laws import check as check_laws
    from assignbench.core import Setting
    from assignbench.options import check_options
    from assignbench.plugins import construct, extras_named, resolve

    found = resolve(strategy)
    extras = extras_named(found.extras)
    cls = found.load()
    options = check_options(cls, found.options)
    if options or extras:  # what was asked for in vain is a matter of the text, not of the strategy
        construct(cls, options, Setting(classes=1), extras)
    results = check_laws(cls, options, extras)
    first: dict[str, str] = {}  # message → the law that said it first
    rows = []
    for law in results:
        said = f"as {first[law.message]}" if law.message in first else law.message
        rows.append([law.name, "ok" if law.passed else "BROKEN", said])
        if law.message:
            first.setdefault(law.message, law.name)
    show(table(["law", "", ""], rows))
    broken = sum(not law.passed for law in results)
    show(f"{found.label}: {f'{broken} of {len(results)} laws broken' if broken else 'keeps the contract'}\n")
    raise typer.Exit(int(broken > 0))
