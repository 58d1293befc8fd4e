"""What `pip install assignbench` brings: all that commands read, and nothing else of the repository."""

import ast
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]
PACKAGES = ("assignbench", "assigners")
MOVED = {  # in the repository → in the wheel
    "configs/": "assignbench/configs/",
    "reports/published_results.csv": "assignbench/reports/published_results.csv",
    "tests/golden/vectors/": "assignbench/golden/part/",
}
LARGEST = 5 * 2**20  # bytes


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (file,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"])
    return Path(file)


def tracked() -> list[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("which files belong to the repository is known in a checkout alone")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def wanted() -> Iterator[str]:
    for name in tracked():
        if name.startswith(tuple(f"{package}/" for package in PACKAGES)):
            yield name
        for before, after in MOVED.items():
            if name.startswith(before):
                yield name.replace(before, after, 1)


def test_the_wheel_holds_what_commands_read_and_nothing_else(wheel: Path) -> None:
    with ZipFile(wheel) as opened:
        names = [name for name in opened.namelist() if ".dist-info/" not in name]
        assert sorted(names) == sorted(wanted())
        for before, after in MOVED.items():
            assert any(name.startswith(after) for name in names), before
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    assert wheel.stat().st_size < LARGEST


def test_the_licence_and_every_entry_point_are_in_it(wheel: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    folder = f"assignbench-{project['version']}.dist-info"
    with ZipFile(wheel) as opened:
        assert opened.read(f"{folder}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
        points = opened.read(f"{folder}/entry_points.txt").decode()
    for name, target in project["entry-points"]["assignbench.assigners"].items():
        assert f"{name} = {target}\n" in points


def test_all_of_it_is_written_for_the_oldest_python_that_is_promised(wheel: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    oldest = project["project"]["requires-python"].removeprefix(">=")
    major, minor = map(int, oldest.split("."))
    assert project["tool"]["ruff"]["target-version"] == f"py{major}{minor}"
    with ZipFile(wheel) as opened:
        for name in opened.namelist():
            if name.endswith(".py"):
                ast.parse(opened.read(name), filename=name, feature_version=(major, minor))
    with pytest.raises(SyntaxError):
        ast.parse("def f[T](x: T) -> T: ...", feature_version=(3, 11))
