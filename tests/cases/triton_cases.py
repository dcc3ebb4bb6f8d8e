"""Shared by the Triton tests: features on the right device, kernel calls, and the random draws."""

import math

import collision_cases
import pytest
import torch

from kiti.collision.gpu import triton_backend as gpu
from kiti.collision.literal import collide_literal

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
quiet = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's, when the interpreter meets inf and NaN


def features(*shape, **settings):
    return tuple(tensor.to(DEVICE) for tensor in collision_cases.features(*shape, **settings))


def unit_vectors(systems, n, heads, dtype=torch.float64):
    return collision_cases.unit_vectors(systems, n=n, heads=heads, dtype=dtype).to(DEVICE)


def by_literal(x, v, weight, rules, directions, seed=0):
    """x', k summed over all particles, and the gradients; the seed draws pairs only."""
    x, v = x.clone().requires_grad_(), v.clone().requires_grad_()
    out, k, _ = collide_literal(x, v, rules, directions, torch.tensor(seed))
    return out.detach(), k.sum().item(), *torch.autograd.grad(out, (x, v), weight)


def by_triton(x, v, weight, rules, directions=None, seed=0):
    v_max = None
    if rules.max_over == "batch":
        v_max = gpu.max_speed(v, rules.collision_heads, rules.layout == "strided").amax().expand(len(v))
    done = gpu.forward(x, v, rules, seed, directions, v_max)
    gradients = gpu.backward(weight, x, v, rules, seed, directions, done.k, done.v_max, done.kept)
    return done.x_new, done.k.sum().item(), *gradients


def philox(counter, key):
    """Philox4x32-10 of Salmon et al. (2011) in plain integers."""
    (a, b, c, d), (low, high), word = counter, key, 0xFFFFFFFF
    for _ in range(10):
        p, q = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (q >> 32) ^ b ^ low, q & word, (p >> 32) ^ d ^ high, p & word
        low, high = (low + 0x9E3779B9) & word, (high + 0xBB67AE85) & word
    return a, b, c, d


def plain_directions(systems, n, heads, seed):
    """The kernels' draws, by the equations at the top of gpu_directions.py."""
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
