"""Small language models, blocks of random tokens in memory, and how they train on one process or on several."""

import math
import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from kiti.data.data_module import Data
from kiti.data.loading import EvaluationLoader, ResumableLoader, evaluation_loader, training_loader
from kiti.ko.sharding import gathered
from kiti.models.language_model import build_language_model
from kiti.storage.processes import world_size
from kiti.tasks.language_modelling import UNLABELLED, LanguageModelling
from kiti.training import building
from kiti.training.checkpoint_files import CheckpointFiles, Identity
from kiti.training.fully_sharded import FullySharded
from kiti.training.started_processes import StartedProcesses

T, VOCABULARY = 8, 23
SIZES: dict[str, Any] = {"vocab_size": VOCABULARY, "positions": T, "width": 16, "layers": 2, "heads": 2, "ffn": 32}
MORE: dict[str, dict[str, Any]] = {"gpt2": {}, "qwen2": {"kv_heads": 1, "rope_theta": 1e4}}
SGD = partial(torch.optim.SGD, lr=0.5)


def blocks(number: int, seed: int, unlabelled: float = 0.5) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(VOCABULARY, (number, T + 1), generator=draw)
    labels = tokens[:, 1:].clone()
    labels[torch.rand(labels.shape, generator=draw) < unlabelled] = UNLABELLED
    return tokens[:, :-1], labels, torch.arange(T).repeat(number, 1)


class Stream(Data):
    """In memory. 3 bytes a token."""

    test_on = "validation"
    context = T

    def __init__(self, given: tuple[Tensor, ...], batch_size: int) -> None:
        super().__init__(batch_size=batch_size, eval_batch_size=4, seed=0)
        self.given = given

    @property
    def fingerprint(self) -> dict[str, object]:
        return {"content": "0", "split": {"train": len(self.given[0])}}

    def bytes_of(self, role: str) -> int:
        assert role == "validation"
        return 3 * int((blocks(5, 9)[1] != -100).sum())

    def trivial_losses(self) -> dict[str, Tensor]:
        return {"uniform": torch.full((int((blocks(5, 9)[1] != -100).sum()),), math.log(VOCABULARY))}

    def train_dataloader(self) -> ResumableLoader:
        return training_loader(self.given, self.batch_size, seed=0, trainer=self.trainer)

    def test_dataloader(self) -> EvaluationLoader:
        return evaluation_loader(blocks(5, 9), 4, trainer=self.trainer)

    val_dataloader = test_dataloader

    def train_eval_dataloader(self) -> EvaluationLoader:
        return evaluation_loader(self.given, 4, trainer=self.trainer)


def model(family: str = "gpt2", **given: Any) -> Any:
    torch.manual_seed(0)
    return build_language_model(family, **SIZES | MORE[family] | given)


def trainer(**given: Any) -> pl.Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    return pl.Trainer(**{"max_epochs": 1, "accelerator": "cpu", "enable_model_summary": False, **quiet, **given})


def trainer_of_ranks(strategy: str, **given: Any) -> pl.Trainer:
    """A trainer over the started processes, with "ddp" or "fsdp2"."""
    return trainer(
        devices=1,
        strategy=FullySharded(world_size()) if strategy == "fsdp2" else strategy,
        plugins=[StartedProcesses(), CheckpointFiles(Identity("0", {}, seed=0, replicas=1))],
        use_distributed_sampler=False,
        inference_mode=strategy != "fsdp2",
        num_sanity_val_steps=0,
        **given,
    )


def weights(task: LanguageModelling) -> dict[str, Tensor]:
    """Whole parameters. Collective if they are sharded."""
    return {name: gathered(parameter.detach()).clone() for name, parameter in task.model.named_parameters()}


def on_ranks(work: Callable[[Path], None], folder: Path, ranks: int = 2) -> None:
    """`work(folder)` on each of several gloo processes, started as torchrun starts them."""
    torch.multiprocessing.spawn(_as_rank, args=(ranks, *free_ports(1), work, folder), nprocs=ranks)


def free_ports(number: int) -> list[int]:
    with ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("localhost", 0))
        return [each.getsockname()[1] for each in sockets]


def _as_rank(rank: int, ranks: int, port: int, work: Callable[[Path], None], folder: Path) -> None:
    torch.set_num_threads(1)
    common = {"WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks, "MASTER_ADDR": "localhost", "MASTER_PORT": port}
    common |= {"RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": 0, "TORCHELASTIC_RUN_ID": "none"}
    os.environ.update({name: str(value) for name, value in common.items()})
    building.hush_lightning()
    work(folder)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
