"""Hard collisions under DDP: every rank draws the same directions, so replicas stay bit-identical."""

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from kiti.ko import KO, select

STEPS, WORLD = 20, 2


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def batch(rank, step):
    return torch.randn(16, 4, generator=torch.Generator().manual_seed(1000 * rank + step))


def optimizer_of(model):
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


def train_rank(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=WORLD)
    try:
        model = network()
        replica = DistributedDataParallel(model)
        optimizer = optimizer_of(model)
        ko = KO(optimizer, select(model, "*.weight"), "hard", 0.9, seed=3)
        torch.manual_seed(100 + rank)  # the ranks' global generators differ, as with dropout
        changes = []
        for step in range(STEPS):
            optimizer.zero_grad()
            replica(batch(rank, step)).square().sum(1).mean().backward()
            optimizer.step()
            changes.append(ko.relative_change["0.weight"].item())
        torch.save({"weights": model.state_dict(), "changes": changes}, f"{folder}/rank{rank}.pt")
    finally:
        dist.destroy_process_group()


def train_alone(collide):
    """A single process with the averaged gradient."""
    model = network()
    optimizer = optimizer_of(model)
    if collide:
        KO(optimizer, select(model, "*.weight"), "hard", 0.9, seed=3)
    for step in range(STEPS):
        optimizer.zero_grad()
        data = torch.cat([batch(rank, step) for rank in range(WORLD)])
        model(data).square().sum(1).mean().backward()
        optimizer.step()
    return model.state_dict()


def test_replicas_stay_identical_and_equal_a_single_process(tmp_path):
    torch.multiprocessing.spawn(train_rank, args=(str(tmp_path),), nprocs=WORLD)
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(WORLD))
    assert min(first["changes"]) > 0.01
    alone, without = train_alone(collide=True), train_alone(collide=False)
    for name, weight in first["weights"].items():
        assert torch.equal(weight, second["weights"][name])
        torch.testing.assert_close(weight, alone[name], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(alone["0.weight"], without["0.weight"], rtol=1e-2, atol=1e-2)
