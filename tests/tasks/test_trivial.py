"""What a run records of predictors without a network, by task; it changes nothing else."""

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from kiti.data.burgers import BurgersData
from kiti.data.heat import HeatData
from kiti.data.sine_sum import SineSumData
from kiti.models.chain import Chain
from kiti.tasks.operator_learning import OperatorLearning, OperatorRollout, relative_l2
from kiti.tasks.regression import Regression
from kiti.tasks.task import Task

SMALL = {"n_train": 8, "n_test": 4, "grid": 32, "resolution": 8, "batch_size": 4, "progress": lambda *_: None}


class LastFrame(nn.Module):
    """Predicts the last given frame, and something else after training."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        return self.factor * frames[:, -1]


class Same(LastFrame):
    def forward(self, u: torch.Tensor) -> torch.Tensor:
        return self.factor * u


def ended(task: Task, data: object) -> dict[str, float]:
    """The metrics of the untrained network's run."""
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = pl.Trainer(accelerator="cpu", max_epochs=1, num_sanity_val_steps=0, **quiet)
    trainer.fit(task, data)
    trainer.test(task, [data.test_dataloader(), data.train_eval_dataloader()], verbose=False)
    return {name: float(value) for name, value in trainer.logged_metrics.items()}


def frozen(parameters: object) -> torch.optim.SGD:
    return torch.optim.SGD(parameters, lr=0.0)


@pytest.mark.parametrize(
    ("kind", "model", "make"), [(OperatorRollout, LastFrame, HeatData), (OperatorLearning, Same, BurgersData)]
)
def test_persistence_has_the_error_of_a_network_that_repeats_its_input(
    kind: type[OperatorLearning], model: type[LastFrame], make: type, tmp_path: Path
) -> None:
    sizes = SMALL | ({"frames_in": 2, "frames_out": 3, "test_resolution": 16} if make is HeatData else {"steps": 20})
    task, data = kind(model(), frozen), make(data_dir=tmp_path, **sizes)
    logged = ended(task, data)
    [found] = task.of_replica
    for metric in ("relative_l2", "mse"):
        assert found[f"trivial/persistence_{metric}"] == pytest.approx(logged[f"test/{metric}"], rel=1e-5)
    for name, (predicted, truth) in data.trivial_predictions().items():
        expected = float(relative_l2(predicted, truth).mean())
        assert found[f"trivial/{name}_relative_l2"] == pytest.approx(expected, rel=1e-6)


def test_each_replica_has_its_own_points() -> None:
    data = SineSumData(40, 30, 5, 40, seed=3, replicas=2)
    task = Regression(Chain(5, 8, 0, "tanh", 0.1, False, 0, 0, replicas=2), frozen)
    ended(task, data)
    for replica, found in enumerate(task.of_replica):
        alone = SineSumData(40, 30, 5, 40, seed=3 + replica)
        (_, y), (_, truth), _ = alone.load()
        mean = float((truth - y.mean()).square().mean())
        assert found["trivial/target_mean_mse"] == pytest.approx(mean, rel=1e-5)
        line, _ = alone.trivial_predictions()["ridge"]
        assert found["trivial/ridge_mse"] == pytest.approx(float((line - truth).square().mean()), rel=1e-5)


def test_a_task_that_cannot_measure_them_says_so() -> None:
    with pytest.raises(NotImplementedError, match="Task does not measure"):
        Task(nn.Linear(1, 1), frozen).scores(torch.zeros(1), torch.zeros(1))
