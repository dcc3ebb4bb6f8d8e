"""IMDb, SNLI and Snips, from the Hugging Face hub or from local files of the same columns."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import datasets

from kiti.data import DataError
from kiti.data.text import hub_files
from kiti.data.text.arrow_rows import check_schema, rows_of_batches
from kiti.data.text.published_sets import PUBLISHED, unavailable
from kiti.data.text.text_data import Source, TextData
from kiti.data.text.text_files import find_splits, read_file
from kiti.data.text.text_rows import Classes, Columns, Located, checked_rows
from kiti.data.text.tokenised import Splits


class PublishedTexts(TextData):
    """A set of `PUBLISHED`.

    Args:
        repository, commit: of the data set on the hub.
        path: instead, a folder with `train` and `test`, and `validation` if the set has it, as `<split>.parquet`,
            .jsonl or .csv, or as shards `<split>-*.parquet`; None: the hub.
        columns: names of the columns `text`, `pair` (None for single texts) and `label`.
        texts: as for TextData.
    """

    def __init__(
        self, *, repository: str, commit: str | None, path: str | None, columns: Mapping[str, Any], **texts: Any
    ) -> None:
        super().__init__(**texts)
        self.repository = repository
        self.commit = commit
        self.path = path
        self.columns = Columns(columns["text"], columns["pair"], columns["label"])
        self.known = PUBLISHED[self.set]

    def find(self) -> Source:
        return self._on_hub() if self.path is None else self._local(Path(self.path))

    def _local(self, folder: Path) -> Source:
        files = find_splits(folder, self.known.rows, self.columns.names)
        sums = {split: [_sha256(path) for path in paths] for split, paths in files.items()}

        def located(split: str, classes: Classes) -> Iterator[Located]:
            for path in files[split]:
                yield from read_file(path, self.columns, classes)

        return self._source({"files": sums}, lambda: {split: located(split, self._classes) for split in files})

    def _on_hub(self) -> Source:
        assert self.commit is not None

        def open_hub() -> dict[str, Iterator[Located]]:
            assert self.commit is not None
            try:
                folder = hub_files.fetch(self.data_dir, self.repository, self.commit)
            except hub_files.HubError as error:
                line = unavailable(self.set, self.repository, self.commit, self.columns, error)
                raise DataError(line) from error
            found = datasets.load_dataset(str(folder), cache_dir=str(self.data_dir / "arrow"))
            if missing := [split for split in self.known.splits if split not in found]:
                raise DataError(
                    f"{self.repository} at {self.commit} has no split {missing[0]}; it has {', '.join(found)}"
                )
            return {split: self._of_hub(split, found[split]) for split in self.known.rows if split in found}

        return self._source({"repository": self.repository, "commit": self.commit}, open_hub)

    def _of_hub(self, split: str, rows: datasets.Dataset) -> Iterator[Located]:
        where = f"{self.repository} {split}"
        translated = check_schema(where, rows.features.arrow_schema, self.columns, self._classes)
        batches = rows.select_columns(self.columns.names).with_format("arrow").iter(1000)
        yield from rows_of_batches(where, batches, self.columns, translated)

    def _source(self, identity: dict[str, Any], located: Any) -> Source:
        def read() -> Splits:
            splits = {split: checked_rows(rows, self.columns, self._classes) for split, rows in located().items()}
            for split, (rows, _) in splits.items():
                if not rows:
                    raise DataError(f"{self.path or self.repository}: {split} has no labelled rows; copy the set again")
            seen = {row.label for row in splits["train"][0]}
            if len(seen) < self.classes:
                raise DataError(
                    f"{self.path or self.repository}: train has rows of {len(seen)} classes, but data.classes="
                    f"{self.classes}; set data.classes={max(seen) + 1}"
                )
            return splits

        determined = {**identity, "columns": list(self.columns), "classes": list(self._classes)}
        return Source(determined, self.columns.pair is not None, read)

    @property
    def _classes(self) -> Classes:
        return self.known.classes(self.classes)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; check the file") from error
