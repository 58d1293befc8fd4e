"""The sentences below a table, made from what was computed: question, error, correction, and what it could not see."""

from __future__ import annotations

from assignbench.comparison.twolevel import LEAST_SEEDS
from assignbench.comparison.verdicts import Judged, Verdicts, corrected_for
from assignbench.comparison.words import RUNS, Words

OTHER_QUESTION = "‡"  # this difference answers another question than its table


def legend(found: Verdicts, baseline: str | None, words: Words = RUNS) -> tuple[str, ...]:
    """What Δ and its signs mean; (): there is nothing to compare.

    Args:
        found: of the metric that Δ is shown of.
        baseline: the row that others are held against; None: all pairs are looked at.
        words: for what is compared.
    """
    family = found.baseline if baseline is not None else found.pairs
    if not family:
        alone = f"?: no verdict. {words.alone}"
        return (alone,) if baseline in found.rows and len(found.rows) > 1 else ()
    against = f"against {baseline}" if baseline is not None else "between every two rows"
    over = errors_of(family, words)
    told = [f"Δ: {found.metric} {against}, 95 % interval over {over}. {_marks(family, words)}".rstrip()]
    if about_of(family) == "networks":
        told.append(words.nothing)
    elif all(len(one.difference.seeds) >= LEAST_SEEDS and one.difference.p is None for one in family):
        told.append("No verdict: every seed and every picture says the same, so that nothing is known of the error.")
    elif not any(one.difference.settles for one in family):
        told.append(words.few)
    else:
        told.append(_standing(found))
        if found.smallest is not None:
            told.append(
                f"A true difference of {found.smallest:.1f} is found four times in five, a smaller one less often"
                + (", but of rows of usual spread only." if found.noisy else ".")
            )
    told.append(words.fixed)
    if any(one.difference.noisy for one in family):
        told.append(f"Spread over seeds larger than that of the others, so that its own counts: {_list(found.noisy)}.")
    return tuple(told)


def question(one: Judged, found: Verdicts) -> str:
    """‡ where a difference answers another question than most of its table."""
    return OTHER_QUESTION if one.difference.about != about_of(found.baseline or found.pairs) else ""


def about_of(family: tuple[Judged, ...]) -> str:
    """The question that most of them answer, of those that have a verdict, if there are some."""
    each = [one.difference.about for one in family if one.difference.settles]
    each = each or [one.difference.about for one in family]
    return max(("strategies", "set", "networks"), key=each.count)


def errors_of(family: tuple[Judged, ...], words: Words) -> str:
    """What the interval is an interval over."""
    about = about_of(family)
    some = [one.difference for one in family if one.difference.about == about]
    one = next((each for each in some if each.shared), some[0])
    seeds = sorted({seed for each in some for seed in each.seeds})
    named = (words.seeds if len(seeds) > 1 else words.seed).format(seeds=", ".join(map(str, seeds)))
    degrees = f"{one.freedom:g} degree{'s' if one.freedom != 1 else ''} of freedom"
    shared = "spread over seeds shared by the rows" if one.shared else "each pair's own spread over seeds"
    spread = f"{shared}, {degrees}"
    if about == "networks":
        return f"{one.images:,} pictures like these, {words.networks.format(seeds=named)}"
    if about == "set":
        return f"{named}, on exactly these pictures (Student; {spread})"
    return f"{named} and {one.images:,} pictures like these (Behrens–Fisher; {spread})"


def _marks(family: tuple[Judged, ...], words: Words) -> str:
    """The signs that occur, and what they mean."""
    present = {one.mark for one in family}
    means = {
        "*": f"* stands after Holm's correction for {counted(corrected_for(family), 'comparison')}.",
        "·": "· leaves out zero, but does not stand after the correction.",
        "?": "? no verdict.",
    }
    about = about_of(family)
    told = [text for mark, text in means.items() if mark in present]
    if any(one.difference.about == "set" != about for one in family):
        told.append(f"{OTHER_QUESTION} without detections: seeds alone, on exactly these pictures.")
    if any(one.difference.about == "networks" != about for one in family):
        told.append(f"{OTHER_QUESTION} {words.common}")
    return " ".join(told)


def _standing(found: Verdicts) -> str:
    """Who may be the best."""
    family = f"({counted(corrected_for(found.pairs), 'pair')}, Holm)"
    unjudged = [row for row in found.rows if row not in found.judged]
    but = f" Not judged: {', '.join(unjudged)}." if unjudged else ""
    if not found.tells_apart:
        return f"No row is shown to be better than another {family}. That does not make them equal.{but}"
    best = [row for row in found.rows if row in found.best]
    if len(best) == 1:
        return f"Best: {best[0]} {family}.{but}"
    return f"Best, and not to be told apart: {', '.join(best)} {family}.{but}"


def counted(number: int, what: str) -> str:
    """1 pair, 3 pairs."""
    return f"{number} {what}{'s' if number != 1 else ''}"


def _list(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))
