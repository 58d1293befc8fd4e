"""Which pictures share a batch: pure functions, so there is no state to save and none to restore.

Training: seeded permutations of the images, one an epoch, are laid end to end. The stream is cut into
blocks of `BLOCK` global batches; inside a block upright and lying pictures are put apart, and the batches
are shuffled again. Mixed, a batch would pad all to a square: up to 1.7 times the work at 800 × 1333.
A global batch is what the parameters move by once: all processes' and all micro-steps' pictures.

Evaluation: only pictures of equal padded shape share a batch, so padding never depends on a neighbour.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

BLOCK = 32  # global batches sorted together: enough to leave one mixed batch in 32

_EPOCH, _BLOCK = 0, 1  # keep the random streams of epochs and blocks apart


def training_step(upright: NDArray[np.bool_], size: int, seed: int, step: int) -> list[tuple[int, int]]:
    """The global batch of a step.

    Args:
        upright: ``[image]`` whether the picture is higher than wide.
        size: pictures in the global batch.
        seed: of the order, ≥ 0.
        step: counted from 0.

    Returns:
        ``size`` pairs of epoch and image index. Over the stream every image occurs once an epoch.
    """
    block, within = divmod(step, BLOCK)
    epochs, indices, order = _block(len(upright), size, seed, block)
    batches = np.argsort(upright[indices], kind="stable").reshape(BLOCK, size)
    chosen = batches[order[within]]
    return list(zip(epochs[chosen].tolist(), indices[chosen].tolist(), strict=True))


@lru_cache(maxsize=2)  # the steps of a block come one after another
def _block(
    images: int, size: int, seed: int, block: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Epoch and image of each of a block's pictures as the stream has them, and the order of its batches."""
    epochs, places = np.divmod(np.arange(block * BLOCK * size, (block + 1) * BLOCK * size), images)
    indices = np.concatenate(
        [_permutation(images, seed, int(epoch))[places[epochs == epoch]] for epoch in np.unique(epochs)]
    )
    return epochs, indices, np.random.default_rng((_BLOCK, seed, block)).permutation(BLOCK)


@lru_cache(maxsize=2)  # a block touches two epochs at most, unless the data set is tiny
def _permutation(images: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng((_EPOCH, seed, epoch)).permutation(images)


def evaluation_plan(shapes: Sequence[tuple[int, ...]], batch: int) -> list[list[int]]:
    """Every image index once, in batches of up to ``batch`` that share their shape.

    Args:
        shapes: padded height and width of each image; where it is looked at several times, the others follow.
        batch: pictures in a batch.

    Returns:
        Batches of image indices, the largest (first) shape first: what does not fit into memory fails at once.
    """
    order = sorted(range(len(shapes)), key=lambda i: (-shapes[i][0] * shapes[i][1], shapes[i], i))
    groups = (list(group) for _, group in groupby(order, key=lambda i: shapes[i]))
    return [group[first : first + batch] for group in groups for first in range(0, len(group), batch)]
