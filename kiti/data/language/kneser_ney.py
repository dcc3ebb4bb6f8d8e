r"""Interpolated Kneser–Ney smoothing of n-grams of tokens: what counting alone predicts, to compare models with.

With $c_n(h, w)$ how often the token $w$ follows the $n - 1$ tokens $h$ in training, and for lower orders $k < n$ the
number of different tokens before it, $c_k(h, w) = |\{v : (v, h, w) \text{ occurs}\}|$,

$$p_k(w \mid h) = \frac{\max(c_k(h, w) - D_k, 0)}{c_k(h)} + \frac{D_k\, t_k(h)}{c_k(h)}\, p_{k-1}(w \mid h'),
\qquad p_0(w) = \frac{1}{V},$$

where $c_k(h) = \sum_w c_k(h, w)$, $t_k(h)$ is the number of $w$ with $c_k(h, w) > 0$, $h'$ is $h$ without its first
token, and $p_k(w \mid h) = p_{k-1}(w \mid h')$ if $c_k(h) = 0$. There is one discount per order,
$D_k = n_1 / (n_1 + 2 n_2)$, where $n_j$ is the number of pairs $(h, w)$ with $c_k(h, w) = j$ (Ney, Essen and Kneser,
1994). The probabilities of all tokens sum to one.

n-grams do not cross documents: before its first token a document has a begin symbol in each of the $n - 1$ places. It
is not in the vocabulary and never predicted.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float64, Int, Int64

Document = Int[np.ndarray, "_"]


def kneser_ney_nats(
    train: Sequence[Document], test: Sequence[Document], order: int, vocabulary: int
) -> Float64[np.ndarray, "test_tokens"]:
    """The negative log-probability, in nats, of each token of the test documents, one document after the other.

    A document is an array of ids below `vocabulary`; where a model predicts the end token too, each has it as its last.
    Raises ValueError if the order is below 1, training has no token, or an id is not in the vocabulary.
    """
    if order < 1:
        raise ValueError(f"kneser_ney_nats: the order is {order}; it is at least 1")
    for document in (*train, *test):
        if outside := document[(document < 0) | (document >= vocabulary)].tolist():
            raise ValueError(f"kneser_ney_nats: the id {outside[0]} is not below {vocabulary}, the vocabulary's size")
    stream = _padded([*train, *test], order - 1, vocabulary)
    predicted = np.flatnonzero(stream < vocabulary)
    trained = predicted[: sum(map(len, train))]
    tested = predicted[len(trained) :]
    if not len(trained):
        raise ValueError("kneser_ney_nats: the training documents have no token")
    grams = _grams(stream, order)

    counts = [np.empty(0)] * (order + 1)
    examples = [trained] * (order + 1)  # where training has each k-gram, once; for the highest order, every time
    for k in range(order, 0, -1):
        counts[k] = np.bincount(grams[k][examples[k]], minlength=int(grams[k].max()) + 1).astype(np.float64)
        first = np.unique(grams[k][trained], return_index=True)[1]
        examples[k] = trained[first]
        examples[k - 1] = examples[k]

    p = np.full(len(tested), 1.0 / vocabulary)
    for k in range(1, order + 1):
        p = _interpolated(p, grams[k - 1], grams[k], counts[k], examples[k], tested)
    return -np.log(p)


def _interpolated(
    lower: Float64[np.ndarray, "test_tokens"],
    shorter: Int64[np.ndarray, "stream"],
    grams: Int64[np.ndarray, "stream"],
    counts: Float64[np.ndarray, "grams"],
    examples: Int64[np.ndarray, "occurring"],
    tested: Int64[np.ndarray, "test_tokens"],
) -> Float64[np.ndarray, "test_tokens"]:
    r"""$p_k$ from $p_{k-1}$ at the positions `tested`; `shorter` has the ids of the (k-1)-grams."""
    discount = _discount(counts)
    own = counts[grams[examples]]
    size = int(shorter.max()) + 1
    totals = np.bincount(shorter[examples - 1], weights=own, minlength=size)[shorter[tested - 1]]
    kinds = np.bincount(shorter[examples - 1], minlength=size)[shorter[tested - 1]]
    kept = np.maximum(counts[grams[tested]] - discount, 0.0) + discount * kinds * lower
    return np.where(totals > 0, kept / np.maximum(totals, 1.0), lower)


def _discount(counts: Float64[np.ndarray, "grams"]) -> float:
    """n₁ / (n₁ + 2 n₂), or one half if n₁ = 0, which would leave nothing for what does not occur."""
    once, twice = int((counts == 1).sum()), int((counts == 2).sum())
    return once / (once + 2 * twice) if once else 0.5


def _padded(documents: Iterable[Document], begins: int, vocabulary: int) -> Int64[np.ndarray, "stream"]:
    """The documents as one stream, each after `begins` begin symbols, and one more first; their id is `vocabulary`."""
    pad = np.full(begins, vocabulary, dtype=np.int64)
    stream = np.concatenate([np.full(1, vocabulary), *(part for one in documents for part in (pad, one))])
    return stream.astype(np.int64)


def _grams(stream: Int64[np.ndarray, "stream"], order: int) -> list[Int64[np.ndarray, "stream"]]:
    """For k from 0 to `order`, a number for the k tokens that end at each position, equal where these are equal.

    Those before position k - 1, and those that reach into the document before, are never used.
    """
    base = int(stream.max()) + 1
    grams = [np.zeros_like(stream), stream]
    for _ in range(2, order + 1):
        before = np.concatenate([np.zeros(1, dtype=np.int64), grams[-1][:-1]])
        grams.append(np.unique(before * base + stream, return_inverse=True)[1].reshape(-1))
    return grams[: order + 1]
