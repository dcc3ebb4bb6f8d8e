"""KO's search accepts the pairs that plain distances accept, and its sums match a plain loop."""

import pytest
import torch

import kiti.collision.pairs
from kiti.collision.cpu import numba_backend as cpu
from kiti.collision.pairs import accepted_pairs, max_distance


def matrices(n, d, scale=1.0, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x, v = (torch.randn(n, d, generator=generator, dtype=torch.float64) for _ in range(2))
    return (scale / d**0.5 * x).to(dtype), v.to(dtype)


def by_distances(x, v, threshold):
    """Pairs by differences, in double precision."""
    apart = [(p.double()[:, None] - p.double()).norm(dim=2) for p in (x, v)]
    score = apart[1] * torch.exp(-apart[0]) / apart[1].max()
    return (score > threshold).triu(1).nonzero().T


@pytest.mark.parametrize("n", [1, 2, 3, 40])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.6, 0.9, 1.0])
@pytest.mark.parametrize("entries", [7, 100, 1 << 20])
def test_pairs_match_plain_distances(monkeypatch, n, threshold, entries):
    monkeypatch.setattr(kiti.collision.pairs, "_ENTRIES", entries)
    monkeypatch.setattr(kiti.collision.pairs, "_GATHERED", 5 * entries)
    x, v = matrices(n, 30, scale=0.3)
    assert torch.equal(torch.stack(accepted_pairs(x, v, threshold)), by_distances(x, v, threshold))


def test_far_from_the_origin_and_with_reduced_precision():
    """Pairs that a matrix product cannot decide are decided by differences."""
    x, v = matrices(60, 50, scale=0.3)
    v = v + 300
    expected = by_distances(x, v, 0.5)
    assert 0 < expected.shape[1] < 60 * 59 / 2
    before = torch.get_float32_matmul_precision()
    try:
        for precision in ("highest", "medium"):
            torch.set_float32_matmul_precision(precision)
            assert torch.equal(torch.stack(accepted_pairs(x, v, 0.5)), expected)
    finally:
        torch.set_float32_matmul_precision(before)


def test_max_distance():
    _, v = matrices(50, 7)
    torch.testing.assert_close(max_distance(v), torch.cdist(v, v).max())
    v[3, 2] = torch.nan
    assert max_distance(v).isnan()
    assert [len(end) for end in accepted_pairs(v, v, 0.2)] == [0, 0]


@pytest.mark.parametrize("d", [1, 3, 600])
def test_kicks_match_a_loop(d):
    _, v = matrices(9, d, dtype=torch.float64)
    z = torch.randn(9, 9, d, dtype=torch.float64)
    z = z / z.norm(dim=-1, keepdim=True) * torch.ones(9, 9).triu(1)[..., None]
    n = z - z.transpose(0, 1)
    first, second = torch.ones(9, 9).triu(1).nonzero().T[:, ::2]
    expected = torch.zeros_like(v)
    for i, j in zip(first.tolist(), second.tolist(), strict=True):
        dv = (v[j] - v[i] + (v[j] - v[i]).norm() * n[i, j]) / 2
        expected[i] += dv
        expected[j] -= dv
    torch.testing.assert_close(cpu.kicks(v, first, second, 0, n), expected)


def test_random_kicks_conserve_momentum_and_do_not_depend_on_threads():
    _, v = matrices(30, 200)
    first, second = torch.ones(30, 30).triu(1).nonzero().T
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(cpu.kicks(v, first, second, 11, None))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*results)
    torch.testing.assert_close(results[0].sum(0), torch.zeros(200), rtol=0, atol=1e-3)
    assert results[0].norm() > 1
