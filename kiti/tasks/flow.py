"""Predicting the next frames of a flow on irregular points."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import MeanSquaredError

from kiti.data.mesh_frames import MeshFrames
from kiti.models.oformer import OFormer, indices
from kiti.storage.divergence import Divergence
from kiti.tasks.global_batch import mean_loss, ranks, total
from kiti.tasks.task import Task

Flow = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
"""`(given, target, positions, kind, mask)`, see `kiti.data.mesh_frames.MeshFrames`."""

BOX = ((-0.1, 1.4), (-1.2, 1.2))
"""The box around the airfoil, in chords from its leading edge, as OFormer's authors define it."""

_MOMENTUM_WEIGHT = 2.0


def momentum(fields: Float[Tensor, "*rows C"]) -> Float[Tensor, "*rows 2"]:
    """ρu from the channels velocity x, velocity y, density, …"""
    return fields[..., :2] * fields[..., 2:3]


def in_box(positions: Float[Tensor, "B P 2"]) -> Bool[Tensor, "B P"]:
    """Which points lie in `BOX`."""
    low, high = torch.tensor(BOX, device=positions.device, dtype=positions.dtype).unbind(dim=1)
    return ((positions > low) & (positions < high)).all(dim=-1)


def _of(frames: Float[Tensor, "B T P C"], mask: Bool[Tensor, "B P"]) -> Float[Tensor, "points T C"]:
    """The frames at the points of `mask`."""
    return frames.transpose(1, 2).flatten(0, 1).index_select(0, indices(mask))


class FlowRollout(Task):
    """Minimises the squared error of all frames and fields, and twice that of the momentum near the airfoil.

    The loss is that of OFormer's authors, in the units of `model.scaling`: the first term is summed over fields and
    averaged over points and frames, the second is averaged over both components. During the first `curriculum_share` of
    training fewer frames are predicted: the first `curriculum_frames`, and a growing number in the second half of that
    time; 0 predicts all frames from the beginning. Only the gradient of the encoder is clipped, to the trainer's
    `gradient_clip_val`.

    Logs the root mean square error of the momentum over the whole test set, in physical units: in `BOX`
    (`test/momentum_rmse_box`, which the authors print) and everywhere (`test/momentum_rmse`); the same under `train/`
    for a second dataloader. `persistence_rmse_box` and `persistence_rmse` are the errors of repeating the last given
    frame, a baseline.
    """

    SETS = ("test", "train")  # the dataloaders of trainer.test, in this order
    model: OFormer

    def __init__(self, *args: Any, curriculum_frames: int, curriculum_share: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.curriculum_frames = curriculum_frames
        self.curriculum_share = curriculum_share
        names = [f"{who}_rmse{where}" for who in ("momentum", "persistence") for where in ("_box", "")]
        errors = {f"{of}/{name}": MeanSquaredError(squared=False) for of in self.SETS for name in names}
        self.on_device = nn.ModuleList(errors.values())  # so that Lightning moves them with the model
        self.errors = errors

    def setup(self, stage: str) -> None:
        """Before training, fit the model's units to the training set; a trained model contains them."""
        if stage == "fit":
            data: MeshFrames = self.trainer.datamodule  # type: ignore[attr-defined]  # Lightning sets it in a connector
            self.model.scaling.fit(*data.training_flows)

    def inputs(self, batch: Flow) -> tuple[Any, ...]:
        given, target, positions, kind, mask = batch
        return given, positions, kind, mask, target.shape[1]

    def frames_predicted(self, frames: int) -> int:
        """How many of `frames` are predicted in this training step."""
        if not 0 < self.curriculum_frames < frames:
            return frames
        early = self.curriculum_share * self.trainer.estimated_stepping_batches
        if self.global_step >= int(early):
            return frames
        beyond_half = max(0.0, 2 * self.global_step / early - 1)
        return self.curriculum_frames + 2 * int(beyond_half * (frames - self.curriculum_frames) / 2)

    def training_step(self, batch: Flow, batch_idx: int) -> Tensor:
        given, target, positions, kind, mask = batch
        target = target[:, : self.frames_predicted(target.shape[1])]
        normalised = self.model.scaling.normalised
        predicted = normalised(self.model(given, positions, kind, mask, target.shape[1]))
        expected = normalised(target)
        near = mask & in_box(positions)
        everywhere = _of(predicted - expected, mask).square().sum(dim=-1).mean()
        near_airfoil = _of(momentum(predicted) - momentum(expected), near).square().mean()
        loss = mean_loss(everywhere, mask.sum()) + _MOMENTUM_WEIGHT * mean_loss(near_airfoil, near.sum())
        self.train_loss.update(loss.detach(), weight=total(len(given), loss.device) / ranks())
        return loss

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        if gradient_clip_val is not None:
            nn.utils.clip_grad_norm_(self.model.encoder.parameters(), gradient_clip_val)

    def test_step(self, batch: Flow, batch_idx: int, dataloader_idx: int = 0) -> None:
        given, target, positions, _kind, mask = batch
        predictions = {"momentum": self.model(*self.inputs(batch)), "persistence": given[:, -1:]}
        for who, fields in predictions.items():
            error = momentum(fields) - momentum(target)
            for where, points in (("_box", mask & in_box(positions)), ("", mask)):
                chosen = error[points.unsqueeze(1).expand(error.shape[:-1])].flatten()
                self.errors[f"{self.SETS[dataloader_idx]}/{who}_rmse{where}"].update(chosen, torch.zeros_like(chosen))

    def outlives(self, metric: str, divergence: Divergence) -> bool:
        return "/persistence_" in metric or super().outlives(metric, divergence)

    def on_test_epoch_end(self) -> None:
        for name, metric in self.errors.items():
            if metric.update_called:
                self.log(name, metric.compute())
            metric.reset()
