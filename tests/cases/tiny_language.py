"""A plug-in: GPT-2 with dropout and KITINet's seam, trained on random tokens for a few steps; and runs of it."""

import hashlib
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor
from torch.nn import functional
from transformers import GPT2LMHeadModel

from kiti.data.in_memory import InMemoryData
from kiti.data.in_memory_keys import InMemoryKeys
from kiti.models.language_model import build_language_model
from kiti.residual import Add, ResidualFactory
from kiti.tasks.task import Task
from kiti.units.keys import ModelKeys, NotHashed, Place, PositiveInt, TaskKeys

KIND = "language"
VOCABULARY = 330  # of evaluation_cases.tokenizer


class TinyTokens(InMemoryData):
    def __init__(self, context: int, tokenizer: str, tokenizer_commit: str | None, **keys: Any) -> None:
        super().__init__(eval_batch_size=8, **keys)
        self.context = context

    def load(self) -> tuple[Any, Any, str]:
        draw = torch.Generator().manual_seed(0)
        texts = torch.randint(VOCABULARY, (self.n_train + self.n_test, self.context + 1), generator=draw)
        train, test = ((part[:, :-1], part[:, 1:]) for part in (texts[: self.n_train], texts[self.n_train :]))
        return train, test, hashlib.sha256(texts.numpy().tobytes()).hexdigest()


class TinyTokensKeys(InMemoryKeys):
    builds, name, kind = "tiny_language.TinyTokens", "tiny_tokens", KIND
    context: PositiveInt
    tokenizer: Place[str]
    tokenizer_commit: NotHashed[str | None]


def tiny_gpt2(context: int, residual: ResidualFactory = Add) -> GPT2LMHeadModel:
    sizes = {"vocab_size": VOCABULARY, "positions": 64, "width": 32, "layers": 2, "heads": 2, "ffn": 128}
    return build_language_model("gpt2", residual=residual, dropout=0.1, **sizes)  # type: ignore[return-value]


class TinyGPT2Keys(ModelKeys):
    builds, name, kind = "tiny_language.tiny_gpt2", "tiny_gpt2", KIND
    context: PositiveInt


class TinyLanguage(Task):
    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        loss = self._loss(batch)
        self.train_loss.update(loss.detach())
        return loss

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int, dataloader_idx: int = 0) -> None:
        name = f"{('test', 'train')[dataloader_idx]}/loss"
        self.log(name, self._loss(batch), batch_size=len(batch[0]), add_dataloader_idx=False)

    def _loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return functional.cross_entropy(self.model(batch[0]).logits.flatten(0, 1), batch[1].flatten())


class TinyLanguageKeys(TaskKeys):
    builds, name, kind = "tiny_language.TinyLanguage", "tiny_language", KIND
    seed: int


def write_conf(folder: Path, tokenizer: Path) -> Path:
    """The plug-in in `folder`, with its conf/; returns the path to enable."""
    data = {"n_train": 24, "n_test": 8, "batch_size": 8, "context": 16, "seed": "${seed}", "tokenizer_commit": None}
    files: dict[str, dict[str, Any]] = {
        "data/tiny_tokens": {"_target_": "tiny_language.TinyTokens", "tokenizer": str(tokenizer), **data},
        "model/tiny_gpt2": {"_target_": "tiny_language.tiny_gpt2", "context": "${data.context}"},
        "task/tiny_language": {"_target_": "tiny_language.TinyLanguage", "seed": "${seed}"},
        "experiment/tiny_language": {
            "defaults": [
                {"override /data": "tiny_tokens"},
                {"override /model": "tiny_gpt2"},
                {"override /task": "tiny_language"},
                {"override /optimizer": "adam"},
            ],
            "experiment": "tiny_language",
            "trainer": {"max_epochs": 4},
        },
    }
    for name, content in files.items():
        path = folder / "conf" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        first = "# @package _global_\n" if name.startswith("experiment") else ""
        path.write_text(first + yaml.safe_dump(content))
    (folder / "tiny_language.py").write_text(Path(__file__).read_text())
    return folder / "tiny_language.py"
