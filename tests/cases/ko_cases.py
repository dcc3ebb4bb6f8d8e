"""Shared by the tests of KO: matrices with gradients, both collisions in loops, a small network."""

import math

import torch
from torch import nn


def matrices(n=5, d=4, scale=0.3, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    w, g = (torch.randn(n, d, generator=generator, dtype=torch.float64) for _ in range(2))
    return (scale * w).to(dtype), g.to(dtype)


def unit_vectors(n, d, seed=1):
    z = torch.randn(n, n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    z = z / z.norm(dim=-1, keepdim=True) * torch.ones(n, n, dtype=torch.float64).triu(1)[..., None]
    return z - z.transpose(0, 1)


def cos(a, b):
    norms = math.hypot(*a) * math.hypot(*b)
    return sum(p * q for p, q in zip(a, b, strict=True)) / norms if norms else 0.0


def soft_by_loops(w, g, c, include_self=True, normalize=False):
    w, rows = w.tolist(), g.tolist()
    out = g.clone()
    for i in range(len(rows)):
        for j in range(len(rows)):
            if i != j or include_self:
                share = cos(w[i], w[j]) * cos(rows[i], rows[j]) / (len(rows) if normalize else 1)
                out[i] -= c * share * g[j]
    return out


def hard_by_loops(w, g, c, n, approach_only=False):
    fast = max((a - b).norm().item() for a in g for b in g)
    out, pairs = g.clone(), 0
    for i in range(len(g)):
        for j in range(len(g)):
            g_r, w_r = (g[i] - g[j]).norm(), (w[i] - w[j]).norm()
            approaching = not approach_only or (w[j] - w[i]) @ (g[j] - g[i]) > 0
            if g_r * torch.exp(-w_r) / fast > 1 - c and approaching:
                out[i] += (g[i] + g[j]) / 2 + g_r * n[i, j] / 2 - g[i]
                pairs += 1
    return out, pairs


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def backward(model, step):
    data = torch.randn(16, 4, generator=torch.Generator().manual_seed(step))
    model.zero_grad()
    model(data).square().sum().backward()


def trained(model, optimizer, steps):
    for step in steps:
        backward(model, step)
        optimizer.step()
    return [p.detach().clone() for p in model.parameters()]
