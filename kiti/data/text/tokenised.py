"""Texts as tokens: made once, kept in the verified cache, and read through a memory map."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
from jaxtyping import Int64
from torch import Tensor

from kiti.data.cache import materialise
from kiti.data.generation_progress import progress_report
from kiti.data.text.text_rows import Row, common, rows_sha256
from kiti.data.text.tokenizer_check import Tokenizer

Splits = dict[str, tuple[list[Row], Counter[str]]]
"""The rows of each split, and what was counted while they were checked."""

FORMAT = 2
"""Of what the cache holds; a change makes all of it again."""
_TEXTS_AT_ONCE = 1000


class TokenisedSplit:
    """The items of a split: `lengths` in tokens, `labels`, and `truncated`, 1 where some tokens are cut off; (n,) each.

    All tensors are views of one memory map.
    """

    def __init__(self, tensors: Mapping[str, Tensor], split: str, pad: int) -> None:
        self.tokens, self.segments = tensors[f"{split}.tokens"], tensors[f"{split}.segments"]
        self.labels, self._starts = tensors[f"{split}.labels"], tensors[f"{split}.starts"]
        self.truncated = tensors[f"{split}.truncated"]
        self.lengths = self._starts.diff()
        self.pad = pad

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, items: Int64[Tensor, "B"], multiple: int = 1) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(input_ids (B, T), attention_mask (B, T), token_type_ids (B, T), labels (B,)), int64.

        T is the length of the longest, rounded up to a multiple of `multiple`.
        """
        lengths = self.lengths[items]
        width = -(-int(lengths.max()) // multiple) * multiple
        places = torch.arange(width)
        mask = places < lengths[:, None]  # (B, T)
        where = (self._starts[items][:, None] + places)[mask]
        ids = torch.full(mask.shape, self.pad, dtype=torch.int64)
        segments = torch.zeros(mask.shape, dtype=torch.int64)
        ids[mask], segments[mask] = self.tokens[where].long(), self.segments[where].long()
        return ids, mask.long(), segments, self.labels[items]


class Tokenised:
    """The tokenised splits of a set.

    `counts` has, as "<split>_<what>", the rows that are empty, duplicates, or unlabelled and so dropped, and those of
    the other splits whose texts are in the training set; zeros are left out. `content` is the sha256 of all rows.
    """

    def __init__(self, tensors: Mapping[str, Tensor], pad: int) -> None:
        report = json.loads(bytes(tensors["report"].numpy()))
        self.counts: dict[str, int] = report["counts"]
        self.content: str = report["content"]
        self.splits = {split: TokenisedSplit(tensors, split, pad) for split in report["splits"]}


def tokenised(
    data_dir: Path | str, name: str, source: dict[str, Any], read: Callable[[], Splits], tokenizer: Tokenizer
) -> Tokenised:
    """The set `name`, tokenised: from the cache, or by `read` and the tokenizer.

    Args:
        data_dir: `tokens/<name>/` in it holds one folder for each source, tokenizer and length.
        name: of the set.
        source: all that determines the rows: checksums of files or a commit, columns, classes.
        read: called if they are not in the cache; its DataError is passed on.
        tokenizer: checked.
    """
    recipe = {
        "format": FORMAT,
        "source": source,
        "tokenizer": tokenizer.digest,
        "tokenizers": tokenizers.__version__,
        "max_length": tokenizer.max_length,
    }
    artefact = materialise(data_dir, f"tokens/{name}", recipe, lambda: _tensors(name, read(), tokenizer))
    return Tokenised(artefact.tensors, tokenizer.pad)


def _tensors(name: str, splits: Splits, tokenizer: Tokenizer) -> dict[str, Tensor]:
    counts: Counter[str] = Counter()
    tensors: dict[str, Tensor] = {}
    total, done = sum(len(rows) for rows, _ in splits.values()), 0
    with progress_report(f"tokenising {name}") as report:
        for split, (rows, found) in splits.items():
            counts.update({f"{split}_{what}": number for what, number in found.items()})
            if split != "train":
                counts[f"{split}_in_train"] = common(rows, splits["train"][0])
            tokens, segments, starts, cut = [], [], [0], []
            for some in _chunks(rows):
                for ids, types, truncated in _encoded(some, tokenizer):
                    tokens.append(np.array(ids, np.int32))
                    segments.append(np.array(types, np.uint8))
                    starts.append(starts[-1] + len(ids))
                    cut.append(truncated)
                done += len(some)
                report(done, total)
            tensors |= {
                f"{split}.tokens": torch.from_numpy(np.concatenate(tokens)),
                f"{split}.segments": torch.from_numpy(np.concatenate(segments)),
                f"{split}.starts": torch.tensor(starts),
                f"{split}.truncated": torch.tensor(cut, dtype=torch.uint8),
                f"{split}.labels": torch.tensor([row.label for row in rows]),
            }
    content = rows_sha256(row for rows, _ in splits.values() for row in rows)
    kept = {what: number for what, number in sorted(counts.items()) if number}
    text = json.dumps({"counts": kept, "content": content, "splits": list(splits)})
    return tensors | {"report": torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)}


def _chunks(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    for start in range(0, len(rows), _TEXTS_AT_ONCE):
        yield rows[start : start + _TEXTS_AT_ONCE]


def _encoded(rows: Sequence[Row], tokenizer: Tokenizer) -> Iterator[tuple[list[int], list[int], bool]]:
    """Token numbers, segment numbers, and whether something was cut off; the library encodes rows in parallel."""
    pairs = [row.pair for row in rows] if rows[0].pair is not None else None
    encoded = tokenizer.of([row.text for row in rows], pairs, truncation=True, max_length=tokenizer.max_length)
    assert encoded.encodings is not None
    numbered = "token_type_ids" in encoded
    for one in encoded.encodings:
        yield one.ids, one.type_ids if numbered else [0] * len(one.ids), bool(one.overflowing)
