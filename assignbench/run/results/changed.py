"""What a run's settings were called, with what was changed of them by hand."""

from __future__ import annotations

import json

from assignbench.config import OVERRIDE
from assignbench.recipe import BOOKKEEPING
from assignbench.run.results.record import RunRecord


def recipe_told(record: RunRecord) -> str:
    """The recipe, and what ``--set`` changed of it that can change a result: "tiny with train.lr=0.01"."""
    changed = [
        f"{key}={entry.value if isinstance(entry.value, str) else json.dumps(entry.value)}"
        for key, entry in record.config.items()
        if entry.origin == OVERRIDE and key not in BOOKKEEPING
    ]
    return f"{record.recipe} with {', '.join(changed)}" if changed else record.recipe
