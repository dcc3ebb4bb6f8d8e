"""The keys of `data=imdb`, `data=snli` and `data=snips`."""

import re
from pathlib import Path
from typing import Literal

from pydantic import field_validator, model_validator

from kiti.data import DataError
from kiti.data.text.hub_files import HubError, require
from kiti.data.text.published_sets import PUBLISHED, unavailable
from kiti.data.text.text_keys import TextKeys
from kiti.units.keys import NotHashed, Place, Strict


class ColumnKeys(Strict):
    text: str
    pair: str | None
    label: str


class PublishedTextsKeys(TextKeys):
    """`commit` is one of `repository`; null only with `path`, a folder with files of the same columns."""

    builds = "kiti.data.text.published_texts.PublishedTexts"
    name = "published_texts"
    set: Literal["imdb", "snli", "snips"]
    repository: str
    commit: str | None
    path: Place[str | None]
    columns: NotHashed[ColumnKeys]

    @property
    def rows(self) -> dict[str, int]:
        return PUBLISHED[self.set].rows

    @property
    def pairs(self) -> bool:
        return self.columns.pair is not None

    @field_validator("commit")
    @classmethod
    def _is_a_commit(cls, commit: str | None) -> str | None:
        if commit is not None and not re.fullmatch("[0-9a-f]{40}", commit):
            raise ValueError("give the 40 digits of a commit of the set on the hub: names such as main move")
        return commit

    @field_validator("path")
    @classmethod
    def _is_there(cls, path: str | None) -> str | None:
        if path is not None and not Path(path).is_dir():
            raise ValueError("no such folder; give the one with train.parquet and test.parquet, or .jsonl or .csv")
        return path

    @model_validator(mode="after")
    def _says_which(self) -> "PublishedTextsKeys":
        if self.path is None and self.commit is None:
            raise ValueError("commit=null: give that of the set on the hub, 40 digits; or data.path=<folder>")
        return self

    def require(self) -> None:
        if self.path is not None:
            from kiti.data.text.text_files import find_splits  # takes a second to import

            names = [name for name in self.columns.model_dump().values() if name]
            find_splits(Path(self.path), PUBLISHED[self.set].rows, names)
        else:
            assert self.commit is not None
            try:
                require(self.data_dir, self.repository, self.commit)
            except HubError as error:
                columns = self.columns.model_dump().values()
                raise DataError(unavailable(self.set, self.repository, self.commit, columns, error)) from error
