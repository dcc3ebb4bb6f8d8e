"""The exponential average is over the weights after each step; it is validated, and kept at the end."""

from pathlib import Path

import torch
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from kiti.training.averaging import ExponentialAverage

DECAY = 0.8


class Walk(LightningModule):
    """One weight with steps of different lengths; records its value in each validation."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.validated: list[float] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return (self.weight * batch).sum()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.validated.append(self.weight.item())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1.0)


def fit(module: Walk, epochs: int, place: Path) -> None:
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[ExponentialAverage(DECAY)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=place,
    )
    batches = torch.tensor([1.0, 4.0, 2.0])
    trainer.fit(module, DataLoader(batches, batch_size=1), DataLoader(batches[:1]))


def averages(after: list[float]) -> list[float]:
    found = [after[0]]
    for weight in after[1:]:
        found.append(DECAY * found[-1] + (1 - DECAY) * weight)
    return found


def test_the_average_of_the_weights_is_validated_and_kept(tmp_path: Path) -> None:
    walk = Walk()
    fit(walk, 2, tmp_path)
    after = [-float(sum((1, 4, 2, 1, 4, 2)[: i + 1])) for i in range(6)]
    expected = averages(after)
    assert torch.allclose(torch.tensor(walk.validated), torch.tensor([expected[2], expected[5]]))
    assert torch.allclose(walk.weight.detach(), torch.tensor([expected[5]]))
