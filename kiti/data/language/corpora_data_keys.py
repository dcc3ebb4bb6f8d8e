"""The keys of `data=language_stand_ins` and other mixtures of corpora for language models."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator, model_validator

from kiti.data import DataError
from kiti.data.language.mixture import shared
from kiti.storage.processes import world_size
from kiti.units.keys import DataKeys, Finite, NotHashed, NotRecorded, Place, Strict
from kiti.units.sample_shapes import Entry, Sample, Sizes

Commit = Annotated[str, Field(pattern="^[0-9a-f]{40}$")]
CorpusName = Annotated[str, Field(pattern="^[A-Za-z0-9_]+$")]


class CorpusKeys(Strict):
    """A corpus: local files at `path`, or the hub's `repository` at `commit`, its configuration `name` and its `split`.

    `weight` is its share of the tokens, relative to the others'; a corpus of weight 0 is not read.
    """

    weight: Annotated[Finite, Field(ge=0)]
    path: Place[str | None] = None
    repository: str | None = None
    commit: Commit | None = None
    name: str | None = None
    split: str = "train"
    column: str = "text"

    @model_validator(mode="after")
    def _is_somewhere(self) -> "CorpusKeys":
        if self.path is None and (self.repository is None or self.commit is None):
            raise ValueError("no documents; give path=<file or folder>, or repository=<name> and commit=<40 digits>")
        return self


class CorporaKeys(DataKeys):
    """`tokens` are those trained on in an epoch, `validation_tokens` the most that validation, and testing, read."""

    builds = "kiti.data.language.corpora_data.CorporaData"
    name = "corpora"
    kind = "language"
    corpora: Annotated[dict[CorpusName, CorpusKeys], Field(min_length=1)]
    tokenizer: Place[str]
    tokenizer_commit: Commit | None
    vocab_size: NotRecorded[PositiveInt]
    context: PositiveInt
    documents: Literal["joined", "isolated"]
    tokens: PositiveInt
    validation_tokens: PositiveInt
    test_on: Literal["test", "validation"]
    eval_batch_size: NotRecorded[PositiveInt]
    workers: NotRecorded[NonNegativeInt]
    processes: NotRecorded[PositiveInt | None]
    kneser_ney: NotHashed[list[Annotated[int, Field(ge=1, le=9)]]]
    data_dir: Place[str]

    @field_validator("corpora")
    @classmethod
    def _have_a_sum(cls, corpora: dict[str, CorpusKeys]) -> dict[str, CorpusKeys]:
        shared(1, {name: corpus.weight for name, corpus in corpora.items()})
        return corpora

    @model_validator(mode="after")
    def _have_blocks(self) -> "CorporaKeys":
        for key in ("tokens", "validation_tokens"):
            if getattr(self, key) < self.context:
                raise ValueError(f"{key}={getattr(self, key)} is less than a block, context={self.context}")
        for name, blocks in self._blocks(self.tokens).items():
            if not blocks:
                raise ValueError(
                    f"corpora.{name}.weight={self.weights[name]}: its share of tokens={self.tokens} is less than a "
                    f"block of {self.context}; give more tokens, or the weight 0"
                )
        return self

    @property
    def weights(self) -> dict[str, float]:
        """Of the corpora that are read."""
        return {name: corpus.weight for name, corpus in self.corpora.items() if corpus.weight}

    @property
    def batches_per_epoch(self) -> int:
        return -(-(self.tokens // self.context) // self.batch_size)

    def require(self) -> None:
        # These take a moment to import.
        from kiti.data.language.corpus_sources import source_of
        from kiti.data.language.hub_documents import HubDocuments
        from kiti.data.language.language_tokenizer import read_tokenizer
        from kiti.data.language.shards import amount_of, fingerprint_of, folder_of

        if self.batch_size % (ranks := world_size()):
            raise DataError(f"data.batch_size={self.batch_size}: {ranks} processes cannot share it; give a multiple")
        tokenizer = read_tokenizer(self.tokenizer, self.tokenizer_commit, self.vocab_size)
        for name, blocks in self._blocks(self.tokens).items():
            source = source_of(self.data_dir, name, **self.corpora[name].model_dump(exclude={"weight"}))
            if isinstance(source, HubDocuments):
                amount = amount_of(source, blocks * self.context + 1)
                if not folder_of(self.data_dir, name, fingerprint_of(source, tokenizer, amount)).is_dir():
                    source.require()

    def sample(self, training: bool) -> Sample:
        return (Entry((self.context,), "int64"),) * 3

    def sizes(self) -> Sizes:
        """In blocks. Of validation and testing the most: only the data tell how many documents are held out."""
        tested = self.validation_tokens // self.context
        return Sizes(self.tokens // self.context, tested, tested, validates=True)

    def _blocks(self, tokens: int) -> dict[str, int]:
        return shared(tokens // self.context, self.weights)
