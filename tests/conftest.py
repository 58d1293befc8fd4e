from __future__ import annotations

import gc
import hashlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from io import StringIO
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from rich.console import Console

from assignbench.config import Matrix, load_recipe
from assignbench.lock import Rhythm
from assignbench.run.results.environment import Environment
from assignbench.run.results.record import (
    AssignerFacts,
    DatasetFacts,
    ResolvedValue,
    RunRecord,
    Seconds,
    SplitFacts,
)

if TYPE_CHECKING:
    from assignbench.run.matrix.matrix import MatrixOutcome

ENVIRONMENT = Environment(
    python="3.11.7",
    torch="2.11.0",
    torchvision="0.26.0",
    accelerate="1.10.0",
    pycocotools="2.0.8",
    numpy="1.26.4",
    assignbench="0.1.0",
    commit=None,
    platform="Linux",
    cpu="a processor",
    cpu_threads=2,
    gpus=(),
    processes=1,
    precision="no",
)


def pytest_configure() -> None:
    """Beside other workers (``pytest -n``) a worker and what it starts take one core, not all of them.

    A worker also looks for garbage less often: it holds millions of objects, and each look at all of them takes half
    a second. Accelerate looks after every run.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        import torch
        from accelerate.utils import memory

        torch.set_num_threads(1)
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        gc.set_threshold(50_000, 20, 20)
        memory.gc = SimpleNamespace(collect=lambda: 0)  # type: ignore[assignment]


@pytest.fixture(autouse=True)
def _no_precision_left() -> Iterator[None]:
    """A process has one precision for good, and ``auto`` is bf16 on some machines: tests after it may want another."""
    yield
    state = getattr(sys.modules.get("accelerate.state"), "AcceleratorState", None)
    if state is not None and state._shared_state.get("_mixed_precision", "no") != "no":
        state._reset_state(reset_partial_state=True)


# The files that take longest, minutes together. They are begun first, those that mostly wait beside those that compute.
LONGEST = (
    "run/killed/test_killed.py",
    "export/test_equal.py",
    "engines/test_local.py",
    "assigners/test_contract.py",
    "engines/test_ray.py",
    "export/test_export.py",
    "engines/test_slurm.py",
    "run/training/test_several.py",
    "run/training/test_launch.py",
    "test_docs.py",
    "cli/test_hostile_documents.py",
    "data/read/test_fuzz.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`LONGEST` first, and all else as it was."""
    turn = {Path(__file__).parent / name: at for at, name in enumerate(LONGEST)}
    items.sort(key=lambda item: turn.get(item.path, len(turn)))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file goes to one worker, which makes its fixtures once, and the next file to the worker that is done first.

    By default a worker gets hundreds of tests at once: for minutes the others had nothing left to do.
    """
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False  # in the order of collection, not by the number of tests
    return LoadFileScheduling(config, log)


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: tests of engines and of locks wait most of their time."""
    return len(os.sched_getaffinity(0)) + 1


@pytest.fixture
def often() -> Rhythm:
    """Of a lock in a test."""
    return Rhythm(poll=0.02, beat=0.1, dead=0.6)


def build_record(
    label: str = "atss",
    seed: int = 0,
    ap: float | None = 0.4,
    *,
    dataset: str = "shapes",
    spec: str | None = None,
    caveats: Sequence[str] = (),
    recipe: str = "tiny",
    protocol: str = "controlled",
    preset: str | None = None,
    run_id: str | None = None,
    config: Mapping[str, Any] | None = None,
    origins: Mapping[str, str] | None = None,
    metrics: Mapping[str, float | None] | None = None,
    options: Mapping[str, Any] | None = None,
    source: str = "a",
    origin: str = "assignbench",
    fingerprint: str = "f" * 64,
    environment: Mapping[str, Any] | None = None,
) -> RunRecord:
    """A record with one number; every other metric is that number too, but APl, which nothing measured.

    Without a preset, a published record has mmdet's.
    """
    split = SplitFacts(name="train", images=4, objects=9, crowd=1, repairs=(), fingerprint=fingerprint)
    numbers = dict.fromkeys(("AP", "AP50", "AP75", "APs", "APm", "AR100"), ap)
    settings = {"train.lr": 0.01, "assigner.text": label, **(config or {})}
    preset = preset or ("mmdet" if protocol == "published" else None)
    return RunRecord(
        run_id=run_id or "-".join((label, dataset, *([preset] if preset else []), recipe, str(seed))),
        assigner=AssignerFacts(
            label=label,
            name=label.partition("[")[0],
            options=options or {},
            origin=origin,
            version="0.1.0",
            source_sha256=source,
        ),
        dataset=DatasetFacts(
            name=dataset,
            spec=spec or dataset,
            classes=("disc", "ring"),
            train=split,
            evaluation=split,
            caveats=tuple(caveats),
        ),
        recipe=recipe,
        protocol=protocol,  # type: ignore[arg-type]
        preset=preset,
        seed=seed,
        config={
            key: ResolvedValue(value=value, origin=(origins or {}).get(key, "default"))
            for key, value in settings.items()
        },
        metrics={**numbers, "APl": None, **(metrics or {})},
        per_class={"disc": ap, "ring": None},
        detections=12,
        detections_sha256="d" * 64,
        weights_sha256=hashlib.sha256(f"{label} {seed} {dataset} {recipe} {protocol} {ap}".encode()).hexdigest(),
        assignment={"positives": 9.5, "without_positive": 0.0, "positives/>=256": None},
        learned={"disc": {"mu_x": 0.1, "mu_y": -0.2, "sigma_x": 1.0, "sigma_y": 1.1}},
        true_offsets={"disc": (0.0, 0.0), "ring": (0.0, 0.1)},
        parameters=1000,
        iterations=100,
        seconds=Seconds(total=10, data=1, network=6, assignment=1.5, evaluation=1),
        images_per_second=16.0,
        environment=ENVIRONMENT.model_copy(update=dict(environment or {})),
        started=datetime(2025, 1, 1, 12, 0, 0, tzinfo=UTC),
        finished=datetime(2025, 1, 1, 12, 0, 10, tzinfo=UTC),
        notes=("2 of 4 images have no detection",),
    )


@pytest.fixture(scope="session")
def make_record() -> Callable[..., RunRecord]:
    return build_record


@pytest.fixture(scope="session")
def miniatures() -> ModuleType:
    """tests/data/miniatures.py: a small data set in every format, ``miniatures.write_voc(folder)`` and so on."""
    file = Path(__file__).parent / "data" / "miniatures.py"
    spec = importlib.util.spec_from_file_location("miniatures", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["miniatures"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


FEW_PICTURES = """\
format: shapes
description: a few
seed: 3
train: 7
evaluation: 5
short_side: 64
long_side: 96
smallest: 12
largest: 50
"""
SMALL_RUN = {
    "model.backbone": "miniature",
    "model.channels": "32",
    "model.towers": "1",
    "data.short_side": "64",
    "data.long_side": "96",
    "data.workers": "0",
    "train.iterations": "4",
    "train.batch": "2",
    "train.warmup": "1",
    "train.log_every": "1",
    "train.statistics_every": "1",
    "train.precision": "no",
    "evaluate.batch": "3",
    "evaluate.score_threshold": "0.005",
}  # over recipe "tiny"


@pytest.fixture(scope="session", autouse=True)
def _caches_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What is kept between commands is kept with the tests, not with whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("xdg")))
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def few_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``mini.yaml``, a data set of twelve small pictures, drawn on first use; its folder is the data root."""
    file = tmp_path_factory.mktemp("data") / "mini.yaml"
    file.write_text(FEW_PICTURES)
    return file


@pytest.fixture(scope="session")
def small_runs(few_pictures: Path) -> Callable[..., tuple[MatrixOutcome, str]]:
    """Make runs of `SMALL_RUN` on `few_pictures`; returns their outcome and what was printed."""
    from assignbench.run.matrix.matrix import run_matrix

    def small_runs(
        *overrides: str,
        output: Path,
        strategies: Sequence[str] = ("autoassign",),
        dataset: str = str(few_pictures),
        seeds: Sequence[int] = (0,),
        protocol: str = "controlled",
        preset: str | None = None,
        resume: bool = False,
        dry_run: bool = False,
        trackers: Sequence[str] = (),
    ) -> tuple[MatrixOutcome, str]:
        values = SMALL_RUN | dict(text.split("=", 1) for text in overrides)
        matrix = Matrix(
            strategies=tuple(strategies),
            datasets=(dataset,),
            recipe=load_recipe("tiny", tuple(f"{key}={value}" for key, value in values.items())),
            seeds=tuple(seeds),
            protocol=protocol,
            preset=preset,
            data_root=few_pictures.parent,
            output=output,
            resume=resume,
            dry_run=dry_run,
            device="cpu",
            trackers=tuple(trackers),
        )
        text = StringIO()
        return run_matrix(matrix, Console(file=text, width=200, markup=False)), text.getvalue()

    return small_runs


@pytest.fixture(scope="session")
def small_run(small_runs: Callable[..., tuple[MatrixOutcome, str]]) -> Callable[..., tuple[RunRecord, Path]]:
    """Make one small run, which must succeed; returns its record and its folder."""

    def small_run(strategy: str, *overrides: str, output: Path, resume: bool = False) -> tuple[RunRecord, Path]:
        outcome, text = small_runs(*overrides, strategies=(strategy,), output=output, resume=resume)
        assert outcome.exit_code == 0, text
        (record,) = outcome.records
        return record, output / record.run_id

    return small_run


@pytest.fixture(scope="session")
def finished_run(
    small_run: Callable[..., tuple[RunRecord, Path]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[RunRecord, Path]]:
    """As `small_run`, made once for all tests that ask for it: they may read the folder, not write into it."""

    @cache
    def finished_run(strategy: str, *overrides: str) -> tuple[RunRecord, Path]:
        return small_run(strategy, *overrides, output=tmp_path_factory.mktemp("finished"))

    return finished_run


@pytest.fixture(scope="session")
def documents() -> Callable[[int, int, int, int, int], tuple[dict[str, Any], dict[str, Any]]]:
    """Makes COCO documents of ground truth and results from a seed and numbers of what is in them."""
    return _documents


def _documents(
    seed: int, images: int, classes: int, objects: int, detections: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Truth and results with crowds, tied scores, many equal boxes and overlaps, sizes on both sides of 32² and 96²."""
    random = np.random.default_rng(seed)
    ids = (random.permutation(10**6)[:images] - 5).tolist()
    categories = random.permutation(90)[:classes].tolist()

    def boxes(count: int) -> np.ndarray:
        corner = 20 * random.integers(0, 6, (count, 2))
        return np.hstack([corner, random.choice([5.0, 20, 40, 50, 100, 150], (count, 2))])

    def entry(number: int, box: np.ndarray, **more: Any) -> dict[str, Any]:
        place = {"image_id": int(random.choice(ids)), "category_id": int(random.choice(categories))}
        return {"id": number, **place, "bbox": box.tolist(), "area": float(box[2] * box[3]), "iscrowd": 0, **more}

    head = {"images": [{"id": one} for one in ids], "categories": [{"id": one} for one in categories]}
    crowd = (random.random(objects) < 0.2).astype(int).tolist()
    truth = [entry(n, box, iscrowd=crowd[n - 1]) for n, box in enumerate(boxes(objects), start=1)]
    scores = (random.integers(0, 7, detections) / 6).tolist()
    results = [entry(n, box, score=scores[n - 1]) for n, box in enumerate(boxes(detections), start=1)]
    return {**head, "annotations": truth}, {**head, "annotations": results}
