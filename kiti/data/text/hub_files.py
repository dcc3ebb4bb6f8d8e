"""Copies of sets on the Hugging Face hub: the Parquet files of one commit, and nothing that is executed.

Without torch and `datasets` at import, so that a missing set is reported at once.
"""

import os
import threading
from pathlib import Path
from typing import Any

from filelock import FileLock

PATTERNS = ["*.parquet", "**/*.parquet", "README.md"]
_CALLED = {"dataset": "set", "model": "model"}
SECONDS = 5.0
"""How long the hub may take to answer whether it has a set."""


class HubError(Exception):
    """Why the hub has not given a set, in a few words."""


def copy_of(data_dir: Path | str, repository: str, commit: str) -> Path:
    """Where the copy of a set lies: complete if it is there."""
    return Path(data_dir) / "hub" / repository.replace("/", "--") / commit


def require(data_dir: Path | str, repository: str, commit: str) -> None:
    """HubError unless there is a copy, or the hub says that it has the set."""
    if not copy_of(data_dir, repository, commit).is_dir():
        ask(repository, commit)


def fetch(data_dir: Path | str, repository: str, commit: str) -> Path:
    """The folder of the copy; downloaded, or continued, if it is not there. HubError if that fails.

    It has its name only once it is complete. If several processes need it at once, one downloads it.
    """
    place = copy_of(data_dir, repository, commit)
    if place.is_dir():
        return place
    ask(repository, commit)
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{place}.lock"):
        if place.is_dir():
            return place
        part = place.with_name(f"{commit}.part")
        _download(repository, commit, part)
        if not any(part.rglob("*.parquet")):
            raise HubError("it has no Parquet files there; its branch refs/convert/parquet may have them")
        os.rename(part, place)
    return place


def ask(repository: str, commit: str, kind: str = "dataset") -> None:
    """HubError unless the hub answers within SECONDS that it has the data set, or the "model", at this commit.

    In a thread of its own: looking up a name has no time limit where a network swallows everything.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HfHubHTTPError

    answer: list[Any] = []

    def call() -> None:
        try:
            answer.append(HfApi().repo_info(repository, repo_type=kind, revision=commit, timeout=SECONDS))
        except Exception as error:  # whatever it is, it is reported
            answer.append(error)

    asking = threading.Thread(target=call, daemon=True)
    asking.start()
    asking.join(SECONDS)
    if not answer:
        raise HubError(f"{constants.ENDPOINT} does not answer")
    if isinstance(answer[0], HfHubHTTPError):
        raise HubError(f"{constants.ENDPOINT} has no such {_CALLED[kind]} or commit, or not for this account")
    if isinstance(answer[0], Exception):
        raise HubError(f"{constants.ENDPOINT} cannot be reached ({_line(answer[0])})")


def _download(repository: str, commit: str, into: Path) -> None:
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(repository, repo_type="dataset", revision=commit, local_dir=into, allow_patterns=PATTERNS)
    except Exception as error:  # of httpx, of the hub, of the disk
        raise HubError(f"the download stopped ({_line(error)}); the same command continues it") from error


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text[:120] or type(error).__name__
