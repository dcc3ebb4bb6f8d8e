"""Where the documents of a configured corpus are. Without torch."""

from pathlib import Path

from kiti.data import DataError
from kiti.data.language.documents import DocumentSource
from kiti.data.language.hub_documents import HubDocuments
from kiti.data.language.language_stand_ins import CORPORA, FETCH, place
from kiti.data.language.local_documents import LocalDocuments


def source_of(
    data_dir: str | Path,
    corpus: str,
    *,
    path: str | None,
    repository: str | None,
    commit: str | None,
    name: str | None,
    split: str,
    column: str,
) -> DocumentSource:
    """The documents of `corpus`, unread. DataError if local files are missing; a hub is not asked.

    Args:
        data_dir: of the run.
        path: a file or folder; None: the hub's `repository` at `commit`, its configuration `name` and its `split`.
        column: holds the text.
    """
    if path is None:
        assert repository is not None
        assert commit is not None
        return HubDocuments(repository, commit, name, split, column)
    if is_stand_in(data_dir, corpus, path) and not Path(path).exists():
        raise DataError(f"{path} is missing; {FETCH} {data_dir} makes it")
    return LocalDocuments(Path(path), column, Path(data_dir) / "tokens" / corpus / "source_checksums.json")


def is_stand_in(data_dir: str | Path, corpus: str, path: str | None) -> bool:
    """Whether the corpus is one that `FETCH` makes."""
    return corpus in CORPORA and path is not None and Path(path) == place(data_dir, corpus)
