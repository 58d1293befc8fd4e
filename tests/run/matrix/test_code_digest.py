"""Which of our own files are in a run's name: an edit of them is another run, an edit of the others is not."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import assignbench
from assignbench.config import load_recipe
from assignbench.data.dataset import Dataset, Splits
from assignbench.run.matrix import plan
from assignbench.run.matrix.plan import ONLY_SAID, candidate, code_digest, deciding_files, run_id
from assignbench.sources import with_imports

PACKAGE = Path(assignbench.__file__).parent

# A new file of data/ or run/ belongs into one of the two lists, in which a room ends in a slash. `deciding_files` has
# decided already, by what `execute` imports: where it is wrong, the file is to be split, or to be named in ONLY_SAID
# with the reason.
DECIDING = """
    data/__init__ data/damage data/dataset data/images data/pictures data/load/
    run/__init__ run/matrix/__init__ run/matrix/execute run/matrix/protocol
    run/scoring/__init__ run/scoring/detect run/scoring/detections run/scoring/evaluate run/scoring/evaluators
    run/scoring/matching run/scoring/voc run/scoring/widerface
    run/training/__init__ run/training/batch_norm run/training/checkpoint run/training/compiling run/training/device
    run/training/learner run/training/optimizer run/training/processes run/training/snapshots run/training/statistics
    run/training/step run/training/surroundings run/training/train
"""
NOT_DECIDING = """
    data/caveats data/decoding data/folders
    data/check/ data/prepare/ data/read/ data/shapes/ data/show/ data/spec/ data/stats/
    run/matrix/ended run/matrix/matrix run/matrix/pictures run/matrix/plan run/matrix/sharing run/results/
    run/scoring/common_loss run/scoring/foreign run/scoring/kept_matches
    run/scoring/matches run/scoring/predict run/scoring/remarks run/scoring/reopen run/scoring/test_server
    run/scoring/test_time run/scoring/views run/scoring/weights run/training/reporter run/training/stopping
    run/training/stopwatch run/training/trackers run/training/undisturbed run/training/validation
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of assignbench to edit, whose files are those that names of runs are made of."""
    package = tmp_path / "assignbench"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(assignbench, "__file__", str(package / "__init__.py"))
    yield package
    code_digest.cache_clear()


def digest() -> str:
    code_digest.cache_clear()  # kept for a process
    return code_digest()


@pytest.fixture(scope="module")
def unedited() -> str:
    return digest()


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new) if old else text + new, encoding="utf-8")


def names_of(files: list[Path]) -> list[str]:
    return [file.relative_to(PACKAGE).with_suffix("").as_posix() for file in files]


def listed(files: list[str], entries: str) -> list[str]:
    rooms = tuple(entry for entry in entries.split() if entry.endswith("/"))
    return [file for file in files if file in entries.split() or file.startswith(rooms)]


def test_every_file_of_data_and_run_is_on_one_side() -> None:
    found = names_of([file for part in ("data", "run") for file in sorted((PACKAGE / part).rglob("*.py"))])
    deciding, other = listed(found, DECIDING), listed(found, NOT_DECIDING)
    assert sorted(deciding + other) == found
    decide = names_of(deciding_files(PACKAGE))
    assert [file for file in decide if file.startswith(("data/", "run/"))] == deciding


def test_all_of_core_and_detector_decides_also_what_nothing_imports(code: Path) -> None:
    kernel = code / "core" / "kernels" / "new.py"
    kernel.parent.mkdir(exist_ok=True)
    kernel.touch()
    decide = {file for file in deciding_files(code) if file.relative_to(code).parts[0] in ("core", "detector")}
    assert decide == {*(code / "core").rglob("*.py"), *(code / "detector").rglob("*.py")}
    assert kernel in decide


def test_what_is_left_out_by_hand_is_there_and_imported() -> None:
    reached = names_of(sorted(with_imports(PACKAGE / "run" / "matrix" / "execute.py")))
    assert [left for left in ONLY_SAID if not any(f"{file}.py".startswith(left) for file in reached)] == []


def test_an_edit_of_what_is_only_shown_or_read_is_no_other_code(code: Path, unedited: str) -> None:
    shown, read = ("data/show/draw.py", "run/training/reporter.py", "plot.py"), ("data/read/coco/coco.py",)
    for file in (*shown, *read, "run/results/record.py"):
        edit(code / file, "", "EDITED = 1\n")
    edit(code / "run/training/step.py", "", "# a comment\n")
    assert digest() == unedited


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("core/pair_view.py", "", "EDITED = 1\n"),
        ("detector/vote.py", "", "EDITED = 1\n"),
        ("data/load/transforms.py", "", "EDITED = 1\n"),
        ("run/training/step.py", "", "EDITED = 1\n"),
        ("run/scoring/evaluate.py", "", "EDITED = 1\n"),
        ("run/matrix/protocol.py", "GIoU(weight=5.0)", "GIoU(weight=4.0)"),
    ],
)
def test_an_edit_of_what_can_change_a_result_is_other_code(
    code: Path, unedited: str, file: str, old: str, new: str
) -> None:
    edit(code / file, old, new)
    assert digest() != unedited


def test_other_code_is_another_run(make_dataset: Callable[..., Dataset], monkeypatch: pytest.MonkeyPatch) -> None:
    splits, atss, recipe = Splits("tiny", make_dataset(), make_dataset()), candidate("atss"), load_recipe("tiny")
    before = run_id(atss, splits, recipe, 0)
    assert run_id(atss, splits, recipe, 0) == before
    monkeypatch.setattr(plan, "code_digest", lambda: "other")
    assert run_id(atss, splits, recipe, 0) != before
