"""The collision on a CUDA GPU: fused Triton kernels, O(S·N·heads) memory, the same bits from run to run.

S systems of N = D / heads particles; features are contiguous (S, D). ACC is float64 for float64, else float32. With
TRITON_INTERPRET=1 in the environment before the first call, the kernels run in Triton's interpreter, on CPU tensors
too. With g the gradient of x', a = g/(1 + k) (0 without position_update) and b = dt w g, w = 1/max(1, k) for "mean"
and 1 otherwise, the backward is

    grad x_i = g_i + sum_j (a_j - a_i)/2
    grad v_i = dt g_i + sum_j (b_j - b_i + (n_ij·(b_j - b_i)/V_r) (v_j - v_i))/2
"""

import contextlib
import functools
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kiti.collision.fused import Forward
from kiti.collision.particles import accumulation_dtype
from kiti.collision.random_pairs import FEW, MORE_ROUNDS, ROUNDS, couple_of
from kiti.collision.rules import Rules

# Up to this size, one program handles a whole system and finds max(V_r) itself.
_WHOLE = 128
# Fuse products and sums explicitly: Triton's default differs between versions.
_OPTIONS = {"enable_fp_fusion": True}


def kept_width(n: int | torch.SymInt, reduction: str) -> int | torch.SymInt:
    """Width of `Forward.kept`: N if each particle has at most one partner, which it holds, or -1; otherwise 0."""
    return n if reduction == "max_one" else 0


def max_speed(v: Float[Tensor, "S D"], heads: int, strided: bool) -> Float[Tensor, " S"]:
    """max |v_i - v_j| of each system; NaN if a velocity is not finite."""
    kernels, device = _kernels(v)
    dtype = accumulation_dtype(v.dtype)
    if not v.numel():
        return torch.zeros(len(v), dtype=dtype, device=v.device)
    systems, n = len(v), v.shape[1] // heads
    form, warps = _form(n, heads, v.dtype), _warps(n, heads)
    common = {"HEADS": heads, "STRIDED": strided, "ACC": _name(kernels, dtype), "num_warps": warps, **_OPTIONS}
    with device:
        if form["BLOCKS"] * form["ROWS"] >= n:
            v_max = torch.empty(systems, dtype=dtype, device=v.device)
            kernels.system_maximum[(systems,)](v, v_max, n, **common, **form)
            return v_max
        blocks = -(-n // form["ROWS"])
        upper = torch.empty(systems, n, dtype=torch.float32, device=v.device)
        lower = torch.empty(systems, blocks, dtype=torch.float32, device=v.device)
        sizes = {name: form[name] for name in ("ROWS", "COLS", "C")}
        kernels.bound_maximum[(systems, blocks)](v, upper, lower, n, K=form["K"], OFF=form["OFF"], **common, **sizes)
        v_max = torch.empty(systems, blocks, dtype=dtype, device=v.device)
        kernels.block_maximum[(systems, blocks)](v, upper, lower.amax(1), v_max, n, **common, **sizes)
        return v_max.amax(1)


def forward(
    x: Float[Tensor, "S D"],
    v: Float[Tensor, "S D"],
    rules: Rules,
    seed: int,
    directions: Float[Tensor, "S N N heads"] | None,
    v_max: Float[Tensor, " S"] | None,
) -> Forward:
    """Algorithm 1; if `directions` is None they are drawn from `seed`, if `v_max` is None each system has its own."""
    kernels, device = _kernels(x)
    heads, systems, dtype = rules.collision_heads, len(x), accumulation_dtype(x.dtype)
    n, mutual, random = x.shape[1] // heads, rules.reduction == "max_one", rules.pairing == "random"
    form, settings = _form(n, heads, x.dtype), _settings(kernels, rules, directions, dtype, n)
    partner = torch.empty(systems, kept_width(n, rules.reduction), dtype=torch.int32, device=x.device)
    if not x.numel():
        return Forward(
            torch.add(x, v, alpha=rules.dt),
            torch.zeros(systems, n, dtype=torch.int32, device=x.device),
            torch.zeros(systems, dtype=dtype, device=x.device) if v_max is None else v_max,
            partner,
            torch.zeros(systems, 2, dtype=dtype, device=x.device),
        )
    find = v_max is None and not mutual and not random and form["BLOCKS"] * form["ROWS"] >= n
    if v_max is None and not find:
        v_max = max_speed(v, heads, rules.layout == "strided")
    found = torch.empty(systems, dtype=dtype, device=x.device) if v_max is None else v_max.to(dtype).contiguous()
    rows, parts = -(-n // (form["BLOCKS"] * form["ROWS"])), -(-heads // form["C"])
    # Fused if dt = 1, where 1·v is exact. Otherwise torch computes x + dt v, and collided particles overwrite it.
    free = rules.dt == 1
    out = torch.empty_like(x) if free else torch.add(x, v, alpha=rules.dt)
    k = torch.empty(systems, n, dtype=torch.int32, device=x.device)
    energy = torch.empty(systems, rows * parts, 2, dtype=dtype, device=x.device)
    given = x if directions is None else directions.contiguous()
    search = {name: settings[name] for name in ("HEADS", "STRIDED", "ACC", "num_warps", *_OPTIONS)}
    with device:
        if mutual:
            kernels.prefer[(systems, rows)](x, v, found, partner, n, rules.threshold, **search, **form)
            partner = _mutual(partner)
            if random:
                partner = _couples(seed, (partner >= 0).sum(1) // 2, n)
        elif random:
            kernels.count[(systems, rows)](x, v, found, k, n, rules.threshold, **search, **form)
        kernels.forward[(systems, rows, parts)](
            x, v, given, found, partner, _wanted(k, rules), out, k, found, energy, n, seed, rules.threshold,
            float(rules.dt), FIND=find, FREE=free, **settings, **form,
        )  # fmt: skip
    return Forward(out, k, found, partner, energy.sum(1))


def backward(
    grad: Float[Tensor, "S D"],
    x: Float[Tensor, "S D"],
    v: Float[Tensor, "S D"],
    rules: Rules,
    seed: int,
    directions: Float[Tensor, "S N N heads"] | None,
    k: Int[Tensor, "S N"],
    v_max: Float[Tensor, " S"],
    kept: Int[Tensor, "S M"],
) -> tuple[Float[Tensor, "S D"], Float[Tensor, "S D"]]:
    """The gradients of x and v, given that of x'; acceptance and directions are constants, recomputed here."""
    kernels, device = _kernels(x)
    heads, systems, dtype = rules.collision_heads, len(x), accumulation_dtype(x.dtype)
    grad_x, grad_v = torch.empty_like(x), torch.empty_like(x)
    if not x.numel():
        return grad_x, grad_v
    n = x.shape[1] // heads
    form, settings = _form(n, heads, x.dtype), _settings(kernels, rules, directions, dtype, n)
    rows, parts = -(-n // (form["BLOCKS"] * form["ROWS"])), -(-heads // form["C"])
    given = x if directions is None else directions.contiguous()
    with device:
        kernels.backward[(systems, rows, parts)](
            grad, x, v, given, v_max, kept, _wanted(k, rules), k, grad_x, grad_v, n, seed, rules.threshold,
            float(rules.dt), **settings, **form,
        )  # fmt: skip
    return grad_x, grad_v


def kicks(
    v: Float[Tensor, "N D"],
    first: Int[Tensor, " P"],
    second: Int[Tensor, " P"],
    seed: int,
    directions: Float[Tensor, "N N D"] | None,
) -> Float[Tensor, "N D"]:
    """Σ dV_ij of each row over listed pairs, first < second, without repeats, ordered by (first, second), in ACC.

    Rows are the particles of one system. What a pair adds to `first` it subtracts, bit for bit, from `second`.
    """
    kernels, device = _kernels(v)
    (n, d), dtype = v.shape, accumulation_dtype(v.dtype)
    out = torch.zeros(n, d, dtype=dtype, device=v.device)
    if not len(first) or not d:
        return out
    start, other = _by_row(first, second, n)
    # A whole row at once if 16 numbers per thread can hold it, so that each random number is drawn once.
    c = 1 if d == 1 else min(8192, max(4, _power_of_2(d)))
    with device:
        kernels.kicks[(n, -(-d // c))](
            v.contiguous(), v if directions is None else directions.contiguous(), start, other, out, n, seed,
            HEADS=d, C=c, GIVEN=directions is not None, ACC=_name(kernels, dtype),
            num_warps=min(16, max(1, c // 512)), **_OPTIONS,
        )  # fmt: skip
    return out


def _by_row(first: Tensor, second: Tensor, n: int) -> tuple[Int[Tensor, " N1"], Int[Tensor, " P2"]]:
    """Row i's partners, ascending, are other[start[i]:start[i+1]].

    The stable sort by row puts pairs with i as second before those with i as first, so lower partners before higher
    ones.
    """
    row, order = torch.cat([second, first]).to(torch.int32).sort(stable=True)
    other = torch.cat([first, second])[order].to(torch.int32)
    start = torch.searchsorted(row, torch.arange(n + 1, dtype=torch.int32, device=row.device))
    return start, other


def _mutual(preferred: Int[Tensor, "S N"]) -> Int[Tensor, "S N"]:
    """Each particle's preferred partner if the preference is mutual, else -1."""
    back = preferred.gather(1, preferred.clamp_min(0).to(torch.int64))
    own = torch.arange(preferred.shape[1], dtype=torch.int32, device=preferred.device)
    return torch.where((preferred >= 0) & (back == own), preferred, -1)


def _couples(seed: int, wanted: Int[Tensor, " S"], n: int) -> Int[Tensor, "S N"]:
    """Each particle's partner if its couple, drawn at random, is among the `wanted` first of its system, else -1."""
    couple = couple_of(seed, len(wanted), n, wanted.device)
    order = couple.argsort(dim=1, stable=True)  # the two of a couple one after the other
    at = order.argsort(1)
    other = order.gather(1, (at ^ 1).clamp_max(n - 1))
    return torch.where(couple < wanted[:, None], other, -1).to(torch.int32)


def _draws_pairs(rules: Rules) -> bool:
    """Whether the kernels draw pairs; couples are drawn here."""
    return rules.pairing == "random" and rules.reduction != "max_one"


def _wanted(k: Int[Tensor, "S N"], rules: Rules) -> Int[Tensor, "..."]:
    """How many pairs the kernels draw in each system, (S,); any tensor if none."""
    return k.sum(1, dtype=torch.int32) // 2 if _draws_pairs(rules) else k


def _form(n: int, heads: int, dtype: torch.dtype) -> dict[str, Any]:
    """Sizes of a program's blocks, as `triton_kernels.py` names them; powers of two.

    Not tuned on a device: chosen so that a thread's data fits its registers, as ptxas counts them, and a row of pairs
    is no longer than needed. Rows and tiles of 32: a word has 32 bits, tiles of systems such as 96 waste nothing, and
    if few pairs are accepted, few rows wait for the one with the most.
    """
    every = n <= 8  # so few pairs are all computed, without a search
    i = max(1, _power_of_2(n)) if every else min(32, max(16, _power_of_2(n)))
    c = 1 if heads == 1 else min(max(4, _power_of_2(heads)), 4096 // i)
    return {
        "EVERY": every,
        "BLOCKS": _power_of_2(-(-n // i)) if n <= _WHOLE else 1,
        "ROWS": i,
        "COLS": i,
        "GROUP": min(4, _power_of_2(-(-n // i))),
        "C": c,
        "K": min(32, max(16, _power_of_2(heads))),  # at least 16 for Triton 3.6 and 3.7, 8 for later versions
        # Error of tensor cores in operands, unless these are halves, and in sums, times 1.5 for safety.
        "OFF": 0.0 if heads <= 4 else 1.5 * ((0.0 if dtype.itemsize == 2 else 2.0**-9) + (heads + 8) * 2.0**-20),
    }


def _warps(n: int, heads: int) -> int:
    """Warps such that each thread has 4 numbers of a list of pairs (ROWS, C), at most 8 warps.

    With 8 numbers ptxas runs out of registers if `forward` also holds tiles of more than 4 components.
    """
    form = _form(n, heads, torch.float32)
    return max(1, min(8, form["ROWS"] * form["C"] // 128))


def _settings(
    kernels: ModuleType, rules: Rules, directions: Tensor | None, dtype: torch.dtype, n: int
) -> dict[str, Any]:
    return {
        "UPDATE": rules.position_update,
        "MEAN": rules.reduction == "mean",
        "GIVEN": directions is not None,
        "MUTUAL": rules.reduction == "max_one",
        "RANDOM": _rounds(n) if _draws_pairs(rules) else 0,
        "MEANS": rules.terms != "kicks",
        "KICKS": rules.terms != "means",
        "HEADS": rules.collision_heads,
        "STRIDED": rules.layout == "strided",
        "ACC": _name(kernels, dtype),
        "num_warps": _warps(n, rules.collision_heads),
        **_OPTIONS,
    }


def _rounds(n: int) -> int:
    return MORE_ROUNDS if n < FEW else ROUNDS


def _power_of_2(n: int) -> int:
    """The smallest power of two that is at least n."""
    return 1 << max(0, n - 1).bit_length()


def _name(kernels: ModuleType, dtype: torch.dtype) -> Any:
    """Triton's name for `dtype`."""
    return kernels.tl.float64 if dtype == torch.float64 else kernels.tl.float32


def _kernels(features: Tensor) -> tuple[ModuleType, contextlib.AbstractContextManager[Any]]:
    """The kernels, and a context in which they run on the device of `features`."""
    kernels = _imported()
    if features.device.type == "cuda":
        return kernels, torch.cuda.device(features.device)
    if isinstance(kernels.forward, kernels.triton.JITFunction):
        raise ValueError(
            f"implementation='triton' got tensors on {features.device}: they must be on a CUDA GPU, "
            "or TRITON_INTERPRET=1 set before kiti is imported"
        )
    return kernels, contextlib.nullcontext()


@functools.cache
def _imported() -> ModuleType:
    try:
        from kiti.collision.gpu import triton_kernels
    except ImportError as error:
        raise ImportError(
            f"implementation='triton' needs the package triton ({error}): pip install triton on Linux, "
            "or implementation='auto', which does without"
        ) from error
    return triton_kernels
