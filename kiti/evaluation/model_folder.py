"""A causal language model in a folder, as save_pretrained writes it."""

import hashlib
import json
from pathlib import Path
from typing import Any

from kiti.data import DataError
from kiti.storage.weights_file import sha256

CONFIG = "config.json"
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


def require_model(folder: Path) -> None:
    """DataError unless the folder holds a model with its tokenizer; nothing is loaded."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give a finished run, or a folder as save_pretrained writes it")
    if not (folder / CONFIG).is_file():
        raise DataError(f"{folder}: neither a finished run (record.json) nor a folder of Hugging Face ({CONFIG})")
    try:
        json.loads((folder / CONFIG).read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / CONFIG}: {error}") from error
    if not _weights(folder):
        raise DataError(f"{folder}: no weights, {' or '.join(_WEIGHTS)}")
    require_tokenizer(folder)


def require_tokenizer(folder: Path) -> None:
    """DataError unless the folder holds a tokenizer."""
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise DataError(f"{folder}: no tokenizer: none of {', '.join(TOKENIZERS)}; copy that of the model there")


def weights_digest(folder: Path) -> str:
    """sha256 of the weights file; of several, of the lines of their sha256."""
    digests = {path.name: sha256(path) for path in _weights(folder)}
    if len(digests) == 1:
        return next(iter(digests.values()))
    return hashlib.sha256("".join(f"{digest}  {name}\n" for name, digest in digests.items()).encode()).hexdigest()


def model_in(folder: Path) -> Any:
    """The model with float32 weights, from the folder alone. DataError if transformers does not load it."""
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    try:
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{folder}: transformers loads no causal language model from it: {reason}") from error


def tokenizer_in(folder: Path) -> Any:
    """The tokenizer, from the folder alone. DataError if there is none, or transformers does not load it."""
    from transformers import AutoTokenizer

    require_tokenizer(folder)
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # tokenizers raises plain Exceptions on a damaged file
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{folder}: transformers loads no tokenizer from it: {reason}") from error


def _weights(folder: Path) -> list[Path]:
    return next((found for pattern in _WEIGHTS if (found := sorted(folder.glob(pattern)))), [])
