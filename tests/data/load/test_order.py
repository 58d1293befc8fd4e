from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from assignbench.data.load.order import BLOCK, evaluation_plan, training_step

FEW = settings(max_examples=30, derandomize=True, deadline=None)


def uprights(images: int) -> np.ndarray:
    return np.random.default_rng(1).random(images) < 0.4


@FEW
@given(images=st.integers(1, 70), size=st.integers(1, 20), seed=st.integers(0, 5))
def test_a_block_shows_the_stream_of_epochs_exactly(images, size, seed):
    upright = uprights(images)
    shown = Counter(pair for step in range(BLOCK) for pair in training_step(upright, size, seed, step))
    assert sum(shown.values()) == BLOCK * size
    assert set(shown.values()) == {1}
    epochs = BLOCK * size // images
    assert {pair for pair in shown if pair[0] < epochs} == {(e, i) for e in range(epochs) for i in range(images)}
    assert all(epoch <= epochs for epoch, _ in shown)


@FEW
@given(step=st.integers(0, 1000), seed=st.integers(0, 5))
def test_a_step_is_a_function_of_seed_and_step(step, seed):
    upright = uprights(50)
    assert training_step(upright, 8, seed, step) == training_step(upright, 8, seed, step)
    assert training_step(upright, 8, seed, step) != training_step(upright, 8, seed + 1, step)


def test_upright_and_lying_pictures_share_at_most_one_batch_in_a_block():
    upright = uprights(200)
    kinds = [{bool(upright[index]) for _, index in training_step(upright, 8, 0, step)} for step in range(BLOCK)]
    assert sum(len(kind) == 2 for kind in kinds) <= 1
    assert {True} in kinds
    assert {False} in kinds
    assert kinds != sorted(kinds, key=lambda kind: sum(kind) / len(kind)), "batches must be shuffled again"


def test_epochs_differ():
    upright = np.zeros(40, dtype=bool)
    first, second = (
        [i for step in range(BLOCK) for e, i in training_step(upright, 5, 0, step) if e == epoch] for epoch in (0, 1)
    )
    assert sorted(first) == sorted(second) == list(range(40))
    assert first != second


@FEW
@given(
    shapes=st.lists(st.tuples(st.sampled_from([32, 64, 96]), st.sampled_from([32, 64])), max_size=60),
    batch=st.integers(1, 9),
)
def test_evaluation_shows_every_image_once_among_equals(shapes, batch):
    plan = evaluation_plan(shapes, batch)
    assert sorted(index for indices in plan for index in indices) == list(range(len(shapes)))
    assert all(1 <= len(indices) <= batch for indices in plan)
    assert all(len({shapes[index] for index in indices}) == 1 for indices in plan)
    areas = [shapes[indices[0]][0] * shapes[indices[0]][1] for indices in plan]
    assert areas == sorted(areas, reverse=True)
