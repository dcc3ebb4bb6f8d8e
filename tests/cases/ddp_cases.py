"""One small experiment of every family, as one of several processes or a process alone trains it.

    python -m torch.distributed.run --standalone --nproc-per-node 2 tests/cases/ddp_cases.py FOLDER

Each process writes FOLDER/<world size>-<rank>.pt: {(family, switches): Outcome as a dict}.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import image_sets
import text_sets
import torch
from pytorch_lightning import Callback, Trainer
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from transformers.models.bert.modeling_bert import BertSelfAttention

from kiti.configuration.compose import Composed, compose
from kiti.data.fashion_mnist import FashionMNISTData
from kiti.residual import Colliding
from kiti.storage.processes import rank, world_size
from kiti.tasks.mixed_classification import MixedClassification
from kiti.tasks.task import Task
from kiti.training import building
from kiti.training.averaging import ExponentialAverage

COMMON = ["scale=smoke", "trainer.precision=64-true", "trainer.accelerator=cpu", "logger=none"]
THIRDS = ["data.n_train=33", "data.n_test=13", "data.batch_size=12"]  # 12, 12 and 9 samples a step
ODD = 5  # samples of an evaluated batch, which no number of ranks divides
FLOWS = ["data.n_train=13", "data.n_test=5", "data.batch_size=8"]

FAMILIES = {
    "operator": ["experiment=burgers", *THIRDS],
    "rollout": ["experiment=heat", *THIRDS],
    "flow": ["experiment=airfoil_euler", *FLOWS],
    # Slowly: the cross-entropy is of float32 logits, which in the hundreds are exact to 1e-5 only.
    "classification": ["experiment=fashion_kitinet", *THIRDS, "optimizer.lr=1e-3"],
    "mixed": ["experiment=imagenet_convnext_tiny", "model.drop_path=0.0"],
    # Replicas need all points in each step: 33, of which the ranks hold unequal numbers.
    "regression": ["experiment=condensation_skip", *THIRDS[:2], "data.batch_size=36", "replicas=3"],
    "texts": ["experiment=bert_snli", "data.n_train=33", "data.batch_size=12"],
}
PLAIN = "plain"
TEXTS = "texts.json"
"""Holds the overrides that name the texts and their encoder."""
SWITCHES = {
    PLAIN: ["residual=add", "collision=none"],
    "soft": ["residual=kiti", "residual.coll_coef=0.9", "collision=soft", "collision.coll_coef=0.9"],
    "hard": ["residual=kiti", "residual.coll_coef=0.9", "collision=hard", "collision.coll_coef=0.9"],
}
EPOCHS = {PLAIN: 2, "soft": 25, "hard": 25}  # at least 50 steps with collisions, of at least two each
REGRESSION_EPOCHS = {PLAIN: 4, "soft": 50, "hard": 50}  # of one step each


@dataclass
class Outcome:
    """What one process has after training and testing.

    Attributes:
        trained: the parameters before the test, for which Lightning copies those of rank 0.
        state: the state_dict after the test.
        loss: `train/loss` of the last epoch.
        metrics, of_replica: of the test.
        samples: how many of each step this rank held.
        joined: by seam, what it returned for the same features on each rank, after the first step.
    """

    steps: int
    trained: dict[str, Tensor]
    state: dict[str, Tensor]
    loss: float
    metrics: dict[str, float]
    of_replica: list[dict[str, float]]
    samples: list[int] = field(default_factory=list)
    joined: dict[str, Tensor] = field(default_factory=dict)


class Followed(Callback):
    """Fills in an Outcome's `samples` and `joined`."""

    def __init__(self) -> None:
        self.samples: list[int] = []
        self.joined: dict[str, Tensor] = {}

    def on_train_batch_start(self, trainer: Trainer, pl_module: Task, batch: Any, batch_idx: int) -> None:
        self.samples.append(len(batch[0]))

    def on_train_batch_end(self, trainer: Trainer, pl_module: Task, *_: Any) -> None:
        draws = torch.Generator().manual_seed(0)
        for name, seam in pl_module.model.named_modules():
            if isinstance(seam, Colliding) and trainer.global_step == 1:
                x, v = torch.randn(2, 4, 8 * seam.rules.collision_heads, generator=draws)
                self.joined[name] = seam(0.3 * x, v).detach()


class AlikeOnAnyRanks(Callback):
    """Removes what depends on a rank by design: BatchNorm's statistics, dropout, and how images are mixed.

    torch synchronises BatchNorm on GPUs only, so here it is frozen.
    """

    def on_train_batch_start(self, trainer: Trainer, pl_module: Task, batch: Any, batch_idx: int) -> None:
        for module in pl_module.model.modules():
            if isinstance(module, _BatchNorm | nn.Dropout | BertSelfAttention):  # OFormer's decoder drops too
                module.eval()
        if isinstance(pl_module, MixedClassification):
            pl_module.mix.mixup_enabled = False


def composed(family: str, switches: str, folder: Path) -> Composed:
    """Experiment and switches; run directories differ by world size."""
    epochs = (REGRESSION_EPOCHS if family == "regression" else EPOCHS)[switches]
    run = [*COMMON, *FAMILIES[family], *SWITCHES[switches], f"trainer.max_epochs={epochs}"]
    run += [f"data_dir={folder / 'data'}", f"runs_dir={folder / f'runs-{world_size()}'}"]
    if family == "mixed":
        run.append(f"data.path={folder / 'images'}")
    if family == "texts":
        run[len(COMMON) + 1 : len(COMMON) + 1] = json.loads((folder / TEXTS).read_text())
    return compose(run)


def prepare(folder: Path) -> None:
    """Write the images of ImageNet's stand-in, texts and an encoder; generate FashionMNIST's in this process."""
    if rank() == 0 and not (folder / "images").exists():
        image_sets.write_folder(folder / "images")
        (folder / TEXTS).write_text(json.dumps(text_sets.prepared("bert_snli", folder / "texts")))
    draws = torch.Generator().manual_seed(0)
    pixels = [torch.randint(256, (n, 3, 32, 32), generator=draws).to(torch.uint8) for n in (33, 13)]
    labels = [torch.randint(10, (n,), generator=draws) for n in (33, 13)]
    both = (pixels[0], labels[0]), (pixels[1], labels[1])
    FashionMNISTData.read = lambda self: both  # type: ignore[method-assign]


def run(family: str, switches: str, folder: Path) -> Outcome:
    """Train and test."""
    configured = composed(family, switches, folder)
    configured.run_dir.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(configured.seed)
    data, task, trainer = building.data(configured), building.task(configured), building.trainer(configured)
    followed = Followed()
    if switches == PLAIN:  # not averaged: the average is float32, which would hide differences
        trainer.callbacks = [each for each in trainer.callbacks if not isinstance(each, ExponentialAverage)]
        trainer.callbacks.append(AlikeOnAnyRanks())
    trainer.callbacks.append(followed)
    trainer.fit(task, data)
    steps, loss = trainer.global_step, float(trainer.callback_metrics["train/loss"])
    parameters = {name: parameter.detach().clone() for name, parameter in task.model.named_parameters()}
    metrics = tested(task, data, trainer)
    state = task.model.state_dict()
    return Outcome(steps, parameters, state, loss, metrics, task.of_replica, followed.samples, followed.joined)


def evaluated(family: str, switches: str, folder: Path, state: dict[str, Tensor]) -> dict[str, float]:
    """The test metrics of the weights `state` in this process alone; with replicas, of each too."""
    configured = composed(family, switches, folder)
    data, task, trainer = building.data(configured), building.task(configured), building.trainer(configured)
    task.model.load_state_dict(state)
    return tested(task, data, trainer) | of_each(task.of_replica)


def tested(task: Task, data: Any, trainer: Trainer) -> dict[str, float]:
    data.trainer, data.eval_batch_size = trainer, ODD
    trainer.test(task, [data.test_dataloader(), data.train_eval_dataloader()], verbose=False)
    return {name: float(value) for name, value in trainer.logged_metrics.items()}


def of_each(of_replica: list[dict[str, float]]) -> dict[str, float]:
    return {f"{name} of {i}": value for i, each in enumerate(of_replica) for name, value in each.items()}


def all_runs() -> Iterator[tuple[str, str]]:
    for family in FAMILIES:
        for switches in SWITCHES:
            yield family, switches


if __name__ == "__main__":
    torch.set_num_threads(1)
    building.hush_lightning()
    place = Path(sys.argv[1])
    prepare(place)
    outcomes = {"-".join(which): asdict(run(*which, place)) for which in all_runs()}
    torch.save(outcomes, place / f"{world_size()}-{rank()}.pt")
    torch.distributed.destroy_process_group()
