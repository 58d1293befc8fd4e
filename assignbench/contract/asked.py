"""The laws for strategies as text names them: what the command and the pytest plug-in try."""

from __future__ import annotations

from collections.abc import Mapping

from assignbench.contract.laws import SETTING, Trial, trials
from assignbench.options import check_options
from assignbench.plugins import construct, extras_named, resolve_all


def trials_of(text: str, protocol: str | None = None, preset: str | None = None) -> Mapping[str, list[Trial]]:
    """Label → every law to try, of each strategy that ``text`` stands for; see `laws.trials`.

    Raises:
        UsageError: there is no such strategy, or it cannot be imported or built with these options.
    """
    found = {}
    for strategy in resolve_all(text):
        cls, extras = strategy.load(), extras_named(strategy.extras)
        options = check_options(cls, strategy.options)
        if protocol != "published":  # then presets give options, too, and what fails is a matter of theirs
            construct(cls, options, SETTING, extras)
        found[strategy.label] = trials(cls, options, extras, protocol, preset)
    return found
