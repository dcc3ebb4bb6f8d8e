"""Documents streamed from the Hugging Face hub."""

from collections.abc import Iterator
from typing import Any

from kiti.data import DataError
from kiti.data.language.documents import Documents, DocumentSource, Gathered, Position
from kiti.data.text.hub_files import HubError, ask
from kiti.data.text.text_rows import check_text


class HubDocuments(DocumentSource):
    """The `column` of each row of a data set at one commit. Nothing of it is executed, and no file is kept.

    Args:
        repository, commit: of the data set.
        name: of its configuration; None: the only one.
        split: of the set itself, read as a whole; what trains and what validates is decided by `split_of`.
        column: holds the text.
    """

    def __init__(self, repository: str, commit: str, name: str | None, split: str, column: str) -> None:
        self.where = f"{repository} at {commit[:12]}"
        self.repository, self.commit = repository, commit
        self.name, self.split, self.column = name, split, column

    @property
    def identity(self) -> dict[str, Any]:
        return {
            "repository": self.repository,
            "commit": self.commit,
            "name": self.name,
            "split": self.split,
            "column": self.column,
        }

    def require(self) -> None:
        """DataError unless the hub says that it has the set."""
        try:
            ask(self.repository, self.commit)
        except HubError as error:
            raise DataError(self.unavailable(error)) from error

    def unavailable(self, reason: object) -> str:
        """One line: the hub does not give the set, and which files would do instead."""
        return (
            f"{self.where}: {reason}; give data.corpora.<name>.path=<file or folder> with .txt, .jsonl or .parquet "
            f"(column {self.column}) and data.corpora.<name>.commit=null, or take data=language_stand_ins"
        )

    def read(self, position: Position | None) -> Iterator[Documents]:
        self.require()
        try:
            stream = self._open()
        except Exception as error:  # of HTTP, of the hub's client, of `datasets`
            raise DataError(self.unavailable(f"it cannot be streamed ({_line(error)})")) from error
        try:
            yield from self._read(stream, position)
        except DataError:
            raise
        except Exception as error:  # the same, or of Arrow
            raise DataError(
                f"{self.where}: the stream stopped ({_line(error)}); the same command continues it"
            ) from error

    def _open(self) -> Any:
        import datasets  # takes a second

        return datasets.load_dataset(self.repository, self.name, split=self.split, streaming=True, revision=self.commit)

    def _read(self, stream: Any, position: Position | None) -> Iterator[Documents]:
        if stream.features is not None and self.column not in stream.features:
            raise DataError(self._missing_column(list(stream.features)))
        if stream.features is not None:
            stream = stream.select_columns([self.column])
        before, read = (position["rows"], position["bytes"]) if position else (0, 0)
        if position:
            stream.load_state_dict(position["stream"])
        gathered, rows = Gathered(), before

        def taken() -> Documents:
            return Documents(gathered.take(), {"rows": rows, "bytes": read, "stream": stream.state_dict()}, read)

        for row in stream:
            rows += 1
            if self.column not in row:
                raise DataError(self._missing_column(list(row)))
            text = row[self.column]
            check_text(f"{self.where}: row {rows}", self.column, text)
            read += len(text.encode())
            if gathered.add(text):
                yield taken()
        if (last := taken()).texts:
            yield last

    def _missing_column(self, there: list[str]) -> str:
        return (
            f"{self.where}: no column {self.column!r}; there are {', '.join(there)}; "
            "data.corpora.<name>.column=<column> names another"
        )


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
