import sys

import pytest

from assignbench.errors import SystemProblem, UsageError
from assignbench.plot import COLOURS, MARKERS, check_plot, save, styled


def figure():
    from matplotlib.figure import Figure

    with styled():
        drawn = Figure()
        drawn.subplots().plot([1, 2], [1, 2])
    return drawn


@pytest.mark.parametrize("name", ["a.svg", "a.PNG", "a.pdf"])
def test_a_file_that_can_be_written(tmp_path, name):
    file = tmp_path / name
    check_plot(file)
    assert not file.exists()
    save(figure(), file)
    assert file.stat().st_size > 1000


@pytest.mark.parametrize("name", ["a", "a.gif", "a.svg.gz", ".svg"])
def test_unknown_formats(tmp_path, name):
    with pytest.raises(UsageError, match=r"must end in \.svg, \.pdf, \.png"):
        check_plot(tmp_path / name)


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "a.svg").mkdir()
    with pytest.raises(SystemProblem, match="is a folder; name a file in it"):
        check_plot(tmp_path / "a.svg")


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file is no folder; make it, or name another place"):
        check_plot(tmp_path / "file" / "a.svg")
    with pytest.raises(UsageError, match=r"there is no folder .*nope; make it"):
        check_plot(tmp_path / "nope" / "a.svg")
    with pytest.raises(SystemProblem, match="cannot write"):
        save(figure(), tmp_path / "file" / "a.svg")


def test_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as if it were not installed
    with pytest.raises(SystemProblem, match=r"pip install 'assignbench\[plots\]'"):
        check_plot(tmp_path / "a.svg")


def test_no_settings_of_the_user_are_kept(tmp_path):
    import matplotlib

    save(figure(), tmp_path / "a.svg")
    with matplotlib.rc_context({"axes.facecolor": "yellow", "font.size": 30, "svg.hashsalt": None}):
        save(figure(), tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_looks_are_told_apart():
    assert len(set(COLOURS)) == len(set(MARKERS)) == len(COLOURS)
