"""max(V_r) of a system, the largest distance between two velocities, in compiled loops."""

import math
from typing import no_type_check

import numpy as np
from numba import uintp

from kiti.collision.cpu.jit import compiled, reassociated
from kiti.collision.cpu.numba_distances import LANES, columns_of, padded, roughly, square_distances


@no_type_check
@compiled()
def fastest_of_few(v, n, heads):
    """max(V_r) of velocities v (N·heads,); NaN if one is not finite. Compares all pairs."""
    number = v.dtype.type
    if not _is_finite(v, _sum(v)):
        return number(np.nan)
    if heads == 1:
        return _width(v)
    highest, infinite = number(0), number(np.inf)
    for i in range(n - 1):
        for j in range(i + 1, n):
            highest = max(highest, roughly(v, i, j, heads, infinite))
    return math.sqrt(highest)


@no_type_check
@compiled()
def fastest_of_many(v, n, heads, slack, s):
    """max(V_r) of velocities v (N·heads,); NaN if one is not finite. Fills s.reach.

    The largest distance from the particle farthest from the mean is a lower bound. Particles closer to the mean than
    that bound minus the largest distance from the mean cannot be in the fastest pair; all pairs of the others are
    compared.
    """
    number = v.dtype.type
    total = reaches(v, n, heads, s.mean, s.reach)
    if not _is_finite(v, total):
        return number(np.nan)
    if not math.isfinite(total):
        s.reach[:] = np.inf
    if heads == 1:
        return _width(v)
    highest, infinite = number(0), number(np.inf)
    first = s.reach.argmax()
    for j in range(n):
        highest = max(highest, roughly(v, first, j, heads, infinite))
    stretch = number(1) + slack
    least = math.sqrt(highest) - s.reach[first] * stretch
    few = 0
    for i in range(n):
        if not s.reach[i] * stretch < least:
            s.order[few] = i
            few += 1
    columns_of(v, s.order, few, heads, number(0), s.speeds)
    return math.sqrt(max(highest, _highest(few, heads, s)))


@no_type_check
@compiled()
def _is_finite(v, total):
    """Whether every component is finite; their sum `total` may have overflowed."""
    return math.isfinite(total) or np.isfinite(v).all()


@no_type_check
@compiled()
def _width(v):
    speed = v.max() - v.min()
    return math.sqrt(speed * speed)  # `literal` also loses what the square cannot represent


@no_type_check
@compiled()
def _highest(few, heads, s):
    """The largest square distance of the first `few` columns of s.speeds; s.near holds it for each partner."""
    number = s.speeds.dtype.type
    speeds, fast, highest = s.speeds, s.fast, s.near
    size = padded(few)
    highest[:size] = 0
    for row in range(few - 1):
        square_distances(speeds, size, heads, row, size, number(0), number(np.inf), fast)
        for other in range(uintp(row + 1) // uintp(LANES) * uintp(LANES), uintp(size)):
            highest[other] = fast[other] if fast[other] > highest[other] else highest[other]
    return highest[:few].max()


@no_type_check
@reassociated()
def reaches(v, n, heads, mean, reach):
    """Writes |v_i - mean| of each particle into reach (N,); returns the sum of all components."""
    number = v.dtype.type
    mean[:] = 0
    for i in range(uintp(n)):
        for c in range(uintp(heads)):
            mean[c] += v[i * uintp(heads) + c]
    total = number(0)
    for c in range(heads):
        total += mean[c]
        mean[c] /= number(n)
    for i in range(uintp(n)):
        square = number(0)
        for c in range(uintp(heads)):
            d = v[i * uintp(heads) + c] - mean[c]
            square += d * d
        reach[i] = math.sqrt(square)
    return total


@no_type_check
@reassociated()
def _sum(v):
    total = v.dtype.type(0)
    for f in range(len(v)):
        total += v[f]
    return total
