"""The laws that every strategy must keep: used by the tests and by ``assignbench check``.

A law is a function that raises `Broken` with a sentence when it does not hold. Problems are small, random and
reproducible.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import assignbench
from assignbench.contract.comparison import (
    Broken,
    close,
    moved_back,
    require,
    same_losses,
    same_record,
    same_records,
    tensors_in,
)
from assignbench.contract.learning import finite_gradients, images_are_apart, networks_of, put_out_by, unseen_parameters
from assignbench.core import Assigner, Assignment, Extra, Head, Regions, Setting, Targets, sides
from assignbench.core.assigner import asks_for, assign_branches, explains, learned_by, reasons_of, tensors_of
from assignbench.core.head import MAIN
from assignbench.core.parts import Cost, PairLoss, Preset
from assignbench.detector.objective import objective
from assignbench.importing import place, written_at
from assignbench.options import check_options, option_schema
from assignbench.plugins import built
from assignbench.synthetic import Problem, in_larger_canvas, learned_problem, random_problem

SETTING = Setting(classes=3, channels=32)
LOSS = PairLoss()
UNSEEN = "no optimizer sees it; torch looks into ParameterList, ModuleList and ModuleDict, not into lists"


@dataclass(frozen=True)
class LawResult:
    """How a strategy fared with one law."""

    name: str
    passed: bool
    message: str  # empty when it passed


@dataclass(frozen=True)
class Subject:
    """A strategy under a protocol: the controlled one, or a preset of its own."""

    build: Callable[[], Assigner]
    head: Callable[[Head], Head]  # the head in use, given the one that the strategy asks for
    loss: PairLoss
    progress: float = 0.0  # how far training is
    told_padding: bool = True  # whether it is told where images end; a preset may teach padding as background

    def case(
        self, counts: tuple[int, ...], seed: int = 7, height: int = 128, width: int = 160, *, learned: bool = False
    ) -> tuple[Assigner, Problem]:
        """A strategy and a random batch for its head, as a network sees it at its start, or when it has learned."""
        assigner = self.build()
        head = self.head(assigner.head)
        problem = random_problem(
            head,
            seed=seed,
            classes=SETTING.classes,
            channels=SETTING.channels,
            counts=counts,
            height=height,
            width=width,
        )
        return assigner, learned_problem(problem, seed) if learned else problem

    def decide(self, assigner: Assigner, problem: Problem) -> Mapping[str, Assignment]:
        """The records of a problem, by branch."""
        return assign_branches(assigner, problem.branches(self.loss, self.progress), self.progress)

    def losses(self, assigner: Assigner, problem: Problem) -> dict[str, Tensor]:
        """All losses of a problem, by name."""
        views = problem.branches(self.loss, self.progress)
        records = assign_branches(assigner, views, self.progress)
        heads = problem.head.by_branch()
        found = {name: objective(records[name], view, heads[name].extras) for name, view in views.items()}
        return {f"{branch}.{name}": value for branch, terms in found.items() for name, value in terms.items()}


Law = Callable[[Subject], None]


@dataclass(frozen=True)
class Trial:
    """A law, to be tried on a strategy under a protocol."""

    name: str  # the law's; under a preset with its name: "deterministic (mmdet)"
    law: Law
    subject: Subject
    cls: type[Assigner]
    moments: Sequence[float]  # points of training

    def __call__(self) -> LawResult:
        """How the strategy fares. One that raises breaks the law."""
        said = ""
        for progress in self.moments:
            try:
                self.law(replace(self.subject, progress=progress))
            except Broken as broken:
                said = f"{broken} ({place_in(self.cls)})"
            except (Exception, SystemExit) as error:
                said = f"raises {type(error).__name__}: {error} ({place_in(self.cls, error)})"
            if said:
                return LawResult(self.name, False, f"at progress {progress:g}: {said}" if progress else said)
        return LawResult(self.name, True, "")


def check(
    cls: type[Assigner],
    options: Mapping[str, Any] | None = None,
    extras: Sequence[Extra] = (),
    protocol: str | None = None,
    preset: str | None = None,
) -> list[LawResult]:
    """Try every law on a strategy; see `trials`."""
    return [trial() for trial in trials(cls, options, extras, protocol, preset)]


def trials(
    cls: type[Assigner],
    options: Mapping[str, Any] | None = None,
    extras: Sequence[Extra] = (),
    protocol: str | None = None,
    preset: str | None = None,
) -> list[Trial]:
    """Every law for a strategy with the given options and extra outputs.

    Args:
        cls: the strategy.
        options: of its constructor.
        extras: outputs to add to its head.
        protocol: ``controlled``, or ``published`` for its presets, each with its own head, loss and options. None: the
            first, and then the presets, unless options or extras are given.
        preset: the only one to try.
    """
    given = options or {}
    subjects = {} if protocol == "published" else {"": subject_of(cls, given, extras)}
    if protocol == "published" or not (protocol or given or extras):
        named = {name: one for name, one in presets_of(cls) if preset in (None, name)}
        subjects |= {f" ({name})": subject_of(cls, given, extras, one) for name, one in named.items()}
    moments = PROGRESS if follows_progress(cls) else (0.0,)
    return [
        Trial(f"{name}{suffix}", law, subject, cls, moments[:1] if law in ONCE else moments)
        for suffix, subject in subjects.items()
        for name, law in laws_for(subject).items()
        if not (suffix and law in EXCEPT_PRESETS)
    ]


def laws_for(subject: Subject) -> Mapping[str, Law]:
    """All laws; of a strategy that cannot even be built, that one."""
    try:
        subject.build()
    except (Exception, SystemExit):
        return {"is built": is_built}
    return LAWS


def is_built(subject: Subject) -> None:
    """Its constructor does not raise."""
    subject.build()


def place_in(cls: type[Assigner], error: BaseException | None = None) -> str:
    """``file:line`` where the strategy goes wrong; of the method that decides, where no more is known."""
    file, line = written_at(cls.forward)
    ours = str(Path(assignbench.__file__).parent)
    for files in ([Path(file)], []):
        found = place(error, files) if error else file
        if found not in (file, "no line") and not found.startswith(ours):
            return found
    return f"{file}:{line}"


def presets_of(cls: type[Assigner]) -> list[tuple[str, Preset]]:
    """Its presets; that all of them are some is a law of its own."""
    named = cls.presets.items() if isinstance(cls.presets, Mapping) else ()
    return [(name, preset) for name, preset in named if isinstance(preset, Preset)]


def follows_progress(cls: type[Assigner]) -> bool:
    """Whether the strategy asks how far training is."""
    try:
        return "progress" in asks_for(cls)
    except TypeError:  # that it asks for what there is not, a law says
        return False


def subject_of(
    cls: type[Assigner], options: Mapping[str, Any], extras: Sequence[Extra] = (), preset: Preset | None = None
) -> Subject:
    """A strategy under the controlled protocol, or under a preset."""

    def build() -> Assigner:
        torch.manual_seed(0)
        assigner = cls(SETTING, **built(cls, {**(preset.options if preset else {}), **options}, SETTING))
        if extras:
            assigner.head = assigner.head.plus(extras)
        return assigner

    if preset is None:
        return Subject(build, Head.controlled, LOSS)
    return Subject(build, preset.head_for, preset.loss, told_padding=not preset.padding_is_background)


def declares_itself(subject: Subject) -> None:
    """It says what it needs of the detector, what it reads, what it is, and as which detectors it was published."""
    assigner = subject.build()
    require(isinstance(getattr(assigner, "head", None), Head), "head is not a Head")
    try:
        asks_for(type(assigner))
    except TypeError as error:
        raise Broken(str(error)) from error
    require(isinstance(assigner.presets, Mapping), "presets must map names to presets: presets = {'mine': Preset(…)}")
    for name, preset in assigner.presets.items():
        require(isinstance(preset, Preset), f"preset {name} is not a Preset")
        check_options(type(assigner), preset.options)
    for option in option_schema(type(assigner)):
        require(not option.problem, option.problem)
    require(bool(assigner.source) or bool(type(assigner).__doc__), "neither source nor docstring says what it is")
    try:
        learned_by(assigner)
    except ValueError as error:
        raise Broken(str(error)) from error
    unseen = ", ".join(f"self.{name}" for name in unseen_parameters(assigner))
    require(not unseen, f"{unseen}: {UNSEEN}")


def well_formed(subject: Subject) -> None:
    """Indices exist, weights and factors are finite and in range, pairs and discounts are unique, bags sum to 1."""
    for counts in ((4, 0, 7), (1,), (0,)):
        assigner, problem = subject.case(counts)
        for branch, record in subject.decide(assigner, problem).items():
            try:
                record.check(problem.of_branch(branch).predictions, problem.targets)
            except ValueError as error:
                raise Broken(str(error)) from error


def batch_equals_images(subject: Subject) -> None:
    """A batch gives each image what it gets alone, and is divided by the sum of what its images are divided by."""
    for learned in (False, True):
        a_batch_equals_its_images(subject, *subject.case((5, 0, 1, 9), learned=learned))
    if subject.told_padding:
        assigner, problem = subject.case((3, 0, 6))
        a_batch_equals_its_images(subject, assigner, with_padding_and_crowd(problem))


def a_batch_equals_its_images(subject: Subject, assigner: Assigner, problem: Problem) -> None:
    """The law for one batch."""
    whole = subject.decide(assigner, problem)
    parts = []
    for image in range(problem.targets.images):
        parts.append(subject.decide(assigner, problem.of_image(image)))
        first = int((problem.targets.image < image).sum())
        same_records(whole, parts[-1], problem, image, lambda index, first=first: index + first)
    for branch, record in whole.items():
        for name in ("positive", "box", "negative", "unpaired"):
            sums = sum(float(getattr(part[branch].normalisers, name) or 0) for part in parts)
            close(
                float(getattr(record.normalisers, name) or 0), sums, f"normaliser {name} of a batch and of its images"
            )
        for name in () if record.normalisers.local else ("least", "least_box"):
            values = {getattr(part[branch].normalisers, name) for part in (whole, *parts)}
            require(len(values) == 1, f"normaliser {name} of a batch and of its images differ: {sorted(values)}")
        for name, loss in record.losses.items():
            own = [cost_of(part[branch].losses[name], 1) for part in parts]
            for number, what in enumerate(("sum", "divisor")):
                said = cost_of(loss, problem.targets.images)[number]
                close(said, sum(one[number] for one in own), f"the {what} of loss {name} of a batch and of its images")


def cost_of(loss: Tensor | Cost, images: int) -> tuple[float, float]:
    """Sum and divisor of a loss of the strategy's own; without a divisor it is a mean over images."""
    if not isinstance(loss, Cost):
        return images * loss.detach().item(), images
    return loss.total.detach().item(), 0.0 if loss.share is None else float(loss.share[0])


def order_is_free(subject: Subject) -> None:
    """The order in which objects are listed does not matter (no two of them being equal)."""
    for learned in (False, True):
        the_order_is_free(subject, *subject.case((8, 6), learned=learned))


def the_order_is_free(subject: Subject, assigner: Assigner, problem: Problem) -> None:
    """The law for one batch."""
    targets = problem.targets
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(1))
    shuffled = Targets(targets.boxes[order], targets.labels[order], targets.image[order], targets.images)
    moved = problem.with_targets(shuffled)
    before, after = subject.decide(assigner, problem), subject.decide(assigner, moved)
    for image in range(targets.images):
        same_records(before, after, problem, image, lambda index: order[index], other_image=image)
    same_losses(subject.losses(assigner, problem), subject.losses(assigner, moved), "with objects in another order")


def padding_changes_nothing(subject: Subject) -> None:
    """An image gets what it gets alone when it is padded to the size of a larger one; so do its losses."""
    if not subject.told_padding:
        return
    sizes = torch.tensor([[64, 96]])
    for counts, boxes, learned in (((6,), None, False), ((3,), BORDERS, False), ((6,), None, True)):
        assigner, alone = subject.case(counts, height=64, width=96, learned=learned)
        if boxes is not None:
            alone = alone.with_targets(replace(alone.targets, boxes=torch.tensor(boxes)))
        padded, place = in_larger_canvas(alone, height=256, width=160)
        alone, padded = alone.padded(sizes), padded.padded(sizes)
        before, after = subject.decide(assigner, alone), subject.decide(assigner, padded)
        for branch, record in after.items():
            seen = alone.of_branch(branch)
            moved = moved_back(record, place[branch], len(seen.priors))
            same_record(before[branch], moved, seen, 0, lambda index: index)
        same_losses(subject.losses(assigner, alone), subject.losses(assigner, padded), "in a larger canvas")


def progress_is_a_record(subject: Subject) -> None:
    """The same progress of training gives the same record, whatever was asked before."""
    assigner, problem = subject.case((4, 2))
    views = problem.branches(subject.loss)
    first = {step: assign_branches(subject.build(), views, step) for step in PROGRESS}
    for step in reversed(PROGRESS):
        again = assign_branches(assigner, problem.branches(subject.loss), step)
        for image in range(2):
            same_records(first[step], again, problem, image, lambda index: index, other_image=image)


def empty_is_fine(subject: Subject) -> None:
    """Images without objects, alone or among others, give finite losses; every parameter has a gradient."""
    for counts in ((0,), (0, 0), (0, 3, 0)):
        finite(subject, *subject.case(counts))
    assigner, none = subject.case((0,), seed=3)
    for record in subject.decide(assigner, none).values():
        require(len(record.pairs) == 0, "an image without objects has pairs")


def hard_objects(subject: Subject) -> None:
    """Objects of a fraction of a pixel, of the whole image, equal ones and crowds give finite gradients."""
    assigner, problem = subject.case((6, 40))
    boxes = problem.targets.boxes.clone()
    boxes[0] = torch.tensor([50.2, 50.3, 50.9, 51.1])  # no location in it
    boxes[1] = torch.tensor([0.0, 0.0, 160.0, 128.0])
    boxes[2] = boxes[3] = torch.tensor([20.0, 24.0, 84.0, 72.0])  # equal, borders on the grid
    labels = problem.targets.labels.clone()
    labels[2] = labels[3]
    finite(subject, assigner, problem.with_targets(replace(problem.targets, boxes=boxes, labels=labels)))


def extreme_predictions(subject: Subject) -> None:
    """Saturated logits and degenerate boxes, as in a run that diverges or is nearly perfect, stay finite."""
    for shift in (-60.0, 60.0):
        assigner, problem = subject.case((5, 0))
        with torch.no_grad():
            for one in (problem, *problem.beside.values()):
                one.raw.logits.add_(shift)
                one.raw.regression.mul_(50)
        finite(subject, assigner, problem)


def small_images(subject: Subject) -> None:
    """Fewer locations than a strategy would like to take."""
    finite(subject, *subject.case((2, 0), seed=5, height=32, width=32))


def deterministic(subject: Subject) -> None:
    """The same question twice has the same answer, bit for bit."""
    assigner, problem = subject.case((7, 3))
    for branch, record in subject.decide(assigner, problem).items():
        again = dict(tensors_in(subject.decide(assigner, problem)[branch]))
        for name, values in tensors_in(record):
            equal = name in again and torch.equal(values, again[name])
            require(equal, f"two calls differ in {name}")
    losses, again = subject.losses(assigner, problem), subject.losses(assigner, problem)
    for name, value in losses.items():
        require(torch.equal(value, again[name]), f"two calls differ in loss {name}")


def inputs_untouched(subject: Subject) -> None:
    """Predictions, priors, targets and views are read, not written."""
    assigner, problem = subject.case((5, 2))
    problem = with_padding_and_crowd(problem)
    views = problem.branches(subject.loss, subject.progress)
    watched = dict(tensors_of(problem.targets, problem.priors, views))
    before = {name: tensor.detach().clone() for name, tensor in watched.items()}
    try:
        assign_branches(assigner, views, subject.progress)
        subject.losses(assigner, problem)
    except ValueError as error:
        raise Broken(str(error)) from error
    for name, tensor in watched.items():
        same = torch.equal(before[name], tensor.detach())
        require(same, f"{type(assigner).__name__}.forward changed the {name}; they are for reading: work on a copy")


def crowd_region() -> Regions:
    """A crowd in the first image; made anew, since a strategy that is tried may write to it."""
    return Regions(torch.tensor([[32.0, 32.0, 128.0, 96.0]]), torch.tensor([0]))


def with_padding_and_crowd(problem: Problem) -> Problem:
    """The batch with a last image that ends earlier than the canvas, and a crowd region in the first."""
    images, size = problem.targets.images, problem.pyramid[0].shape[-2:]
    height, width = (8 * side for side in size)
    sizes = torch.tensor([[height, width]] * (images - 1) + [[height, width // 2]])
    kept = (problem.targets.image < images - 1) | (problem.targets.boxes[:, 0] < width // 2)
    whole = problem.targets
    targets = Targets(whole.boxes[kept], whole.labels[kept], whole.image[kept], images, crowd_region())
    return problem.padded(sizes).with_targets(targets)


def padding_and_crowds(subject: Subject) -> None:
    """Neither the batch's padding nor a crowd region is taught to be background."""
    assigner, problem = subject.case((3, 2))
    targets = replace(problem.targets, ignore=crowd_region())
    problem = problem.padded(torch.tensor([[128, 160], [128, 64]])).with_targets(targets)
    for branch, record in subject.decide(assigner, problem).items():
        priors = problem.of_branch(branch).priors
        inside = torch.ones(2, len(priors), dtype=torch.bool)
        inside[1] = priors.points[:, 0] < 64
        ignored = torch.zeros_like(inside) if record.ignored is None else record.ignored
        require(bool(ignored[~inside].all()), "padding is taught background")
        paired = torch.zeros_like(inside)
        paired[targets.image[record.pairs.object], record.pairs.location] = True
        outside = (~inside[targets.image[record.pairs.object], record.pairs.location]).nonzero().flatten().tolist()
        for pair in outside[:1]:
            number, location = int(record.pairs.object[pair]), int(record.pairs.location[pair])
            where = f"object {number} and location {location}, in image {int(targets.image[number])}"
            raise Broken(f"the pair of {where}, lies in the padding")
        crowded = (sides(crowd_region().boxes, priors.points).amin(-1) > 0) & ~paired[0]
        require(bool(ignored[0, crowded].all()), "a crowd region is taught background")


def network_learns(subject: Subject) -> None:
    """The network of the head, its own or ours, looks at one image at a time, and all of it learns."""
    assigner, problem = subject.case((3, 0, 2))
    torch.manual_seed(0)
    networks = networks_of(problem.head, SETTING)
    unseen = ", ".join(unseen_parameters(networks))
    require(not unseen, f"{unseen} of the head's network: {UNSEEN}")
    modules = {"the head's network": networks, "the strategy": assigner}
    finite_gradients(subject.losses(assigner, put_out_by(networks, problem, subject.progress)), {}, modules)
    if problem.head.make is not None or any(one.head and one.head.make for one in problem.head.beside):
        images_are_apart(networks, problem, subject.progress)


def explains_its_record(subject: Subject) -> None:
    """What it says of its reasons fits its record: every pair is among the candidates, each of which stands once."""
    for learned in (False, True):
        assigner, problem = subject.case((4, 0, 3), learned=learned)
        if not explains(type(assigner)):
            return
        reasons = reasons_of(assigner, problem.branches(subject.loss, subject.progress), subject.progress)
        pairs, name = subject.decide(assigner, problem)[MAIN].pairs, type(assigner).__name__
        if reasons is None:
            return
        found = set(zip(reasons.objects.tolist(), reasons.locations.tolist(), strict=True))
        require(len(found) == len(reasons.objects), f"{name}.explain names a pair twice")
        for one, location in zip(pairs.object.tolist(), pairs.location.tolist(), strict=True):
            require(
                (one, location) in found,
                f"the pair of object {one} and location {location} is not among those that {name}.explain names",
            )


LAWS: Mapping[str, Law] = {
    "declares itself": declares_itself,
    "well-formed record": well_formed,
    "batch = one by one": batch_equals_images,
    "order does not matter": order_is_free,
    "padding changes nothing": padding_changes_nothing,
    "same progress, same record": progress_is_a_record,
    "empty is fine": empty_is_fine,
    "hard objects": hard_objects,
    "extreme predictions": extreme_predictions,
    "small images": small_images,
    "deterministic": deterministic,
    "inputs untouched": inputs_untouched,
    "padding and crowds": padding_and_crowds,
    "network learns": network_learns,
    "explains its record": explains_its_record,
}
# A preset may keep to a reference in which the order of annotations decides, and that has its own idea of padding.
EXCEPT_PRESETS: tuple[Law, ...] = (declares_itself, order_is_free, padding_and_crowds)
ONCE: tuple[Law, ...] = (declares_itself, progress_is_a_record)  # they look at all of training by themselves

PROGRESS = (0.0, 0.3, 0.7, 1.0)
BORDERS = [
    [89.6, 30.1, 96.0, 34.3],
    [20.0, 58.0, 25.0, 64.0],
    [0.0, 0.0, 3.0, 5.0],
]  # of 64 × 96


def finite(subject: Subject, assigner: Assigner, problem: Problem) -> None:
    """Losses and all gradients are finite, and every output and trained parameter has one."""
    finite_gradients(subject.losses(assigner, problem), problem.named_leaves(), {"the strategy": assigner})
