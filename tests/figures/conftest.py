from collections.abc import Callable, Iterator, Mapping
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from assignbench.cli.main import main
from assignbench.config import Matrix, load_recipe
from assignbench.figures import teachers
from assignbench.figures.given import picture_drawn
from assignbench.figures.picture import Picture
from assignbench.run.matrix.matrix import run_matrix

SMALL = (
    "model.backbone=miniature",
    "model.channels=32",
    "model.towers=1",
    "data.short_side=96",
    "data.long_side=128",
    "data.workers=0",
    "train.iterations=3",
    "train.batch=2",
    "train.warmup=1",
    "train.precision=no",
    "evaluate.score_threshold=0.005",
)


def draw_data(folder: Path, seed: int) -> Path:
    file = folder / f"mini{seed}.yaml"
    file.write_text(
        f"format: shapes\ndescription: a few\nseed: {seed}\ntrain: 3\nevaluation: 5\n"
        "short_side: 96\nlong_side: 128\nsmallest: 14\nlargest: 70\n"
    )
    return file


def train(strategy: str, data: Path, output: Path, *overrides: str) -> Path:
    """A finished run, by a few steps."""
    matrix = Matrix(
        strategies=(strategy,),
        datasets=(str(data),),
        recipe=load_recipe("tiny", (*SMALL, *overrides)),
        seeds=(0,),
        protocol="controlled",
        preset=None,
        data_root=data.parent,
        output=output,
        device="cpu",
    )
    text = StringIO()
    outcome = run_matrix(matrix, Console(file=text, width=200))
    assert outcome.exit_code == 0, text.getvalue()
    return output / outcome.records[0].run_id


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the data sets and runs of these tests lie."""
    return tmp_path_factory.mktemp("figures")


@pytest.fixture(scope="session")
def runs(root: Path) -> Mapping[str, Path]:
    """Folders of finished runs by what they are."""
    data = draw_data(root, 3)
    return {
        "autoassign": train("autoassign", data, root / "runs", "train.snapshots=[1]"),
        "without": train("autoassign[objectness=none]", data, root / "runs"),
        "retinanet": train("retinanet", data, root / "runs"),
        "elsewhere": train("fcos", draw_data(root, 4), root / "others"),
    }


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], root: Path) -> Callable[..., tuple[int, str, str]]:
    """``assignbench figure …`` in this process: exit code, stdout, stderr."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        code = main(["figure", *map(str, arguments), "--data-root", str(root), "--device", "cpu"])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture(scope="module")
def small_untrained() -> Iterator[None]:
    """An untrained network of a few weights, in the place of the one that pictures without a run are shown with."""
    with pytest.MonkeyPatch.context() as patch:
        small = load_recipe("tiny", ("model.backbone=miniature", "model.channels=32", "model.towers=1"))
        patch.setattr(teachers, "untrained", lambda: small.recipe.model)
        yield


@pytest.fixture(scope="session")
def scene() -> Picture:
    """Seven objects, of which the last lies between the locations."""
    return picture_drawn(187)
