"""Which strategies a benchmark runs, and the learner around each."""

from __future__ import annotations

from collections.abc import Sequence

from assignbench.errors import UsageError
from assignbench.plugins import known_strategies, resolve
from assignbench.recipe import ModelSettings
from assignbench.run.matrix.plan import Candidate, candidate

# A network that is never run: only the head's specification and the strategy are used.
UNUSED = ModelSettings.model_validate({"backbone": "resnet18", "weights": "none", "towers": 0})


def chosen(texts: Sequence[str] | None, protocol: str, preset: str | None) -> list[Candidate]:
    """The strategies asked for; None: every one that is installed and has a form under the protocol.

    Raises:
        UsageError: an unknown strategy, option or preset, or nothing is left.
    """
    if texts is None:
        names = dict.fromkeys(known.name for known in known_strategies())
        texts = [name for name in names if protocol == "controlled" or _has(name, preset)]
    if not texts:
        raise UsageError(f"no installed strategy has {preset or 'a published preset'}; name some with --assigner")
    return [candidate(text, protocol, preset) for text in texts]


def _has(name: str, preset: str | None) -> bool:
    presets = resolve(name).load().presets
    return preset in presets if preset else bool(presets)
