"""Code for a GPU machine needs only what is installed there: no Hydra, OmegaConf, datasets or wandb, and no numba."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Acts as if these packages were not installed: they can be neither imported nor found.
WITHOUT = """
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.split(".")[0] in MISSING else super().find_spec(name, path, target)

Without.__name__ = "PathFinder"  # jaxtyping looks for it by name
MISSING = sys.argv[1].split(",")
sys.meta_path[:] = [Without if finder is PathFinder else finder for finder in sys.meta_path]
"""

MISSING = "hydra,omegaconf,antlr4,datasets,wandb,numba,llvmlite"


def python(code: str) -> str:
    # Hydra's pytest plugin is not installed there either.
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT}/tests/cases", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT + code, MISSING], capture_output=True, text=True, cwd=ROOT, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_benchmarks_build_their_models_without_them() -> None:
    output = python("""
import torch
from benchmarks import benchmark_collision, benchmark_step
from benchmarks.benchmark_models import MODELS
from kiti.residual import Add

for name in ("fno1d", "resnet50", "gpt2", "bert-base"):
    MODELS[name](Add, "quick", torch.device("cpu")).loss().backward()
assert not set(MISSING) & set(sys.modules)
print("built")
""")
    assert output.endswith("built\n")


@pytest.mark.slow
def test_the_kernel_tests_are_collected_without_them() -> None:
    output = python("""
import pytest
names = [f"tests/collision/test_triton{name}.py" for name in ("", "_draws", "_compiled")]
sys.exit(pytest.main(["--collect-only", "-q", *names]))
""")
    assert "test_triton_draws.py::test_kicks" in output
    assert "test_triton_compiled.py::test_every_kernel_compiles" in output
    assert not [line for line in output.splitlines() if "::" not in line and "error" in line.lower()]  # names may


def test_without_numba_only_the_compiled_loops_are_unavailable() -> None:
    output = python("""
import torch
from kiti.collision.dispatch import collide
from kiti.ko import soft_collision

x, v = torch.randn(2, 3, 8)
print(collide(x, v, collision_heads=2, coll_coef=0.5, implementation="literal").shape)
print(soft_collision(x, v, 0.1).shape)
try:
    collide(x, v, collision_heads=2, coll_coef=0.5)
except ImportError as error:
    print(error)
""")
    *shapes, message = output.splitlines()
    assert shapes == ["torch.Size([3, 8])"] * 2
    assert message.startswith("the compiled collision on the CPU needs the package numba (No module named 'numba')")
