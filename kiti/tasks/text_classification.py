"""Classification of texts and pairs of texts."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_f1_score

from kiti.tasks.classification import known
from kiti.tasks.global_batch import mean_loss
from kiti.tasks.mean import Mean
from kiti.tasks.task import Task
from kiti.tasks.text_classification_keys import model_inputs

Texts = tuple[Int64[Tensor, "B T"], Int64[Tensor, "B T"], Int64[Tensor, "B T"], Int64[Tensor, "B"]]


class TextMetrics(nn.Module):
    """Accuracy and macro-F1 in percent, and the mean cross-entropy; all are nan if some logits are.

    F1 is the mean over the classes that occur.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.kept: dict[str, Metric] = {
            "accuracy": MulticlassAccuracy(classes, average="micro"),
            "macro_f1": MulticlassF1Score(classes, average="macro"),
            "cross_entropy": Mean(),
        }
        self.on_device = nn.ModuleList(self.kept.values())  # so that they are moved with the module

    def update(self, logits: Float[Tensor, "B classes"], labels: Int64[Tensor, "B"]) -> None:
        self.kept["accuracy"].update(logits, labels)
        self.kept["macro_f1"].update(logits, labels)
        self.kept["cross_entropy"].update(functional.cross_entropy(logits.float(), labels, reduction="none"))

    def compute(self) -> dict[str, Tensor]:
        """Return the values over all ranks and reset them; empty without data."""
        found = {name: metric.compute() for name, metric in self.kept.items() if metric.update_called}
        for metric in self.kept.values():
            metric.reset()
        return known({name: value if name == "cross_entropy" else 100 * value for name, value in found.items()})


class TextClassification(Task):
    """Minimises the cross-entropy of a transformers classifier's logits (B, classes).

    Logs `accuracy` (%), `macro_f1` (%) and `cross_entropy`: under `val/` after each epoch for the set that is tested,
    under `test/` for the final network, and under `train/` for a second dataloader. The papers do not say whether they
    print the last epoch or the best, so the record also has `test/best_accuracy`, `test/best_epoch` (from 1), the
    macro-F1 of that epoch, `test/best_macro_f1`, and `accuracy/test@<epoch>` and `macro_f1/test@<epoch>` for each
    epoch.

    If the data validate on a second set too, as SNLI does, that set chooses the epoch, the first with its best
    accuracy: `test/chosen_accuracy`, `test/chosen_macro_f1`, `test/chosen_epoch`, `validation/chosen_accuracy`, and
    `accuracy/validation@<epoch>`.

    Beside them stand `trivial/<predictor>_accuracy` and `_macro_f1` of the data's `trivial_predictions`.

    Args:
        classes: number of logits.
        label_smoothing: share of the target that is spread evenly over all classes in training.
        task: as for Task.
    """

    SETS = ("test", "train")  # the dataloaders of trainer.test, in this order
    VALIDATED = ("test", "validation")  # those of trainer.validate

    def __init__(self, *args: Any, classes: int, label_smoothing: float = 0.0, **task: Any) -> None:
        super().__init__(*args, **task)
        self.classes = classes
        self.label_smoothing = label_smoothing
        self.measured = {name: TextMetrics(classes) for name in ("val", *self.SETS, "validation")}
        self.on_device = nn.ModuleList(self.measured.values())  # so that Lightning moves them with the model
        self.by_epoch: dict[str, list[dict[str, float]]] = {name: [] for name in self.VALIDATED}

    def inputs(self, batch: Texts) -> tuple[Tensor, ...]:
        return model_inputs(self.model, batch)

    def training_step(self, batch: Texts, batch_idx: int) -> Tensor:
        losses = functional.cross_entropy(
            self._logits(batch), batch[-1], label_smoothing=self.label_smoothing, reduction="none"
        )
        self.train_loss.update(losses.detach())
        return mean_loss(losses.mean(), len(losses))

    def validation_step(self, batch: Texts, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._measure(("val", "validation")[dataloader_idx], batch)

    def test_step(self, batch: Texts, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._measure(self.SETS[dataloader_idx], batch)

    def on_validation_epoch_end(self) -> None:
        for name, where in zip(self.VALIDATED, ("val", "validation"), strict=True):
            if found := self._log_metrics(where):
                self.by_epoch[name].append({what: float(value) for what, value in found.items()})

    def on_test_epoch_end(self) -> None:
        for name in self.SETS:
            self._log_metrics(name)
        self.of_replica[0] |= self._of_epochs()
        self.record_trivial()

    def _of_epochs(self) -> dict[str, float]:
        tested, validated = (self.by_epoch[name] for name in self.VALIDATED)
        found = {
            f"{what}/{name}@{epoch}": values[what]
            for name, epochs in self.by_epoch.items()
            for epoch, values in enumerate(epochs, start=1)
            for what in ("accuracy", "macro_f1")
        }
        for kind, choosing in (("best", tested), ("chosen", validated)):
            if choosing:
                epoch = _first_best(choosing)
                found |= {f"test/{kind}_{what}": tested[epoch][what] for what in ("accuracy", "macro_f1")}
                found[f"test/{kind}_epoch"] = epoch + 1.0
        if validated:
            found["validation/chosen_accuracy"] = validated[_first_best(validated)]["accuracy"]
        return found

    def scores(self, prediction: Tensor, truth: Tensor) -> list[dict[str, float]]:
        """Of predicted classes."""
        accuracy = multiclass_accuracy(prediction, truth, self.classes, "micro")
        macro_f1 = multiclass_f1_score(prediction, truth, self.classes, average="macro")
        return [{"accuracy": 100 * float(accuracy), "macro_f1": 100 * float(macro_f1)}]

    def _logits(self, batch: Texts) -> Float[Tensor, "B classes"]:
        return self.model(*self.inputs(batch)).logits  # type: ignore[no-any-return]

    def _measure(self, name: str, batch: Texts) -> None:
        self.measured[name].update(self._logits(batch), batch[-1])

    def _log_metrics(self, name: str) -> dict[str, Tensor]:
        found = self.measured[name].compute()
        self.log_dict({f"{name}/{what}": value for what, value in found.items()})
        return found

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["by_epoch"] = {name: [dict(each) for each in epochs] for name, epochs in self.by_epoch.items()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self.by_epoch = {name: [dict(each) for each in epochs] for name, epochs in checkpoint["by_epoch"].items()}


def _first_best(epochs: list[dict[str, float]]) -> int:
    return int(np.argmax([values["accuracy"] for values in epochs]))  # that of a nan if there is one
