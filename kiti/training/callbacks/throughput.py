"""Tokens per second of a language model in training, and the share of the devices' peak that this is."""

import time
from typing import Any

import torch
from lightning_fabric.utilities.throughput import get_available_flops
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import nn

from kiti.tasks.global_batch import total
from kiti.tasks.language_modelling import LanguageModelling
from kiti.tasks.rank_sums import gathered, part_of

TOKENS_PER_SECOND, MFU = "train/tokens_per_second", "train/mfu"
_COMPUTE = {
    "64-true": torch.float64,
    "32-true": torch.float32,
    "bf16-mixed": torch.bfloat16,
    "16-mixed": torch.float16,
}


class Throughput(Callback):
    """Logs how fast a language model trains, every `log_every_n_steps` steps, for the steps since then.

    - `train/tokens_per_second`: tokens of all ranks, labelled or not; the time of validation is left out.
    - `train/mfu`: "model flops utilisation", where Lightning knows the peak P of the device for the precision:
      tokens per second times `flops_per_token`, divided by P and by the number of ranks. What is computed a second time
      to save memory does not count.

    Other tasks log neither. Both depend on the machine's clock, so the curves of records leave them out.
    """

    def __init__(self) -> None:
        self.tokens = 0  # of this rank, over resumed runs
        self._recent = 0  # of this rank, since they were logged
        self._since = self._paused = 0.0
        self._logged_at = 0
        self._peak: int | None = None
        self._trainer: Trainer | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._trainer = trainer

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._logged_at, self._since, self._recent = trainer.global_step, time.perf_counter(), 0
        if isinstance(pl_module, LanguageModelling):
            self._peak = get_available_flops(trainer.strategy.root_device, _COMPUTE[str(trainer.precision)])

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._paused = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._since += time.perf_counter() - self._paused

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not isinstance(pl_module, LanguageModelling):
            return
        self.tokens += batch[0].numel()
        self._recent += batch[0].numel()
        step, every = trainer.global_step, trainer.log_every_n_steps  # type: ignore[attr-defined]  # set in a connector
        if step % every or step == self._logged_at:  # the latter where gradients are only gathered
            return
        rate = float(total(self._recent, pl_module.device)) / (time.perf_counter() - self._since)
        logged = {TOKENS_PER_SECOND: rate}
        if self._peak is not None:
            of_token = flops_per_token(pl_module.model, batch[0].shape[1])
            logged[MFU] = rate * of_token / (self._peak * trainer.world_size)
        for logger in trainer.loggers:  # `pl_module.log` is heeded in other steps
            logger.log_metrics(logged, step=step)
        self._logged_at, self._since, self._recent = step, time.perf_counter(), 0

    def all_tokens(self) -> int:
        """The tokens of all ranks over the whole training; 0 if the task has none. Collective."""
        if self._trainer is None or self._trainer.world_size == 1:
            return self.tokens
        return int(total(self.tokens, self._trainer.strategy.root_device))

    def state_dict(self) -> dict[str, Any]:
        return {"tokens": gathered(self._trainer, torch.tensor(self.tokens))}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.tokens = int(part_of(self._trainer, state["tokens"]))


def flops_per_token(model: nn.Module, context: int) -> int:
    """Operations of one token's forward and backward pass, 6 N + 12 L d T: the usual count.

    N parameters without embeddings of positions, tied ones once; L layers of width d; T tokens of context.
    """
    parameters = sum(p.numel() for name, p in model.named_parameters() if not name.endswith("wpe.weight"))
    config: Any = model.config
    return 6 * parameters + 12 * config.num_hidden_layers * config.hidden_size * context
