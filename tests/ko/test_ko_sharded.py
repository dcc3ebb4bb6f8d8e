"""KO on sharded matrices, FSDP2 and tensor parallelism over two processes, equals one process, resumed or not.

With tensor parallelism the norm's parameters are plain tensors beside DTensors; `max_norm` clips them together.
"""

from datetime import timedelta

import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.distributed import checkpoint
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from kiti.ko import KO, matrices
from kiti.ko.sharding import gathered

STEPS = 4
WIDTH = {"fsdp": 9, "tensor parallel": 8}  # FSDP shards nine neurons unevenly, which tensor parallelism cannot


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


def features():
    return torch.randn(8, 6, generator=torch.Generator().manual_seed(1)).double()


def targets():
    return torch.randn(8, 4, generator=torch.Generator().manual_seed(2)).double()


def worker(rank, how, mode, folder):
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2, timeout=timedelta(seconds=120)
    )
    mesh = init_device_mesh("cpu", (2,))
    model = network(how)
    if how == "fsdp":
        for layer in (model[0], model[2]):
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
    else:
        parallelize_module(model, mesh, {"0": ColwiseParallel(), "2": RowwiseParallel()})
    changes = train(model, mode, f"{folder}/checkpoint")  # both ranks have the same batch: the mean is its gradient
    weights = {name: gathered(p).detach() for name, p in model.named_parameters()}
    torch.save({"weights": weights, "changes": changes}, f"{folder}/rank{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.parametrize("mode", ["soft", "hard"])
@pytest.mark.parametrize("how", ["fsdp", "tensor parallel"])
def test_two_processes_equal_one(how, mode, tmp_path):
    multiprocessing.spawn(worker, (how, mode, str(tmp_path)), nprocs=2)
    alone = network(how)
    changes = train(alone, mode)
    for rank in range(2):
        found = torch.load(tmp_path / f"rank{rank}.pt")
        for name, parameter in alone.named_parameters():
            torch.testing.assert_close(found["weights"][name], parameter.detach(), rtol=1e-6, atol=1e-8)
        assert found["changes"] == pytest.approx(changes, rel=1e-6)
