"""Counter-based random unit vectors n_ij: a pair always gets the same one, in any order, on any device.

Philox4x32-10 (Salmon et al., 2011) turns a counter and a key into four random words:

    key = seed,   counter = (i, j, system, block) with i < j   ->   w_0 ... w_3
    u_k = (⌊w_k / 2⁹⌋ + 1/2) 2⁻²³
    z_4b, z_4b+1 = sqrt(-2 ln u_0) (cos 2πu_1, sin 2πu_1);   z_4b+2, z_4b+3 from u_2 and u_3   (Box and Muller)
    n_ij = z / |z| = -n_ji;   in one dimension the sign of the highest bit of w_0

`gpu/triton_directions.py` draws the same.
"""

import math
from typing import no_type_check

import numpy as np
from numba import uint32, uint64, uintp

from kiti.collision.cpu.jit import compiled

_WORD = uint64(0xFFFFFFFF)
_SHIFT = uint64(32)
_ROUND_0, _ROUND_1 = uint64(0xD2511F53), uint64(0xCD9E8D57)
_KEY_0, _KEY_1 = uint32(0x9E3779B9), uint32(0xBB67AE85)
_ROUNDS = 10


@no_type_check
@compiled(inline="always")
def words(c0, c1, c2, c3, seed):
    """The four random words of counter (c0, c1, c2, c3), uint32 each, under a key of 64 bits."""
    k0, k1 = uint32(seed & _WORD), uint32((seed >> _SHIFT) & _WORD)
    for _ in range(_ROUNDS):
        a, b = _ROUND_0 * uint64(c0), _ROUND_1 * uint64(c2)
        c0, c2 = uint32(b >> _SHIFT) ^ c1 ^ k0, uint32(a >> _SHIFT) ^ c3 ^ k1
        c1, c3 = uint32(b & _WORD), uint32(a & _WORD)
        k0, k1 = uint32(k0 + _KEY_0), uint32(k1 + _KEY_1)
    return c0, c1, c2, c3


@no_type_check
@compiled()
def draw(counters, count, seed, scratch, z):
    """Standard normals z[4q … 4q+3] of counters[:, q], q < count.

    counters: uint32 (4, Q). scratch: float32 (4, Q). z: float32 (4Q,). float32 for any precision of the features:
    they are only random numbers. Two plain loops, which compile to vector instructions.
    """
    n = uintp(count)
    for q in range(n):
        w0, w1, w2, w3 = words(counters[0, q], counters[1, q], counters[2, q], counters[3, q], seed)
        scratch[0, q] = _uniform(w0)
        scratch[1, q] = _uniform(w1)
        scratch[2, q] = _uniform(w2)
        scratch[3, q] = _uniform(w3)
    bits = scratch.view(np.int32)
    for half in range(uintp(2)):
        even, odd = uintp(2) * half, uintp(2) * half + uintp(1)
        for q in range(n):
            radius = math.sqrt(np.float32(-2) * _log(bits[even, q]))
            cosine, sine = _turn(scratch[odd, q])
            z[uintp(4) * q + even] = radius * cosine
            z[uintp(4) * q + odd] = radius * sine


@no_type_check
@compiled(inline="always")
def _uniform(word):
    return (np.float32(word >> uint32(9)) + np.float32(0.5)) * np.float32(2.0**-23)


@no_type_check
@compiled(inline="always")
def _log(bits):
    """ln of the float32 in (0, 1) with these bits, to 1e-7: u = m 2^e with m in [2/3, 4/3), then a series in m - 1."""
    exponent = (bits - np.int32(0x3F2AAAAB)) >> np.int32(23)
    mantissa = _float(bits - (exponent << np.int32(23)))
    f = mantissa - np.float32(1)
    s = f / (np.float32(2) + f)  # ln m = 2 artanh s, |s| <= 1/5
    t = s * s
    series = np.float32(2 / 9) * t + np.float32(2 / 7)
    series = series * t + np.float32(2 / 5)
    series = series * t + np.float32(2 / 3)
    series = series * t + np.float32(2)
    return np.float32(exponent) * np.float32(0.6931471805599453) + s * series


@no_type_check
@compiled(inline="always")
def _turn(u):
    """cos 2πu and sin 2πu, to 1e-7: Taylor's series on an eighth of the circle, turned by quarters."""
    quarter = np.int32(np.float32(4) * u + np.float32(0.5))
    a = (np.float32(4) * u - np.float32(quarter)) * np.float32(math.pi / 2)
    t = a * a
    sine = a * (((np.float32(1 / 362880) * t - np.float32(1 / 5040)) * t + np.float32(1 / 120)) * t - np.float32(1 / 6))
    sine = a + sine * t
    cosine = ((np.float32(1 / 40320) * t - np.float32(1 / 720)) * t + np.float32(1 / 24)) * t - np.float32(0.5)
    cosine = np.float32(1) + cosine * t
    crossed = (quarter & np.int32(1)) != 0
    x = sine if crossed else cosine
    y = cosine if crossed else sine
    x = -x if ((quarter + np.int32(1)) & np.int32(2)) != 0 else x
    y = -y if (quarter & np.int32(2)) != 0 else y
    return x, y


@no_type_check
@compiled(inline="always")
def _float(bits):
    return np.int32(bits).view(np.float32)


@no_type_check
@compiled()
def draw_signs(counters, count, seed, z):
    """The one-dimensional sphere: z[4q] is 1 or -1, determined by counters[:, q], q < count."""
    for q in range(uintp(count)):
        w0, _, _, _ = words(counters[0, q], counters[1, q], counters[2, q], counters[3, q], seed)
        z[uintp(4) * q] = np.float32(1) if w0 < uint32(0x80000000) else np.float32(-1)
