"""The two protocols: one detector for all strategies (controlled), or each one's own (published)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from assignbench.config import ResolvedRecipe, with_preset
from assignbench.core import Assigner, Extra, Head, Setting
from assignbench.core.parts import BOX_LOSSES, CLASS_LOSSES, Focal, GIoU, PairLoss, Preset
from assignbench.errors import UsageError
from assignbench.importing import in_words
from assignbench.plugins import construct
from assignbench.recipe import LossSettings
from assignbench.suggest import did_you_mean

PAPERS_RECIPE = "1x"  # network and evaluation of published detectors, as far as a preset does not say otherwise
CONTROLLED_LOSS = PairLoss(Focal(), GIoU(weight=5.0), weight=0.25)


class Surrounded(NamedTuple):
    """A strategy, and what surrounds it."""

    assigner: Assigner
    head: Head  # in use
    loss: PairLoss


@dataclass(frozen=True)
class Protocol:
    """What surrounds a strategy: nothing of its own, or one of its presets."""

    name: Literal["controlled", "published"] = "controlled"
    preset_name: str | None = None
    preset: Preset | None = None

    @property
    def loss(self) -> PairLoss:
        """What a pair costs."""
        return CONTROLLED_LOSS if self.preset is None else self.preset.loss

    def charging(self, wanted: LossSettings) -> PairLoss:
        """What a pair costs where a recipe says otherwise."""
        loss = self.loss
        if wanted.class_ is not None:
            loss = replace(loss, classes=CLASS_LOSSES[wanted.class_])
        if wanted.box is not None:
            loss = replace(loss, box=BOX_LOSSES[wanted.box])
        return loss if wanted.box_weight is None else loss.weighing_boxes(wanted.box_weight)

    def head(self, wanted: Head, loss: PairLoss | None = None) -> Head:
        """The head in use, given the one that the strategy, with its options, is defined on, and what pairs cost."""
        head = wanted.controlled() if self.preset is None else self.preset.head_for(wanted)
        coding = (loss or self.loss).box.coding
        return head if coding is None else head.coded(coding)

    def surround(
        self,
        cls: type[Assigner],
        options: Mapping[str, Any],
        setting: Setting,
        extras: Sequence[Extra],
        wanted: LossSettings,
    ) -> Surrounded:
        """Build a strategy, with the head and the loss that it is trained with.

        Raises:
            UsageError: as `construct`; or the preset's head or loss does not allow what is asked for.
        """
        assigner = construct(cls, options, setting, extras)
        try:
            loss = self.charging(wanted)
            return Surrounded(assigner, self.head(assigner.head, loss), loss)
        except Exception as error:  # a stranger's preset and its parts may be anything
            preset = f", preset {self.preset_name}" if self.preset else ""
            raise UsageError(f"{cls.__name__}{preset}: {in_words(error)}") from error

    def options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The preset's options, then those that were given."""
        return {**(self.preset.options if self.preset else {}), **given}

    def recipe(self, recipe: ResolvedRecipe) -> ResolvedRecipe:
        """The recipe as this protocol changes it."""
        if self.preset is None:
            return recipe
        return with_preset(recipe, str(self.preset_name), self.preset.recipe, self.preset.schedule)


CONTROLLED = Protocol()


def protocol_of(cls: type[Assigner], name: str, preset: str | None = None) -> Protocol:
    """The protocol of a strategy by name; ``preset`` None takes the strategy's first.

    Raises:
        UsageError: there is no such protocol or preset, or a preset is named for the controlled protocol.
    """
    if name == "controlled":
        if preset is not None:
            raise UsageError(f"preset {preset!r} is for --protocol published; the controlled protocol has none")
        return CONTROLLED
    if name != "published":
        known = ("controlled", "published")
        raise UsageError(f"no protocol is called {name!r}{did_you_mean(name, known)}\nknown: {', '.join(known)}")
    presets = cls.presets
    if not isinstance(presets, Mapping) or not all(isinstance(one, Preset) for one in presets.values()):
        raise UsageError(f"{cls.__name__}.presets must map names to presets: presets = {{'mine': Preset(…)}}")
    if not presets:
        raise UsageError(f"{cls.__name__} declares no published preset; it runs under --protocol controlled only")
    preset = next(iter(presets)) if preset is None else preset
    if preset not in presets:
        raise UsageError(
            f"{cls.__name__} has no preset {preset!r}{did_you_mean(preset, presets)}\nit has: {', '.join(presets)}"
        )
    return Protocol(name, preset, presets[preset])
