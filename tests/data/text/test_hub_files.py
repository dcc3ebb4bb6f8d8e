"""A set comes from the hub's own HTTP paths, served here, through the code that reads it; else there is one line."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from text_cases import COMMIT, REVIEWS, imdb, serving, tokenizer_folder, write

FETCH = """
from kiti.data.text.hub_files import HubError, fetch
try:
    print(fetch(root / "data", "stanfordnlp/imdb", "0123456789abcdef0123456789abcdef01234567"))
except HubError as error:
    print(error)
"""
REQUIRE = """
from types import SimpleNamespace
from kiti.data import DataError
from kiti.data.text.published_texts_keys import PublishedTextsKeys
columns = SimpleNamespace(model_dump=lambda: {"text": "premise", "pair": "hypothesis", "label": "label"})
commit = "0123456789abcdef0123456789abcdef01234567"
keys = PublishedTextsKeys.model_construct(
    set="snli", repository="stanfordnlp/snli", commit=commit, path=None, data_dir=str(root), columns=columns
)
try:
    keys.require()
except DataError as error:
    print(error)
print("torch" in sys.modules)
"""


def run(program: str, endpoint: str, root: Path) -> list[str]:
    """Lines that it prints, in a process of its own: the hub's client reads HF_ENDPOINT when it is imported."""
    environment = os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(root / "hf")}
    start = f"import sys\nfrom pathlib import Path\nsys.path[:0] = {sys.path!r}\nroot = Path({str(root)!r})\n"
    done = subprocess.run(
        [sys.executable, "-c", start + program], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_set_is_read_through_the_hubs_paths(tmp_path: Path) -> None:
    tokenizer_folder(tmp_path / "model")
    # As on the hub: shards in a folder of the configuration, which README.md assigns to splits; and other files.
    plain = write(tmp_path / "hub" / "plain_text", REVIEWS)
    for split in REVIEWS:
        (plain / f"{split}.parquet").rename(plain / f"{split}-00000-of-00001.parquet")
    (tmp_path / "hub" / "imdb.py").write_text("raise SystemExit('executed')")
    files = "".join(f"  - split: {split}\n    path: plain_text/{split}-*\n" for split in REVIEWS)
    (tmp_path / "hub" / "README.md").write_text(
        f"---\nconfigs:\n- config_name: plain_text\n  data_files:\n{files}---\n"
    )
    with serving() as hub:
        hub.add("stanfordnlp/imdb", tmp_path / "hub")
        run(FETCH, hub.url, tmp_path)
        assert f"/datasets/stanfordnlp/imdb/resolve/{COMMIT}/plain_text/train-00000-of-00001.parquet" in hub.requested
        assert not any(path.endswith(".py") for path in hub.requested)
    # From now on the copy is read: the hub is gone.
    found = imdb(tmp_path, path=None, commit=COMMIT)
    labels = [label for batch in found.train_dataloader() for label in batch[3].tolist()]
    assert sorted(labels) == sorted(REVIEWS["train"]["label"])
    local = imdb(tmp_path, path=str(write(tmp_path / "files", REVIEWS)))
    assert found.fingerprint == local.fingerprint, "local files with the same rows are the same data"


def test_a_broken_download_is_not_read_and_goes_on(tmp_path: Path) -> None:
    write(tmp_path / "hub", REVIEWS)
    place = tmp_path / "data" / "hub" / "stanfordnlp--imdb" / COMMIT
    with serving() as hub:
        hub.add("stanfordnlp/imdb", tmp_path / "hub")
        hub.breaks_after = 700
        [line] = run(FETCH, hub.url, tmp_path)
        assert line.startswith("the download stopped (")
        assert not place.exists()
        hub.breaks_after = None
        assert run(FETCH, hub.url, tmp_path) == [str(place)]
    for split in REVIEWS:
        assert (place / f"{split}.parquet").read_bytes() == (tmp_path / "hub" / f"{split}.parquet").read_bytes()


def test_a_set_without_parquet_files_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "hub", REVIEWS, ".csv")
    with serving() as hub:
        hub.add("stanfordnlp/imdb", tmp_path / "hub")
        [line] = run(FETCH, hub.url, tmp_path)
    assert "no Parquet files" in line


@pytest.mark.parametrize("hub", ["refuses", "is silent", "has no such set"])
def test_without_hub_and_copy_it_is_one_line_without_torch(hub: str, tmp_path: Path) -> None:
    if hub == "has no such set":
        with serving() as server:
            line, torch = run(REQUIRE, server.url, tmp_path)
        assert f"{server.url} has no such set or commit" in line
    else:
        with socket.socket() as port:
            port.bind(("127.0.0.1", 0))
            if hub == "is silent":
                port.listen()
            line, torch = run(REQUIRE, f"http://127.0.0.1:{port.getsockname()[1]}", tmp_path)
    assert line.startswith("SNLI (stanfordnlp/snli at 0123456789ab): http://127.0.0.1:")
    assert "give data.path=<folder> with train.parquet and test.parquet (or .jsonl or .csv; columns premise, " in line
    assert line.endswith("or take the stand-in data=pubmedqa or data=boolq from scripts/fetch_text_stand_ins.py")
    assert torch == "False"
