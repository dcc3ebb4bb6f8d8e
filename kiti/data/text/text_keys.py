"""The keys common to sets of texts."""

from abc import abstractmethod
from typing import Literal

from pydantic import NonNegativeInt, PositiveInt, model_validator

from kiti.units.keys import DataKeys, NotRecorded, Place
from kiti.units.sample_shapes import Entry, Sample, Sizes


class TextKeys(DataKeys):
    """`tokenizer` and its commit follow from the model's keys."""

    kind = "texts"
    classes: PositiveInt
    n_train: PositiveInt | None
    n_validation: NonNegativeInt | None
    test_on: Literal["test", "validation"]
    max_length: PositiveInt
    pad_multiple: PositiveInt = 1
    tokenizer: NotRecorded[str]
    tokenizer_commit: NotRecorded[str | None]
    data_dir: Place[str]
    eval_batch_size: NotRecorded[PositiveInt]

    @property
    @abstractmethod
    def rows(self) -> dict[str, int]:
        """Rows of the whole set, by split."""

    @property
    @abstractmethod
    def pairs(self) -> bool:
        """Whether an item is a pair of texts."""

    @model_validator(mode="after")
    def _tests_on_some_rows(self) -> "TextKeys":
        if self.test_on == "validation" and not (self.n_validation or (self.n_validation is None and self._own)):
            raise ValueError("test_on=validation: there are no validation rows; hold some out with data.n_validation")
        return self

    @property
    def _own(self) -> int:
        """Validation rows that the set has."""
        return self.rows["validation"]

    def sample(self, training: bool) -> Sample:
        """At the greatest length: only the data tell how long items are."""
        tokens = Entry((self.max_length,), "int64")
        return tokens, tokens, tokens, Entry((), "int64")

    def sizes(self) -> Sizes:
        validation = self._own if self.n_validation is None else self.n_validation
        held = 0 if self._own else validation
        train = self.rows["train"] - held if self.n_train is None else self.n_train
        test = validation if self.test_on == "validation" else self.rows["test"]
        return Sizes(train, test, min(train, test), validates=True)
