"""Pairs drawn at random: as the docstring of `random_pairs.py` says, in plain integers, and uniform."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from random_pair_cases import plain_couples, plain_pairs

from kiti.collision.cpu.numba_random_pairs import draw_couples, draw_pairs, keys_of
from kiti.collision.random_pairs import MORE_ROUNDS, couple_of, pair_numbers, shuffled_pairs

CPU = torch.device("cpu")
SEED = 0x123456789ABCDEF


def by_numba(seed, system, n, count, start=0):
    keys, pairs = np.empty(MORE_ROUNDS, np.uint32), np.empty((count, 2), np.int32)
    keys_of(np.uint64(seed), system, keys)
    draw_pairs(n, start, count, keys, pairs)
    return [tuple(pair) for pair in pairs.tolist()]


@pytest.mark.parametrize("n", [2, 3, 4, 7, 8, 15, 16, 33, 40])
@pytest.mark.parametrize("seed", [0, SEED])
def test_every_form_draws_what_the_docstring_says(n, seed):
    count = n * (n - 1) // 2
    first, second = shuffled_pairs(seed, 3, n, count, CPU)
    for system in (0, 2):
        expected = plain_pairs(seed, system, n, count)
        assert sorted(expected) == list(combinations(range(n), 2))  # each pair once
        assert list(zip(first[system].tolist(), second[system].tolist(), strict=True)) == expected
        assert by_numba(seed, system, n, count) == expected
        assert by_numba(seed, system, n, count - 1, start=1) == expected[1:]


@pytest.mark.parametrize("n", [2, 3, 8, 33])
def test_every_form_draws_the_same_couples(n):
    expected = plain_couples(SEED, 1, n)
    couple = couple_of(SEED, 2, n, CPU)[1].tolist()
    assert [tuple(i for i in range(n) if couple[i] == number) for number in range(n // 2)] == expected
    keys, pairs = np.empty(MORE_ROUNDS, np.uint32), np.empty((n, 2), np.int32)
    keys_of(np.uint64(SEED), 1, keys)
    draw_couples(n, n // 2, keys, pairs)
    assert [tuple(pair) for pair in pairs[: n // 2].tolist()] == expected


@pytest.mark.parametrize("couples", [False, True])
@pytest.mark.parametrize("n", [1, 2, 5, 6])
def test_numbers_of_pairs(n, couples):
    numbers = pair_numbers(torch.tensor(SEED), 2, n, couples, CPU)
    pairs = plain_couples(SEED, 1, n) if couples else plain_pairs(SEED, 1, n, n * (n - 1) // 2)
    expected = torch.full((n, n), n * n)
    for number, (i, j) in enumerate(pairs):
        expected[i, j] = expected[j, i] = number
    assert torch.equal(numbers[1], expected)


@pytest.mark.parametrize(("n", "count"), [(3, 2), (4, 2), (5, 2), (5, 3), (6, 2), (16, 1), (17, 2)])
def test_every_set_of_pairs_is_as_likely(n, count):
    """Chi-squared over the sets that many systems draw; its standard score is below 4."""
    systems = 30_000
    first, second = shuffled_pairs(SEED, systems, n, count, CPU)
    pairs = (first * n + second).sort(1).values
    sets = (pairs * (n * n) ** torch.arange(count)).sum(1)
    counts = torch.unique(sets, return_counts=True)[1].double()
    possible = math.comb(n * (n - 1) // 2, count)
    expected = systems / possible
    chi = float(((counts - expected) ** 2).sum() / expected) + (possible - len(counts)) * expected
    assert abs(chi - (possible - 1)) < 4 * math.sqrt(2 * (possible - 1))
