"""Loads a tokenizer and checks that it does what a classifier like BERT needs, before anything is tokenised."""

import hashlib
import json
from typing import Any, NamedTuple

from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerFast

from kiti.data import DataError
from kiti.models.pretrained_files import TOKENIZERS, folder_of, tokenizer_file
from kiti.units.keys import FilesError

_LONG = "word " * 3000  # more tokens than any model has positions


class Tokenizer(NamedTuple):
    """A checked tokenizer; `digest` is that of all that determines its tokens, `pad` the number of its padding token.

    `max_length` is the largest number of tokens of an item, with [CLS] and [SEP].
    """

    of: PreTrainedTokenizerFast
    digest: str
    pad: int
    max_length: int


def load_tokenizer(path: str, commit: str | None, max_length: int, pairs: bool) -> Tokenizer:
    """The tokenizer in the folder `path`, or of the hub's repository `path` at a commit.

    Raises DataError: it is not there, has more tokens than the model has embeddings, sets no [CLS] and [SEP], does not
    number the segments of pairs 0 and 1 although the model has embeddings for them, or `max_length` exceeds the
    model's positions.
    """
    try:
        folder = folder_of(path, commit)
        if tokenizer_file(folder) is None:
            # transformers would make one that knows only its special tokens.
            raise DataError(f"{folder}: no tokenizer: neither {' nor '.join(TOKENIZERS)}; copy the model's there")
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        config = AutoConfig.from_pretrained(folder, local_files_only=True)
    except FilesError as error:
        raise DataError(str(error)) from error
    except (OSError, ValueError, KeyError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: the tokenizer could not be loaded ({_line(error)}); save it again") from error
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise DataError(f"{path}: its tokenizer is not a fast one; save it with tokenizer.json")
    _check_sizes(path, tokenizer, config, max_length)
    tokenizer.model_max_length = max_length  # some store none, and would truncate nothing
    _check_tokens(path, tokenizer, max_length, pairs, numbered=pairs and getattr(config, "type_vocab_size", 0) > 1)
    pad = tokenizer.pad_token_id
    if pad is None:
        raise DataError(f"{path}: its tokenizer has no padding token; set pad_token in tokenizer_config.json")
    return Tokenizer(tokenizer, _digest(tokenizer), pad, max_length)


def _check_sizes(path: str, tokenizer: PreTrainedTokenizerFast, config: Any, max_length: int) -> None:
    rows = getattr(config, "vocab_size", None)
    if rows is not None and len(tokenizer) > rows:
        raise DataError(
            f"{path}: the tokenizer has {len(tokenizer)} tokens, the model's embedding {rows} rows; "
            "use the tokenizer that the model was trained with"
        )
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and max_length > positions:
        raise DataError(f"data.max_length={max_length}: {path} has {positions} positions; choose at most that many")


def _check_tokens(path: str, tokenizer: PreTrainedTokenizerFast, max_length: int, pairs: bool, numbered: bool) -> None:
    first = [_LONG, "word"] if pairs else [_LONG]
    tried = tokenizer(*first, truncation=True, max_length=max_length)
    ids = tried["input_ids"]
    begin, end = tokenizer.cls_token_id, tokenizer.sep_token_id
    separators = 2 if pairs else 1
    if begin is None or end is None or ids[0] != begin or ids[-1] != end or ids.count(end) < separators:
        raise DataError(
            f"{path}: its tokenizer does not write [CLS] text [SEP]{' text [SEP]' if pairs else ''}; "
            "use that of a BERT or DistilBERT"
        )
    if len(ids) != max_length:
        raise DataError(
            f"{path}: its tokenizer makes {len(ids)} tokens where data.max_length={max_length}; use another"
        )
    segments = tried.get("token_type_ids", [None])
    if numbered and (segments[0], segments[-1]) != (0, 1):
        raise DataError(
            f"{path}: its tokenizer numbers the segments of a pair {segments[0]} and {segments[-1]}, not 0 and 1; "
            "use that of a BERT"
        )


def _digest(tokenizer: PreTrainedTokenizerFast) -> str:
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    parts = [{**backend, "truncation": None, "padding": None}, sorted(tokenizer.model_input_names)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160]
