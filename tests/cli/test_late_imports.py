"""What takes long to import is imported by the commands that need it, and by no other."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "never"),
    [
        ("assignbench.cli.main", "torch"),  # every --help
        ("assignbench.cli.main", "pandas"),
        ("assignbench.run.matrix.matrix", "torchvision"),  # every plan; torchvision brings the compiler of torch
    ],
)
def test_is_not_brought(module: str, never: str) -> None:
    code = f"import sys, {module}; raise SystemExit({never!r} in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
