"""``assignbench list``: what can be named on the command line, and what was run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assignbench.cli import completing
from assignbench.cli.arguments import JsonOption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from assignbench.core import Assigner
    from assignbench.plugins import KnownStrategy, Strategy
    from assignbench.run.results.record import RunRecord

app = typer.Typer(
    help="List strategies, data sets, recipes, findings or finished runs.",
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
    as_json: JsonOption = False,
) -> None:
    """Every strategy that an installed distribution provides; of one, its options."""
    from assignbench.cli.output import say, show, show_json, table
    from assignbench.plugins import known_strategies, resolve

    if as_json:
        show_json(_strategies_facts(known_strategies() if strategy is None else [resolve(strategy)], options=options))
        return
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
def datasets(as_json: JsonOption = False) -> None:
    """The data sets that go by name."""
    from assignbench.cli.output import say, show, show_json, table
    from assignbench.data.spec.locate import known_datasets

    known = known_datasets()
    if as_json:
        facts = [{"name": one.name, "description": one.description, "file": str(one.origin)} for one in known]
        show_json({"datasets": facts})
        return
    show(table(["name", "description"], [[one.name, one.description] for one in known]))
    say("Your own: a folder, coco:DIR, voc:DIR, yolo:DIR, or the path of a YAML file.")


@app.command()
def recipes(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[RECIPE]", help="Show every setting of one, for run --set.", autocompletion=completing.recipes
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """The shipped recipes; of one, every setting with its meaning."""
    from assignbench.cli.output import say, show, show_json, table
    from assignbench.config import flatten, known_recipes, load_recipe, settings

    if as_json:
        names = known_recipes() if name is None else [name]
        meanings = {key: {"meaning": about.meaning, "allowed": about.allowed} for key, about in settings().items()}
        recipes = [{"name": one, "values": flatten(load_recipe(one).recipe)} for one in names]
        show_json({"recipes": recipes, "settings": meanings})
        return
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
def findings(as_json: JsonOption = False) -> None:
    """What data check can find: what it means, what a run does about it, what --fix does."""
    from assignbench.cli.output import say, show, show_json, table
    from assignbench.data.read.findings import KINDS

    if as_json:
        facts = [
            {
                "finding": kind.name,
                "severity": str(kind.severity),
                "meaning": kind.meaning,
                "reading": kind.reading,
                "repair": kind.remedy or None,
            }
            for kind in KINDS
        ]
        show_json({"findings": facts})
        return
    rows = [[kind.name, str(kind.severity), kind.meaning, kind.reading, kind.remedy or "nothing"] for kind in KINDS]
    show(table(["finding", "severity", "what it is", "a run", "data check --fix"], rows))
    say(
        "An error ends a run or makes a number wrong. A warning is repaired, left aside or only noted, by a rule, and "
        "is counted each time. A note is good to know."
    )


@app.command()
def runs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of runs.")] = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """The finished runs of a folder."""
    from assignbench.cli.output import show, show_json, table
    from assignbench.run.results.finished import find_runs, refuse_damaged
    from assignbench.run.results.record import named_apart

    found = find_runs(folder)
    records = named_apart(found.records)
    records.sort(key=lambda run: (run.dataset.name, run.recipe, run.assigner.label, run.seed))
    if as_json:
        show_json({"folder": str(folder), "runs": [_run_facts(run) for run in records]})
        refuse_damaged(found.damaged)
        return
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
    refuse_damaged(found.damaged)


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


def _strategies_facts(found: "Sequence[KnownStrategy | Strategy]", *, options: bool) -> dict[str, object]:
    """Strategies for programs; of one, and where it is wished, with their options and the outputs to add."""
    if not options and len(found) > 1:
        return {"strategies": [_strategy_facts(one, options=False) for one in found]}
    from assignbench.core.parts import EXTRAS

    extras = [
        {"name": name, "meaning": (extra.__doc__ or "").partition("\n")[0], "scales_score": extra.scales_score}
        for name, extra in EXTRAS.items()
    ]
    return {"strategies": [_strategy_facts(one, options=True) for one in found], "extras": extras}


def _strategy_facts(one: "KnownStrategy | Strategy", *, options: bool) -> dict[str, object]:
    """``broken``: why it cannot be used; null also of ours, which are imported only to tell more about them."""
    from assignbench.importing import in_words
    from assignbench.options import option_schema

    facts = {"name": one.name, "target": one.target, "origin": one.origin}
    try:
        cls = None if not options and getattr(one, "ours", False) else one.load()
        known = [] if cls is None or not options else option_schema(cls)
    except Exception as error:  # as in `_about`
        return {**facts, "broken": in_words(error)}
    if cls is None or not options:
        return {**facts, "broken": None}
    each = [{"name": one.name, "kind": one.kind, "text": str(one), "meaning": one.meaning} for one in known]
    return {**facts, "broken": None, "source": cls.source, "presets": list(cls.presets), "options": each}


def _run_facts(run: "RunRecord") -> dict[str, object]:
    """A finished run for programs; numbers in percent, unrounded, null without ground truth."""
    return {
        "run": run.run_id,
        "dataset": run.dataset.name,
        "recipe": run.recipe,
        "protocol": run.protocol,
        "preset": run.preset,
        "strategy": run.assigner.label,
        "seed": run.seed,
        "metrics": {name: None if value is None else 100 * value for name, value in run.metrics.items()},
        "seconds": run.seconds.total,
        "finished": run.finished.isoformat(),
    }


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
