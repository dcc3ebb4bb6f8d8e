"""Kneser–Ney probabilities equal those of the equations, written out with dictionaries, and sum to one."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest

from kiti.data.language.kneser_ney import kneser_ney_nats

V = 6
BEGIN = -1


class Literal:
    """The equations of kneser_ney.py, a tuple of tokens at a time."""

    def __init__(self, documents: Sequence[np.ndarray], order: int) -> None:
        self.order = order
        grams = [gram for document in documents for gram in self.grams(document)]
        self.counts = {order: Counter(grams)}
        for k in range(order - 1, 0, -1):
            longer = {gram[-k - 1 :] for gram in grams}
            self.counts[k] = Counter(gram[1:] for gram in longer)
        self.totals: dict[int, Counter[tuple[int, ...]]] = {k: Counter() for k in self.counts}
        self.kinds: dict[int, Counter[tuple[int, ...]]] = {k: Counter() for k in self.counts}
        self.discounts = {}
        for k, counts in self.counts.items():
            for gram, count in counts.items():
                self.totals[k][gram[:-1]] += count
                self.kinds[k][gram[:-1]] += 1
            times = Counter(counts.values())
            self.discounts[k] = times[1] / (times[1] + 2 * times[2]) if times[1] else 0.5

    def grams(self, document: np.ndarray) -> list[tuple[int, ...]]:
        padded = [BEGIN] * (self.order - 1) + document.tolist()
        return [tuple(padded[i : i + self.order]) for i in range(len(document))]

    def p(self, gram: tuple[int, ...]) -> float:
        if not gram:
            return 1 / V
        k, context, lower = len(gram), gram[:-1], self.p(gram[1:])
        total = self.totals[k][context]
        if not total:
            return lower
        discount = self.discounts[k]
        kept = max(self.counts[k][gram] - discount, 0)
        return (kept + discount * self.kinds[k][context] * lower) / total


def documents(seed: int, number: int, longest: int, kinds: int = V) -> list[np.ndarray]:
    """Documents in which some tokens are likelier and some sequences come back."""
    draw = np.random.default_rng(seed)
    weights = 1 / np.arange(1, kinds + 1) ** 2
    return [draw.choice(kinds, draw.integers(0, longest), p=weights / weights.sum()) for _ in range(number)]


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("kinds", [V, V - 2])
def test_it_is_the_equations(order: int, kinds: int) -> None:
    train, test = documents(0, 12, 15, kinds), documents(1, 6, 12)
    literal = Literal(train, order)
    expected = [-np.log(literal.p(gram)) for document in test for gram in literal.grams(document)]
    found = kneser_ney_nats(train, test, order, V)
    assert found.shape == (sum(map(len, test)),)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_probabilities_sum_to_one_in_every_context(order: int) -> None:
    train = documents(2, 10, 15, V - 1)  # one token never occurs
    for context in [[], [0], [0, 1], [2, 0, 0], [V - 1, 1, 0, 0], [V - 1] * 4]:
        test = [np.array([*context, token]) for token in range(V)]
        nats = kneser_ney_nats(train, test, order, V).reshape(V, -1)[:, -1]
        assert np.exp(-nats).sum() == pytest.approx(1, abs=1e-14), context


def test_an_unseen_context_backs_off_and_an_unseen_token_has_the_uniform_share() -> None:
    train = [np.array([0, 1, 0, 2, 0, 1, 1]), np.array([1, 3])]
    seen, unseen = [np.array([4, 1])], [np.array([5, 1])]
    bigram = kneser_ney_nats(train, seen, 2, V)
    assert kneser_ney_nats(train, unseen, 2, V)[1] == bigram[1]  # p₁(1) after either
    # Before 0 are the beginning, 1 and 2; before 1 are 0, 1 and the beginning; before 2 is 0, before 3 is 1.
    # So n₁ = 2, n₂ = 0, D₁ = 1, and p₁(1) = 2/8 + 4/8 · 1/6.
    assert np.exp(-bigram[1]) == pytest.approx(2 / 8 + 4 / 8 / V, abs=1e-15)
    # As a unigram, counted by how often: 3, 4, 1, 1 of 9, so D = 1 again, and a token that never occurs has 4/9 · 1/6.
    assert np.exp(-kneser_ney_nats(train, [np.array([5])], 1, V)) == pytest.approx(4 / 9 / V, abs=1e-15)


def test_grams_do_not_cross_documents() -> None:
    train = [np.array([0, 1, 2]), np.array([0, 1, 3]), np.array([3, 3])]
    test = documents(3, 5, 9)
    together = kneser_ney_nats(train, test, 3, V)
    each = [kneser_ney_nats(train, [document], 3, V) for document in test]
    np.testing.assert_array_equal(together, np.concatenate(each))
    np.testing.assert_allclose(together, kneser_ney_nats(train[::-1], test, 3, V), rtol=1e-15)


def test_what_is_not_possible_is_one_line() -> None:
    some = [np.array([0, 1])]
    with pytest.raises(ValueError, match="the order is 0; it is at least 1"):
        kneser_ney_nats(some, some, 0, V)
    with pytest.raises(ValueError, match="the id 6 is not below 6"):
        kneser_ney_nats(some, [np.array([V])], 2, V)
    with pytest.raises(ValueError, match="the training documents have no token"):
        kneser_ney_nats([np.array([], dtype=int)], some, 2, V)
