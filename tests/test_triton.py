"""The Triton kernels in Triton's interpreter, against `literal` and plain loops; and compiled offline.

Interpreted, a program takes half a second: few systems, small ones.
"""

import dataclasses
import json
import math
import os
import subprocess
import sys

import pytest
import torch

triton = pytest.importorskip("triton")

import triton.language as tl  # noqa: E402

from kiti.collision import collide_with_statistics, gpu  # noqa: E402
from kiti.collision.rules import Rules  # noqa: E402

interpreted = pytest.mark.skipif(torch.cuda.is_available(), reason="kernels are compiled where there is a GPU")
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's, where the interpreter meets inf and NaN

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def features(*shape, scale=1.0, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x, v, weight = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3))
    return (scale * x).to(DEVICE, dtype), v.to(DEVICE, dtype), weight.to(DEVICE, dtype)


def unit_vectors(systems, n, heads, dtype=torch.float64, seed=1):
    """Random n_ij = -n_ji."""
    z = torch.randn(systems, n, n, heads, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    z = z / z.norm(dim=-1, keepdim=True) * torch.ones(n, n, dtype=torch.float64).triu(1)[..., None]
    return (z - z.transpose(1, 2)).to(DEVICE, dtype)


def by_literal(x, v, weight, rules, directions):
    """x', k summed over all particles, and the gradients."""
    x, v = x.clone().requires_grad_(), v.clone().requires_grad_()
    settings = dataclasses.asdict(rules)
    out, statistics = collide_with_statistics(x, v, implementation="literal", directions=directions, **settings)
    gradients = torch.autograd.grad(out, (x, v), weight)
    n = x.shape[1] // rules.collision_heads
    return out.detach(), round(statistics.partners.item() * len(x) * n), *gradients


def by_triton(x, v, weight, rules, directions=None, seed=0):
    v_max = None
    if rules.max_over == "batch":
        v_max = gpu.max_speed(v, rules.collision_heads, rules.layout == "strided").amax().expand(len(v))
    done = gpu.forward(x, v, rules, seed, directions, v_max)
    gradients = gpu.backward(weight, x, v, rules, seed, directions, done.k, done.v_max, done.kept)
    return done.x_new, done.k.sum().item(), *gradients


CASES = [  # N, heads, scale of x, coll_coef, further rules: particles and components that fill tiles and that do not
    (1, 4, 1.0, 1.0, {}),
    (2, 1, 0.2, 0.9, {}),
    (5, 3, 0.3, 0.7, {"reduction": "mean", "dt": 0.7}),
    (5, 65, 0.02, 0.9, {"layout": "strided"}),
    (9, 2, 0.2, 1.0, {"layout": "strided", "position_update": False}),
    (17, 5, 0.1, 1.0, {"dt": 0.7}),
    (17, 1, 0.3, 0.8, {"reduction": "max_one", "layout": "strided"}),
    (33, 8, 0.4, 0.7, {"max_over": "batch"}),
    (33, 8, 0.3, 0.7, {"reduction": "mean", "layout": "strided", "position_update": False}),
    (36, 65, 0.03, 0.7, {"reduction": "max_one", "dt": 0.7}),
    (130, 2, 0.3, 0.4, {"layout": "strided"}),
    (200, 8, 0.2, 0.45, {"max_over": "batch"}),
]


@pytest.mark.parametrize(
    ("dtype", "n", "heads", "scale", "coef", "rules"),
    [*((torch.float64, *case) for case in CASES), *((torch.float32, *case) for case in CASES[1::3])],
)
def test_equals_literal(dtype, n, heads, scale, coef, rules):
    systems = 2 if n < 100 else 1
    x, v, weight = features(systems, n * heads, scale=scale, dtype=dtype)
    rules, directions = Rules(heads, coef, **rules), unit_vectors(systems, n, heads, dtype)
    expected = by_literal(x, v, weight, rules, directions)
    assert n == 1 or expected[1] > 0
    tolerance = 1e-11 if dtype == torch.float64 else 2e-5
    torch.testing.assert_close(by_triton(x, v, weight, rules, directions), expected, rtol=tolerance, atol=tolerance)


def test_components_in_several_pieces_equal_literal(monkeypatch):
    form = gpu._form
    monkeypatch.setattr(gpu, "_form", lambda *arguments: form(*arguments) | {"C": 4})
    x, v, weight = features(1, 2 * 10, scale=0.1)
    rules, directions = Rules(10, 0.9), unit_vectors(1, 2, 10)
    expected = by_literal(x, v, weight, rules, directions)
    torch.testing.assert_close(by_triton(x, v, weight, rules, directions), expected, rtol=1e-11, atol=1e-11)
    drawn = by_triton(x, v, weight, rules, seed=5)
    monkeypatch.undo()
    torch.testing.assert_close(drawn, by_triton(x, v, weight, rules, seed=5), rtol=1e-6, atol=1e-6)


def test_statistics():
    x, v, _ = features(2, 9 * 2, scale=0.2)
    rules = Rules(2, 0.8, dt=0.5, position_update=False)
    done = gpu.forward(x, v, rules, 3, None, None)
    torch.testing.assert_close(done.v_max, (v.view(2, 9, 1, 2) - v.view(2, 1, 9, 2)).norm(dim=-1).amax((1, 2)))
    after = ((done.x_new - x) / 0.5).square().sum(1)
    torch.testing.assert_close(done.energy, torch.stack([v.square().sum(1), after], 1))
    assert done.k.dtype == torch.int32
    assert done.k.sum() > 0
    again = gpu.forward(x, v, rules, 3, None, done.v_max)
    torch.testing.assert_close(again, done, rtol=0, atol=0)


@pytest.mark.parametrize(("n", "heads"), [(1, 2), (6, 3), (40, 5), (140, 1)])
def test_max_speed(n, heads):
    _, v, _ = features(2, n * heads, dtype=torch.float32)
    expected = (v.view(2, n, 1, heads) - v.view(2, 1, n, heads)).square().sum(-1).sqrt().amax((1, 2))
    torch.testing.assert_close(gpu.max_speed(v, heads, False), expected, rtol=3e-7, atol=0)
    v[1, -1] = torch.inf
    assert gpu.max_speed(v, heads, False).isnan().tolist() == [False, True]


def test_partners_choose_each_other():
    x, v, _ = features(1, 17 * 2, scale=0.3)
    done = gpu.forward(x, v, Rules(2, 0.9, reduction="max_one"), 0, None, None)
    partner = done.kept[0].tolist()
    assert all(j == -1 or partner[j] == i for i, j in enumerate(partner))
    assert torch.equal(done.k, (done.kept >= 0).int())
    assert done.k.sum() > 0
    torch.testing.assert_close(done.energy[:, 0], done.energy[:, 1])  # one partner each: elastic


# Random numbers


def philox(counter, key):
    """Philox4x32-10 of Salmon et al. (2011) in plain integers."""
    (a, b, c, d), (low, high), word = counter, key, 0xFFFFFFFF
    for _ in range(10):
        p, q = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (q >> 32) ^ b ^ low, q & word, (p >> 32) ^ d ^ high, p & word
        low, high = (low + 0x9E3779B9) & word, (high + 0xBB67AE85) & word
    return a, b, c, d


def plain_directions(systems, n, heads, seed):
    """What the kernels draw, by the equations at the top of gpu_directions.py."""
    out = torch.zeros(systems, n, n, heads, dtype=torch.float64)
    for s in range(systems):
        for i in range(n):
            for j in range(i + 1, n):
                z = []
                for block in range(-(-heads // 4)):
                    w = philox((i, j, s, block), (seed & 0xFFFFFFFF, seed >> 32))
                    u = [((word >> 9) + 0.5) * 2.0**-23 for word in w]
                    for a, b in ((u[0], u[1]), (u[2], u[3])):
                        r = math.sqrt(-2 * math.log(a))
                        z += [r * math.cos(2 * math.pi * b), r * math.sin(2 * math.pi * b)]
                    if heads == 1:
                        z = [1.0 if w[0] < 2**31 else -1.0]
                direction = torch.tensor(z[:heads], dtype=torch.float64)
                out[s, i, j] = direction / direction.norm()
                out[s, j, i] = -out[s, i, j]
    return out.to(DEVICE)


@triton.jit
def words_of(counter, out, seed: tl.int64):
    from_0 = tl.arange(0, 1)
    w_0, w_1, w_2, w_3 = words(
        tl.load(counter + from_0),
        tl.load(counter + 1 + from_0),
        tl.load(counter + 2),
        tl.load(counter + 3 + from_0),
        seed,
    )
    tl.store(out + from_0, w_0.to(tl.int64))
    tl.store(out + 1 + from_0, w_1.to(tl.int64))
    tl.store(out + 2 + from_0, w_2.to(tl.int64))
    tl.store(out + 3 + from_0, w_3.to(tl.int64))


@triton.jit
def directions_to(out, system, seed: tl.int64, HEADS: tl.constexpr, C: tl.constexpr, P: tl.constexpr):
    """n_ij and n_ji of i = p, j = p + 1 + p % 7 into out (2, P, HEADS)."""
    i = tl.arange(0, P)
    j = i + 1 + i % 7
    c = tl.arange(0, C)
    at = out + i[:, None] * HEADS + c[None, :]
    system = system + tl.program_id(0)
    mask = (i >= 0)[:, None] & (c < HEADS)[None, :]
    n = directions_of(out, system, i, j, i >= 0, 0, seed, P, HEADS, C, False, tl.float32)
    tl.store(at, n, mask=mask)
    n = directions_of(out, system, j, i, i >= 0, 0, seed, P, HEADS, C, False, tl.float32)
    tl.store(at + P * HEADS, n, mask=mask)


@pytest.fixture(scope="module", autouse=True)
def _device_functions():
    from kiti.collision import gpu_directions

    globals().update(words=gpu_directions.words, directions_of=gpu_directions.directions_of)


def signed(word):
    return word - 2**32 if word >= 2**31 else word


@pytest.mark.parametrize(
    ("counter", "key", "expected"),  # the known answers that come with Random123
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_known_answers(counter, key, expected):
    assert philox(counter, key) == expected
    out = torch.zeros(4, dtype=torch.int64, device=DEVICE)
    seed = key[0] | key[1] << 32
    seed = seed - 2**64 if seed >= 2**63 else seed
    words_of[(1,)](torch.tensor([signed(c) for c in counter], dtype=torch.int32, device=DEVICE), out, seed)
    assert tuple(out.tolist()) == expected


@pytest.mark.parametrize(("heads", "c"), [(1, 1), (2, 4), (3, 4), (8, 8)])
def test_directions_are_antisymmetric_isotropic_and_independent(heads, c):
    pairs = 2048
    first, second = (torch.zeros(2, pairs, heads, device=DEVICE) for _ in range(2))
    directions_to[(1,)](first, 0, 2**40 + 3, heads, c, pairs)
    directions_to[(1,)](second, 1, 2**40 + 3, heads, c, pairs)
    assert torch.equal(first[0], -first[1])
    n, error = first[0], pairs**-0.5
    torch.testing.assert_close(n.norm(dim=1), torch.ones(pairs, device=DEVICE))
    assert (n.mean(0).abs() < 5 * error).all()
    torch.testing.assert_close(heads * n.T @ n / pairs, torch.eye(heads, device=DEVICE), rtol=0, atol=6 * error)
    assert abs((n * second[0]).sum(1).mean()) < 5 * error  # systems draw apart
    assert abs((n[1:] * n[:-1]).sum(1).mean()) < 5 * error  # as do pairs


@pytest.mark.parametrize(("n", "heads"), [(3, 1), (3, 6)])
def test_forward_and_backward_draw_these_numbers(n, heads):
    seed = 0x123456789ABCDEF
    x, v, weight = features(2, n * heads, scale=0.2)
    rules = Rules(heads, 0.9)
    drawn = by_triton(x, v, weight, rules, seed=seed)
    assert drawn[1] > 0
    expected = by_literal(x, v, weight, rules, plain_directions(2, n, heads, seed))
    torch.testing.assert_close(drawn, expected, rtol=2e-6, atol=2e-6)
    for a, b in zip(drawn, by_triton(x, v, weight, rules, seed=seed), strict=True):
        assert torch.equal(torch.as_tensor(a), torch.as_tensor(b))
    assert not torch.equal(drawn[0], by_triton(x, v, weight, rules, seed=seed + 1)[0])


# What must not collide, and what must not spread


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("dt", [1, 0.7])
def test_untouched_is_the_plain_addition(dtype, dt):
    for layout, coef, (n, heads) in (("contiguous", 0, (17, 3)), ("strided", 0.3, (9, 8))):
        x, v, weight = features(2, n * heads, scale=4.0, dtype=dtype)
        out, k, grad_x, grad_v = by_triton(x, v, weight, Rules(heads, coef, dt=dt, layout=layout))
        assert k == 0
        assert torch.equal(out, torch.add(x, v, alpha=dt))
        assert torch.equal(grad_x, weight)
        assert torch.equal(grad_v, weight * dt)


def test_only_some_touched():
    x, v, weight = features(1, 40 * 2, scale=0.3, dtype=torch.bfloat16)
    out, k, grad_x, _ = by_triton(x, v, weight, Rules(2, 0.5))
    same = (out == x + v).view(40, 2).all(1)
    assert 0 < k < 40
    assert 0 < same.sum() < 40
    assert (grad_x == weight).view(40, 2)[same].all()


@pytest.mark.parametrize(("n", "heads", "scale"), [(6, 4, 0.2), (17, 8, 0.2)])
def test_nan_reaches_nobody_else(n, heads, scale):
    x, v, weight = features(3, n * heads, scale=scale)
    x[1, 5] = torch.nan  # that particle meets nobody, the others of its system go on
    v[2, 5] = torch.nan  # no max(V_r): its system collides nothing
    rules, directions = Rules(heads, 0.7), unit_vectors(3, n, heads)
    got, expected = by_triton(x, v, weight, rules, directions), by_literal(x, v, weight, rules, directions)
    assert got[1] > 0
    torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-11, equal_nan=True)
    assert got[0].isnan().nonzero().tolist() == [[1, 5], [2, 5]]


@pytest.mark.parametrize("value", [torch.inf, 1e25])
@pytest.mark.parametrize("heads", [2, 8])
def test_infinite_and_overflowing_features(heads, value):
    x, v, weight = features(2, 12 * heads, scale=0.2, dtype=torch.float32)
    x[0, 3], v[1, 3] = value, value
    rules, directions = Rules(heads, 0.9), unit_vectors(2, 12, heads, torch.float32)
    got, expected = by_triton(x, v, weight, rules, directions), by_literal(x, v, weight, rules, directions)
    assert got[1] > 0
    torch.testing.assert_close(got, expected, rtol=2e-5, atol=2e-5, equal_nan=True)


@pytest.mark.parametrize("heads", [1, 8])
def test_equal_velocities_collide_nothing(heads):
    x, v, weight = features(1, 17 * heads, scale=0.1)
    v = torch.ones_like(v)
    for rules in (Rules(heads, 1.0), Rules(heads, 1.0, reduction="max_one")):
        out, k, *_ = by_triton(x, v, weight, rules)
        assert k == 0
        assert torch.equal(out, x + v)


@pytest.mark.parametrize("shape", [(0, 8), (3, 0)])
@pytest.mark.parametrize("reduction", ["sum", "max_one"])
def test_empty(shape, reduction):
    x = torch.zeros(shape, device=DEVICE)
    done = gpu.forward(x, x, Rules(2, 1.0, reduction=reduction), 0, None, None)
    assert done.x_new.shape == shape
    assert done.k.shape == (shape[0], shape[1] // 2)
    assert done.energy.tolist() == [[0.0, 0.0]] * shape[0]
    grads = gpu.backward(x, x, x, Rules(2, 1.0), 0, None, done.k, done.v_max, done.kept)
    assert grads[0].shape == grads[1].shape == shape


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(dtype):
    x, v, weight = features(1, 12 * 5, scale=0.1, dtype=dtype)
    rules, directions = Rules(5, 0.8), unit_vectors(1, 12, 5, torch.float32)
    half = by_triton(x, v, weight, rules, directions)
    single = by_triton(x.float(), v.float(), weight.float(), rules, directions)
    assert half[1] == single[1] > 20
    for h, s in zip((half[0], *half[2:]), (single[0], *single[2:]), strict=True):
        assert h.dtype == dtype
        torch.testing.assert_close(h, s.to(dtype), rtol=torch.finfo(dtype).eps, atol=1e-6)


# The search


@interpreted
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_coarse_products_change_no_pair(monkeypatch, offset):
    """Tensor cores cut float32 to 10 binary digits; the interpreter does not, so it is made to."""
    from triton.runtime.interpreter import InterpreterBuilder

    exact, calls = InterpreterBuilder.create_dot, []

    def cut(handle):
        handle = handle.clone()
        if handle.data.dtype == "float32":
            handle.data = (handle.data.view("uint32") & 0xFFFFE000).view("float32")
        return handle

    def coarse(self, a, b, *others):
        calls.append(1)
        return exact(self, cut(a), cut(b), *others)

    monkeypatch.setattr(InterpreterBuilder, "create_dot", coarse)
    x, v, weight = features(1, 33 * 8, scale=0.4, dtype=torch.float32)
    x, v = x + offset, v + offset
    rules, directions = Rules(8, 0.7), unit_vectors(1, 33, 8, torch.float32)
    got, expected = by_triton(x, v, weight, rules, directions), by_literal(x, v, weight, rules, directions)
    assert calls
    assert got[1] == expected[1] > 0
    torch.testing.assert_close(got, expected, rtol=2e-5, atol=2e-5)
    speed = (v.view(33, 1, 8) - v.view(1, 33, 8)).square().sum(-1).sqrt().amax()
    torch.testing.assert_close(gpu.max_speed(v, 8, False)[0], speed, rtol=3e-7, atol=0)


# KO


def kicks_by_loop(v, first, second, directions):
    out = torch.zeros_like(v)
    for i, j in zip(first.tolist(), second.tolist(), strict=True):
        given = (v[j] - v[i] + (v[j] - v[i]).norm() * directions[i, j]) / 2
        out[i] += given
        out[j] -= given
    return out


@pytest.mark.parametrize(("n", "d"), [(6, 1), (7, 5), (4, 40)])
def test_kicks(n, d):
    _, v, _ = features(n, d)
    pairs = torch.combinations(torch.arange(n, device=DEVICE))[::2]
    first, second = pairs.unbind(1)
    given = unit_vectors(1, n, d)[0]
    torch.testing.assert_close(gpu.kicks(v, first, second, 0, given), kicks_by_loop(v, first, second, given))
    drawn = gpu.kicks(v, first, second, 7, None)
    expected = kicks_by_loop(v, first, second, plain_directions(1, n, d, 7)[0])
    torch.testing.assert_close(drawn, expected, rtol=2e-6, atol=2e-6)
    alone = gpu.kicks(v.half(), first[:1], second[:1], 7, None)
    assert alone.dtype == torch.float32
    assert torch.equal(alone[first[0]], -alone[second[0]])
    assert gpu.kicks(v, first[:0], second[:0], 7, None).abs().sum() == 0


# Without a GPU, without Triton


def test_without_triton_says_what_would_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "kiti.collision.gpu_kernels", None)
    monkeypatch.delattr("kiti.collision.gpu_kernels", raising=False)
    gpu._imported.cache_clear()
    with pytest.raises(ImportError, match="needs the package triton"):
        gpu.max_speed(torch.zeros(1, 4), 2, False)
    gpu._imported.cache_clear()


COMPILE = """
import json, re, subprocess, sys, tempfile, warnings
warnings.simplefilter("ignore")
import torch, triton, triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia.compiler import get_ptxas
from triton.compiler import ASTSource
from kiti.collision import gpu, gpu_kernels
from kiti.collision.rules import Rules

POINTERS = {"v_max": "acc", "found_v_max": "acc", "energy": "acc", "upper": "fp32", "lower": "fp32",
            "partner": "i32", "k": "i32", "other": "i32", "start": "i64"}
SCALARS = {"N": "i32", "seed": "i64", "threshold": "fp64", "dt": "fp64"}
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32, "fp64": torch.float64}

def build(name, n, heads, dtype, arch, **changes):
    kernel, acc = getattr(gpu_kernels, name), "fp64" if dtype == "fp64" else "fp32"
    form = gpu._form(n, heads, DTYPES[dtype])
    constants = {"UPDATE": True, "MEAN": False, "GIVEN": False, "MUTUAL": False, "FREE": True, "HEADS": heads,
                 "FIND": form["BLOCKS"] * form["ROWS"] >= n, "STRIDED": False,
                 "ACC": tl.float64 if acc == "fp64" else tl.float32, **form, **changes}
    names, signature = kernel.arg_names, {}
    for argument in names:
        kind = POINTERS.get(argument, acc if (name, argument) == ("kicks", "out") else dtype)
        kind = "*" + (acc if kind == "acc" else kind)
        signature[argument] = "constexpr" if argument in constants else SCALARS.get(argument, kind)
    aligned = {(i,): [["tt.divisibility", 16]] for i, a in enumerate(names) if signature[a][0] == "*" or a == "N"}
    source = ASTSource(kernel, signature, {(names.index(c),): x for c, x in constants.items() if c in names}, aligned)
    warps = gpu._warps(n, heads)
    done = triton.compile(source, target=GPUTarget("cuda", arch, 32), options={"num_warps": warps, **gpu._OPTIONS})
    assert done.asm["cubin"]
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(done.asm["ptx"])
        file.flush()
        suffix = "a" if arch >= 90 else ""
        log = subprocess.run([get_ptxas(arch).path, "-v", "--regAllocOptLevel=2", f"--gpu-name=sm_{arch}{suffix}",
                              file.name, "-o", "/dev/null"], capture_output=True, text=True, check=True).stderr
    registers = int(re.search(r"Used (\\d+) registers", log)[1])
    return [name, n, heads, dtype, arch, warps, registers, int(re.search(r"(\\d+) bytes spill stores", log)[1])]

found = [build(*arguments, **changes) for *arguments, changes in json.loads(sys.argv[1])]
try:
    gpu.max_speed(torch.zeros(1, 4), 2, False)
    message = ""
except ValueError as error:
    message = str(error)
print(json.dumps({"built": found, "message": message}))
"""


def compiled(*builds):
    """[kernel, N, heads, dtype, arch, warps, registers, bytes spilled] of each build; a process without interpreter."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE, json.dumps(builds)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("arch", [80, 90])
def test_every_kernel_compiles(arch):
    kernels = ["forward", "backward", "prefer", "system_maximum", "bound_maximum", "block_maximum", "kicks"]
    given = {"GIVEN": True, "STRIDED": True, "MEAN": True, "UPDATE": False, "FREE": False}
    builds = [
        *((kernel, 40, 5, "fp64", arch, {}) for kernel in kernels),
        *((kernel, 200, 2, "bf16", arch, {"MUTUAL": True}) for kernel in ("forward", "backward")),
        *((kernel, 16, 1, "bf16", arch, given) for kernel in ("forward", "backward")),
        *((kernel, 4, 10, "fp32", arch, {"C": 4}) for kernel in ("forward", "backward", "kicks")),
    ]
    done = compiled(*builds)
    assert len(done["built"]) == len(builds)
    assert "must be on a CUDA GPU, or TRITON_INTERPRET=1" in done["message"]


@pytest.mark.slow
@pytest.mark.parametrize("arch", [80, 90])
@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
def test_forward_spills_no_register(arch, dtype):
    shapes = [(96, 8), (64, 8), (16, 8), (1024, 1), (4, 512)]
    built = compiled(*(("forward", n, heads, dtype, arch, {}) for n, heads in shapes))["built"]
    print(*built, sep="\n")
    assert [row[:3] for row in built if row[-1]] == []
