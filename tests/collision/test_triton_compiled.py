"""The Triton kernels compiled offline, and the error where they cannot be."""

import json
import os
import subprocess
import sys

import pytest
import torch

from kiti.collision.gpu import triton_backend as gpu

pytest.importorskip("triton")


def test_without_triton_the_error_names_an_alternative(monkeypatch):
    monkeypatch.setitem(sys.modules, "kiti.collision.gpu.triton_kernels", None)
    monkeypatch.delattr("kiti.collision.gpu.triton_kernels", raising=False)
    gpu._imported.cache_clear()
    with pytest.raises(ImportError, match="needs the package triton"):
        gpu.max_speed(torch.zeros(1, 4), 2, False)
    gpu._imported.cache_clear()


COMPILE = """
import json, re, subprocess, sys, tempfile, warnings
warnings.simplefilter("ignore")
import torch, triton, triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import get_ptxas
from triton.compiler import ASTSource
from kiti.collision.gpu import triton_backend as gpu
from kiti.collision.gpu import triton_kernels
from kiti.collision.rules import Rules

POINTERS = {"v_max": "acc", "found_v_max": "acc", "energy": "acc", "upper": "fp32", "lower": "fp32",
            "partner": "i32", "wanted": "i32", "k": "i32", "other": "i32", "start": "i64"}
SCALARS = {"N": "i32", "seed": "i64", "threshold": "fp64", "dt": "fp64"}
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32, "fp64": torch.float64}

def build(name, n, heads, dtype, arch, **changes):
    kernel, acc = getattr(triton_kernels, name), "fp64" if dtype == "fp64" else "fp32"
    form = gpu._form(n, heads, DTYPES[dtype])
    constants = {"UPDATE": True, "MEAN": False, "GIVEN": False, "MUTUAL": False, "RANDOM": 0, "MEANS": True,
                 "KICKS": True, "FREE": True, "HEADS": heads,
                 "FIND": form["BLOCKS"] * form["ROWS"] >= n, "STRIDED": False,
                 "ACC": tl.float64 if acc == "fp64" else tl.float32, **form, **changes}
    names, signature = kernel.arg_names, {}
    for argument in names:
        kind = POINTERS.get(argument, acc if (name, argument) == ("kicks", "out") else dtype)
        kind = "*" + (acc if kind == "acc" else kind)
        signature[argument] = "constexpr" if argument in constants else SCALARS.get(argument, kind)
    aligned = {(i,): [["tt.divisibility", 16]] for i, a in enumerate(names) if signature[a][0] == "*" or a == "N"}
    source = ASTSource(kernel, signature, {(names.index(c),): x for c, x in constants.items() if c in names}, aligned)
    warps = gpu._warps(n, heads)
    done = triton.compile(source, target=GPUTarget("cuda", arch, 32), options={"num_warps": warps, **gpu._OPTIONS})
    assert done.asm["cubin"]
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(done.asm["ptx"])
        file.flush()
        suffix = "a" if arch >= 90 else ""
        log = subprocess.run([get_ptxas(arch).path, "-v", "--regAllocOptLevel=2", f"--gpu-name=sm_{arch}{suffix}",
                              file.name, "-o", "/dev/null"], capture_output=True, text=True, check=True).stderr
    registers = int(re.search(r"Used (\\d+) registers", log)[1])
    return [name, n, heads, dtype, arch, warps, registers, int(re.search(r"(\\d+) bytes spill stores", log)[1])]

found = [build(*arguments, **changes) for *arguments, changes in json.loads(sys.argv[1])]
try:
    gpu.max_speed(torch.zeros(1, 4), 2, False)
    message = ""
except ValueError as error:
    message = str(error)
print(json.dumps({"built": found, "message": message}))
"""


def compiled(*builds):
    """[kernel, N, heads, dtype, arch, warps, registers, bytes spilled] of each build, without the interpreter."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE, json.dumps(builds)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("arch", [80, 90])
def test_every_kernel_compiles(arch):
    kernels = ["forward", "backward", "prefer", "count", "system_maximum", "bound_maximum", "block_maximum", "kicks"]
    given = {"GIVEN": True, "STRIDED": True, "MEAN": True, "UPDATE": False, "FREE": False}
    builds = [
        *((kernel, 40, 5, "fp64", arch, {}) for kernel in kernels),
        *((kernel, 200, 2, "bf16", arch, {"MUTUAL": True}) for kernel in ("forward", "backward")),
        *((kernel, 16, 1, "bf16", arch, given) for kernel in ("forward", "backward")),
        *((kernel, 40, 2, "fp32", arch, {"RANDOM": 8, "KICKS": False}) for kernel in ("forward", "backward")),
        *((kernel, 7, 2, "fp32", arch, {"RANDOM": 24, "MEANS": False}) for kernel in ("forward", "backward")),
        *((kernel, 4, 10, "fp32", arch, {"C": 4}) for kernel in ("forward", "backward", "kicks")),
    ]
    done = compiled(*builds)
    assert len(done["built"]) == len(builds)
    assert "must be on a CUDA GPU, or TRITON_INTERPRET=1" in done["message"]


# Bytes that a thread may spill. Below the maximum of 255 registers, ptxas stops at 64, 128 or 168 by its own
# estimate, so that more programs fit at once, and spills a few words. How many depends on the Triton version:
# 8 bytes at most with 3.8, 28 with 3.9 and, at 255 registers, 76 with 3.6. Twice the warps would remove most of
# those of 3.6, but took 25 % longer on an H200 where few pairs collide. Four times the rows spilled 340.
FEW_BYTES = 80


@pytest.mark.slow
@pytest.mark.parametrize("arch", [80, 90])
@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_forward_spills_few_registers(arch, dtype):
    shapes = [(96, 8), (64, 8), (16, 8), (1024, 1), (4, 512)]
    built = compiled(*(("forward", n, heads, dtype, arch, {}) for n, heads in shapes))["built"]
    print(*built, sep="\n")
    assert [row for row in built if row[-1] > FEW_BYTES] == []
