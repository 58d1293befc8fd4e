"""``bench loss``: assignment and loss, forward and backward, against one pass over the logits.

time    raw outputs → joined and decoded → assigned → charged → gradients of all raw outputs
floor   the focal term of background alone on the same class logits, summed, forward and backward
memory  the peak of one run, beyond the raw outputs and their gradients
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from assignbench.bench.measure import Task, clock_of, least_seconds, memory_advice, one_thread
from assignbench.bench.memory import in_fresh_process, peak_bytes
from assignbench.bench.problem import Case, leaves, random_objects, random_outputs
from assignbench.bench.strategies import UNUSED
from assignbench.core import Head, Predictions, Priors, Targets
from assignbench.core.head import MAIN
from assignbench.core.parts import RawOutputs, predictions_of
from assignbench.data.load.heap import kept_heap
from assignbench.detector.detector import cached_priors
from assignbench.run.matrix.plan import Candidate, candidate
from assignbench.run.training.learner import Learner, bare_learner

WARM_UP = Case(objects=2, height=64, width=64, batch=1, classes=1)


@dataclass(frozen=True)
class LossRow:
    """One line of the benchmark."""

    strategy: str
    objects: int  # an image
    image: str  # height x width, pixels
    batch: int
    ms: float  # assignment and loss, forward and backward
    floor_ms: float
    ratio: float
    peak_extra_mb: float  # 10⁶ bytes

    def __str__(self) -> str:
        case = f"{self.strategy}: batch {self.batch} of {self.image} with {self.objects} objects"
        return f"{case}: {self.ms} ms, {self.ratio} times the floor, {self.peak_extra_mb} MB"


@dataclass(frozen=True)
class Problem:
    """A learner and what its network would have put out."""

    learner: Learner
    raw: RawOutputs
    beside: Mapping[str, RawOutputs]  # of further branches of the head that have outputs of their own
    targets: Targets
    case: Case
    sizes: Tensor  # [image, 2] height and width of each image: no padding here

    def charge(self) -> None:
        """What follows the network in a training step, as in `Detector.forward` and `Learner.forward`."""
        heads = self.learner.head.by_branch()
        main = self.seen(self.raw, heads[MAIN])
        own = {branch: self.seen(raw, heads[branch]) for branch, raw in self.beside.items()}
        losses = self.learner.charge({branch: own.get(branch, main) for branch in heads}, self.targets).losses
        torch.stack(list(losses.values())).sum().backward()

    def seen(self, raw: RawOutputs, head: Head) -> tuple[Predictions, Priors]:
        """Raw outputs of a branch as the detector hands them on."""
        priors = cached_priors(head, self.case.height, self.case.width, raw.logits.device)
        if self.learner.detector.mask_padding:
            priors = priors.padded(self.sizes)
        grid = priors.on_host().grid
        maps = zip(grid.rows.tolist(), grid.columns.tolist(), strict=True)
        cell = raw.logits.new_ones(len(self.sizes), self.learner.assigner.setting.channels, 1, 1)
        pyramid = tuple(cell.expand(-1, -1, rows, columns) for rows, columns in maps)  # which takes no memory
        return predictions_of(raw, head, priors, pyramid), priors

    def floor(self) -> None:
        """The least that any strategy has to do: call everything background."""
        self.learner.loss.classes.background(self.raw.logits).sum().backward()

    def every_raw(self) -> tuple[RawOutputs, ...]:
        """The raw outputs of all branches that have outputs of their own."""
        return self.raw, *self.beside.values()

    def forget(self) -> None:
        """Drop all gradients."""
        for raw in self.every_raw():
            for tensor in leaves(raw):
                tensor.grad = None
        for tensor in self.learner.assigner.parameters():
            tensor.grad = None


def problem_of(learner: Learner, case: Case, device: torch.device) -> Problem:
    """A strategy's problem of a case's size."""
    return Problem(
        learner=learner,
        raw=random_outputs(learner.head, case, device),
        beside={
            branch.name: random_outputs(branch.head, case, device)
            for branch in learner.head.beside
            if branch.head is not None
        },
        targets=random_objects(case).to(device),
        case=case,
        sizes=torch.tensor([[case.height, case.width]] * case.batch, device=device),
    )


def bench_loss(
    candidates: Sequence[Candidate],
    cases: Sequence[Case],
    *,
    device: torch.device,
    repeat: int,
    progress: Callable[[str], None],
    done: Callable[[LossRow], None] = lambda _: None,
) -> list[LossRow]:
    """Every strategy on every case.

    Args:
        candidates: strategies, each with its protocol.
        cases: what a batch holds.
        device: where to compute.
        repeat: samples.
        progress: told what is being measured.
        done: told each row when it is measured.

    Raises:
        SystemProblem: a case does not fit into memory.
    """
    rows = []
    for one in candidates:
        for case in cases:
            progress(f"{one.label}: {case}")
            with memory_advice(f"{one.label}: {case}"), one_thread(), kept_heap():
                rows.append(loss_row(one, case, device, repeat))
            done(rows[-1])
    return rows


def loss_row(one: Candidate, case: Case, device: torch.device, repeat: int) -> LossRow:
    """One strategy on one case; memory first, in a process whose end harms nobody."""
    if device.type == "cpu":
        what = f"{one.label}: {case}"
        protocol = one.protocol
        peak = in_fresh_process(what, peak_extra, one.strategy.text, protocol.name, protocol.preset_name, case)
    else:
        peak = extra_bytes(one, case, device)
    problem = problem_of(bare_learner(one, UNUSED, case.classes).to(device), case, device)
    floor, spent = least_seconds(
        [Task(problem.floor, problem.forget), Task(problem.charge, problem.forget)], repeat, clock_of(device)
    )
    return LossRow(
        strategy=one.label,
        objects=case.objects,
        image=case.image,
        batch=case.batch,
        ms=round(1e3 * spent, 3),
        floor_ms=round(1e3 * floor, 3),
        ratio=round(spent / floor, 3),
        peak_extra_mb=round(peak / 1e6, 1),
    )


def peak_extra(text: str, protocol: str, preset: str | None, case: Case) -> int:
    """As `extra_bytes` on the CPU, for a strategy by its text: what a fresh process is asked."""
    with memory_advice(f"{text}: {case}"), one_thread():
        return extra_bytes(candidate(text, protocol, preset), case, torch.device("cpu"))


def extra_bytes(one: Candidate, case: Case, device: torch.device) -> int:
    """Peak of one run beyond the raw outputs, their gradients, priors and targets."""
    learner = bare_learner(one, UNUSED, case.classes).to(device)
    # libraries take memory when they are first used
    problem_of(learner, replace(WARM_UP, classes=case.classes), device).charge()
    problem = problem_of(learner, case, device)
    gradients = sum(tensor.nbytes for raw in problem.every_raw() for tensor in leaves(raw))
    return max(0, peak_bytes(problem.charge, device) - gradients)
