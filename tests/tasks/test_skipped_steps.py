"""A step that float16's scaler skips neither collides nor counts."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import stream_cases
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.plugins import MixedPrecision
from torch import Tensor, nn
from torch.utils.data import DataLoader

import kiti
from kiti.storage.divergence import Divergence
from kiti.tasks.language_modelling import LanguageModelling
from kiti.tasks.regression import Regression

pytestmark = pytest.mark.filterwarnings("ignore:KO changes the gradient")


def fit(module: LightningModule, folder: Path, scaled: bool = True, **options: Any) -> Trainer:
    """Six steps, of which the third meets an infinite target."""
    x, y = torch.randn(6, 4), torch.randn(6, 3)
    y[2] = torch.inf
    mixed = MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=2.0))
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        plugins=[mixed] if scaled else None,
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
    assert not task.diverged


def test_without_a_scaler_it_ends_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = Regression(model=nn.Linear(4, 3), optimizer=partial(torch.optim.SGD, lr=0.1))
    trainer = fit(task, tmp_path, scaled=False)
    assert trainer.global_step == 3
    assert task.divergences == {0: Divergence("the training loss", 2, 0, 2)}
    assert capsys.readouterr().err == (
        "kiti-train: the training loss was not finite at step 2, epoch 0, batch 2: the run has diverged; a smaller "
        "optimizer.lr may help\n"
    )


class Overflow(Callback):
    """An infinite gradient in the third step, before it is unscaled."""

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step == 2:
            pl_module.get_parameter("model.transformer.h.0.mlp.c_fc.weight").grad[0, 0] = torch.inf


class Norms(Callback):
    """The norm that each step logs; the scaler's scale after it."""

    def __init__(self) -> None:
        self.found: list[float] = []
        self.scales: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.found.append(float(trainer.callback_metrics["train/grad_norm"]))
        self.scales.append(trainer.precision_plugin.scaler.get_scale())


@pytest.mark.parametrize("fused", [False, True])
def test_a_language_model_skips_it_and_trains_on(fused: bool, capsys: pytest.CaptureFixture[str]) -> None:
    """Lightning leaves unscaling to the step of a fused optimizer, where it is too late for KO, norms and clipping."""
    weights = {}
    for scale in (1.0, 1024.0):
        task = LanguageModelling(
            stream_cases.model(),
            partial(torch.optim.AdamW, lr=0.01, fused=fused),
            collision=partial(kiti.KO, mode="hard", coll_coef=0.9),
            neurons=["transformer.h.1.mlp.*.weight"],
        )
        norms = Norms()
        loop = stream_cases.trainer(
            plugins=[MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=scale))],
            callbacks=[Overflow(), norms],
            gradient_clip_val=0.1,
        )
        loop.fit(task, stream_cases.Stream(stream_cases.blocks(12, 1), 2))
        weights[scale] = task.model.transformer.h[0].mlp.c_fc.weight.detach()
        assert task.ko.step_count == 5
        assert task.ko.relative_change
        assert (task.diverged, loop.global_step) == (False, 6)
        assert norms.scales == [scale] * 2 + [scale / 2] * 4
        assert norms.found[2] == norms.found[1]  # nothing logged
        assert max(norms.found) < 10
        assert all(parameter.isfinite().all() for parameter in task.model.parameters())
    torch.testing.assert_close(weights[1.0], weights[1024.0], rtol=0, atol=1e-3)  # clipped after they are unscaled
    assert "diverged" not in capsys.readouterr().err


@pytest.mark.parametrize("fused", [False, True])
def test_a_step_without_labels_leaves_the_scaler_usable(fused: bool) -> None:
    tokens, labels, positions = stream_cases.blocks(12, 1)
    labels[:6] = stream_cases.UNLABELLED
    task = LanguageModelling(stream_cases.model(), partial(torch.optim.AdamW, lr=0.01, fused=fused))
    mixed = MixedPrecision("16-mixed", "cpu", scaler=torch.amp.GradScaler("cpu", init_scale=2.0))
    loop = stream_cases.trainer(plugins=[mixed])
    loop.fit(task, stream_cases.Stream((tokens, labels, positions), 1))
    assert task.unlabelled_batches == 6
    assert loop.global_step == 12
    assert all(parameter.isfinite().all() for parameter in task.model.parameters())


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
