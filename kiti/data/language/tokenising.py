"""Turns documents into tokens, in several processes, in their order. Without torch, which each process would import."""

import hashlib
import os
import threading
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection, get_context, parent_process
from typing import NamedTuple

import numpy as np

from kiti.data import DataError
from kiti.data.language.documents import SPLITS, Documents, Position, split_of_hash
from kiti.data.language.language_tokenizer import LanguageTokenizer

_PARALLEL = "TOKENIZERS_PARALLELISM"
_AHEAD = 3
"""So many tasks a process wait for it or have waited for the next shard."""


class Tokens(NamedTuple):
    """The tokens of some documents, one after another, each with the end token; and of each document:

    `lengths` in tokens with the end token, `sizes` in bytes of text, `splits` as places in SPLITS, and `hashes`, the
    first 8 bytes of the text's sha256. Documents without a visible character are left out and counted in `empty`.
    """

    ids: np.ndarray
    lengths: np.ndarray
    sizes: np.ndarray
    splits: np.ndarray
    hashes: np.ndarray
    empty: int


class Tokeniser:
    """Makes tokens of documents."""

    def __init__(self, tokenizer: LanguageTokenizer) -> None:
        self._known = tokenizer
        self._tokenizer = tokenizer.load()
        self._bytes = tokenizer.bytes_of_ids()

    def __call__(self, texts: list[str]) -> Tokens:
        """Raises DataError if the tokens of a document do not stand for its bytes."""
        kept = [text for text in texts if not text.isspace() and text]
        contents = [text.encode() for text in kept]
        digests = [hashlib.sha256(content).digest() for content in contents]
        ids = [
            np.array([*encoding.ids, self._known.end], self._known.dtype)
            for encoding in self._tokenizer.encode_batch_fast(kept, add_special_tokens=False)
        ]
        for text, content, some in zip(kept, contents, ids, strict=True):
            self._check(text, len(content), some)
        return Tokens(
            ids=np.concatenate(ids) if ids else np.zeros(0, self._known.dtype),
            lengths=np.array([len(some) for some in ids], np.int64),
            sizes=np.array([len(content) for content in contents], np.int64),
            splits=np.array([SPLITS.index(split_of_hash(digest)) for digest in digests], np.uint8),
            hashes=np.array([int.from_bytes(digest[:8], "big") for digest in digests], np.uint64),
            empty=len(texts) - len(kept),
        )

    def _check(self, text: str, size: int, ids: np.ndarray) -> None:
        if (ids[:-1] == self._known.end).any():
            raise DataError(f"{self._known.file}: it finds the end token in a text, {_start(text)}; use another")
        counted = int(self._bytes[ids].sum())
        if counted != size and not self._known.normalises:
            raise DataError(
                f"{self._known.file}: its tokens stand for {counted} bytes of the {size} of a text, {_start(text)}; "
                "use one that knows all 256 bytes and adds no space"
            )


def tokenise(
    documents: Iterator[Documents], tokenizer: LanguageTokenizer, processes: int
) -> Generator[tuple[Tokens, Position, int], None, None]:
    """Tokens, and how far the source was read, for each of `documents` in their order.

    Args:
        processes: how many tokenise; 1: this one. Results do not depend on it.

    Raises DataError: that of the source, a text does not go with the tokenizer, or a process was killed.
    """
    if processes == 1:
        tokeniser = Tokeniser(tokenizer)
        for some in documents:
            with _alone():
                tokens = tokeniser(some.texts)
            yield tokens, some.after, some.read
        return
    # Not forked: threads of torch or of the hub's client may hold locks in this process.
    pool = ProcessPoolExecutor(processes, get_context("spawn"), initializer=_begin, initargs=(tokenizer,))
    waiting: deque[tuple[Future[Tokens], Documents]] = deque()
    try:
        for some in documents:
            waiting.append((pool.submit(_tokens, some.texts), some._replace(texts=[])))
            while len(waiting) >= _AHEAD * processes or (waiting and waiting[0][0].done()):
                yield _taken(waiting)
        while waiting:
            yield _taken(waiting)
    except BrokenProcessPool as error:
        raise DataError(
            "a process that tokenises was killed, perhaps for want of memory; the same command continues, "
            "with data.processes=<fewer>"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _taken(waiting: deque[tuple[Future[Tokens], Documents]]) -> tuple[Tokens, Position, int]:
    future, some = waiting.popleft()
    return future.result(), some.after, some.read


_tokeniser: Tokeniser | None = None  # of a process of the pool


def _begin(tokenizer: LanguageTokenizer) -> None:
    global _tokeniser
    os.setsid()  # Ctrl-C stops the first process, which stops this one
    os.environ[_PARALLEL] = "false"
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _tokeniser = Tokeniser(tokenizer)


def _end_with_parent() -> None:
    """A killed process leaves its pool waiting for work forever."""
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


def _tokens(texts: list[str]) -> Tokens:
    assert _tokeniser is not None
    return _tokeniser(texts)


@contextmanager
def _alone() -> Iterator[None]:
    """The library starts no threads, after which it would warn of each fork."""
    before = os.environ.get(_PARALLEL)
    os.environ[_PARALLEL] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_PARALLEL]
        else:
            os.environ[_PARALLEL] = before


def _start(text: str) -> str:
    return repr(text[:40])
