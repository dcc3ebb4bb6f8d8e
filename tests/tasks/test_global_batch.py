"""Scaled losses give, averaged over ranks, the gradient of the whole batch: samples, tokens, or nothing on a rank."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from kiti.tasks.global_batch import all_rows, mean_loss, ranks, sum_loss, total

IGNORED = -100
# Of two ranks: what each token should be. Rank 1 has fewer sequences, and in the last step no label at all.
STEPS = [
    ([[1, 2, 3], [0, IGNORED, 2]], [[IGNORED, IGNORED, 1]]),
    ([[2, 2, IGNORED], [0, 1, 2]], [[0, 1, 2]]),
    ([[1, IGNORED, IGNORED], [3, 1, 0]], [[IGNORED, IGNORED, IGNORED]]),
]


def token_loss(model: nn.Module, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The mean cross-entropy over labelled tokens, and how many there are."""
    tokens = functional.one_hot(labels.clamp(min=0), 4).double().cumsum(1)
    losses = functional.cross_entropy(model(tokens).flatten(0, 1), labels.flatten(), ignore_index=IGNORED)
    return losses, (labels != IGNORED).sum()


def new_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(4, 4).double()


def gradients(model: nn.Module) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


def train_rank(rank: int, folder: str) -> None:
    """The gradients that DDP averages, step by step, for means over tokens and for sums over samples."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    model = nn.parallel.DistributedDataParallel(new_model())
    found = []
    for step in STEPS:
        labels = torch.tensor(step[rank])
        for of_sum in (False, True):
            model.zero_grad()
            loss = sum_loss(sample_sum(model, labels)) if of_sum else mean_loss(*token_loss(model, labels))
            loss.backward()
            found.append(gradients(model))
    rows = all_rows(torch.arange(2 * (rank + 1)).reshape(rank + 1, 2))
    counts = [float(total(rank + 1, rows.device)), ranks()]
    torch.save({"gradients": found, "rows": rows, "counts": counts}, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def sample_sum(model: nn.Module, labels: Tensor) -> Tensor:
    return model(functional.one_hot(labels.clamp(min=0), 4).double()).square().sum()


def test_two_ranks_have_the_gradients_of_one(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(train_rank, args=(str(tmp_path),), nprocs=2)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    expected, model = [], new_model()
    for step in STEPS:
        labels = torch.tensor(step[0] + step[1])
        for loss in (token_loss(model, labels)[0], sample_sum(model, labels)):
            model.zero_grad()
            loss.backward()
            expected.append(gradients(model))
    for of_rank in (first, second):
        torch.testing.assert_close(of_rank["gradients"], expected, rtol=1e-12, atol=1e-14)
        assert of_rank["rows"].tolist() == [[0, 1], [0, 1], [2, 3]]
        assert of_rank["counts"] == [3.0, 2]


@pytest.mark.parametrize("items", [0, 7])
def test_a_process_alone_gets_its_loss_back(items: int) -> None:
    loss = torch.tensor(1.25)
    assert mean_loss(loss, items) is loss
    assert sum_loss(loss) is loss
    assert all_rows(rows := torch.ones(3, 2)) is rows
    assert float(total(items, loss.device)) == items
