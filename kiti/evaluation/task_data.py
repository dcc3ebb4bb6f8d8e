"""Where the items of a task are: a file of the stand-ins, a local copy, or the hub at a commit."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kiti.data import DataError
from kiti.data.text import hub_files
from kiti.data.text.hub_files import HubError
from kiti.evaluation import known_tasks

_COMMIT = re.compile("[0-9a-f]{40}")


@dataclass(frozen=True)
class Sources:
    """What a user says about data.

    Attributes:
        data_dir: the folder with the stand-ins and the copies from the hub.
        commits: 40 digits, by repository of a set on the hub. There is no default: names such as main move.
        paths: a file, or a folder as the hub has it, to read in place of the hub's, by task.
    """

    data_dir: Path
    commits: Mapping[str, str] = field(default_factory=dict)
    paths: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Located:
    """Items on this disk, and what a record says of them."""

    path: Path
    identity: dict[str, str]


def from_disk(task: str, path: Path) -> Located:
    """A file or folder with its sha256. DataError if it is missing or holds nothing."""
    if path.is_file():
        if not path.stat().st_size:
            raise DataError(f"{task}: {path} is empty")
        return Located(path, {"file": path.name, "sha256": _sha256(path)})
    if path.is_dir():
        files = sorted(each for each in path.rglob("*") if each.is_file() and ".cache" not in each.parts)
        if not files:
            raise DataError(f"{task}: {path} is empty")
        lines = "".join(f"{_sha256(each)}  {each.relative_to(path)}\n" for each in files)
        return Located(path, {"folder": path.name, "sha256": hashlib.sha256(lines.encode()).hexdigest()})
    raise DataError(_missing(task, path))


def require_reachable(tasks: Sequence[str], sources: Sources) -> None:
    """DataError, within seconds and before torch is loaded, if the items of one of the papers' tasks are out of reach.

    What lm-eval alone knows of other tasks is found out when they are read.
    """
    for task in tasks:
        repository = known_tasks.repository(task)
        if task not in sources.paths and repository is not None:
            commit = _commit(task, repository, sources)
            with _explained(task, repository, commit):
                hub_files.require(sources.data_dir, repository, commit)
        path = sources.paths.get(task, known_tasks.stand_in_file(task, sources.data_dir))
        if path is not None and not path.exists():
            raise DataError(_missing(task, path))


def from_hub(task: str, repository: str, sources: Sources) -> Located:
    """The copy of a set at the commit given for it, downloaded if it is not there yet. DataError if that fails."""
    commit = _commit(task, repository, sources)
    with _explained(task, repository, commit):
        found = hub_files.fetch(sources.data_dir, repository, commit)
    return Located(found, {"repository": repository, "commit": commit})


def _commit(task: str, repository: str, sources: Sources) -> str:
    commit = sources.commits.get(repository)
    if commit is None or not _COMMIT.fullmatch(commit):
        wrong = "" if commit is None else f", not {commit!r}"
        wanted = f"--revision {repository}=<40 digits of a commit>{wrong}"
        raise DataError(
            f"{task}: its items are {repository} on the hub; give {wanted}, or a local copy with --data {task}=<path>"
        )
    return commit


@contextmanager
def _explained(task: str, repository: str, commit: str) -> Iterator[None]:
    try:
        yield
    except HubError as error:
        raise DataError(
            f"{task}: {repository} at {commit[:12]}: {error}; --data {task}=<path> reads a local copy"
        ) from error


def _missing(task: str, path: Path) -> str:
    return f"{task}: no {path}; scripts/fetch_language_stand_ins.py fetches the stand-ins; --data names another"


def rows(task: str, located: Located, columns: tuple[str, ...], configs: tuple[str, ...], split: str) -> list[Any]:
    """The rows of a split, as dicts with at least these columns. DataError, with the line or file, if they are not.

    A file is JSON Lines or Parquet; a folder is read by `datasets`, each of `configs` in turn.
    """
    path = located.path
    found = _lines(task, path) if path.suffix in (".jsonl", ".json") else _tables(task, path, configs, split)
    for number, row in enumerate(found, start=1):
        if missing := [name for name in columns if not isinstance(row, dict) or name not in row]:
            raise DataError(f"{task}: {path}: row {number} has no {', no '.join(missing)}")
    if not found:
        raise DataError(f"{task}: {path} has no rows")
    return found


def _lines(task: str, path: Path) -> list[Any]:
    try:
        return [_parsed(task, path, number, line) for number, line in enumerate(path.open(encoding="utf-8"), start=1)]
    except UnicodeDecodeError as error:
        raise DataError(f"{task}: {path}: not UTF-8 ({error})") from error


def _parsed(task: str, path: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise DataError(f"{task}: {path}: line {number} is not JSON ({error})") from error


def _tables(task: str, path: Path, configs: tuple[str, ...], split: str) -> list[Any]:
    import tempfile

    import datasets

    try:
        if path.is_file():
            import pyarrow.parquet as pq

            return pq.read_table(path).to_pylist()  # type: ignore[no-any-return]
        with tempfile.TemporaryDirectory() as cache:
            return [
                row
                for config in configs or (None,)
                for row in datasets.load_dataset(
                    str(path), config, split=split, cache_dir=cache, keep_in_memory=True
                ).to_list()
            ]
    except (OSError, ValueError) as error:
        raise DataError(f"{task}: {path}: {' '.join(str(error).split())[:200]}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
