"""The collision's Triton kernels, launched by `triton_backend.py`. Equations as there and in `literal.py`.

A program takes ROWS particles of a system at a time and compares them with tiles of COLS particles. Candidates are
stored as a word of COLS bits per row and tile. While any row has a bit left, each row takes its lowest: one list of at
most ROWS pairs i, j, ascending in j, computed exactly and added to sums that stay in registers. So N x N is never
stored, random numbers are drawn per pair and not per tile, and sums always run in the same order.

    x, v, grad   (S, D) with D = N·HEADS features; `system` is the row
    C            components at a time. If HEADS > C, a program sums C of them and loops over all of them for norms
    BLOCKS       how often a program takes ROWS particles
    GROUP        tiles whose words are loaded together
    K            components at a time in the products of `triton_search.py`
    grid         (systems, programs over rows, programs over components)
    MEANS, KICKS whether dV has the means (v_j - v_i)/2 and the kicks V_r n_ij/2
    RANDOM       0, or the rounds of `triton_random_pairs.py`: `wanted` (S,) pairs of each system are drawn
"""

from typing import no_type_check

import triton
import triton.language as tl

from kiti.collision.gpu.triton_directions import along, directions_of
from kiti.collision.gpu.triton_maximum import block_maximum as block_maximum
from kiti.collision.gpu.triton_maximum import bound_maximum as bound_maximum
from kiti.collision.gpu.triton_maximum import fastest
from kiti.collision.gpu.triton_maximum import system_maximum as system_maximum
from kiti.collision.gpu.triton_particles import apart, features, place, root, rounded, separation
from kiti.collision.gpu.triton_partners import count as count
from kiti.collision.gpu.triton_partners import prefer as prefer
from kiti.collision.gpu.triton_random_pairs import drawn
from kiti.collision.gpu.triton_search import candidates, limits, score, some, take


@triton.jit
@no_type_check
def _meet(
    x, v, given, system, i, j, listed, first, kick, shift, k, seed, v_max, threshold, N,
    HEADS: tl.constexpr, C: tl.constexpr, STRIDED: tl.constexpr, UPDATE: tl.constexpr, GIVEN: tl.constexpr,
    CHOSEN: tl.constexpr, MEANS: tl.constexpr, KICKS: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Add the effect on i of the accepted pairs among i, j (ROWS,) to kick and shift (ROWS, C) and k (ROWS,).

    CHOSEN: all that are listed are accepted.
    """
    c = first + tl.arange(0, C)
    dv = apart(v, i, j, c, listed, N, HEADS, STRIDED, ACC)
    speed = root(tl.sum(dv * dv, 1)) if HEADS <= C else separation(v, i, j, listed, N, HEADS, C, STRIDED, ACC)
    if not CHOSEN:
        if HEADS <= C:
            dx = apart(x, i, j, c, listed, N, HEADS, STRIDED, ACC)
            distance = root(tl.sum(dx * dx, 1))
        else:
            distance = separation(x, i, j, listed, N, HEADS, C, STRIDED, ACC)
        listed = listed & (score(distance, speed, v_max, ACC) > threshold)
    if tl.max(listed.to(tl.int32), 0) > 0:
        if KICKS:
            n = directions_of(given, system, i, j, listed, first, seed, N, HEADS, C, GIVEN, ACC)
            if MEANS:
                kick += tl.where(listed[:, None], (dv + speed[:, None] * n) * 0.5, 0.0)
            else:
                kick += tl.where(listed[:, None], speed[:, None] * n * 0.5, 0.0)
        else:
            kick += tl.where(listed[:, None], dv * 0.5, 0.0)
        if UPDATE:
            # Reading again costs less than keeping registers while random numbers are drawn.
            shift += apart(x, i, j, c, listed, N, HEADS, STRIDED, ACC) * 0.5
        k += listed.to(tl.int32)
    return kick, shift, k


@triton.jit
@no_type_check
def forward(
    x, v, given, v_max, partner, wanted, out, k, found_v_max, energy, N, seed: tl.int64, threshold: tl.float64,
    dt: tl.float64, UPDATE: tl.constexpr, MEAN: tl.constexpr, GIVEN: tl.constexpr, MUTUAL: tl.constexpr,
    RANDOM: tl.constexpr, MEANS: tl.constexpr, KICKS: tl.constexpr, FIND: tl.constexpr,
    FREE: tl.constexpr, HEADS: tl.constexpr, STRIDED: tl.constexpr, ACC: tl.constexpr, EVERY: tl.constexpr,
    BLOCKS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, GROUP: tl.constexpr, C: tl.constexpr, K: tl.constexpr,
    OFF: tl.constexpr,
):  # fmt: skip
    """x' into out, k, the system's energies into energy (S, programs, 2), and, with FIND, max(V_r) into found_v_max.

    MUTUAL: the pairs are those of `partner` (S, N). FREE: dt = 1 and particles without partners are moved here;
    otherwise `out` already holds x + dt v.
    """
    system = tl.program_id(0)
    first = tl.program_id(2) * C if HEADS > C else 0
    base = system.to(tl.int64) * N * HEADS
    x, v, out = x + base, v + base, out + base
    numbers = system.to(tl.int64) * N
    threshold, dt = tl.full((), threshold, ACC), tl.full((), dt, ACC)
    if FIND:
        fast = fastest(v, N, EVERY, BLOCKS, ROWS, COLS, HEADS, C, K, OFF, STRIDED, ACC)
        if first == 0:
            tl.store(found_v_max + system, fast)
    else:
        fast = tl.load(v_max + system)
    slowest, reach = limits(fast, threshold)
    c = first + tl.arange(0, C)
    before, after = tl.zeros((), ACC), tl.zeros((), ACC)
    for block in range(BLOCKS):
        i_0 = (tl.program_id(1) * BLOCKS + block) * ROWS
        i = i_0 + tl.arange(0, ROWS)
        rows = i < N
        kick, shift = tl.zeros((ROWS, C), ACC), tl.zeros((ROWS, C), ACC)
        met = tl.zeros((ROWS,), tl.int32)
        if MUTUAL:
            j = tl.load(partner + numbers + i, mask=rows, other=-1)
            kick, shift, met = _meet(x, v, given, system, i, tl.maximum(j, 0), j >= 0, first, kick, shift, met, seed,
                                     fast, threshold, N, HEADS, C, STRIDED, UPDATE, GIVEN, True, MEANS, KICKS,
                                     ACC)  # fmt: skip
        elif (fast > 0) & (fast < float("inf")):  # not NaN
            for j_0 in range(0, N, GROUP * COLS):
                if RANDOM:
                    words = drawn(system, i_0, j_0, tl.load(wanted + system), seed, N, RANDOM, ROWS, COLS, GROUP)
                else:
                    words = candidates(
                        x, v, i_0, j_0, slowest, reach, N, EVERY, ROWS, COLS, GROUP, HEADS, K, OFF, STRIDED, ACC
                    )
                while some(words):
                    j, listed, words = take(words, i, j_0, COLS)
                    kick, shift, met = _meet(x, v, given, system, i, j, listed, first, kick, shift, met, seed, fast,
                                             threshold, N, HEADS, C, STRIDED, UPDATE, GIVEN, RANDOM > 0, MEANS, KICKS,
                                             ACC)  # fmt: skip
        touched = (met > 0)[:, None]
        inside = rows[:, None] & (c < HEADS)[None, :]
        at = place(i[:, None], c[None, :], N, HEADS, STRIDED)
        own_x = tl.load(x + at, mask=inside, other=0.0)
        own_v = tl.load(v + at, mask=inside, other=0.0)
        partners = met.to(ACC)
        if MEAN:
            kick = kick / tl.maximum(partners, 1.0)[:, None]
        new_v = own_v.to(ACC) + kick
        new_x = own_x.to(ACC) + shift / (1.0 + partners)[:, None] + dt * new_v
        new_x = rounded(new_x, out.dtype.element_ty)
        if FREE:
            # As in torch: half precision is added in float32 and rounded once.
            moved = rounded(own_x.to(ACC) + own_v.to(ACC), out.dtype.element_ty)
            tl.store(out + at, tl.where(touched, new_x, moved), mask=inside)
        else:
            tl.store(out + at, new_x, mask=inside & touched)
        if first == 0:
            tl.store(k + numbers + i, met, mask=rows)
        before += tl.sum(tl.sum(own_v.to(ACC) * own_v.to(ACC), 1), 0)
        after += tl.sum(tl.sum(new_v * new_v, 1), 0)
    program = tl.program_id(1) * tl.num_programs(2) + tl.program_id(2)
    energy += (system.to(tl.int64) * tl.num_programs(1) * tl.num_programs(2) + program) * 2
    tl.store(energy, before)
    tl.store(energy + 1, after)


@triton.jit
@no_type_check
def _pull(
    grad, v, k, given, system, i, j, listed, first, k_i, for_v, for_x, seed, dt, N,
    HEADS: tl.constexpr, C: tl.constexpr, STRIDED: tl.constexpr, UPDATE: tl.constexpr, MEAN: tl.constexpr,
    GIVEN: tl.constexpr, MEANS: tl.constexpr, KICKS: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Add the part of the pairs i, j (ROWS,) in the gradients of i to for_v and for_x (ROWS, C)."""
    c = first + tl.arange(0, C)
    k_j = tl.load(k + j, mask=listed, other=0).to(ACC)
    g_i = features(grad, i, c, listed, N, HEADS, STRIDED, ACC)
    g_j = features(grad, j, c, listed, N, HEADS, STRIDED, ACC)
    if UPDATE:
        a = g_j / (1.0 + k_j)[:, None] - g_i / (1.0 + k_i)[:, None]
        for_x += tl.where(listed[:, None], a * 0.5, 0.0)
    if MEAN:
        b_i, b_j = dt / tl.maximum(k_i, 1.0), dt / tl.maximum(k_j, 1.0)
    else:
        b_i, b_j = tl.zeros_like(k_i) + dt, tl.zeros_like(k_j) + dt
    b = b_j[:, None] * g_j - b_i[:, None] * g_i
    if KICKS:
        product = along(given, system, i, j, listed, grad, b_i, b_j, seed, N, HEADS, C, STRIDED, GIVEN, ACC)
        dv = apart(v, i, j, c, listed, N, HEADS, STRIDED, ACC)
        speed = root(tl.sum(dv * dv, 1)) if HEADS <= C else separation(v, i, j, listed, N, HEADS, C, STRIDED, ACC)
        slope = tl.where(speed > 0, product / tl.where(speed > 0, speed, 1.0), 0.0)  # the gradient of |0| is 0
        if MEANS:
            b += slope[:, None] * dv
        else:
            b = slope[:, None] * dv
    for_v += tl.where(listed[:, None], b * 0.5, 0.0)
    return for_v, for_x


@triton.jit
@no_type_check
def backward(
    grad, x, v, given, v_max, partner, wanted, k, grad_x, grad_v, N, seed: tl.int64, threshold: tl.float64,
    dt: tl.float64, UPDATE: tl.constexpr, MEAN: tl.constexpr, GIVEN: tl.constexpr, MUTUAL: tl.constexpr,
    RANDOM: tl.constexpr, MEANS: tl.constexpr, KICKS: tl.constexpr,
    HEADS: tl.constexpr, STRIDED: tl.constexpr, ACC: tl.constexpr, EVERY: tl.constexpr,
    BLOCKS: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, GROUP: tl.constexpr, C: tl.constexpr, K: tl.constexpr,
    OFF: tl.constexpr,
):  # fmt: skip
    """grad_x and grad_v of `forward`; searches the pairs again among particles with k > 0."""
    system = tl.program_id(0)
    first = tl.program_id(2) * C if HEADS > C else 0
    base = system.to(tl.int64) * N * HEADS
    grad, x, v, grad_x, grad_v = grad + base, x + base, v + base, grad_x + base, grad_v + base
    numbers = system.to(tl.int64) * N
    k += numbers
    threshold, dt = tl.full((), threshold, ACC), tl.full((), dt, ACC)
    fast = tl.load(v_max + system)
    slowest, reach = limits(fast, threshold)
    c = first + tl.arange(0, C)
    for block in range(BLOCKS):
        i_0 = (tl.program_id(1) * BLOCKS + block) * ROWS
        i = i_0 + tl.arange(0, ROWS)
        rows = i < N
        k_i = tl.load(k + i, mask=rows, other=0)
        for_v, for_x = tl.zeros((ROWS, C), ACC), tl.zeros((ROWS, C), ACC)
        if tl.max(k_i, 0) > 0:
            if MUTUAL:
                j = tl.load(partner + numbers + i, mask=rows, other=-1)
                for_v, for_x = _pull(grad, v, k, given, system, i, tl.maximum(j, 0), j >= 0, first, k_i.to(ACC), for_v,
                                     for_x, seed, dt, N, HEADS, C, STRIDED, UPDATE, MEAN, GIVEN, MEANS, KICKS,
                                     ACC)  # fmt: skip
            else:
                for j_0 in range(0, N, GROUP * COLS):
                    if RANDOM:
                        words = drawn(system, i_0, j_0, tl.load(wanted + system), seed, N, RANDOM, ROWS, COLS, GROUP)
                    else:
                        words = candidates(x, v, i_0, j_0, slowest, reach, N, EVERY, ROWS, COLS, GROUP, HEADS, K, OFF,
                                           STRIDED, ACC)  # fmt: skip
                    words = tl.where((k_i > 0)[:, None], words, 0)
                    while some(words):
                        j, listed, words = take(words, i, j_0, COLS)
                        if not RANDOM:
                            distance = separation(x, i, j, listed, N, HEADS, C, STRIDED, ACC)
                            speed = separation(v, i, j, listed, N, HEADS, C, STRIDED, ACC)
                            listed = listed & (score(distance, speed, fast, ACC) > threshold)
                        if tl.max(listed.to(tl.int32), 0) > 0:
                            for_v, for_x = _pull(grad, v, k, given, system, i, j, listed, first, k_i.to(ACC), for_v,
                                                 for_x, seed, dt, N, HEADS, C, STRIDED, UPDATE, MEAN, GIVEN, MEANS,
                                                 KICKS, ACC)  # fmt: skip
        touched = (k_i > 0)[:, None]
        inside = rows[:, None] & (c < HEADS)[None, :]
        at = place(i[:, None], c[None, :], N, HEADS, STRIDED)
        g = tl.load(grad + at, mask=inside, other=0.0).to(ACC)
        tl.store(grad_x + at, rounded(tl.where(touched, g + for_x, g), grad_x.dtype.element_ty), mask=inside)
        g = dt * g
        tl.store(grad_v + at, rounded(tl.where(touched, g + for_v, g), grad_v.dtype.element_ty), mask=inside)


@triton.jit
@no_type_check
def kicks(
    v, given, start, other, out, N, seed: tl.int64,
    HEADS: tl.constexpr, C: tl.constexpr, GIVEN: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """out_i = sum_j ((v_j - v_i) + V_r n_ij)/2 over j = other[start[i]] ... other[start[i+1] - 1], in this order.

    v and out: (N, HEADS). Grid (N, programs over components).
    """
    i = tl.program_id(0) + tl.zeros((1,), tl.int64)  # N·HEADS may exceed 2^31
    first = tl.program_id(1) * C if HEADS > C else 0
    c = first + tl.arange(0, C)
    always = i >= 0
    total = tl.zeros((1, C), ACC)
    end = tl.load(start + tl.program_id(0) + 1)
    at = tl.load(start + tl.program_id(0))
    while at < end:
        j = tl.load(other + at) + tl.zeros((1,), tl.int64)
        dv = apart(v, i, j, c, always, N, HEADS, False, ACC)
        speed = root(tl.sum(dv * dv, 1)) if HEADS <= C else separation(v, i, j, always, N, HEADS, C, False, ACC)
        n = directions_of(given, tl.program_id(0) * 0, i, j, always, first, seed, N, HEADS, C, GIVEN, ACC)
        total += (dv + speed[:, None] * n) * 0.5
        at += 1
    row = out + tl.program_id(0).to(tl.int64) * HEADS
    tl.store(row[None, None] + c[None, :], total, mask=(c < HEADS)[None, :])
