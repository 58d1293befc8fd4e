"""Equal predictions everywhere: the rest of the batch does not decide which of equally good locations is taught."""

import pytest
import torch

from assignbench.contract.comparison import same_records
from assignbench.contract.laws import Subject, presets_of, subject_of
from assignbench.core import Targets
from assignbench.plugins import known_strategies, load_class, resolve
from assignbench.synthetic import random_problem, random_targets

CLASSES = {one.name: load_class(resolve(one.name)) for one in known_strategies() if one.ours}
CASES = [(cls, None) for cls in CLASSES.values()] + [(cls, name) for cls in CLASSES.values() for name in cls.presets]
HEIGHT, WIDTH = 96, 128
BOXES = [[17.0, 9, 47, 31], [8, 8, 40, 40], [20, 20, 44, 44], [60, 4, 92, 60], [64, 32, 96, 64], [10, 40, 33, 57]]


def alike_everywhere(subject: Subject, others: int, seed: int) -> None:
    """Image 1 alone and after an image of some objects; all of its locations say the same."""
    assigner = subject.build()
    head = subject.head(assigner.head)
    problem = random_problem(head, seed=3, classes=3, channels=32, counts=(0, 0), height=HEIGHT, width=WIDTH)
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.cat((random_targets(generator, 3, (others,), HEIGHT, WIDTH).boxes, torch.tensor(BOXES)))
    labels = torch.randint(0, 3, (len(boxes),), generator=generator)
    image = (torch.arange(len(boxes)) >= others).long()
    problem = problem.with_targets(Targets(boxes, labels, image, 2))
    with torch.no_grad():
        for one in (problem, *problem.beside.values()):
            for values in one.own_leaves():
                values[1] = 0.7 * torch.randn(values.shape[2:], generator=generator)
        for level in problem.pyramid:
            level.zero_()
    alone = subject.decide(assigner, problem.of_image(1))
    same_records(subject.decide(assigner, problem), alone, problem, 1, lambda index: index + others)


@pytest.mark.parametrize(("cls", "preset"), CASES, ids=[f"{cls.__name__}-{preset}" for cls, preset in CASES])
def test_ties_are_decided_alike_in_any_batch(cls, preset):
    subject = subject_of(cls, {}, (), dict(presets_of(cls))[preset] if preset else None)
    if (cls.__name__, preset) == ("NoisyAnchor", "official"):
        pytest.skip("its losses are kept over the batch, as in the authors' code")
    for others in (1, 2, 3, 5):
        for seed in (0, 1):
            alike_everywhere(subject, others, seed)
