import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import assignbench
from assignbench.cli.main import main
from assignbench.errors import DataError, RunError, SystemProblem, UsageError
from assignbench.run.results.record import write_record

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "torchvision", "numpy", "pandas", "pycocotools", "accelerate", "matplotlib", "PIL", "scipy")


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "script",
    [
        "from assignbench.cli.main import main; main(['run', '--help'])",
        "from assignbench.cli.main import main; main(['list', 'assigners'])",
        "from assignbench.cli.main import main; main(['list', 'recipes'])",
        "from assignbench.cli.main import main; main(['compare', 'nowhere'])",
        "from assignbench.cli.main import main; main(['run', '--set', 'train.lr=x'])",
        "import assignbench.config, assignbench.plugins, assignbench.options, assignbench.run.results.record",
    ],
)
def test_nothing_heavy_is_imported(script):
    tail = f"import json, sys; print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    result = python("-c", f"{script}\n{tail}")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1]) == []


def test_the_probe_sees_what_is_imported():
    tail = f"import json, sys; print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    assert json.loads(python("-c", f"import numpy\n{tail}").stdout) == ["numpy"]


def test_help_and_version(call):
    code, out, _ = call("--help")
    assert code == 0
    for command in ("run", "compare", "eval", "predict", "new", "check", "list"):
        assert f" {command} " in out
    assert call("--version") == (0, f"assignbench {assignbench.__version__}\n", "")
    assert call()[0] == 2


@pytest.mark.parametrize(
    "arguments", [["runn"], ["run", "--bogus"], ["run", "--device", "tpu"], ["predict"], ["list", "cats"]]
)
def test_wrong_usage_is_exit_2(call, arguments):
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("error", "code"),
    [(RunError("no"), 1), (UsageError("no"), 2), (DataError("no"), 3), (SystemProblem("no"), 4)],
)
def test_errors_become_messages_and_exit_codes(call, stand_in, error, code):
    def run_matrix(*_):
        raise error

    stand_in("assignbench.run.matrix.matrix", run_matrix=run_matrix)
    assert call("run") == (code, "", "error: no\n")


@pytest.mark.parametrize("arguments", [["--debug", "run"], ["run", "--debug"]])
def test_debug_shows_the_traceback(call, stand_in, arguments):
    def run_matrix(*_):
        raise DataError("no")

    stand_in("assignbench.run.matrix.matrix", run_matrix=run_matrix)
    code, _, err = call(*arguments)
    assert code == 3
    assert "Traceback" in err
    assert "in run_matrix" in err
    assert err.endswith("error: no\n")


def test_a_bug_is_called_a_bug(call, stand_in):
    def run_matrix(*_):
        raise ZeroDivisionError("division by zero")

    stand_in("assignbench.run.matrix.matrix", run_matrix=run_matrix)
    code, _, err = call("run")
    assert code == 1
    assert err == (
        "error: ZeroDivisionError: division by zero\n"
        "  this is a bug in assignbench; run again with --debug for the traceback\n"
    )
    assert "Traceback" in call("run", "--debug")[2]


@pytest.mark.parametrize("code", [3, "bye", None])
def test_a_plug_in_that_ends_the_program_chooses_no_exit_code(call, stand_in, code):
    def run_matrix(*_):
        sys.exit(code)

    stand_in("assignbench.run.matrix.matrix", run_matrix=run_matrix)
    exit_code, _, err = call("run")
    assert exit_code == 1
    assert err.startswith(f"error: SystemExit: {code} ({__file__}:")
    assert "a plug-in must raise an error, not end the program" in err


def test_interrupt_is_130(call, stand_in):
    def run_matrix(*_):
        raise KeyboardInterrupt

    stand_in("assignbench.run.matrix.matrix", run_matrix=run_matrix)
    code, _, err = call("run")
    assert code == 130
    again = "the same command with --resume continues from the last checkpoint"
    assert err == f"interrupted; finished runs are kept, and {again}\n"


def test_a_stop_by_the_system_is_75(call, stand_in):
    """As a plug-in's handlers of errors meet it, too: none of them swallows it."""

    def run_matrix(*_):
        with contextlib.suppress(Exception):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)

    stand_in("assignbench.run.matrix.matrix", run_matrix=run_matrix)
    code, _, err = call("run")
    assert code == 75
    again = "the same command with --resume continues from the last checkpoint"
    assert err == f"stopped by SIGTERM; finished runs are kept, and {again}\n"
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_word_after_two_dashes_is_no_option(call):
    assert "no recipe is called '--debug'" in call("list", "recipes", "--", "--debug")[2]


@pytest.mark.parametrize("variables", [{"RANK": "1"}, {"LOCAL_RANK": "1"}, {"RANK": "1", "LOCAL_RANK": "0"}])
def test_other_processes_are_silent(call, monkeypatch, variables):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert call("list", "recipes") == (0, "", "")
    assert call("list", "recipes", "nope") == (2, "", "")  # the main process says it


def test_other_processes_still_report_what_only_they_see(call, monkeypatch, stand_in):
    def run_matrix(*_):
        raise RunError("the loss is not finite")

    stand_in("assignbench.run.matrix.matrix", run_matrix=run_matrix)
    monkeypatch.setenv("RANK", "3")
    assert call("run") == (1, "", "error in process 3: the loss is not finite\n")


def test_the_main_process_of_several_speaks(call, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert "tiny" in call("list", "recipes")[1]


@pytest.mark.skipif(sys.platform == "win32", reason="pipes end differently")
@pytest.mark.parametrize("arguments", [["list", "recipes", "tiny"], ["compare", "{runs}", "--json"]])
def test_a_reader_that_leaves_causes_no_noise(tmp_path, make_record, arguments):
    record = make_record()
    write_record(tmp_path / record.run_id, record)
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(
        [sys.executable, "-m", "assignbench", *(word.format(runs=tmp_path) for word in arguments)],
        cwd=ROOT,
        env=buffered,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


def test_color_only_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    main(["list", "recipes", "nope"])
    assert capsys.readouterr().err.startswith("\033[1;31merror\033[0m: ")
    monkeypatch.setenv("NO_COLOR", "1")
    main(["list", "recipes", "nope"])
    assert capsys.readouterr().err.startswith("error: ")


def test_what_the_machine_refuses_is_no_bug(call, stand_in):
    def run_matrix(*_):
        raise OSError(36, "File name too long", "a" * 300)

    stand_in("assignbench.run.matrix.matrix", run_matrix=run_matrix)
    code, _, err = call("run")
    assert code == 4
    assert err.startswith("error: cannot use aaa")
    assert "File name too long" in err
    assert "bug" not in err
