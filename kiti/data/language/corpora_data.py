"""A mixture of corpora for language models."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64
from torch import Tensor

from kiti.data import DataError
from kiti.data.data_module import Data
from kiti.data.language.block_loading import BlockEvaluationLoader, BlockLoader
from kiti.data.language.blocks import UNLABELLED, BlockSource
from kiti.data.language.corpus_sources import is_stand_in, source_of
from kiti.data.language.counted_losses import counted_losses
from kiti.data.language.language_stand_ins import CORPORA
from kiti.data.language.language_tokenizer import LanguageTokenizer, read_tokenizer
from kiti.data.language.mixture import shared
from kiti.data.language.shards import prepared
from kiti.data.language.token_corpus import Passes, TokenCorpus
from kiti.data.loading import clock_of, of_ranks
from kiti.storage.processes import rank

log = logging.getLogger(__name__)

Role = Literal["train", "validation", "test"]


class CorporaData(Data):
    """Batches (input_ids (B, T), labels (B, T), positions (B, T)), int64; see `BlockSource`.

    An epoch has `tokens` tokens: of each corpus as many blocks as its weight says, in a shuffled order. A block is of
    one corpus. Of a corpus the blocks of one epoch follow those of the epoch before: it is passed over as a whole, in
    an order of its own, before any of its documents comes again. Orders are functions of (seed, epoch, position).

    Documents that are held out (see `split_of`) validate after each epoch, in a fixed order, mixed by the same weights
    where there are enough of them. The training error is measured on as many training tokens as are tested on.

    Corpora are tokenised once, without any communication between ranks, and kept in `data_dir`.

    Args:
        corpora: by name, each with its `weight` and where its documents are, see `CorpusKeys`.
        tokenizer, tokenizer_commit: a folder with tokenizer.json or a name on the hub, and its commit.
        vocab_size: rows of the model's embedding, which the tokenizer's ids must not exceed.
        context: T.
        documents: "joined" or "isolated".
        tokens: trained on in an epoch.
        validation_tokens: the most that are read of the validation documents, and of the test documents.
        test_on: "test", or "validation" while choices are made.
        workers: processes that read training blocks; 0: none.
        processes: that tokenise; None: one a core.
        kneser_ney: orders of the Kneser–Ney models of `trivial_losses`; they count all training text in memory.
        data_dir: where shards are kept.
        batch_size, eval_batch_size, seed: as for Data; in blocks.
    """

    def __init__(
        self,
        *,
        corpora: Mapping[str, Mapping[str, Any]],
        tokenizer: str,
        tokenizer_commit: str | None,
        vocab_size: int,
        context: int,
        documents: Literal["joined", "isolated"],
        tokens: int,
        validation_tokens: int,
        test_on: Literal["test", "validation"],
        workers: int,
        processes: int | None,
        data_dir: Path | str,
        batch_size: int,
        eval_batch_size: int,
        seed: int,
        kneser_ney: Sequence[int] = (),
    ) -> None:
        super().__init__(batch_size, eval_batch_size, seed)
        self.corpora = {name: {**_DEFAULTS, **corpus} for name, corpus in corpora.items() if corpus["weight"]}
        self.weights = {name: float(corpus["weight"]) for name, corpus in self.corpora.items()}
        self.tokenizer = tokenizer
        self.tokenizer_commit = tokenizer_commit
        self.vocab_size = vocab_size
        self.context = context
        self.documents = documents
        self.tokens = tokens
        self.validation_tokens = validation_tokens
        self.test_on = test_on
        self.workers = workers
        self.processes = processes
        self.kneser_ney = kneser_ney
        self.data_dir = Path(data_dir)
        self.known: LanguageTokenizer | None = None
        """The tokenizer, once it is read."""
        self._corpora: dict[str, TokenCorpus] = {}
        self._sources: dict[Role, BlockSource] = {}

    @property
    def stand_in(self) -> str | None:  # type: ignore[override]
        found = [
            CORPORA[name].what
            for name, corpus in self.corpora.items()
            if is_stand_in(self.data_dir, name, corpus["path"])
        ]
        return "; ".join(found) or None

    def prepare_alone(self) -> None:
        self.setup()

    def setup(self, stage: str | None = None) -> None:
        """Tokenise the corpora, or map what another process has tokenised."""
        if self._corpora:
            return
        tokenizer = read_tokenizer(self.tokenizer, self.tokenizer_commit, self.vocab_size)
        found = {}
        for name, blocks in self._blocks(self.tokens).items():
            where = {key: value for key, value in self.corpora[name].items() if key != "weight"}
            source = source_of(self.data_dir, name, **where)
            needed = blocks * self.context + 1
            index = prepared(self.data_dir, name, source, tokenizer, needed, processes=self.processes)
            found[name] = TokenCorpus(index)
            if not len(found[name].of_split("train")):
                raise DataError(f"{source.where}: none of its {len(found[name].lengths)} documents is for training")
        self.known, self._corpora = tokenizer, found
        self._evaluated("validation")
        self._evaluated(self.test_on)
        if rank() == 0:
            log.warning("%s", ", ".join(f"{what} {number}" for what, number in self.counts.items()))

    @property
    def counts(self) -> dict[str, int]:
        """Of each corpus: documents, duplicates among them, empty ones that were left out, tokens of all and of the
        training documents, and over how many passes an epoch extends."""
        found: dict[str, int] = {}
        for name, blocks in self._blocks(self.tokens).items():
            corpus = self._ready[name]
            trained = int(corpus.lengths[corpus.of_split("train")].sum())
            of_corpus = {
                **corpus.index.counts,
                "tokens": int(corpus.lengths.sum()),
                "train_tokens": trained,
                "passes": -(-blocks * self.context // trained),
            }
            found |= {f"{name}_{what}": number for what, number in of_corpus.items()}
        return found

    @property
    def fingerprint(self) -> dict[str, Any]:
        """The content is that of all documents and of the tokenizer, whatever files they are in."""
        content = {name: corpus.index.content for name, corpus in self._ready.items()}
        tokenizer = self._tokenizer.digest
        text = json.dumps({"corpora": content, "tokenizer": tokenizer}, sort_keys=True)
        roles: list[Role] = ["validation", self.test_on]
        split = {"train": self.tokens // self.context} | {role: len(self._evaluated(role)) for role in roles}
        return {"content": hashlib.sha256(text.encode()).hexdigest(), "recipe": None, "split": split}

    def train_dataloader(self) -> BlockLoader:
        order: dict[str, Any] = {"seed": self.seed, "clock": clock_of(self.trainer), **of_ranks(self.trainer)}
        content = self.fingerprint["content"]
        return BlockLoader(self._training_source(), self.batch_size, workers=self.workers, content=content, **order)

    def val_dataloader(self) -> BlockEvaluationLoader:
        """Validation documents."""
        return self.evaluation_dataloader("validation")

    def test_dataloader(self) -> BlockEvaluationLoader:
        """The documents that `test_on` names."""
        return self.evaluation_dataloader(self.test_on)

    def train_eval_dataloader(self) -> BlockEvaluationLoader:
        return self.evaluation_dataloader("train")

    def evaluation_dataloader(self, role: Role) -> BlockEvaluationLoader:
        """The blocks by which documents of a split are measured, in their fixed order."""
        self.setup()
        ranks: dict[str, Any] = {**of_ranks(self.trainer)}
        return BlockEvaluationLoader(self._evaluated(role), self.eval_batch_size, **ranks)

    def bytes_of(self, role: Role) -> int:
        """Bytes of UTF-8 that the labels of `evaluation_dataloader(role)` stand for, over all ranks; end tokens for 0.

        Bits per byte are the sum of the labels' losses in nats over ln 2 times this. A document whose last tokens are
        cut off counts with the bytes of its labelled tokens, which is exact: the tokens of a document stand for all
        bytes of its text. If the tokenizer normalises texts, documents that are not cut count with the bytes of their
        texts as they were, the one that is cut with those of the normalised text.
        """
        self.setup()
        source, tokenizer = self._evaluated(role), self._tokenizer
        table = tokenizer.bytes_of_ids()
        found = 0
        for first in range(0, len(source), 64):
            _, labels, _ = source.__getitems__([(0, block) for block in range(first, min(first + 64, len(source)))])
            found += int(table[labels[labels != UNLABELLED].numpy()].sum())
        if tokenizer.normalises:
            assert source.tokens is not None
            found += sum(map(_changed, source.streams, source.tokens, [table] * len(source.streams)))
        return found

    def trivial_losses(self) -> dict[str, Float64[Tensor, "labels"]]:
        """By predictor: the loss in nats of each label of the test, as `kneser_ney_<order>` models say it."""
        if not self.kneser_ney:
            return {}
        self.setup()
        tested, content = self._evaluated(self.test_on), self.fingerprint["content"]
        return counted_losses(self.data_dir, self._ready, tested, self.kneser_ney, self._tokenizer.largest + 1, content)

    def _training_source(self) -> BlockSource:
        streams, shares = [], self._blocks(self.tokens)
        for name, corpus in self._ready.items():
            documents = corpus.of_split("train")
            size = int(corpus.lengths[documents].sum())
            seed = int(np.random.SeedSequence((self.seed, *name.encode())).generate_state(1, np.uint64)[0])
            streams.append(Passes(corpus, documents, seed, keep=shares[name] * self.context // size + 2))
        return BlockSource(streams, [*shares.values()], self.context, self.documents, self._tokenizer.end)

    def _evaluated(self, role: Role) -> BlockSource:
        """The blocks that a role is measured on. DataError if there is none."""
        if role not in self._sources:
            self._sources[role] = self._evaluation_source(role)
        return self._sources[role]

    def _evaluation_source(self, role: Role) -> BlockSource:
        wanted = self._blocks(self.validation_tokens)
        if role == "train":
            of_test = self._evaluated(self.test_on)
            wanted = dict(zip(self._ready, of_test.blocks, strict=True))
        streams, tokens, blocks = [], [], []
        for name, corpus in self._corpora.items():
            documents = corpus.of_split(role)
            there = int(corpus.lengths[documents].sum())
            known = min(there, wanted[name] * self.context + 1)
            streams.append(Passes(corpus, documents, 0, keep=1))
            tokens.append(known)
            blocks.append(-(-max(0, known - 1) // self.context))
        if not sum(blocks):
            raise DataError(
                f"none of the corpora ({', '.join(self._corpora)}) has documents for {role}, which are 2 in 100; "
                "give more documents" + (", or data.test_on=validation" if role == "test" else "")
            )
        return BlockSource(streams, blocks, self.context, self.documents, self._tokenizer.end, tokens)

    def _blocks(self, tokens: int) -> dict[str, int]:
        return shared(tokens // self.context, self.weights)

    @property
    def _ready(self) -> dict[str, TokenCorpus]:
        self.setup()
        return self._corpora

    @property
    def _tokenizer(self) -> LanguageTokenizer:
        assert self.known is not None
        return self.known


_DEFAULTS = {"path": None, "repository": None, "commit": None, "name": None, "split": "train", "column": "text"}


def _changed(stream: Passes, tokens: int, table: np.ndarray) -> int:
    """By how many bytes the texts among the first tokens of a stream, but for one that is cut, exceed their tokens'."""
    if not len(stream.documents):
        return 0
    order, ends = stream.order(0)
    lengths = stream.corpus.lengths
    whole: Sequence[int] = order[ends <= tokens].tolist()
    of_tokens = sum(int(table[stream.corpus.tokens(one, 0, int(lengths[one]))].sum()) for one in whole)
    return int(stream.corpus.sizes[whole].sum()) - of_tokens
