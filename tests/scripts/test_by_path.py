"""Scripts run by their path, as the documentation and the Makefile call them: only kiti is importable then."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = [path for path in (Path(__file__).parents[2] / "scripts").glob("*.py") if "argparse" in path.read_text()]


@pytest.mark.parametrize("path", SCRIPTS, ids=[path.name for path in SCRIPTS])
def test_a_script_finds_what_it_imports(path: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, str(path), "--help"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage:")
