"""Pairs drawn at random in place of the accepted ones: as many in each system, without repeats, from the seed alone.

Every form of the collision draws the same. The N (N - 1)/2 pairs of a system fill a rectangle of A x B places, like the
rounds of a tournament:

    N odd    A = N,      B = (N - 1)/2     place (a, b) is the pair {a, a + b + 1 mod A}
    N even   A = N - 1,  B = N/2           place (a, b) is the pair {a, a + b mod A}, or {a, N - 1} if b = 0

A keyed permutation shuffles it. Place number t = B a + b, t < A B, is sent through rounds, by turns

    a <- a + floor(A h_r(b) / 2^32) mod A,      b <- b + floor(B h_r(a) / 2^32) mod B,      h_r(x) = mix(x + key_r)

Two places with one b keep the difference of their a until a round parts their b, which fails with probability 1/B: so
few particles, where B is small, take more rounds. The pair of number t is the one where it arrives, and P pairs are
those of numbers 0 ... P - 1. Where each particle has one partner at most, couples are drawn instead: particles in the
order of mix(i + key_0), and couple number t is the 2t-th with the next.

`cpu/numba_random_pairs.py` and `gpu/triton_random_pairs.py` compute the same in 32 bits.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from kiti.collision.library import library, operator

ROUNDS = 8
# For fewer than FEW particles.
MORE_ROUNDS = 24
FEW = 16
# Of `mix`, C. Wellons' lowbias32.
MULTIPLIERS = (0x7FEB352D, 0x846CA68B)
# Keeps these numbers apart from those of the directions, which come from the same seed.
STREAM = 0x51ED270B
GOLDEN = 0x9E3779B9
_WORD = 0xFFFFFFFF

Pairs = tuple[Int[Tensor, "S P"], Int[Tensor, "S P"]]


def pair_numbers(seed: Int[Tensor, ""], systems: int, n: int, couples: bool, device: torch.device) -> Tensor:
    """The number of each pair {i, j} of each system, (S, N, N) int64; one that is never drawn has N².

    An operator, since torch.compile and torch.func cannot look into a seed.
    """
    return torch.ops.kiti.pair_numbers.default(seed, (systems, n), couples, device)


def shuffled_pairs(seed: int, systems: int, n: int, count: int, device: torch.device) -> Pairs:
    """The pairs of numbers 0 … count-1, first < second, of each system."""
    wide, high = rectangle(n)
    rounds = MORE_ROUNDS if n < FEW else ROUNDS
    key = _keys(seed, systems, rounds, device)
    number = torch.arange(count, device=device).expand(systems, count)
    a, b = number // high, number % high
    for r in range(0, rounds, 2):
        a = (a + (_mixed(b + key[:, r, None]) * wide >> 32)) % wide
        b = (b + (_mixed(a + key[:, r + 1, None]) * high >> 32)) % high
    other = (a + b + n % 2) % wide
    if n % 2 == 0:
        other = torch.where(b == 0, n - 1, other)
    return torch.minimum(a, other), torch.maximum(a, other)


def couple_of(seed: Int[Tensor, ""] | int, systems: int, n: int, device: torch.device) -> Int[Tensor, "S N"]:
    """The number of the couple of each particle; that of a single last one has no second."""
    key = _keys(int(seed), systems, 1, device)
    i = torch.arange(n, device=device)
    order = (_mixed(i + key) * n + i).argsort(1)  # no two are equal
    return order.argsort(1) // 2


def rectangle(n: int) -> tuple[int, int]:
    """A and B."""
    return (n, (n - 1) // 2) if n % 2 else (n - 1, n // 2)


def _keys(seed: int, systems: int, rounds: int, device: torch.device) -> Int[Tensor, "S R"]:
    system = torch.arange(systems, device=device)[:, None]
    state = _mixed(torch.full_like(system, (seed ^ STREAM) & _WORD))
    state = _mixed(_mixed(state ^ (seed >> 32)) + system)
    return _mixed(state + GOLDEN * torch.arange(rounds, device=device))


def _mixed(x: Tensor) -> Tensor:
    """A word in which every bit depends on all of x mod 2^32."""
    x = x & _WORD
    x = (x ^ (x >> 16)) * MULTIPLIERS[0] & _WORD
    x = (x ^ (x >> 15)) * (MULTIPLIERS[1] - 2**32) & _WORD  # the same word, and the product fits int64
    return x ^ (x >> 16)


@operator
def _pair_numbers(seed: Tensor, shape: Sequence[int], couples: bool, device: torch.device) -> Tensor:
    systems, n = shape
    if couples:
        couple = couple_of(seed, systems, n, device)
        together = (couple[:, :, None] == couple[:, None, :]) & ~torch.eye(n, dtype=torch.bool, device=device)
        return torch.where(together, couple[:, :, None], n * n)
    numbers = torch.full((systems, n, n), n * n, device=device)
    if n > 1:
        pairs = n * (n - 1) // 2
        first, second = shuffled_pairs(int(seed), systems, n, pairs, device)
        at = torch.arange(systems, device=device)[:, None]
        numbers[at, first, second] = numbers[at, second, first] = torch.arange(pairs, device=device)
    return numbers


@torch.library.register_fake("kiti::pair_numbers", lib=library)
def _(seed: Tensor, shape: Sequence[int], couples: bool, device: torch.device) -> Tensor:
    return seed.new_empty((shape[0], shape[1], shape[1]), dtype=torch.int64, device=device)


@torch.library.register_vmap("kiti::pair_numbers", lib=library)
def _(info: Any, in_dims: Any, seed: Tensor, shape: Sequence[int], couples: bool, device: torch.device) -> Any:
    samples = info.batch_size
    numbers = torch.ops.kiti.pair_numbers.default(seed[0], (samples * shape[0], shape[1]), couples, device)
    return numbers.unflatten(0, (samples, shape[0])), 0
