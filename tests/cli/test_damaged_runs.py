"""Two processes agree about damaged files: rank 0 decides, once, and the result is the undamaged one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from run_cases import same_result

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
RUN = ["experiment=burgers", "scale=smoke", "residual=kiti", "trainer.accelerator=cpu"]


def two_processes(place: Path) -> str:
    """What a run by two processes wrote to stderr."""
    places = {"KITI_RUNS_DIR": f"{place}/runs", "KITI_DATA_DIR": f"{place}/data", "OMP_NUM_THREADS": "1"}
    launched = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launched, "-m", "kiti.train", *RUN, "callbacks.checkpointing.every_seconds=0"],
        env=os.environ | places,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_two_processes_go_on_from_the_previous_checkpoint(tmp_path: Path) -> None:
    two_processes(tmp_path)
    [run_dir] = (tmp_path / "runs").glob("burgers/*/seed-0")
    first = tmp_path / "first"
    first.mkdir()
    for name in ("record.json", "weights.safetensors"):
        (first / name).write_bytes((run_dir / name).read_bytes())
    (run_dir / "record.json").write_bytes(b"")
    checkpoint = run_dir / "last.ckpt"
    content = bytearray(checkpoint.read_bytes())
    content[len(content) // 2] ^= 1
    checkpoint.write_bytes(content)
    errors = two_processes(tmp_path)
    assert errors.count("record.json: Invalid JSON") == 1
    assert errors.count("last.ckpt is damaged: its checksum differs") == 1
    assert "trying previous.ckpt" in errors
    same_result(run_dir, first)
    assert (run_dir / "last.ckpt.aside-0").read_bytes() == content
    assert (run_dir / "record.json.aside-0").read_bytes() == b""
