"""Regression on points, of many independent networks at once, each stopped where its validation error is least."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from kiti.models.chain import Chain
from kiti.neurons.similarity import cosine_matrix, mean_cosine, neurons
from kiti.tasks.global_batch import all_rows
from kiti.tasks.regression import Points, Regression


class StoppedRegression(Regression):
    """As `Regression`; what is tested, and kept as the run's weights, is each replica at its best validation.

    The validation set is measured after each epoch; the first of several equal minima counts. Adds for each replica
    `validation/mse`, `validation/step` (the step at which it was stopped), `test/over_constant`, which is its test
    error over the variance of the test targets, the error of the best constant, and `rho/<layer>` of every layer but
    the last: ρ (17), the mean |cos| of two of its neurons, whose vectors are weights and biases. An evaluation of
    finished weights has no validation, so it lacks the first two.
    """

    model: Chain

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        replicas = len(self.of_replica)
        self._validated: list[Float[Tensor, "n R"]] = []
        self._least: Float[Tensor, " R"] = torch.full((replicas,), torch.inf)
        self._step = torch.zeros(replicas, dtype=torch.int64)
        self._best: dict[str, Tensor] = {}  # parameters, by name
        self._truth: list[Float[Tensor, "n R"]] = []

    def on_validation_epoch_start(self) -> None:
        self._validated = []

    def validation_step(self, batch: Points, batch_idx: int) -> None:
        x, y = batch
        self._validated.append((self.model(x) - y).square())

    def on_validation_epoch_end(self) -> None:
        errors = all_rows(torch.cat(self._validated)).mean(0).cpu()
        better = errors < self._least  # false for nan
        self._least = torch.where(better, errors, self._least)
        self._step = torch.where(better, self.global_step, self._step)
        for name, parameter in self.model.named_parameters():
            ours = parameter.detach().clone()
            kept = self._best.get(name, ours).to(ours.device)
            chosen = better.to(ours.device).view(-1, *(1,) * (ours.ndim - 1))
            self._best[name] = torch.where(chosen, ours, kept)
        self.log("val/mse", errors.mean())

    def on_train_end(self) -> None:
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if name in self._best:
                    parameter.copy_(self._best[name])

    def on_test_epoch_start(self) -> None:
        super().on_test_epoch_start()
        self._truth = []

    def test_step(self, batch: Points, batch_idx: int, dataloader_idx: int = 0) -> None:
        super().test_step(batch, batch_idx, dataloader_idx)
        if self.SETS[dataloader_idx] == "test":
            self._truth.append(batch[1])

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        constant = all_rows(torch.cat(self._truth)).var(0, correction=0).tolist()
        layers = list(self.model.layers)[:-1]
        each = [mean_cosine(cosine_matrix(neurons(layer).double())).tolist() for layer in layers]
        for replica, metrics in enumerate(self.of_replica):
            if self._best:
                metrics["validation/mse"] = float(self._least[replica])
                metrics["validation/step"] = float(self._step[replica])
            metrics["test/over_constant"] = metrics["test/mse"] / constant[replica]
            metrics |= {f"rho/layers.{number}": rho[replica] for number, rho in enumerate(each)}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["stopping"] = {"least": self._least, "step": self._step, "best": self._best}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        kept = checkpoint["stopping"]
        self._least, self._step, self._best = kept["least"], kept["step"], dict(kept["best"])
