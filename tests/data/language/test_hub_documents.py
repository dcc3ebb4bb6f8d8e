"""A corpus is streamed through the hub's own HTTP paths, served here; else there is one line."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from language_cases import streaming, texts, tokenizer_folder
from text_cases import COMMIT

# What a process does with `source` and `root`; the hub's client reads HF_ENDPOINT when it is imported.
READ = """
from kiti.data.language import documents
documents.CHARACTERS_AT_ONCE = 300
found = [some._asdict() for some in source.read(None)]
again = [[one._asdict() for one in source.read(json.loads(json.dumps(found[number]["after"])))] for number in (0, 4)]
whole = [text for some in found for text in some["texts"]]
print(json.dumps([whole, [[text for one in rest for text in one["texts"]] for rest in again], found[-1]["read"]]))
print(json.dumps([len(some["texts"]) for some in found]))
"""
PREPARE = """
from kiti.data.language import shards
from kiti.data.language.language_tokenizer import read_tokenizer
tokenizer = read_tokenizer(str(root / "tokenizer"), None)
print(shards.prepared(root / "data", "corpus", source, tokenizer, 500, processes=1).content)
"""
REQUIRE = """
source.require()
"""
TOKENIZER = """
from kiti.data.language.language_tokenizer import read_tokenizer
found = read_tokenizer("o/model", source.commit)
print(found.end, found.file.name)
"""


def run(program: str, endpoint: str, root: Path, **changed: Any) -> list[str]:
    """Lines that it prints; the last one is whether torch was imported."""
    environment = os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(root / "hf")}
    settings = {"repository": "o/set", "commit": COMMIT, "name": None, "split": "train", "column": "text"} | changed
    start = f"""
import json, sys
from pathlib import Path
sys.path[:0] = {sys.path!r}
root = Path({str(root)!r})
from kiti.data import DataError
from kiti.data.language.hub_documents import HubDocuments
source = HubDocuments(**{settings!r})
try:
{"".join(f"    {line}" for line in program.splitlines(keepends=True))}
except DataError as error:
    print(error)
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", start], env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A set of three shards, each with several groups of rows."""
    for number in range(3):
        path = tmp_path / "set" / "data" / f"train-{number:05}-of-00003.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        table = pa.table({"text": texts(20, number), "url": ["http://localhost"] * 20})
        pq.write_table(table, path, row_group_size=7)
    (tmp_path / "set" / "loading.py").write_text("raise SystemExit('executed')")
    return tmp_path


@pytest.mark.slow
def test_documents_are_streamed_from_any_place_on(root: Path) -> None:
    expected = [text for number in range(3) for text in texts(20, number)]
    with streaming() as hub:
        hub.add("o/set", root / "set")
        line, sizes, _ = run(READ, hub.url, root)
        assert any(path.endswith("train-00002-of-00003.parquet") for path in hub.requested)
        [wrong, _] = run(READ, hub.url, root, column="content")
        # The same stream, prepared: what it needs of it.
        tokenizer_folder(root / "tokenizer")
        [content, _] = run(PREPARE, hub.url, root)
    whole, again, read = json.loads(line)
    of_batches = json.loads(sizes)
    assert whole == expected
    assert sum(of_batches) == 60
    assert again == [expected[of_batches[0] :], expected[sum(of_batches[:5]) :]]
    assert read == sum(len(text.encode()) for text in expected)
    assert wrong == (
        "o/set at 0123456789ab: no column 'content'; there are text, url; data.corpora.<name>.column=<column> names "
        "another"
    )
    assert not any((root / "hf").rglob("*.parquet")), "no file is kept"
    # Prepared shards need no hub.
    assert run(PREPARE, "http://127.0.0.1:9", root)[:1] == [content]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["README.md", "set.py"])
def test_a_set_without_data_or_with_a_script_is_one_line(name: str, root: Path) -> None:
    with streaming() as hub:
        hub.add("o/set", root / "set")
        hub.sets["o/set"][name] = b"nothing"
        if name == "README.md":
            hub.sets["o/set"] = {name: b"nothing"}
        [line, _] = run(READ, hub.url, root)
    reason = "doesn't contain any data files" if name == "README.md" else "Dataset scripts are no longer supported"
    assert line.startswith("o/set at 0123456789ab: it cannot be streamed (")
    assert reason in line
    assert "; give data.corpora.<name>.path=" in line


@pytest.mark.parametrize("hub", ["refuses", "is silent", "has no such set"])
def test_without_a_hub_it_is_one_line_without_torch(hub: str, tmp_path: Path) -> None:
    if hub == "has no such set":
        with streaming() as server:
            line, torch = run(REQUIRE, server.url, tmp_path)
        assert f"{server.url} has no such set or commit" in line
    else:
        with socket.socket() as port:
            port.bind(("127.0.0.1", 0))
            if hub == "is silent":
                port.listen()
            line, torch = run(REQUIRE, f"http://127.0.0.1:{port.getsockname()[1]}", tmp_path)
    assert line.startswith("o/set at 0123456789ab: http://127.0.0.1:")
    assert line.endswith(
        "; give data.corpora.<name>.path=<file or folder> with .txt, .jsonl or .parquet (column text) and "
        "data.corpora.<name>.commit=null, or take data=language_stand_ins"
    )
    assert torch == "False"


def test_a_tokenizer_comes_from_the_hub_alone_and_once(tmp_path: Path) -> None:
    tokenizer_folder(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").write_bytes(b"large")
    with streaming() as hub:
        hub.add("o/model", tmp_path / "model")
        assert run(TOKENIZER, hub.url, tmp_path) == ["299 tokenizer.json", "False"]
        assert not any("model.safetensors" in path for path in hub.requested)
        assert run(TOKENIZER, "http://127.0.0.1:9", tmp_path) == ["299 tokenizer.json", "False"]
        hub.sets.clear()
        line, torch = run(TOKENIZER, hub.url, tmp_path / "other")
    assert line.startswith(f"data.tokenizer=o/model data.tokenizer_commit={COMMIT}: {hub.url} has no such model or com")
    assert line.endswith("; give data.tokenizer=<folder with tokenizer.json> data.tokenizer_commit=null")
    assert torch == "False"
