"""Algorithm 1 and its gradient over systems begin … end: the compiled loops that `numba_backend.py` calls.

Arrays are contiguous numpy arrays of one precision, float32 or float64, as are the scalars. The GIL is released, so
that threads can share a call by taking different systems. Shapes as in `numba_backend.py`.
"""

from typing import no_type_check

import numpy as np

from kiti.collision.cpu.jit import compiled, reassociated
from kiti.collision.cpu.numba_distances import FEW
from kiti.collision.cpu.numba_maximum import fastest_of_few, fastest_of_many
from kiti.collision.cpu.numba_random_pairs import MORE_ROUNDS, draw_couples, draw_pairs, keys_of
from kiti.collision.cpu.numba_search import any_near, find_among_few, find_among_many, gather, scratch_for
from kiti.collision.cpu.numba_sums import add_pairs, pull_back

# At least this many pairs are listed before they are summed.
LISTED = 4096


@no_type_check
@compiled()
def max_speed(v, heads, slack, v_max, begin, end):
    """max(V_r) of each system into v_max."""
    n = v.shape[1] // heads
    scratch = scratch_for(n, heads, 0, v.dtype)
    for system in range(begin, end):
        if n > FEW:
            v_max[system] = fastest_of_many(v[system], n, heads, slack, scratch)
        else:
            v_max[system] = fastest_of_few(v[system], n, heads)


@no_type_check
@compiled()
def forward(x, v, heads, physics, mutual, seed, directions, own, v_max, whole, out, k, kept, energy, begin, end):
    """Eq 5 into `out`; fills k, which holds 0, kept, which holds -1, energy, and with `own` v_max, which holds 0.

    Unless `whole`, `out` already holds x + dt v, and only particles with partners are written.
    """
    n = x.shape[1] // heads
    scratch = scratch_for(n, heads, n + LISTED, x.dtype)
    shift, kick = np.zeros(n * heads, x.dtype), np.zeros(n * heads, x.dtype)
    partner, best = np.empty(n, np.int32), np.empty(n, x.dtype)
    keys = np.empty(MORE_ROUNDS, np.uint32)
    for system in range(begin, end):
        xs, vs = x[system], v[system]
        energy[system] = _add(xs, vs, out[system]) if whole else _energy(vs)
        if own and n > FEW:
            v_max[system] = fastest_of_many(vs, n, heads, physics.slack, scratch)
        elif own and any_near(xs, n, heads, physics):  # otherwise nothing collides and v_max is not needed
            v_max[system] = fastest_of_few(vs, n, heads)
        top = v_max[system]
        if not top > 0:  # all at rest, or NaN
            continue
        few, margin, row = n, x.dtype.type(0), 0
        if n > FEW:
            few, margin = gather(xs, vs, n, heads, physics, top, own, scratch)
        if mutual:
            partner[:], best[:] = -1, 0
            _prefer(xs, vs, n, heads, few, margin, physics, top, scratch, best, partner)
        listed, wanted = 0, 0
        if physics.random:
            wanted = _count(xs, vs, n, heads, few, margin, physics, top, scratch, mutual, partner)
            keys_of(seed, system, keys)
        while listed < wanted if physics.random else row < few - 1:
            if physics.random and mutual:
                found = wanted
                draw_couples(n, found, keys, scratch.pairs)
            elif physics.random:
                found = min(wanted - listed, len(scratch.pairs))
                draw_pairs(n, listed, found, keys, scratch.pairs)
            elif mutual:
                found, row = _mutual(partner, scratch.pairs), n
            elif n > FEW:
                found, row = find_among_many(vs, heads, few, margin, physics, top, row, scratch)
            else:
                found, row = find_among_few(xs, vs, n, heads, physics, top, row, scratch.pairs, scratch.scores)
            if found == 0:
                continue
            if listed == 0:
                shift[:], kick[:] = 0, 0
            for p in range(min(found, n - listed)):
                kept[system, listed + p] = scratch.pairs[p]
            listed += found
            add_pairs(
                xs, vs, system, heads, scratch.pairs, found, seed, directions, physics.means, physics.kicks, k[system],
                shift, kick,
            )  # fmt: skip
        if listed > 0:
            energy[system, 1] += _move(xs, vs, heads, physics, k[system], shift, kick, out[system])


@no_type_check
@compiled()
def backward(
    grad, x, v, heads, physics, seed, directions, v_max, k, kept, grad_x, grad_v, begin, end
):  # fmt: skip
    """The adjoint of `forward`, into grad_x and grad_v."""
    n = x.shape[1] // heads
    scratch = scratch_for(n, heads, n + LISTED, x.dtype)
    a, b = np.zeros(n * heads, x.dtype), np.zeros(n * heads, x.dtype)
    keys = np.empty(MORE_ROUNDS, np.uint32)
    for system in range(begin, end):
        xs, vs, top = x[system], v[system], v_max[system]
        _of_addition(grad[system], physics.dt, grad_x[system], grad_v[system])
        listed = k[system].sum() // 2
        if listed == 0:
            continue
        _gradients_of_sums(grad[system], heads, physics, k[system], a, b)
        if listed <= n:
            pull_back(
                vs, system, heads, kept[system], listed, seed, directions, physics.means, physics.kicks, a, b,
                grad_x[system], grad_v[system],
            )  # fmt: skip
            continue
        if physics.random:
            keys_of(seed, system, keys)
            for start in range(0, listed, len(scratch.pairs)):
                found = min(listed - start, len(scratch.pairs))
                draw_pairs(n, start, found, keys, scratch.pairs)
                pull_back(
                    vs, system, heads, scratch.pairs, found, seed, directions, physics.means, physics.kicks, a, b,
                    grad_x[system], grad_v[system],
                )  # fmt: skip
            continue
        few, margin, row = n, x.dtype.type(0), 0
        if n > FEW:
            few, margin = gather(xs, vs, n, heads, physics, top, False, scratch)
        while row < few - 1:
            if n > FEW:
                found, row = find_among_many(vs, heads, few, margin, physics, top, row, scratch)
            else:
                found, row = find_among_few(xs, vs, n, heads, physics, top, row, scratch.pairs, scratch.scores)
            pull_back(
                vs, system, heads, scratch.pairs, found, seed, directions, physics.means, physics.kicks, a, b,
                grad_x[system], grad_v[system],
            )  # fmt: skip


@no_type_check
@reassociated()
def _add(x, v, out):
    """x + v into `out`; returns Σ|v|²."""
    total = v.dtype.type(0)
    for f in range(len(x)):
        out[f] = x[f] + v[f]
        total += v[f] * v[f]
    return total


@no_type_check
@compiled()
def _of_addition(grad, dt, grad_x, grad_v):
    for f in range(len(grad)):
        grad_x[f], grad_v[f] = grad[f], dt * grad[f]


@no_type_check
@compiled()
def _prefer(x, v, n, heads, few, margin, physics, v_max, scratch, best, partner):
    """Each particle's accepted partner of highest score, the lowest (i, j) if equal, into partner (N,)."""
    row = 0
    while row < few - 1:
        if n > FEW:
            found, row = find_among_many(v, heads, few, margin, physics, v_max, row, scratch)
        else:
            found, row = find_among_few(x, v, n, heads, physics, v_max, row, scratch.pairs, scratch.scores)
        for p in range(found):
            i, j, score = scratch.pairs[p, 0], scratch.pairs[p, 1], scratch.scores[p]
            for one, other in ((i, j), (j, i)):
                rival = partner[one]
                lower = (i, j) < (min(one, rival), max(one, rival))
                if score > best[one] or (score == best[one] and lower):
                    best[one], partner[one] = score, other


@no_type_check
@compiled()
def _count(x, v, n, heads, few, margin, physics, v_max, scratch, mutual, partner):
    """How many pairs are accepted; with `mutual` those of `partner` (N,)."""
    if mutual:
        return _mutual(partner, scratch.pairs)
    total, row = 0, 0
    while row < few - 1:
        if n > FEW:
            found, row = find_among_many(v, heads, few, margin, physics, v_max, row, scratch)
        else:
            found, row = find_among_few(x, v, n, heads, physics, v_max, row, scratch.pairs, scratch.scores)
        total += found
    return total


@no_type_check
@compiled()
def _mutual(partner, pairs):
    """List the pairs that prefer each other; returns how many."""
    found = 0
    for i in range(len(partner)):
        j = partner[i]
        if j > i and partner[j] == i:
            pairs[found, 0], pairs[found, 1] = i, j
            found += 1
    return found


@no_type_check
@compiled()
def _move(x, v, heads, physics, k, shift, kick, out):
    """Eq 5 of one system where k > 0, into `out`; returns the growth of Σ|v|²."""
    number = x.dtype.type
    grown = number(0)
    for i in range(len(k)):
        if k[i] == 0:
            continue
        weight = number(1) / number(k[i]) if physics.mean else number(1)
        for f in range(i * heads, (i + 1) * heads):
            v_new = v[f] + kick[f] * weight
            x_star = x[f] + shift[f] / number(k[i] + 1) if physics.position_update else x[f]
            out[f] = x_star + physics.dt * v_new
            grown += v_new * v_new - v[f] * v[f]
    return grown


@no_type_check
@compiled()
def _gradients_of_sums(grad, heads, physics, k, a, b):
    """The gradients of Σ shift and Σ dV of one system."""
    number = grad.dtype.type
    for i in range(len(k)):
        weight = physics.dt / number(k[i]) if physics.mean and k[i] > 0 else physics.dt
        for f in range(i * heads, (i + 1) * heads):
            a[f] = grad[f] / number(k[i] + 1) if physics.position_update else number(0)
            b[f] = grad[f] * weight


@no_type_check
@reassociated()
def _energy(v):
    total = v.dtype.type(0)
    for f in range(len(v)):
        total += v[f] * v[f]
    return total
