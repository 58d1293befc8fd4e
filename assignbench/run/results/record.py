"""The result of one run, field by field.

A record is written once, when a run has finished, so a folder with a record holds a finished run. The file is
JSON: every field below, plus ``sha256``, the digest of all the others, which is verified on reading. Nothing
heavy is imported here: listing runs must not wait for torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, Field, JsonValue, model_validator

from assignbench.document import fitted
from assignbench.errors import RunError, UsageError
from assignbench.naming import Known, KnownData, data_names_apart, names_apart
from assignbench.run.results.environment import STRICT, Environment, environment
from assignbench.sealed import read_sealed, write_sealed

__all__ = [
    "FILE",
    "AssignerFacts",
    "DatasetFacts",
    "Environment",
    "FileFacts",
    "ResolvedValue",
    "RunRecord",
    "Seconds",
    "SplitFacts",
    "environment",
    "named_apart",
    "read_record",
    "read_record_of",
    "write_record",
]

FILE = "record.json"

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Duration = Annotated[float, Field(ge=0)]
Name = Annotated[str, Field(min_length=1)]


class AssignerFacts(BaseModel):
    """The strategy of a run."""

    model_config = STRICT

    label: Name  # what tables print: the name, with what was changed: "autoassign[tau=0.5]", "fcos+implicit_objectness"
    name: Name  # as it was asked for: "autoassign", "module:Class" or "file.py:Class"
    options: Mapping[str, JsonValue]  # every option with its value, defaults included
    extras: tuple[Name, ...] = ()  # extra outputs that were added to the strategy's own
    origin: str  # distribution ("assignbench") or file that the class came from
    version: str | None  # of the distribution; None for a file
    source_sha256: str  # digest of the strategy's files, see `plugins.source_digest`


class SplitFacts(BaseModel):
    """One split as it was used."""

    model_config = STRICT

    name: Name  # "train (trainval)"
    images: Count
    objects: Count  # crowd regions included
    crowd: Count  # crowd or difficult: neither taught nor required
    repairs: tuple[str, ...]  # one sentence a kind, with its count
    fingerprint: Name  # sha256 of the content, pictures by their names
    pictures: Name | None = None  # sha256 of the pictures' file sizes, see `files_digest`; None: not noted then
    content: Name | None = None  # sha256 of the pictures' bytes, of the evaluation split alone; None: not noted then


class DatasetFacts(BaseModel):
    """The data set of a run."""

    model_config = STRICT

    name: Name  # what tables print: "shapes", "voc:bccd", "mine.yaml"
    spec: Name  # what opens it again on the same machine: "shapes", "voc:/data/bccd"
    classes: tuple[str, ...]  # in the order of the labels
    train: SplitFacts
    evaluation: SplitFacts
    upright: bool = False  # pictures were read as viewers show them (EXIF), see `data.images.Stored`
    bits: int | None = None  # of a grey value in 16-bit pictures, as there
    caveats: tuple[Name, ...] = ()  # what a reader of every number on it must know, see `data.caveats`

    @property
    def known(self) -> KnownData:
        """What names among others go by."""
        seen = f"{self.train.pictures or ''} {self.upright} {self.bits}"
        content = f"{self.train.fingerprint} {seen} {self.evaluation.fingerprint}"
        return KnownData(self.name, self.spec, content)


class ResolvedValue(BaseModel):
    """One value of the resolved configuration and where it came from."""

    model_config = STRICT

    value: JsonValue
    origin: str  # "default", a file, or "--set"


class Seconds(BaseModel):
    """Wall time of the main process; the parts do not add up to the total (losses, optimizer, set-up)."""

    model_config = STRICT

    total: Duration  # from the start to the finish, as of this record's timestamps
    data: Duration  # waiting for batches; of a GPU, only what its work did not hide
    network: Duration  # forward and backward
    assignment: Duration  # the strategy, forward
    evaluation: Duration  # detection on the evaluation split, scoring, and validation losses


class FileFacts(BaseModel):
    """A file of the run's folder."""

    model_config = STRICT

    bytes: Count
    sha256: Name


class RunRecord(BaseModel):
    """Everything that a table, a figure or a doubt needs to know about a finished run."""

    model_config = STRICT

    schema_version: Literal[2] = 2  # of this list of fields
    run_id: Name  # hash of what determines the run; the name of its folder
    assigner: AssignerFacts
    dataset: DatasetFacts
    recipe: Name  # "tiny", "1x", …
    # controlled: one detector, loss and recipe for all, only the assignment differs; published: each its own
    protocol: Literal["controlled", "published"]
    preset: Name | None  # under published: which of the strategy's presets
    seed: int  # what the first weights, the order of the pictures and the augmentation were drawn from
    config: Mapping[str, ResolvedValue]  # dotted key → value, the whole resolved configuration

    metrics: Mapping[str, Fraction | None]  # AP, AP50, … AR100, …, the data set's own; fractions; None: no ground truth
    per_class: Mapping[str, Fraction | None]  # class → AP, every class of the data set
    # own metric of the data set → class → value; {}: it has none that is stated by class
    official_per_class: Mapping[str, Mapping[str, Fraction | None]] = {}
    detections: Count  # entries of the detections file
    evaluator: Name | None = None  # what scored it, with its version; None: the environment's pycocotools
    weights_sha256: str  # digest of weights.safetensors
    detections_sha256: str  # digest of the detections file that the metrics were computed from

    # name → of weights, detections and the logs of training, as they were when this was written; {}: not noted then
    files: Mapping[str, FileFacts] = {}

    assignment: Mapping[str, float | None]  # statistics of the last epoch, as run/training/statistics.py names them
    branches: tuple[Name, ...] = (
        "main",
    )  # of the head: each learns by an assignment of its own; the first speaks at test
    suppression: bool = True  # whether overlapping detections of a class were suppressed
    # class ("all" when shared) → name → number: what the strategy's own parameters say, as `Assigner.learned` names it;
    # {}: it has none. AutoAssign: mu_x, mu_y, sigma_x, sigma_y in strides; x to the right, y down
    learned: Mapping[str, Mapping[str, float]] = {}
    # class → centre of visible mass from the box centre, in box widths and heights; None: only shapes knows
    true_offsets: Mapping[str, tuple[float, float]] | None

    parameters: Count  # trained and frozen numbers of detector and strategy
    iterations: Count  # optimizer steps
    seconds: Seconds
    images_per_second: Duration  # training throughput over all processes
    environment: Environment
    started: AwareDatetime  # when the run began: ISO 8601 with time zone
    finished: AwareDatetime  # the same, when the record was written
    notes: tuple[str, ...]  # whatever is not standard, and what the evaluation wants to be known

    @property
    def scored_by(self) -> str:
        """What made the metrics, with its version."""
        return self.evaluator or f"pycocotools {self.environment.pycocotools}"

    @property
    def row(self) -> str:
        """What tables call the strategy: its label, and under the published protocol its preset."""
        return self.assigner.label if self.preset is None else f"{self.assigner.label} ({self.preset})"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if set(self.per_class) != set(self.dataset.classes):
            raise ValueError("per_class must name exactly the classes of the data set")
        if self.finished < self.started:
            raise ValueError("finished lies before started")
        if (self.preset is None) != (self.protocol == "controlled"):
            raise ValueError("a preset belongs to the published protocol, and to it only")
        return self


def named_apart(records: Sequence[RunRecord]) -> list[RunRecord]:
    """The records, with names that tell strategies and data sets of one name apart (`assignbench.naming`)."""

    def known(record: RunRecord) -> Known:
        return Known(record.assigner.name, record.assigner.origin, record.assigner.source_sha256)

    names = names_apart(map(known, records))
    data_names = data_names_apart(record.dataset.known for record in records)

    def named(record: RunRecord) -> RunRecord:
        name, own = names[known(record)], record.assigner
        label = name + own.label.removeprefix(own.name)
        data = record.dataset.model_copy(update={"name": data_names[record.dataset.known]})
        return record.model_copy(
            update={"assigner": own.model_copy(update={"name": name, "label": label}), "dataset": data}
        )

    return [named(record) for record in records]


def write_record(folder: Path, record: RunRecord) -> Path:
    """Write ``folder/record.json`` atomically and return its path.

    Raises:
        SystemProblem: the file cannot be written.
    """
    file = folder / FILE
    write_sealed(file, record.model_dump(mode="json"))
    return file


def read_record(file: Path) -> RunRecord:
    """Read one record and verify its digest.

    Raises:
        RunError: the file is missing, was damaged or edited, or has another schema.
    """
    try:
        return _read_record(file)
    except RecursionError as error:
        raise RunError(f"{file} is damaged: it is nested too deeply; move its folder away and run again") from error


def _read_record(file: Path) -> RunRecord:
    content = read_sealed(file, "a run record", "move its folder away and run again")
    version = content.get("schema_version")
    if version == 1:  # before there was more than a centre prior to learn
        content = {**content, "schema_version": 2, "learned": content.get("learned_prior") or {}}
        content.pop("learned_prior", None)
        config = content.get("config")
        if isinstance(config, dict) and "train.box_loss_weight" in config:
            content["config"] = {**config, "loss.box_weight": config["train.box_loss_weight"]}
            del content["config"]["train.box_loss_weight"]
    elif version != 2:
        raise RunError(f"{file} has schema {version!r}, this assignbench reads 1 and 2; use the version that wrote it")
    try:
        return fitted(content, RunRecord, f"{file} is not a valid run record")
    except UsageError as error:  # the first problem is enough: nobody mends a record
        raise RunError(str(error).partition("\n")[0]) from error


def read_record_of(run_id: str, output: Path) -> RunRecord:
    """The record in the folder of a run, ``output/run_id/record.json``.

    Raises:
        RunError: as `read_record`; or it is the record of another run, which was copied there.
    """
    file = output / run_id / FILE
    record = read_record(file)
    if record.run_id != run_id:
        raise RunError(f"{file} is the record of another run, {record.run_id}; move its folder away and run again")
    return record
