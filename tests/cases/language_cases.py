"""A tiny byte-level tokenizer, small corpora, and a server with the paths by which the Hugging Face hub is streamed."""

import hashlib
import json
import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlparse

from text_cases import COMMIT, Hub, _Handler
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from kiti.data.language.corpora_data import CorporaData
from kiti.data.language.documents import split_of
from kiti.data.language.language_tokenizer import END

WORDS = [
    "a",
    "an",
    "and",
    "collision",
    "energy",
    "é",
    "粒子",
    "field",
    "gas",
    "heat",
    "in",
    "of",
    "particle",
    "velocity",
]


def texts(number: int, seed: int = 0) -> list[str]:
    """Different texts of 1 to 40 words."""
    random.seed(seed)
    return [f"{i}. " + " ".join(random.choices(WORDS, k=random.randint(1, 40))) for i in range(number)]


def tokenizer_folder(folder: Path, *, pieces: int = 300, added: Sequence[AddedToken] = (), nfc: bool = False) -> str:
    """A folder with a byte-level BPE of `pieces` tokens, END the last of them, and further tokens `added`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    trainer = trainers.BpeTrainer(
        vocab_size=pieces - 1, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(texts(200, seed=-1), trainer)
    tokenizer.add_special_tokens([END])
    tokenizer.add_tokens([*added])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return str(folder)


def change_tokenizer(folder: Path, **news: Any) -> None:
    """Overwrite parts of tokenizer.json."""
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | news))


def write_jsonl(path: Path, documents: Sequence[str], column: str = "text") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({column: text}, ensure_ascii=False) + "\n" for text in documents))
    return path


def encoded(folder: Path, text: str) -> list[int]:
    """The tokens of a document and the end token, as the tokenizer itself gives them."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    return [*tokenizer.encode(text, add_special_tokens=False).ids, tokenizer.token_to_id(END)]


def held_out(documents: Sequence[str], split: str) -> list[str]:
    return [text for text in documents if split_of(text) == split]


def corpora(root: Path, **changed: Any) -> CorporaData:
    """A mixture of the corpora in `root/corpora`, one a file, with the tokenizer in `root/tokenizer`."""
    found = {path.stem: {"weight": 1.0, "path": str(path)} for path in sorted((root / "corpora").iterdir())}
    settings: dict[str, Any] = {
        "corpora": found,
        "tokenizer": str(root / "tokenizer"),
        "tokenizer_commit": None,
        "vocab_size": 300,
        "context": 8,
        "documents": "joined",
        "tokens": 800,
        "validation_tokens": 160,
        "test_on": "test",
        "workers": 0,
        "processes": 1,
        "data_dir": str(root / "data"),
        "batch_size": 4,
        "eval_batch_size": 4,
        "seed": 0,
    }
    return CorporaData(**settings | changed)


class _StreamingHandler(_Handler):
    """Also lists folders, says of single paths what they are, and gives models."""

    def send_header(self, keyword: str, value: str) -> None:
        if keyword == "X-Error-Code" and any(f"/{name}/resolve/" in self.path for name in self.server.sets):
            value = "EntryNotFound"
        super().send_header(keyword, value)

    def do_HEAD(self) -> None:
        self._as_a_set()
        super().do_HEAD()

    def _as_a_set(self) -> None:
        """Models are answered as data sets are."""
        self.path = self.path.replace("/api/models/", "/api/datasets/")
        if any(self.path.startswith(f"/{name}/resolve/") for name in self.server.sets):
            self.path = f"/datasets{self.path}"

    def do_GET(self) -> None:
        self._as_a_set()
        url = urlparse(self.path)
        repository, tree, rest = url.path.removeprefix("/api/datasets/").partition("/tree/")
        if not tree:
            super().do_GET()
            return
        self.server.requested.append(url.path)
        whole = parse_qs(url.query).get("recursive", ["false"])[0].lower() == "true"
        self._send(json.dumps(self._listed(repository, rest.removeprefix(COMMIT).strip("/"), whole)).encode(), True)

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        repository, asked, _ = self.path.removeprefix("/api/datasets/").partition("/paths-info/")
        paths = json.loads(content)["paths"] if content.startswith(b"{") else parse_qs(content.decode())["paths"]
        assert asked
        everything = {entry["path"]: entry for entry in self._listed(repository, "", whole=True)}
        self._send(json.dumps([everything[path] for path in paths if path in everything]).encode(), True)

    def _listed(self, repository: str, folder: str, whole: bool) -> list[dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for path, content in self.server.sets[repository].items():
            if folder and not path.startswith(f"{folder}/"):
                continue
            parts = path.removeprefix(folder).strip("/").split("/")
            for depth in range(1, len(parts) if whole else min(2, len(parts))):
                name = "/".join(filter(None, [folder, *parts[:depth]]))
                found[name] = {"type": "directory", "path": name, "size": 0, "oid": "0" * 40}
            if whole or len(parts) == 1:
                oid = hashlib.sha1(content).hexdigest()
                found[path] = {"type": "file", "path": path, "size": len(content), "oid": oid}
        return [*found.values()]


@contextmanager
def streaming() -> Iterator[Hub]:
    """A hub at a port of this machine whose data sets can be streamed."""
    with Hub() as hub:
        hub.RequestHandlerClass = _StreamingHandler
        thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
