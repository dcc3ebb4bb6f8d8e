"""KO on sharded matrices, FSDP2 and tensor parallelism over two processes, equals one process."""

from datetime import timedelta

import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

from kiti.ko import KO, matrices

STEPS = 3


WIDTH = {"fsdp": 9, "tensor parallel": 8}  # FSDP shards nine neurons unevenly, which tensor parallelism cannot


def network(how):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, WIDTH[how]), nn.Tanh(), nn.Linear(WIDTH[how], 4)).double()


def train(model, mode, features):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    ko = KO(optimizer, matrices(model), mode, {"soft": 0.05, "hard": 0.9}[mode], seed=1, max_norm=0.5)
    for _ in range(STEPS):
        optimizer.zero_grad()
        model(features).square().mean().backward()
        optimizer.step()
    return {name: float(change) for name, change in ko.relative_change.items()}


def features():
    return torch.randn(8, 6, generator=torch.Generator().manual_seed(1)).double()


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
    changes = train(model, mode, features())  # the same batch on both ranks: the mean gradient is its gradient
    weights = {name: p.full_tensor().detach() for name, p in model.named_parameters()}
    torch.save({"weights": weights, "changes": changes}, f"{folder}/rank{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.parametrize("mode", ["soft", "hard"])
@pytest.mark.parametrize("how", ["fsdp", "tensor parallel"])
def test_two_processes_equal_one(how, mode, tmp_path):
    multiprocessing.spawn(worker, (how, mode, str(tmp_path)), nprocs=2)
    alone = network(how)
    changes = train(alone, mode, features())
    for rank in range(2):
        found = torch.load(tmp_path / f"rank{rank}.pt")
        for name, parameter in alone.named_parameters():
            torch.testing.assert_close(found["weights"][name], parameter.detach(), rtol=1e-6, atol=1e-8)
        assert found["changes"] == pytest.approx(changes, rel=1e-6)
