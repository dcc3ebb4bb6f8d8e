"""Documents are read exactly, from any place on, and what is wrong with a file is a line that names it."""

import hashlib
import os
from collections import Counter
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from language_cases import texts, write_jsonl

from kiti.data import DataError
from kiti.data.language import documents, file_sums
from kiti.data.language.documents import Documents, Position, split_of
from kiti.data.language.local_documents import LocalDocuments, find_documents

TEXTS = ["one", "", "two\nlines", "é 粒子", " \r\n", "last"]


def source(path: Path, column: str = "text") -> LocalDocuments:
    return LocalDocuments(path, column, path.parent / "sums.json")


def read(path: Path, position: Position | None = None, column: str = "text") -> list[str]:
    return list(chain(*(some.texts for some in source(path, column).read(position))))


def complaint(path: Path) -> str:
    with pytest.raises(DataError) as error:
        read(path)
    assert "\n" not in str(error.value)
    return str(error.value)


def write_parquet(path: Path, values: list[str], column: str = "text", rows: int = 3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"id": range(len(values)), column: values}), path, row_group_size=rows)
    return path


def test_a_document_is_in_the_split_of_its_hash() -> None:
    for text in TEXTS:
        number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") % 100
        expected = {0: "validation", 1: "validation", 2: "test", 3: "test"}.get(number, "train")
        assert split_of(text) == expected
    shares = Counter(split_of(f"document {number}") for number in range(20_000))
    assert shares["validation"] / 20_000 == pytest.approx(0.02, abs=0.003)
    assert shares["test"] / 20_000 == pytest.approx(0.02, abs=0.003)


def test_documents_are_read_as_they_are(tmp_path: Path) -> None:
    for number, text in enumerate(TEXTS):
        path = tmp_path / "txt" / f"{number}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode())
    assert read(tmp_path / "txt") == TEXTS
    assert read(write_jsonl(tmp_path / "a.jsonl", TEXTS)) == TEXTS
    assert read(write_jsonl(tmp_path / "b.jsonl", TEXTS, "content"), column="content") == TEXTS
    assert read(write_parquet(tmp_path / "c.parquet", TEXTS)) == TEXTS
    write_jsonl(tmp_path / "many" / "b.jsonl", TEXTS[3:])
    write_jsonl(tmp_path / "many" / "a" / "a.jsonl", TEXTS[:3])
    (tmp_path / "many" / "README.md").write_text("no document")
    assert read(tmp_path / "many") == TEXTS
    (tmp_path / "marked.txt").write_bytes(b"\xef\xbb\xbftext")
    assert read(tmp_path / "marked.txt") == ["text"]


@pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".parquet"])
def test_reading_goes_on_anywhere_with_the_same_documents_together(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "CHARACTERS_AT_ONCE", 200)
    folder = tmp_path / "files"
    for number in range(4):
        some = texts(1 if suffix == ".txt" else 17, seed=number)
        path = folder / f"{number}{suffix}"
        if suffix == ".txt":
            folder.mkdir(exist_ok=True)
            path.write_text(some[0] * 20)
        else:
            write_jsonl(path, some) if suffix == ".jsonl" else write_parquet(path, some, rows=5)
    whole = list(source(folder).read(None))
    assert len(whole) > 2
    assert [len(some.texts) for some in whole] != [len(whole[0].texts)] * len(whole) or suffix == ".txt"
    assert [some.read for some in whole] == sorted(some.read for some in whole)
    assert whole[-1].read == source(folder).size
    for number, some in enumerate(whole):
        assert list(source(folder).read(some.after)) == whole[number + 1 :]


def test_many_short_documents_are_handed_on_together(tmp_path: Path) -> None:
    [first, second] = source(write_jsonl(tmp_path / "a.jsonl", ["x"] * 1500)).read(None)
    assert (len(first.texts), len(second.texts)) == (1000, 500)
    assert isinstance(first, Documents)


def test_the_identity_is_the_content(tmp_path: Path) -> None:
    one, other = write_jsonl(tmp_path / "a.jsonl", TEXTS), write_jsonl(tmp_path / "b" / "c.jsonl", TEXTS)
    assert source(one).identity == source(other).identity
    before = source(one).identity
    stat = one.stat()
    one.write_text(one.read_text().replace("one", "two"))
    os.utime(one, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as long, and of the same time: only the content tells
    assert source(one).identity != before


def test_checksums_of_large_files_are_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_sums, "SMALL", 10)
    path = write_jsonl(tmp_path / "a.jsonl", TEXTS)
    before = source(path).identity
    monkeypatch.setattr(file_sums, "_sha256", lambda path: pytest.fail("read again"))
    assert source(path).identity == before
    monkeypatch.undo()
    monkeypatch.setattr(file_sums, "SMALL", 10)
    write_jsonl(path, [*TEXTS, "more"])
    assert source(path).identity != before
    (tmp_path / "sums.json").write_text("{")
    assert source(path).identity != before


def test_what_is_not_utf8_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("é\nsecond\nthird é ".encode() + b"\xff and more")
    assert complaint(path).startswith(f"{path}:3: byte 10 (0xff) is not UTF-8; convert the file")
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "a"}\n{"text": "\xe9"}\n')
    assert complaint(path).startswith(f"{path}:2: byte 11 (0xe9) is not UTF-8; convert the file")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "a"', "a.jsonl:2: not JSON ("),
        ('["a"]', "a.jsonl:2: not a JSON object; write one object a line"),
        ('{"content": "a"}', "a.jsonl:2: no column 'text'; there are content; data.corpora.<name>.column=<column> nam"),
        ('{"text": null}', "a.jsonl:2: text is null, not a string"),
        ('{"text": 3}', "a.jsonl:2: text is 3 (int), not a string"),
        ('{"text": "\\ud800"}', "a.jsonl:2: text has half a surrogate pair at 0"),
    ],
)
def test_a_wrong_line_is_named(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f'{{"text": "a"}}\n{line}\n')
    assert message in complaint(path)


def test_wrong_parquet_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 no")
    assert "not a readable Parquet file" in complaint(path)
    pq.write_table(pa.table({"text": [1]}), path)
    assert complaint(path) == f"{path}: text has type int64, not string; convert the column"
    pq.write_table(pa.table({"content": ["a"]}), path)
    assert "no column 'text'; there are content" in complaint(path)
    pq.write_table(pa.table({"text": ["a", None]}), path)
    assert f"{path}: row 2: text is null, not a string" in complaint(path)


def test_wrong_folders_are_named(tmp_path: Path) -> None:
    def refused(folder: Path) -> str:
        with pytest.raises(DataError) as error:
            find_documents(folder)
        return str(error.value)

    assert refused(tmp_path / "nowhere") == (
        f"{tmp_path}/nowhere is missing; give a file or folder with .txt, .jsonl or .parquet"
    )
    assert refused(tmp_path) == f"{tmp_path}: no .txt, .jsonl or .parquet file; give a file or folder with documents"
    for number in (0, 2, 3):
        write_parquet(tmp_path / f"train-{number:05}-of-00004.parquet", TEXTS)
    assert refused(tmp_path) == (
        f"{tmp_path}/train-00001-of-00004.parquet is missing; copy all shards of one snapshot, and no others"
    )
    write_parquet(tmp_path / "train-00001-of-00004.parquet", TEXTS)
    assert len(find_documents(tmp_path)) == 4
    write_parquet(tmp_path / "train-00001-of-00005.parquet", TEXTS)
    assert "two snapshots, train-*-of-00004.parquet and train-*-of-00005.parquet; copy all shards" in refused(tmp_path)
    (tmp_path / "a.txt").write_text("a")
    assert refused(tmp_path) == f"{tmp_path} has a.txt and train-00000-of-00004.parquet; keep those of one format"
