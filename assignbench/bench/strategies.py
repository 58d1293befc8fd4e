"""Which strategies a benchmark runs, and the learner around each."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from assignbench.core import Assigner
from assignbench.errors import UsageError
from assignbench.plugins import known_strategies
from assignbench.recipe import ModelSettings
from assignbench.run.matrix.plan import Candidate, candidate, candidates
from assignbench.run.matrix.protocol import protocol_of

# A network that is never run: only the head's specification and the strategy are used.
UNUSED = ModelSettings.model_validate({"backbone": "resnet18", "weights": "none", "towers": 0})


def chosen(texts: Sequence[str] | None, protocol: str, preset: str | None) -> list[Candidate]:
    """The strategies asked for; None: every one that is installed and has a form under the protocol.

    Raises:
        UsageError: an unknown strategy, option or preset, or nothing is left.
    """
    if texts is not None:
        return candidates(texts, protocol, preset)
    if protocol == "controlled":
        protocol_of(Assigner, protocol, preset)  # it has no presets
    found = []
    for name in dict.fromkeys(known.name for known in known_strategies()):
        with suppress(UsageError):  # a broken plug-in stops nobody else, nor one that has no such form
            found.append(candidate(name, protocol, preset))
    if not found:
        raise UsageError(f"no installed strategy has {preset or 'a published preset'}; name some with --assigner")
    return found
