"""What Kneser–Ney models of all training text say of the tokens that a language model is tested on."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from kiti.data.cache import materialise
from kiti.data.language.blocks import BlockSource
from kiti.data.language.kneser_ney import kneser_ney_nats
from kiti.data.language.token_corpus import Passes, TokenCorpus


def counted_losses(
    data_dir: Path | str,
    corpora: Mapping[str, TokenCorpus],
    tested: BlockSource,
    orders: Sequence[int],
    vocabulary: int,
    content: str,
) -> dict[str, Float64[Tensor, "labels"]]:
    """By predictor, `kneser_ney_<order>`: the loss in nats of each label of the tested blocks.

    The models count all training documents of the corpora, whatever their weights. They are kept in
    `data_dir`/tokens/kneser_ney.

    Args:
        tested: evaluation blocks: each document of its streams once.
        vocabulary: number of ids.
        content: identifies the tokens of all corpora.
    """
    recipe = {
        "format": 1,
        "content": content,
        "tested": list(tested.tokens or ()),
        "streams": [stream.documents.tolist() for stream in tested.streams],
        "documents": tested.documents,
        "orders": list(orders),
        "vocabulary": vocabulary,
    }

    def make() -> dict[str, Tensor]:
        trained = [
            corpus.tokens(number, 0, int(corpus.lengths[number])).astype(np.int64)
            for corpus in corpora.values()
            for number in corpus.of_split("train").tolist()
        ]
        documents, labelled = zip(*_tested(tested), strict=True)
        chosen = np.concatenate(labelled)
        return {
            f"kneser_ney_{order}": torch.from_numpy(kneser_ney_nats(trained, documents, order, vocabulary)[chosen])
            for order in orders
        }

    return dict(materialise(data_dir, "tokens/kneser_ney", recipe, make).tensors)


def _tested(source: BlockSource) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The documents behind the blocks, and which of their tokens are labels."""
    assert source.tokens is not None
    for stream, known in zip(source.streams, source.tokens, strict=True):
        first = True
        for document in _first_tokens(stream, known):
            labels = np.ones(len(document), bool)
            if first or source.documents == "isolated":
                labels[0] = False
            first = False
            yield document, labels


def _first_tokens(stream: Passes, known: int) -> Iterator[np.ndarray]:
    """The documents of the first `known` tokens of a stream; the last one may be cut off."""
    order, ends = stream.order(0)
    for document, end in zip(order.tolist(), ends.tolist(), strict=True):
        length = int(stream.corpus.lengths[document])
        start = end - length
        if start >= known:
            return
        yield stream.corpus.tokens(document, 0, min(length, known - start)).astype(np.int64)
