"""Distances between particles: which pairs, which features, and when."""

from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from chain_cases import SMALL

from kiti.data.sine_sum import SineSumData
from kiti.ko import KO
from kiti.models.chain import Chain
from kiti.residual import KITIResidual
from kiti.tasks.regression import Regression
from kiti.training.callbacks.distance_monitor import DistanceMonitor, quantiles


def test_quantiles_use_pairs_within_a_system():
    systems = torch.tensor([[[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]], [[100.0, 0.0]] * 3])
    distances = sorted([5.0, 1.0, (9 + 9) ** 0.5, 0.0, 0.0, 0.0])
    expected = torch.quantile(torch.tensor(distances), torch.tensor([0.1, 0.5, 0.9]))
    torch.testing.assert_close(quantiles(systems), expected)
    assert quantiles(torch.ones(4, 1, 2)).isnan().all()


def run(replicas: int = 2) -> tuple[DistanceMonitor, Regression, list[torch.Tensor], pl.Trainer]:
    monitor, seen = DistanceMonitor([1, 3]), []
    model = Chain(**SMALL, seed=0, replicas=replicas, residual=partial(KITIResidual, 2, 0.5))
    model.residuals[1].register_forward_pre_hook(lambda module, given: seen.append(given[0].detach().clone()))
    learner = Regression(
        model,
        lambda params: torch.optim.SGD(params, lr=0.1),
        collision=partial(KO, mode="soft", coll_coef=0.1),
        neurons=["layers.0.weight"],
    )
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(accelerator="cpu", max_epochs=3, enable_model_summary=False, callbacks=[monitor], **quiet)
    data = SineSumData(8, 4, 5, 4, seed=0, replicas=replicas)
    trainer.fit(learner, data)
    trainer.test(learner, data.test_dataloader(), verbose=False)
    return monitor, learner, seen, trainer


def test_which_batches_are_observed():
    """For each replica, the first batch of the requested epochs: three epochs of two batches."""
    _, learner, seen, _ = run()
    for replica in range(2):
        metrics = learner.of_replica[replica]
        for epoch, call in ((1, 0), (3, 4)):
            particles = seen[call][:, replica].unflatten(-1, (3, 2))
            low, middle, high = quantiles(particles).tolist()
            name = f"residuals.1@{epoch}"
            assert metrics[f"distance_q10/{name}"] == pytest.approx(low)
            assert metrics[f"distance_q50/{name}"] == pytest.approx(middle)
            assert metrics[f"distance_q90/{name}"] == pytest.approx(high)
            assert metrics[f"knudsen/{name}"] == pytest.approx(1 / high)
        assert "knudsen/residuals.1@2" not in metrics
    start = Chain(**SMALL, seed=0, replicas=2).layers[0].weight.detach()
    assert learner.of_replica[1]["distance_q90/layers.0.weight@1"] == pytest.approx(quantiles(start[1:])[2].item())


def test_observations_survive_a_checkpoint():
    monitor, learner, _, trainer = run()
    again = DistanceMonitor([1, 3])
    again.load_state_dict(monitor.state_dict())
    before = dict(learner.of_replica[0])
    learner.of_replica[0].clear()
    again.on_test_epoch_end(trainer, learner)
    assert learner.of_replica[0] == {name: value for name, value in before.items() if "@" in name}
