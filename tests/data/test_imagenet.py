"""The ImageNet recipes on a generated set: from command to record, stopped and resumed, on one and two ranks."""

import json
import os
import socket
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from image_sets import N_TEST, N_TRAIN, write_folder, write_shards
from pytorch_lightning import Trainer
from pytorch_lightning.plugins.environments import LightningEnvironment
from run_cases import Killed, SaveAndKill, add_callback, same_result
from timm.optim import param_groups_weight_decay
from torch import Tensor, nn

from kiti.cli.evaluate_command import evaluate
from kiti.cli.train_command import train
from kiti.configuration.compose import Composed, compose
from kiti.data import DataError
from kiti.data.imagenet import ImageNetData
from kiti.models.convnext import build_convnext
from kiti.storage import records
from kiti.tasks.mixed_classification import MixedClassification
from kiti.training import building

FORMATS = ["folder", "parquet"]


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("images")
    folder = write_folder(place / "folder")
    return {"folder": folder, "parquet": write_shards(place / "parquet", folder), "data_dir": place}


def configured(place: Path, experiment: str, sets: dict[str, Path], format: str = "folder", *more: str) -> Composed:
    run = [f"experiment={experiment}", "scale=smoke", "collision=soft", f"data.format={format}"]
    run += [f"data.path={sets[format]}", f"data_dir={sets['data_dir']}", f"runs_dir={place}"]
    return compose([*run, "callbacks.checkpointing.every_seconds=1e9", *more])


# ConvNeXt's recipe has weight averaging and erasing, which A2 lacks; A2 has repeats.
RUNS = [("imagenet_resnet50", "folder"), ("imagenet_resnet50", "parquet"), ("imagenet_convnext_tiny", "folder")]


@pytest.fixture(scope="module", params=RUNS, ids="-".join)
def uninterrupted(
    request: pytest.FixtureRequest, sets: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[tuple[str, str], Composed]:
    """An uninterrupted run of four steps."""
    experiment, format = request.param
    composed = configured(tmp_path_factory.mktemp(experiment), experiment, sets, format)
    train(composed)
    return request.param, composed


def test_what_a_run_writes(uninterrupted: tuple[tuple[str, str], Composed]) -> None:
    (experiment, _format), composed = uninterrupted
    record = records.read(composed.run_dir / records.FILE_NAME)
    assert record.data.split == f"train {N_TRAIN}, test {N_TEST}"
    assert {f"{part}/{what}" for part in ("test", "train") for what in ("accuracy", "top5", "cross_entropy")} <= set(
        record.metrics
    )
    assert record.ko
    assert record.config["averaging"].get("decay") == (0.9 if "convnext" in experiment else None)
    assert evaluate(composed, record, composed.run_dir) == {
        name: pytest.approx(record.metrics[name], rel=1e-5)
        for name in ("test/accuracy", "test/top5", "test/cross_entropy")
    }


@pytest.mark.parametrize(("save", "kill"), [(1, 1), (3, 3)])  # in each of two epochs of two steps
def test_a_stopped_run_resumes_to_the_same_bits(
    save: int,
    kill: int,
    uninterrupted: tuple[tuple[str, str], Composed],
    sets: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (experiment, format), expected = uninterrupted
    composed = configured(tmp_path, experiment, sets, format)
    with monkeypatch.context() as patched:
        add_callback(patched, SaveAndKill(save=save, kill=kill))
        with pytest.raises(Killed):
            train(composed)
    train(composed)
    same_result(composed.run_dir, expected.run_dir)


def test_an_averaged_run_killed_before_its_record_tests_the_average_again(
    sets: dict[str, Path], tmp_path: Path
) -> None:
    first = configured(tmp_path, "imagenet_convnext_tiny", sets)
    train(first)
    before = records.read(first.run_dir / records.FILE_NAME).metrics
    (first.run_dir / records.FILE_NAME).unlink()
    train(first)
    assert records.read(first.run_dir / records.FILE_NAME).metrics == before


class Counted(nn.Module):
    """Predicts class 0 and stores a number for each image it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.seen: list[float] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen += images.double().sum((1, 2, 3)).tolist()
        return self.weight + torch.tensor([1.0, 0.0, 0.0]).expand(len(images), 3)


PLAIN = ["experiment=imagenet_resnet50", "scale=smoke", "data.eval_batch_size=4"]


def evaluate_rank(rank: int, world_size: int, place: str, path: str, port: int) -> None:
    """What one of several gloo ranks sees of the test set, and the accuracy it reports."""
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "LOCAL_RANK": str(rank)}
    composed = compose([*PLAIN, f"data.path={path}"])
    task, data = building.task(composed, Counted()), building.data(composed)
    trainer = Trainer(
        accelerator="cpu",
        devices=world_size,
        strategy="ddp" if world_size > 1 else "auto",
        plugins=[LightningEnvironment()],
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.test(task, data, verbose=False)
    metrics = {name: float(value) for name, value in trainer.logged_metrics.items()}
    Path(place, f"{world_size}-{rank}.json").write_text(json.dumps({"seen": task.model.seen, "metrics": metrics}))
    if dist.is_initialized():
        dist.destroy_process_group()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


@pytest.mark.slow
def test_two_ranks_evaluate_each_image_once(sets: dict[str, Path], tmp_path: Path) -> None:
    path = str(sets["folder"])
    for world_size, port in ((1, 0), (2, free_port())):
        torch.multiprocessing.spawn(evaluate_rank, (world_size, str(tmp_path), path, port), nprocs=world_size)
    alone, *ranks = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("1-0", "2-0", "2-1"))
    assert len(alone["seen"]) == N_TEST  # 9 images in batches of 4: the last has one image for two ranks
    assert sorted(ranks[0]["seen"] + ranks[1]["seen"]) == sorted(alone["seen"])
    assert len(set(alone["seen"])) == N_TEST
    assert ranks[0]["metrics"] == ranks[1]["metrics"] == pytest.approx(alone["metrics"])
    assert alone["metrics"]["test/accuracy"] == pytest.approx(100 / 3)


@pytest.mark.parametrize("format", FORMATS)
def test_missing_classes_are_reported(sets: dict[str, Path], tmp_path: Path, format: str) -> None:
    composed = configured(tmp_path, "imagenet_resnet50", sets, format, "data.classes=4")
    data = building.data(composed)
    assert isinstance(data, ImageNetData)
    with pytest.raises(DataError, match=r"train has 3 classes, data\.classes=4"):
        data.setup()


@pytest.mark.parametrize(
    ("format", "missing"), [("folder", r"train is missing; expected"), ("parquet", r"contains no train-\*\.parquet")]
)
def test_a_missing_data_set_is_reported(tmp_path: Path, format: str, missing: str) -> None:
    """Not by the schema: a table with missing runs composes without ImageNet."""
    for path, pattern in (
        (tmp_path / "nowhere", r"nowhere is missing: data\.path is the folder of "),
        (tmp_path, missing),
    ):
        composed = compose(["experiment=imagenet_resnet50", f"data.path={path}", f"data.format={format}"])
        with pytest.raises(DataError, match=pattern) as error:
            building.data(composed).setup("fit")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("loss", "threshold"), [("binary_cross_entropy", 0.2), ("binary_cross_entropy", None), ("cross_entropy", None)]
)
def test_the_loss_uses_mixed_images_and_mixed_targets(loss: str, threshold: float | None) -> None:
    images, labels = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 0])
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    options = {"loss": loss, "target_threshold": threshold, "label_smoothing": 0.1}
    task = MixedClassification(model, torch.optim.Adam, mixup=0.8, cutmix=0.0, classes=3, seed=5, **options)
    task.trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)

    task.on_train_batch_start(None, 0)
    share, _is_cutmix = task.mix._params_per_batch()
    smooth = 0.9 * nn.functional.one_hot(labels, 3) + 0.1 / 3
    targets = share * smooth + (1 - share) * smooth.flip(0)
    if threshold is not None:
        targets = (targets > threshold).float()
    logits = model(share * images + (1 - share) * images.flip(0))
    if loss == "cross_entropy":
        expected = nn.functional.cross_entropy(logits, targets)
    else:
        expected = nn.functional.binary_cross_entropy_with_logits(logits, targets)

    task.on_train_batch_start(None, 0)  # the same step draws the same share
    assert torch.allclose(task.training_step((images.clone(), labels), 0), expected, atol=1e-6)
    with pytest.raises(ValueError, match="a batch of 3 on each rank is odd"):
        task.training_step((images[:3], labels[:3]), 0)


def test_biases_and_norms_have_no_weight_decay_as_in_timm() -> None:
    model = build_convnext(num_classes=3, depths=[1, 1, 1, 1], dims=[8, 8, 8, 8])
    make = partial(torch.optim.AdamW, lr=1e-3, weight_decay=0.05)
    groups = {}
    for decay_vectors in (True, False):
        task = MixedClassification(model, make, mixup=0.1, cutmix=1.0, classes=3, decay_vectors=decay_vectors)
        groups[decay_vectors] = decayed(task.configure_optimizers().param_groups)
    assert groups[True] == {0.05: {id(parameter) for parameter in model.parameters()}}
    assert groups[False] == decayed(param_groups_weight_decay(model, 0.05))


def decayed(groups: list[dict[str, Any]]) -> dict[float, set[int]]:
    return {group["weight_decay"]: {id(parameter) for parameter in group["params"]} for group in groups}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"mixup": 0.0, "cutmix": 0.0}, "use task=classification to train without mixing"),
        ({"loss": "hinge"}, "loss='hinge': one of 'cross_entropy', 'binary_cross_entropy' is needed"),
        ({"target_threshold": 0.2}, "target_threshold=0.2 is only for loss=binary_cross_entropy"),
    ],
)
def test_an_invalid_task_is_refused(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MixedClassification(nn.Identity(), torch.optim.Adam, **{"mixup": 0.1, "cutmix": 1.0, "classes": 3} | wrong)
