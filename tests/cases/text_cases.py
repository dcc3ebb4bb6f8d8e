"""A small tokenizer, small sets of texts, and a server with the paths of the Hugging Face hub."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from transformers import BertConfig, BertTokenizer

from kiti.data.text.published_texts import PublishedTexts

WORDS = ["bad", "film", "good", "it", "is", "na", "no", "nan", "null", "none", "not", "of", "a", "the", "very"]
COMMIT = "0123456789abcdef" * 2 + "01234567"


def tokenizer_folder(folder: Path, *, vocab: list[str] | None = None, **config: Any) -> str:
    """A folder with BERT's tokenizer of a few words, and a config with 64 positions."""
    folder.mkdir(parents=True, exist_ok=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(WORDS if vocab is None else vocab)]
    BertTokenizer(vocab={word: i for i, word in enumerate(words)}).save_pretrained(folder)
    BertConfig(**{"vocab_size": len(words), "max_position_embeddings": 64} | config).save_pretrained(folder)
    return str(folder)


Rows = dict[str, list[Any]]

REVIEWS: dict[str, Rows] = {
    "train": {
        "text": ["it is good", "it is not good", "a very good film", "NA", "null", ""],
        "label": [1, 0, 1, 0, 1, 0],
    },
    "test": {"text": ["good", "bad film", "None"], "label": [1, 0, 0]},
}


def write(folder: Path, splits: dict[str, Rows], suffix: str = ".parquet") -> Path:
    """Each split as one file."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, columns in splits.items():
        path = folder / f"{split}{suffix}"
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        if suffix == ".parquet":
            pq.write_table(pa.table(columns), path)
        elif suffix == ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            lines = [",".join(columns), *(",".join(f'"{value}"' for value in row.values()) for row in rows)]
            path.write_text("".join(line + "\n" for line in lines))
    return folder


def imdb(tmp_path: Path, **changed: Any) -> PublishedTexts:
    """IMDb from the files in `tmp_path/files`, with the tokenizer in `tmp_path/model`."""
    settings: dict[str, Any] = {
        "set": "imdb",
        "repository": "stanfordnlp/imdb",
        "commit": None,
        "path": str(tmp_path / "files"),
        "columns": {"text": "text", "pair": None, "label": "label"},
        "classes": 2,
        "n_train": None,
        "n_validation": None,
        "test_on": "test",
        "max_length": 8,
        "tokenizer": str(tmp_path / "model"),
        "tokenizer_commit": None,
        "data_dir": str(tmp_path / "data"),
        "batch_size": 2,
        "eval_batch_size": 2,
        "seed": 0,
    }
    return PublishedTexts(**settings | changed)


class Hub(ThreadingHTTPServer):
    """Answers as the hub does for the data sets in `sets`: {repository: {path: content}} at COMMIT.

    `requested` has the paths; `breaks_after`: bytes of a file before the connection breaks.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.sets: dict[str, dict[str, bytes]] = {}
        self.requested: list[str] = []
        self.breaks_after: int | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def add(self, repository: str, folder: Path) -> None:
        self.sets[repository] = {
            str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
        }


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = self.path.partition("?")[0]
        self.server.requested.append(path)
        for repository, files in self.server.sets.items():
            if path in {f"/api/datasets/{repository}/revision/{COMMIT}", f"/api/datasets/{repository}"}:
                siblings = [{"rfilename": name, "size": len(content)} for name, content in files.items()]
                info = {
                    "_id": "0",
                    "id": repository,
                    "sha": COMMIT,
                    "private": False,
                    "gated": False,
                    "disabled": False,
                }
                self._send(
                    json.dumps({**info, "tags": [], "downloads": 0, "likes": 0, "siblings": siblings}).encode(), body
                )
                return
            if path.startswith(f"/api/datasets/{repository}/tree/{COMMIT}"):
                tree = [
                    {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                    for name, content in files.items()
                ]
                self._send(json.dumps(tree).encode(), body)
                return
            name = path.removeprefix(f"/datasets/{repository}/resolve/{COMMIT}/")
            if name in files:
                self._send(files[name], body, file=True)
                return
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, content: bytes, body: bool, file: bool = False) -> None:
        begin = 0
        if file and body and (wanted := self.headers.get("Range")):
            begin = int(wanted.removeprefix("bytes=").partition("-")[0])
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        if file:
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
            self.send_header("Accept-Ranges", "bytes")
        else:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        if body:
            cut = self.server.breaks_after if file else None
            self.wfile.write(content[begin:][:cut])
            if cut is not None and cut < len(content) - begin:
                self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Hub]:
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
