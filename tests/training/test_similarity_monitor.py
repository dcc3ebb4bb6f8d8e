"""Neurons monitored during training: which are stored, what is logged, and that a resumed run has them too."""

import pytest
import pytorch_lightning as pl
import torch
from chain_cases import SMALL
from pytorch_lightning.loggers.logger import DummyLogger

from kiti.data.sine_sum import SineSumData
from kiti.models.chain import Chain
from kiti.neurons.similarity import cosine_matrix, neurons, reordered, summary
from kiti.tasks.regression import Regression
from kiti.training.callbacks.similarity_monitor import SimilarityMonitor


class Copies(pl.Callback):
    """The first layer's neurons after each epoch."""

    def __init__(self) -> None:
        self.neurons: list[torch.Tensor] = []

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.neurons.append(neurons(pl_module.model.layers[0]).clone())


class Logged(DummyLogger):
    """What the monitor logged, with the step."""

    def __init__(self) -> None:
        super().__init__()
        self.metrics: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        if any("layers.0" in name for name in metrics):
            self.metrics.append((step, metrics))


def run(monitor: SimilarityMonitor, epochs: int = 3) -> tuple[Regression, Copies, pl.Trainer]:
    copies = Copies()
    quiet = {"logger": Logged(), "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=epochs, enable_model_summary=False, callbacks=[monitor, copies], **quiet
    )
    data = SineSumData(8, 4, 5, 8, seed=0, replicas=2)
    learner = Regression(Chain(**SMALL, seed=0, replicas=2), lambda params: torch.optim.SGD(params, lr=0.1))
    trainer.fit(learner, data)
    trainer.test(learner, [data.test_dataloader(), data.train_eval_dataloader()], verbose=False)
    return learner, copies, trainer


def test_snapshots_belong_to_their_epochs():
    monitor = SimilarityMonitor(["layers.0"], snapshots=[3, 1], each_epoch=False)
    learner, copies, _ = run(monitor)
    for replica in range(2):
        maps = monitor.heatmaps(replica)
        assert list(maps) == ["layers.0@1", "layers.0@3"]
        for epoch in (1, 3):
            rows = copies.neurons[epoch - 1][replica]
            assert torch.equal(maps[f"layers.0@{epoch}"], reordered(cosine_matrix(rows)).half())
            expected = summary(rows.unsqueeze(0))[0]
            found = learner.of_replica[replica]
            assert {name: found[f"{name}/layers.0@{epoch}"] for name in expected} == expected
    assert not torch.equal(monitor.heatmaps(0)["layers.0@1"], monitor.heatmaps(0)["layers.0@3"])


def test_curves_are_kept_and_logged_each_epoch():
    learner, copies, trainer = run(SimilarityMonitor(["layers.0"], snapshots=[], each_epoch=True))
    logged = trainer.logger.metrics
    assert [step for step, _ in logged] == [1, 2, 3]
    for epoch, (_, metrics) in enumerate(logged, start=1):
        for what in ("most_alike", "rho"):
            wanted = [one[what] for one in summary(copies.neurons[epoch - 1])]
            assert metrics[f"{what}/layers.0"] == pytest.approx(sum(wanted) / 2, rel=1e-5)
            found = [metrics[f"{what}/layers.0@{epoch}"] for metrics in learner.of_replica]
            assert found == pytest.approx(wanted, rel=1e-5)
    learner, _, trainer = run(SimilarityMonitor(["layers.0"], snapshots=[2], each_epoch=False))
    assert trainer.logger.metrics == []
    assert "most_alike/layers.0@1" not in learner.of_replica[0]


def test_stored_data_survive_a_checkpoint():
    monitor = SimilarityMonitor(["layers.0"], snapshots=[1], each_epoch=True)
    run(monitor)
    again = SimilarityMonitor(["layers.0"], snapshots=[1], each_epoch=True)
    again.load_state_dict(monitor.state_dict())
    assert again.state_dict()["curves"].keys() == {
        f"{w}/layers.0@{e}" for w in ("rho", "most_alike") for e in (1, 2, 3)
    }
    assert torch.equal(again.heatmaps(1)["layers.0@1"], monitor.heatmaps(1)["layers.0@1"])


def test_an_unknown_layer_is_named():
    with pytest.raises(ValueError, match=r"callbacks.similarity.layers: the model has no layer 'layers.9'"):
        run(SimilarityMonitor(["layers.9"], snapshots=[1], each_epoch=False))
    with pytest.raises(ValueError, match="has no weight"):
        run(SimilarityMonitor(["residuals.0"], snapshots=[1], each_epoch=False))
