"""A step that float16's scaler skips neither collides nor counts."""

from functools import partial

import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.plugins import MixedPrecision
from torch import nn
from torch.utils.data import DataLoader

from kiti.ko import KO
from kiti.tasks.regression import Regression


@pytest.mark.filterwarnings("ignore:KO changes the gradient")
def test_a_step_that_the_scaler_skips_does_not_collide(tmp_path):
    x, y = torch.randn(6, 4), torch.randn(6, 3)
    y[2] = torch.inf  # the third of six batches
    task = Regression(
        model=nn.Linear(4, 3),
        optimizer=partial(torch.optim.SGD, lr=0.1),
        collision=partial(KO, mode="hard", coll_coef=0.9),
        neurons=["weight"],
    )
    mixed = MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=2.0))
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        plugins=[mixed],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        default_root_dir=tmp_path,
    )
    batches = list(zip(x[:, None], y[:, None], strict=True))
    trainer.fit(task, DataLoader(batches, collate_fn=lambda some: some[0]))
    assert task.ko.step_count == 5
    assert task.model.weight.isfinite().all()
