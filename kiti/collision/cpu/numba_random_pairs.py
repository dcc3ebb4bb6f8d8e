"""Pairs at random in compiled loops: those of `kiti/collision/random_pairs.py`, whose terms these functions use."""

from typing import no_type_check

import numpy as np
from numba import uint32, uint64

from kiti.collision import random_pairs
from kiti.collision.cpu.jit import compiled

ROUNDS, MORE_ROUNDS, FEW = random_pairs.ROUNDS, random_pairs.MORE_ROUNDS, random_pairs.FEW
_FIRST, _SECOND = uint32(random_pairs.MULTIPLIERS[0]), uint32(random_pairs.MULTIPLIERS[1])
_STREAM, _GOLDEN = uint32(random_pairs.STREAM), uint32(random_pairs.GOLDEN)
_WORD, _SHIFT = uint64(0xFFFFFFFF), uint64(32)


@no_type_check
@compiled()
def keys_of(seed, system, keys):
    """The keys of a system's rounds into `keys` (MORE_ROUNDS,) uint32."""
    state = _mixed(uint32(seed & _WORD) ^ _STREAM)
    state = _mixed(_mixed(state ^ uint32(seed >> _SHIFT)) + uint32(system))
    for r in range(len(keys)):
        keys[r] = _mixed(state + _GOLDEN * uint32(r))


@no_type_check
@compiled()
def draw_pairs(n, start, count, keys, pairs):
    """Pairs number start … start+count-1 of N particles, as i < j into pairs (count or more, 2)."""
    odd = uint32(n % 2)
    wide, high = (uint32(n), uint32((n - 1) // 2)) if odd else (uint32(n - 1), uint32(n // 2))
    rounds = MORE_ROUNDS if n < FEW else ROUNDS
    for p in range(count):
        number = uint32(start + p)
        a, b = uint32(number // high), uint32(number % high)
        for r in range(0, rounds, 2):
            a = _turned(a, _mixed(b + keys[r]), wide)
            b = _turned(b, _mixed(a + keys[r + 1]), high)
        other = uint32(a + b + odd)
        other = uint32(other - wide) if other >= wide else other
        if odd == 0 and b == 0:
            other = wide
        pairs[p, 0], pairs[p, 1] = min(a, other), max(a, other)


@no_type_check
@compiled()
def draw_couples(n, count, keys, pairs):
    """Couples number 0 … count-1 of N particles, as i < j into pairs (count or more, 2)."""
    words = np.empty(n, np.int64)
    for i in range(n):
        words[i] = np.int64(_mixed(uint32(i) + keys[0])) * n + i  # no two are equal
    order = words.argsort()
    for p in range(count):
        i, j = order[2 * p], order[2 * p + 1]
        pairs[p, 0], pairs[p, 1] = min(i, j), max(i, j)


@no_type_check
@compiled(inline="always")
def _turned(place, word, size):
    """place + floor(size word / 2^32) mod size."""
    turned = uint32(place + uint32((uint64(word) * uint64(size)) >> _SHIFT))
    return uint32(turned - size) if turned >= size else turned


@no_type_check
@compiled(inline="always")
def _mixed(word):
    x = uint32(word)
    x = uint32((x ^ (x >> uint32(16))) * _FIRST)
    x = uint32((x ^ (x >> uint32(15))) * _SECOND)
    return uint32(x ^ (x >> uint32(16)))
