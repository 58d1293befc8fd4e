from rich.table import Table

from assignbench.cli.output import as_text, console, show


def test_text_is_text_also_where_it_looks_like_markup(capsys):
    table = Table("name", title="[bold]title :dog:")
    table.add_row("autoassign[center=none] :dog:")
    console().print("fcos[radius=0] :dog:")
    console().print(table)
    show(table)
    said = capsys.readouterr().out + as_text(table)
    assert said.count("fcos[radius=0] :dog:") == 1
    assert said.count("autoassign[center=none] :dog:") == 3
    assert said.count("[bold]title :dog:") == 3
