"""Where a tokenizer comes from: a folder or the hub. Checks without torch, before anything is loaded."""

import json
from pathlib import Path

from kiti.data import DataError
from kiti.data.text.hub_files import HubError, ask

_FILES = ("tokenizer.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model", "vocab.json")


def check_folder(path: str, max_length: int) -> str | None:
    """What is wrong with the model folder `path`, in one line; None if nothing is, or it is no folder."""
    folder = Path(path)
    if not folder.is_dir():
        return None
    if not any((folder / name).is_file() for name in _FILES):
        # transformers would make a tokenizer that knows only its special tokens.
        return f"{path} has no tokenizer ({', '.join(_FILES[:2])}, …); copy the model's there too"
    try:
        config = json.loads((folder / "config.json").read_text())
        positions = config.get("max_position_embeddings")
    except (OSError, ValueError, AttributeError):
        return f"{path} has no readable config.json; give a folder that transformers saved"
    if isinstance(positions, int) and max_length > positions:
        return f"data.max_length={max_length}: {path} has {positions} positions; choose at most that many"
    return None


def only_local(path: str, revision: str | None) -> bool:
    """Whether the tokenizer must come from files that are here already: a folder, or the hub's cache without the hub.

    Raises DataError if it is in neither, and the hub does not have it or does not answer.
    """
    if Path(path).is_dir():
        return True
    if path.startswith((".", "/", "~")) or path.count("/") > 1:
        raise DataError(f"model.path={path}: no such folder; give a folder with a model, or a name on the hub")
    try:
        ask("model", path, revision)
    except HubError as error:
        if _is_cached(path, revision):
            return True
        raise DataError(
            f"model.path={path}: {error}, and its tokenizer is not in the hub's cache; give a folder with it, or "
            "the small encoder that scripts/fetch_text_stand_ins.py downloads"
        ) from error
    return False


def _is_cached(name: str, revision: str | None) -> bool:
    from huggingface_hub import try_to_load_from_cache

    found = [try_to_load_from_cache(name, file, revision=revision) for file in ("config.json", *_FILES)]
    return isinstance(found[0], str) and any(isinstance(one, str) for one in found[1:])
