"""``assignbench data``: data sets on the disk, before anything is trained on them."""

import typer

from assignbench.cli.commands.data import checking, describing, opening, preparing

app = typer.Typer(
    help="Fetch, open, check, describe and show data sets.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@app.callback()
def _data() -> None:
    """Fetch, open, check, describe and show data sets."""


app.command("prepare", epilog=preparing.EXAMPLES)(preparing.prepare)
app.command("open", epilog=opening.EXAMPLES)(opening.open_)
app.command("check", epilog=checking.EXAMPLES)(checking.check)
app.command("stats", epilog=describing.STATS_EXAMPLES)(describing.stats)
app.command("show", epilog=describing.SHOW_EXAMPLES)(describing.show)
