"""A step that float16's scaler skips neither collides nor counts."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.plugins import MixedPrecision
from torch import Tensor, nn
from torch.utils.data import DataLoader

import kiti
from kiti.tasks.regression import Regression

pytestmark = pytest.mark.filterwarnings("ignore:KO changes the gradient")


def fit(module: LightningModule, folder: Path, **options: Any) -> Trainer:
    """Six steps, of which the third meets an infinite target."""
    x, y = torch.randn(6, 4), torch.randn(6, 3)
    y[2] = torch.inf
    mixed = MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=2.0))
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        plugins=[mixed],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        default_root_dir=folder,
        **options,
    )
    batches: Any = list(zip(x[:, None], y[:, None], strict=True))
    trainer.fit(module, DataLoader(batches, collate_fn=lambda some: some[0]))
    return trainer


def test_in_our_own_runs(tmp_path: Path) -> None:
    task = Regression(
        model=nn.Linear(4, 3),
        optimizer=partial(torch.optim.SGD, lr=0.1),
        collision=partial(kiti.KO, mode="hard", coll_coef=0.9),
        neurons=["weight"],
    )
    fit(task, tmp_path)
    assert task.ko.step_count == 5
    assert task.model.weight.isfinite().all()


class Learner(LightningModule):
    """Somebody else's; it names nothing of kiti."""

    def __init__(self, attach: bool = False) -> None:
        super().__init__()
        self.model, self.attach = nn.Linear(4, 3), attach

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return nn.functional.mse_loss(self.model(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        matrices = kiti.matrices(self.model)
        self.ko = kiti.KO(optimizer, matrices, mode="hard", coll_coef=0.9, attach=self.attach)
        return optimizer


def test_in_other_lightning_modules(tmp_path: Path) -> None:
    learner = Learner()
    trainer = fit(learner, tmp_path, callbacks=[kiti.LightningCallback()])
    assert learner.ko.step_count == 5
    assert learner.model.weight.isfinite().all()
    trainer.save_checkpoint(tmp_path / "without_residuals.ckpt")


def test_the_callback_refuses_an_attached_ko(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="create it with attach=False"):
        fit(Learner(attach=True), tmp_path, callbacks=[kiti.LightningCallback()])
