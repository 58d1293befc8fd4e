"""The sentences below a table, made from what was computed: question, error, correction, and what it could not see."""

from __future__ import annotations

from assignbench.compare.verdicts import Judged, Verdicts

OTHER_QUESTION = "‡"  # this difference answers another question than its table


def legend(found: Verdicts, baseline: str | None) -> tuple[str, ...]:
    """What Δ and its signs mean; (): there is nothing to compare.

    Args:
        found: of the metric that Δ is shown of.
        baseline: the row that others are held against; None: all pairs are looked at.
    """
    family = found.baseline if baseline is not None else found.pairs
    if not family:
        alone = "?: no verdict. One seed says nothing of its error, and no matches of the runs are kept."
        return (alone,) if baseline in found.rows and len(found.rows) > 1 else ()
    against = f"against {baseline}" if baseline is not None else "between every two rows"
    told = [f"Δ: {found.metric} {against}, 95 % interval over {errors_told(family)}. {_marks(family)}".rstrip()]
    if _about(family) == "networks":
        told.append("Of strategies nothing is decided: that takes three seeds and another question.")
    elif not any(one.difference.settles for one in family):
        told.append("No verdict: it takes three seeds that both rows have.")
    else:
        told.append(_standing(found))
        if found.smallest is not None:
            told.append(
                f"A true difference of {found.smallest:.1f} is found four times in five, a smaller one less often."
            )
    told.append("The training data and the recipe are fixed: nothing is said of others.")
    if any(one.difference.noisy for one in family):
        told.append(f"Spread over seeds larger than that of the others, so that its own counts: {_list(found.noisy)}.")
    return tuple(told)


def question(one: Judged, found: Verdicts) -> str:
    """‡ where a difference answers another question than most of its table."""
    return OTHER_QUESTION if one.difference.about != _about(found.baseline or found.pairs) else ""


def _about(family: tuple[Judged, ...]) -> str:
    each = [one.difference.about for one in family]
    return max(("strategies", "set", "networks"), key=each.count)


def errors_told(family: tuple[Judged, ...]) -> str:
    """What the interval is an interval over."""
    about = _about(family)
    some = [one.difference for one in family if one.difference.about == about]
    one = next((each for each in some if each.shared), some[0])
    seeds = sorted({seed for each in some for seed in each.seeds})
    named = f"seeds {', '.join(map(str, seeds))}" if len(seeds) > 1 else f"seed {seeds[0]}"
    spread = (
        f"spread over seeds shared by the rows, {one.freedom:g} degrees of freedom"
        if one.shared
        else f"each pair's own spread over seeds, {one.freedom:g} degrees of freedom"
    )
    if about == "networks":
        return f"{one.images:,} pictures like these, of the networks trained with {named}, not of the strategies"
    if about == "set":
        return f"{named}, on exactly these pictures (Student; {spread})"
    return f"{named} and {one.images:,} pictures like these (Behrens–Fisher; {spread})"


def _marks(family: tuple[Judged, ...]) -> str:
    """The signs that occur, and what they mean."""
    present = {one.mark for one in family}
    means = {
        "*": f"* stands after Holm's correction for {len(family)} comparisons.",
        "·": "· leaves out zero, but does not stand after the correction.",
        "?": "? no verdict.",
    }
    about = _about(family)
    told = [text for mark, text in means.items() if mark in present]
    if any(one.difference.about == "set" != about for one in family):
        told.append(f"{OTHER_QUESTION} without detections: seeds alone, on exactly these pictures.")
    if any(one.difference.about == "networks" != about for one in family):
        told.append(f"{OTHER_QUESTION} one seed in common: of these two networks, not of the strategies.")
    return " ".join(told)


def _standing(found: Verdicts) -> str:
    """Who may be the best."""
    family = f"({len(found.pairs)} {'pair' if len(found.pairs) == 1 else 'pairs'}, Holm)"
    if not found.tells_apart:
        return f"No row is shown to be better than another {family}. That does not make them equal."
    best = [row for row in found.rows if row in found.best]
    if len(best) == 1:
        return f"Best: {best[0]} {family}."
    return f"Best, and not to be told apart: {', '.join(best)} {family}."


def _list(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))
