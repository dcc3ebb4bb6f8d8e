"""Tokens per second and the share of the peak are logged; curves leave them out; other tasks have neither."""

import time
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.loggers import Logger
from stream_cases import SGD, SIZES, Stream, T, blocks, model, trainer
from torch.utils.data import DataLoader, TensorDataset

from kiti.tasks.language_modelling import LanguageModelling
from kiti.tasks.regression import Regression
from kiti.training.callbacks import throughput
from kiti.training.callbacks.curves import Curves
from kiti.training.callbacks.throughput import MFU, TOKENS_PER_SECOND, Throughput, flops_per_token

PEAK = 10**12


class Kept(Logger):
    """(step, value) by metric."""

    name, version = "kept", 0

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, list[tuple[int, float]]] = {}

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        for name, value in metrics.items():
            self.found.setdefault(name, []).append((step, value))

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        pass


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands still."""
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


def fit(clock: list[float], task: Any = None, **how: Any) -> tuple[Throughput, Kept, Curves]:
    """Each micro-batch of two sequences takes half a second, the validation after each epoch a hundred."""
    kept, curves, watched = Kept(), Curves(), Throughput()
    learner = task or LanguageModelling(model(), SGD)
    step, validate = learner.training_step, learner.on_validation_epoch_end

    def training_step(*arguments: Any) -> Any:
        clock[0] += 0.5
        return step(*arguments)

    def on_validation_epoch_end() -> None:
        clock[0] += 100
        validate()

    learner.training_step, learner.on_validation_epoch_end = training_step, on_validation_epoch_end
    loop = trainer(logger=[kept, curves.logger], callbacks=[watched, curves], log_every_n_steps=4, **how)
    loop.fit(learner, Stream(blocks(12, 1), 2))
    return watched, kept, curves


def test_tokens_per_second_are_logged_every_few_steps_without_validation(clock: list[float]) -> None:
    watched, kept, curves = fit(clock, max_epochs=2)
    assert kept.found[TOKENS_PER_SECOND] == [(4, 2 * T / 0.5), (8, 2 * T / 0.5), (12, 2 * T / 0.5)]
    assert watched.all_tokens() == 2 * 12 * T
    assert MFU not in kept.found  # nobody knows this processor's peak
    assert "train/loss" in curves.curves()
    assert TOKENS_PER_SECOND not in curves.curves()


def test_gathered_gradients_count_once(clock: list[float]) -> None:
    _, kept, _ = fit(clock, max_epochs=4, accumulate_grad_batches=3)
    assert kept.found[TOKENS_PER_SECOND] == [(4, 2 * T / 0.5), (8, 2 * T / 0.5)]


def test_the_share_of_a_known_peak_is_logged(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(throughput, "get_available_flops", lambda device, dtype: asked.append(dtype) or PEAK)
    _, kept, curves = fit(clock, precision="bf16-mixed")
    assert asked == [torch.bfloat16]
    assert kept.found[MFU] == [(4, pytest.approx(2 * T / 0.5 * flops_per_token(model(), T) / PEAK))]
    assert MFU not in curves.curves()


@pytest.mark.parametrize("family", ["gpt2", "qwen2"])
def test_the_usual_count_of_operations(family: str) -> None:
    built = model(family)
    counted = sum(parameter.numel() for parameter in built.parameters())  # tied ones once
    if family == "gpt2":
        counted -= SIZES["positions"] * SIZES["width"]
    assert flops_per_token(built, 5) == 6 * counted + 12 * SIZES["layers"] * SIZES["width"] * 5


def test_a_resumed_run_continues_to_count(tmp_path: Path, clock: list[float]) -> None:
    first, _, _ = fit(clock)
    second = Throughput()
    second.load_state_dict(first.state_dict())
    assert second.tokens == first.tokens == 12 * T


def _columns(rows: Any) -> Any:
    return tuple(torch.stack(column) for column in zip(*rows, strict=True))


def test_other_tasks_have_none(clock: list[float]) -> None:
    pairs = TensorDataset(torch.randn(16, 4), torch.randn(16, 3))
    watched, kept = Throughput(), Kept()
    loop = trainer(logger=kept, callbacks=[watched], log_every_n_steps=1)
    loop.fit(Regression(torch.nn.Linear(4, 3), SGD), DataLoader(pairs, batch_size=2, collate_fn=_columns))
    assert loop.global_step == 8
    assert watched.all_tokens() == 0
    assert TOKENS_PER_SECOND not in kept.found
