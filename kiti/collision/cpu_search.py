"""Which pairs of a system collide: the search of `cpu.py`, compiled loops.

A pair can only be accepted where X_r < -ln(1 - coll_coef) and V_r > (1 - coll_coef) max(V_r). Three things spare
most distances, none of them an approximation:

- max(V_r): with particles sorted by their distance r from the mean velocity, V_r <= r_i + r_j ends the loops early;
- with particles sorted along the diagonal (1, …, 1) of space, partners within the radius lie close behind each other;
- velocities are compared only where positions are near enough.

Particles are rows of flat arrays (N·heads,); inner loops use unsigned indices, which compile to vector instructions.
"""

import math
from typing import no_type_check

import numpy as np
from numba import uintp

from kiti.collision.jit import compiled, reassociated


@no_type_check
@compiled()
def square_distance(points, i, j, heads):
    """|p_i - p_j|², in four sums side by side."""
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
def roughly(points, i, j, heads):
    """|p_i - p_j|² to rounding, in whatever order is fastest."""
    p, q = uintp(i) * uintp(heads), uintp(j) * uintp(heads)
    square = points.dtype.type(0)
    for c in range(uintp(heads)):
        d = points[p + c] - points[q + c]
        square += d * d
    return square


@no_type_check
@reassociated()
def reaches(v, n, heads, mean, reach):
    """|v_i - mean| of each particle into reach (N,), and the sum of all velocities' components."""
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
@compiled()
def fastest(v, n, heads, slack, reach, mean, order):
    """max(V_r) of velocities v (N·heads,): NaN where one is not finite.

    `slack` is what a bound may be off by, relatively; reach (N,), mean (heads,) and order (N,) are scratch.
    """
    number = v.dtype.type
    if not math.isfinite(reaches(v, n, heads, mean, reach)):  # the sum may also have overflowed
        for f in range(len(v)):
            if not math.isfinite(v[f]):
                return number(np.nan)
        reach[:] = np.inf
    if heads == 1:
        speed = v.max() - v.min()
        return math.sqrt(speed * speed)  # what squares do not hold, `literal` does not see either
    for i in range(n):
        order[i] = i
    _sort(reach, order, n)
    stretch = number(1) + slack
    highest = number(0)
    for a in range(n - 1, 0, -1):
        bound = (reach[a] + reach[a - 1]) * stretch
        if bound * bound <= highest:
            break
        for b in range(a - 1, -1, -1):
            bound = (reach[a] + reach[b]) * stretch
            if bound * bound <= highest:
                break
            highest = max(highest, roughly(v, order[a], order[b], heads))
    return math.sqrt(highest)


@no_type_check
@compiled()
def sort_by_place(x, v, n, heads, cut, slack, reach, mean, order, keys, columns):
    """Particles that may collide, sorted by position along the diagonal, into `order`: how many, and a key's error.

    Left out are those whose velocity is too close to the mean to differ from any other by more than `cut` (given as 0
    where that leaves out none), and those with a position that is not finite. keys (N,) are the sorted places, columns
    (heads·N,) the sorted positions, component by component, M of each. A difference of keys is wrong by at most the
    error. The other arrays are scratch.
    """
    number = x.dtype.type
    least = number(0)
    if cut > 0:
        if not math.isfinite(reaches(v, n, heads, mean, reach)):
            reach[:] = np.inf
        least = cut - reach.max() * (number(1) + slack)
    scale = number(1) / math.sqrt(number(heads))
    margin, few = number(0), 0
    for i in range(n):
        if least > 0 and reach[i] * (number(1) + slack) < least:
            continue
        total, size = _sums(x, i, heads)
        if math.isfinite(size):
            order[few], keys[few] = i, total * scale
            margin = max(margin, size)
            few += 1
    _sort(keys, order, few)
    if heads > few:  # the longer loop inside
        for a in range(uintp(few)):
            for c in range(uintp(heads)):
                columns[c * uintp(few) + a] = x[uintp(order[a]) * uintp(heads) + c]
    else:
        for c in range(uintp(heads)):
            for a in range(uintp(few)):
                columns[c * uintp(few) + a] = x[uintp(order[a]) * uintp(heads) + c]
    return few, margin * slack * scale


@no_type_check
@compiled()
def _sort(keys, order, n):
    """Sort the first n keys, and `order` with them (Shell's sort: quick where there are few, and takes no memory)."""
    gap = 1
    while gap < n:
        gap = 3 * gap + 1
    while gap > 1:
        gap //= 3
        for a in range(gap, n):
            key, number, b = keys[a], order[a], a
            while b >= gap and keys[b - gap] > key:
                keys[b], order[b] = keys[b - gap], order[b - gap]
                b -= gap
            keys[b], order[b] = key, number


@no_type_check
@reassociated()
def _sums(x, i, heads):
    """Of the components of x_i, and of their magnitudes: the rounding of the first is a small part of the second."""
    at, zero = uintp(i) * uintp(heads), x.dtype.type(0)
    total, size = zero, zero
    for c in range(uintp(heads)):
        total += x[at + c]
        size += abs(x[at + c])
    return total, size


@no_type_check
@compiled()
def find(columns, keys, order, n, margin, v, heads, radius, threshold, slack, v_max, row, near, pairs, scores):
    """Accepted pairs from sorted row `row` on, as i < j into pairs (capacity, 2), and their scores.

    The first n = M in `order` are the particles that may collide. Returns how many pairs there are and the row to go
    on from, M - 1 once all is searched. Whole rows are searched, while M more pairs have room. `near` (M,) is scratch.
    """
    number = v.dtype.type
    rim = radius * radius * (number(1) + slack) + slack
    reach = radius * (number(1) + slack) + slack + margin
    cut = threshold * v_max * (number(1) - slack)
    cut *= cut
    found, stop = 0, row + 1
    while row < n - 1 and found + n <= len(scores):
        stop = max(stop, row + 1)
        while stop < n and keys[stop] - keys[row] <= reach:
            stop += 1
        if _near(columns, n, heads, row, stop, rim, near) > 0:
            i = order[row]
            for other in range(row + 1, stop):
                if near[other] < rim:
                    j = order[other]
                    if roughly(v, i, j, heads) > cut:
                        speed = math.sqrt(square_distance(v, i, j, heads))
                        score = speed * math.exp(-math.sqrt(near[other])) / v_max
                        if score > threshold:
                            pairs[found, 0], pairs[found, 1] = min(i, j), max(i, j)
                            scores[found] = score
                            found += 1
        row += 1
    return found, row


@no_type_check
@compiled()
def _near(columns, n, heads, row, stop, rim, near):
    """|x_row - x_other|² of the others in row + 1 … stop into `near`; returns how many are below `rim`."""
    zero, four, size = uintp(0), uintp(4), uintp(n)
    begin, end = uintp(row + 1), uintp(stop)
    for other in range(begin, end):
        near[other] = 0
    at = zero
    for _ in range(uintp(heads) // four):  # by fours, since `near` lies in memory
        at1, at2, at3 = at + size, at + size + size, at + size + size + size
        x0, x1 = columns[at + uintp(row)], columns[at1 + uintp(row)]
        x2, x3 = columns[at2 + uintp(row)], columns[at3 + uintp(row)]
        for other in range(begin, end):
            d0, d1 = columns[at + other] - x0, columns[at1 + other] - x1
            d2, d3 = columns[at2 + other] - x2, columns[at3 + other] - x3
            near[other] = (((near[other] + d0 * d0) + d1 * d1) + d2 * d2) + d3 * d3
        at = at3 + size
    for _ in range(uintp(heads) % four):
        x0 = columns[at + uintp(row)]
        for other in range(begin, end):
            d0 = columns[at + other] - x0
            near[other] += d0 * d0
        at += size
    hits = 0
    for other in range(begin, end):
        hits += near[other] < rim
    return hits
