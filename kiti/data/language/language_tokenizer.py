"""What is known of a byte-level tokenizer from its file: the end token, the largest id, the bytes of every id.

Without torch.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tokenizers

from kiti.data import DataError
from kiti.data.language.language_stand_ins import FETCH
from kiti.data.text.hub_files import HubError, ask

FILE = "tokenizer.json"
END = "<|endoftext|>"
"""Ends a document, in GPT-2's and in Qwen2's tokenizer."""


class LanguageTokenizer(NamedTuple):
    """A checked tokenizer.

    Attributes:
        file: its tokenizer.json.
        digest: of all that determines its tokens.
        end: the id of END, which no text contains.
        largest: the largest id, added tokens included.
        normalises: whether it changes the text before it splits it, as Qwen2's does (NFC).
    """

    file: Path
    digest: str
    end: int
    largest: int
    normalises: bool

    @property
    def dtype(self) -> np.dtype[Any]:
        """The narrowest type that holds every id, little-endian."""
        return np.dtype("<u2" if self.largest < 1 << 16 else "<u4")

    def load(self) -> tokenizers.Tokenizer:
        """The tokenizer; it cuts and pads nothing, and reads END in a text as the characters that it is.

        Raises DataError if the library does not understand the file.
        """
        try:
            found = tokenizers.Tokenizer.from_file(str(self.file))
        except Exception as error:  # the library raises nothing narrower
            raise DataError(f"{self.file}: not a tokenizer: {error}; save it again") from error
        found.no_truncation()
        found.no_padding()
        found.encode_special_tokens = True
        return found

    def bytes_of_ids(self) -> np.ndarray:
        """How many bytes of text each id stands for: (largest + 1,) int64; 0 for special tokens."""
        stored = json.loads(self.file.read_bytes())
        table = np.zeros(self.largest + 1, np.int64)
        for piece, number in stored["model"]["vocab"].items():
            table[number] = len(piece)  # a character stands for a byte
        for token in stored.get("added_tokens", []):
            table[token["id"]] = 0 if token["special"] else len(token["content"].encode())
        return table


def find_tokenizer(path: str, commit: str | None) -> Path:
    """tokenizer.json of the folder `path`, or of a repository on the hub at a commit. DataError if it is nowhere."""
    if commit is None:
        file = Path(path) / FILE
        if not file.is_file():
            raise DataError(
                f"{file} is missing; give data.tokenizer=<folder with {FILE}>, or a name on the hub with "
                f"data.tokenizer_commit=<40 digits>; {FETCH} makes one, and fetches GPT-2's"
            )
        return file
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    cached = try_to_load_from_cache(path, FILE, revision=commit)
    if isinstance(cached, str):
        return Path(cached)
    named = f"data.tokenizer={path} data.tokenizer_commit={commit}"
    try:
        ask(path, commit, "model")
        return Path(hf_hub_download(path, FILE, revision=commit))
    except (HubError, OSError, ValueError) as error:  # the hub's own errors are the latter
        reason = " ".join(str(error).split())[:160]
        raise DataError(
            f"{named}: {reason}; give data.tokenizer=<folder with {FILE}> data.tokenizer_commit=null"
        ) from error


def read_tokenizer(path: str, commit: str | None, vocab_size: int | None = None) -> LanguageTokenizer:
    """The tokenizer, checked.

    Args:
        path, commit: see `find_tokenizer`.
        vocab_size: rows of the model's embedding; None: not known.

    Raises DataError: it is not there or damaged, it is no byte-level BPE, so that bytes could not be counted, it has
    no end token, or an id has no row in the embedding.
    """
    file = find_tokenizer(path, commit)
    try:
        stored = json.loads(file.read_bytes())
        pieces, added = stored["model"]["vocab"], stored.get("added_tokens", [])
        largest = int(max([*pieces.values(), *(token["id"] for token in added)]))
        kind, decoder = stored["model"]["type"], (stored.get("decoder") or {}).get("type")
        ends = [token["id"] for token in added if token["content"] == END and token["special"]]
        special = [token["content"] for token in added if token["special"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file}: not a tokenizer: {type(error).__name__}: {error}; save it again") from error
    if kind != "BPE" or decoder != "ByteLevel":
        raise DataError(
            f"{file}: a {kind} with the decoder {decoder}, not a byte-level BPE, so its tokens' bytes cannot be "
            "counted; use GPT-2's or Qwen2's tokenizer"
        )
    if not ends:
        raise DataError(
            f"{file}: no end token: {END} is not among its special tokens ({', '.join(special[:5]) or 'none'}); "
            "add it to the tokenizer"
        )
    if vocab_size is not None and largest >= vocab_size:
        raise DataError(
            f"{file} has tokens up to {largest}, but the model's embedding has {vocab_size} rows; give "
            f"model.vocab_size={largest + 1}, or the tokenizer that belongs to the model (data.tokenizer)"
        )
    return LanguageTokenizer(file, _digest(stored), ends[0], largest, bool(stored.get("normalizer")))


def _digest(stored: dict[str, Any]) -> str:
    plain = {**stored, "truncation": None, "padding": None}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
