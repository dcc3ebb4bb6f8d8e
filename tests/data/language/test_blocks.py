"""Blocks hold the tokens of permuted documents, each once, and say what is predicted from where."""

from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from language_cases import corpora, encoded, held_out, texts, tokenizer_folder, write_jsonl
from torch import Tensor

from kiti.data.language.blocks import UNLABELLED, BlockSource
from kiti.data.language.corpora_data import CorporaData
from kiti.data.language.token_corpus import Passes

T, END = 8, 299
TEXTS = texts(150)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("blocks")
    tokenizer_folder(root / "tokenizer")
    write_jsonl(root / "corpora" / "only.jsonl", TEXTS)
    return root


@pytest.fixture(scope="module")
def passes(root: Path) -> Passes:
    data = corpora(root)
    data.setup()
    [corpus] = data._corpora.values()
    return Passes(corpus, corpus.of_split("train"), 7)


def joined(root: Path, passes: Passes, number: int) -> list[int]:
    """The tokens of a pass: those of its documents, as the tokenizer gives them, in the order of the pass."""
    order, _ = passes.order(number)
    return [*chain(*(encoded(root / "tokenizer", TEXTS[document]) for document in order))]


def test_each_pass_is_a_permutation_of_its_own(passes: Passes) -> None:
    before = torch.random.get_rng_state()
    orders = [passes.order(number)[0].tolist() for number in range(4)]
    assert all(sorted(order) == passes.documents.tolist() for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    again = Passes(passes.corpus, passes.documents, 7)
    assert again.order(2)[0].tolist() == orders[2]
    assert Passes(passes.corpus, passes.documents, 8).order(2)[0].tolist() != orders[2]
    assert torch.equal(torch.random.get_rng_state(), before)


def test_any_part_of_the_stream_can_be_read(root: Path, passes: Passes) -> None:
    stream = [*chain(*(joined(root, passes, number) for number in range(3)))]
    assert len(stream) == 3 * passes.size
    assert passes.read(0, len(stream)).tolist() == stream
    generator = np.random.default_rng(0)
    for _ in range(200):
        first = int(generator.integers(len(stream) - 1))
        count = int(generator.integers(1, min(300, len(stream) - first) + 1))
        assert passes.read(first, count).tolist() == stream[first : first + count]
    assert passes.read(5, 0).tolist() == []


def test_joined_blocks_over_epochs_are_the_documents_in_order(root: Path, passes: Passes) -> None:
    blocks = passes.size // T + 3  # an epoch is a little more than a pass
    source = BlockSource([passes], [blocks], T, "joined", END)
    assert len(source) == blocks
    stream = [*chain(*(joined(root, passes, number) for number in range(3)))]
    batches = [source.__getitems__([(epoch, block) for block in range(blocks)]) for epoch in range(2)]
    inputs = torch.cat([batch[0].flatten() for batch in batches]).tolist()
    labels = torch.cat([batch[1].flatten() for batch in batches]).tolist()
    assert inputs == stream[: 2 * blocks * T]
    assert labels == stream[1 : 2 * blocks * T + 1]
    for batch in batches:
        assert {one.dtype for one in batch} == {torch.int64}
        assert torch.equal(batch[2], torch.arange(T).expand(blocks, T))


def expected_isolated(inputs: Tensor, following: int) -> tuple[list[int], list[int]]:
    """Labels and positions of a row, written out."""
    labels, positions, place = [], [], 0
    ids = inputs.tolist()
    for token, after in zip(ids, [*ids[1:], following], strict=True):
        labels.append(UNLABELLED if token == END else after)
        positions.append(place)
        place = 0 if token == END else place + 1
    return labels, positions


def test_isolated_blocks_predict_no_document_from_another(passes: Passes) -> None:
    blocks = passes.size // T
    isolated, plain = (BlockSource([passes], [blocks], T, kind, END) for kind in ("isolated", "joined"))
    every = [(1, block) for block in range(blocks)]
    inputs, labels, positions = isolated.__getitems__(every)
    assert torch.equal(inputs, plain.__getitems__(every)[0])
    following = plain.__getitems__(every)[1][:, -1]
    for row in range(blocks):
        assert (labels[row].tolist(), positions[row].tolist()) == expected_isolated(inputs[row], int(following[row]))
    assert (inputs == END).any()
    assert (labels[inputs == END] == UNLABELLED).all()
    assert (labels == END).any(), "that a document ends is predicted"


def test_the_last_block_is_filled_without_labels(passes: Passes) -> None:
    for kind in ("joined", "isolated"):
        source = BlockSource([passes], [3], T, kind, END, tokens=[2 * T + 4])
        inputs, labels, positions = source.__getitems__([(0, 0), (0, 2)])
        assert inputs[1, :4].tolist() == passes.read(2 * T, 4).tolist()
        assert inputs[1, 4:].tolist() == [END] * 4
        assert labels[1, 3:].tolist() == [UNLABELLED] * 5
        known = labels[1, :3]
        assert torch.equal(known[known != UNLABELLED], inputs[1, 1:4][known != UNLABELLED])
        assert positions.shape == (2, T)


def test_evaluation_labels_every_held_out_token_but_the_first(root: Path) -> None:
    data: CorporaData = corpora(root, validation_tokens=8000)
    documents = held_out(TEXTS, "validation")
    assert documents
    tokens = [encoded(root / "tokenizer", text) for text in documents]
    batches = list(data.val_dataloader())
    labels = torch.cat([batch[1].flatten() for batch in batches])
    labelled = labels[labels != UNLABELLED]
    assert sorted([*labelled.tolist(), int(batches[0][0][0, 0])]) == sorted(chain(*tokens))
    assert len(labelled) == sum(map(len, tokens)) - 1
    bounded = corpora(root, validation_tokens=2 * T)
    assert [len(batch[0]) for batch in bounded.val_dataloader()] == [2]
    [(first, *_)] = bounded.val_dataloader()
    assert torch.equal(first, batches[0][0][:2]), "fixed blocks in order"
