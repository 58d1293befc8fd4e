"""What takes long to import is imported by the commands that need it, and by no other."""

import json
import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "never"),
    [
        ("assignbench.cli.main", "torch"),  # every --help
        ("assignbench.cli.main", "pandas"),
        ("assignbench.engines.view", "torch"),  # `status`, from any shell
        ("assignbench.run.matrix.matrix", "torchvision"),  # every plan; torchvision brings the compiler of torch
    ],
)
def test_is_not_brought(module: str, never: str) -> None:
    code = f"import sys, {module}; raise SystemExit({never!r} in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


COMPLETED = (  # a line for each completer
    "assignbench run --assigner atss,fc",
    "assignbench run --assigner atss[",
    "assignbench run --preset m",
    "assignbench run --dataset sh",
    "assignbench run --recipe t",
    "assignbench run --on s",
    "assignbench run --only x",
    "assignbench reproduce table",
    "assignbench eval --tta f",
    "assignbench predict x",
    "assignbench data prepare coco --split ev",
)


@pytest.mark.parametrize("line", COMPLETED)
def test_completion_brings_neither_torch_nor_a_strategy(line: str) -> None:
    code = """if True:
        import json, sys
        from assignbench.cli.main import main
        main()
        brought = [name for name in sys.modules if name.partition(".")[0] in ("torch", "numpy", "pandas", "assigners")]
        print(json.dumps(brought), file=sys.stderr)
    """
    words = {"COMP_WORDS": "\n".join(line.split()), "COMP_CWORD": str(len(line.split()) - 1)}
    environment = {**os.environ, "_ASSIGNBENCH_COMPLETE": "complete_bash", **words}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    assert json.loads(done.stderr) == []
    assert done.stdout.strip() or line.endswith(" x")  # there are no runs here
