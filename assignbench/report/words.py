"""The verdict in words, made from what was computed: who is best, how sure that is, and what would change it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from assignbench.comparison.families import ALPHA
from assignbench.comparison.twolevel import LEAST_SEEDS
from assignbench.comparison.verdicts import Verdicts, corrected_for
from assignbench.report.judged import Estimate, Reach

FEW = 4  # names in a sentence; of more, the number


@dataclass(frozen=True)
class Name:
    """A strategy in a sentence: text of a stranger's, to be set apart from ours."""

    text: str


Sentence = tuple[str | Name, ...]


@dataclass(frozen=True)
class Words:
    """What one metric on one data set says."""

    headline: Sentence
    sure: tuple[Sentence, ...]
    change: tuple[Sentence, ...]


def words(
    dataset: str,
    images: int,
    found: Verdicts,
    rows: Mapping[str, Estimate],
    reach: Reach | None,
    runs: int,
    silent: Sequence[str] = (),
) -> Words:
    """Put the verdicts of a metric into sentences.

    Args:
        dataset: its name.
        images: pictures that the runs were scored on.
        found: the verdicts.
        rows: name → its value.
        reach: what this table could have shown; None: no verdict may be read.
        runs: finished runs behind it.
        silent: classes that no run finds anything of.
    """
    on, metric = Name(dataset), found.metric
    present = sorted(found.rows, key=lambda row: -(rows[row].mean or 0.0))
    if not present:
        return Words(("On ", on, f" nothing has a value of {metric}."), (), ())
    if len(present) == 1:
        headline: Sentence = ("On ", on, " there is one strategy, ", Name(present[0]), ". Nothing is compared.")
        return Words(headline, _basis(found, images, runs), ())
    if reach is None:
        return Words(_undecidable(on, found, rows, present), _basis(found, images, runs), _too_few(found))
    return Words(
        _standing(on, found, rows, [row for row in present if row in found.judged]),
        (*_basis(found, images, runs), *_silent(silent), *_unjudged(found), *_held(found)),
        _change(metric, reach),
    )


def _undecidable(on: Name, found: Verdicts, rows: Mapping[str, Estimate], present: Sequence[str]) -> Sentence:
    top = present[0]
    if len({rows[row].mean for row in present}) == 1:
        return (
            "On ",
            on,
            f" all strategies have the same {found.metric}, {_number(rows[top])}: nothing can be compared.",
        )
    return (
        *("On ", on, " no verdict may be read. The highest ", f"{found.metric}, {_number(rows[top])}, belongs to "),
        *(Name(top), ", which may be luck."),
    )


def _standing(on: Name, found: Verdicts, rows: Mapping[str, Estimate], present: Sequence[str]) -> Sentence:
    best = [row for row in present if row in found.best]
    rest = len(present) - len(best)
    if not found.tells_apart:
        return (
            *("On ", on, f" none of the {len(present)} strategies is shown to be better than another in "),
            f"{found.metric}. That does not make them equal.",
        )
    if len(best) == 1:
        whom = "the other one" if rest == 1 else f"the other {rest}"
        beaten = all(best[0] in (one.a, one.b) and one.decided for one in found.pairs if best[0] in (one.a, one.b))
        if beaten:
            return ("On ", on, ", ", Name(best[0]), f" is the best in {found.metric}: it is better than {whom}.")
        return (
            *(
                "On ",
                on,
                ", ",
                Name(best[0]),
                f" may be the best in {found.metric}: each of the other {rest} is worse ",
            ),
            "than some strategy, though not each is shown to be worse than this one.",
        )
    others = f"The other {rest} are each" if rest > 1 else "The other one is"
    loose = [row for row in best if row in found.noisy]
    vary = " varies" if len(loose) == 1 else " vary"
    return (
        *("On ", on, f", {len(best)} of {len(present)} strategies may be the best in {found.metric} and cannot be "),
        *("told apart; the highest are ", *_names(best, rows), f". {others} shown to be worse than some strategy."),
        *((" ", *_names(loose), vary, " too much over seeds to be shut out.") if loose else ()),
    )


def _basis(found: Verdicts, images: int, runs: int) -> tuple[Sentence, ...]:
    """Seeds and pictures behind it."""
    seeds = sorted({seed for one in found.pairs for seed in one.difference.seeds})
    told = f"It rests on {runs} finished {'run' if runs == 1 else 'runs'}, scored on {images:,} pictures"
    shared = f", and on seeds {', '.join(map(str, seeds))}." if len(seeds) > 1 else "."
    kinds = {one.difference.about for one in found.pairs}
    sentences: list[Sentence] = [(told + shared,)]
    if "set" in kinds:
        sentences.append(
            ("Some detections are missing, so that those intervals speak of exactly these pictures, not of others.",)
        )
    if "networks" in kinds:
        sentences.append(
            ("With one seed an interval speaks of two trained networks, not of the strategies behind them.",)
        )
    return tuple(sentences)


def _silent(classes: Sequence[str]) -> tuple[Sentence, ...]:
    """Classes that tell nothing."""
    if not classes:
        return ()
    return (
        (
            "No strategy reaches an AP of 1 on ",
            *_names(classes),
            ": differences come from the other classes.",
        ),
    )


def _unjudged(found: Verdicts) -> tuple[Sentence, ...]:
    """Strategies that nothing is said of."""
    some = [row for row in found.rows if row not in found.judged]
    why = " not judged: it takes three seeds in common with another strategy."
    return ((*_names(some), " is" if len(some) == 1 else " are", why),) if some else ()


def _held(found: Verdicts) -> tuple[Sentence, ...]:
    """What the verdicts are protected against."""
    pairs = corrected_for(found.pairs)
    over = f"{pairs} such comparisons" if pairs > 1 else "such a comparison"
    luck = f"{100 * ALPHA:.0f} of 100 tables"
    told: list[Sentence] = [
        ("If no strategy were better than another, ", over, f" would show a difference in at most {luck}."),
        ("The training data and the recipe are fixed: nothing is said of others.",),
    ]
    if found.noisy:
        which = sorted(found.noisy)
        told.append((*_names(which), " spread more over seeds than the others, so that their own spread counts."))
    return tuple(told)


def _change(metric: str, reach: Reach) -> tuple[Sentence, ...]:
    told: list[Sentence] = [
        (
            f"A true difference of {reach.now:.1f} {metric} between two strategies of usual spread would be found ",
            "four times in five, a smaller one less often.",
        )
    ]
    told.append((f"With {2 * reach.seeds} seeds in place of {reach.seeds} it would be {reach.twice:.1f}.",))
    if reach.floor > 0:
        told.append((f"Below {reach.floor:.1f} no number of seeds helps, only more pictures.",))
    return tuple(told)


def _too_few(found: Verdicts) -> tuple[Sentence, ...]:
    seeds = max((len(one.difference.seeds) for one in found.pairs), default=0)
    if seeds >= LEAST_SEEDS:
        return (("Every seed and every picture says the same, so that nothing is known of the error.",),)
    have = "no seed is" if seeds == 0 else "one seed is" if seeds == 1 else f"{seeds} seeds are"
    return ((f"Three seeds that the strategies share would allow a verdict; here {have} shared.",),)


def _names(rows: Sequence[str], values: Mapping[str, Estimate] | None = None) -> Sentence:
    """Some names, with their values if they are given, and how many more."""
    shown = rows if len(rows) <= FEW + 1 else rows[:FEW]
    more = len(rows) - len(shown)
    parts: list[str | Name] = []
    for number, row in enumerate(shown):
        last = number == len(shown) - 1 and not more
        parts += ([" and " if last else ", "] if number else []) + [Name(row)]
        parts += [] if values is None else [f" ({_number(values[row])})"]
    return (*parts, f" and {more} more") if more else tuple(parts)


def _number(estimate: Estimate) -> str:
    return "–" if estimate.mean is None else f"{estimate.mean:.1f}"
