import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

from assignbench.cli.main import main
from assignbench.cli.output import as_text, console, show
from assignbench.run.results.record import write_record

ROOT = Path(__file__).parents[2]


def test_text_is_text_also_where_it_looks_like_markup(capsys):
    table = Table("name", title="[bold]title :dog:")
    table.add_row("autoassign[center=none] :dog:")
    console().print("fcos[radius=0] :dog:")
    console().print(table)
    show(table)
    said = capsys.readouterr().out + as_text(table)
    assert said.count("fcos[radius=0] :dog:") == 1
    assert said.count("autoassign[center=none] :dog:") == 3
    assert said.count("[bold]title :dog:") == 3


@pytest.mark.parametrize("place", ["/dev/stdout", "/dev/fd/3", "/dev/null", ">(cat >&3)", "pipe", "link"])
def test_a_table_goes_through_what_is_no_file(place, tmp_path, make_record):
    """The message that it was written does not get between the lines."""
    write_record(tmp_path / "runs" / "a", make_record())
    (tmp_path / "link").symlink_to("/dev/fd/3")
    os.mkfifo(tmp_path / "pipe")
    command = f"""
        {"cat pipe > through &" if place == "pipe" else "touch through;"} exec 3>> third
        "{sys.executable}" -m assignbench compare runs --format csv --output {place} >> first 2> second; echo $? > code
        exec 3>&-; wait
    """
    (tmp_path / "first").write_text("before\n")
    subprocess.run(["bash", "-c", command], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
    said = {name: (tmp_path / name).read_text() for name in ("first", "second", "third", "through", "code")}
    assert said["code"] == "0\n", said
    assert said["second"].endswith(f"wrote {place}\n") or place.startswith(">")
    got = {"/dev/stdout": "first", "/dev/null": None, "pipe": "through"}.get(place, "third")
    header = "dataset,"
    for name in ("first", "third", "through"):
        assert (header in said[name]) == (name == got), said
    assert said["first"].startswith("before\n")
    assert Path("/dev/null").is_char_device()
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "link").is_symlink()


def said_by(tmp_path: Path, command: str, code: str = "", **more: str) -> dict[str, str]:
    """What a shell's command leaves in files; ``$A`` is the application, ``$P script.py`` the code."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONUTF8", "PYTHONIOENCODING")}
    places = {"PYTHONPATH": str(ROOT), "A": f"{sys.executable} -m assignbench", "P": sys.executable}
    (tmp_path / "script.py").write_text(code, encoding="utf-8")
    script = f"{command}; echo $? > code"
    done = ["bash", "-c", script]
    subprocess.run(done, cwd=tmp_path, env={**environment, **places, **more}, check=True, timeout=120)
    return {file.name: file.read_bytes().decode("latin-1") for file in tmp_path.iterdir() if file.is_file()}


STAND_IN = """
import sys, types
from pathlib import Path
double = types.ModuleType("assignbench.run.matrix.matrix")
def run_matrix(matrix, console, conduct, estimate):
    for number in range(800):  # more than a pipe holds
        console.print(f"{number} μ → 😀 \\udcff " + 50 * "x")
        print("of a strategy: ±")
        sys.stdout.flush()
        sys.stderr.write("μ\\n")
    Path("record").write_text("whole")
    return types.SimpleNamespace(records=(), exit_code=0)
double.run_matrix = run_matrix
sys.modules["assignbench.run.matrix.matrix"] = double
engines = types.ModuleType("assignbench.engines.choose")  # which asks torch for GPUs, and torch takes seconds
engines.engine_of = lambda *_, **__: None
sys.modules["assignbench.engines.choose"] = engines
from assignbench.cli.main import main
sys.exit(main(["run"]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a shell's ways")
@pytest.mark.parametrize(
    ("where", "variables"),
    [
        ("> out", {"PYTHONIOENCODING": "cp1252"}),
        ("> out", {"PYTHONIOENCODING": "ascii"}),
        ("> out", {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}),
        ("> out", {"COLUMNS": "20", "TERM": "dumb"}),
        ("> out", {"COLUMNS": "0"}),
        (">&-", {}),
        (">&- 2>&- <&-", {}),
        ("> /dev/full", {}),
        ("> /dev/full", {"PYTHONUNBUFFERED": "1"}),
        ("> /dev/full 2> /dev/full", {}),
        ("| head -1 > out", {}),
        ("2>&1 | true", {}),
    ],
)
def test_output_that_cannot_go_out_fails_no_run(tmp_path, where, variables):
    said = said_by(tmp_path, f"set -o pipefail; $P script.py {where}", STAND_IN, **variables)
    assert (said["code"], said["record"]) == ("0\n", "whole")


def test_what_an_encoding_lacks_is_escaped_as_json_does(tmp_path):
    said = said_by(tmp_path, "$P script.py > out 2> err", STAND_IN, PYTHONIOENCODING="cp1252")
    first, second = said["out"].splitlines()[:2]
    assert first.startswith(r"0 \u03bc \u2192 \ud83d\ude00 \udcff x")
    assert second == "of a strategy: ±"
    assert json.loads(f'"{first}"').startswith("0 μ → ")
    assert said["err"] == 800 * "\\u03bc\n"


def test_where_output_was_lost_it_is_said(tmp_path):
    said = said_by(tmp_path, "$P script.py > /dev/full 2> err", STAND_IN)
    assert said["err"].splitlines()[-1] == "standard output could not be written: No space left on device"


@pytest.mark.skipif(sys.platform == "win32", reason="a shell's ways")
@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("> /dev/full", "error: cannot use standard output: No space left on device\n"),
        (">&-", "error: cannot use standard output: it is closed\n"),
        ("| true", ""),  # head has seen enough
    ],
)
@pytest.mark.parametrize("arguments", ["list recipes", "list recipes tiny", "--help", "--version", "compare runs"])
def test_a_command_whose_output_is_all_fails_without_it(tmp_path, make_record, where, message, arguments):
    write_record(tmp_path / "runs" / "a", make_record())
    said = said_by(tmp_path, f"set -o pipefail; $A {arguments} 2> err {where}")
    assert said["code"] == ("1\n" if where == "| true" else "4\n")
    assert said["err"] == message


@pytest.mark.parametrize("columns", ["0", "1", "20", "-3", "many"])
@pytest.mark.parametrize("arguments", ["--help", "run --help", "list recipes", "compare runs"])
def test_a_narrow_terminal_is_enough(tmp_path, make_record, columns, arguments, monkeypatch, capsys):
    write_record(tmp_path / "runs" / "a", make_record())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    for term in ("xterm", "dumb"):
        monkeypatch.setenv("TERM", term)
        assert main(arguments.split()) == 0
        assert capsys.readouterr().out.strip()


def test_a_closed_descriptor_is_not_taken_by_the_next_file(tmp_path):
    code = """
import os, sys
from assignbench.cli.main import main
from assignbench.cli.output import lasting_streams
with lasting_streams(raises=False), open("precious", "w") as file:
    assert file.fileno() > 2
    os.write(1, b"of a library")
    os.write(2, b"of a library")
    print("text")
    file.write("whole")
"""
    said = said_by(tmp_path, "$P script.py >&- 2>&- <&-", code)
    assert (said["code"], said["precious"]) == ("0\n", "whole")
