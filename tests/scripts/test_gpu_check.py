"""scripts/gpu_check.sh without a GPU: what it writes, and how it reports a part that fails or takes too long."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "scripts" / "gpu_check.sh"
PARTS = ["environment", "kernels", "collision", "step-fno1d", "step-resnet50", "step-gpt2", "step-bert-base"]
MOST_FILES = 8  # that some machines return


def check(*arguments: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHON": python}
    return subprocess.run([str(SCRIPT), *arguments], capture_output=True, text=True, env=environment)


def states(out: Path) -> dict[str, str]:
    """What the summary says about each part, without the times, and without wheels that lie in this checkout."""
    lines = [line.split() for line in (out / "summary.txt").read_text().splitlines()]
    assert all(line[-1] == "s" and line[-2].isdecimal() for line in lines)
    return {line[0]: " ".join(line[1:-2]) for line in lines if line[0] != "wheels"}


@pytest.mark.slow
def test_the_dry_run_writes_the_result_of_every_part(tmp_path: Path) -> None:
    done = check("--dry-run", "--seconds", "2000", str(tmp_path))
    log = (tmp_path / "log.txt").read_text()
    assert done.returncode == 0, done.stderr + log
    assert states(tmp_path) == dict.fromkeys(PARTS, "passed")
    assert done.stdout == (tmp_path / "summary.txt").read_text()
    parts = [line.split()[1].rstrip(",") for line in log.splitlines() if line.startswith("== ")]
    assert [part for part in parts if part != "wheels"] == PARTS
    assert "test_max_speed" in (tmp_path / "kernels.xml").read_text()
    for name in ("collision", "step-fno1d", "step-resnet50", "step-gpt2", "step-bert-base"):
        record = json.loads((tmp_path / f"{name}.json").read_text())
        assert record["complete"]
        assert record["cases"]
    assert len([*tmp_path.iterdir()]) == MOST_FILES


@pytest.mark.slow
def test_a_part_that_fails_or_takes_too_long_does_not_stop_the_others(tmp_path: Path) -> None:
    python, out = tmp_path / "python", tmp_path / "out"
    python.write_text(
        '#!/usr/bin/env bash\ncase "$*" in\n*"-m pytest"*) echo one test; exec sleep 60 ;;\n*gpt2*) exit 3 ;;\nesac\n'
    )
    python.chmod(0o755)
    done = check("--dry-run", "--seconds", "100", str(out), python=str(python))
    assert done.returncode == 1
    expected = dict.fromkeys(PARTS, "passed") | {"kernels": "cut off", "step-gpt2": "failed (3)"}
    assert states(out) == expected
    assert "one test" in (out / "log.txt").read_text()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_one_line(tmp_path: Path) -> None:
    done = check(str(tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("gpu_check.sh: no CUDA GPU")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give OUT, a folder"),
        (["--fast", "out"], "unknown option --fast"),
        (["--seconds", "x", "out"], "'x': must be a positive integer"),
    ],
)
def test_wrong_arguments_are_reported_in_one_line(arguments: list[str], message: str) -> None:
    done = check(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
