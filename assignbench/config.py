"""From a recipe's name and ``--set`` options to checked values that know where they came from."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from assignbench.errors import UsageError
from assignbench.paths import config_file, configs_folder
from assignbench.problems import BrokenRule, Problem, WrongValue, allowed, problems_of
from assignbench.recipe import BOOKKEEPING, Recipe
from assignbench.strict_yaml import parse_yaml, read_yaml
from assignbench.suggest import did_you_mean

DEFAULT, OVERRIDE = "default", "--set"  # origins of a value, beside the recipe
BASE = "base"  # key of a recipe that names the one it goes over


@dataclass(frozen=True)
class ResolvedRecipe:
    """A recipe whose every value is checked and knows where it came from."""

    name: str  # of a shipped recipe, or the file's name
    recipe: Recipe
    origins: Mapping[str, str]  # "train.lr" → "default", "recipe tiny", "preset mmdet" or "--set"


@dataclass(frozen=True)
class Matrix:
    """What ``assignbench run`` was asked for: every strategy on every data set with every seed."""

    strategies: tuple[str, ...]  # as written: name, module:Class or file.py:Class, with or without options
    datasets: tuple[str, ...]
    recipe: ResolvedRecipe
    seeds: tuple[int, ...]
    protocol: str  # controlled or published
    preset: str | None  # under published: which of a strategy's presets; None: its first
    data_root: Path | None  # None: the environment's ASSIGNBENCH_DATA, then datasets/
    output: Path
    resume: bool = False
    dry_run: bool = False
    device: str = "auto"  # auto, cpu or cuda
    trackers: tuple[str, ...] = ()  # names, as Accelerate knows them; they are told how runs go
    only: str | None = None  # the id of one of the runs, which alone is wanted; None: all of them


@dataclass(frozen=True)
class KnownSetting:
    """What is to be known about one key of a recipe."""

    meaning: str  # one sentence
    allowed: str  # "a number > 0 and ≤ 10"


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> ResolvedRecipe:
    """Read a recipe and its bases, apply the overrides and check every value.

    What a recipe says goes over what its base says (``base: 1x``), and that over the base of that; where a value stands
    is its origin. The values alone decide results and the ids of runs, however they were put together.

    Args:
        name_or_path: a shipped recipe (``tiny``) or a YAML file.
        overrides: ``key=value`` with a dotted key and a YAML value, as ``train.lr=1e-3``.

    Raises:
        UsageError: an unknown recipe or key, a missing key, a wrong value, two that do not fit together, or bases that
            go round in a circle.
    """
    path = config_file("recipe", _recipes(), known_recipes(), name_or_path)
    name = _name(path)
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for file, own in reversed(list(_with_bases(path))):
        values |= own
        origins |= dict.fromkeys(own, f"recipe {_name(file)}")

    given = _parse_overrides(overrides)
    values.update(given)
    origins.update(dict.fromkeys(given, OVERRIDE))

    recipe = _validated(values, origins, f"recipe {name}")
    return ResolvedRecipe(name, recipe, {key: origins.get(key, DEFAULT) for key in flatten(recipe)})


def with_preset(
    recipe: ResolvedRecipe, name: str, changes: Mapping[str, Any], schedule: Mapping[str, Any]
) -> ResolvedRecipe:
    """A recipe with the settings of a published preset, except where ``--set`` has spoken.

    Args:
        recipe: what all strategies share.
        name: of the preset.
        changes: dotted keys and values, under any recipe.
        schedule: those that hold under the papers' schedule only (``train.papers``).

    Raises:
        UsageError: an unknown key, or values that do not fit together.
    """
    wanted = {**changes, **(schedule if recipe.recipe.train.papers else {})}
    _refuse_unknown(wanted, f"preset {name}")
    wanted = {key: value for key, value in wanted.items() if recipe.origins[key] != OVERRIDE}
    origins = {**recipe.origins, **dict.fromkeys(wanted, f"preset {name}")}
    merged = _validated({**flatten(recipe.recipe), **wanted}, origins, f"recipe {recipe.name} under preset {name}")
    return ResolvedRecipe(recipe.name, merged, origins)


def recorded_recipe(name: str, values: Mapping[str, Any], origins: Mapping[str, str]) -> ResolvedRecipe:
    """The recipe of a finished run, from its flat values (`flatten`).

    Raises:
        UsageError: the values do not make a recipe of this version.
    """
    where = f"the recorded recipe {name}"
    _refuse_unknown(values, where)
    return ResolvedRecipe(name, _validated(values, origins, where), dict(origins))


def known_recipes() -> tuple[str, ...]:
    """Names of the shipped recipes, sorted."""
    return tuple(sorted(path.stem for path in _recipes().glob("*.yaml")))


@cache
def settings() -> Mapping[str, KnownSetting]:
    """Every setting that a recipe has, under its dotted key."""
    return {
        f"{group}.{key}": KnownSetting(schema["description"], allowed(schema))
        for group, field in Recipe.model_fields.items()
        if isinstance(model := field.annotation, type) and issubclass(model, BaseModel)
        for key, schema in model.model_json_schema()["properties"].items()
    }


def flatten(recipe: Recipe) -> dict[str, Any]:
    """Every setting under its dotted key; values are JSON's: lists, numbers, text, null."""
    return _flat(recipe.model_dump(mode="json", by_alias=True), "recipe")


def deciding(recipe: Recipe) -> dict[str, Any]:
    """As `flatten`, without what cannot change a result: runs may be compared when these agree."""
    return {key: value for key, value in flatten(recipe).items() if key not in BOOKKEEPING}


def digest(content: Mapping[str, Any]) -> str:
    """sha256 of the canonical JSON: sorted keys, no spaces; 1 and 1.0 differ.

    Raises:
        TypeError, ValueError: something in it is not JSON's, NaN and infinity included.
    """
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _with_bases(path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A recipe's file with its own flat values, then its base's, and so on.

    Raises:
        UsageError: one cannot be read, has an unknown key, or is its own base.
    """
    seen: list[Path] = []
    while True:
        if path in seen:
            circle = " → ".join(_name(one) for one in (*seen[seen.index(path) :], path))
            raise UsageError(f"{seen[-1]}: its bases go round in a circle: {circle}; take base out of one of them")
        asked = f"base of {seen[-1]}" if seen else ""
        seen.append(path)
        document = _read(path, asked)
        base = document.pop(BASE, None)
        values = _flat(document, str(path))
        _refuse_unknown(values, str(path), also=(BASE,))
        yield path, values
        if base is None:
            return
        if not isinstance(base, str):
            raise UsageError(f"{path}: base = {json.dumps(base)} must be a recipe's name, or a file that ends in .yaml")
        file = Path(base).expanduser()  # relative to the file that says it
        try:
            path = config_file("recipe", _recipes(), known_recipes(), str(path.parent / file) if file.suffix else base)
        except UsageError as error:
            raise UsageError(f"{path}: base: {error}") from error


def _read(path: Path, asked: str) -> dict[Any, Any]:
    """A recipe's document; ``asked`` says who wants it, where that is not the user."""
    try:
        document = read_yaml(path)
    except UsageError as error:
        raise UsageError(f"{error} ({asked})" if asked else str(error)) from error
    if not isinstance(document, dict):
        raise UsageError(f"{path}: a recipe is a mapping with the groups {', '.join(_groups())}")
    return document


def _name(path: Path) -> str:
    """What a recipe is called: by its name where it is shipped, else by its file's."""
    return path.stem if path.parent == _recipes() else path.name


def _recipes() -> Path:
    return configs_folder() / "recipes"


def _groups() -> list[str]:
    return list(Recipe.model_fields)


def _flat(nested: Mapping[str, Any], where: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in _leaves(nested):
        if key in flat:
            raise UsageError(f"{where}: key {key!r} is given twice")
        flat[key] = value
    return flat


def _leaves(nested: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            yield from ((f"{key}.{rest}", leaf) for rest, leaf in _leaves(value))
        else:
            yield str(key), value


def _refuse_unknown(keys: Mapping[str, Any], where: str, also: Sequence[str] = ()) -> None:
    """Keys that are no settings; what may be meant is one, or one of ``also``."""
    known = list(settings())
    for key in keys:
        if key in _groups():
            example = next(name for name in known if name.startswith(f"{key}."))
            raise UsageError(f"{where}: {key!r} is a group of settings, not one; name a setting in it, as {example}")
        if key not in known:
            suggestion = did_you_mean(key, [*known, *also])
            group = [name for name in known if name.startswith(f"{key.partition('.')[0]}.")]
            hint = "" if suggestion else f"\nknown: {', '.join(group or known)}"
            raise UsageError(f"{where}: unknown key {key!r}{suggestion}{hint}")


def _parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for text in overrides:
        key, equals, value = text.partition("=")
        key = key.strip()
        if not equals:
            raise UsageError(f"--set {text}: write key=value, as --set train.lr=0.01")
        _refuse_unknown({key: value}, "--set")
        if key in values:
            raise UsageError(f"--set: key {key!r} is given twice")
        values[key] = parse_yaml(value, f"--set {key}")
    return values


def _validated(values: Mapping[str, Any], origins: Mapping[str, str], where: str) -> Recipe:
    nested: dict[str, dict[str, Any]] = {group: {} for group in _groups()}
    for key, value in values.items():
        group, _, name = key.partition(".")
        nested[group][name] = value
    try:
        return Recipe.model_validate(nested)
    except ValidationError as error:
        problems = problems_of(error, nested, Recipe)
        lacking = any(problem["type"] == "missing" for problem in error.errors())
    told = [_told(problem, origins, where) for problem in problems]
    if lacking:
        told.append(f"{where}: a recipe of its own says every setting; with a line {BASE}: tiny it says what differs")
    raise UsageError("\n".join(told))


def _told(problem: Problem, origins: Mapping[str, str], where: str) -> str:
    """One sentence: of a value with its origin, else with ``where`` and the overrides that a broken rule names."""
    match problem:
        case WrongValue(key=key):
            return problem.sentence(origins[".".join(key.split(".")[:2])])
        case BrokenRule(rule=rule):
            changed = [key for key, origin in origins.items() if origin == OVERRIDE and key in rule]
            where = " ".join([where, *(["with --set", *changed] if changed else [])])
    return f"{where}: {problem.sentence()}"
