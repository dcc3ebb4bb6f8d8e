"""The monitor's numbers match the collisions, and it warns once."""

import warnings
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from torch import nn

from kiti.collision.statistics import Collisions
from kiti.ko import KO
from kiti.residual import KITIResidual
from kiti.training.callbacks.collision_monitor import CollisionMonitor

TRAINER = Trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False)


class Logged(LightningModule):
    """Stores what is logged: outside a loop Lightning would refuse `log`."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.ModuleDict({"first": KITIResidual(2, 0.5), "second": KITIResidual(2, 0.5)})
        self.logged: dict[str, float] = {}

    def log(self, name: str, value: Any, *args: Any, **kwargs: Any) -> None:
        self.logged[name] = value


def step(monitor: CollisionMonitor, module: Logged, partners: float, ratio: float, particles: int = 8) -> None:
    """As after a call whose systems have so many particles."""
    [first, _] = module.model.values()
    first.collisions = Collisions(torch.tensor(partners), torch.tensor(ratio))
    first.picked, first.particles = "literal", particles
    monitor.on_train_batch_end(TRAINER, module, None, None, 0)


def test_logs_epoch_means_and_training_totals() -> None:
    monitor, module = CollisionMonitor(10), Logged()
    step(monitor, module, 1.0, 2.0)
    step(monitor, module, 2.0, 4.0)
    monitor.on_train_epoch_end(TRAINER, module)
    assert module.logged == {"collision/first/partners": 1.5, "collision/first/energy_ratio": 3.0}
    step(monitor, module, 6.0, 0.0)
    monitor.on_train_epoch_end(TRAINER, module)
    ends = {"energy_ratio_first": 3.0, "energy_ratio_last": 0.0}
    dose = {"partners": 3.0, "energy_ratio": 2.0, "particles": 8, "pairs": 12.0}
    assert monitor.collisions() == {"first": dose | ends}


def test_an_epoch_that_has_not_ended_counts_too() -> None:
    monitor, module = CollisionMonitor(10), Logged()
    step(monitor, module, 1.0, 2.0)
    assert monitor.collisions() == {"first": {"partners": 1.0, "energy_ratio": 2.0, "particles": 8, "pairs": 4.0}}


def test_without_one_number_of_particles_there_are_no_pairs() -> None:
    monitor, module = CollisionMonitor(10), Logged()
    for particles in (8, 4, 8):
        step(monitor, module, 1.0, 2.0, particles)
    assert monitor.collisions() == {"first": {"partners": 1.0, "energy_ratio": 2.0}}


def test_pairs_are_those_that_collide() -> None:
    monitor, module = CollisionMonitor(10), Logged()
    [residual, _] = module.model.values()
    x, v = torch.randn(2, 5, 12)
    residual(x, v)
    pairs = residual.running.means().pairs
    monitor.on_train_batch_end(TRAINER, module, None, None, 0)
    found = monitor.collisions()
    assert found is not None
    assert (found["first"]["particles"], found["first"]["pairs"]) == (6, pytest.approx(pairs))
    assert pairs > 0


def test_totals_survive_a_checkpoint() -> None:
    monitor, module = CollisionMonitor(10), Logged()
    step(monitor, module, 1.0, 2.0)
    resumed = CollisionMonitor(10)
    resumed.load_state_dict(monitor.state_dict())
    step(resumed, module, 3.0, 4.0)
    resumed.on_train_epoch_end(TRAINER, module)
    assert module.logged["collision/first/partners"] == 2.0
    again = CollisionMonitor(10)
    again.load_state_dict(resumed.state_dict())
    assert again.collisions() == resumed.collisions()
    assert again.collisions()["first"]["energy_ratio_first"] == 3.0


def test_an_earlier_checkpoint_is_read() -> None:
    monitor, module = CollisionMonitor(10), Logged()
    step(monitor, module, 1.0, 2.0)
    monitor.on_train_epoch_end(TRAINER, module)
    state = {key: value for key, value in monitor.state_dict().items() if key not in ("particles", "ends")}
    resumed = CollisionMonitor(10)
    resumed.load_state_dict(state)
    step(resumed, module, 3.0, 4.0)
    resumed.on_train_epoch_end(TRAINER, module)
    dose = {"partners": 2.0, "energy_ratio": 3.0, "particles": 8, "pairs": 8.0}
    assert resumed.collisions() == {"first": dose | {"energy_ratio_last": 4.0}}  # of the first epoch nothing is known


@pytest.mark.parametrize("ratio", [11.0, float("nan")])
def test_warns_once_when_the_ratio_exceeds_the_limit(ratio: float) -> None:
    monitor, module = CollisionMonitor(10), Logged()
    step(monitor, module, 5.0, ratio)
    with pytest.warns(UserWarning, match="first: collisions multiply the kinetic energy by"):
        monitor.on_train_epoch_end(TRAINER, module)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(monitor, module, 5.0, ratio)
        monitor.on_train_epoch_end(TRAINER, module)


def test_warns_once_when_no_module_collides() -> None:
    monitor, module = CollisionMonitor(10), Logged()
    monitor.on_fit_start(TRAINER, module)
    assert not any(one.running.warns for one in module.model.values())
    step(monitor, module, 0.0, 1.0)
    with pytest.warns(UserWarning, match="no pair of features collides in any of 1 modules"):
        monitor.on_train_epoch_end(TRAINER, module)
    assert monitor.silent() == 1
    step(monitor, module, 1.0, 1.0)
    monitor.on_train_epoch_end(TRAINER, module)
    assert monitor.silent() == 0


def test_logs_nothing_when_nothing_collides() -> None:
    monitor, module = CollisionMonitor(10), Logged()
    monitor.on_train_batch_end(TRAINER, module, None, None, 0)
    monitor.on_train_epoch_end(TRAINER, module)
    assert module.logged == {}
    assert monitor.collisions() is None
    assert monitor.ko() is None
    assert monitor.ko_pairs() is None


def test_sums_the_change_of_colliding_gradients() -> None:
    monitor, module = CollisionMonitor(10), Logged()
    module.weight = nn.Parameter(torch.randn(4, 3))
    module.ko = KO(torch.optim.SGD([module.weight]), {"weight": module.weight}, "soft", 0.1, attach=False)
    changes = []
    for _ in range(3):
        module.weight.grad = torch.randn(4, 3)
        module.ko.collide()
        changes.append(float(module.ko.relative_change["weight"]))
        monitor.on_train_batch_end(TRAINER, module, None, None, 0)
    monitor.on_train_epoch_end(TRAINER, module)
    assert monitor.ko() == {"weight": pytest.approx(sum(changes) / 3)}
    assert module.logged["ko/weight/relative_change"] == pytest.approx(sum(changes) / 3)
    assert monitor.ko_pairs() is None


def test_sums_the_pairs_of_hard_collisions() -> None:
    monitor, module = CollisionMonitor(10), Logged()
    module.weight = nn.Parameter(torch.zeros(4, 3))
    module.ko = KO(torch.optim.SGD([module.weight]), {"weight": module.weight}, "hard", 0.9, attach=False)
    pairs = []
    for _ in range(3):
        module.weight.grad = torch.randn(4, 3)
        module.ko.collide()
        pairs.append(module.ko.pairs["weight"])
        monitor.on_train_batch_end(TRAINER, module, None, None, 0)
    monitor.on_train_epoch_end(TRAINER, module)
    assert monitor.ko_pairs() == {"weight": pytest.approx(sum(pairs) / 3)}
    assert sum(pairs) > 0


def test_batches_that_only_gather_gradients_do_not_count_for_ko() -> None:
    monitor, module = CollisionMonitor(10), Logged()
    module.weight = nn.Parameter(torch.randn(4, 3))
    module.ko = KO(torch.optim.SGD([module.weight]), {"weight": module.weight}, "soft", 0.1, attach=False)
    changes = []
    for gathers in (1, 4):  # batches of a window, of which the last one steps
        for _ in range(gathers):
            monitor.on_train_batch_end(TRAINER, module, None, None, 0)
        module.weight.grad = torch.randn(4, 3)
        module.ko.collide()
        changes.append(float(module.ko.relative_change["weight"]))
        monitor.on_train_batch_end(TRAINER, module, None, None, 0)
    monitor.on_train_epoch_end(TRAINER, module)
    assert monitor.ko() == {"weight": pytest.approx(sum(changes) / 2)}
