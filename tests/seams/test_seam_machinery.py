"""Seams under torch.compile, torch.func, torch.fx, torch.jit and torch.export."""

import subprocess
import sys
from pathlib import Path

CASES = Path(__file__).parents[1] / "cases" / "seam_machinery.py"


def test_seams_work_in_torchs_own_machinery() -> None:
    """In a process without the type checks of the tests, which neither torch.compile nor torch.fx can trace."""
    pytest = [sys.executable, "-m", "pytest", "--noconftest", "-q", "-p", "no:cacheprovider", str(CASES)]
    done = subprocess.run(pytest, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
