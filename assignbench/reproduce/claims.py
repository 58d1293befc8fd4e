"""The claims of an experiment held against its runs: each difference with its error, and what stands of all of them.

The claims of a table are one family, held to 5 % by Holm's rule. A difference has errors by seeds and by pictures as in
`assignbench.comparison.twolevel`; from four rows of a table on they share their spread over seeds, as in a comparison.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from assignbench.comparison.families import ALPHA
from assignbench.comparison.twolevel import LEAST_SEEDS, Difference, Runs
from assignbench.comparison.verdicts import Judged, differences, family_of, shared_by
from assignbench.reproduce.filled import Filled, Values, failed, state_of
from assignbench.reproduce.schema import OFF_CENTRE, Claim
from assignbench.reproduce.sheet import Line, Sheet

Verdict = Literal["supported", "contradicted", "undecided", "not tested"]


@dataclass(frozen=True)
class Tested:
    """A claim held against the runs."""

    group: str | None
    claim: Claim
    mean: float | None  # of the differences, paired by seed, percent points; None: no seed in common, or a run failed
    seeds: tuple[int, ...]  # that both rows have
    judged: Judged | None  # the difference with its error; None: it is not tested, or nothing is known of its error
    published: float | None  # the paper's difference, percent points
    verdict: Verdict
    why: str


@dataclass(frozen=True)
class _Side:
    """One row of a claim."""

    one: Filled
    values: Values

    @property
    def shares(self) -> bool:
        """Whether its spread over seeds is one that the rows of the table may share.

        Multi-scale testing is of runs that another row may have, too.
        """
        return not failed(self.one) and self.one.line.views is None

    def runs(self, column: str) -> Runs:
        """As `twolevel` wants them."""
        values = self.values.get(column, {})
        pictures = {seed: each[column] for seed, each in self.one.pictures.items() if column in each}
        return Runs(values, pictures if pictures.keys() >= values.keys() else None)


@dataclass(frozen=True)
class _Draft:
    """A claim with what its family does not change."""

    group: str | None
    claim: Claim
    published: float | None
    mean: float | None
    seeds: tuple[int, ...]
    difference: Difference | None
    not_tested: str  # why; empty: it is


def claims_of(
    sheet: Sheet, filled: Sequence[Filled], values: Sequence[Values], off: Sequence[str]
) -> tuple[Tested, ...]:
    """Every claim in every group: one family, held to 5 % of false verdicts by Holm's rule."""
    drafts = [*_drafts(sheet, filled, values, off)]
    family = family_of(
        [(one.claim.better, one.claim.worse, one.difference) for one in drafts if one.difference is not None]
    )
    remaining = iter(family)
    tested = []
    for one in drafts:
        judged = None if one.difference is None else next(remaining)
        verdict, why = ("not tested", one.not_tested) if one.not_tested else verdict_of(judged, one.seeds)
        tested.append(Tested(one.group, one.claim, one.mean, one.seeds, judged, one.published, verdict, why))
    return tuple(tested)


def _drafts(sheet: Sheet, filled: Sequence[Filled], values: Sequence[Values], off: Sequence[str]) -> Iterator[_Draft]:
    for group in dict.fromkeys(one.line.group for one in filled):
        own = {
            one.line.row.label: _Side(one, value)
            for one, value in zip(filled, values, strict=True)
            if one.line.group == group
        }
        for claim in sheet.experiment.claims:
            a, b = own[claim.better], own[claim.worse]
            ours, theirs = a.values.get(claim.on, {}), b.values.get(claim.on, {})
            seeds = tuple(sorted(ours.keys() & theirs.keys()))
            why = untested(sheet, claim, (a, b), seeds, off)
            mean = statistics.fmean(ours[seed] - theirs[seed] for seed in seeds) if seeds else None
            if failed(a.one) or failed(b.one):  # seeds that are left are not a fair choice of seeds
                mean, seeds = None, ()
            found = None if why else difference_of(own, claim)
            yield _Draft(group, claim, published_gap(a.one.line, b.one.line, claim), mean, seeds, found, why)


def published_gap(better: Line, worse: Line, claim: Claim) -> float | None:
    """The paper's difference, in percent points."""
    ours, theirs = (line.published.values.get("AP") if line.published else None for line in (better, worse))
    return ours - theirs if claim.on == "AP" and ours is not None and theirs is not None else None


def untested(sheet: Sheet, claim: Claim, sides: Sequence[_Side], seeds: Sequence[int], off: Sequence[str]) -> str:
    """Why a claim is not tested; empty: it is."""
    lacking = [
        f"{side.one.line.row.label}: {state_of(side.one)[0] or 'no value'}"
        for side in sides
        if failed(side.one) or claim.on not in side.values
    ]
    some = any(failed(side.one) for side in sides)
    if some or not seeds:
        if not some and claim.on == OFF_CENTRE and not off:
            return "the data set does not know where the mass of its classes sits"
        return "; ".join(lacking) or "the two rows share no seed"
    return "" if sheet.scale.decides else "at this scale nothing is learned"


def difference_of(rows: Mapping[str, _Side], claim: Claim) -> Difference | None:
    """The difference of a claim, with the spread over seeds that the rows of its table share.

    Rows that are the same runs share as one.

    Args:
        rows: label → row, all of one group.
        claim: which two.
    """
    pair = claim.better, claim.worse
    able = {label: side for label, side in rows.items() if side.shares and claim.on in side.values}
    once = {tuple(run.run_id for run in side.one.line.runs): label for label, side in reversed(able.items())}
    sharing = {label: side.runs(claim.on) for label, side in able.items() if label in once.values()}
    if sharing.keys() >= set(pair):
        found = differences(sharing, [pair], "strategies", shared_by(sharing))
    else:
        found = differences({label: rows[label].runs(claim.on) for label in pair}, [pair], "strategies", None)
    return found[0][2] if found else None


def verdict_of(judged: Judged | None, seeds: Sequence[int]) -> tuple[Verdict, str]:
    """What a difference says about a direction, and why.

    Args:
        judged: with its family; None: nothing is known of its error.
        seeds: that both rows have.
    """
    if len(seeds) < LEAST_SEEDS:
        return "undecided", "one seed says nothing about noise" if len(seeds) == 1 else "a verdict takes three seeds"
    if judged is None or judged.difference.p is None:
        return "undecided", "every seed says the same: nothing is known of noise"
    if judged.decided:
        return ("supported" if judged.difference.mean > 0 else "contradicted"), "stands after Holm's correction"
    if judged.difference.p < ALPHA:
        return "undecided", "does not stand after Holm's correction"
    return "undecided", "the interval has zero in it"
