"""KO on sharded matrices, FSDP2, tensor parallelism and both, equals one process, resumed or not.

With tensor parallelism the norm's parameters are plain tensors beside DTensors; `max_norm` clips them together.
"""

import math
from datetime import timedelta

import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.distributed import checkpoint
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from kiti.ko import KO, matrices
from kiti.ko.sharding import gathered

STEPS = 4
MESH = {"fsdp": (2, 1), "tensor parallel": (1, 2), "both": (2, 2)}
RANKS = {how: math.prod(shape) for how, shape in MESH.items()}
WIDTH = {"fsdp": 9, "tensor parallel": 8, "both": 8}  # FSDP shards nine neurons unevenly; tensor parallelism cannot


def network(how):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, WIDTH[how]), nn.Tanh(), nn.Linear(WIDTH[how], 4), nn.LayerNorm(4)).double()


def optimizer_of(model, mode, seed):
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    return optimizer, KO(optimizer, matrices(model), mode, {"soft": 0.05, "hard": 0.9}[mode], seed=seed, max_norm=0.05)


def train(model, mode, folder=None):
    """With a folder the run continues after two steps with another optimizer, which loads the first one's state."""
    optimizer, ko = optimizer_of(model, mode, seed=1)
    for step in range(STEPS):
        if step == 2 and folder is not None:
            optimizer, ko = resumed(model, optimizer, mode, folder)
        optimizer.zero_grad()
        (model(features()) - targets()).square().mean().backward()
        optimizer.step()
    assert ko.step_count == STEPS
    return {name: float(change) for name, change in ko.relative_change.items()}


def resumed(model, optimizer, mode, folder):
    checkpoint.save({"optimizer": get_optimizer_state_dict(model, optimizer)}, checkpoint_id=folder)
    model.zero_grad()
    optimizer, ko = optimizer_of(model, mode, seed=2)
    state = {"optimizer": get_optimizer_state_dict(model, optimizer)}
    assert ko.step_count == 0  # the step that initialised the state is none
    checkpoint.load(state, checkpoint_id=folder)
    set_optimizer_state_dict(model, optimizer, state["optimizer"])
    assert (ko.step_count, ko.seed) == (2, 1)
    return optimizer, ko


def zero(rank, folder):
    start(rank, 2, folder)
    model = network("fsdp")
    optimizer = ZeroRedundancyOptimizer(model.parameters(), torch.optim.Adam, lr=0.01)
    ko = KO(optimizer, matrices(model), "hard", 0.9, seed=1, max_norm=0.05)
    for _ in range(STEPS):  # its inner optimizer shares the parameter groups' values, and so KO's state
        optimizer.zero_grad()
        (model(features()) - targets()).square().mean().backward()
        optimizer.step()
    assert ko.step_count == STEPS
    torch.save(model.state_dict(), f"{folder}/rank{rank}.pt")
    distributed.destroy_process_group()


def test_zero_redundancy_equals_one_process(tmp_path):
    multiprocessing.spawn(zero, (str(tmp_path),), nprocs=2)
    alone = network("fsdp")
    train(alone, "hard")
    for rank in range(2):
        torch.testing.assert_close(torch.load(tmp_path / f"rank{rank}.pt"), alone.state_dict())


def features():
    return torch.randn(8, 6, generator=torch.Generator().manual_seed(1)).double()


def targets():
    return torch.randn(8, 4, generator=torch.Generator().manual_seed(2)).double()


def start(rank, ranks, folder):
    store, timeout = f"file://{folder}/store", timedelta(seconds=120)
    distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=ranks, timeout=timeout)


def worker(rank, how, mode, folder):
    start(rank, RANKS[how], folder)
    mesh = init_device_mesh("cpu", MESH[how], mesh_dim_names=("data", "tensor"))
    model = network(how)
    if MESH[how][1] > 1:
        parallelize_module(model, mesh["tensor"], {"0": ColwiseParallel(), "2": RowwiseParallel()})
    if MESH[how][0] > 1:
        for layer in (model[0], model[2]):
            fully_shard(layer, mesh=mesh["data"])
        fully_shard(model, mesh=mesh["data"])
    changes = train(model, mode, f"{folder}/checkpoint")  # both ranks have the same batch: the mean is its gradient
    weights = {name: gathered(p).detach() for name, p in model.named_parameters()}
    torch.save({"weights": weights, "changes": changes}, f"{folder}/rank{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.parametrize("mode", ["soft", "hard"])
@pytest.mark.parametrize("how", ["fsdp", "tensor parallel", pytest.param("both", marks=pytest.mark.slow)])
def test_several_processes_equal_one(how, mode, tmp_path):
    multiprocessing.spawn(worker, (how, mode, str(tmp_path)), nprocs=RANKS[how])
    alone = network(how)
    changes = train(alone, mode)
    for rank in range(RANKS[how]):
        found = torch.load(tmp_path / f"rank{rank}.pt")
        for name, parameter in alone.named_parameters():
            torch.testing.assert_close(found["weights"][name], parameter.detach(), rtol=1e-6, atol=1e-8)
        assert found["changes"] == pytest.approx(changes, rel=1e-6)
