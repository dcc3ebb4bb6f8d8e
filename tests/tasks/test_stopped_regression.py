"""Networks stopped on validation: which step, which weights, and that a resumed run ends on the same bits."""

import pytest
import pytorch_lightning as pl
import torch
from chain_cases import SMALL
from run_cases import Killed, SaveAndKill, add_callback, same_weights_and_metrics

from kiti.cli.train_command import train
from kiti.configuration.compose import compose
from kiti.data.teacher_student import TeacherStudentData
from kiti.models.chain import Chain
from kiti.neurons.similarity import neurons, summary
from kiti.storage import records
from kiti.tasks.stopped_regression import StoppedRegression

RUN = [
    *("experiment=teacher_student", "scale=smoke", "logger=none", "trainer.max_epochs=6", "optimizer.lr=0.1"),
    "callbacks.checkpointing.every_seconds=1e9",
]


class Copies(pl.Callback):
    """The parameters and the validation errors after each epoch, by replica."""

    def __init__(self) -> None:
        self.weights: list[dict[str, torch.Tensor]] = []
        self.errors: list[torch.Tensor] = []

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.weights.append({name: one.detach().clone() for name, one in pl_module.model.named_parameters()})
        ((x, y),) = trainer.datamodule.val_dataloader()
        self.errors.append((pl_module.model(x) - y).square().mean(0).detach())


def test_each_replica_is_tested_at_its_best_validation():
    copies = Copies()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=25,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[copies],
        **quiet,
    )
    data = TeacherStudentData(8, 6, 30, 5, 2, 0.1, steps=3, batch_size=8, seed=0, replicas=3)
    learner = StoppedRegression(
        Chain(**SMALL | {"init_std": 0.5}, seed=0, replicas=3), lambda given: torch.optim.SGD(given, lr=0.05)
    )
    trainer.fit(learner, datamodule=data)
    trainer.test(learner, [data.test_dataloader(), data.train_eval_dataloader()], verbose=False)

    errors = torch.stack(copies.errors)
    best = errors.argmin(0)
    assert len(set(best.tolist())) > 1, "this case must stop replicas at different epochs"
    x, truth = data._data[1]
    with torch.no_grad():
        for replica, epoch in enumerate(best.tolist()):
            kept = copies.weights[epoch]
            for name, parameter in learner.model.named_parameters():
                assert torch.equal(parameter[replica], kept[name][replica])
            found = learner.of_replica[replica]
            error = float((learner.model(x) - truth).square().mean(0)[replica])
            assert found["validation/mse"] == pytest.approx(float(errors[epoch, replica]))
            assert found["validation/step"] == 3 * (epoch + 1)
            assert found["test/mse"] == pytest.approx(error)
            assert found["test/over_constant"] == pytest.approx(error / float(truth[:, replica].var(correction=0)))
            rho = summary(neurons(learner.model.layers[0])[replica : replica + 1])[0]["rho"]
            assert found["rho/layers.0"] == pytest.approx(rho)
    assert "rho/layers.3" not in learner.of_replica[0]


def test_a_killed_run_resumes_to_the_same_stop(tmp_path, monkeypatch):
    whole = compose([*RUN, f"runs_dir={tmp_path / 'whole'}"])
    train(whole)
    killed = compose([*RUN, f"runs_dir={tmp_path / 'killed'}"])
    with monkeypatch.context() as patch:
        add_callback(patch, SaveAndKill(save=5, kill=7))
        with pytest.raises(Killed):
            train(killed)
    train(killed)
    same_weights_and_metrics(whole.run_dir, killed.run_dir)
    record = records.read(whole.run_dir / "record.json")
    assert record.metrics["validation/step"] % 2 == 0


def test_replicas_stop_as_their_seeds_would(tmp_path):
    together = compose([*RUN, "replicas=2", f"runs_dir={tmp_path / 'together'}"])
    train(together)
    alone = compose([*RUN, "seed=1", f"runs_dir={tmp_path / 'alone'}"])
    train(alone)
    ours = records.read(together.run_dir_of(1) / "record.json").metrics
    theirs = records.read(alone.run_dir / "record.json").metrics
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_an_evaluation_of_weights_has_no_validation():
    data = TeacherStudentData(8, 6, 30, 5, 2, 0.1, steps=3, batch_size=8, seed=0, replicas=2)
    learner = StoppedRegression(Chain(**SMALL, seed=0, replicas=2), lambda given: torch.optim.SGD(given, lr=0.05))
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    pl.Trainer(accelerator="cpu", **quiet).test(learner, datamodule=data, verbose=False)
    for metrics in learner.of_replica:
        assert torch.tensor(list(metrics.values())).isfinite().all()
        assert {"test/mse", "test/over_constant", "rho/layers.0", "trivial/ridge_mse"} <= metrics.keys()
        assert not any(name.startswith("validation/") for name in metrics)
