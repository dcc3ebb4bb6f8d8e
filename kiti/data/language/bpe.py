"""The tokenizers of the stand-in corpora, as files that transformers' AutoTokenizer reads."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

END = "<|endoftext|>"
"""The token at the end of each document, GPT-2's name for it."""


def train_bpe(documents: Iterable[str], size: int) -> Tokenizer:
    """A byte-level BPE of `size` pieces: END, whose id is 0, the 256 bytes, and merges.

    Words are split as GPT-2 splits them. It is a function of the documents: pairs that are equally frequent are merged
    in the order of their ids. Raises ValueError if the documents do not have so many pieces.
    """
    tokenizer = _byte_level(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    if (found := tokenizer.get_vocab_size()) < size:
        raise ValueError(f"train_bpe: the documents have {found} pieces, not {size}; give more documents")
    return tokenizer


def bpe_of(vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]]) -> Tokenizer:
    """A byte-level BPE of given pieces, which have END among them."""
    tokenizer = _byte_level(models.BPE(vocab=dict(vocabulary), merges=list(merges)))
    tokenizer.add_special_tokens([AddedToken(END, normalized=False, special=True)])
    return tokenizer


def share(documents: Mapping[str, Sequence[str]], weights: Mapping[str, float]) -> list[str]:
    """Documents of each corpus, so that its bytes have its weight: all of one corpus, as many as fit of the others.

    They are taken in the order of their sha256, and so are a fixed random sample.
    """
    sizes = {name: sum(len(text.encode()) for text in texts) for name, texts in documents.items()}
    whole = min(sizes[name] / weights[name] for name in documents)
    taken: list[str] = []
    for name, texts in documents.items():
        left = weights[name] * whole
        for text in sorted(texts, key=lambda text: hashlib.sha256(text.encode()).digest()):
            left -= len(text.encode())
            if left < -0.5:  # of a byte, for rounding
                break
            taken.append(text)
    return taken


def save(tokenizer: Tokenizer, into: Path, positions: int | None = None) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json` into the folder `into`, which is made."""
    into.mkdir()
    tokenizer.save(str(into / "tokenizer.json"))
    config: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": END, "eos_token": END}
    config["clean_up_tokenization_spaces"] = False
    if positions:
        config["model_max_length"] = positions
    (into / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def tokenizer_sha256(folder: Path) -> str | None:
    """sha256 of the pieces with their ids and of the merges; None if the files are not there or cannot be read.

    It is that of the content, because the layout of the file depends on the version of the library.
    """
    try:
        known = json.loads((folder / "tokenizer.json").read_text())
        json.loads((folder / "tokenizer_config.json").read_text())
        merges = [pair.split(" ") if isinstance(pair, str) else pair for pair in known["model"]["merges"]]
        added = [[one["id"], one["content"], one["special"]] for one in known["added_tokens"]]
        content = [sorted(known["model"]["vocab"].items()), merges, added, known["pre_tokenizer"]["type"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _byte_level(model: models.BPE) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
