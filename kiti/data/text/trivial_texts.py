"""Predictors that a network has to beat: the most frequent class, and logistic regression on the frequencies of tokens.

They see what the network sees: the same training items, cut at `max_length`; for pairs, the tokens of both texts.
"""

from jaxtyping import Int64
from scipy.sparse import csr_matrix, vstack
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from torch import Tensor, from_numpy

from kiti.data.text.tokenised import TokenisedSplit

Items = tuple[TokenisedSplit, Int64[Tensor, "_"]]
_ITERATIONS = 1000
_ITEMS_AT_ONCE = 1000


def trivial_predictions(train: Items, test: Items) -> dict[str, Int64[Tensor, "n_test"]]:
    """The predicted classes of the test items, by predictor: "majority" and "tfidf"."""
    labels = train[0].labels[train[1]]
    majority = labels.bincount().argmax().expand(len(test[1]))
    vocabulary = 1 + int(max(split.tokens.max() for split, _ in (train, test)))
    weighting = TfidfTransformer()
    known = weighting.fit_transform(_counts(*train, vocabulary))
    regression = LogisticRegression(max_iter=_ITERATIONS).fit(known, labels.numpy())
    likely = regression.predict(weighting.transform(_counts(*test, vocabulary)))
    return {"majority": majority, "tfidf": from_numpy(likely)}


def _counts(split: TokenisedSplit, items: Int64[Tensor, "n"], vocabulary: int) -> csr_matrix:
    """How often each token is in each item: (n, vocabulary)."""
    return vstack([_counts_of_some(split, some, vocabulary) for some in items.split(_ITEMS_AT_ONCE)], format="csr")


def _counts_of_some(split: TokenisedSplit, items: Int64[Tensor, "n"], vocabulary: int) -> csr_matrix:
    ids, mask, _, _ = split.batch(items)
    tokens = ids[mask.bool()].numpy()
    ends = mask.sum(1).cumsum(0).numpy()
    return csr_matrix(([1.0] * len(tokens), tokens, [0, *ends]), shape=(len(items), vocabulary))
