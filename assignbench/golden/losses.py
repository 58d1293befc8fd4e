"""Replay of losses, gradients and assignments from raw head outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from assignbench.core import Assigner, Assignment, Discounts, Head, PairViews, Priors, Setting, Targets, assign
from assignbench.core.priors import STRIDES
from assignbench.detector.head import flatten
from assignbench.detector.objective import objective
from assignbench.golden.checks import GRADIENT, LOSS, Check, Quantity, relative, worst
from assignbench.golden.reference import Origin, golden_terms, terms_as
from assignbench.golden.vectors import Tensors, images_of, predictions_from, priors_of, targets_of
from assignbench.plugins import construct
from assignbench.run.matrix.protocol import Protocol

ANCHOR = 1e-4  # pixels


@dataclass(frozen=True)
class OwnLosses:
    """What our side gives for a file."""

    assignment: Assignment
    losses: Mapping[str, Tensor]  # under the reference's names
    gradients: Mapping[str, Tensor]  # of their sum, by the name of the tensor


def replay_losses(
    file: Tensors, cls: type[Assigner], options: Mapping[str, Any], protocol: Protocol, origin: Origin
) -> tuple[list[Check], list[str]]:
    """Everything that a file of losses pins; and what is to be said of it."""
    images = images_of(file)
    targets = targets_of([file[f"boxes.{i}"] for i in range(images)], [file[f"labels.{i}"] for i in range(images)])
    own = run(file, cls, options, protocol, origin, targets)
    notes = []
    whole = all(f"grad.cls.{level}" in file for level in range(len(STRIDES)))  # or there is nothing to tell it by
    if whole and any(not check.passed for check in compare(file, own, origin)):
        settled, count = undo_race(file, cls, options, protocol, origin, targets, own)
        if count and all(check.passed for check in compare(file, settled, origin)):  # else it is no race that is wrong
            notes.append(
                f"{count} classes at locations claimed by several objects were decided by another object than the "
                "last: the reference writes them unordered, in several threads"
            )
            own = settled
    checks = list(compare(file, own, origin))
    checks += discrete(file, own.assignment, targets)
    checks += worst("anchors", anchors(file, priors_of(file, head_of(file, cls, options, protocol)[1])), ANCHOR)
    return checks, notes


def head_of(
    file: Tensors, cls: type[Assigner], options: Mapping[str, Any], protocol: Protocol
) -> tuple[Assigner, Head]:
    """The strategy with the file's learned parameters, and the head around it."""
    setting = Setting(classes=int(file.setting("num_classes")))
    assigner = construct(cls, options, setting).to(file["cls.0"].device)
    with torch.no_grad():
        for name, parameter in assigner.named_parameters():
            parameter.copy_(file[name])
    return assigner, protocol.head(assigner.head)


def run(
    file: Tensors,
    cls: type[Assigner],
    options: Mapping[str, Any],
    protocol: Protocol,
    origin: Origin,
    targets: Targets,
    discounts: Discounts | None = None,
) -> OwnLosses:
    """Assign, charge, differentiate; ``discounts`` takes the place of the strategy's own."""
    assigner, head = head_of(file, cls, options, protocol)
    priors = told_sizes(priors_of(file, head), file, protocol)
    raw = {
        name: tensor.clone().requires_grad_()
        for name, tensor in file.tensors.items()
        if name.partition(".")[0] in ("cls", "reg", *origin.outputs)
    }
    predictions = predictions_from(raw, head, priors, assigner.setting.classes, file, origin)
    view = PairViews(predictions, priors, targets, head.coding, protocol.loss)
    assignment = assign(assigner, view, origin.progress.get(file.metadata.get("phase", ""), 1.0))
    if discounts is not None:
        assignment = replace(assignment, discounts=discounts)
    ours = objective(assignment, view, head.extras)
    names = [name.removeprefix("loss.") for name in file.tensors if name.startswith("loss.")]
    losses = terms_as(names, ours, str(file.path), origin.terms)
    torch.stack(list(ours.values())).sum().backward()
    leaves = {**raw, **dict(assigner.named_parameters())}
    gradients = {
        name: torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        for name, leaf in leaves.items()
        if f"grad.{name}" in file
    }
    return OwnLosses(assignment, losses, gradients)


def compare(file: Tensors, own: OwnLosses, origin: Origin) -> Iterator[Check]:
    """Losses and gradients."""
    golden = {name.removeprefix("loss."): one.sum() for name, one in file.tensors.items() if name.startswith("loss.")}
    wanted = golden_terms(golden, origin.terms)
    losses = [Quantity(name, relative(loss, wanted[name])) for name, loss in own.losses.items()]
    yield from worst("losses", losses, LOSS)
    gradients = [Quantity(name, relative(tensor, file[f"grad.{name}"])) for name, tensor in own.gradients.items()]
    yield from worst("gradients", gradients, GRADIENT)


def discrete(file: Tensors, assignment: Assignment, targets: Targets) -> Iterator[Check]:
    """Which object or class every location was given: entries that differ."""
    object_counts, label_counts = [], []
    for image in range(targets.images):
        for name, found, counts in (
            (f"assigned.{image}", assigned_objects, object_counts),
            (f"assigned_box.{image}", assigned_boxes, object_counts),
            (f"assigned_label.{image}", assigned_labels, label_counts),
        ):
            if name in file:
                ours = found(assignment, targets, image, int(file.setting("num_classes")), file[name])
                counts.append(Quantity(name, float((ours != file[name]).sum())))
    yield from worst("assigned", object_counts + label_counts, 0.0)
    yield from worst("soft labels", soft_labels(file, assignment, targets), LOSS)


def soft_labels(file: Tensors, assignment: Assignment, targets: Targets) -> Iterator[Quantity]:
    """The score that every location learns for its object's class."""
    pairs = assignment.pairs
    for image in range(targets.images):
        if f"soft.{image}" in file and pairs.quality is not None:
            golden = file[f"soft.{image}"]
            mine = targets.image[pairs.object] == image
            ours = torch.zeros_like(golden).index_put((pairs.location[mine],), pairs.quality[mine].to(golden.dtype))
            yield Quantity(f"soft.{image}", relative(ours, golden))


def assigned_objects(assignment: Assignment, targets: Targets, image: int, _classes: int, like: Tensor) -> Tensor:
    """Index of the object whose class is learned, within its image, −1 background, −2 ignored: ``[location]``."""
    return paired_objects(assignment, targets, image, like, assignment.pairs.weight)


def assigned_boxes(assignment: Assignment, targets: Targets, image: int, _classes: int, like: Tensor) -> Tensor:
    """The same of the object whose box is learned."""
    return paired_objects(assignment, targets, image, like, assignment.pairs.box_weight)


def paired_objects(assignment: Assignment, targets: Targets, image: int, like: Tensor, weight: Tensor) -> Tensor:
    """Index of the object within its image at the pairs that have a weight: ``[location]``."""
    found = torch.full_like(like, -1)
    if assignment.ignored is not None:
        found[assignment.ignored[image]] = -2
    first = int((targets.image < image).sum())
    mine = (targets.image[assignment.pairs.object] == image) & (weight > 0)
    found[assignment.pairs.location[mine]] = assignment.pairs.object[mine].to(like.dtype) - first
    return found


def assigned_labels(assignment: Assignment, targets: Targets, image: int, classes: int, like: Tensor) -> Tensor:
    """Class of the object, the number of classes for background: ``[location]``."""
    found = torch.full_like(like, classes)
    mine = targets.image[assignment.pairs.object] == image
    found[assignment.pairs.location[mine]] = targets.labels[assignment.pairs.object[mine]].to(like.dtype)
    return found


def told_sizes(priors: Priors, file: Tensors, protocol: Protocol) -> Priors:
    """The priors, told where images of unequal size end, as a training under the preset tells them."""
    preset = protocol.preset
    if "size.0" not in file or (preset is not None and preset.padding_is_background):
        return priors
    return priors.padded(torch.stack([file[f"size.{image}"].long().cpu() for image in range(images_of(file))]))


def anchors(file: Tensors, priors: Priors) -> Iterator[Quantity]:
    """The first priors, in pixels."""
    for name in sorted(file.tensors):
        if name.startswith("anchors_head."):
            golden = file[name]
            yield Quantity(name, float((priors.boxes[: len(golden)] - golden).abs().max()))


def undo_race(
    file: Tensors,
    cls: type[Assigner],
    options: Mapping[str, Any],
    protocol: Protocol,
    origin: Origin,
    targets: Targets,
    own: OwnLosses,
) -> tuple[OwnLosses, int]:
    """Undo a race of the reference: AutoAssign writes w⁻ of same-class objects over one location without order.

    Its default is "the last one written", which several threads decide anew in every run. Here every object is
    once the last in the list; of the factors that this gives an entry, the one is taken whose gradient is the
    golden one's. Only entries that several objects claim can change, and only to what one of them says.

    Returns:
        The outcome with the factors that were written, and how many entries differ from "the last object".
    """
    mine = own.assignment.discounts.counted()
    entries = (mine.image, mine.location, mine.label)
    wanted = gathered(file, {name: file[f"grad.{name}"] for name in own.gradients}, entries)
    factor = mine.factor
    error = (gathered(file, own.gradients, entries) - wanted).abs()
    changed = torch.zeros_like(factor, dtype=torch.bool)
    for last in range(len(targets)):
        order = [index for index in range(len(targets)) if index != last] + [last]
        moved = Targets(targets.boxes[order], targets.labels[order], targets.image[order], targets.images)
        other = run(file, cls, options, protocol, origin, moved)
        theirs = other.assignment.discounts.counted()
        if len(theirs) != len(factor):
            return own, 0
        aligned = sort_as(theirs, mine)
        distance = (gathered(file, other.gradients, entries) - wanted).abs()
        better = (aligned != factor) & (distance < error / 2)
        factor, error = torch.where(better, aligned, factor), torch.where(better, distance, error)
        changed |= better
    if not bool(changed.any()):
        return own, 0
    discounts = replace(mine, factor=factor)
    return run(file, cls, options, protocol, origin, targets, discounts), int(changed.sum())


def gathered(file: Tensors, gradients: Mapping[str, Tensor], entries: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """The gradient of the class logits at (image, location, class): ``[entry]``."""
    classes = int(file.setting("num_classes"))
    maps = [flatten(gradients[name], classes) for name in sorted(gradients) if name.startswith("cls.")]
    return torch.cat(maps, dim=1)[entries]


def sort_as(discounts: Discounts, like: Discounts) -> Tensor:
    """The factors of one list of entries in the order of another list of the same entries."""

    def rank(one: Discounts) -> Tensor:
        keys = torch.stack((one.image, one.location, one.label), dim=1)
        return torch.unique(keys, dim=0, return_inverse=True)[1]

    aligned = torch.empty_like(discounts.factor)
    aligned[rank(discounts)] = discounts.factor
    return aligned[rank(like)]
