"""max(V_r) of a system, exact but mostly by tensor cores, for use in other Triton kernels and as separate kernels.

Every row gets an upper bound on its greatest |v_i - v_j|^2; these bounds give a lower one for the system. Only rows
that reach it, usually one or two, are computed exactly, against all others. A velocity that is not finite gives NaN.
Names and shapes as in `triton_kernels.py`.
"""

from typing import no_type_check

import triton
import triton.language as tl

from kiti.collision.gpu.triton_particles import apart, features, root
from kiti.collision.gpu.triton_search import HUGE, INF, PLAIN, TINY, squares


@triton.jit
@no_type_check
def row_bounds(
    v, first, N, ROWS: tl.constexpr, COLS: tl.constexpr, HEADS: tl.constexpr, K: tl.constexpr, OFF: tl.constexpr,
    STRIDED: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Upper bounds (ROWS,) of max_j |v_i - v_j|^2 for i = first ... first+ROWS-1, and a lower one of their maximum.

    -1 beyond N. A system is scanned from j = first on: the fastest pair is found in the row of its lower number.
    """
    i = first + tl.arange(0, ROWS)
    largest = tl.full((ROWS, COLS), -INF, tl.float32)
    row = tl.zeros((ROWS,), tl.float32)
    columns = tl.zeros((COLS,), tl.float32)
    for j_0 in range(first, N, COLS):
        tile, row, column = squares(v, i, j_0 + tl.arange(0, COLS), N, 1, HEADS, K, OFF, STRIDED, ACC)
        largest = tl.maximum(largest, tile)
        columns = tl.maximum(columns, column)
    upper = (tl.max(largest, 1) + row) * (1 + PLAIN)
    size = row + tl.max(columns, 0)
    lower = tl.minimum(upper * (1 - 3 * PLAIN) - 2 * (OFF * size + TINY), HUGE)
    sound = size < HUGE
    upper = tl.where(i < N, tl.where(sound, upper, INF), -1.0)
    return upper, tl.max(tl.where(sound & (i < N), lower, 0.0), 0)


@triton.jit
@no_type_check
def exact_maximum(
    v, upper, index, lower, N, COLS: tl.constexpr, HEADS: tl.constexpr, C: tl.constexpr, STRIDED: tl.constexpr,
    ACC: tl.constexpr,
):  # fmt: skip
    """max |v_i - v_j|^2 over all j and those i = index whose bound `upper` reaches `lower`; 0 if none does.

    No bound reaches NaN.
    """
    square = tl.zeros((), ACC)
    while tl.max(upper) >= lower:
        i = tl.min(tl.where(upper >= lower, index, 2147483647))
        upper = tl.where(index == i, -1.0, upper)
        for j_0 in range(0, N, COLS):
            j = tl.minimum(j_0 + tl.arange(0, COLS), N - 1)
            row = tl.zeros((COLS,), ACC)
            for c_0 in range(0, HEADS, C):
                difference = apart(v, tl.zeros((COLS,), tl.int32) + i, j, c_0 + tl.arange(0, C), j >= 0, N, HEADS,
                                   STRIDED, ACC)  # fmt: skip
                row += tl.sum(difference * difference, 1)
            square = tl.maximum(square, tl.max(row, 0))
        lower = tl.maximum(lower, (square * (1 - 1e-6)).to(tl.float32))
    return square


@triton.jit
@no_type_check
def zero_if_finite(
    v, first, N, ROWS: tl.constexpr, HEADS: tl.constexpr, C: tl.constexpr, STRIDED: tl.constexpr, ACC: tl.constexpr
):  # fmt: skip
    """0, or NaN if any v_i of i = first ... first+ROWS-1 is not finite."""
    i = first + tl.arange(0, ROWS)
    total = tl.zeros((ROWS,), ACC)
    for c_0 in range(0, HEADS, C):
        total += tl.sum(features(v, i, c_0 + tl.arange(0, C), i < N, N, HEADS, STRIDED, ACC) * 0.0, 1)
    return tl.sum(total, 0)


@triton.jit
@no_type_check
def fastest(
    v, N, EVERY: tl.constexpr, BLOCKS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, HEADS: tl.constexpr,
    C: tl.constexpr, K: tl.constexpr, OFF: tl.constexpr, STRIDED: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """max |v_i - v_j| of a system of at most BLOCKS·ROWS particles, BLOCKS a power of two; NaN if any is not finite."""
    number = tl.arange(0, BLOCKS)[:, None]
    index = number * ROWS + tl.arange(0, ROWS)[None, :]
    upper = tl.where(index < N, INF, -1.0)
    lower = tl.zeros((), tl.float32)
    poison = tl.zeros((), ACC)
    for block in range(BLOCKS):
        if block * ROWS < N:
            poison += zero_if_finite(v, block * ROWS, N, ROWS, HEADS, C, STRIDED, ACC)
            if not EVERY:
                bounds, least = row_bounds(v, block * ROWS, N, ROWS, COLS, HEADS, K, OFF, STRIDED, ACC)
                upper = tl.where(number == block, bounds[None, :], upper)
                lower = tl.maximum(lower, least)
    lower += poison.to(tl.float32)
    return root(exact_maximum(v, upper, index, lower, N, COLS, HEADS, C, STRIDED, ACC)) + poison


@triton.jit
@no_type_check
def system_maximum(
    v, v_max, N, HEADS: tl.constexpr, STRIDED: tl.constexpr, ACC: tl.constexpr, EVERY: tl.constexpr,
    BLOCKS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, GROUP: tl.constexpr, C: tl.constexpr, K: tl.constexpr,
    OFF: tl.constexpr,
):  # fmt: skip
    """max(V_r) of systems that one program holds; grid (S,)."""
    system = tl.program_id(0)
    v += system.to(tl.int64) * N * HEADS
    tl.store(v_max + system, fastest(v, N, EVERY, BLOCKS, ROWS, COLS, HEADS, C, K, OFF, STRIDED, ACC))


@triton.jit
@no_type_check
def bound_maximum(
    v, upper, lower, N, HEADS: tl.constexpr, STRIDED: tl.constexpr, ACC: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr, C: tl.constexpr, K: tl.constexpr, OFF: tl.constexpr,
):  # fmt: skip
    """Bounds of `row_bounds`: upper (S, N) and lower (S, blocks), float32; lower is NaN if a v is not finite.

    Grid (S, blocks).
    """
    system, block = tl.program_id(0), tl.program_id(1)
    v += system.to(tl.int64) * N * HEADS
    bounds, least = row_bounds(v, block * ROWS, N, ROWS, COLS, HEADS, K, OFF, STRIDED, ACC)
    i = block * ROWS + tl.arange(0, ROWS)
    tl.store(upper + system.to(tl.int64) * N + i, bounds, mask=i < N)
    least += zero_if_finite(v, block * ROWS, N, ROWS, HEADS, C, STRIDED, ACC).to(tl.float32)
    tl.store(lower + system * tl.num_programs(1) + block, least)


@triton.jit
@no_type_check
def block_maximum(
    v, upper, lower, v_max, N, HEADS: tl.constexpr, STRIDED: tl.constexpr, ACC: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """max(V_r) of the rows of a block whose bound upper (S, N) reaches lower (S,), into v_max (S, blocks)."""
    system, block = tl.program_id(0), tl.program_id(1)
    v += system.to(tl.int64) * N * HEADS
    i = block * ROWS + tl.arange(0, ROWS)
    bounds = tl.load(upper + system.to(tl.int64) * N + i, mask=i < N, other=-1.0)
    least = tl.load(lower + system)
    speed = root(exact_maximum(v, bounds, i, least, N, COLS, HEADS, C, STRIDED, ACC))
    tl.store(v_max + system * tl.num_programs(1) + block, speed + (least - least).to(ACC))  # NaN where least is
