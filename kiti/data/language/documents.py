"""Documents of a corpus: which set each belongs to, and how they are read. Without torch."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, NamedTuple

SPLITS = ("train", "validation", "test")
"""The number of a split in shards is its place here."""

Position = dict[str, Any]
"""Where reading goes on, as JSON values that only the source understands."""

TEXTS_AT_ONCE, CHARACTERS_AT_ONCE = 1000, 500_000
"""Documents are handed on together until there are as many of them, or of their characters."""


def split_of(text: str) -> str:
    """The split of a document, one of SPLITS: 2 of 100 validate, 2 of 100 test.

    It is that of a hash of the text, so all copies of a document are in the same one.
    """
    return split_of_hash(hashlib.sha256(text.encode()).digest())


def split_of_hash(digest: bytes) -> str:
    """The same, of the text's sha256."""
    number = int.from_bytes(digest[:8], "big") % 100
    return "validation" if number < 2 else "test" if number < 4 else "train"


class Documents(NamedTuple):
    """Some documents in their order; `after`: where the next begin; `read`: bytes of the source up to there."""

    texts: list[str]
    after: Position
    read: int


class DocumentSource(ABC):
    """The documents of a corpus in a fixed order.

    Attributes:
        where: how messages name it.
        size: its bytes, of which `Documents.read` counts; None: not known.
    """

    where: str
    size: int | None = None

    @property
    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What determines the documents, as JSON values."""

    @abstractmethod
    def read(self, position: Position | None) -> Iterator[Documents]:
        """All documents, or those from `position` on; where a reader starts does not change which come together.

        Raises DataError: a document cannot be read.
        """


class Gathered:
    """Gathers documents until there are enough to be handed on."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._characters = 0

    def add(self, text: str) -> bool:
        """Whether there are now enough."""
        self._texts.append(text)
        self._characters += len(text)
        return len(self._texts) >= TEXTS_AT_ONCE or self._characters >= CHARACTERS_AT_ONCE

    def take(self) -> list[str]:
        """The documents since the last call."""
        taken, self._texts, self._characters = self._texts, [], 0
        return taken
