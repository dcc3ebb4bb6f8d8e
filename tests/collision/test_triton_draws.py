"""Random numbers of the Triton kernels, in Triton's interpreter: against plain integers, and their distributions."""

import pytest
import torch
from triton_cases import DEVICE, by_literal, by_triton, features, philox, plain_directions, quiet, unit_vectors

triton = pytest.importorskip("triton")

import triton.language as tl  # noqa: E402

from kiti.collision.gpu import triton_backend as gpu  # noqa: E402
from kiti.collision.rules import Rules  # noqa: E402

pytestmark = quiet


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
    from kiti.collision.gpu import triton_directions

    globals().update(words=triton_directions.words, directions_of=triton_directions.directions_of)


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
    assert abs((n * second[0]).sum(1).mean()) < 5 * error  # systems draw separately
    assert abs((n[1:] * n[:-1]).sum(1).mean()) < 5 * error  # so do pairs


@pytest.mark.parametrize(("n", "heads"), [(3, 1), (3, 6)])
def test_forward_and_backward_draw_the_same_numbers(n, heads):
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
