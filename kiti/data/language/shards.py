"""Makes the token shards of a corpus: in parallel, resumable at a shard, by one process at a time. Without torch."""

import hashlib
import json
import logging
import os
import shutil
from contextlib import closing, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import safetensors.numpy
import tokenizers
from filelock import FileLock, Timeout

from kiti.data import DataError
from kiti.data.generation_progress import Report, progress_report
from kiti.data.language.documents import SPLITS, DocumentSource
from kiti.data.language.language_tokenizer import LanguageTokenizer
from kiti.data.language.shard_index import FORMAT, INDEX, SUFFIX, TABLE, TOKENS, ShardIndex, read_index
from kiti.data.language.shard_names import shard_name
from kiti.data.language.tokenising import Tokens, tokenise
from kiti.storage.records import write_whole

log = logging.getLogger(__name__)

SHARD_TOKENS = 1 << 26
"""A shard ends with the documents that bring it to so many training tokens. What a kill may cost is one shard."""
_BYTES_A_PROCESS = 2 << 20
"""A process is started for each so many bytes of text: below, starting it takes longer than it saves."""


class Amount(NamedTuple):
    """How much of a corpus is prepared: `shards` of at least `tokens` training tokens; None: all of it."""

    shards: int | None
    tokens: int


def amount_of(source: DocumentSource, tokens: int) -> Amount:
    """How much is prepared for `tokens` training tokens: of a stream so many shards that they hold these, else all."""
    if source.size is not None:
        return Amount(None, SHARD_TOKENS)
    return Amount(-(-tokens // SHARD_TOKENS), min(tokens, SHARD_TOKENS))


def fingerprint_of(source: DocumentSource, tokenizer: LanguageTokenizer, amount: Amount) -> str:
    """sha256 of all that determines the shards, whose folder it names."""
    recipe = {
        "format": FORMAT,
        "source": source.identity,
        "tokenizer": tokenizer.digest,
        "amount": [amount.shards, amount.tokens],
    }
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


def folder_of(data_dir: Path | str, corpus: str, fingerprint: str) -> Path:
    """Where the shards lie: whole if the folder is there."""
    return Path(data_dir) / "tokens" / corpus / fingerprint[:12]


def prepared(
    data_dir: Path | str,
    corpus: str,
    source: DocumentSource,
    tokenizer: LanguageTokenizer,
    tokens: int,
    *,
    processes: int | None = None,
) -> ShardIndex:
    """The shards of a corpus: found, or made from its documents.

    The folder has its name only once it is whole. If several processes need it at once, one makes it, and the others
    wait. After a kill the finished shards are kept, and the one that was being written is made again; shards do not
    depend on the number of processes or on where a kill came.

    Args:
        data_dir: `tokens/<corpus>/` in it holds a folder for each source, tokenizer and amount.
        corpus: its name.
        source: its documents.
        tokenizer: checked.
        tokens: how many training tokens the run needs, see `amount_of`.
        processes: how many tokenise; None: one a core.

    Raises DataError: the shards found cannot be used, a document cannot be read, or there is none.
    """
    amount = amount_of(source, tokens)
    fingerprint = fingerprint_of(source, tokenizer, amount)
    place = folder_of(data_dir, corpus, fingerprint)
    with suppress(FileNotFoundError):
        return read_index(place, fingerprint, tokenizer)  # without a lock: the folder may be read-only
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place.with_name(f"{place.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.warning("waiting for another process that prepares %s", place)
        lock.acquire()
    try:
        with suppress(FileNotFoundError):
            return read_index(place, fingerprint, tokenizer)
        making = place.with_name(f"{place.name}.making")
        making.mkdir(exist_ok=True)
        with progress_report(f"tokenising {corpus}") as report:
            entries, empty = _make(making, source, tokenizer, amount, processes or _cores(source, amount), report)
        _finish(making, entries, empty, fingerprint, source, tokenizer)
        making.rename(place)
        _sync(place.parent)
        for number in range(len(entries)):  # only now: a kill before would have lost the shards
            (place / _entry_name(number)).unlink()
        return read_index(place, fingerprint, tokenizer)
    finally:
        lock.release()


def _make(
    making: Path,
    source: DocumentSource,
    tokenizer: LanguageTokenizer,
    amount: Amount,
    processes: int,
    report: Report,
) -> tuple[list[dict[str, Any]], int]:
    """Write the shards that are not there yet. What is known of each, and empty documents after the last."""
    entries = _finished_shards(making)
    trained = sum(entry["trained"] for entry in entries)
    writer, empty = None, 0
    position = entries[-1]["after"] if entries else None
    if amount.shards is not None and len(entries) >= amount.shards:
        return entries, 0
    with closing(tokenise(source.read(position), tokenizer, processes)) as some:
        for tokens, after, read in some:
            empty += tokens.empty
            if not len(tokens.ids):
                continue
            writer = writer or _ShardWriter(making, len(entries))
            writer.add(tokens)
            if source.size is not None:
                report(read, source.size)
            else:
                report(trained + writer.trained, (amount.shards or 1) * amount.tokens)
            if writer.trained >= amount.tokens:
                entries.append(writer.finish(after, empty))
                trained += writer.trained
                writer, empty = None, 0
                if len(entries) == amount.shards:
                    return entries, 0
    if writer is not None:
        entries.append(writer.finish(after, empty))
        empty = 0
    if not entries:
        shutil.rmtree(making)
        raise DataError(f"{source.where}: no documents with text in it; give a corpus with some")
    return entries, empty


class _ShardWriter:
    """Writes a shard under a passing name, and what is known of it once both files are on the disk."""

    def __init__(self, folder: Path, number: int) -> None:
        self._folder, self._number = folder, number
        self._file = _passing(folder, TOKENS, number).open("wb")
        self._sha256 = hashlib.sha256()
        self._some: list[Tokens] = []
        self._tokens = 0
        self.trained = 0
        """Tokens so far that are trained on."""

    def add(self, tokens: Tokens) -> None:
        content = tokens.ids.tobytes()
        self._file.write(content)
        self._sha256.update(content)
        self._some.append(tokens._replace(ids=tokens.ids[:0]))
        self._tokens += len(tokens.ids)
        self.trained += int(tokens.lengths[tokens.splits == SPLITS.index("train")].sum())

    def finish(self, after: dict[str, Any], empty: int) -> dict[str, Any]:
        size = self._file.tell()
        _close_synced(self._file)
        columns = ("lengths", "sizes", "splits", "hashes")
        table = {name: np.concatenate([getattr(some, name) for some in self._some]) for name in columns}
        content = safetensors.numpy.save(table)
        with _passing(self._folder, TABLE, self._number).open("wb") as file:
            file.write(content)
            _close_synced(file)
        entry = {
            "tokens": self._tokens,
            "documents": len(table["lengths"]),
            "sizes": {TOKENS: size, TABLE: len(content)},
            "sha256": {TOKENS: self._sha256.hexdigest(), TABLE: hashlib.sha256(content).hexdigest()},
            "trained": self.trained,
            "empty": empty,
            "after": after,
        }
        write_whole(self._folder / _entry_name(self._number), json.dumps(entry).encode())
        return entry


def _finished_shards(making: Path) -> list[dict[str, Any]]:
    """What is known of the finished shards, in their order; files of others are deleted."""
    entries: list[dict[str, Any]] = []
    while (path := making / _entry_name(len(entries))).is_file():
        entries.append(json.loads(path.read_bytes()))
    kept = {making / _entry_name(number) for number in range(len(entries))}
    for number in range(len(entries)):
        for what in SUFFIX:
            passing = _passing(making, what, number)
            for named in making.glob(f"{what}-{number:05}-of-*"):  # killed while it was named
                named.rename(passing)
            kept.add(passing)
    for path in making.iterdir():
        if path not in kept:
            path.unlink()
    return entries


def _finish(
    making: Path,
    entries: list[dict[str, Any]],
    empty: int,
    fingerprint: str,
    source: DocumentSource,
    tokenizer: LanguageTokenizer,
) -> None:
    """Name the shards and write the index."""
    tables = [safetensors.numpy.load_file(_passing(making, TABLE, number)) for number in range(len(entries))]
    hashes = np.concatenate([table["hashes"] for table in tables])
    index = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "source": source.identity,
        "tokenizer": tokenizer.digest,
        "dtype": tokenizer.dtype.str,
        "end": tokenizer.end,
        "content": hashlib.sha256(hashes.astype(">u8").tobytes()).hexdigest(),
        "counts": {
            "documents": len(hashes),
            "duplicates": len(hashes) - len(np.unique(hashes)),
            "empty": empty + sum(entry["empty"] for entry in entries),
        },
        "shards": [{key: entry[key] for key in ("tokens", "documents", "sizes", "sha256")} for entry in entries],
        "kiti": version("kiti"),
        "tokenizers": tokenizers.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    for number in range(len(entries)):
        for what, suffix in SUFFIX.items():
            _passing(making, what, number).rename(making / shard_name(what, number, len(entries), suffix))
    write_whole(making / INDEX, (json.dumps(index, indent=2) + "\n").encode())


def _passing(folder: Path, what: str, number: int) -> Path:
    """The name of a file of a shard before it is known how many there are."""
    return folder / f"{what}-{number:05}{SUFFIX[what]}"


def _entry_name(number: int) -> str:
    return f"shard-{number:05}.json"


def _cores(source: DocumentSource, amount: Amount) -> int:
    """One process a core, or fewer for little text."""
    size = source.size if source.size is not None else 4 * (amount.shards or 1) * amount.tokens
    return max(1, min(len(os.sched_getaffinity(0)), size // _BYTES_A_PROCESS))


def _close_synced(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())
    file.close()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
