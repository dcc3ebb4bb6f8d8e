"""The cost of training: seconds, samples, memory, operations."""

import platform
import resource
import time
from datetime import UTC, datetime
from math import log2, prod
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


class Cost(Callback):
    """The start time of training, and its seconds and samples (over all ranks), summed over resumed runs."""

    def __init__(self) -> None:
        self.started = datetime.now(UTC).isoformat(timespec="seconds")
        self.samples = 0
        self._earlier = 0.0
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        return self._earlier + (time.perf_counter() - self._since if self._since is not None else 0.0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._since = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.samples += len(batch[0]) * trainer.world_size

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._earlier, self._since = self.seconds, None

    def state_dict(self) -> dict[str, Any]:
        return {"started": self.started, "seconds": self.seconds, "samples": self.samples}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.started, self._earlier, self.samples = state["started"], state["seconds"], state["samples"]


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else platform.machine()}, {torch.get_num_threads()} threads"


def peak_memory_mib(device: torch.device) -> float:
    """Peak memory of the GPU, or of the process on a CPU (resident, including data and libraries)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def _fft_flops(shape: Any, dim: Any, *args: Any, out_shape: Any = None, **kwargs: Any) -> int:
    """5 n log2 n for a complex transform of length n, half of that for a real one: the usual count."""
    length = prod(max(shape[d], out_shape[d]) for d in dim)  # of the real side: the spectrum has n/2 + 1 entries
    transforms = prod(shape) // prod(shape[d] for d in dim)
    return int(2.5 * transforms * length * log2(length)) if length > 1 else 0


@torch.no_grad()
def flops(model: nn.Module, *inputs: Any) -> int:
    """Operations of one inference call (a multiply-add is two; FFTs by the usual count), without collisions."""
    counted = {torch.ops.aten._fft_r2c: _fft_flops, torch.ops.aten._fft_c2r: _fft_flops}
    training = model.training
    model.eval()
    with FlopCounterMode(display=False, custom_mapping=counted) as counter:
        model(*inputs)
    model.train(training)
    return counter.get_total_flops()
