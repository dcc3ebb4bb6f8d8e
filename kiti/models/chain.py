"""Small fully connected networks for the condensation studies, many seeds side by side.

All tensors have an axis of replicas, which are independent networks: (samples, replicas, features). A replica depends
only on its own seed, not on the other replicas.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from kiti.residual import Add, Residual, ResidualFactory
from kiti.seams.fitting import attach

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "leaky_relu": functional.leaky_relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "xtanh": lambda x: x * torch.tanh(x),
    "x2tanh": lambda x: x.square() * torch.tanh(x),
    "softplus": functional.softplus,
}
Activation = Literal["relu", "leaky_relu", "sigmoid", "tanh", "xtanh", "x2tanh", "softplus"]


class Dense(nn.Module):
    """W x + b for each replica; weight (R, out, in), bias (R, out), set by the caller."""

    def __init__(self, replicas: int, d_in: int, d_out: int) -> None:
        super().__init__()
        self.replicas = replicas
        self.weight = nn.Parameter(torch.zeros(replicas, d_out, d_in))
        self.bias = nn.Parameter(torch.zeros(replicas, d_out))

    def forward(self, x: Float[Tensor, "n R d_in"]) -> Float[Tensor, "n R d_out"]:
        along = torch.baddbmm(self.bias.unsqueeze(1), x.transpose(0, 1), self.weight.mT)
        return along.transpose(0, 1)


class Chain(nn.Module):
    """d_in → m, then `depth` layers m → m, then m → 1; an activation follows each but the last.

    KITINet's three-layer network has depth 1, its six-layer one depth 4 (A9), KO's 5-50-1 depth 0. All parameters
    are drawn from N(0, init_std²).

    Args:
        width: m.
        activation: one of `ACTIVATIONS`.
        init_std: of every weight and bias; m^-4 or 0.005 in the papers.
        shortcut: add the input to the output of every m → m layer; if False, layers without a seam have no shortcut.
        seams: number of m → m layers, counted from the end, that join input x and branch v = act(W x + b) by
            `residual`.
        seed, replicas: replica r is drawn from seed + r.
        residual: creates the module of a seam.

    Raises:
        ValueError: more seams than m → m layers, or collision_heads does not divide m.
    """

    def __init__(
        self,
        d_in: int,
        width: int,
        depth: int,
        activation: Activation,
        init_std: float,
        shortcut: bool,
        seams: int,
        seed: int,
        replicas: int = 1,
        residual: ResidualFactory = Add,
    ) -> None:
        super().__init__()
        if seams > depth:
            raise ValueError(f"seams={seams}: the network has {depth} layers that keep their width")
        self.replicas = replicas
        self.activation = ACTIVATIONS[activation]
        sizes = [d_in, *[width] * (depth + 1), 1]
        self.layers = nn.ModuleList(Dense(replicas, a, b) for a, b in pairwise(sizes))
        plain = [Add() if shortcut else nn.Identity() for _ in range(depth - seams)]  # Identity: no shortcut
        self.residuals = nn.ModuleList([*plain, *(attach(residual(), 3, {2: width}) for _ in range(seams))])
        self._draw(seed, init_std)

    @torch.no_grad()
    def _draw(self, seed: int, std: float) -> None:
        for replica in range(self.replicas):
            draw = torch.Generator().manual_seed(seed + replica)
            for parameter in self.parameters():
                parameter[replica] = torch.randn(parameter.shape[1:], generator=draw) * std

    def forward(self, x: Float[Tensor, "n R d_in"]) -> Float[Tensor, "n R"]:
        hidden = self.activation(self.layers[0](x))
        for layer, joint in zip(self.layers[1:-1], self.residuals, strict=True):
            branch = self.activation(layer(hidden))
            hidden = joint(hidden, branch) if isinstance(joint, Residual) else branch
        return self.layers[-1](hidden).squeeze(-1)
