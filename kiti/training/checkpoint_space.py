"""Whether a run's checkpoints and weights fit on the disk, asked before it trains."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from kiti.configuration.explain import ConfigError
from kiti.models.tied_weights import stored_once
from kiti.tasks.task import Task
from kiti.training.checkpoint_files import LAST, PREVIOUS


def require_space(task: Task, run_dir: Path, keep: int, averaged: bool = False) -> None:
    """ConfigError unless `run_dir` has space for all that a run ever holds there at a time.

    These are `keep` checkpoints and the one being written, each of the weights, the optimizer's state and, if weights
    are `averaged`, their average; and at the end the weights once more. Checkpoints that are there count as free: they
    are replaced. `task` has its whole model, not yet sharded.
    """
    weights = sum(tensor.numel() * tensor.element_size() for tensor in stored_once(task.model).values())
    checkpoint = int(weights * (1 + averaged + moments_of(task.make_optimizer)))
    needed = (keep + 1) * checkpoint + weights
    files = {os.stat(path).st_ino: os.stat(path).st_size for path in _checkpoints(run_dir)}
    free = shutil.disk_usage(run_dir).free + sum(files.values())
    if free < needed:
        less = "callbacks.checkpointing.keep=1 or " if keep > 1 else ""
        raise ConfigError(
            f"{run_dir}: {_gb(needed)} are needed for {keep + 1} checkpoints of {_gb(checkpoint)} and the weights, "
            f"{_gb(free)} are free; give {less}runs_dir=<a folder on a larger disk>"
        )


def moments_of(make_optimizer: Callable[..., Optimizer]) -> float:
    """How many numbers the optimizer keeps for each number of a parameter: Adam 2, SGD with momentum 1, without 0."""
    parameter = nn.Parameter(torch.zeros(4, 4))
    parameter.grad = torch.zeros(4, 4)
    optimizer = make_optimizer([{"params": [parameter]}])
    optimizer.step()
    kept: list[Any] = list(optimizer.state[parameter].values())
    return sum(value.numel() for value in kept if isinstance(value, Tensor) and value.ndim) / parameter.numel()


def _checkpoints(run_dir: Path) -> list[Path]:
    return [path for path in (run_dir / LAST, run_dir / PREVIOUS) if path.exists()]


def _gb(size: int) -> str:
    return f"{size / 1e9:.3g} GB"
