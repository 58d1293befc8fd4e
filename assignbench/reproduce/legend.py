"""The sentences below the claims, made from what was computed: error, correction, and what they could not see."""

from __future__ import annotations

from collections.abc import Sequence

from assignbench.comparison.legend import OTHER_QUESTION, about_of, errors_of
from assignbench.comparison.twolevel import LEAST_SEEDS
from assignbench.comparison.verdicts import Judged, smallest_of
from assignbench.comparison.words import RUNS
from assignbench.reproduce.claims import Tested


def legend(claims: Sequence[Tested]) -> tuple[str, ...]:
    """What the columns of the claims mean; (): of no claim anything is known.

    Args:
        claims: of one table.
    """
    judged = [one.judged for one in claims if one.judged is not None]
    if not judged:
        return ()
    settled = [one for one in judged if one.p_family is not None]
    told = [f"Claims: mean of the differences, paired by seed, with its 95 % interval over {_errors(claims)}."]
    if settled:
        size = f"the {len(settled)} claims of this table" if len(settled) > 1 else "the one claim of this table"
        told.append(f"Supported or contradicted: p is below 0.05 after Holm's correction for {size}.")
        told += _found(claims, len(settled))
    if any(len(one.seeds) < LEAST_SEEDS for one in claims if one.seeds):
        told.append("Fewer than three seeds decide nothing.")
    told.append("The training data and the recipe are fixed: nothing is said of others.")
    if any(question(one, claims) for one in claims):
        told.append(f"{OTHER_QUESTION} this claim answers another question: {_others(judged)}.")
    if noisy := [one for one in judged if one.difference.noisy]:
        pairs = "; ".join(dict.fromkeys(f"{one.a} and {one.b}" for one in noisy))
        told.append(f"One of the two rows spreads more over seeds than the others, so that its own counts: {pairs}.")
    return (" ".join(told),)


def question(one: Tested, claims: Sequence[Tested]) -> str:
    """‡ where a claim answers another question than most of its group."""
    own = [each.judged for each in claims if each.group == one.group and each.judged is not None]
    return OTHER_QUESTION if one.judged and one.judged.difference.about != about_of(tuple(own)) else ""


def _found(claims: Sequence[Tested], size: int) -> list[str]:
    """What they would find, in AP; of each group, where there are several."""
    groups = dict.fromkeys(one.group for one in claims)
    told = []
    for group in groups:
        own = [one.judged for one in claims if one.group == group and one.claim.on == "AP" and one.judged is not None]
        if (smallest := smallest_of(own, size)) is not None:
            told.append(f"{smallest:.1f} AP" + (f" ({group})" if len(groups) > 1 else ""))
    if not told:
        return []
    return [f"A true difference of {', '.join(told)} is found four times in five, a smaller one less often."]


def _errors(claims: Sequence[Tested]) -> str:
    """What the intervals are intervals over; of each group, where they differ."""
    groups: dict[str | None, list[Judged]] = {}
    for one in claims:
        if one.judged is not None:
            groups.setdefault(one.group, []).append(one.judged)
    told = {group: errors_of(tuple(some), RUNS) for group, some in groups.items()}
    if len({*told.values()}) == 1:
        return next(iter(told.values()))
    return "; ".join(f"{text} ({group})" for group, text in told.items())


def _others(judged: Sequence[Judged]) -> str:
    """Which other questions there are."""
    means = {
        "set": "seeds alone, on exactly these pictures",
        "networks": "one seed in common, of these two networks and not of the strategies",
        "strategies": "seeds and pictures like these",
    }
    usual, present = about_of(tuple(judged)), {one.difference.about for one in judged}
    return " or ".join(text for about, text in means.items() if about in present and about != usual)
