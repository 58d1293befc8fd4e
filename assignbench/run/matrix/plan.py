"""From what was asked for to a list of runs, everything resolved and checked before anything trains."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import combinations
from pathlib import Path
from typing import Any

import assignbench
from assignbench.config import ResolvedRecipe, deciding, digest
from assignbench.core import Assigner, Extra, Setting
from assignbench.data.dataset import Splits
from assignbench.data.pictures import files_digest
from assignbench.detector.pretrained import weights_file
from assignbench.errors import DataError, UsageError
from assignbench.files import sha256_of
from assignbench.naming import Known, KnownData, data_names_apart, names_apart
from assignbench.options import check_options, option_schema, without_folders
from assignbench.plain_text import one_line
from assignbench.plugins import Strategy, extras_named, load_class, named_by, resolve, source_digest
from assignbench.run.matrix.protocol import Protocol, protocol_of
from assignbench.sources import sources_digest, with_imports

# Files that `execute` imports, and that can change only what is said of a result: no edit of them is another run.
ONLY_SAID = (
    "data/caveats.py",  # sentences beside a number
    "data/read/",  # acts through the fingerprints of the data; kinds of findings are in notes
    "run/matrix/plan.py",  # names runs
    "run/results/",  # writes records and logs, and reads them
    "run/scoring/common_loss.py",  # judges, and teaches nothing
    "run/scoring/kept_matches.py",  # what comparisons weigh by picture
    "run/scoring/matches.py",  # the same
    "run/scoring/remarks.py",  # words of notes
    "run/scoring/test_time.py",  # only `eval` looks at a picture in several views
    "run/scoring/views.py",  # the same
    "run/training/reporter.py",  # shows progress
    "run/training/stopping.py",  # hears that the system wants the process to leave
    "run/training/stopwatch.py",  # measures time
    "run/training/trackers.py",  # shows progress, too
    "run/training/undisturbed.py",  # keeps those apart from a training that only look at it
    "run/training/validation.py",  # looks at it
)


@dataclass(frozen=True)
class Candidate:
    """A strategy that is imported, whose options fit, and the protocol it is to run under."""

    strategy: Strategy
    cls: type[Assigner]
    given: Mapping[str, Any]  # options as given, in the types of the constructor
    source_sha256: str
    protocol: Protocol
    label: str  # what this command calls it: the strategy's, which tells it apart from the others

    @property
    def known(self) -> Known:
        """What names among others go by."""
        return Known(self.strategy.name, self.strategy.origin, self.source_sha256)

    @property
    def options(self) -> dict[str, Any]:
        """What the constructor gets: those given, before them the protocol's."""
        return self.protocol.options(self.given)

    @property
    def extras(self) -> tuple[Extra, ...]:
        """The outputs to add to the strategy's own."""
        return extras_named(self.strategy.extras)

    @property
    def all_options(self) -> dict[str, Any]:
        """Every option with its value, defaults included; a strategy of a file without the folder it lies in."""
        values = {option.name: option.default for option in option_schema(self.cls)} | self.options
        return {name: without_folders(value) if isinstance(value, str) else value for name, value in values.items()}


@dataclass(frozen=True)
class Run:
    """One cell of the matrix."""

    candidate: Candidate
    splits: Splits
    recipe: ResolvedRecipe  # as the candidate's protocol changes it
    seed: int
    run_id: str  # names the run's folder
    data: str  # what this command calls the data set: its name, which tells it apart from the others
    content: str | None = None  # `Seen.content` of the evaluation pictures, once somebody has looked at them

    @property
    def title(self) -> str:
        """Short, for the screen."""
        return one_line(f"{self.candidate.label} on {self.data}, seed {self.seed}")


def candidate(text: str, protocol: str = "controlled", preset: str | None = None) -> Candidate:
    """Resolve, import and check one strategy.

    Raises:
        UsageError: there is no such strategy, extra output, protocol or preset, it cannot be imported, or its options
            do not fit.
    """
    strategy = resolve(text)
    extras_named(strategy.extras)
    cls = load_class(strategy)
    given = check_options(cls, strategy.options)
    wanted = protocol_of(cls, protocol, preset)
    return Candidate(strategy, cls, given, source_digest(strategy), wanted, strategy.label)


def candidates(texts: Iterable[str], protocol: str = "controlled", preset: str | None = None) -> list[Candidate]:
    """Several of them, ``all`` for all built-in ones, with labels that tell them apart; raises as `candidate` does."""
    found = [candidate(text, protocol, preset) for one in texts for text in named_by(one)]
    names = names_apart(one.known for one in found)
    return [replace(one, label=names[one.known] + one.label.removeprefix(one.strategy.name)) for one in found]


def plan(
    candidates: Sequence[Candidate], data: Sequence[Splits], recipe: ResolvedRecipe, seeds: Sequence[int]
) -> list[Run]:
    """Data set by data set, seed by seed, strategy by strategy: a table fills row by row.

    Raises:
        UsageError: two strategies, data sets or seeds are the same, or a strategy refuses its options or extras.
        DataError: a training split without objects.
    """
    for one, other in combinations(candidates, 2):
        mine, theirs = one.strategy, other.strategy
        if (mine.label, one.source_sha256) == (theirs.label, other.source_sha256):
            copies = "" if mine == theirs else f"; {mine.origin} and {theirs.origin} hold the same code"
            raise UsageError(f"the same strategy is asked for twice: {mine.label}{copies}")
    for what, asked in (("data set", [splits.spec for splits in data]), ("seed", [str(seed) for seed in seeds])):
        if repeated := {name for name in asked if asked.count(name) > 1}:
            raise UsageError(f"the same {what} is asked for twice: {', '.join(sorted(repeated))}")
    known = [known_data(splits) for splits in data]
    for one, other in combinations(known, 2):
        if (one.name, one.content) == (other.name, other.content):
            raise UsageError(f"{one.spec} and {other.spec} hold the same data; leave one out")
    names = data_names_apart(known)
    for splits in data:
        if splits.train.crowd.all():
            raise DataError(f"{splits.train.name}: the training split holds no object that could be learned")
    recipes = [one.protocol.recipe(recipe) for one in candidates]
    for splits in data:  # what a constructor refuses, or a loss does not allow, is said now, not after hours
        for one, own in zip(candidates, recipes, strict=True):
            setting = Setting(classes=len(splits.train.classes), channels=own.recipe.model.channels)
            one.protocol.surround(one.cls, one.options, setting, one.extras, own.recipe.loss)
    return [
        Run(one, splits, own, seed, run_id(one, splits, own, seed), names[own_data])
        for splits, own_data in zip(data, known, strict=True)
        for seed in seeds
        for one, own in zip(candidates, recipes, strict=True)
    ]


def known_data(splits: Splits) -> KnownData:
    """What names among others go by; as `DatasetFacts.known` of its records."""
    stored = splits.train.stored
    seen = f"{pictures_digest(splits)} {stored.upright} {stored.bits}"
    content = f"{splits.train.fingerprint} {seen} {splits.evaluation.fingerprint}"
    return KnownData(splits.train.name, splits.spec, content)


def run_id(one: Candidate, splits: Splits, recipe: ResolvedRecipe, seed: int) -> str:
    """Readable name and hash of everything that decides the result: settings, data, strategy, our own code."""
    content = {
        "strategy": one.strategy.name,
        "options": one.all_options,
        "extras": one.strategy.extras,
        "source": one.source_sha256,
        "data": [splits.train.fingerprint, splits.evaluation.fingerprint],
        "pictures": pictures_digest(splits),
        "stored": [splits.train.stored.upright, splits.train.stored.bits],  # the same files, seen otherwise
        "recipe": deciding(recipe.recipe),
        "test_sides": recipe.recipe.data.test_sides,  # worked out of the values by code that is not in "code"
        "weights": weights_digest(recipe.recipe.model.weights),
        "seed": seed,
        "protocol": one.protocol.name,
        "preset": one.protocol.preset_name,
        "code": code_digest(),
    }
    preset = (one.protocol.preset_name,) if one.protocol.preset_name else ()
    words = (splits.train.name, one.strategy.label, *preset, Path(recipe.name).stem, f"s{seed}")
    readable = "-".join(re.sub(r"[^A-Za-z0-9.]+", "_", Path(word).name).strip("_") for word in words)
    return f"{readable}-{digest(content)[:10]}"


@lru_cache(maxsize=16)
def pictures_digest(splits: Splits) -> str:
    """`files_digest` of the training split, once for all of its runs.

    The evaluation pictures' is not in the name: they decide no weights. The record notes their content, and a run
    whose record notes another one is evaluated again.
    """
    return files_digest(splits.train.images)


@cache
def weights_digest(weights: str) -> str | None:
    """sha256 of a file of initial weights; None: they are published, and fixed by their name, or there are none.

    Raises:
        SystemProblem: there is no such file.
    """
    file = weights_file(weights)
    return None if file is None else sha256_of(file)


@cache
def code_digest() -> str:
    """sha256 of what the files mean that can change a result (`deciding_files`)."""
    return sources_digest(deciding_files(Path(assignbench.__file__).parent))


def deciding_files(package: Path) -> list[Path]:
    """The files of assignbench that can change a result, in order.

    All of core and detector, since a strategy or a recipe may ask for any of it. Of data and run what `execute`
    imports, directly or through others, but for `ONLY_SAID`. All else acts through what the name holds anyway: readers
    through the fingerprints of the data, recipes and options through their values.
    """
    # whoever imports assignbench imports its interface for notebooks, too; a run does not use it
    reached = with_imports(package / "run" / "matrix" / "execute.py", but=[package / "api.py"])
    files = {file.relative_to(package).as_posix(): file for file in (*reached, *package.rglob("*.py"))}
    return [
        file
        for name, file in sorted(files.items())
        if name.startswith(("core/", "detector/"))
        or (name.startswith(("data/", "run/")) and file in reached and not name.startswith(ONLY_SAID))
    ]
