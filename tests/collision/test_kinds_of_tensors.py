"""Tensors that are not plain: meta and fake ones give shapes, the others are refused in one line that says the way."""

import subprocess
import sys

import pytest
import torch
import torch.distributed as dist
from collision_cases import every_compiled
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed.tensor import Shard, distribute_tensor, init_device_mesh

from kiti.collision.dispatch import collide, collide_with_statistics
from kiti.collision.rules import Rules

SETTINGS = {"collision_heads": 2, "coll_coef": 0.9}


@pytest.mark.parametrize("implementation", ["auto", "literal", "numba", "triton"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_meta_tensors_give_a_meta_result_and_draw_nothing(implementation, dtype):
    state = torch.get_rng_state()
    x, v = (torch.empty(3, 4, 12, device="meta", dtype=dtype, requires_grad=True) for _ in range(2))
    out, statistics = collide_with_statistics(x, v, implementation=implementation, **SETTINGS)
    assert (out.device.type, out.shape, out.dtype) == ("meta", (3, 4, 12), dtype)
    assert {each.device.type for each in statistics} == {"meta"}
    out.sum().backward()
    assert x.grad.shape == v.grad.shape == (3, 4, 12)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("reduction", ["sum", "max_one"])
def test_fake_tensors_give_a_fake_result(device, reduction):
    with FakeTensorMode():
        x, v = (torch.empty(4, 12, device=device, requires_grad=True) for _ in range(2))
        out, statistics = collide_with_statistics(x, v, reduction=reduction, **SETTINGS)
        if device == "cpu":  # autograd itself asks for a GPU
            out.sum().backward()
            assert x.grad.shape == (4, 12)
    assert (out.device.type, out.shape) == (device, (4, 12))
    assert statistics.partners.shape == ()


@every_compiled
@pytest.mark.parametrize("elsewhere", ["meta", "cpu"])
def test_a_default_device_changes_nothing(implementation, elsewhere):
    x, v = torch.randn(2, 4, 12)
    expected = collide(x, v, implementation=implementation, generator=torch.Generator().manual_seed(1), **SETTINGS)
    generator = torch.Generator().manual_seed(1)
    with torch.device(elsewhere):
        out = collide(x, v, implementation=implementation, generator=generator, **SETTINGS)
        assert collide(x, v, implementation=implementation, **SETTINGS).device.type == "cpu"
    assert torch.equal(out, expected)


def test_nested_tensors_name_their_values():
    parts = [torch.randn(2, 12), torch.randn(3, 12)]
    x = torch.nested.nested_tensor(parts, layout=torch.jagged)
    with pytest.raises(TypeError, match=r"x is a nested tensor: pass x.values\(\)"):
        collide(x, 2 * x, **SETTINGS)
    moved = collide(x.values(), 2 * x.values(), **SETTINGS)  # as the message says
    result = torch.nested.nested_tensor_from_jagged(moved, x.offsets())
    assert [each.shape for each in result.unbind()] == [(2, 12), (3, 12)]


def test_sparse_tensors_are_named():
    x = torch.eye(4)
    with pytest.raises(TypeError, match=r"v has layout torch.sparse_coo: pass v.to_dense\(\)"):
        collide(x, x.to_sparse(), **SETTINGS)


def test_distributed_tensors_name_their_local_part(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        x, v = (distribute_tensor(each, mesh, [Shard(0)]) for each in torch.randn(2, 4, 12))
        for implementation in ("literal", "numba"):
            with pytest.raises(TypeError, match=r"x is a DTensor: pass x.to_local\(\), whole in its last axis"):
                collide(x, v, implementation=implementation, **SETTINGS)
        with pytest.raises(TypeError, match="v is a DTensor"):
            collide(x.to_local(), v, **SETTINGS)
        assert collide(x.to_local(), v.to_local(), **SETTINGS).shape == (4, 12)
    finally:
        dist.destroy_process_group()


SCRIPTED = """
import torch
import kiti
from kiti.collision.rules import Rules

x = torch.randn(4, 12)

def refused(call, error, words):
    try:
        call()
    except error as refusal:
        assert words in str(refusal) and "\\n" not in str(refusal), refusal
    else:
        raise AssertionError(words)

def f(x: torch.Tensor):
    return kiti.collide(x, x, collision_heads=2, coll_coef=0.9)

for function in (f, kiti.collide):
    refused(lambda: torch.jit.script(function), NotImplementedError, "torch.jit.script cannot compile kiti.collide")
refused(lambda: torch.jit.trace(f, x), NotImplementedError, "torch.jit.trace would fix the sizes in kiti.collide")
refused(lambda: f([1.0, 2.0]), TypeError, "x is a list: a tensor is needed")
"""

RECORDED = """
import torch
import kiti
from kiti.collision.rules import Rules

class Block(torch.nn.Module):
    def __init__(self, *given, **named):
        super().__init__()
        self.linear = torch.nn.Linear(12, 12)
        self.given, self.named = given, named

    def forward(self, x):
        return kiti.collide(x, self.linear(x), *self.given, **self.named).relu()

x = 0.3 * torch.randn(4, 12)
for block in (Block(collision_heads=2, coll_coef=0.9, layout="strided"), Block(Rules(2, 0.9, layout="strided"))):
    traced = torch.fx.symbolic_trace(block)
    [leaf] = [node for node in traced.graph.nodes if node.target is kiti.collide]
    assert leaf.kwargs["layout"] == "strided"
    for samples in (1, 4):
        torch.manual_seed(3)
        expected = block(x[:samples])
        torch.manual_seed(3)
        assert torch.equal(traced(x[:samples]), expected)
try:
    torch.fx.symbolic_trace(Block(collision_heads=2, coll_coef=1.5))
except ValueError as error:
    assert "coll_coef=1.5" in str(error)
else:
    raise AssertionError("a setting out of range")
"""


@pytest.mark.slow
@pytest.mark.parametrize("script", [SCRIPTED, RECORDED], ids=["torch.jit", "torch.fx"])
def test_without_the_type_checks(script, tmp_path):
    """torch.jit and torch.fx pass what the type checks of the tests would stop; kiti itself raises no warning."""
    strict = ["-W", "error", "-W", "ignore::FutureWarning", "-W", "ignore::DeprecationWarning"]
    (tmp_path / "script.py").write_text(script)  # torch.jit.script reads sources
    subprocess.run([sys.executable, *strict, tmp_path / "script.py"], check=True)


def test_settings_are_the_arguments():
    rules = Rules(2, 0.9, reduction="mean")
    assert Rules(**rules.settings) == rules
