"""The command: what it writes, what it refuses, and that its guide's example works without assignbench."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import nn
from torch.export import ExportedProgram

from assignbench.cli.main import main
from assignbench.errors import DataError, RunError, SystemProblem, UsageError
from assignbench.export import export as module
from assignbench.export import formats
from assignbench.export.export import Done, export
from assignbench.export.formats import ENDS
from assignbench.files import sha256_of
from assignbench.run.scoring.predict import predict

PROGRAMS: dict[tuple[object, ...], ExportedProgram] = {}
FIXED = (192, 192)  # where sizes that vary are not what is tried: such a network is followed sooner
GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "export.md"


@pytest.fixture(scope="session")
def large(finished_run) -> Path:
    """A run whose pictures are large enough for sizes that vary."""
    return finished_run("fcos", "data.short_side=160", "data.long_side=192", "evaluate.score_threshold=0.001")[1]


@pytest.fixture(scope="module", autouse=True)
def _followed_once() -> Iterator[None]:
    """To follow a network takes seconds, so each is followed once, whichever test comes first."""
    real = module.traced

    def traced(network: nn.Module, size: tuple[int, int] | None) -> ExportedProgram:
        which = (size, *(parameter.double().sum().item() for parameter in network.parameters()))
        if which not in PROGRAMS:
            PROGRAMS[which] = real(network, size)
        return PROGRAMS[which]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "traced", traced)
        yield


@pytest.fixture(scope="module")
def exported(large, few_pictures, tmp_path_factory, _followed_once) -> Done:
    """Its network as torch's file, alone in a folder."""
    return export(large, output=tmp_path_factory.mktemp("exported") / "fcos.pt2", data_root=few_pictures.parent)


def written(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_and_its_description_say_what_they_are(large, exported):
    assert written(exported.file.parent) == ["fcos.pt2", "fcos.pt2.json"]
    about = json.loads(exported.file.with_name("fcos.pt2.json").read_text())
    assert about == json.loads(json.dumps(exported.about))
    assert about["file"]["sha256"] == sha256_of(exported.file)
    assert about["run"]["id"] == large.name
    assert about["postprocessing"]["score_threshold"] == 0.001
    assert about["check"]["largest_difference"] == {"boxes": 0, "scores": 0}
    assert about["check"]["detections"] > 0
    assert about["check"]["unpaired"] == 0


@pytest.mark.parametrize("form", ["torch", "onnx"])
def test_the_guides_example_finds_what_predict_finds(large, exported, few_pictures, tmp_path, form):
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), flags=re.DOTALL)
    code, onnx = blocks
    if form == "onnx":
        first, rest = code.split('model, about = torch.export.load("fcos.pt2").module(), ')
        code = f"{first}{onnx}\nabout = {rest}".replace("fcos.pt2.json", "fcos.onnx.json")
        export(large, form="onnx", output=tmp_path / "fcos.onnx", data_root=few_pictures.parent)
    else:
        shutil.copytree(exported.file.parent, tmp_path, dirs_exist_ok=True)
    (picture, *_) = sorted(few_pictures.parent.rglob("*.jpg")) or sorted(few_pictures.parent.rglob("*.png"))
    from PIL import Image

    with Image.open(picture) as opened:
        opened.save(tmp_path / "street.jpg")
    # a process that cannot import assignbench
    code = "import sys\nsys.modules['assignbench'] = None\n" + code
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ""}
    )
    assert told.returncode == 0, told.stderr
    found = [line.split(" ", 2) for line in told.stdout.splitlines()]
    predict(large, [tmp_path / "street.jpg"], tmp_path / "found", 0.0, "cpu")
    wanted = json.loads((tmp_path / "found" / "street.json").read_text())["detections"]
    assert len(found) == len(wanted) > 0
    for one in wanted:  # equal scores may stand in any order
        assert any(
            name == one["class"]
            and json.loads(box) == pytest.approx(one["box"], abs=0.11)
            and float(score) == pytest.approx(one["score"], abs=0.002)
            for name, score, box in found
        ), one


def test_a_difference_leaves_no_file(large, few_pictures, tmp_path, monkeypatch):
    real = module.opened
    monkeypatch.setattr(module, "opened", lambda *which: lambda *given: [each + 0.2 for each in real(*which)(*given)])
    with pytest.raises(RunError, match="is not the run's"):
        export(large, output=tmp_path / "a.pt2", size=FIXED, data_root=few_pictures.parent)
    assert written(tmp_path) == []


def test_small_pictures_want_a_fixed_size(finished_run, few_pictures, tmp_path):
    run, root = finished_run("fcos")[1], few_pictures.parent
    with pytest.raises(UsageError, match=r"begin at 160; add a fixed size: --size 96x96"):
        export(run, output=tmp_path / "a.pt2", data_root=root)
    with pytest.raises(UsageError, match=r"does not fit into --size 32x32; every .* fits into --size 96x96"):
        export(run, output=tmp_path / "a.pt2", size=(32, 32), data_root=root)
    with pytest.raises(UsageError, match="must be multiples of 32"):
        export(run, output=tmp_path / "a.pt2", size=(96, 100), data_root=root)
    assert written(tmp_path) == []
    done = export(run, output=tmp_path / "a.pt2", size=(96, 96), data_root=root)
    assert done.about["input"]["images"]["height"] == 96


def test_pictures_of_ones_own_do_without_the_data_set(large, few_pictures, tmp_path, monkeypatch):
    def gone(*_):
        raise DataError("the pictures are gone")

    monkeypatch.setattr(module, "open_dataset", gone)
    with pytest.raises(DataError, match=r"are gone\n.*--pictures FOLDER"):
        export(large, output=tmp_path / "a.pt2", size=FIXED)
    picture = next(few_pictures.parent.rglob("*.jpg"), None) or next(few_pictures.parent.rglob("*.png"))
    done = export(large, output=tmp_path / "a.pt2", size=FIXED, pictures=picture)
    assert done.checked.pictures == 1


def test_what_was_not_written_here_stays(large, tmp_path):
    (tmp_path / "a.pt2.json").write_text("{}")
    with pytest.raises(UsageError, match=r"a\.pt2\.json was not written by export"):
        export(large, output=tmp_path / "a.pt2")
    with pytest.raises(UsageError, match="is read by this command"):
        export(large, output=large / "weights.safetensors")
    assert (tmp_path / "a.pt2.json").read_text() == "{}"


def test_no_picture_is_written_over(large, few_pictures, tmp_path):
    """Neither one that has the file's name, nor one that a link leads to."""
    picture = next(few_pictures.parent.rglob("*.jpg"), None) or next(few_pictures.parent.rglob("*.png"))
    own = tmp_path / "a.pt2"
    shutil.copy(picture, own)
    (tmp_path / "b.pt2").symlink_to(own)
    for output in (own, tmp_path / "b.pt2"):
        with pytest.raises(UsageError, match="is read by this command"):
            export(large, output=output, pictures=own)
    assert own.read_bytes() == picture.read_bytes()
    assert written(tmp_path) == ["a.pt2", "b.pt2"]


def test_what_was_exported_into_the_runs_folder_is_exported_there_again(large, few_pictures, tmp_path):
    run = tmp_path / large.name
    shutil.copytree(large, run)
    named, left = run / "mine.pt2", run / "exported.pt2"
    for output in (named, named, None, left):
        assert export(run, output=output, size=FIXED, data_root=few_pictures.parent).file == (output or left)
    (run / "weights.safetensors").replace(run / "moved")
    named.unlink()
    named.symlink_to(run / "moved")
    with pytest.raises(UsageError, match="is read by this command"):
        export(run, output=named)


@pytest.mark.parametrize("form", ["torch", "onnx"])
def test_what_the_system_refuses_is_told_as_such(large, few_pictures, tmp_path, form):
    """A full disk is no fault of the network; and torch, which meets it by itself, would end the whole process."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))  # bytes of a file; Python ignores the signal
    try:
        with pytest.raises(SystemProblem, match=r"cannot write .*File too large; check space"):
            export(large, form=form, output=tmp_path / f"a{ENDS[form]}", size=FIXED, data_root=few_pictures.parent)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert written(tmp_path) == []


def test_short_memory_is_told_as_such(large, few_pictures, tmp_path, monkeypatch):
    def short(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 29980803072 bytes")

    PROGRAMS.clear()  # so that the network is followed here
    for owner, name in ((formats.torch.export, "export"), (module, "opened"), (module, "_inputs")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, short)
            with pytest.raises(SystemProblem, match="does not fit into memory"):
                export(large, output=tmp_path / "a.pt2", size=FIXED, data_root=few_pictures.parent)
    assert written(tmp_path) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--size", "8224x96"), "multiples of 32 up to 8192"),
        (("--format", "onnx", "--output", "a.pt2"), "do not go together"),
        (("--size", "800"), "write height and width in pixels"),
        (("--size", "0x32"), "write height and width in pixels"),
        (("--output", "a.bin"), "the name must end in .pt2 or .onnx"),
        (("--output", "/dev/stdout"), "name a file"),
    ],
)
def test_what_cannot_be_meant_is_refused(large, capsys, monkeypatch, tmp_path, words, message):
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(large), *words]) == 2
    assert message in capsys.readouterr().err
