import re
import tomllib
from pathlib import Path

import pytest

from assignbench import paths
from assignbench.errors import SystemProblem, UsageError
from assignbench.paths import HOME


@pytest.mark.parametrize("place", ["assignbench/configs", "configs"])
def test_configs_are_found_in_a_wheel_and_in_a_checkout(place, tmp_path, monkeypatch):
    (tmp_path / place / "datasets").mkdir(parents=True)
    monkeypatch.setattr(paths, "__file__", str(tmp_path / "assignbench" / "paths.py"))
    assert paths.configs_folder() == tmp_path / place


def test_missing_configs_are_a_damaged_installation(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "__file__", str(tmp_path / "assignbench" / "paths.py"))
    with pytest.raises(SystemProblem, match="install assignbench again"):
        paths.configs_folder()


def test_this_copy_has_its_configs():
    assert (paths.configs_folder() / "datasets" / "shapes.yaml").is_file()


@pytest.mark.parametrize("place", ["assignbench/reports", "reports"])
def test_published_numbers_are_found_in_a_wheel_and_in_a_checkout(place, tmp_path, monkeypatch):
    (tmp_path / place).mkdir(parents=True)
    (tmp_path / place / "published_results.csv").touch()
    monkeypatch.setattr(paths, "__file__", str(tmp_path / "assignbench" / "paths.py"))
    assert paths.published_results() == tmp_path / place / "published_results.csv"


def test_missing_published_numbers_are_a_damaged_installation(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "__file__", str(tmp_path / "assignbench" / "paths.py"))
    with pytest.raises(SystemProblem, match="install assignbench again"):
        paths.published_results()


def test_a_file_is_named_by_its_shipped_name_or_its_path(tmp_path):
    def found(text: str) -> Path:
        return paths.config_file("recipe", tmp_path, ("tiny", "1x"), text)

    assert found("tiny") == tmp_path / "tiny.yaml"
    assert found("mine/tiny.yml") == Path.cwd() / "mine" / "tiny.yml"
    with pytest.raises(UsageError) as error:
        found("tinny")
    message = "no recipe is called 'tinny'; did you mean tiny?\nknown: tiny, 1x; or write a file that ends in .yaml"
    assert str(error.value) == message


def test_the_project_s_address_is_the_one_of_its_metadata():
    urls = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    assert urls["Homepage"] == HOME
    assert all(url.startswith(HOME) for url in urls.values())


@pytest.mark.parametrize("file", sorted((Path(__file__).parents[1] / "assignbench" / "cli").glob("*.py")), ids=str)
def test_help_cites_pages_that_are_there_by_their_address(file):
    text = file.read_text(encoding="utf-8")
    assert "docs/" not in text
    assert "../shared" not in text
    for page in re.findall(r"documentation\([\"']([\w/-]+)", text):
        assert (Path(__file__).parents[1] / "docs" / f"{page}.md").is_file()
