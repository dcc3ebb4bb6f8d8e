"""Squared distances between the particles of a system, in compiled loops: of one pair, or of one particle to many.

For one pair, particles are rows of a flat array (N·heads,). For many, they are stored component by component, M of each
padded to `padded(M)`, so that inner loops are whole vector instructions; inner indices are unsigned for the same
reason.
"""

from typing import no_type_check

import numpy as np
from numba import uintp

from kiti.collision.cpu.jit import compiled, reassociated

# Columns are padded to a multiple of this many particles.
LANES = 16
# Up to this many particles are compared pair by pair: columns would take longer to write than to compare.
FEW = 16
# Components of a pair between checks of whether it is already too far apart.
_PIECE = 64


@no_type_check
@compiled()
def square_distance(points, i, j, heads):
    """|p_i - p_j|², always summed in the same order; it decides which pairs collide."""
    p, q = uintp(i) * uintp(heads), uintp(j) * uintp(heads)
    zero = points.dtype.type(0)
    s0, s1, s2, s3 = zero, zero, zero, zero
    for _ in range(uintp(heads) // uintp(4)):
        d0 = points[p] - points[q]
        d1 = points[p + uintp(1)] - points[q + uintp(1)]
        d2 = points[p + uintp(2)] - points[q + uintp(2)]
        d3 = points[p + uintp(3)] - points[q + uintp(3)]
        s0, s1, s2, s3 = s0 + d0 * d0, s1 + d1 * d1, s2 + d2 * d2, s3 + d3 * d3
        p, q = p + uintp(4), q + uintp(4)
    for _ in range(uintp(heads) % uintp(4)):
        d0 = points[p] - points[q]
        s0 += d0 * d0
        p, q = p + uintp(1), q + uintp(1)
    return (s0 + s1) + (s2 + s3)


@no_type_check
@reassociated()
def roughly(points, i, j, heads, limit):
    """|p_i - p_j|² up to rounding, in the fastest order; if not below `limit`, any number that is not."""
    p, q = uintp(i) * uintp(heads), uintp(j) * uintp(heads)
    square, left = points.dtype.type(0), heads
    while left > 0 and square < limit:  # a sum of squares never shrinks
        for c in range(uintp(min(left, _PIECE))):
            d = points[p + c] - points[q + c]
            square += d * d
        p, q, left = p + uintp(_PIECE), q + uintp(_PIECE), left - _PIECE
    return square


@no_type_check
@compiled()
def padded(n):
    """n rounded up to a multiple of LANES."""
    return (n + LANES - 1) // LANES * LANES


@no_type_check
@compiled()
def columns_of(points, order, n, heads, filling, columns):
    """The first n particles of `order`, component by component, into columns (heads·padded(n),)."""
    size = uintp(padded(n))
    if heads > n:  # the longer loop is the inner one
        for a in range(uintp(n)):
            for c in range(uintp(heads)):
                columns[c * size + a] = points[uintp(order[a]) * uintp(heads) + c]
    else:
        for c in range(uintp(heads)):
            for a in range(uintp(n)):
                columns[c * size + a] = points[uintp(order[a]) * uintp(heads) + c]
    for c in range(uintp(heads)):
        for a in range(uintp(n), size):
            columns[c * size + a] = filling


@no_type_check
@compiled(inline="always")
def square_distances(columns, size, heads, row, end, others, limit, squares):
    """|p_row - p_other|² for row < other < end, in whole LANES, into squares; returns how many are below `limit`.

    If none is, the squares may be incomplete, but not below it: most rows do not need all components. Columns up to
    `row` that share its LANES start from `others`: infinity excludes them, 0 gives their squares too.
    """
    first, last, one = uintp(row + 1) // uintp(LANES) * uintp(LANES), uintp(end), uintp(size)
    for other in range(first, last):
        squares[other] = 0
    for other in range(first, uintp(row + 1)):
        squares[other] = others
    below, two, four = np.int32(1), uintp(2), uintp(4)
    at, from_, left = uintp(row), uintp(0), uintp(heads)
    while left >= four and below > 0:  # four at a time, since `squares` is in memory
        from1, from2, from3 = from_ + one, from_ + one + one, from_ + one + one + one
        p0, p1 = columns[at], columns[at + one]
        p2, p3 = columns[at + one + one], columns[at + one + one + one]
        below = np.int32(0)
        for other in range(first, last):
            d0, d1 = columns[from_ + other] - p0, columns[from1 + other] - p1
            d2, d3 = columns[from2 + other] - p2, columns[from3 + other] - p3
            square = squares[other] + ((d0 * d0 + d1 * d1) + (d2 * d2 + d3 * d3))
            squares[other] = square
            below = np.int32(below + np.int32(square < limit))
        at, from_, left = at + four * one, from_ + four * one, left - four
    while left >= two and below > 0:
        p0, p1 = columns[at], columns[at + one]
        from1, below = from_ + one, np.int32(0)
        for other in range(first, last):
            d0, d1 = columns[from_ + other] - p0, columns[from1 + other] - p1
            square = squares[other] + (d0 * d0 + d1 * d1)
            squares[other] = square
            below = np.int32(below + np.int32(square < limit))
        at, from_, left = at + two * one, from_ + two * one, left - two
    while left > 0 and below > 0:
        p0 = columns[at]
        below = np.int32(0)
        for other in range(first, last):
            d0 = columns[from_ + other] - p0
            square = squares[other] + d0 * d0
            squares[other] = square
            below = np.int32(below + np.int32(square < limit))
        at, from_, left = at + one, from_ + one, left - uintp(1)
    return below
