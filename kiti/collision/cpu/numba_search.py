"""Which pairs of a system collide: the search of `numba_backend.py`, in compiled loops.

A pair can only be accepted if X_r < -ln(1 - coll_coef) and V_r > (1 - coll_coef) max(V_r). None of the shortcuts is an
approximation:

- a distance is abandoned once it exceeds the radius;
- velocities are compared only if positions are near enough;
- particles whose velocity is close to the mean are left out if coll_coef is small;
- many particles are sorted, and only those within the radius along the diagonal (1, …, 1) of space are compared;
- exp(-X_r) is computed only if V_r² is large enough for a bound on e^2r that needs no root: for r up to the radius R,
  e^2r = cosh 2r + sinh 2r >= 1 + 2r² + 2r⁴/3 + 2r²/R.
"""

import math
from collections import namedtuple
from typing import no_type_check

import numpy as np
from numba import uintp

from kiti.collision.cpu.jit import compiled, reassociated
from kiti.collision.cpu.numba_distances import LANES, columns_of, padded, roughly, square_distance, square_distances
from kiti.collision.cpu.numba_maximum import reaches

# More particles than this are sorted; for fewer, comparing all pairs is faster than sorting.
_MANY = 128
# Up to this many near partners of a particle have their velocities compared one by one.
_SCARCE = 4
# A factor larger than the difference by rounding between `roughly` and the deciding square.
_ROUGHLY = 1.25

# Parameters of acceptance, in the precision of the features; from the fifth on booleans, the last two of which say
# whether dV has the means and the kicks.
Physics = namedtuple("Physics", "threshold radius slack dt position_update mean random means kicks")
# Arrays that the search writes, one entry per particle except: mean (heads,); places and speeds (heads·padded(N),), the
# columns of x and v; pairs (capacity, 2) and scores (capacity,). near and fast are padded.
Scratch = namedtuple("Scratch", "mean reach order keys places speeds near fast pairs scores")


@no_type_check
@compiled()
def scratch_for(n, heads, capacity, dtype):
    size = padded(n)
    return Scratch(
        np.empty(heads, dtype),
        np.empty(n, dtype),
        np.empty(n, np.int32),
        np.empty(n, dtype),
        np.empty(size * heads, dtype),
        np.empty(size * heads, dtype),
        np.empty(size, dtype),
        np.empty(size, dtype),
        np.empty((capacity, 2), np.int32),
        np.empty(capacity, dtype),
    )


@no_type_check
@compiled()
def gather(x, v, n, heads, physics, v_max, reached, s):
    """Write the M particles that may collide into s.order, and their columns; return M and the error of s.keys.

    That is the error of a difference of keys. `reached`: s.reach already holds |v_i - mean|.
    """
    number, slack, threshold = v.dtype.type, physics.slack, physics.threshold
    least = number(0)
    if threshold > number(0.5):  # otherwise no bound: max(V_r) is at most twice the largest distance from the mean
        if not reached and not math.isfinite(reaches(v, n, heads, s.mean, s.reach)):
            s.reach[:] = np.inf
        least = threshold * v_max * (number(1) - slack) - s.reach.max() * (number(1) + slack)
    few = 0
    for i in range(n):
        if least <= 0 or not s.reach[i] * (number(1) + slack) < least:
            s.order[few] = i
            few += 1
    margin = number(0)
    if few > _MANY:
        few, margin = _sort_by_place(x, few, heads, s)
    columns_of(x, s.order, few, heads, number(np.inf), s.places)
    columns_of(v, s.order, few, heads, number(0), s.speeds)
    return few, margin * slack


@no_type_check
@compiled()
def _sort_by_place(x, few, heads, s):
    """Sort s.order and s.keys along the diagonal, leaving out positions that are not finite.

    Returns how many are left, and the largest sum of magnitudes behind a key.
    """
    number = x.dtype.type
    scale = number(1) / math.sqrt(number(heads))
    largest, finite = number(0), 0
    for a in range(few):
        i = s.order[a]
        total, size = _sums(x, i, heads)
        if math.isfinite(size):
            s.order[finite], s.keys[finite] = i, total * scale
            largest = max(largest, size * scale)
            finite += 1
    ranks = np.argsort(s.keys[:finite])
    s.keys[:finite], s.order[:finite] = s.keys[ranks], s.order[ranks]
    return finite, largest


@no_type_check
@reassociated()
def _sums(x, i, heads):
    """Sums of x_i's components and of their magnitudes; the first one's rounding is a small part of the second."""
    at, zero = uintp(i) * uintp(heads), x.dtype.type(0)
    total, size = zero, zero
    for c in range(uintp(heads)):
        total += x[at + c]
        size += abs(x[at + c])
    return total, size


@no_type_check
@compiled(inline="always")
def _limits(physics, v_max, one, two, two_thirds):
    """No pair collides with X_r² above the first number or V_r² below the second, or below the second times `_floor`.

    The other three are arguments of `_floor`, in the precision of the features.
    """
    cut = physics.threshold * v_max * (one - physics.slack)
    rim = physics.radius * physics.radius * (one + physics.slack) + physics.slack
    return rim, cut * cut, two + two / physics.radius, two_thirds, one


@no_type_check
@compiled()
def any_near(x, n, heads, physics):
    """Whether two of a few particles may be near enough to collide if they are fast enough; False is certain."""
    number = x.dtype.type
    rim, _, _, _, _ = _limits(physics, number(0), number(1), number(2), number(2 / 3))
    wide = rim * number(_ROUGHLY)
    for row in range(n - 1):
        for other in range(row + 1, n):
            if roughly(x, row, other, heads, wide) < wide:
                return True
    return False


@no_type_check
@compiled()
def find_among_few(x, v, n, heads, physics, v_max, row, pairs, scores):
    """Accepted pairs from particle `row` on, as i < j into pairs (capacity, 2), and their scores.

    Returns the number of pairs and the particle to continue from, N - 1 when all are searched. It starts a particle
    only if there is room for N more pairs, and searches all its partners.
    """
    number, threshold = v.dtype.type, physics.threshold
    rim, cut, a, b, one = _limits(physics, v_max, number(1), number(2), number(2 / 3))
    infinite = number(np.inf)
    found, wide = 0, rim * number(_ROUGHLY)
    while row < n - 1 and found + n <= len(scores):
        for other in range(row + 1, n):
            close = roughly(x, row, other, heads, wide) < wide
            if close and roughly(v, row, other, heads, infinite) * number(_ROUGHLY) > cut:
                near, fast = square_distance(x, row, other, heads), square_distance(v, row, other, heads)
                if near < rim and fast > cut * _floor(near, a, b, one):
                    score = math.sqrt(fast) * math.exp(-math.sqrt(near)) / v_max
                    if score > threshold:
                        pairs[found, 0], pairs[found, 1], scores[found] = row, other, score
                        found += 1
        row += 1
    return found, row


@no_type_check
@compiled()
def find_among_many(v, heads, few, margin, physics, v_max, row, s):
    """`find_among_few` for the M particles of `gather`, with rows in its order."""
    number, threshold = v.dtype.type, physics.threshold
    rim, cut, a, b, one = _limits(physics, v_max, number(1), number(2), number(2 / 3))
    infinite = number(np.inf)
    reach = physics.radius * (one + physics.slack) + physics.slack + margin
    places, speeds, near, fast, keys, order = s.places, s.speeds, s.near, s.fast, s.keys, s.order
    pairs, scores = s.pairs, s.scores
    size = padded(few)
    found, stop = 0, row + 1 if few > _MANY else few
    while row < few - 1 and found + few <= len(scores):
        while stop < few and keys[stop] - keys[row] <= reach:
            stop += 1
        end = padded(stop)
        below, likely = square_distances(places, size, heads, row, end, infinite, rim, near), np.int32(1)
        if below > _SCARCE:
            likely = np.int32(0)
            square_distances(speeds, size, heads, row, end, infinite, infinite, fast)
            for other in range(uintp(row + 1) // uintp(LANES) * uintp(LANES), uintp(end)):
                enough = (near[other] < rim) & (fast[other] > cut * _floor(near[other], a, b, one))
                likely = np.int32(likely + np.int32(enough))
        if below > 0 and likely > 0:
            i = order[row]
            for other in range(row + 1, stop):
                if near[other] < rim:
                    j = order[other]
                    square = fast[other] if below > _SCARCE else square_distance(v, i, j, heads)
                    if square > cut * _floor(near[other], a, b, one):
                        score = math.sqrt(square) * math.exp(-math.sqrt(near[other])) / v_max
                        if score > threshold:
                            pairs[found, 0], pairs[found, 1], scores[found] = min(i, j), max(i, j), score
                            found += 1
        row += 1
    return found, row


@no_type_check
@compiled(inline="always")
def _floor(square, a, b, one):
    """At most e^(2 sqrt(square)), up to rounding, for a = 2 + 2/R and b = 2/3."""
    return square * (square * b + a) + one
