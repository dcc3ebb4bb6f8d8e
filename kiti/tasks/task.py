"""The base class of all tasks: optimizer, schedule, collision of gradients, reproducible steps."""

import hashlib
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from math import ceil
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from kiti.data.data_module import Data
from kiti.data.loading import EpochLoader
from kiti.ko import KO, select
from kiti.residual import Residual
from kiti.seams.fitting import SeamError
from kiti.seams.lightning_callback import is_skipped, scaler_of
from kiti.storage.divergence import Divergence
from kiti.tasks.loss_watch import LossWatch, Place
from kiti.tasks.mean import Mean
from kiti.tasks.rank_sums import gathered, part_of
from kiti.tasks.schedules import WarmupCosine, warmup_cosine_to, warmup_linear

BY_STEPS = (OneCycleLR, WarmupCosine, warmup_linear, warmup_cosine_to)
"""Schedules that are stepped each step, and need the total number of steps."""


class Task(LightningModule):
    """A LightningModule around `model`; subclasses write `training_step`, `test_step` and `scores`.

    If the training loss is not finite, the run has diverged: training stops with one line that names the step and the
    batch, and the record has no metric of the trained network. Of several replicas the others go on. The loss is read
    after each batch by one process on a CPU, and elsewhere, where this waits for the device or for other ranks, every
    `log_every_n_steps` batches, at the end of an epoch and before a checkpoint; the batch named is the first in any
    case. With precision=16-mixed nothing is read: its scaler skips such steps.

    Args:
        model: the network to train.
        optimizer: called with the parameters.
        scheduler: called with the optimizer; stepped each epoch, or each step if it is one of `BY_STEPS`; or None.
        collision: called with (optimizer, named parameters) to create a `KO`; or None.
        neurons: name patterns, within `model`, of the weights whose gradients collide.
        lr_multipliers: by name pattern, within `model`: a factor for the learning rate of these parameters throughout
            the schedule.
        seed: with rank, epoch and batch it determines all random numbers of a training step, so that a resumed run
            draws the same ones and no generator state has to be saved. Residuals draw theirs from streams of their own:
            dropout has the same masks with every residual.
        decay_vectors: False excludes biases and other one-dimensional parameters, such as scales of norms, from weight
            decay.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., Any] | None = None,
        collision: Callable[..., KO] | None = None,
        neurons: list[str] | None = None,
        lr_multipliers: dict[str, float] | None = None,
        seed: int = 0,
        decay_vectors: bool = True,
    ) -> None:
        super().__init__()
        learning_rate_groups(model, lr_multipliers or {})  # report a pattern without a match before any work
        self.model = model
        self.make_optimizer = optimizer
        self.make_scheduler = scheduler
        self.make_collision = collision
        self.neurons = neurons or []
        self.lr_multipliers = lr_multipliers or {}
        self.seed = seed
        self.decay_vectors = decay_vectors
        self.ko: KO | None = None
        self.train_loss = Mean()
        self.example: dict[str, Tensor] = {}
        """`prediction` and `target` of the first test sample, for a picture; empty if none is kept."""
        self.replicas: int | None = getattr(model, "replicas", None)
        """How many independent networks `model` contains, along the first axis of each parameter; None: one plain
        network."""
        self.of_replica: list[dict[str, float]] = [{} for _ in range(self.replicas or 1)]
        """Metrics of each network, in addition to the logged ones."""
        self.divergences: dict[int, Divergence] = {}
        """By replica, of those that have diverged; without replicas the network is replica 0."""
        self._watch = LossWatch()
        self._place = Place(0, 0, 0)  # of the present batch

    def configure_optimizers(self) -> Any:
        factors, groups = self._parameter_groups()
        optimizer = self.make_optimizer(groups)
        for factor, group in zip(factors, optimizer.param_groups, strict=True):
            group["lr"] *= factor  # before the scheduler, which starts from these values
        if self.make_collision is not None:
            # Not attached to the step: Lightning clips before the step, and collisions come before clipping (A28).
            neurons = select(self.model, self.neurons)
            self.ko = self.make_collision(optimizer, neurons, attach=False, replicas=self.replicas)
        if self.make_scheduler is None:
            return optimizer
        kind = getattr(self.make_scheduler, "func", None)
        if kind in BY_STEPS:
            more: dict[str, Any] = {"total_steps": self._total_steps()}
            if kind is OneCycleLR:  # which ignores the groups' learning rates
                highest: float = self.make_scheduler.keywords["max_lr"]  # type: ignore[attr-defined]
                more["max_lr"] = [factor * highest for factor in factors]
            by_steps = self.make_scheduler(optimizer, **more)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": by_steps, "interval": "step"}}
        return {"optimizer": optimizer, "lr_scheduler": self.make_scheduler(optimizer)}

    def _total_steps(self) -> int:
        # Not the trainer's estimate: it would set up the data loader before the checkpoint is read, and then ignore the
        # checkpoint's position within the epoch.
        trainer: Any = self.trainer
        return trainer.max_epochs * ceil(len(trainer.datamodule.train_dataloader()) / trainer.accumulate_grad_batches)

    def _parameter_groups(self) -> tuple[list[float], list[dict[str, Any]]]:
        """Learning rate factors, and the optimizer's parameter groups they apply to."""
        factors, groups = learning_rate_groups(self.model, self.lr_multipliers)
        if self.decay_vectors:
            return factors, groups
        bare = {parameter for name, parameter in self.model.named_parameters() if name.endswith(".bias")}
        bare |= {parameter for parameter in self.model.parameters() if parameter.ndim <= 1}
        split: list[tuple[float, dict[str, Any]]] = []
        for factor, group in zip(factors, groups, strict=True):
            decayed = [parameter for parameter in group["params"] if parameter not in bare]
            undecayed = [parameter for parameter in group["params"] if parameter in bare]
            split += [(factor, {"params": decayed}), (factor, {"params": undecayed, "weight_decay": 0.0})]
        return [factor for factor, _ in split], [group for _, group in split]

    def inputs(self, batch: Any) -> tuple[Any, ...]:
        """The arguments of one model call, from a batch."""
        return (batch[0],)

    def call(self, batch: Any) -> Any:
        """What the model gives for a batch."""
        return self.model(*self.inputs(batch))

    def scores(self, prediction: Tensor, truth: Tensor) -> list[dict[str, float]]:
        """The task's metrics of predictions that no network made, for each of `of_replica`."""
        raise NotImplementedError(f"{type(self).__name__} does not measure the data's trivial predictions")

    def trivial(self, data: Data) -> list[dict[str, float]]:
        """`trivial/<predictor>_<metric>` of the data's `trivial_predictions`, for each of `of_replica`.

        They are the same for every network on these data, and draw no random numbers.
        """
        found: list[dict[str, float]] = [{} for _ in self.of_replica]
        for name, both in data.trivial_predictions().items():
            for metrics, measured in zip(found, self.scores(*both), strict=True):
                metrics |= {f"trivial/{name}_{metric}": value for metric, value in measured.items()}
        return found

    def record_trivial(self) -> None:
        """Add `trivial` of the run's data to `of_replica`; nothing if the trainer was given dataloaders alone."""
        trainer: Any = self.trainer
        if trainer.datamodule is not None:
            for metrics, found in zip(self.of_replica, self.trivial(trainer.datamodule), strict=True):
                metrics |= found

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Here gradients are unscaled and averaged over the ranks, but not yet clipped."""
        if self.ko is None:
            return
        if is_skipped(self._trainer, optimizer):
            self.ko.relative_change, self.ko.pairs = {}, {}
        else:
            self.ko.collide()

    def on_train_start(self) -> None:
        self.model.train()  # Lightning keeps each module's mode, and a pretrained model comes in eval mode
        if self.diverged:  # and was stopped again before its test
            self.trainer.should_stop = True

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        residuals = [(name, m) for name, m in self.model.named_modules() if isinstance(m, Residual)]
        for index, (name, residual) in enumerate(residuals):
            if not residual.training:
                raise SeamError(f"{name} is in eval mode while the model trains, so nothing collides there")
            residual.draws.restart(self.seed, self.current_epoch, batch_idx, index)
        key = f"{self.seed}/{self.global_rank}/{self.current_epoch}/{batch_idx}"
        digest = hashlib.sha256(key.encode()).digest()
        torch.manual_seed(int.from_bytes(digest[:8], "big"))
        np.random.seed(int.from_bytes(digest[8:12], "big"))  # noqa: NPY002  # timm's Mixup uses it
        self._place = Place(self.global_step, self.current_epoch, batch_idx)

    def losses_to_watch(self, loss: Float[Tensor, ""]) -> Float[Tensor, "*R"]:
        """What has to stay finite, from the loss of the present batch: one number, or one for each replica."""
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if scaler_of(self._trainer) is not None:
            return
        self._watch.add(self._place, self.losses_to_watch(outputs["loss"]).reshape(-1).expand(len(self.of_replica)))
        trainer: Any = self.trainer
        every = 1 if self.reads_at_once else max(1, trainer.log_every_n_steps)
        if len(self._watch) >= every or trainer.is_last_batch:
            self._read_losses()

    @property
    def reads_at_once(self) -> bool:
        """Whether reading a loss waits neither for a device nor for other ranks."""
        return self.device.type == "cpu" and self.trainer.world_size == 1

    def _read_losses(self) -> None:
        for place, replicas in self._watch.not_finite(self.device).items():
            self.diverge("the training loss", place, replicas)

    @property
    def diverged(self) -> bool:
        """Whether no network is left that has not diverged."""
        return len(self.divergences) == len(self.of_replica)

    def diverge(self, what: str, place: Place, replicas: Iterable[int]) -> None:
        """Note that these have diverged, as `what` was not finite; stop if no other is left. Every rank calls it."""
        new = [replica for replica in replicas if replica not in self.divergences]
        if not new:
            return
        found = Divergence(what, *place, samples=self._samples(place))
        self.divergences |= dict.fromkeys(new, found)
        who = "the run has diverged; a smaller optimizer.lr may help"
        if len(self.of_replica) > 1:
            seeds = ", ".join(str(self.seed + replica) for replica in new)
            who = f"diverged: seed{'s' if len(new) > 1 else ''} {seeds}"
            who += "; none is left" if self.diverged else "; the others go on"
        if self.trainer.is_global_zero:
            print(f"kiti-train: {found}: {who}", file=sys.stderr, flush=True)
        if self.diverged:
            self.trainer.should_stop = True

    def _samples(self, place: Place) -> list[int] | None:
        loader: Any = self.trainer.train_dataloader
        return loader.samples_of_batch(place.epoch, place.batch) if isinstance(loader, EpochLoader) else None

    def outlives(self, metric: str, divergence: Divergence) -> bool:
        """Whether a metric says nothing of the network that has diverged: it was measured before, or without one.

        Metrics `…@<n>` are those after the n-th epoch; subclasses may know others.
        """
        _, _, epoch = metric.rpartition("@")
        return metric.startswith("trivial/") or (epoch.isdigit() and int(epoch) <= divergence.epoch)

    def on_train_epoch_end(self) -> None:
        self.log("train/loss", self.train_loss.compute())
        self.train_loss.reset()

    # The running mean is saved separately, because `state_dict` is the model's.
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._read_losses()  # which are not saved
        checkpoint["divergences"] = {replica: asdict(one) for replica, one in self.divergences.items()}
        state: dict[str, Any] = self.train_loss.metric_state
        checkpoint["train_loss"] = {name: gathered(self._trainer, value) for name, value in state.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        for name, value in checkpoint["train_loss"].items():
            # Checkpoints from before the sums of all ranks were kept have a single number.
            setattr(self.train_loss, name, part_of(self._trainer, value.reshape(-1)))
        found = checkpoint.get("divergences", {})  # checkpoints from before divergences were noticed have none
        self.divergences = {replica: Divergence(**one) for replica, one in found.items()}
        self.train_loss._update_count = 1  # otherwise torchmetrics warns that compute() was called before update()


def learning_rate_groups(
    model: nn.Module, multipliers: dict[str, float]
) -> tuple[list[float], list[dict[str, list[nn.Parameter]]]]:
    """Learning rate factors and their parameter groups; parameters without a pattern come first, with factor 1.

    Raises:
        ValueError: a pattern matches no parameter, or two patterns match the same one.
    """
    left = dict(model.named_parameters())
    factors, groups = [], []
    for pattern, factor in multipliers.items():
        chosen = select(model, pattern)
        if twice := chosen.keys() - left.keys():
            raise ValueError(f"pattern {pattern!r} matches {min(twice)}, which another pattern matches already")
        left = {name: parameter for name, parameter in left.items() if name not in chosen}
        factors.append(factor)
        groups.append({"params": list(chosen.values())})
    if not left:
        return factors, groups
    return [1.0, *factors], [{"params": list(left.values())}, *groups]
