"""An optimizer step of a language model is the same on one process and on two, in one batch and in micro-batches."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from stream_cases import SGD, Stream, blocks, model, on_ranks, trainer, trainer_of_ranks, weights
from torch import Tensor

from kiti.tasks.language_modelling import LanguageModelling

pytestmark = pytest.mark.slow
RANKS, MICRO = 2, 2


def given() -> tuple[Tensor, Tensor, Tensor]:
    """Eight sequences with unequal numbers of labels; in one micro-batch, rank 1 has none."""
    tokens, labels, positions = blocks(8, 1)
    order = Stream((tokens,), 4).train_dataloader()
    second = [batch[0] for batch in order][1]
    for row in second[2:]:  # rank 1's half of the second global micro-batch
        labels[(tokens == row).all(1)] = -100
    return tokens, labels, positions


def outcome(learner: LanguageModelling, loop: Any) -> dict[str, Any]:
    logged = {name: float(loop.callback_metrics[name]) for name in ("train/loss", "train/grad_norm")}
    return {"weights": weights(learner), "steps": loop.global_step, "unlabelled": learner.unlabelled_batches} | logged


def trained(loop: Any, batch: int) -> dict[str, Any]:
    learner = LanguageModelling(model(), SGD).double()
    loop.fit(learner, Stream(given(), batch))
    return outcome(learner, loop)


def on_two(folder: Path, strategy: str = "ddp") -> None:
    loop = trainer_of_ranks(strategy, precision="64-true", accumulate_grad_batches=MICRO, gradient_clip_val=0.1)
    torch.save(trained(loop, 8 // MICRO), folder / f"{loop.global_rank}.pt")


def test_a_step_is_that_of_one_process(tmp_path: Path) -> None:
    on_ranks(on_two, tmp_path, RANKS)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(RANKS))
    labels = given()[1]
    assert len(set((labels != -100).sum(1).tolist())) > 3
    assert (first["unlabelled"], second["unlabelled"]) == (0, 1)
    clipped = partial(trainer, precision="64-true", gradient_clip_val=0.1)
    whole = trained(clipped(), 8)
    parts = trained(clipped(accumulate_grad_batches=4), 2)
    start = LanguageModelling(model(), SGD).double()
    for other in (parts, first, second):
        assert other["steps"] == whole["steps"] == 1
        assert other["train/loss"] == pytest.approx(whole["train/loss"], rel=1e-6)  # torchmetrics sums in float32
        assert other["train/grad_norm"] == pytest.approx(whole["train/grad_norm"], rel=1e-10)
        for name, weight in whole["weights"].items():
            torch.testing.assert_close(other["weights"][name], weight, rtol=0, atol=1e-12)
    assert whole["train/grad_norm"] > 0.1  # so that clipping counts
    moved = torch.cat([(whole["weights"][name] - p.detach()).flatten() for name, p in start.model.named_parameters()])
    assert float(moved.norm()) == pytest.approx(0.5 * 0.1, rel=1e-4)
