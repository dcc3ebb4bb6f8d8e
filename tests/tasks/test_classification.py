"""Classification: exact accuracies and a curve over epochs, the same after resuming."""

import math
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from fake_images import N_TEST, N_TRAIN, fake_fashion_mnist
from torch import nn

from kiti.data.fashion_mnist import FashionMNISTData
from kiti.tasks.classification import Accuracy, Classification


def test_accuracies_are_computed_over_all_samples() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(50, 12), torch.randint(12, (50,))
    measured = Accuracy()
    for part in torch.arange(50).split(16):  # the last batch is smaller
        measured.update(logits[part], labels[part])
    found = measured.compute()
    order = logits.argsort(dim=1, descending=True)
    assert float(found["accuracy"]) == pytest.approx(100 * float((order[:, 0] == labels).float().mean()))
    assert float(found["top5"]) == pytest.approx(100 * float((order[:, :5] == labels[:, None]).any(1).float().mean()))
    assert float(found["cross_entropy"]) == pytest.approx(float(nn.functional.cross_entropy(logits, labels)))
    assert measured.compute() == {}


def learner(**task: float) -> Classification:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10))
    return Classification(model, lambda parameters: torch.optim.SGD(parameters, lr=0.02), **task)


def trainer(epochs: int, **other: object) -> pl.Trainer:
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return pl.Trainer(accelerator="cpu", max_epochs=epochs, num_sanity_val_steps=0, **(quiet | other))


def test_every_epochs_accuracy_is_recorded_with_best_and_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_fashion_mnist(tmp_path, monkeypatch)
    data = FashionMNISTData(10, N_TRAIN, N_TEST, 8, augment=True, data_dir=str(tmp_path), seed=0)
    task, fitting = learner(), trainer(6)
    fitting.fit(task, data)
    fitting.test(task, [data.test_dataloader(), data.train_eval_dataloader()], verbose=False)
    curve = [task.of_replica[0][f"accuracy/test@{epoch}"] for epoch in range(1, 7)]
    assert curve == task.accuracy_by_epoch
    assert curve[-1] == float(fitting.logged_metrics["test/accuracy"])
    assert task.of_replica[0]["test/best_accuracy"] == max(curve)
    assert curve[int(task.of_replica[0]["test/best_epoch"]) - 1] == max(curve)
    with torch.no_grad():
        images, labels = next(iter(data.test_dataloader()))
        predicted = task.model(images).argmax(1)
    assert curve[-1] == pytest.approx(100 * float((predicted == labels).float().mean()))
    assert {"train/accuracy", "test/top5", "test/cross_entropy"} <= set(fitting.logged_metrics)


def test_the_curve_survives_a_checkpoint() -> None:
    first, second = learner(), learner()
    first.accuracy_by_epoch = [10.0, 12.5]
    checkpoint: dict[str, object] = {}
    first.on_save_checkpoint(checkpoint)
    second.on_load_checkpoint(checkpoint)
    assert second.accuracy_by_epoch == [10.0, 12.5]


def test_label_smoothing_matches_torch() -> None:
    images, labels = torch.randn(4, 3, 32, 32), torch.arange(4)
    for smoothing in (0.0, 0.3):
        task = learner(label_smoothing=smoothing)
        expected = nn.functional.cross_entropy(task.model(images), labels, label_smoothing=smoothing)
        assert torch.allclose(task.training_step((images, labels), 0), expected)
    assert not math.isclose(float(learner().training_step((images, labels), 0)), float(expected))


def test_predictors_without_a_network_are_measured_like_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_fashion_mnist(tmp_path, monkeypatch)
    data = FashionMNISTData(10, N_TRAIN, N_TEST, 8, augment=True, data_dir=str(tmp_path), seed=0)
    task, fitting = learner(), trainer(1)
    fitting.fit(task, data)
    fitting.test(task, [data.test_dataloader(), data.train_eval_dataloader()], verbose=False)
    for name, (logits, labels) in data.trivial_predictions().items():
        measured = Accuracy()
        measured.update(logits, labels)
        for metric, value in measured.compute().items():
            assert task.of_replica[0][f"trivial/{name}_{metric}"] == pytest.approx(float(value))
    (_, known), (_, labels), _ = data.load()
    majority = 100 * float((labels == known.bincount().argmax()).float().mean())
    assert task.of_replica[0]["trivial/majority_accuracy"] == pytest.approx(majority)
    assert data.counts == {"logistic_regression_rows": N_TRAIN}
