"""Counter-based random unit vectors n_ij in Triton kernels: the numbers of `philox.py`, up to rounding.

    key = seed,   counter = (i, j, system, block) with i < j   ->   w_0 ... w_3        (Philox4x32-10)
    u_k = (floor(w_k / 2^9) + 1/2) 2^-23
    z_4b, z_4b+1 = sqrt(-2 ln u_0) (cos 2πu_1, sin 2πu_1);   z_4b+2, z_4b+3 from u_2 and u_3   (Box and Muller)
    n_ij = z / |z| = -n_ji;   in one dimension the sign of the highest bit of w_0

Functions of tensors in registers: P pairs by C components, C a power of two and, unless 1, at least 4.
"""

from typing import no_type_check

import triton
import triton.language as tl

from kiti.collision.gpu.triton_particles import features

_HALF_PI = tl.constexpr(1.5707963267948966)
_LN_2 = tl.constexpr(0.6931471805599453)


@triton.jit
@no_type_check
def words(i, j, system, block, seed):
    """w_0 ... w_3, uint32, of counters that broadcast to one shape; `seed` is a non-negative int64."""
    seed = seed.to(tl.int64)
    key_0 = (seed & 0xFFFFFFFF).to(tl.uint32)
    key_1 = (seed >> 32).to(tl.uint32)
    zero = (i + j + block) * 0  # the shape they broadcast to
    return tl.philox_impl(
        (i + zero).to(tl.uint32),
        (j + zero).to(tl.uint32),
        (system + zero).to(tl.uint32),
        (block + zero).to(tl.uint32),
        key_0,
        key_1,
    )


@triton.jit
@no_type_check
def _uniform(word):
    return ((word >> 9).to(tl.float32) + 0.5) * 1.1920928955078125e-07


@triton.jit
@no_type_check
def _log(u):
    """ln u for u in (0, 1), to 1e-7. The hardware's may round above 0 near u = 1, where the square root would fail."""
    bits = u.to(tl.int32, bitcast=True)
    exponent = (bits - 0x3F2AAAAB) >> 23  # u = m 2^exponent with m in [2/3, 4/3)
    f = (bits - (exponent << 23)).to(tl.float32, bitcast=True) - 1.0
    s = f / (2.0 + f)  # ln m = 2 artanh s
    t = s * s
    series = (((0.2222222222 * t + 0.2857142857) * t + 0.4) * t + 0.6666666667) * t + 2.0
    return exponent.to(tl.float32) * _LN_2 + s * series


@triton.jit
@no_type_check
def _turn(u):
    """cos 2πu and sin 2πu, to 1e-7: a series on an eighth of the circle, turned by quarters.

    tl.cos contains a slow path for large arguments, which needs a stack.
    """
    quarter = (4.0 * u + 0.5).to(tl.int32)
    a = (4.0 * u - quarter.to(tl.float32)) * _HALF_PI
    t = a * a
    sine = a + a * (((2.7557319e-06 * t - 1.9841270e-04) * t + 8.3333333e-03) * t - 1.6666667e-01) * t
    cosine = 1.0 + (((2.4801587e-05 * t - 1.3888889e-03) * t + 4.1666667e-02) * t - 0.5) * t
    crossed = (quarter & 1) != 0
    x = tl.where(crossed, sine, cosine)
    y = tl.where(crossed, cosine, sine)
    return tl.where(((quarter + 1) & 2) != 0, -x, x), tl.where((quarter & 2) != 0, -y, y)


@triton.jit
@no_type_check
def normals(i, j, system, first, seed, HEADS: tl.constexpr, C: tl.constexpr):
    """z_first ... z_first+C-1, (P, C) float32, of pairs i < j (P,); 0 from component HEADS on."""
    block = first // 4 + tl.arange(0, C // 4)
    w_0, w_1, w_2, w_3 = words(i[:, None], j[:, None], system, block[None, :], seed)
    radius = tl.sqrt(-2.0 * _log(_uniform(w_0)))
    cosine, sine = _turn(_uniform(w_1))
    z_0, z_1 = radius * cosine, radius * sine
    radius = tl.sqrt(-2.0 * _log(_uniform(w_2)))
    cosine, sine = _turn(_uniform(w_3))
    z_2, z_3 = radius * cosine, radius * sine
    # (P, C/4, 2, 2), where the last two axes count 0 ... 3: joining moves no registers.
    z = tl.reshape(tl.join(tl.join(z_0, z_2), tl.join(z_1, z_3)), (i.shape[0], C))
    return tl.where((first + tl.arange(0, C) < HEADS)[None, :], z, 0.0)


@triton.jit
@no_type_check
def directions_of(
    given, system, i, j, listed, first, seed, N,
    HEADS: tl.constexpr, C: tl.constexpr, GIVEN: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """Components first ... first+C-1 of n_ij, (P, C), of pairs i, j (P,), looked up where `listed` (P,)."""
    c = first + tl.arange(0, C)
    if GIVEN:
        row = (system.to(tl.int64) * N + i) * N + j
        inside = listed[:, None] & (c < HEADS)[None, :]
        return tl.load(given + row[:, None] * HEADS + c[None, :], mask=inside, other=0.0).to(ACC)
    else:
        low, high = tl.minimum(i, j), tl.maximum(i, j)
        if HEADS == 1:
            word, _, _, _ = words(low[:, None], high[:, None], system, c[None, :], seed)
            return tl.where((word < 0x80000000) == (i < j)[:, None], 1.0, -1.0).to(ACC)
        else:
            z = normals(low, high, system, first, seed, HEADS, C).to(ACC)
            if HEADS <= C:
                square = tl.sum(z * z, 1)
            else:
                square = tl.zeros((i.shape[0],), ACC)
                for other in range(0, HEADS, C):
                    part = normals(low, high, system, other, seed, HEADS, C).to(ACC)
                    square += tl.sum(part * part, 1)
            return z * (tl.where(i < j, 1.0, -1.0).to(ACC) / tl.sqrt(square))[:, None]


@triton.jit
@no_type_check
def along(
    given, system, i, j, listed, b, weight_i, weight_j, seed, N,
    HEADS: tl.constexpr, C: tl.constexpr, STRIDED: tl.constexpr, GIVEN: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    """n_ij·(weight_j b_j - weight_i b_i), (P,) ACC, of pairs i, j (P,), over all components; b is features (D,)."""
    square = tl.zeros((i.shape[0],), ACC)
    product = tl.zeros((i.shape[0],), ACC)
    low, high = tl.minimum(i, j), tl.maximum(i, j)
    for first in range(0, HEADS, C):
        c = first + tl.arange(0, C)
        b_i = features(b, i, c, listed, N, HEADS, STRIDED, ACC)
        b_j = features(b, j, c, listed, N, HEADS, STRIDED, ACC)
        difference = weight_j[:, None] * b_j - weight_i[:, None] * b_i
        if GIVEN or HEADS == 1:
            n = directions_of(given, system, i, j, listed, first, seed, N, HEADS, C, GIVEN, ACC)
            product += tl.sum(n * difference, 1)
        else:
            z = normals(low, high, system, first, seed, HEADS, C).to(ACC)
            square += tl.sum(z * z, 1)
            product += tl.sum(z * difference, 1)
    if GIVEN or HEADS == 1:
        return product
    else:
        return product * (tl.where(i < j, 1.0, -1.0).to(ACC) / tl.sqrt(square))
