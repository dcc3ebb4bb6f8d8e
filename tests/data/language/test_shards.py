"""Shards are made once, whole, also after a kill; shards that cannot be used are named and refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from language_cases import encoded, texts, tokenizer_folder, write_jsonl

from kiti.data import DataError
from kiti.data.language import documents, file_sums, shard_index, shards
from kiti.data.language.documents import SPLITS, Documents, DocumentSource, split_of
from kiti.data.language.language_tokenizer import read_tokenizer
from kiti.data.language.local_documents import LocalDocuments
from kiti.data.language.shard_index import ShardIndex
from kiti.data.language.token_corpus import TokenCorpus

TEXTS = texts(120)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Many small shards; shards.py reads these constants when it is called."""
    monkeypatch.setattr(documents, "CHARACTERS_AT_ONCE", 300)
    monkeypatch.setattr(shards, "SHARD_TOKENS", 1500)
    tokenizer_folder(tmp_path / "tokenizer")
    write_jsonl(tmp_path / "corpus.jsonl", TEXTS)
    return tmp_path


def prepare(root: Path, **changed: Any) -> ShardIndex:
    source = LocalDocuments(root / "corpus.jsonl", "text", root / "sums.json")
    tokenizer = read_tokenizer(str(root / "tokenizer"), None)
    return shards.prepared(root / "data", "corpus", source, tokenizer, 1, **{"processes": 1} | changed)


def folder(root: Path) -> Path:
    [found] = [path for path in (root / "data" / "tokens" / "corpus").iterdir() if path.is_dir()]
    return found


def content(folder: Path) -> dict[str, bytes]:
    """All files, without the time in the index."""
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    index = json.loads(found["index.json"])
    index.pop("created")
    return found | {"index.json": json.dumps(index).encode()}


def refused(root: Path) -> str:
    with pytest.raises(DataError) as error:
        prepare(root)
    line = str(error.value)
    assert "\n" not in line
    assert line.endswith(f"; delete {folder(root)}, and the same command makes it again")
    return line


def test_every_token_of_every_document_is_there_once(root: Path) -> None:
    index = prepare(root)
    corpus = TokenCorpus(index)
    assert len(index.shards) > 2
    expected = [encoded(root / "tokenizer", text) for text in TEXTS]
    found = [corpus.tokens(number, 0, int(length)).tolist() for number, length in enumerate(corpus.lengths)]
    assert found == expected
    stored = b"".join(index.path("tokens", number).read_bytes() for number in range(len(index.shards)))
    assert np.frombuffer(stored, index.dtype).tolist() == [*chain(*expected)]
    assert corpus.sizes.tolist() == [len(text.encode()) for text in TEXTS]
    for split in SPLITS:
        assert corpus.of_split(split).tolist() == [n for n, text in enumerate(TEXTS) if split_of(text) == split]
    names = sorted(path.name for path in folder(root).iterdir())
    of = f"{len(index.shards):05}"
    assert names[:2] == [f"documents-00000-of-{of}.safetensors", f"documents-00001-of-{of}.safetensors"]
    assert names[-1] == f"tokens-{len(index.shards) - 1:05}-of-{of}.bin"
    assert len(names) == 2 * len(index.shards) + 1


def test_what_is_counted(root: Path) -> None:
    write_jsonl(root / "corpus.jsonl", ["", *TEXTS, TEXTS[3], " ", TEXTS[3], "", "\n"])
    assert prepare(root).counts == {"documents": 122, "duplicates": 2, "empty": 4}


def test_neither_processes_nor_names_of_files_matter(root: Path) -> None:
    alone = content(prepare(root).folder)
    shutil.rmtree(root / "data")
    (root / "corpus.jsonl").rename(root / "other.jsonl")
    source = LocalDocuments(root / "other.jsonl", "text", root / "sums.json")
    tokenizer = read_tokenizer(str(root / "tokenizer"), None)
    index = shards.prepared(root / "elsewhere", "name", source, tokenizer, 1, processes=2)
    assert content(index.folder) == alone


def test_shards_are_made_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare(root)
    monkeypatch.setattr(shards, "_make", lambda *_: pytest.fail("made again"))
    assert prepare(root) == first
    first.folder.chmod(0o555)
    assert prepare(root) == first


def test_wide_ids_are_stored_in_four_bytes(root: Path) -> None:
    path = root / "tokenizer" / "tokenizer.json"
    stored = json.loads(path.read_text())
    stored["added_tokens"][-1]["id"] = 65_536  # the end token, which then needs more than 16 bits
    stored["model"]["vocab"]["<|endoftext|>"] = 65_536
    path.write_text(json.dumps(stored))
    index = prepare(root)
    assert (index.dtype, index.end) == (np.dtype("<u4"), 65_536)
    corpus = TokenCorpus(index)
    assert corpus.tokens(5, 0, int(corpus.lengths[5])).tolist() == encoded(root / "tokenizer", TEXTS[5])


@pytest.mark.parametrize("lines", [[], ["", " "]])
def test_an_empty_corpus_is_refused(lines: list[str], root: Path) -> None:
    write_jsonl(root / "corpus.jsonl", lines)
    with pytest.raises(DataError, match="no documents with text in it; give a corpus with some") as error:
        prepare(root)
    assert "\n" not in str(error.value)
    assert not [path for path in (root / "data" / "tokens" / "corpus").iterdir() if path.is_dir()]


def test_a_wrong_document_leaves_nothing_that_is_read(root: Path) -> None:
    whole = prepare(root)
    expected = content(whole.folder)
    shutil.rmtree(root / "data")
    good = (root / "corpus.jsonl").read_bytes()
    (root / "corpus.jsonl").write_bytes(good + b'{"text": "\xff"}\n')
    with pytest.raises(DataError, match=r"corpus\.jsonl:121: byte 11 \(0xff\) is not UTF-8"):
        prepare(root)
    assert folder(root).name.endswith(".making")
    (root / "corpus.jsonl").write_bytes(good)
    assert content(prepare(root).folder) == expected


class Stream(DocumentSource):
    """Of no known size; counts what is read of it."""

    where = "stream"

    def __init__(self) -> None:
        self.given = 0

    @property
    def identity(self) -> dict[str, Any]:
        return {"stream": 1}

    def read(self, position):
        for number in range(position["number"] if position else 0, 40):
            self.given += 1
            yield Documents(texts(5, number), {"number": number + 1}, number)


def test_of_a_stream_only_what_is_needed_is_prepared(root: Path) -> None:
    tokenizer, source = read_tokenizer(str(root / "tokenizer"), None), Stream()

    def trained(tokens: int) -> tuple[ShardIndex, int]:
        index = shards.prepared(root / "data", "stream", source, tokenizer, tokens, processes=1)
        corpus = TokenCorpus(index)
        return index, int(corpus.lengths[corpus.of_split("train")].sum())

    few, tokens = trained(700)
    assert len(few.shards) == 1
    assert 700 <= tokens < 1500
    assert source.given < 10
    more, tokens = trained(3100)
    assert len(more.shards) == 3
    assert 4500 <= tokens < 6000
    assert source.given < 40
    again, _ = trained(4000)  # rounded up by a shard: the same three
    assert again == more
    everything, _ = trained(10**6)
    assert sum(shard.documents for shard in everything.shards) == 200


def of_another_tokenizer(folder: Path) -> None:
    path = folder / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tokenizer": "0" * 64}))


def of_other_documents(folder: Path) -> None:
    path = folder / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"fingerprint": "0" * 64}))


def damaged(folder: Path) -> None:
    path = sorted(folder.glob("tokens-00001-*"))[0]
    found = bytearray(path.read_bytes())
    found[100] ^= 1
    path.write_bytes(found)


def damaged_table(folder: Path) -> None:
    path = sorted(folder.glob("documents-00001-*"))[0]
    found = bytearray(path.read_bytes())
    found[-1] ^= 1
    path.write_bytes(found)


def cut(folder: Path) -> None:
    path = sorted(folder.glob("tokens-00001-*"))[0]
    path.write_bytes(path.read_bytes()[:-2])


def missing(folder: Path) -> None:
    sorted(folder.glob("tokens-00001-*"))[0].unlink()


def all_missing(folder: Path) -> None:
    for path in folder.glob("*-of-*"):
        path.unlink()


def with_another_snapshot(folder: Path) -> None:
    shutil.copy(sorted(folder.glob("tokens-00001-*"))[0], folder / "tokens-00001-of-00099.bin")


def with_another_file(folder: Path) -> None:
    shutil.copy(sorted(folder.glob("tokens-00001-*"))[0], folder / "more.bin")


def without_index(folder: Path) -> None:
    (folder / "index.json").unlink()


def with_a_broken_index(folder: Path) -> None:
    (folder / "index.json").write_text('{"tokenizer": 1')


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (of_another_tokenizer, "has shards of another tokenizer, 000000000000, not of "),
        (of_other_documents, "has shards of other documents or of another format"),
        (damaged, "tokens-00001-of-0000{n}.bin is damaged: its sha256 is "),
        (damaged_table, "documents-00001-of-0000{n}.safetensors is damaged: its sha256 is "),
        (cut, "tokens-00001-of-0000{n}.bin is damaged: it has "),
        (missing, "tokens-00001-of-0000{n}.bin is missing"),
        (all_missing, "tokens-00000-of-0000{n}.bin is missing"),
        (with_another_snapshot, "has shards of two snapshots, tokens-*-of-0000{n}.bin and tokens-*-of-00099.bin"),
        (with_another_file, "more.bin lies beside shards that it does not belong to"),
        (without_index, "index.json cannot be read: No such file or directory"),
        (with_a_broken_index, "index.json is damaged"),
    ],
)
@pytest.mark.parametrize("small", [True, False], ids=["small", "large"])
def test_shards_that_cannot_be_used_are_refused(
    change, message: str, small: bool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not small:
        monkeypatch.setattr(file_sums, "SMALL", 100)
    number = len(prepare(root).shards)
    change(folder(root))
    assert message.format(n=number) in refused(root)
    shutil.rmtree(folder(root))
    assert len(prepare(root).shards) == number


def test_large_shards_are_verified_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_sums, "SMALL", 100)
    index = prepare(root)
    monkeypatch.setattr(file_sums, "_sha256", lambda path: pytest.fail("read again"))
    assert prepare(root) == index
    path = index.path(shard_index.TOKENS, 0)
    os.utime(path, ns=(0, 0))
    with pytest.raises(pytest.fail.Exception, match="read again"):
        prepare(root)


PROCESS = """
import sys, time
from pathlib import Path
from kiti.data.language import documents, shards, tokenising
from kiti.data.language.language_tokenizer import read_tokenizer
from kiti.data.language.local_documents import LocalDocuments
root = Path(sys.argv[1])
documents.CHARACTERS_AT_ONCE, shards.SHARD_TOKENS = 300, 1500
of_texts = tokenising.Tokeniser.__call__
def slowly(self, some):
    with (root / "made").open("a") as side:
        side.write("x")
    while (root / "made").stat().st_size > int(sys.argv[2]) and not (root / "go").exists():
        time.sleep(0.01)
    return of_texts(self, some)
tokenising.Tokeniser.__call__ = slowly
source = LocalDocuments(root / "corpus.jsonl", "text", root / "sums.json")
tokenizer = read_tokenizer(str(root / "tokenizer"), None)
print(shards.prepared(root / "data", "corpus", source, tokenizer, 1, processes=1).content)
assert "torch" not in sys.modules
"""


def start(root: Path, name: str, tasks: int) -> subprocess.Popen[bytes]:
    """Prepare in a process that halts after so many tasks until there is a file `go`."""
    program = f"import sys\nsys.path[:0] = {sys.path!r}\n{PROCESS}"
    with (root / f"{name}.out").open("w") as out, (root / f"{name}.err").open("w") as err:
        return subprocess.Popen([sys.executable, "-c", program, str(root), str(tasks)], stdout=out, stderr=err)


def wait_for(condition) -> None:
    until = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def made(root: Path) -> int:
    return len((root / "made").read_bytes()) if (root / "made").exists() else 0


def test_killed_twice_then_the_same_shards(root: Path) -> None:
    expected = content(prepare(root).folder)
    shutil.rmtree(root / "data")
    kept: dict[str, int] = {}
    for tasks in (13, 22):
        killed = start(root, f"killed-{tasks}", tasks)
        try:
            wait_for(lambda tasks=tasks: made(root) > tasks)
        finally:
            killed.send_signal(signal.SIGKILL)
            killed.wait()
        [making] = [path for path in (root / "data" / "tokens" / "corpus").iterdir() if path.is_dir()]
        assert making.name.endswith(".making")
        finished = {path.name: path.stat().st_ino for path in making.iterdir()}
        of_entries = {name for name in finished if name.startswith("shard-")}
        assert of_entries
        assert len(finished) == 3 * len(of_entries) + 1, "and one that is half written"
        assert kept.items() <= finished.items(), "finished shards are kept"
        kept = {name: inode for name, inode in finished.items() if f"shard-{name.split('-')[1][:5]}.json" in of_entries}
    assert content(prepare(root).folder) == expected
    assert {path.stat().st_ino for path in folder(root).iterdir()} > {
        inode for name, inode in kept.items() if not name.startswith("shard-")
    }


def test_two_at_once_have_the_same_whole_shards(root: Path) -> None:
    two = [start(root, name, 5) for name in ("one", "other")]
    try:
        wait_for(lambda: any("waiting" in (root / f"{name}.err").read_text() for name in ("one", "other")))
        (root / "go").touch()
        assert [process.wait(timeout=120) for process in two] == [0, 0]
    finally:
        for process in two:
            process.kill()
            process.wait()
    assert (root / "one.out").read_text() == (root / "other.out").read_text() != ""
    tasks = made(root)
    shutil.rmtree(root / "data")
    (root / "made").unlink()
    alone = start(root, "alone", 0)
    assert alone.wait(timeout=120) == 0
    assert made(root) == tasks, "one of the two made them"


@pytest.mark.parametrize("step", ["rename", "write_whole"])
def test_an_end_at_any_step_of_finishing_loses_no_shard(step: str, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = content(prepare(root).folder)
    shutil.rmtree(root / "data")

    class Killed(BaseException):
        pass

    calls = 0

    def fails(path: Path, *args: Any) -> Any:
        nonlocal calls
        calls += 1
        if (step == "rename" and calls == 3) or path.name == "index.json":
            raise Killed
        return original(path, *args)

    where = Path if step == "rename" else shards
    original = getattr(where, step)
    with monkeypatch.context() as patched:
        patched.setattr(where, step, fails)
        with pytest.raises(Killed):
            prepare(root)
    monkeypatch.setattr(shards._ShardWriter, "finish", lambda *_: pytest.fail("a finished shard is made again"))
    assert content(prepare(root).folder) == expected
