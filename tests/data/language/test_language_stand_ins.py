"""What is said of the stand-ins agrees with itself, and with the files where they are."""

import json
from collections import Counter
from pathlib import Path

import pytest

from kiti.configuration.locations import working_root
from kiti.data.language.documents import split_of
from kiti.data.language.language_stand_ins import (
    CHOICES,
    CORPORA,
    DOCUMENTS,
    ITEMS,
    NAMES,
    PROBLEMS,
    TOKENIZERS,
    expected_sha256,
    files,
    is_complete,
    missing,
    place,
)

DATA = working_root() / "data"


def present(name: str) -> None:
    if line := missing(DATA, name):
        pytest.skip(line)


def test_each_has_a_place_and_a_checksum() -> None:
    assert len(set(NAMES)) == len({place("data", name) for name in NAMES}) == len(NAMES)
    assert all(len(expected_sha256(name)) == 64 for name in NAMES)
    assert sum(corpus.weight for corpus in CORPORA.values()) == pytest.approx(1)
    assert CHOICES.keys() == ITEMS.keys()


@pytest.mark.parametrize("name", ["set_mm", "kiti-bpe-4096", "piqa", "arithmetic"])
def test_what_is_missing_is_said_with_what_makes_it(name: str, tmp_path: Path) -> None:
    line = missing(tmp_path, name)
    assert line is not None
    assert str(place(tmp_path, name)) in line
    assert line.endswith(f" is missing; scripts/fetch_language_stand_ins.py {tmp_path} {name} makes it")
    assert not is_complete(tmp_path, name)
    folder = place(tmp_path, name).parent if place(tmp_path, name).suffix else place(tmp_path, name)
    folder.mkdir(parents=True)
    for file in files(name):
        (folder / file).write_text("another content")
    assert missing(tmp_path, name) is None
    assert not is_complete(tmp_path, name)


@pytest.mark.parametrize("name", CORPORA)
def test_numbers_of_documents_are_those_of_the_file(name: str) -> None:
    present(name)
    documents: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for line in (place(DATA, name) / DOCUMENTS).read_text(encoding="utf-8").splitlines():
        text = json.loads(line)["text"]
        documents[split_of(text)] += 1
        sizes[split_of(text)] += len(text.encode())
    assert documents == CORPORA[name].documents
    assert sizes == CORPORA[name].bytes
    assert is_complete(DATA, name)


@pytest.mark.parametrize("name", [*ITEMS, *PROBLEMS])
def test_questions_are_those_of_the_file(name: str) -> None:
    present(name)
    rows = [json.loads(line) for line in place(DATA, name).read_text(encoding="utf-8").splitlines()]
    assert len(rows) == {**ITEMS, **PROBLEMS}[name].number
    for row in rows:
        if name in ITEMS:
            assert row["question"]
            assert len(row["choices"]) == CHOICES[name]
            assert 0 <= row["answer"] < CHOICES[name]
        else:
            assert row["question"]
            assert "\n#### " in row["solution"]


@pytest.mark.parametrize("name", TOKENIZERS)
def test_tokenizers_have_their_ids(name: str) -> None:
    present(name)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(place(DATA, name))
    assert (len(tokenizer), tokenizer.eos_token_id) == (TOKENIZERS[name].size, TOKENIZERS[name].end)
    assert is_complete(DATA, name)
