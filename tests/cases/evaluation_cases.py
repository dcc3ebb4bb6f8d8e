"""A small GPT-2 with a tokenizer of its own, and small sets of items and problems as they lie on disk."""

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

WORDS = [
    "the",
    "a",
    "sun",
    "moon",
    "water",
    "stone",
    "cold",
    "warm",
    "is",
    "has",
    "falls",
    "melts",
    "under",
    "near",
    "red",
]
SUBJECTS = ["abstract_algebra", "anatomy", "world_religions"]
CONTEXT = 64


def sentence(draw: random.Random, words: int) -> str:
    return " ".join(draw.choices(WORDS, k=words))


def tokenizer() -> PreTrainedTokenizerFast:
    made, draw = ByteLevelBPETokenizer(), random.Random(0)
    texts = [f"Question: {sentence(draw, 12)}?\nAnswer: {sentence(draw, 3)}" for _ in range(50)]
    made.train_from_iterator(texts, vocab_size=330, special_tokens=["<|endoftext|>"], show_progress=False)
    return PreTrainedTokenizerFast(tokenizer_object=made._tokenizer, eos_token="<|endoftext|>")


def model(seed: int = 0, context: int = CONTEXT, **config: Any) -> GPT2LMHeadModel:
    """Untrained; its weights are larger than usual, so that choices differ."""
    sizes = {"vocab_size": 330, "n_positions": context, "n_embd": 32, "n_layer": 2, "n_head": 2}
    sizes |= {"bos_token_id": 0, "eos_token_id": 0}
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return GPT2LMHeadModel(GPT2Config(**sizes | {"initializer_range": 0.3} | config)).eval()


def write_folder(folder: Path, seed: int = 0, with_tokenizer: bool = True) -> Path:
    """As save_pretrained writes it."""
    model(seed).save_pretrained(folder)
    if with_tokenizer:
        tokenizer().save_pretrained(folder)
    return folder


def items(name: str, number: int, seed: int = 0) -> list[dict[str, Any]]:
    """Items of a stand-in."""
    draw, choices = random.Random(seed), {"mmlu": 4, "openbookqa": 4, "piqa": 2, "commonsenseqa": 5}[name]
    return [
        {
            "question": f"{sentence(draw, 6)} {place}",
            "choices": [sentence(draw, draw.randint(1, 5)) for _ in range(choices)],
            "answer": draw.randrange(choices),
            **({"subject": SUBJECTS[place % 3]} if name == "mmlu" else {}),
        }
        for place in range(number)
    ]


def problems(number: int, seed: int = 0) -> list[dict[str, str]]:
    draw = random.Random(seed)
    return [
        {"question": sentence(draw, draw.randint(3, 9)), "solution": f"{sentence(draw, draw.randint(1, 12))}\n{place}"}
        for place in range(number)
    ]


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_data(data_dir: Path, number: int = 12) -> Path:
    """All stand-ins, `number` items each."""
    for name in ("mmlu", "openbookqa", "piqa", "commonsenseqa"):
        write_lines(data_dir / "items" / f"{name}.jsonl", items(name, number))
    write_lines(data_dir / "problems" / "sums.jsonl", problems(number))
    return data_dir
