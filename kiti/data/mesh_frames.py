"""Frames of flows on irregular points; every sample has its own points, and their number varies."""

import torch
from torch import Tensor

from kiti.data.in_memory import InMemoryData
from kiti.data.loading import Batch

CHANNELS = ("velocity x", "velocity y", "density", "pressure")


class MeshFrames(InMemoryData):
    """Batches `(given, target, positions, kind, mask)`, in physical units.

    - given: (B, frames_in, P, 4), target: (B, frames_out, P, 4): the channels of `CHANNELS` at P points;
    - positions: (B, P, 2), in chords from the airfoil's leading edge; kind: (B, P), 0 inside, 1 on the airfoil, 2 on
      the far boundary; mask: (B, P), True for existing points. P is the largest number of points of a sample in the
      set; the padding is 0.

    Args:
        frames_in: number of given frames. frames_out: number of following frames, to be predicted.
        n_train, n_test, batch_size, eval_batch_size, seed: as for InMemoryData.
    """

    def __init__(
        self,
        n_train: int,
        n_test: int,
        frames_in: int,
        frames_out: int,
        batch_size: int,
        eval_batch_size: int,
        seed: int,
    ) -> None:
        super().__init__(n_train, n_test, batch_size, eval_batch_size, seed)
        self.frames_in = frames_in
        self.frames_out = frames_out

    def batch(self, tensors: dict[str, Tensor]) -> Batch:
        """Batch from `fields` (n, frames, P, 4), `positions` (n, P, 2), `kind` (n, P) and `counts` (n,)."""
        fields, counts = tensors["fields"], tensors["counts"]
        mask = torch.arange(fields.shape[2]) < counts.unsqueeze(1)  # (n, P)
        given, target = fields[:, : self.frames_in], fields[:, self.frames_in : self.frames_in + self.frames_out]
        return given, target, tensors["positions"], tensors["kind"].long(), mask

    @property
    def training_flows(self) -> tuple[Tensor, Tensor, Tensor]:
        """Fields (n, frames, P, 4), positions and mask of the training set, used to choose units."""
        given, target, positions, _kind, mask = self._data[0]
        return torch.cat([given, target], dim=1), positions, mask
