"""The collision under torch.compile and torch.export: no graph break, the numbers of the eager call.

Each script runs in a separate process, as torch.compile cannot trace the type checks of the tests.
"""

import subprocess
import sys
from itertools import product

import pytest

START = """
import torch
from torch.utils.checkpoint import checkpoint
from kiti import KITIResidual, collide

def features(*shape):
    generator = torch.Generator().manual_seed(0)
    return 0.3 * torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)

def compiled(function, dynamic=None):
    return torch.compile(function, fullgraph=True, dynamic=dynamic, backend="aot_eager")

def results(function, *inputs):
    torch.manual_seed(5)
    inputs = [each.clone().requires_grad_() if isinstance(each, torch.Tensor) else each for each in inputs]
    out = function(*inputs)
    tensors = [each for each in inputs if isinstance(each, torch.Tensor)]
    return out.detach(), *torch.autograd.grad(out.square().sum(), tensors)

settings = {"collision_heads": 2, "coll_coef": 0.9, "implementation": IMPLEMENTATION}
"""

DYNAMIC = """
def joined(x, v, heads, coef, dt, reduction):
    return collide(x, v, collision_heads=heads, coll_coef=coef, dt=dt, reduction=reduction,
                   implementation=IMPLEMENTATION)

fast = compiled(joined, dynamic=True)
for systems, d, *numbers in [
    (4, 12, 2, 0.9, 1.0, "sum"), (8, 12, 3, 0.8, 0.5, "sum"), (8, 16, 4, 0.7, 0.25, "max_one"),
    (1, 20, 2, 1, 2, "mean"), (0, 20, 2, 0.7, 1.0, "sum"),
]:
    torch.testing.assert_close(results(fast, *features(systems, d), *numbers),
                               results(joined, *features(systems, d), *numbers))

seam = KITIResidual(**settings)
fast = compiled(seam, dynamic=True)
for shape in [(4, 12), (8, 12), (3, 5, 16)]:
    # Compiled, the directions come from the global generator, as those of `collide` do.
    expected = results(lambda x, v: collide(x, v, **settings), *features(*shape))
    torch.testing.assert_close(results(fast, *features(*shape)), expected)
"""

CHECKPOINTED = """
def block(x, v):
    return collide(x.sin(), v.cos(), **settings)

def again(x, v):
    return checkpoint(block, x, v, use_reentrant=False)

expected = results(block, *features(4, 12))
for function in (again, compiled(again, dynamic=True)):
    torch.testing.assert_close(results(function, *features(4, 12)), expected)
"""

INDUCTOR = """
def again(x, v):
    return checkpoint(lambda x, v: collide(x.sin(), v.cos(), **settings), x, v, use_reentrant=False)

fast = torch.compile(again, fullgraph=True)  # draws directions of its own, the same when recomputed
x, v = features(4, 12)
_, slope, _ = results(fast, x, v)
for place in [(0, 0), (1, 3), (3, 7)]:
    step = torch.zeros_like(x)
    step[place] = 1e-3
    up, down = (results(fast, x + sign * step, v)[0].double().square().sum() for sign in (1, -1))
    torch.testing.assert_close(((up - down) / 2e-3).float(), slope[place], rtol=2e-3, atol=2e-3)
"""

TRANSFORMED = """
x, v = features(3, 4, 12)

def loss(x, v):
    return collide(x, v, **settings).square().sum()

for function in [
    torch.func.grad(loss),
    torch.vmap(loss, randomness="same"),
    torch.vmap(loss, randomness="different"),
    torch.vmap(torch.func.grad(loss), randomness="different"),
]:
    torch.manual_seed(5)
    expected = function(x, v)
    torch.manual_seed(5)
    torch.testing.assert_close(compiled(function)(x, v), expected)
"""

EXPORTED = """
class Block(torch.nn.Module):
    def forward(self, x, v):
        return collide(x, v, **settings)

x, v = features(4, 12)
batch = {0: torch.export.Dim("systems")}
exported = torch.export.export(Block(), (x, v), dynamic_shapes=(batch, batch)).module()
for systems in (4, 9):
    torch.testing.assert_close(results(exported, *features(systems, 12)), results(Block(), *features(systems, 12)))
"""

PLACEBOS = """
from kiti.residual import MatchedNoise

for placebo in [{"pairing": "random"}, {"pairing": "random", "reduction": "max_one", "terms": "kicks"}]:
    def placed(x, v):
        return collide(x, v, **settings, **placebo)

    fast = compiled(placed, dynamic=True)
    for systems, d in [(4, 12), (8, 16)]:
        torch.testing.assert_close(results(fast, *features(systems, d)), results(placed, *features(systems, d)))

fast = compiled(MatchedNoise(**settings, sparse=True, detach_collision=False), dynamic=True)
for shape in [(4, 12), (3, 5, 16)]:
    slopes = []
    for function in (fast, lambda x, v: collide(x, v, **settings)):
        torch.manual_seed(5)
        x, v = (each.requires_grad_() for each in features(*shape))
        slopes.append(torch.autograd.grad(function(x, v).sum(), (x, v)))
    torch.testing.assert_close(*slopes)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "implementation"),
    [
        *product(["DYNAMIC", "CHECKPOINTED", "TRANSFORMED", "EXPORTED", "PLACEBOS"], ["numba", "literal"]),
        ("INDUCTOR", "numba"),
    ],
)
def test_compiled_without_a_graph_break(script, implementation):
    code = f"IMPLEMENTATION = {implementation!r}\n{START}{globals()[script]}"
    subprocess.run([sys.executable, "-c", code], check=True)
