"""``assignbench list``: what can be named on the command line, and what was run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assignbench.cli import completing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from assignbench.core import Assigner
    from assignbench.plugins import KnownStrategy, Strategy

app = typer.Typer(
    help="List strategies, data sets, recipes or finished runs.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@app.command()
def assigners(
    strategy: Annotated[
        str | None,
        typer.Argument(
            metavar="[STRATEGY]",
            help="Show the options of one: a name, or file.py:Class.",
            autocompletion=completing.strategies,
        ),
    ] = None,
    options: Annotated[
        bool, typer.Option("--options", help="Also options with their meaning, presets, paper; imports every strategy.")
    ] = False,
) -> None:
    """Every strategy that an installed distribution provides; of one, its options."""
    from assignbench.cli.output import say, show, table
    from assignbench.plugins import known_strategies, resolve

    if strategy is not None:
        found = resolve(strategy)
        show("\n".join((f"{found.name}   {found.origin}", *_about(found), "\n")))
        return
    known = known_strategies()
    rows = [[f"{one.name}{_claim(one, known)}", one.target, one.origin] for one in known]
    if not options:
        show(table(["name", "class", "provided by"], rows))
    for one, row in zip(known, rows, strict=True):
        if options:
            show("\n".join(("{}   {}, {}".format(*row), *_about(one), "\n")))
        elif not one.ours:  # those are tested, and take seconds to import
            show("".join(f"{line.strip()}\n" for line in _about(one, options=False)))
    if options:
        show("\n".join((*_extras(), "\n")))
    say("Not listed, but as good: module:Class, and file.py:Class.")


@app.command()
def datasets() -> None:
    """The data sets that go by name."""
    from assignbench.cli.output import say, show, table
    from assignbench.data.spec.locate import known_datasets

    show(table(["name", "description"], [[known.name, known.description] for known in known_datasets()]))
    say("Your own: a folder, coco:DIR, voc:DIR, yolo:DIR, or the path of a YAML file.")


@app.command()
def recipes(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[RECIPE]", help="Show every setting of one, for run --set.", autocompletion=completing.recipes
        ),
    ] = None,
) -> None:
    """The shipped recipes; of one, every setting with its meaning."""
    from assignbench.cli.output import say, show, table
    from assignbench.config import flatten, known_recipes, load_recipe, settings

    if name is not None:
        values = flatten(load_recipe(name).recipe)
        rows = [[key, _value(values[key]), about.meaning, about.allowed] for key, about in settings().items()]
        show(table(["setting", "value", "meaning", "allowed"], rows))
        return
    shown = (
        "model.backbone",
        "model.weights",
        "data.short_side",
        "train.iterations",
        "train.batch",
        "train.lr",
    )
    rows = []
    for known in known_recipes():
        values = flatten(load_recipe(known).recipe)
        rows.append([known, *(_value(values[key]) for key in shown)])
    show(table(["name", *(key.partition(".")[2] for key in shown)], rows, numbers=["iterations", "batch", "lr"]))
    say("Your own: the path of a YAML file. Every setting of one: assignbench list recipes NAME")


@app.command()
def runs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of runs.")] = Path("runs"),
) -> None:
    """The finished runs of a folder."""
    from assignbench.cli.output import show, table
    from assignbench.run.results.record import named_apart, read_records

    records = named_apart(read_records(folder))
    records.sort(key=lambda run: (run.dataset.name, run.recipe, run.assigner.label, run.seed))
    rows = [
        [
            run.dataset.name,
            run.recipe,
            run.assigner.label,
            str(run.seed),
            _points(run.metrics.get("AP")),
            _points(run.metrics.get("AP50")),
            f"{run.seconds.total / 60:.1f}",
            f"{run.finished.astimezone():%Y-%m-%d %H:%M}",
            run.run_id,
        ]
        for run in records
    ]
    columns = ["data set", "recipe", "strategy", "seed", "AP", "AP50", "minutes", "finished", "run"]
    show(table(columns, rows, numbers=["seed", "AP", "AP50", "minutes"]))


def _claim(one: "KnownStrategy", known: "Sequence[KnownStrategy]") -> str:
    """What to say of a name that several distributions claim."""
    others = [other for other in known if other.name == one.name and other != one]
    if one.ours or not others:
        return ""
    return " (the name is ours)" if any(other.ours for other in others) else " (claimed twice)"


def _about(one: "KnownStrategy | Strategy", *, options: bool = True) -> list[str]:
    """Source, presets and options of a strategy, in lines, if they are wanted; in one line why it is broken."""
    from assignbench.importing import in_words

    try:
        cls = one.load()
        return _options_of(cls) if options else []
    except Exception as error:  # a stranger's class may be anything; it must not hide the others
        return [f"  broken: {'; '.join(in_words(error).splitlines())}"]


def _options_of(cls: "type[Assigner]") -> list[str]:
    from assignbench.options import option_schema

    lines = _wrapped(cls.source, 2) if cls.source else []
    if cls.presets:
        lines += _wrapped(f"published as: {', '.join(cls.presets)}", 2)
    for option in option_schema(cls):
        lines += [*_wrapped(str(option), 4), *_wrapped(option.meaning, 8)]
    return lines


def _extras() -> list[str]:
    """The extra outputs that any strategy may be given, in lines."""
    from assignbench.core.parts import EXTRAS

    lines = ["Any strategy can be given further outputs, as in fcos+implicit_objectness or atss[k=9]+iou:"]
    for name, extra in EXTRAS.items():
        effect = " It scales the score." if extra.scales_score else ""
        lines += [f"    +{name}", *_wrapped((extra.__doc__ or "").partition("\n")[0] + effect, 8)]
    return lines


def _wrapped(text: str, indent: int) -> list[str]:
    from textwrap import wrap

    return wrap(text, 100, initial_indent=" " * indent, subsequent_indent=" " * indent)


def _points(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:.1f}"


def _value(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]" if len(value) != 1 else _value(value[0])
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
