"""The effect of accepted pairs, and its adjoint: the sums of `numba_backend.py`, compiled loops over listed pairs.

What a pair adds to i it subtracts from j, for the velocity and, with the mean in x* written as
x*_i = x_i + Σ (x_j - x_i)/2 / (1 + k_i), for the position:

    dV_ij = (v_j - v_i + V_r n_ij)/2 = -dV_ji,      shift_ij = (x_j - x_i)/2 = -shift_ji

With a_i and b_i the gradients of Σ shift_ij and Σ dV_ij, the adjoint is of the same form:

    grad x_i += (a_j - a_i)/2,      grad v_i += (b_j - b_i + (n_ij·(b_j - b_i)/V_r) (v_j - v_i))/2

A placebo may have only the means of dV, (v_j - v_i)/2, or only the kicks, V_r n_ij/2, and its adjoint the same parts.

Everything is for one system: features and sums are (N·heads,), a pair is (i, j) with i < j.
"""

import math
from typing import no_type_check

import numpy as np
from numba import uintp

from kiti.collision.cpu.jit import compiled
from kiti.collision.cpu.philox import draw, draw_signs

# Approximate number of blocks of four random numbers drawn together.
BLOCKS = 128


@no_type_check
@compiled()
def add_pairs(x, v, system, heads, pairs, count, seed, directions, means, kicks, k, shift, kick):
    """Add the first `count` pairs' partners, shifts and dV to k (N,), `shift` and `kick`; no shift if x is empty.

    `means` and `kicks`: which parts dV has.
    """
    half, zero = v.dtype.type(0.5), v.dtype.type(0)
    toward = v.dtype.type(1) if means else zero
    size = _together(count, heads)
    n = np.zeros(size * heads, v.dtype)
    for start in range(0, count, size):
        stop = min(start + size, count)
        if kicks:
            _unit_vectors(system, heads, pairs, start, stop, seed, directions, n)
        for p in range(start, stop):
            i, j = uintp(pairs[p, 0]) * uintp(heads), uintp(pairs[p, 1]) * uintp(heads)
            at = uintp(p - start) * uintp(heads)
            square = zero
            for c in range(uintp(heads)):
                approach = v[j + c] - v[i + c]
                square += approach * approach
            speed = math.sqrt(square) if kicks else zero
            for c in range(uintp(heads)):
                given = half * (toward * (v[j + c] - v[i + c]) + speed * n[at + c])
                kick[i + c] += given
                kick[j + c] -= given
            if len(x) > 0:
                for c in range(uintp(heads)):
                    given = half * (x[j + c] - x[i + c])
                    shift[i + c] += given
                    shift[j + c] -= given
            k[pairs[p, 0]] += 1
            k[pairs[p, 1]] += 1


@no_type_check
@compiled()
def pull_back(v, system, heads, pairs, count, seed, directions, means, kicks, a, b, grad_x, grad_v):
    """Add the first `count` pairs' part of the gradients of x and v, given those of Σ shift and Σ dV."""
    half, zero = v.dtype.type(0.5), v.dtype.type(0)
    toward = v.dtype.type(1) if means else zero
    size = _together(count, heads)
    n = np.zeros(size * heads, v.dtype)
    for start in range(0, count, size):
        stop = min(start + size, count)
        if kicks:
            _unit_vectors(system, heads, pairs, start, stop, seed, directions, n)
        for p in range(start, stop):
            i, j = uintp(pairs[p, 0]) * uintp(heads), uintp(pairs[p, 1]) * uintp(heads)
            at = uintp(p - start) * uintp(heads)
            square, along = zero, zero
            for c in range(uintp(heads)):
                approach = v[j + c] - v[i + c]
                square += approach * approach
                along += n[at + c] * (b[j + c] - b[i + c])
            along = along / math.sqrt(square) if square > 0 else zero  # the gradient of |0| is 0
            for c in range(uintp(heads)):
                given = half * (toward * (b[j + c] - b[i + c]) + along * (v[j + c] - v[i + c]))
                grad_v[i + c] += given
                grad_v[j + c] -= given
            for c in range(uintp(heads)):
                given = half * (a[j + c] - a[i + c])
                grad_x[i + c] += given
                grad_x[j + c] -= given


@no_type_check
@compiled()
def _together(count, heads):
    """How many pairs' directions to draw at a time."""
    return max(1, min(count, BLOCKS // ((heads + 3) // 4)))


@no_type_check
@compiled()
def _unit_vectors(system, heads, pairs, start, stop, seed, directions, n):
    """n_ij of pairs start … stop, taken from `directions` (S, N, N, heads), or drawn if those are empty."""
    if directions.shape[0] > 0:
        for p in range(start, stop):
            for c in range(heads):
                n[(p - start) * heads + c] = directions[system, pairs[p, 0], pairs[p, 1], c]
        return
    number = n.dtype.type
    blocks = (heads + 3) // 4
    count = (stop - start) * blocks
    counters, uniform = np.empty((4, count), np.uint32), np.empty((4, count), np.float32)
    z = np.empty(4 * count, np.float32)
    for p in range(start, stop):
        for block in range(blocks):
            q = (p - start) * blocks + block
            counters[0, q], counters[1, q], counters[2, q], counters[3, q] = pairs[p, 0], pairs[p, 1], system, block
    if heads == 1:
        draw_signs(counters, count, seed, z)
    else:
        draw(counters, count, seed, uniform, z)
    for p in range(stop - start):
        at, to = uintp(4 * p * blocks), uintp(p * heads)
        square = number(0)
        for c in range(uintp(heads)):
            square += number(z[at + c]) * number(z[at + c])
        scale = number(1) / math.sqrt(square)
        for c in range(uintp(heads)):
            n[to + c] = number(z[at + c]) * scale
