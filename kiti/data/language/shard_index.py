"""What lies in a folder of token shards, and whether it is whole. Without torch.

    tokens-00000-of-00004.bin              ids, little-endian, in the narrowest type for the largest id
    documents-00000-of-00004.safetensors   lengths, sizes, splits and hashes of its documents, see `Tokens`
    index.json                             which tokenizer, end token, source and snapshot; counts, sizes and checksums

At each start names and sizes are compared with the index. Checksums are compared each time if all files together are
small, else once after they were written or changed, see `file_sums`.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy

from kiti.data import DataError
from kiti.data.language.file_sums import sums_of
from kiti.data.language.language_tokenizer import LanguageTokenizer
from kiti.data.language.shard_names import check_snapshot, shard_name

INDEX, SUMS = "index.json", "checksums.json"
TOKENS, TABLE = "tokens", "documents"
SUFFIX = {TOKENS: ".bin", TABLE: ".safetensors"}

FORMAT = 1
"""Of the shards; a change makes all of them again."""


class Shard(NamedTuple):
    """A shard as the index has it: `tokens` and `documents` in it, and of both files the size and the sha256."""

    tokens: int
    documents: int
    sizes: dict[str, int]
    sha256: dict[str, str]


class ShardIndex(NamedTuple):
    """The index of a folder; `counts`: documents, duplicates among them, and empty ones that were left out.

    `content` is the sha256 of the documents in their order, however they are tokenised.
    """

    folder: Path
    dtype: np.dtype[Any]
    end: int
    content: str
    counts: dict[str, int]
    shards: list[Shard]

    def path(self, what: str, number: int) -> Path:
        """The file TOKENS or TABLE of a shard."""
        return self.folder / shard_name(what, number, len(self.shards), SUFFIX[what])

    def table(self) -> dict[str, np.ndarray]:
        """Lengths, sizes, splits and hashes of all documents."""
        tables = [safetensors.numpy.load_file(self.path(TABLE, number)) for number in range(len(self.shards))]
        return {name: np.concatenate([one[name] for one in tables]) for name in tables[0]}


def read_index(folder: Path, fingerprint: str, tokenizer: LanguageTokenizer) -> ShardIndex:
    """The shards in `folder`, checked.

    Raises:
        FileNotFoundError: there is no such folder.
        DataError: they are of another tokenizer or another source, one is missing or damaged, or shards of another
            snapshot lie beside them.
    """
    if not folder.is_dir():
        raise FileNotFoundError(folder)
    remedy = f"delete {folder}, and the same command makes it again"
    try:
        stored = json.loads((folder / INDEX).read_bytes())
        made_by, of = stored["tokenizer"], stored["fingerprint"]
        index = ShardIndex(
            folder,
            np.dtype(stored["dtype"]),
            stored["end"],
            stored["content"],
            stored["counts"],
            [Shard(**shard) for shard in stored["shards"]],
        )
    except OSError as error:
        raise DataError(f"{folder / INDEX} cannot be read: {error.strerror}; {remedy}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder / INDEX} is damaged; {remedy}") from error
    if made_by != tokenizer.digest:
        raise DataError(
            f"{folder} has shards of another tokenizer, {made_by[:12]}, not of {tokenizer.file}, "
            f"{tokenizer.digest[:12]}; {remedy}"
        )
    if of != fingerprint:
        raise DataError(f"{folder} has shards of other documents or of another format; {remedy}")
    _check_files(index, remedy)
    return index


def _check_files(index: ShardIndex, remedy: str) -> None:
    names = [(what, number) for number in range(len(index.shards)) for what in (TOKENS, TABLE)]
    expected = [index.path(what, number) for what, number in names]
    there = {path for suffix in SUFFIX.values() for path in index.folder.glob(f"*{suffix}")}
    check_snapshot(sorted(there), remedy)
    for path in expected:
        if path not in there:
            raise DataError(f"{path} is missing; {remedy}")
    if others := sorted(there - {*expected}):
        raise DataError(f"{others[0]} lies beside shards that it does not belong to; {remedy}")
    for (what, number), path in zip(names, expected, strict=True):
        size, meant = path.stat().st_size, index.shards[number].sizes[what]
        if size != meant:
            raise DataError(f"{path} is damaged: it has {size} bytes, not {meant}; {remedy}")
    for (what, number), path, sha256 in zip(names, expected, sums_of(expected, index.folder / SUMS), strict=True):
        if sha256 != (meant_sum := index.shards[number].sha256[what]):
            raise DataError(f"{path} is damaged: its sha256 is {sha256[:12]}…, not {meant_sum[:12]}…; {remedy}")
