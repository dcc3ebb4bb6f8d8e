"""Next-token prediction."""

import math
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torchmetrics import SumMetric

from kiti.data.data_module import Data
from kiti.data.language.blocks import UNLABELLED
from kiti.ko.sharding import clip, total_norm, with_gradients
from kiti.models.sharded_blocks import shard
from kiti.seams.lightning_callback import is_skipped
from kiti.storage.divergence import Divergence
from kiti.tasks.global_batch import ranks, total
from kiti.tasks.rank_sums import gathered, part_of
from kiti.tasks.task import Task

Blocks = tuple[Int64[Tensor, "B T"], Int64[Tensor, "B T"], Int64[Tensor, "B T"]]


def own_document(positions: Int64[Tensor, "B T"]) -> Bool[Tensor, "B 1 T T"]:
    """Which tokens a token sees: itself and the earlier ones of its document; positions restart with each."""
    document = (positions == 0).cumsum(-1)
    same = document[:, :, None] == document[:, None, :]
    return same.tril()[:, None]


class Sums(nn.Module):
    """Sums over all ranks: of the losses in nats, and of the labelled tokens."""

    def __init__(self) -> None:
        super().__init__()
        # By default a SumMetric leaves out nan.
        self.nats, self.tokens = (SumMetric(nan_strategy="disable").set_dtype(torch.float64) for _ in range(2))

    def update(self, losses: Float[Tensor, ""], tokens: Int64[Tensor, ""]) -> None:
        self.nats.update(losses)
        self.tokens.update(tokens)

    def compute(self) -> tuple[float, int] | None:
        """Return both and reset them; None without data."""
        if not self.nats.update_called:
            return None
        found = float(self.nats.compute()), int(self.tokens.compute())
        self.nats.reset()
        self.tokens.reset()
        return found


class LanguageModelling(Task):
    """Minimises the cross-entropy of the next token, for transformers' language models.

    The loss of an optimizer step is the sum over its labelled tokens, in all micro-batches and ranks, divided by their
    number:

        L = Σ_t -log p(label_t) / n,  n labelled tokens of the step

    A label may be any token, the end of a document and padding's number too; unlabelled places hold -100. A batch
    without labels adds nothing and is counted in `train/unlabelled_batches`. A step without any is left out.

    Logs `loss` in nats per token, `perplexity` and `bits_per_byte` under `val/` for the validation documents, under
    `test/` for the final network and the set that is tested, and `loss` and `perplexity` under `train/` for a second
    dataloader. During training `train/grad_norm` is the norm of the gradient after collisions, before clipping. The
    record also has `trivial/<predictor>_loss` and `_bits_per_byte` of the data's `trivial_losses`, `val/loss@<step>` of
    each validation and `train/tokens_per_step`.

    If the norm is not finite the run has diverged, as for any task if the loss is not, and the step changes nothing.
    With precision=16-mixed such a step is skipped, which is how its scaler finds the scale.

    Args:
        documents: "isolated": a token sees only its own document; "joined": all earlier tokens of the block.
        task: as for Task.
    """

    SETS = ("test", "train")  # the dataloaders of trainer.test, in this order

    def __init__(self, *args: Any, documents: str = "joined", **task: Any) -> None:
        super().__init__(*args, **task)
        self.documents = documents
        self.measured = {name: Sums() for name in ("val", *self.SETS)}
        self.on_device = nn.ModuleList(self.measured.values())  # so that Lightning moves them with the model
        self.unlabelled_batches = 0
        self.by_step: dict[int, float] = {}
        """The loss of each validation, by the optimizer's steps before it."""
        self._labelled = 0  # on this rank, in the micro-batches of this step
        self._unit = 1  # tokens of a full micro-batch on one rank

    def configure_model(self) -> None:
        """Shard the model if the trainer's strategy is that of FSDP2, which gives this task its ranks."""
        if self._device_mesh is not None:
            compute = torch.bfloat16 if self.trainer.precision == "bf16-mixed" else None
            shard(self.model, self._device_mesh["data_parallel"], compute)

    def call(self, batch: Blocks) -> Any:
        tokens, _, positions = batch
        if self.documents == "joined":
            return self.model(input_ids=tokens, use_cache=False)
        # Given explicitly: transformers finds documents by their positions only without a mask and without a cache.
        seen: Tensor = own_document(positions)
        if self.model.config._attn_implementation == "eager":  # type: ignore[union-attr]  # which adds the mask to its scores
            dtype = torch.get_autocast_dtype(tokens.device.type) if torch.is_autocast_enabled() else self.model.dtype
            lowest = torch.finfo(dtype).min  # type: ignore[arg-type]
            seen = torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, lowest)  # type: ignore[arg-type]
        return self.model(input_ids=tokens, attention_mask=seen, position_ids=positions, use_cache=False)

    def _summed(self, batch: Blocks) -> tuple[Float[Tensor, ""], Int64[Tensor, ""]]:
        """The sum of the losses in nats, and the number of labelled tokens."""
        labels = batch[1]
        logits = self.call(batch).logits
        losses = functional.cross_entropy(
            logits.flatten(0, 1).float(), labels.flatten(), ignore_index=UNLABELLED, reduction="sum"
        )
        return losses, (labels != UNLABELLED).sum()

    def training_step(self, batch: Blocks, batch_idx: int) -> Tensor:
        summed, labelled = self._summed(batch)
        number = int(labelled)
        self._labelled += number
        self.unlabelled_batches += number == 0
        if number:
            self.train_loss.update(summed.detach() / number, number)
        trainer: Any = self.trainer
        self._unit = trainer.datamodule.batch_size // ranks() * batch[0].shape[1]
        return summed / self._unit

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        is_skipped(self._trainer, optimizer)  # which lets a scaler see the gradients that a step without labels drops
        self._average_over_tokens(optimizer)
        super().on_before_optimizer_step(optimizer)

    def _average_over_tokens(self, optimizer: Optimizer) -> None:
        """Turn gradients of sums, divided by constants, into those of the mean over the step's labelled tokens.

        Lightning has divided by the number of micro-batches of a full step, DDP and FSDP by that of ranks, and
        `training_step` by the tokens of a full micro-batch.
        """
        labelled = int(total(self._labelled, self.device))
        self._labelled = 0
        trainer: Any = self.trainer
        gradients = [p.grad for p in with_gradients(optimizer)]
        if not labelled:  # a gradient of zero would still decay weights and move them by their momentum
            optimizer.zero_grad(set_to_none=True)
            return
        factor = self._unit * ranks() * trainer.accumulate_grad_batches / labelled
        if factor != 1 and gradients:
            torch._foreach_mul_(gradients, factor)

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        parameters = with_gradients(optimizer)
        if not parameters or is_skipped(self._trainer, optimizer):
            return
        norm = total_norm(p.grad for p in parameters)
        self.log("train/grad_norm", norm)
        if not norm.isfinite():
            self._read_losses()  # of earlier batches of the step
            self.diverge("the gradient's norm", self._place, [0])
            optimizer.zero_grad(set_to_none=True)
        elif gradient_clip_val is not None:
            clip(optimizer, gradient_clip_val, norm)

    def outlives(self, metric: str, divergence: Divergence) -> bool:
        """Also what was counted. Metrics `…@<n>` are those after n steps."""
        _, _, step = metric.rpartition("@")
        counted = metric in ("train/tokens_per_step", "train/unlabelled_batches")
        return counted or metric.startswith("trivial/") or (step.isdigit() and int(step) <= divergence.step)

    def validation_step(self, batch: Blocks, batch_idx: int) -> None:
        self.measured["val"].update(*self._summed(batch))

    def test_step(self, batch: Blocks, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.measured[self.SETS[dataloader_idx]].update(*self._summed(batch))

    def on_validation_epoch_end(self) -> None:
        loss = self._log_metrics("val")
        if loss is not None and self.trainer.state.fn == "fit" and not self.trainer.sanity_checking:
            self.by_step[self.global_step] = loss

    def on_test_epoch_end(self) -> None:
        for name in self.SETS:
            self._log_metrics(name)
        self.of_replica[0] |= {f"val/loss@{step}": loss for step, loss in sorted(self.by_step.items())}
        trainer: Any = self.trainer
        if trainer.datamodule is not None:
            tokens = trainer.datamodule.batch_size * trainer.datamodule.context * trainer.accumulate_grad_batches
            self.of_replica[0]["train/tokens_per_step"] = float(tokens)
        self.of_replica[0]["train/unlabelled_batches"] = float(total(self.unlabelled_batches, self.device))
        self.record_trivial()

    def _log_metrics(self, name: str) -> float | None:
        if (found := self.measured[name].compute()) is None:
            return None
        nats, tokens = found
        loss = math.nan if self.diverged else nats / tokens
        self.log(f"{name}/loss", loss)
        self.log(f"{name}/perplexity", math.exp(min(loss, 700.0)))
        if name != "train" and (data := self._data()) is not None:
            self.log(f"{name}/bits_per_byte", loss * tokens / math.log(2) / _bytes(data, name))
        return loss

    def trivial(self, data: Data) -> list[dict[str, float]]:
        found: dict[str, float] = {}
        for name, nats in data.trivial_losses().items():  # type: ignore[attr-defined]
            found[f"trivial/{name}_loss"] = float(nats.mean())
            found[f"trivial/{name}_bits_per_byte"] = float(nats.sum()) / math.log(2) / _bytes(data, "test")
        return [found]

    def _data(self) -> Data | None:
        trainer: Any = self.trainer
        return trainer.datamodule  # type: ignore[no-any-return]  # None if it was given dataloaders

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["by_step"] = dict(self.by_step)
        own = torch.tensor(self.unlabelled_batches)
        checkpoint["unlabelled_batches"] = gathered(self._trainer, own)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self.by_step = dict(checkpoint["by_step"])
        self.unlabelled_batches = int(part_of(self._trainer, checkpoint["unlabelled_batches"]))


def _bytes(data: Any, name: str) -> int:
    """Bytes of the text behind the labels of a set."""
    return data.bytes_of("validation" if name == "val" else data.test_on)  # type: ignore[no-any-return]
