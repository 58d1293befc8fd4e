"""Functions of single entries that give equal results for equal entries, wherever these stand in a list."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from assignbench.core.fast.class_outputs import ROWS

PIECE = 1 << 14  # entries: torch gives so few to one thread


def entry_by_entry(compute: Callable[..., Tensor], *values: Tensor) -> Tensor:
    """``compute(*values)``, which looks at each entry alone: ``[pair] each → [pair]``.

    Torch rounds `pow`, `sigmoid` and their like in another way at the end of what a thread computes, where no whole
    vector unit is left. So of two equal pairs one would score higher, and which one would depend on the batch.
    """
    found = []
    for start in range(0, max(1, len(values[0])), PIECE):
        some = [each[start : start + PIECE] for each in values]
        count = len(some[0])
        whole = (torch.cat((each, each[-1:].expand(-count % ROWS))) for each in some)
        found.append(compute(*whole)[:count])
    return torch.cat(found)
