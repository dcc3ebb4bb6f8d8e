"""Which pairs of a system may collide, in Triton kernels.

A pair can only be accepted if |x_i - x_j| < ln(V_r / (threshold v_max)) and V_r > threshold v_max. Tiles of
ROWS x COLS pairs are tested for this with bounds on the squared distances, in float32. Pairs that pass are then
computed exactly, so the bounds affect time but never a result:

    up to 4 components      plain differences, off by a few roundings;
    more                    |a_i|^2 + |a_j|^2 - 2 a_i·a_j, the products by tensor cores, which cut operands to 10 binary
                            digits and add in float32. A half has no more digits; else a is relative to particle 0.
                            All of it is off by less than OFF (|a_i|^2 + |a_j|^2).

Values that overflow or are NaN count as near enough and fast enough. Particles beyond N are read as particle N - 1.
"""

from typing import no_type_check

import triton
import triton.language as tl

from kiti.collision.gpu.triton_particles import place

# Up to this many components, plain differences are used.
FEW = tl.constexpr(4)
PLAIN = tl.constexpr(2.0**-19)
# What may be lost when squares underflow, and the size from which their sums may overflow.
TINY = tl.constexpr(1e-36)
HUGE = tl.constexpr(1e36)
INF = tl.constexpr(float("inf"))
_LN_2 = tl.constexpr(0.6931471805599453)


@triton.jit
@no_type_check
def _operand(p, i, first, N, HEADS: tl.constexpr, K: tl.constexpr, STRIDED: tl.constexpr, ACC: tl.constexpr):
    """Components first ... first+K-1 of i (ROWS,), (ROWS, K) float32; relative to particle 0 except for halves."""
    c = (first + tl.arange(0, K))[None, :]
    a = tl.load(p + place(i[:, None], c, N, HEADS, STRIDED), mask=c < HEADS, other=0.0).to(ACC)
    if p.dtype.element_ty.primitive_bitwidth == 16:
        return a
    else:
        origin = tl.load(p + place(0, c, N, HEADS, STRIDED), mask=c < HEADS, other=0.0).to(ACC)
        return (a - tl.where(tl.abs(origin) < INF, origin, 0.0)).to(tl.float32)


@triton.jit
@no_type_check
def squares(
    p, i, j, N, SIGN: tl.constexpr, HEADS: tl.constexpr, K: tl.constexpr, OFF: tl.constexpr, STRIDED: tl.constexpr,
    ACC: tl.constexpr,
):  # fmt: skip
    """Bounds on |p_i - p_j|^2, upper for SIGN 1 and lower for -1: tile_ij + row_i, up to a factor 1 + PLAIN.

    Returns tile (ROWS, COLS), row (ROWS,) and column (COLS,). The bound is off by less than
    2 (OFF (row_i + column_j) + TINY), unless row_i or column_j exceed HUGE: then it may have overflowed to any value.
    """
    i, j = tl.minimum(i, N - 1), tl.minimum(j, N - 1)
    row = tl.zeros((i.shape[0],), tl.float32)
    column = tl.zeros((j.shape[0],), tl.float32)
    tile = tl.zeros((i.shape[0], j.shape[0]), tl.float32)
    if HEADS <= FEW:
        for c in tl.static_range(HEADS):
            p_i = tl.load(p + place(i, c, N, HEADS, STRIDED)).to(ACC)
            p_j = tl.load(p + place(j, c, N, HEADS, STRIDED)).to(ACC)
            difference = (p_i[:, None] - p_j[None, :]).to(tl.float32)
            tile += difference * difference
        return tile, row + SIGN * TINY, column
    else:
        for first in range(0, HEADS, K):
            a_i = _operand(p, i, first, N, HEADS, K, STRIDED, ACC)
            a_j = _operand(p, j, first, N, HEADS, K, STRIDED, ACC)
            tile = tl.dot(a_i, tl.trans(a_j), tile, input_precision="tf32")
            row += tl.sum(a_i * a_i, 1)
            column += tl.sum(a_j * a_j, 1)
        tile = (column * (1 + SIGN * OFF))[None, :] - 2 * tile
        return tile, row * (1 + SIGN * OFF) + SIGN * TINY, column


@triton.jit
@no_type_check
def may_collide(
    x, v, i_0, j_0, slowest, reach, N, EVERY: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, HEADS: tl.constexpr,
    K: tl.constexpr, OFF: tl.constexpr, STRIDED: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Words (ROWS,) uint32 of i = i_0 ... i_0+ROWS-1: bit b < COLS <= 32 says whether i and j_0 + b may be accepted.

    slowest: (threshold v_max)^2; reach: ln(1/threshold)^2; both float32 and with an allowance for rounding.
    """
    i, j = i_0 + tl.arange(0, ROWS), j_0 + tl.arange(0, COLS)
    pairs = (i < N)[:, None] & (j < N)[None, :] & (i[:, None] != j[None, :])
    bits = tl.full((1, COLS), 1, tl.uint32) << tl.arange(0, COLS).to(tl.uint32)[None, :]
    if EVERY:
        return tl.sum(tl.where(pairs, bits, 0), 1)
    else:
        word = tl.zeros((ROWS,), tl.uint32)
        tile, row, _ = squares(x, i, j, N, -1, HEADS, K, OFF, STRIDED, ACC)
        if (i_0 == j_0) | (tl.maximum(i_0 + ROWS, j_0 + COLS) > N):
            tile = tl.where(pairs, tile, INF)
        # Of two particles within reach, either both are HUGE or neither is; a minimum ignores NaN.
        huge = row >= 0.1 * HUGE
        if tl.max(((tl.min(tile, 1) + row <= reach) | huge).to(tl.int32), 0) > 0:
            speed, own, _ = squares(v, i, j, N, 1, HEADS, K, OFF, STRIDED, ACC)
            speed = speed + own[:, None]
            # |x_i - x_j| < ln(V_r / (threshold v_max)), where the bits of a float32, read as an integer, are its
            # binary logarithm to 0.09. ~ keeps NaN, which may be anything.
            octaves = speed.to(tl.int32, bitcast=True) - tl.maximum(slowest, TINY).to(tl.int32, bitcast=True)
            limit = tl.maximum(octaves.to(tl.float32) * (2.0**-24 * _LN_2) + 0.031, 0.0)
            limit = tl.where(tl.where(slowest >= TINY, speed, INF) < HUGE, limit * limit, INF)
            may = ~(speed < slowest) & (~(tile + row[:, None] > limit) | huge[:, None])
            word = tl.sum(tl.where(pairs & may, bits, 0), 1)
        return word


@triton.jit
@no_type_check
def candidates(
    x, v, i_0, j_0, slowest, reach, N, EVERY: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, GROUP: tl.constexpr,
    HEADS: tl.constexpr, K: tl.constexpr, OFF: tl.constexpr, STRIDED: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Words (ROWS, GROUP) of `may_collide` for GROUP tiles from j_0 on."""
    number = tl.arange(0, GROUP)[None, :]
    words = tl.zeros((ROWS, GROUP), tl.uint32)
    for tile in range(GROUP):
        if j_0 + tile * COLS < N:
            word = may_collide(x, v, i_0, j_0 + tile * COLS, slowest, reach, N, EVERY, ROWS, COLS, HEADS, K, OFF,
                               STRIDED, ACC)  # fmt: skip
            words = tl.where(number == tile, word[:, None], words)
    return words


@triton.jit
@no_type_check
def some(words):
    """Whether any bit of (ROWS, GROUP) is set."""
    return tl.max(tl.max((words != 0).to(tl.int32), 1), 0) > 0


@triton.jit
@no_type_check
def take(words, i, j_0, COLS: tl.constexpr):
    """Each row's lowest candidate j (ROWS,) or else i, whether it has one (ROWS,), and the words without it."""
    rest = words & (words - 1)  # not ~words or -words: some versions of Triton reject them for unsigned words
    lowest = (words ^ rest).to(tl.float32)  # a power of two, so its exponent is the bit's number
    bit = (lowest.to(tl.int32, bitcast=True) >> 23) - 127
    j = j_0 + COLS * tl.arange(0, words.shape[1])[None, :] + bit
    j = tl.where(words != 0, j, 2147483647)
    first = tl.min(j, 1)
    listed = first < 2147483647
    words = tl.where(j == first[:, None], rest, words)
    return tl.where(listed, first, i), listed, words


@triton.jit
@no_type_check
def limits(v_max, threshold):
    """`slowest` and `reach` of `may_collide`; `threshold` in [0, 1]."""
    speed = (threshold * v_max).to(tl.float32)
    threshold = threshold.to(tl.float32)
    distance = tl.where(threshold > TINY, -tl.log(tl.maximum(threshold, TINY)), INF)
    distance = distance * (1 + 1e-5) + 1e-5
    return tl.minimum(speed * speed * (1 - 1e-5), HUGE), distance * distance


@triton.jit
@no_type_check
def score(distance, speed, v_max, ACC: tl.constexpr):
    """V_r exp(-X_r) / max(V_r). V_r may be summed in another order than v_max, but must not exceed it for that."""
    few_roundings: tl.constexpr = 1e-15 if tl.float64 == ACC else 5e-7
    speed = tl.where(tl.abs(speed - v_max) <= few_roundings * v_max, v_max, speed)
    product = speed * tl.exp(-distance)
    if tl.float64 == ACC:
        return product / v_max
    else:
        return tl.div_rn(product, tl.zeros_like(product) + v_max)
