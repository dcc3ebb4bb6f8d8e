"""Numbers do not move unnoticed: every experiment at scale=smoke against values that were committed.

A run is followed unit by unit in the order in which they act, so that the first value that differs says where to look.
It is made in float64, so that another processor's rounding stays far below the tolerance.

    KITI_WRITE_GOLDEN=1 python -m pytest tests/training/test_golden.py     # after a change that is meant to move them
"""

import json
import os
from pathlib import Path
from typing import Any

import fake_images
import pytest
import torch
from pytorch_lightning import Callback, Trainer
from run_cases import add_callback
from torch import Tensor

from kiti.cli.train_command import train
from kiti.configuration.compose import compose
from kiti.residual import Residual
from kiti.storage import records
from kiti.tasks.task import Task

GOLDEN = Path(__file__).parents[1] / "golden"
IMAGES = {
    "cifar_kitinet": fake_images.fake_cifar,
    "cifar_ko": fake_images.fake_cifar,
    "fashion_kitinet": fake_images.fake_fashion_mnist,
    "fashion_ko": fake_images.fake_fashion_mnist,
    "condensation_cifar": fake_images.fake_cifar,
    "condensation_fashion": fake_images.fake_fashion_mnist,
}
COMPUTED = ["burgers", "navier_stokes", "heat", "airfoil_euler", "condensation_fc", "condensation_skip"]
SWITCHES = {"kiti-soft": ["residual=kiti", "collision=soft"], "add-hard": ["residual=add", "collision=hard"]}
TOLERANCE = 1e-4
# Where a value comes from, in the order in which they act.
UNITS = {
    "batch": "the data set",
    "weights at the start": "the model's initialisation",
    "evaluated": "the model's forward pass",
    "partners": "the residual kind, or the collision of features",
    "loss": "the task's loss, or the residual kind",
    "gradient": "the backward pass of model, residual kind or task",
    "gradient change": "the collision of gradients",
    "weights at the end": "the optimizer, the schedule or the trainer",
    "metric": "the task's evaluation",
}


class Followed(Callback):
    """What the first step sees, by unit; nothing of the run is disturbed."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def on_train_batch_start(self, trainer: Trainer, pl_module: Task, batch: Any, batch_idx: int) -> None:
        if trainer.global_step:
            return
        self.values["batch"] = norm(batch)
        self.values["weights at the start"] = norm(pl_module.model.state_dict().values())
        pl_module.eval()
        with torch.no_grad():
            inputs = pl_module.inputs(trainer.precision_plugin.convert_input(batch))
            self.values["evaluated"] = norm(pl_module.model(*inputs))
        pl_module.train()

    def on_before_backward(self, trainer: Trainer, pl_module: Task, loss: Tensor) -> None:
        if trainer.global_step:
            return
        seams = [m for m in pl_module.model.modules() if isinstance(m, Residual) and m.collisions is not None]
        self.values["partners"] = sum(float(seam.collisions.partners) for seam in seams)
        self.values["loss"] = float(loss.detach())

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: Task, optimizer: Any) -> None:
        if not trainer.global_step:
            self.values["gradient"] = norm(p.grad for p in pl_module.parameters() if p.grad is not None)

    def on_train_batch_end(self, trainer: Trainer, pl_module: Task, *_: Any) -> None:
        if trainer.global_step == 1:
            assert pl_module.ko is not None
            self.values["gradient change"] = norm(pl_module.ko.relative_change.values())

    def on_fit_end(self, trainer: Trainer, pl_module: Task) -> None:
        self.values["weights at the end"] = norm(pl_module.model.state_dict().values())


def norm(tensors: Any) -> float:
    """The Euclidean norm of all entries of a tensor, or of several."""
    several = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    reals = (torch.view_as_real(one) if one.is_complex() else one for one in several)
    return sum(float(one.detach().double().square().sum()) for one in reals) ** 0.5


def differing(found: dict[str, float], golden: dict[str, float]) -> list[str]:
    """One line for each value that moved, in the order of UNITS."""
    names = [*golden, *(name for name in found if name not in golden)]
    moved = []
    for name in names:
        ours, theirs = found.get(name), golden.get(name)
        if ours is None or theirs is None or ours != pytest.approx(theirs, rel=TOLERANCE, abs=1e-9, nan_ok=True):
            unit = "metric" if name.startswith("metric ") else name
            moved.append(f"{name}: {ours}, was {theirs}; look at {UNITS[unit]}")
    return moved


@pytest.mark.slow
@pytest.mark.parametrize("switches", SWITCHES)
@pytest.mark.parametrize("experiment", [*COMPUTED, *IMAGES])
def test_the_numbers_of_an_experiment_stand(
    experiment: str, switches: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if experiment in IMAGES:
        IMAGES[experiment](tmp_path / "data", monkeypatch)
    run = [f"experiment={experiment}", "scale=smoke", "trainer.precision=64-true", *SWITCHES[switches]]
    composed = compose([*run, f"runs_dir={tmp_path / 'runs'}", f"data_dir={tmp_path / 'data'}"])
    followed = Followed()
    add_callback(monkeypatch, followed)
    train(composed)
    metrics = records.read(composed.run_dir / records.FILE_NAME).metrics
    found = followed.values | {f"metric {name}": value for name, value in sorted(metrics.items())}
    path = GOLDEN / f"{experiment}.{switches}.json"
    if os.environ.get("KITI_WRITE_GOLDEN"):
        records.write_whole(path, (json.dumps(found, indent=1) + "\n").encode())
    moved = differing(found, json.loads(path.read_text()))
    assert not moved, "\n".join(moved)


def test_the_first_value_that_moved_is_named_with_its_unit() -> None:
    golden = {"batch": 1.0, "loss": 2.0, "metric test/mse": 3.0}
    assert differing(golden, golden) == []
    [loss, metric] = differing({"batch": 1.0, "loss": 2.1, "metric test/mse": 3.1}, golden)
    assert loss.startswith("loss: 2.1, was 2.0; look at the task's loss")
    assert "the task's evaluation" in metric
    assert len(differing({"batch": 1.0}, golden)) == 2
