import importlib.util
import os
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

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
    """Beside other workers (``pytest -n``) a worker and what it starts take one core, not all of them."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        import torch

        torch.set_num_threads(1)
        os.environ.setdefault("OMP_NUM_THREADS", "1")


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
    recipe: str = "tiny",
    protocol: str = "controlled",
    preset: str | None = None,
    run_id: str | None = None,
    config: Mapping[str, Any] | None = None,
    origins: Mapping[str, str] | None = None,
    metrics: Mapping[str, float | None] | None = None,
    options: Mapping[str, Any] | None = None,
    source: str = "a",
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
            origin="assignbench",
            version="0.1.0",
            source_sha256=source,
        ),
        dataset=DatasetFacts(name=dataset, spec=dataset, classes=("disc", "ring"), train=split, evaluation=split),
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
        weights_sha256="e" * 64,
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
