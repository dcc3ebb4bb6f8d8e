"""Watches the training loss without waiting for the device at each step."""

from collections import defaultdict
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from kiti.tasks.global_batch import ranks, total


class Place(NamedTuple):
    """A batch of a training: the optimizer's steps before it, the epoch, and the batch in the epoch; all from 0."""

    step: int
    epoch: int
    batch: int


class LossWatch:
    """Keeps the losses of several batches, one number for each of R replicas, until they are read together."""

    def __init__(self) -> None:
        self._kept: list[tuple[Place, Tensor]] = []

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, place: Place, losses: Float[Tensor, "R"]) -> None:
        self._kept.append((place, losses.detach()))

    def not_finite(self, device: torch.device) -> dict[Place, list[int]]:
        """The replicas whose loss was not finite on some rank, by the first place where it was not; forgets the losses.

        Waits for the device. Collective: every rank calls it after the same batches.
        """
        if not self._kept:
            return {}
        places, losses = zip(*self._kept, strict=True)
        self._kept = []
        bad = ~torch.stack(losses).isfinite()  # (batches, R)
        if ranks() > 1:
            bad = total(bad, device) > 0
        bad = bad.cpu()
        found: dict[Place, list[int]] = defaultdict(list)
        for replica in bad.any(0).nonzero().flatten().tolist():
            found[places[int(bad[:, replica].int().argmax())]].append(replica)
        return dict(found)
