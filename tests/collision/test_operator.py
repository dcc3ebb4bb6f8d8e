"""The fused collision as a torch operator: under opcheck, torch.compile, replicas and forked workers."""

import multiprocessing
import subprocess
import sys

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from kiti import KITIResidual
from kiti.collision.cpu import numba_backend as cpu
from kiti.collision.dispatch import collide
from kiti.collision.rules import Rules

every_backend = pytest.mark.parametrize("backend", ["numba", "triton"])
SETTINGS = {"collision_heads": 2, "coll_coef": 0.9}


def features(*shape, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    x, v = (torch.randn(shape, generator=generator) for _ in range(2))
    return (0.3 * x).to(dtype), v.to(dtype)


@pytest.mark.slow
@every_backend
@pytest.mark.parametrize(
    ("reduction", "given", "coef"), [("sum", False, 0.9), ("max_one", True, 0.9), ("sum", False, 0.01)]
)
def test_opcheck(backend, reduction, given, coef):
    x, v = features(2, 6)
    x.requires_grad_(), v.requires_grad_()
    z = torch.nn.functional.normalize(torch.randn(2, 3, 3, 2), dim=-1) * torch.ones(3, 3).triu(1)[..., None]
    directions = z - z.transpose(1, 2) if given else None
    v_max = torch.full((2,), 4.0) if given else None
    arguments = (x, v, torch.tensor(7), directions, v_max, Rules(2, coef, reduction=reduction).encoded, backend)
    torch.library.opcheck(torch.ops.kiti.collide.default, arguments)
    torch.library.opcheck(torch.ops.kiti.max_speed.default, (v.detach(), 2, False, backend))
    x, v, seed, directions, _, *settings = arguments
    _, k, v_max, kept, _ = torch.ops.kiti.collide(*arguments)
    assert k.any() == (coef > 0.5)
    arguments = (torch.ones_like(x), x.detach(), v.detach(), seed, directions, k, v_max, kept, *settings)
    torch.library.opcheck(torch.ops.kiti.collide_backward.default, arguments)


@pytest.mark.parametrize(("coef", "dt"), [(0.01, 1.0), (0.01, 0.5), (0.9, 1.0)])
def test_features_that_did_not_collide_are_not_kept(coef, dt):
    x, v = features(2, 6)
    x.requires_grad_(), v.requires_grad_()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        out = collide(x, v, collision_heads=2, coll_coef=coef, dt=dt, implementation="numba")
    assert bool(kept) == (coef > 0.5)
    if not kept:
        grad = torch.randn_like(out)
        given = torch.autograd.grad(out, (x, v), grad)
        assert torch.equal(given[0], grad)
        assert torch.equal(given[1], dt * grad)


class Block(nn.Module):
    def __init__(self, implementation="auto"):
        super().__init__()
        self.linear = nn.Linear(12, 12)
        self.residual = KITIResidual(**SETTINGS, implementation=implementation)

    def forward(self, x):
        return self.residual(x, self.linear(x)).relu()


ANOTHER = """
import torch
from kiti import collide

x, v = 0.3 * torch.randn(4, 12), torch.randn(4, 12)

def total(coll_coef, dt):
    return collide(x, v, collision_heads=2, coll_coef=coll_coef, dt=dt).sum()

compiled = torch.compile(total, fullgraph=True, backend="aot_eager")
for numbers in ((0.9, 1.0), (0.8, 1.0), (0.7, 0.5)):  # traced as symbols from the second on
    torch.manual_seed(5)
    expected = total(*numbers)
    torch.manual_seed(5)
    torch.testing.assert_close(compiled(*numbers), expected)
"""


@pytest.mark.slow
def test_recompiles_for_another_coefficient():
    subprocess.run([sys.executable, "-c", ANOTHER], check=True)


@every_backend
def test_autocast(backend):
    """A bfloat16 branch and a float32 shortcut give the dtype that torch.add gives."""
    torch.manual_seed(0)
    block, (x, _) = Block(backend), features(4, 12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = block.residual(x, block.linear(x))
        out.sum().backward()
    assert out.dtype == torch.float32
    assert block.linear.weight.grad.isfinite().all()
    assert block.residual.collisions.partners > 0


def test_output_has_the_strides_of_the_shortcut():
    """As after an addition: a following convolution must not see another memory format."""
    x, v = features(2, 12, 3, 3)
    for x_, v_ in [(x, v), (x.to(memory_format=torch.channels_last), v.to(memory_format=torch.channels_last))]:
        assert KITIResidual(**SETTINGS, system_axis=1)(x_, v_).stride() == x_.stride()


def train_rank(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    try:
        torch.manual_seed(0)
        model = nn.Sequential(Block(), Block(), nn.Linear(12, 1))
        replica = DistributedDataParallel(model)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        torch.manual_seed(100 + rank)
        partners = []
        for step in range(5):
            optimizer.zero_grad()
            replica(features(8, 12, seed=10 * step + rank)[0]).square().mean().backward()
            optimizer.step()
            partners.append(model[0].residual.collisions.partners.item())
        torch.save({"weights": model.state_dict(), "partners": partners}, f"{folder}/rank{rank}.pt")
    finally:
        dist.destroy_process_group()


def test_replicas_stay_identical_under_ddp(tmp_path):
    """Each rank collides its own samples with its own directions; gradients are averaged, weights stay equal."""
    torch.multiprocessing.spawn(train_rank, args=(str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2))
    assert min(first["partners"]) > 0
    assert first["partners"] != second["partners"]
    for name, weight in first["weights"].items():
        assert torch.equal(weight, second["weights"][name])


def collide_in_child(queue):
    torch.set_num_threads(2)
    queue.put(collide(*features(64, 12), **SETTINGS, generator=torch.Generator().manual_seed(1)).tolist())


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="fork is unavailable")
def test_works_in_a_forked_child(monkeypatch):
    """As in a data loader's worker: the parent's threads do not exist there."""
    monkeypatch.setattr(cpu, "_SHARE", 1)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        expected = collide(*features(64, 12), **SETTINGS, generator=torch.Generator().manual_seed(1))
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        child = context.Process(target=collide_in_child, args=(queue,))
        child.start()
        child.join(60)
        assert child.exitcode == 0
        assert queue.get() == expected.tolist()
    finally:
        torch.set_num_threads(before)


@every_backend
def test_second_derivatives_are_rejected(backend):
    x, v = features(2, 12)
    out = collide(x.requires_grad_(), v.requires_grad_(), implementation=backend, **SETTINGS)
    (grad,) = torch.autograd.grad(out.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"second derivatives .* implementation='literal'"):
        grad.sum().backward()
