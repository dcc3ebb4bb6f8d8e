"""One training step on the meta device, without data: its parameters, operations and peak memory."""

import json
from collections.abc import Callable
from typing import Any

import torch
from hydra.utils import instantiate
from torch import Tensor, nn

from kiti.configuration.compose import Composed
from kiti.planning.costs import Step
from kiti.planning.kept_by_residuals import stand_in
from kiti.planning.kinds import kind_of, sample_of
from kiti.planning.meta_model import meta_model
from kiti.planning.meta_operations import MetaOperations, bytes_of
from kiti.units.keys import TaskKeys
from kiti.units.sample_shapes import Sample

_DTYPES = {"64-true": torch.float64, "16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}
"""Of activations; float32 with other precisions."""
_FEW = 3


class Steps:
    """Takes one step for each kind of configuration; what configurations have in common is done once."""

    def __init__(self, devices: int = 1) -> None:
        self.devices = devices
        self._steps: dict[str, Step] = {}
        self._evaluated: dict[str, tuple[int, int]] = {}
        self._optimized: dict[Any, tuple[int, int]] = {}

    def of(self, composed: Composed) -> Step:
        """The step of a configuration whose data declare their samples.

        Raises ConfigError if the model has no place for the residual.
        """
        kind = kind_of(composed)
        if kind.step not in self._steps:
            self._steps[kind.step] = self._step(composed, kind.network)
        return self._steps[kind.step]

    def _step(self, composed: Composed, network: str) -> Step:
        config = composed.checked
        batch_size = config.data.batch_size // self.devices
        precision = config.trainer.precision  # type: ignore[attr-defined]
        dtype = _DTYPES.get(precision, torch.float32)
        held = torch.float32 if precision.endswith("mixed") else dtype
        model = meta_model(composed)
        shapes = [parameter.shape for parameter in model.parameters()]
        if dtype != torch.float32:
            model.to(dtype)
        stand_in(model)
        sample = sample_of(composed, training=True)
        model.train()

        def train(sample: Sample) -> tuple[int, int]:
            with MetaOperations() as step:
                given = _batch(sample, batch_size, dtype)
                config.task.outputs(model, given).square().sum().backward()
            model.zero_grad()
            return step.flops, step.peak

        step_flops, between = _of_all_frames(config.task, sample, train)
        if network not in self._evaluated:  # where every residual is x + dt v
            self._evaluated[network] = _evaluations(composed, model, dtype)
        test_flops, train_eval_flops = self._evaluated[network]

        number = sum(shape.numel() for shape in shapes)
        size = number * held.itemsize
        each = [self._optimizer(composed, shape, held) for shape in shapes]
        state, updating = sum(kept for kept, _ in each), max(more for _, more in each)
        resident = size + state + bytes_of(model.buffers())
        if "averaging" in config.units():
            resident += size
        if held != dtype:  # parameters are cast down for the step, and gradients up
            between += size
        if config.trainer.accumulate_grad_batches > 1:  # type: ignore[attr-defined]
            between += size
        return Step(
            parameters=number,
            training_flops=step_flops / batch_size,
            test_flops=test_flops,
            train_eval_flops=train_eval_flops,
            peak_bytes=resident + max(between, size + updating),
        )

    def _optimizer(self, composed: Composed, shape: torch.Size, dtype: torch.dtype) -> tuple[int, int]:
        kind = (json.dumps(composed.config["optimizer"], sort_keys=True), shape, dtype)
        if kind not in self._optimized:
            self._optimized[kind] = optimizer_bytes(composed, shape, dtype)
        return self._optimized[kind]


def optimizer_bytes(composed: Composed, shape: torch.Size, dtype: torch.dtype) -> tuple[int, int]:
    """Bytes that the optimizer keeps for one parameter, and those that its step needs at most on top."""
    parameter = nn.Parameter(torch.empty(shape, dtype=dtype, device="meta"))
    # There is no fused step on the meta device.
    unfused = {"fused": False} if "fused" in composed.node.optimizer else {}
    optimizer = instantiate(composed.node.optimizer, _convert_="all", **unfused)([parameter])
    parameter.grad = torch.empty_like(parameter)
    with MetaOperations() as first:
        optimizer.step()
    return first.alive, first.peak - first.alive


def _evaluations(composed: Composed, model: nn.Module, dtype: torch.dtype) -> tuple[int, int]:
    """Operations for one sample of the test set, and for one of the training set."""
    task = composed.checked.task
    model.eval()

    def evaluate(sample: Sample) -> tuple[int, int]:
        with MetaOperations() as evaluation, torch.no_grad():
            task.outputs(model, _batch(sample, 1, dtype))
        return evaluation.flops, evaluation.peak

    by_sample: dict[Sample, int] = {}
    for training in (False, True):
        sample = sample_of(composed, training)
        if sample not in by_sample:
            by_sample[sample], _ = _of_all_frames(task, sample, evaluate)
    return by_sample[sample_of(composed, training=False)], by_sample[sample_of(composed, training=True)]


def _of_all_frames(task: TaskKeys, sample: Sample, cost: Callable[[Sample], tuple[int, int]]) -> tuple[int, int]:
    """`cost` of a sample: operations and memory. From the second frame on each costs the same, so a few are enough."""
    frames = task.frames(sample)
    if frames <= _FEW + 1:
        return cost(sample)
    few, more = (cost(task.of_frames(sample, number)) for number in (_FEW, _FEW + 1))
    flops, peak = (a + (frames - _FEW) * (b - a) for a, b in zip(few, more, strict=True))
    return flops, peak


def _batch(sample: Sample, size: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
    def kind(name: str) -> torch.dtype:
        return dtype if name == "float32" else getattr(torch, name)  # type: ignore[no-any-return]

    return tuple(torch.empty((size, *entry.shape), dtype=kind(entry.dtype), device="meta") for entry in sample)
