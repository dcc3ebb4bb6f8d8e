"""Who collides, without the collision: of each particle the preferred partner, and how many it is accepted with.

Arguments as in `triton_kernels.py`.
"""

from typing import no_type_check

import triton
import triton.language as tl

from kiti.collision.gpu.triton_particles import separation
from kiti.collision.gpu.triton_search import candidates, limits, score, some, take


@triton.jit
@no_type_check
def prefer(
    x, v, v_max, partner, N, threshold: tl.float64,
    HEADS: tl.constexpr, STRIDED: tl.constexpr, ACC: tl.constexpr, EVERY: tl.constexpr,
    BLOCKS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, GROUP: tl.constexpr, C: tl.constexpr, K: tl.constexpr,
    OFF: tl.constexpr,
):  # fmt: skip
    """Each particle's accepted partner of highest score, the lowest if equal; -1 if there is none."""
    system = tl.program_id(0)
    base = system.to(tl.int64) * N * HEADS
    x, v = x + base, v + base
    threshold = tl.full((), threshold, ACC)
    fast = tl.load(v_max + system)
    slowest, reach = limits(fast, threshold)
    for block in range(BLOCKS):
        i_0 = (tl.program_id(1) * BLOCKS + block) * ROWS
        i = i_0 + tl.arange(0, ROWS)
        best = tl.zeros((ROWS,), ACC) + threshold
        chosen = tl.full((ROWS,), -1, tl.int32)
        if (fast > 0) & (fast < float("inf")):
            for j_0 in range(0, N, GROUP * COLS):
                words = candidates(
                    x, v, i_0, j_0, slowest, reach, N, EVERY, ROWS, COLS, GROUP, HEADS, K, OFF, STRIDED, ACC
                )
                while some(words):
                    j, listed, words = take(words, i, j_0, COLS)
                    distance = separation(x, i, j, listed, N, HEADS, C, STRIDED, ACC)
                    speed = separation(v, i, j, listed, N, HEADS, C, STRIDED, ACC)
                    found = score(distance, speed, fast, ACC)
                    # j ascends, and (min(i, j), max(i, j)) with it, so the first of equal scores is kept.
                    better = listed & (found > best)
                    best = tl.where(better, found, best)
                    chosen = tl.where(better, j, chosen)
        tl.store(partner + system.to(tl.int64) * N + i, chosen, mask=i < N)


@triton.jit
@no_type_check
def count(
    x, v, v_max, k, N, threshold: tl.float64,
    HEADS: tl.constexpr, STRIDED: tl.constexpr, ACC: tl.constexpr, EVERY: tl.constexpr,
    BLOCKS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, GROUP: tl.constexpr, C: tl.constexpr, K: tl.constexpr,
    OFF: tl.constexpr,
):  # fmt: skip
    """How many partners each particle is accepted with, into k (S, N)."""
    system = tl.program_id(0)
    base = system.to(tl.int64) * N * HEADS
    x, v = x + base, v + base
    threshold = tl.full((), threshold, ACC)
    fast = tl.load(v_max + system)
    slowest, reach = limits(fast, threshold)
    for block in range(BLOCKS):
        i_0 = (tl.program_id(1) * BLOCKS + block) * ROWS
        i = i_0 + tl.arange(0, ROWS)
        met = tl.zeros((ROWS,), tl.int32)
        if (fast > 0) & (fast < float("inf")):
            for j_0 in range(0, N, GROUP * COLS):
                words = candidates(
                    x, v, i_0, j_0, slowest, reach, N, EVERY, ROWS, COLS, GROUP, HEADS, K, OFF, STRIDED, ACC
                )
                while some(words):
                    j, listed, words = take(words, i, j_0, COLS)
                    distance = separation(x, i, j, listed, N, HEADS, C, STRIDED, ACC)
                    speed = separation(v, i, j, listed, N, HEADS, C, STRIDED, ACC)
                    met += (listed & (score(distance, speed, fast, ACC) > threshold)).to(tl.int32)
        tl.store(k + system.to(tl.int64) * N + i, met, mask=i < N)
