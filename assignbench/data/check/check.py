"""Everything that is odd about a data set, found before it can lie.

`open_dataset` stops at the first thing that it must refuse; here everything that the same readers set aside is listed,
and every picture is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from assignbench.data.check.looks import Look, look_at_all
from assignbench.data.check.rules import split_findings
from assignbench.data.check.splits import joint_findings
from assignbench.data.dataset import Official
from assignbench.data.read.findings import REFUSED, Finding, Severity
from assignbench.data.read.raw import RawSplit, said
from assignbench.data.spec import locate as specs
from assignbench.data.spec.locate import open_dataset
from assignbench.data.spec.opening import official_of, read_part
from assignbench.errors import DataError


@dataclass(frozen=True, eq=False)
class Check:
    """What was found."""

    spec: str  # what opens the data set again, from any folder
    name: str  # what tables print
    train: RawSplit
    evaluation: RawSplit
    looks: dict[str, Look]  # path → its picture
    findings: tuple[Finding, ...]  # errors first
    quick: bool  # headers only
    official: Official | None = None  # whose own metrics it has
    remarks: tuple[str, ...] = ()  # of `Located`

    def raw(self, finding: Finding) -> RawSplit:
        """The split that a finding's places count in."""
        return self.evaluation if finding.part == "evaluation" else self.train

    def count(self, severity: Severity) -> int:
        """How many kinds of that severity were found, split by split."""
        return sum(finding.kind.severity == severity for finding in self.findings)


def check_dataset(
    spec: str,
    data_root: Path,
    *,
    quick: bool = False,
    threads: int = 1,
    watch: Callable[[int, int], None] = lambda _done, _all: None,
) -> Check:
    """Look at every entry and every picture of both splits.

    Args:
        spec: as `open_dataset`.
        data_root: folder of the built-in data sets.
        quick: read the headers of pictures only; damage behind them and equal content stay unseen.
        threads: that decode, ≥ 1.
        watch: called with the number of pictures done, and of all.

    Raises:
        UsageError: for an unknown name or a wrong YAML file.
        DataError: when files that make up the data set are not there at all.
    """
    found, train, evaluation = read_raw(spec, data_root)
    paths = list(dict.fromkeys((*train.images.paths(), *evaluation.images.paths())))
    looks = look_at_all(
        paths, quick=quick, threads=threads, watch=lambda done: watch(done, len(paths)), bits=found.spec.bits
    )
    findings = [finding for raw in (train, evaluation) for finding in split_findings(raw, looks)]
    findings += joint_findings(train, evaluation, looks)
    if not any(finding.kind.severity == Severity.ERROR for finding in findings):
        findings += _what_the_reader_says(found.canonical, data_root)
    order = list(Severity)
    findings.sort(key=lambda finding: order.index(finding.kind.severity))
    return Check(
        found.canonical,
        found.name,
        train,
        evaluation,
        looks,
        tuple(findings),
        quick,
        official_of(found.spec, found.base),
        found.remarks,
    )


def read_raw(spec: str, data_root: Path) -> tuple[specs.Located, RawSplit, RawSplit]:
    """Both splits as their files state them.

    Raises:
        As `check_dataset`.
    """
    found = specs.locate(spec, data_root)
    specs.require(found, ("train", "evaluation"))
    train = read_part(found.spec, found.base, "train")
    return found, train, read_part(found.spec, found.base, "evaluation")


def _what_the_reader_says(spec: str, data_root: Path) -> list[Finding]:
    """Whatever the rules here may have missed: nothing passes that training would refuse."""
    try:
        open_dataset(spec, data_root)
    except DataError as error:
        return [said(REFUSED, "both", [str(error)])]
    return []
