"""Pairs at random in Triton kernels: those of `kiti/collision/random_pairs.py`, asked the other way round.

There a number gives a pair; here a pair {i, j} gives its number, by the inverse of the same rounds, and it is drawn if
that is below the number of pairs wanted. So a row finds its partners without a list.
"""

from typing import no_type_check

import triton
import triton.language as tl

from kiti.collision import random_pairs

_FIRST, _SECOND = tl.constexpr(random_pairs.MULTIPLIERS[0]), tl.constexpr(random_pairs.MULTIPLIERS[1])
_STREAM, _GOLDEN = tl.constexpr(random_pairs.STREAM), tl.constexpr(random_pairs.GOLDEN)


@triton.jit
@no_type_check
def drawn(
    system, i_0, j_0, wanted, seed, N, ROUNDS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, GROUP: tl.constexpr
):  # fmt: skip
    """Words (ROWS, GROUP) as of `candidates`: whether {i, j} is among the `wanted` pairs that are drawn."""
    number = tl.arange(0, GROUP)[None, :]
    words = tl.zeros((ROWS, GROUP), tl.uint32)
    i = i_0 + tl.arange(0, ROWS)
    bits = tl.full((1, COLS), 1, tl.uint32) << tl.arange(0, COLS).to(tl.uint32)[None, :]
    for tile in range(GROUP):
        if j_0 + tile * COLS < N:
            j = j_0 + tile * COLS + tl.arange(0, COLS)
            pairs = (i < N)[:, None] & (j < N)[None, :] & (i[:, None] != j[None, :])
            listed = pairs & (_number(i[:, None], j[None, :], system, seed, N, ROUNDS) < wanted)
            word = tl.sum(tl.where(listed, bits, 0), 1)
            words = tl.where(number == tile, word[:, None], words)
    return words


@triton.jit
@no_type_check
def _number(i, j, system, seed, N, ROUNDS: tl.constexpr):
    """The number of pairs {i, j}, int64, of a system; any number where i = j."""
    odd = N % 2
    wide, high = N - 1 + odd, (N - odd) // 2
    low, top = tl.minimum(i, j), tl.maximum(i, j)
    apart = top - low
    near = apart < high + odd
    a = tl.where(near, low, top)
    b = tl.where(near, apart, wide - apart) - odd
    last = (odd == 0) & (top == N - 1)
    a, b = tl.where(last, low, a), tl.where(last, 0, b)
    for step in range(ROUNDS // 2):
        r = ROUNDS - 2 * step - 2
        b = _turned_back(b, _mixed(a.to(tl.uint32) + _key(seed, system, r + 1)), high)
        a = _turned_back(a, _mixed(b.to(tl.uint32) + _key(seed, system, r)), wide)
    return a.to(tl.int64) * high + b


@triton.jit
@no_type_check
def _turned_back(place, word, size):
    """place - floor(size word / 2^32) mod size."""
    turned = place - ((word.to(tl.int64) * size) >> 32).to(tl.int32)
    return tl.where(turned < 0, turned + size, turned)


@triton.jit
@no_type_check
def _key(seed, system, r):
    """The key of round r, a word."""
    seed = seed.to(tl.int64)
    state = _mixed((seed & 0xFFFFFFFF).to(tl.uint32) ^ _word(_STREAM))
    state = _mixed(state ^ (seed >> 32).to(tl.uint32))
    state = _mixed(state + system.to(tl.uint32))
    return _mixed(state + _word(_GOLDEN) * r)


@triton.jit
@no_type_check
def _mixed(x):
    x = (x ^ (x >> 16)) * _word(_FIRST)
    x = (x ^ (x >> 15)) * _word(_SECOND)
    return x ^ (x >> 16)


@triton.jit
@no_type_check
def _word(constant: tl.constexpr):
    return tl.full((), constant, tl.uint32)
