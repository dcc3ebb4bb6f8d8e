"""Sets of labelled texts or pairs of texts, tokenised, for classifiers like BERT."""

import logging
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

from kiti.data import DataError
from kiti.data.data_module import Data
from kiti.data.loading import clock_of, epoch_order, of_ranks
from kiti.data.text.text_loading import TextEvaluationLoader, TextLoader
from kiti.data.text.tokenised import Splits, Tokenised, tokenised
from kiti.data.text.tokenizer_check import load_tokenizer
from kiti.storage.processes import rank

log = logging.getLogger(__name__)


class Source(NamedTuple):
    """Where rows come from: what determines them, as JSON values; whether they are pairs; and how to read them."""

    identity: dict[str, Any]
    pairs: bool
    read: Callable[[], Splits]


class _Items(NamedTuple):
    """Some items of a split."""

    split: str
    which: Int64[Tensor, "n"]


class TextData(Data):
    """Batches (input_ids (B, T), attention_mask (B, T), token_type_ids (B, T), labels (B,)), int64.

    T is the length of the longest item of the batch, with [CLS] and [SEP]. Training batches hold items of similar
    length. The set that is tested on is also evaluated after each epoch; if it is the test set and there are validation
    rows, `val_dataloader` gives both, the test set first. The training error is measured on as many training items as
    are tested on, evenly spaced. A subclass implements `find`.

    Texts are tokenised once, without any communication between ranks, and kept in `data_dir`.

    Args:
        set: name of the set.
        classes: number of classes.
        n_train: training rows, the first of a fixed shuffle; None: all that are not held out.
        n_validation: validation rows, chosen likewise. A set without such a split holds them out of the training rows;
            there None means none.
        test_on: "test", or "validation" while choices are made.
        max_length: most tokens of an item; longer ones are truncated, and counted.
        pad_multiple: T is rounded up to a multiple of it.
        tokenizer, tokenizer_commit: a model folder or a name on the hub, and its commit.
        data_dir: where tokens are kept.
        batch_size, eval_batch_size, seed: as for Data.
    """

    def __init__(
        self,
        *,
        set: str,
        classes: int,
        n_train: int | None,
        n_validation: int | None,
        test_on: str,
        max_length: int,
        tokenizer: str,
        tokenizer_commit: str | None,
        data_dir: Path | str,
        batch_size: int,
        eval_batch_size: int,
        seed: int,
        pad_multiple: int = 1,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, seed)
        self.set = set
        self.classes = classes
        self.n_train = n_train
        self.n_validation = n_validation
        self.test_on = test_on
        self.max_length = max_length
        self.tokenizer = tokenizer
        self.tokenizer_commit = tokenizer_commit
        self.data_dir = Path(data_dir)
        self.pad_multiple = pad_multiple
        self._tokenised: Tokenised | None = None
        self._items: dict[str, _Items] = {}

    @abstractmethod
    def find(self) -> Source:
        """The rows, without reading them. DataError if they are not available."""

    def prepare_alone(self) -> None:
        self.setup()

    def setup(self, stage: str | None = None) -> None:
        """Read, check and tokenise the texts, or map what another process has tokenised."""
        if self._tokenised is not None:
            return
        source = self.find()
        tokenizer = load_tokenizer(self.tokenizer, self.tokenizer_commit, self.max_length, source.pairs)
        found = tokenised(self.data_dir, self.set, source.identity, source.read, tokenizer)
        self._items = self._chosen(found)
        self._tokenised = found
        if self.counts and rank() == 0:
            log.warning("%s: %s", self.set, ", ".join(f"{what} {number}" for what, number in self.counts.items()))

    def _chosen(self, found: Tokenised) -> dict[str, _Items]:
        """The items to train on, to validate on and to test on, where there are any."""
        train = epoch_order(len(found.splits["train"]), 0, 0)
        if "validation" in found.splits:
            own = epoch_order(len(found.splits["validation"]), 0, 0)
            validation = _Items("validation", _first(own, self.n_validation, "n_validation").sort().values)
        else:
            held = _first(train.flip(0), self.n_validation or 0, "n_validation")
            train = train[: len(train) - len(held)]
            validation = _Items("train", held.sort().values)
        chosen = {"train": _Items("train", _first(train, self.n_train, "n_train")), "validation": validation}
        if self.test_on == "test":
            chosen["test"] = _Items("test", torch.arange(len(found.splits["test"])))
        if not len(chosen[self.test_on].which):
            raise DataError(
                "data.test_on=validation: there are no validation rows; hold some out with data.n_validation"
            )
        return {role: items for role, items in chosen.items() if len(items.which)}

    @property
    def counts(self) -> dict[str, int]:
        """Rows of the whole splits, see `Tokenised`; and of the items used, by role, how many are truncated."""
        found = self._ready
        cut = {
            f"{role}_truncated": int(found.splits[name].truncated[which].sum())
            for role, (name, which) in self._items.items()
        }
        return found.counts | {what: number for what, number in cut.items() if number}

    @property
    def fingerprint(self) -> dict[str, Any]:
        """The content is that of all rows, whatever files they are in and however they are tokenised."""
        content = self._ready.content
        return {
            "content": content,
            "recipe": None,
            "split": {role: len(items) for role, (_, items) in self._items.items()},
        }

    def train_dataloader(self) -> TextLoader:
        found, (split, items) = self._ready, self._items["train"]
        order: dict[str, Any] = {"seed": self.seed, "clock": clock_of(self.trainer), **of_ranks(self.trainer)}
        return TextLoader(
            found.splits[split], items, self.batch_size, multiple=self.pad_multiple, content=found.content, **order
        )

    def test_dataloader(self) -> TextEvaluationLoader:
        """The set that `test_on` names."""
        return self._evaluation(self.test_on)

    def val_dataloader(self) -> TextEvaluationLoader | list[TextEvaluationLoader]:
        """The same after each epoch; before the validation rows, if there are any and they are not it."""
        self.setup()
        both = self.test_on == "test" and "validation" in self._items
        return [self._evaluation("test"), self._evaluation("validation")] if both else self.test_dataloader()

    def train_eval_dataloader(self) -> TextEvaluationLoader:
        self.setup()
        n_train, n_test = len(self._items["train"].which), len(self._items[self.test_on].which)
        return self._evaluation("train", torch.arange(min(n_train, n_test)) * n_train // min(n_train, n_test))

    def trivial_predictions(self) -> dict[str, tuple[Int64[Tensor, "n"], Int64[Tensor, "n"]]]:
        """Classes from `kiti.data.text.trivial_texts`, and the labels."""
        from kiti.data.text.trivial_texts import trivial_predictions  # scikit-learn takes a second

        splits = self._ready.splits
        train, test = ((splits[split], items) for split, items in (self._items["train"], self._items[self.test_on]))
        labels = test[0].labels[test[1]]
        return {name: (predicted, labels) for name, predicted in trivial_predictions(train, test).items()}

    def _evaluation(self, role: str, some: Int64[Tensor, "n"] | None = None) -> TextEvaluationLoader:
        found, (split, items) = self._ready, self._items[role]
        which = items if some is None else items[some]
        ranks = of_ranks(self.trainer)
        return TextEvaluationLoader(
            found.splits[split], which, self.eval_batch_size, multiple=self.pad_multiple, **ranks
        )

    @property
    def _ready(self) -> Tokenised:
        self.setup()
        assert self._tokenised is not None
        return self._tokenised


def _first(items: Int64[Tensor, "n"], number: int | None, key: str) -> Int64[Tensor, "m"]:
    if number is not None and number > len(items):
        raise DataError(f"data.{key}={number}: the set has {len(items)}; choose at most that many")
    return items[:number]
