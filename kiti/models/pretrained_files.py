"""The files of a pretrained encoder, in a local folder or in the hub's cache; nothing here imports torch.

config.json, model.safetensors, and tokenizer.json or vocab.txt
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

from huggingface_hub import constants, hf_hub_url, snapshot_download
from huggingface_hub.utils import get_session
from safetensors import SafetensorError, safe_open

from kiti.storage.weights_file import sha256
from kiti.units.keys import FilesError

CONFIG, WEIGHTS = "config.json", "model.safetensors"
TOKENIZERS = ("tokenizer.json", "vocab.txt")
"""A tokenizer is in the first of these that exists."""
NAMES = (CONFIG, WEIGHTS, *TOKENIZERS, "tokenizer_config.json", "special_tokens_map.json")

_SECONDS = 5  # until a hub that does not answer counts as unreachable
_STAND_IN = "scripts/fetch_text_stand_ins.py fetches a stand-in, MiniLM: model=minilm"


def folder_of(path: str, commit: str | None, key: str = "model.path") -> Path:
    """The local folder `path`, or that of the hub's repository `path` at a commit, downloaded if it is not cached.

    Raises FilesError, which names `key`, if there is no such folder, or neither a copy nor a hub.
    """
    if commit is None:
        folder = Path(path)
        if not folder.is_dir():
            raise FilesError(
                f"{key}={path}: no such folder; give one with {_named(NAMES[:3])}, or a name on the hub with "
                f"model.commit=<40 digits>; {_STAND_IN}"
            )
        return folder
    with suppress(FileNotFoundError):
        cached = Path(snapshot_download(path, revision=commit, allow_patterns=[*NAMES], local_files_only=True))
        if not _missing(cached):
            return cached
    _require_hub(path, commit)
    try:
        return Path(snapshot_download(path, revision=commit, allow_patterns=[*NAMES]))
    except (OSError, ValueError) as error:  # the hub's own errors are both
        reason = " ".join(str(error).split())
        raise FilesError(f"model.path={path} model.commit={commit}: {reason}") from error


def require(folder: Path) -> None:
    """FilesError unless the folder holds an encoder and its tokenizer."""
    if missing := _missing(folder):
        raise FilesError(f"{folder}: no {' and no '.join(missing)}; a folder as save_pretrained writes it is needed")


def _missing(folder: Path) -> list[str]:
    found = [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]
    return found + ([] if tokenizer_file(folder) else [" or ".join(TOKENIZERS)])


def tokenizer_file(folder: Path) -> Path | None:
    """The file with the vocabulary; None if there is none."""
    return next((folder / name for name in TOKENIZERS if (folder / name).is_file()), None)


def _require_hub(path: str, commit: str) -> None:
    """FilesError if the hub cannot be asked, or lacks the files. The hub's own client tries for half a minute."""
    reason = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else _complaint(path, commit)
    if reason:
        raise FilesError(
            f"model.path={path} model.commit={commit}: not in the cache {constants.HF_HUB_CACHE}, and {reason}; "
            f"put {_named(NAMES[:3])} into a folder and give model.path=<folder> model.commit=null; {_STAND_IN}"
        )


def _complaint(path: str, commit: str) -> str:
    """Why the hub does not give the files; empty if it does."""
    answers: list[int | Exception] = []

    def ask() -> None:
        try:
            url = hf_hub_url(path, CONFIG, revision=commit)
            answers.append(get_session().head(url, timeout=_SECONDS).status_code)
        except Exception as error:  # whatever the HTTP library raises where nothing answers
            answers.append(error)

    asking = Thread(target=ask, daemon=True)  # looking up a name has no time limit of its own
    asking.start()
    asking.join(_SECONDS)
    match answers:
        case []:
            return f"{constants.ENDPOINT} does not answer"
        case [int(status)]:
            return f"{constants.ENDPOINT} has no such files, or not for this account" if status >= 400 else ""
        case [error]:
            return f"{constants.ENDPOINT} cannot be reached: {' '.join(str(error).split())[:120]}"
    raise AssertionError(answers)


def require_weights(folder: Path, digest: str | None, key: str = "model.weights") -> None:
    """FilesError unless the sha256 of the weights is `digest`, which stands for them in a run's identity."""
    found = sha256(folder / WEIGHTS)
    if found != digest:
        given = "missing" if digest is None else f"{digest}, but these weights are others"
        raise FilesError(f"{folder / WEIGHTS}: {key} is {given}; if they are meant, give {key}={found}")


def read_config(folder: Path) -> dict[str, Any]:
    """config.json. FilesError if it is not JSON."""
    try:
        found: dict[str, Any] = json.loads((folder / CONFIG).read_bytes())
    except (OSError, ValueError) as error:
        raise FilesError(f"{folder / CONFIG}: {error}") from error
    return found


def stored_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the stored tensors by name. FilesError if the file is damaged."""
    path = folder / WEIGHTS
    try:
        with safe_open(path, framework="numpy") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  # not a dict
    except (OSError, SafetensorError) as error:
        raise FilesError(f"{path}: {error}") from error


def require_family(folder: Path, family: str) -> None:
    """FilesError unless config.json is of this family of models."""
    found = read_config(folder).get("model_type")
    if found != family:
        raise FilesError(f"{folder}: a model of type {found}, and model.family={family}; choose another of the two")


def require_sizes(folder: Path, names: Mapping[str, str], sizes: Mapping[str, Any]) -> None:
    """FilesError unless config.json has these sizes; `names` maps each key of the model to its name there."""
    config = read_config(folder)
    found = {key: config[name] for key, name in names.items() if config.get(name, sizes[key]) != sizes[key]}
    if found:
        given = " ".join(f"model.{key}={size}" for key, size in found.items())
        raise FilesError(f"{folder / CONFIG} has other sizes than the configuration; if they are meant, give {given}")


def require_head(folder: Path, family: str, head: str, classes: int) -> None:
    """FilesError unless what the folder holds goes with `head`: "new", "stored" or "replaced"."""
    shapes, config = stored_shapes(folder), read_config(folder)
    stored = shapes.get("classifier.weight", (0,))[0]
    kind = " or ".join(config.get("architectures") or ["model"])
    if not any("layer.0." in name for name in shapes):
        raise FilesError(f"{folder / WEIGHTS}: no weights of a {family} encoder")
    if head == "new" and stored:
        raise FilesError(
            f"{folder}: a {kind} with a head for {stored} classes; model.head=stored continues from it, "
            "model.head=replaced draws another one"
        )
    if head == "stored" and not kind.endswith("ForSequenceClassification"):
        raise FilesError(f"{folder}: a {kind} has no classifier of texts, and model.head=stored needs one; choose new")
    if head == "stored" and stored != classes:
        raise FilesError(
            f"{folder}: its head is for {stored} classes, the data have {classes}; model.head=replaced draws another"
        )


def require_language_model(folder: Path, family: str) -> None:
    """FilesError unless the folder holds the weights of a language model of this family."""
    shapes = stored_shapes(folder)
    if not any("h.0." in name or "layers.0." in name for name in shapes):
        kind = " or ".join(read_config(folder).get("architectures") or ["model"])
        raise FilesError(f"{folder / WEIGHTS}: a {kind} without the layers of a {family} language model")


def require_tokens_fit(folder: Path, vocab_size: int) -> None:
    """FilesError if the tokenizer in `folder` has a token without a row in an embedding of `vocab_size` rows."""
    path = tokenizer_file(folder)
    if path is None:
        raise FilesError(f"{folder}: no tokenizer: neither {' nor '.join(TOKENIZERS)}; copy it there")
    largest = _largest_token(path)
    if largest >= vocab_size:
        raise FilesError(
            f"{path} has tokens up to {largest}, but the model's embedding has {vocab_size} rows; "
            "give the tokenizer that belongs to the model (data.tokenizer)"
        )


def _largest_token(path: Path) -> int:
    try:
        if path.suffix == ".txt":
            return len(path.read_text(encoding="utf-8").splitlines()) - 1
        stored = json.loads(path.read_bytes())
        ids = [*stored["model"]["vocab"].values(), *(token["id"] for token in stored.get("added_tokens", []))]
        return int(max(ids))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FilesError(f"{path}: not a tokenizer: {type(error).__name__}: {error}") from error


def _named(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
