"""What the YAML files of an experiment and of a scale may say (``configs/experiments``, ``configs/scales``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from assignbench.document import load_document
from assignbench.errors import UsageError
from assignbench.paths import config_file, configs_folder
from assignbench.suggest import did_you_mean

ScaleName = Literal["smoke", "small", "full"]
OFF_CENTRE = "off-centre"  # mean AP of the classes whose mass sits off the box centre

Text = Annotated[str, Field(min_length=1)]
_Coco = Literal["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
Metric = _Coco | Literal["VOC07-AP50", "VOC10-AP50", "WIDER-easy", "WIDER-medium", "WIDER-hard"]


class _Part(BaseModel):
    """Strict, as a recipe is: nothing is converted, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Scale(_Part):
    """One size of all experiments: what they run on unless they say otherwise."""

    description: Text
    dataset: Text
    recipe: Text
    protocol: Literal["controlled", "published"]
    presets: Mapping[str, Text] = {}  # under published: strategy → preset; not named: the strategy's first
    seeds: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]
    paper: bool  # the paper's own setting: published numbers may be subtracted
    # training and evaluation pictures of `dataset`, where it has to be whole to be the paper's
    pictures: Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=2, max_length=2)] | None = None
    decides: bool  # whether claims get a verdict; a network that has learned nothing gives none
    says: Text  # what numbers of this scale can and cannot say


class Change(_Part):
    """What a table, or a group of its rows, has instead of the scale's."""

    dataset: Text | None = None  # a name, or a file beside the experiment's
    recipe: Text | None = None
    set: Mapping[str, Any] = {}  # settings of the recipe


class RowChange(_Part):
    """What a row has at one scale only."""

    strategy: Text | None = None
    set: Mapping[str, Any] = {}
    test_time: Text | None = None
    reading: Text | None = None  # behind the row's


class Reference(_Part):
    """Where a published value stands in reports/published_results.csv."""

    table: Text
    row: int
    dataset: Text | None = None  # where one row has several


class Row(_Part):
    """One row of the paper's table."""

    label: Text
    published: int | Reference | None = None  # row of this table, or one elsewhere
    strategy: Text | None = None
    set: Mapping[str, Any] = {}  # what the row changes of the recipe, at every scale
    scales: Mapping[ScaleName, RowChange] = {}
    # views that the finished run is evaluated with, as for `eval --tta`: a name, or a file beside the experiment's
    test_time: Text | None = None
    reading: Text | None = None  # what the paper leaves open, and how it is read here
    not_built: Text | None = None  # why there is nothing to run

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.strategy is None) == (self.not_built is None):
            raise ValueError("a row has either a strategy or a sentence in not_built")
        return self


class Group(_Part):
    """The rows once more, on another data set."""

    name: Text
    published: Text | None = None  # data set of the CSV that the rows' published values are of
    elsewhere: Mapping[str, Reference] = {}  # label → value of another table
    scales: Mapping[ScaleName, Change] = {}


class Claim(_Part):
    """A direction that the paper's numbers have."""

    says: Text
    better: Text  # label of a row
    worse: Text
    on: Literal["AP", "off-centre"] = "AP"


class Experiment(_Part):
    """One table of the paper."""

    title: Text
    table: Text  # its number in reports/published_results.csv
    paper: Text  # the paper's setting, in words
    stated: bool = True  # whether the paper states it; no difference is formed to a value of an unknown setting
    metrics: Annotated[list[Metric], Field(min_length=1)] = ["AP"]
    classes: list[Text] = []  # further columns where the data set has them: AP of single classes
    # further columns where the data set knows the truth: classes whose mass sits at least so many box sizes off centre
    off_centre: float | None = Field(None, gt=0)
    scales: Mapping[ScaleName, Change] = {}
    groups: list[Group] = []  # []: the rows once
    rows: Annotated[list[Row], Field(min_length=1)]
    claims: list[Claim] = []
    remarks: list[Text] = []  # below the table

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        labels = [row.label for row in self.rows]
        names = [group.name for group in self.groups]
        for what, texts in (("rows", labels), ("groups", names)):
            if repeated := {text for text in texts if texts.count(text) > 1}:
                raise ValueError(f"two {what} are both called {min(repeated)!r}")
        pointing = [(claim.says, label) for claim in self.claims for label in (claim.better, claim.worse)]
        pointing += [(group.name, label) for group in self.groups for label in group.elsewhere]
        for where, label in pointing:
            if label not in labels:
                raise ValueError(f"{where!r} names the row {label!r}, which is not there{did_you_mean(label, labels)}")
        if same := next((claim for claim in self.claims if claim.better == claim.worse), None):
            raise ValueError(f"{same.says!r} holds the row {same.better!r} against itself")
        if any(claim.on == OFF_CENTRE for claim in self.claims) and self.off_centre is None:
            raise ValueError("a claim about off-centre classes needs off_centre")
        return self


def known_experiments() -> tuple[str, ...]:
    """Names of the shipped experiments, in the paper's order."""
    names = [path.stem for path in _experiments().glob("*.yaml")]
    return tuple(sorted(names, key=lambda name: (name.rstrip("0123456789"), len(name), name)))


def load_experiment(name_or_path: str) -> tuple[Experiment, Path]:
    """A shipped experiment, or one from a YAML file, and its file.

    Raises:
        UsageError: an unknown name, or a file that is not a valid experiment.
    """
    file = config_file("experiment", _experiments(), (*known_experiments(), "all"), name_or_path)
    return load_document(file, Experiment), file


def is_shipped(file: Path) -> bool:
    """Whether a file is that of a shipped experiment, and not a user's own."""
    return file.parent == _experiments() and file.stem in known_experiments()


def load_scale(name: ScaleName) -> Scale:
    """One of the three scales.

    Raises:
        UsageError: its file is damaged.
    """
    return load_document(configs_folder() / "scales" / f"{name}.yaml", Scale)


def chosen_experiments(names: Sequence[str]) -> tuple[str, ...]:
    """What was asked for, ``all`` spelled out.

    Raises:
        UsageError: one is asked for twice, ``all`` stands beside others, or there is none.
    """
    if "all" in names:
        if len(names) > 1:
            raise UsageError(f"'all' has every table in it; leave out {', '.join(set(names) - {'all'}) or 'the other'}")
        return known_experiments()
    if repeated := {name for name in names if names.count(name) > 1}:
        raise UsageError(f"the same experiment is asked for twice: {', '.join(sorted(repeated))}")
    return tuple(names)


def _experiments() -> Path:
    return configs_folder() / "experiments"
