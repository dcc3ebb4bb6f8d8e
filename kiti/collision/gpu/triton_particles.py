"""How Triton kernels read the particles of one system: `p` points to the system's D = N·HEADS features."""

from typing import no_type_check

import triton
import triton.language as tl


@triton.jit
@no_type_check
def place(i, c, N, HEADS: tl.constexpr, STRIDED: tl.constexpr):
    """The index of component c of particle i among its system's features."""
    if STRIDED:
        return c * N + i
    else:
        return i * HEADS + c


@triton.jit
@no_type_check
def features(p, i, c, inside, N, HEADS: tl.constexpr, STRIDED: tl.constexpr, ACC: tl.constexpr):
    """Components c (C,) of particles i (P,) as (P, C) ACC; 0 for particles not `inside` (P,) and from HEADS on."""
    mask = inside[:, None] & (c < HEADS)[None, :]
    return tl.load(p + place(i[:, None], c[None, :], N, HEADS, STRIDED), mask=mask, other=0.0).to(ACC)


@triton.jit
@no_type_check
def apart(p, i, j, c, inside, N, HEADS: tl.constexpr, STRIDED: tl.constexpr, ACC: tl.constexpr):
    """p_j - p_i, (P, C) ACC, of pairs i, j (P,); 0 for pairs not `inside`."""
    return features(p, j, c, inside, N, HEADS, STRIDED, ACC) - features(p, i, c, inside, N, HEADS, STRIDED, ACC)


@triton.jit
@no_type_check
def rounded(a, TYPE: tl.constexpr):
    """`a` as TYPE, rounded to nearest even. bfloat16 by hand, since Triton's interpreter truncates it."""
    if TYPE == tl.bfloat16:  # noqa: SIM300
        bits = a.to(tl.uint32, bitcast=True)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000
        return tl.where(a == a, bits.to(tl.float32, bitcast=True), a).to(TYPE)
    else:
        return a.to(TYPE)


@triton.jit
@no_type_check
def root(square):
    """The square root, correctly rounded as in torch."""
    if square.dtype == tl.float64:
        return tl.sqrt(square)
    else:
        return tl.sqrt_rn(square)


@triton.jit
@no_type_check
def separation(p, i, j, inside, N, HEADS: tl.constexpr, C: tl.constexpr, STRIDED: tl.constexpr, ACC: tl.constexpr):
    """|p_i - p_j|, (P,) ACC, of pairs i, j (P,), by plain differences."""
    square = tl.zeros((j.shape[0],), ACC)
    for first in range(0, HEADS, C):
        difference = apart(p, i, j, first + tl.arange(0, C), inside, N, HEADS, STRIDED, ACC)
        square += tl.sum(difference * difference, 1)
    return root(square)
