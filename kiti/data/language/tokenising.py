"""Turns documents into tokens, in several processes, in their order. Without torch, which each process would import."""

import hashlib
import os
import pickle
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
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
    begun: list[_Process] = []
    mine = threading.local()

    def begin() -> None:
        mine.process = _Process(tokenizer)
        begun.append(mine.process)

    waiting: deque[tuple[Future[Tokens], Documents]] = deque()
    pool = ThreadPoolExecutor(processes, initializer=begin)  # each thread has a process, and waits for it
    try:
        for some in documents:
            waiting.append((pool.submit(lambda texts: mine.process.tokens(texts), some.texts), some._replace(texts=[])))
            while len(waiting) >= _AHEAD * processes or (waiting and waiting[0][0].done()):
                yield _taken(waiting)
        while waiting:
            yield _taken(waiting)
    finally:
        pool.shutdown(cancel_futures=True)
        for process in begun:
            process.end()


def _taken(waiting: deque[tuple[Future[Tokens], Documents]]) -> tuple[Tokens, Position, int]:
    future, some = waiting.popleft()
    return future.result(), some.after, some.read


class _Process:
    """A process that tokenises. It ends with this one, also if this one is killed, since its input then ends.

    Those of `multiprocessing` would import the program's main module, with torch, or be forked while threads of torch
    hold locks.
    """

    def __init__(self, tokenizer: LanguageTokenizer) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {_PARALLEL: "false", "PYTHONPATH": os.pathsep.join(sys.path)},
            start_new_session=True,  # Ctrl-C is for the first process, which ends this one
        )
        self._send(tokenizer)

    def tokens(self, texts: list[str]) -> Tokens:
        self._send(texts)
        assert self._process.stdout is not None
        try:
            found = pickle.load(self._process.stdout)
        except (EOFError, pickle.UnpicklingError) as error:
            raise self._ended() from error
        if isinstance(found, DataError):
            raise found
        assert isinstance(found, Tokens)
        return found

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _send(self, what: object) -> None:
        assert self._process.stdin is not None
        try:
            pickle.dump(what, self._process.stdin)
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._ended() from error

    def _ended(self) -> DataError:
        return DataError(
            f"a process that tokenises ended with status {self._process.wait()}, perhaps for want of memory; the same "
            "command continues, with data.processes=<fewer>"
        )


def serve() -> None:
    """What such a process does: it reads a LanguageTokenizer, then lists of texts, and writes Tokens or a DataError."""
    given, taken = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # so that nothing that a library prints comes in between
    tokeniser = Tokeniser(pickle.load(given))
    while True:
        try:
            texts = pickle.load(given)
        except EOFError:
            return
        try:
            answer: Tokens | DataError = tokeniser(texts)
        except DataError as error:
            answer = error
        pickle.dump(answer, taken)
        taken.flush()


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
