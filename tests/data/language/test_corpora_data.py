"""A mixture has its proportions, counts what it reads, and knows how many bytes its labels stand for."""

import logging
from collections import Counter
from itertools import chain
from pathlib import Path

import pytest
import torch
from language_cases import corpora, encoded, held_out, texts, tokenizer_folder, write_jsonl
from torch import Tensor

from kiti.data import DataError
from kiti.data.language.blocks import UNLABELLED
from kiti.data.language.corpora_data import CorporaData
from kiti.data.language.language_stand_ins import CORPORA, place
from kiti.data.language.language_tokenizer import read_tokenizer
from kiti.data.language.mixture import shared

SIZES = {"few": 40, "many": 400, "most": 500}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mixture")
    tokenizer_folder(root / "tokenizer")
    for number, (name, size) in enumerate(SIZES.items()):
        write_jsonl(root / "corpora" / f"{name}.jsonl", documents(name, number, size))
    return root


def documents(name: str, number: int, size: int) -> list[str]:
    """Texts that begin with the name of their corpus."""
    return [f"{name} {text}" for text in texts(size, number)]


def mixed(root: Path, weights: dict[str, float], **changed: object) -> CorporaData:
    found = {
        name: {"weight": weight, "path": str(root / "corpora" / f"{name}.jsonl")} for name, weight in weights.items()
    }
    return corpora(root, corpora=found, **changed)


def test_shares_are_proportional_and_whole() -> None:
    assert shared(100, {"a": 0.7, "b": 0.15, "c": 0.15}) == {"a": 70, "b": 15, "c": 15}
    assert shared(10, {"a": 7, "b": 1.5, "c": 1.5}) == {"a": 7, "b": 2, "c": 1}
    assert shared(7, {"a": 1, "b": 1, "c": 1}) == {"a": 3, "b": 2, "c": 2}
    assert shared(5, {"a": 0, "b": 2}) == {"a": 0, "b": 5}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"a": 0.0}, "the weights of the corpora have no positive sum; give one of them a positive weight"),
        ({"a": -1.0, "b": 2.0}, r"corpora\.a\.weight=-1\.0 is not a number of at least 0"),
        ({"a": float("nan")}, r"corpora\.a\.weight=nan is not a number of at least 0"),
        ({"a": 1e308, "b": 1e308}, "the weights of the corpora have no positive sum"),
    ],
)
def test_weights_that_sum_to_nothing_are_refused(weights: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        shared(10, weights)


def test_an_epoch_has_the_proportions_of_the_mixture(root: Path) -> None:
    data = mixed(root, {"few": 0.15, "many": 0.15, "most": 0.7}, tokens=1600)
    batches = list(data.train_dataloader())
    rows = [tuple(row) for batch in batches for row in batch[0].tolist()]
    assert len(rows) == 200
    source = data._training_source()
    assert Counter(rows) == Counter(tuple(source[0, block][0][0].tolist()) for block in range(200))
    assert source.blocks == [30, 30, 140]
    assert [stream.corpus for stream in source.streams] == [data._corpora[name] for name in SIZES]
    for number, (name, size) in enumerate(SIZES.items()):
        some = {word for text in documents(name, number, size) for word in encoded(root / "tokenizer", text)[:2]}
        assert some & {*source.streams[number].read(0, 100).tolist()}


def test_a_small_corpus_is_passed_over_several_times(root: Path) -> None:
    data = mixed(root, {"few": 0.9, "most": 0.1}, tokens=8000)
    few = held_out(documents("few", 0, 40), "train")
    tokens = [encoded(root / "tokenizer", text) for text in few]
    size = sum(map(len, tokens))
    assert data.counts["few_passes"] == -(-7200 // size) > 2
    assert data.counts["few_train_tokens"] == size
    source = data._training_source()
    ids = source.__getitems__([(epoch, block) for epoch in range(2) for block in range(900)])[0].flatten().tolist()
    passes = [ids[start : start + size] for start in range(0, len(ids) - size, size)]
    assert len(passes) > 4, "the second epoch goes on where the first ended"
    for one in passes:
        assert sorted(one) == sorted(chain(*tokens)), "each document once a pass"
    assert len({tuple(one) for one in passes}) == len(passes), "in another order each time"


def test_a_corpus_of_weight_0_is_not_read(root: Path) -> None:
    data = corpora(
        root,
        corpora={
            "many": {"weight": 1, "path": str(root / "corpora" / "many.jsonl")},
            "none": {"weight": 0, "path": "/nowhere"},
        },
    )
    assert list(data.weights) == ["many"]
    assert {name.split("_")[0] for name in data.counts} == {"many"}


def test_seeds_differ_and_repeat(root: Path) -> None:
    def first(seed: int) -> Tensor:
        return next(iter(corpora(root, seed=seed).train_dataloader()))[0]

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


def test_what_is_evaluated_is_held_out_and_mixed(root: Path) -> None:
    data = mixed(root, {"many": 1, "most": 3}, validation_tokens=160)
    tokenizer = read_tokenizer(data.tokenizer, None).load()

    def read(loader) -> list[str]:
        ids = [row for batch in loader for row in batch[0].tolist()]
        return [tokenizer.decode(row, skip_special_tokens=False) for row in ids]

    blocks = {role: read(data.evaluation_dataloader(role)) for role in ("train", "validation", "test")}
    assert [len(found) for found in blocks.values()] == [20, 20, 20]
    for role, found in blocks.items():
        of_many, of_most = (
            "<|endoftext|>".join(held_out(documents(name, number, SIZES[name]), role))
            for name, number in (("many", 1), ("most", 2))
        )
        for number, block in enumerate(found):
            longest = max(block.replace("�", "").split("<|endoftext|>"), key=len)
            assert longest in (of_many if number < 5 else of_most), role
    assert data.fingerprint["split"] == {"train": 100, "validation": 20, "test": 20}
    assert mixed(root, {"many": 1, "most": 3}, test_on="validation").fingerprint["split"] == {
        "train": 100,
        "validation": 20,
    }
    assert read(data.val_dataloader()) == blocks["validation"]
    assert read(data.test_dataloader()) == blocks["test"]
    assert read(data.train_eval_dataloader()) == blocks["train"]
    assert read(mixed(root, {"many": 1, "most": 3}, test_on="validation", seed=9).test_dataloader()) == read(
        mixed(root, {"many": 1, "most": 3}).val_dataloader()
    )


def test_the_fingerprint_is_that_of_documents_and_tokenizer(root: Path, tmp_path: Path) -> None:
    base = corpora(root).fingerprint
    for path in (root / "corpora").iterdir():
        (tmp_path / "corpora" / path.stem).mkdir(parents=True)
        (tmp_path / "corpora" / path.stem / "part.jsonl").write_bytes(path.read_bytes())
    tokenizer_folder(tmp_path / "tokenizer")
    elsewhere = corpora(tmp_path, seed=3, context=16)
    assert elsewhere.fingerprint["content"] == base["content"]
    tokenizer_folder(tmp_path / "tokenizer", pieces=290)
    assert corpora(tmp_path).fingerprint["content"] != base["content"]
    tokenizer_folder(tmp_path / "tokenizer")
    write_jsonl(tmp_path / "corpora" / "few" / "part.jsonl", ["another"] * 9 + texts(200))
    assert corpora(tmp_path).fingerprint["content"] != base["content"]


@pytest.mark.parametrize("kind", ["joined", "isolated"])
@pytest.mark.parametrize("nfc", [False, True])
def test_bytes_of_whole_documents_are_those_of_their_texts(kind: str, nfc: bool, tmp_path: Path) -> None:
    tokenizer_folder(tmp_path / "tokenizer", nfc=nfc)
    # e and an accent, which NFC joins to one character of two bytes instead of three.
    some = [f"{text} e\u0301{number}" for number, text in enumerate(texts(300))]
    write_jsonl(tmp_path / "corpora" / "only.jsonl", some)
    data = corpora(tmp_path, documents=kind, validation_tokens=10**6, context=16)
    table = read_tokenizer(data.tokenizer, None).bytes_of_ids()
    for role in ("validation", "test"):
        held = held_out(some, role)
        assert len(held) > 2
        batches = list(data.evaluation_dataloader(role))
        firsts = [ids[0] for text in held if (ids := encoded(tmp_path / "tokenizer", text))]
        unlabelled = sum(int(table[token]) for token in firsts)
        if kind == "joined":
            unlabelled = int(table[int(batches[0][0][0, 0])])
        assert data.bytes_of(role) == sum(len(text.encode()) for text in held) - unlabelled


def test_bytes_of_a_cut_document_are_those_of_its_labelled_tokens(root: Path) -> None:
    data = mixed(root, {"most": 1}, validation_tokens=24)
    [(_, labels, _)] = data.val_dataloader()
    tokenizer = read_tokenizer(data.tokenizer, None).load()
    ids = labels[labels != UNLABELLED].tolist()
    assert len(ids) == 24
    pieces = [tokenizer.id_to_token(one) for one in ids]
    assert data.bytes_of("validation") == sum(len(piece) for piece in pieces if piece != "<|endoftext|>")


def test_stand_ins_are_named(tmp_path: Path) -> None:
    tokenizer_folder(tmp_path / "tokenizer")
    folder = place(tmp_path / "data", "set_mm")
    settings = {"set_mm": {"weight": 1, "path": str(folder)}}
    (tmp_path / "corpora").mkdir()
    data = corpora(tmp_path, corpora=settings)
    assert data.stand_in == CORPORA["set_mm"].what
    with pytest.raises(DataError) as error:
        data.setup()
    assert str(error.value) == (
        f"{folder} is missing; scripts/fetch_language_stand_ins.py {tmp_path / 'data'} makes it"
    )
    write_jsonl(folder / "set_mm.jsonl", texts(300))
    data.setup()
    assert corpora(tmp_path, corpora={"set_mm": {"weight": 1, "path": str(tmp_path / "mine")}}).stand_in is None


def test_too_few_documents_are_refused(tmp_path: Path) -> None:
    tokenizer_folder(tmp_path / "tokenizer")
    train = held_out(texts(50), "train")
    write_jsonl(tmp_path / "corpora" / "only.jsonl", train)
    with pytest.raises(DataError, match=r"none of the corpora \(only\) has documents for validation, which are 2 in"):
        corpora(tmp_path).setup()
    write_jsonl(tmp_path / "corpora" / "only.jsonl", [*train, *held_out(texts(300), "validation")])
    with pytest.raises(DataError, match=r"has documents for test, .*; give more documents, or data\.test_on=validatio"):
        corpora(tmp_path).setup()
    write_jsonl(tmp_path / "corpora" / "only.jsonl", held_out(texts(300), "test"))
    with pytest.raises(DataError, match=r"only\.jsonl: none of its \d+ documents is for training"):
        corpora(tmp_path).setup()


def test_what_was_counted_is_said_once(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        data = corpora(root)
        data.setup()
        data.setup()
    [line] = [record.message for record in caplog.records if "documents" in record.message]
    assert "few_documents 40" in line
    assert data.counts["few_duplicates"] == 0
