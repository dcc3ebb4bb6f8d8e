"""Classification of texts: exact metrics, every epoch recorded, the epoch chosen on validation data, resuming."""

from collections.abc import Callable, Iterator

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor
from transformers import PreTrainedModel

from kiti.data.data_module import Data
from kiti.data.loading import EvaluationLoader, ResumableLoader, evaluation_loader, training_loader
from kiti.models.text_classifier import build_text_classifier
from kiti.tasks.schedules import warmup_linear
from kiti.tasks.text_classification import TextClassification, TextMetrics
from kiti.tasks.text_classification_keys import model_inputs

SIZES = {"vocab_size": 40, "width": 16, "layers": 1, "heads": 2, "ffn": 16, "positions": 16}


def texts(number: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Tokens whose second one tells the class, of three."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (number,), generator=draw)
    tokens = torch.randint(10, 40, (number, 8), generator=draw)
    tokens[:, 0], tokens[:, 1] = 2, 5 + labels
    lengths = torch.randint(3, 9, (number, 1), generator=draw)
    mask = (torch.arange(8) < lengths).long()
    return tokens * mask, mask, torch.zeros_like(tokens), labels


class Sentences(Data):
    """In memory; with a second set to validate on, or without."""

    def __init__(self, second: bool) -> None:
        super().__init__(batch_size=8, eval_batch_size=16, seed=0)
        self.second = second

    @property
    def fingerprint(self) -> dict[str, object]:
        return {"content": "0", "split": {"train": 40, "test": 30}}

    def train_dataloader(self) -> ResumableLoader:
        return training_loader(texts(40, 0), 8, seed=0, trainer=self.trainer)

    def test_dataloader(self) -> EvaluationLoader:
        return evaluation_loader(texts(30, 1), 16)

    def train_eval_dataloader(self) -> EvaluationLoader:
        return evaluation_loader(texts(40, 0), 16)

    def val_dataloader(self) -> EvaluationLoader | list[EvaluationLoader]:
        test = self.test_dataloader()
        return [test, evaluation_loader(texts(20, 2), 16)] if self.second else test


def model(family: str = "bert") -> PreTrainedModel:
    torch.manual_seed(0)
    return build_text_classifier(family, 3, **SIZES)


def learner(**task: object) -> TextClassification:
    return TextClassification(model(), lambda parameters: torch.optim.Adam(parameters, lr=2e-2), classes=3, **task)


def fitted(second: bool, epochs: int = 4) -> tuple[TextClassification, Sentences, pl.Trainer]:
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    task, data = learner(), Sentences(second)
    trainer = pl.Trainer(accelerator="cpu", max_epochs=epochs, num_sanity_val_steps=0, **quiet)
    trainer.fit(task, data)
    trainer.test(task, [data.test_dataloader(), data.train_eval_dataloader()], verbose=False)
    return task, data, trainer


def counted_f1(predicted: Tensor, labels: Tensor, classes: int) -> float:
    scores = []
    for each in range(classes):
        hits = float(((predicted == each) & (labels == each)).sum())
        claimed, there = float((predicted == each).sum()), float((labels == each).sum())
        if claimed + there:
            scores.append(2 * hits / (claimed + there))
    return sum(scores) / len(scores)


@pytest.mark.parametrize("classes", [2, 5])
def test_metrics_are_computed_over_all_items(classes: int) -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(50, classes), torch.randint(classes, (50,))
    measured = TextMetrics(classes)
    for part in torch.arange(50).split(16):  # the last batch is smaller
        measured.update(logits[part], labels[part])
    found = measured.compute()
    predicted = logits.argmax(1)
    assert float(found["accuracy"]) == pytest.approx(100 * float((predicted == labels).float().mean()))
    assert float(found["macro_f1"]) == pytest.approx(100 * counted_f1(predicted, labels, classes))
    assert float(found["cross_entropy"]) == pytest.approx(float(torch.nn.functional.cross_entropy(logits, labels)))
    assert measured.compute() == {}


def test_best_and_last_epoch_are_recorded() -> None:
    task, _, trainer = fitted(second=False)
    found = task.of_replica[0]
    curve = [found[f"accuracy/test@{epoch}"] for epoch in range(1, 5)]
    assert max(curve) > 60 > curve[0]  # it learns
    assert found["test/best_accuracy"] == max(curve)
    best = curve.index(max(curve)) + 1
    assert found["test/best_epoch"] == best
    assert found["test/best_macro_f1"] == found[f"macro_f1/test@{best}"]
    assert curve[-1] == float(trainer.logged_metrics["test/accuracy"])
    assert {"test/macro_f1", "test/cross_entropy", "train/accuracy"} <= set(trainer.logged_metrics)
    assert not [name for name in found if "chosen" in name or "validation" in name]
    with torch.no_grad():
        tokens, mask, segments, labels = texts(30, 1)
        predicted = task.model.eval()(tokens, mask, segments).logits.argmax(1)
    assert curve[-1] == pytest.approx(100 * float((predicted == labels).float().mean()))


def test_validation_data_choose_the_epoch_and_the_best_test_epoch_is_beside() -> None:
    found = fitted(second=True)[0].of_replica[0]
    validated = [found[f"accuracy/validation@{epoch}"] for epoch in range(1, 5)]
    chosen = validated.index(max(validated)) + 1
    assert found["test/chosen_epoch"] == chosen
    assert found["test/chosen_accuracy"] == found[f"accuracy/test@{chosen}"]
    assert found["test/chosen_macro_f1"] == found[f"macro_f1/test@{chosen}"]
    assert found["validation/chosen_accuracy"] == max(validated)
    assert found["test/best_accuracy"] == max(found[f"accuracy/test@{epoch}"] for epoch in range(1, 5))


def test_the_choice_is_the_validation_sets() -> None:
    """Where the two sets disagree: the test set is best at epoch 1, the validation set at epochs 2 and 3."""
    task = learner()
    task.by_epoch = {
        "test": [{"accuracy": each, "macro_f1": each + 1} for each in (90.0, 80.0, 85.0)],
        "validation": [{"accuracy": each, "macro_f1": each} for each in (50.0, 70.0, 70.0)],
    }
    found = task._of_epochs()
    assert (found["test/best_accuracy"], found["test/best_epoch"], found["test/best_macro_f1"]) == (90.0, 1.0, 91.0)
    assert (found["test/chosen_accuracy"], found["test/chosen_epoch"]) == (80.0, 2.0)
    assert found["validation/chosen_accuracy"] == 70.0


def test_the_epochs_survive_a_checkpoint() -> None:
    first, second = learner(), learner()
    first.by_epoch = {"test": [{"accuracy": 1.0}], "validation": [{"accuracy": 2.0}]}
    checkpoint: dict[str, object] = {}
    first.on_save_checkpoint(checkpoint)
    second.on_load_checkpoint(checkpoint)
    assert second.by_epoch == first.by_epoch


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_loss_is_transformers_own(smoothing: float) -> None:
    task, batch = learner(label_smoothing=smoothing), texts(6, 0)
    task.model.eval()
    logits = task.model(*batch[:3], labels=batch[3])
    expected = torch.nn.functional.cross_entropy(logits.logits, batch[3], label_smoothing=smoothing)
    assert torch.allclose(task.training_step(batch, 0), expected)
    if not smoothing:
        assert torch.allclose(logits.loss, expected)


@pytest.mark.parametrize(("family", "number"), [("bert", 3), ("distilbert", 2)])
def test_segments_go_only_to_models_that_have_them(family: str, number: int) -> None:
    assert len(model_inputs(model(family), texts(4, 0))) == number


def rates(schedule: Callable[..., object], steps: int) -> Iterator[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    made = schedule(optimizer, steps)
    for _ in range(steps):
        yield optimizer.param_groups[0]["lr"]
        optimizer.step()
        made.step()


def test_the_linear_schedule_ends_at_zero() -> None:
    falling = list(rates(lambda *given: warmup_linear(*given, warmup_share=0.0), 4))
    assert falling == pytest.approx([2.0, 1.5, 1.0, 0.5])
    warmed = list(rates(lambda *given: warmup_linear(*given, warmup_share=0.5), 8))
    assert warmed == pytest.approx([0.0, 0.5, 1.0, 1.5, 2.0, 1.5, 1.0, 0.5])
