"""Strategies from outside: ``name``, ``module:Class`` or ``file.py:Class`` → a class, with its origin.

Names come from the entry-point group ``assignbench.assigners`` of every installed distribution; the built-in
strategies have no other way in, but their names are theirs. Whatever a plug-in does wrong becomes a sentence about the
plug-in, for who asks for it. Extra outputs that any of them may be given (``name+extra``) are the core's own.
"""

from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from assignbench.errors import AssignbenchWarning, UsageError
from assignbench.importing import import_file, import_named, in_words, place, written_at
from assignbench.options import check_options, format_strategy, option_schema, parse_strategy, without_folders
from assignbench.plain_text import one_line
from assignbench.sources import sources_digest, with_imports
from assignbench.suggest import did_you_mean

if TYPE_CHECKING:
    from assignbench.core.assigner import Assigner, Setting
    from assignbench.core.extras import Extra

GROUP = "assignbench.assigners"
OURS = "assignbench"  # the distribution whose names nobody can take


@dataclass(frozen=True)
class KnownStrategy:
    """One entry point: a distribution says that it provides a strategy."""

    name: str
    target: str  # "module:Class"
    distribution: str
    version: str

    @property
    def origin(self) -> str:
        """Who provides it: ``"assignbench 0.1.0"``."""
        return f"{self.distribution} {self.version}"

    @property
    def ours(self) -> bool:
        """Whether it is built in."""
        return self.distribution == OURS

    def load(self) -> type[Assigner]:
        """Import the class, also where others claim its name; see `load_class`."""
        return load_class(Strategy(self.name, self.name, {}, (), self.target, self.origin, self.version))


@dataclass(frozen=True)
class Strategy:
    """A strategy that was asked for: found, not yet imported."""

    label: str  # canonical text, for tables: "atss[k=9]", "nearest.py:NearestK", "fcos+implicit_objectness"
    name: str  # the label without options and extra outputs
    options: Mapping[str, Any] = field(hash=False)  # as given; `assignbench.options.check_options` fits them
    extras: tuple[str, ...]  # names of extra outputs to add, sorted; `extras_named` knows them
    target: str  # "module:Class" or "/absolute/file.py:Class": what is imported
    origin: str  # "assignbench 0.1.0", "module my.strategies" or the file's absolute path
    version: str | None  # of the distribution; None for a file or module

    @property
    def text(self) -> str:
        """What resolves to the same strategy again, from any folder."""
        name = self.target if _is_file(self.name) else self.name
        inner = {option: resolve(text).text for option, text in strategies_in(self.load(), self.options).items()}
        return format_strategy(name, {**self.options, **inner}, self.extras)

    def load(self) -> type[Assigner]:
        """Import the class; see `load_class`."""
        return load_class(self)


def known_strategies() -> tuple[KnownStrategy, ...]:
    """Every entry point of the group, sorted by name; two distributions may claim one name."""
    points = [(point, point.dist) for point in metadata.entry_points(group=GROUP) if point.dist is not None]
    named = {dist: (dist.name, dist.version) for dist in {dist for _, dist in points}}  # reads all of METADATA
    # a distribution that lies twice on the path (editable and installed) is reported once
    found = {
        KnownStrategy(point.name, point.value.partition("[")[0].replace(" ", ""), *named[dist])
        for point, dist in points
    }
    return tuple(sorted(found, key=lambda known: (known.name, known.distribution, known.target)))


def named_by(text: str) -> tuple[str, ...]:
    """What a text stands for: ``all`` for the names of all built-in strategies, any other for itself."""
    if text != "all":
        return (text,)
    return tuple(known.name for known in known_strategies() if known.ours)


def resolve(text: str) -> Strategy:
    """Find a strategy without importing it.

    Args:
        text: ``name``, ``module:Class`` or ``file.py:Class``, with or without ``[option=value,…]`` and ``+extra``.

    Raises:
        UsageError: nobody or more than one distribution provides the name, there is no such file, or the
            text cannot be read.

    Warns:
        AssignbenchWarning: another distribution claims the name of a built-in strategy.
    """
    wanted = parse_strategy(text)
    name = wanted.name

    def found(name: str, target: str, origin: str, version: str | None = None) -> Strategy:
        label = without_folders(format_strategy(name, wanted.options, wanted.extras))
        return Strategy(label, name, wanted.options, wanted.extras, target, origin, version)

    if name.endswith(".py"):
        if not Path(name).expanduser().is_file():
            raise UsageError(f"{name}: there is no such file")
        classes = re.findall(r"^class (\w+)", Path(name).expanduser().read_text("utf-8", "replace"), re.MULTILINE)
        raise UsageError(
            f"{name}: which class of the file? Write {' or '.join(f'{name}:{one}' for one in classes or ['Class'])}"
        )
    if ":" not in name:
        known = _by_name(name)
        return found(name, known.target, known.origin, known.version)
    where, _, class_name = name.rpartition(":")
    is_module = all(part.isidentifier() for part in where.split("."))
    if not class_name.isidentifier() or not (is_module or _is_file(name)):
        raise UsageError(f"{name!r} cannot be read; write name, module:Class or file.py:Class")
    if not _is_file(name):
        return found(name, name, f"module {where}")
    path = Path(where).expanduser().resolve()
    if not path.is_file():
        raise UsageError(f"{name}: there is no file {path}")
    return found(f"{path.name}:{class_name}", f"{path}:{class_name}", str(path))


def resolve_all(text: str) -> tuple[Strategy, ...]:
    """As `resolve`; ``all`` stands for all built-in strategies, a file without a class for every strategy in it.

    Such a file is imported to find them.

    Raises:
        UsageError: as `resolve`, or there is none in the file.
    """
    from assignbench.core.assigner import Assigner

    if (names := named_by(text)) != (text,):
        return tuple(resolve(name) for name in names)
    wanted = parse_strategy(text)
    file = Path(wanted.name).expanduser().resolve()
    if not wanted.name.endswith(".py") or not file.is_file():
        return (resolve(text),)
    module = import_file(file, wanted.name)
    found = {name: value for name, value in vars(module).items() if _is_strategy(value, Assigner, module)}
    own = [name for name, value in found.items() if not inspect.isabstract(value)]
    if not own:
        raise UsageError(f"{wanted.name}: no strategy in it; derive a class from assignbench.core.Assigner")
    return tuple(resolve(format_strategy(f"{wanted.name}:{name}", wanted.options, wanted.extras)) for name in own)


def extras_named(names: Iterable[str]) -> tuple[Extra, ...]:
    """The extra outputs that can be added to any strategy, by name.

    Raises:
        UsageError: there is none of that name.
    """
    from assignbench.core.extras import EXTRAS

    found = []
    for name in names:
        if name not in EXTRAS:
            known = ", ".join(EXTRAS)
            raise UsageError(f"no extra output is called {name!r}{did_you_mean(name, EXTRAS)}\nknown: {known}")
        found.append(EXTRAS[name])
    return tuple(found)


def load_class(strategy: Strategy) -> type[Assigner]:
    """Import a strategy's class and make sure that it is one.

    Raises:
        UsageError: the import fails (with the plug-in's own error and line), there is no such class, it is
            not an `Assigner`, it is abstract, or its ``forward`` asks for something that there is not.
    """
    from assignbench.core.assigner import Assigner, asks_for

    where, _, class_name = strategy.target.rpartition(":")
    module = _module_of(strategy)
    try:
        found = getattr(module, class_name, None)
    except Exception as error:  # a stranger's module may make its names as they are asked for
        raise UsageError(f"{strategy.name}: no class {class_name!r} in {where}: {in_words(error)}") from error
    if not isinstance(found, type):
        own = [name for name, value in vars(module).items() if _is_strategy(value, Assigner, module)]
        raise UsageError(
            f"{strategy.name}: no class {class_name!r} in {where}{did_you_mean(class_name, own)}\n"
            f"strategies in it: {', '.join(own) or 'none'}"
        )
    if not issubclass(found, Assigner):
        raise UsageError(f"{strategy.name}: {class_name} is not a strategy; derive it from assignbench.core.Assigner")
    if inspect.isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise UsageError(f"{strategy.name}: {class_name} is abstract; it lacks {missing}")
    try:
        asks_for(found)
    except TypeError as error:
        raise UsageError(f"{strategy.name}: {error}") from error
    return found


def construct(
    cls: type[Assigner], options: Mapping[str, Any], setting: Setting, extras: Sequence[Extra] = ()
) -> Assigner:
    """Build a strategy with options that fit its signature, and add extra outputs to its head.

    Raises:
        UsageError: the constructor refuses a value or fails, it leaves no `Head`, or the head refuses an extra output.
    """
    from assignbench.core.head import Head

    whole = built(cls, options, setting)
    try:
        assigner = cls(setting, **whole)
    except ValueError as error:
        raise UsageError(f"{cls.__name__}: {error}") from error
    except (Exception, SystemExit) as error:  # a stranger's constructor may do anything
        where = place(error, [Path(written_at(cls.__init__)[0])])
        raise UsageError(
            f"{cls.__name__} cannot be constructed\n{type(error).__name__}: {one_line(str(error))} ({where})"
        ) from error
    if "_parameters" not in vars(assigner) or not hasattr(assigner, "setting"):
        raise UsageError(f"{cls.__name__} must call super().__init__(setting) at the start of its constructor")
    head = getattr(assigner, "head", None)
    if not isinstance(head, Head):
        raise UsageError(f"{cls.__name__} has no head; set the class attribute head = Head(…)")
    if extras:
        try:
            assigner.head = head.plus(extras)
        except ValueError as error:
            raise UsageError(f"{cls.__name__}: {error}") from error
    return assigner


def built(cls: type[Assigner], options: Mapping[str, Any], setting: Setting) -> dict[str, Any]:
    """The options of a strategy, where those that are strategies themselves are built of their text.

    Raises:
        UsageError: as `resolve`, `load_class`, `check_options` and `construct`.
    """
    inner = {name: resolve(text) for name, text in strategies_in(cls, options).items()}
    classes = {name: one.load() for name, one in inner.items()}
    return {
        **options,
        **{
            name: construct(classes[name], check_options(classes[name], one.options), setting, extras_named(one.extras))
            for name, one in inner.items()
        },
    }


def strategies_in(cls: type[Assigner], options: Mapping[str, Any]) -> dict[str, str]:
    """Those of the options that are strategies, as text."""
    chosen = {name: text for name, text in options.items() if isinstance(text, str)}
    return {one.name: chosen[one.name] for one in option_schema(cls) if one.name in chosen and one.is_strategy}


def source_digest(strategy: Strategy) -> str:
    """sha256 of what a strategy's files mean (`sources_digest`).

    They are the file that it was asked for in, those of its class and of the strategies that this derives from, and all
    that they import of their own package or folder (`with_imports`). If its options name strategies, theirs count, too.

    Raises:
        UsageError: it cannot be loaded, has no source file, or one of the files cannot be read.
    """
    from assignbench.core.assigner import Assigner

    cls = strategy.load()
    inner = [source_digest(resolve(text)) for text in strategies_in(cls, strategy.options).values()]
    bases = [base for base in cls.__mro__ if issubclass(base, Assigner) and base is not Assigner]
    try:
        starts = {Path(inspect.getsourcefile(one) or "").resolve() for one in (_module_of(strategy), *bases)}
        own = sources_digest(sorted(set().union(*map(with_imports, starts))))
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"{strategy.name}: {in_words(error)}") from error
    except (OSError, TypeError) as error:
        raise UsageError(f"{strategy.name} has no source file to identify it by; put it into one") from error
    return sha256("".join((own, *inner)).encode()).hexdigest() if inner else own


def _module_of(strategy: Strategy) -> ModuleType:
    where = strategy.target.rpartition(":")[0]
    who = f"{strategy.name} (from {strategy.origin})"
    if not where:
        raise UsageError(f"{who}: no class is named by {strategy.target!r}; an entry point is module:Class")
    return import_file(Path(where), who) if _is_file(strategy.target) else import_named(where, who)


def _is_file(name: str) -> bool:
    return name.rpartition(":")[0].endswith(".py")


def _is_strategy(value: object, base: type, module: ModuleType) -> bool:
    return isinstance(value, type) and issubclass(value, base) and value.__module__ == module.__name__


def _by_name(name: str) -> KnownStrategy:
    every = known_strategies()
    claims = [known for known in every if known.name == name]
    if ours := [known for known in claims if known.ours]:
        for known in claims:
            if not known.ours:
                said = (
                    f"{known.origin} claims the name {name!r}, which is {OURS}'s own; for theirs write {known.target}"
                )
                warnings.warn(said, AssignbenchWarning, stacklevel=3)
        claims = ours
    if len(claims) > 1:
        who = " and ".join(f"{known.origin} ({known.target})" for known in claims)
        raise UsageError(f"strategy {name!r} is claimed by {who}\nuninstall one, or write the module:Class you mean")
    if claims:
        return claims[0]
    if not every:
        raise UsageError(
            f"strategy {name!r}: no installed distribution provides any; install this one: pip install -e ."
        )
    names = [known.name for known in every]
    listing = ", ".join(known.name if known.ours else f"{known.name} ({known.origin})" for known in every)
    hint = f"; {name}.py lies here: write {name}.py" if Path(f"{name}.py").is_file() else did_you_mean(name, names)
    raise UsageError(f"no strategy is called {name!r}{hint}\nknown: {listing}; or write module:Class or file.py:Class")
