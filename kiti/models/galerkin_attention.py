"""Attention at a cost linear in the number of points: q (kᵀ v) / n, without softmax (OFormer; Cao's Galerkin type).

Keys and values are normalised to mean 0 and variance 1 over the features of a point. OFormer's authors describe norms
over the domain, but for batches without padding their instance norm gets its axes in an order that makes it this one.
Queries and keys are rotated by angles proportional to the points' coordinates. Masked points add nothing to the sum.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import layer_norm

Points = Float[Tensor, "B P 2"]
Mask = Bool[Tensor, "B P"]


class GalerkinAttention(nn.Module):
    """(B, Q, width) attends to (B, P, width), each at its own points: (B, Q, width).

    A single head of `width` features has no output map.

    Args:
        width: number of features. heads: number of heads, each of `head_width` features.
        turns: rotary angle of the fastest feature, in radians per unit of length.
        self_attention: use the authors' initialisation of self-attention, where only the queries start near a small
            multiple of the identity; otherwise keys and values do too.
    """

    turns: Float[Tensor, " quarter"]

    def __init__(
        self, width: int, heads: int = 1, head_width: int | None = None, *, turns: float, self_attention: bool = True
    ) -> None:
        super().__init__()
        self.heads = heads
        self.head_width = head_width or width
        inner = heads * self.head_width
        if self.head_width % 4:
            raise ValueError(f"a head has {self.head_width} features, not a multiple of 4 (two axes, sine and cosine)")
        self.query, self.key, self.value = (nn.Linear(width, inner, bias=False) for _ in range(3))
        self.out = nn.Identity() if inner == width and heads == 1 else nn.Linear(inner, width)
        for linear in (self.query,) if self_attention else (self.query, self.key, self.value):
            for rows in linear.weight.detach().unflatten(0, (heads, -1)):  # (head_width, width)
                rows.copy_((nn.init.orthogonal_(torch.empty_like(rows)) + torch.eye(*rows.shape)) / self.head_width)
        a_quarter = self.head_width // 4
        self.register_buffer("turns", turns * 10000.0 ** (-torch.arange(a_quarter) / a_quarter), persistent=False)

    def forward(
        self,
        asking: Float[Tensor, "B Q W"],
        asking_at: Float[Tensor, "B Q 2"],
        asked: Float[Tensor, "B P W"],
        asked_at: Points,
        mask: Mask,
    ) -> Float[Tensor, "B Q W"]:
        """`mask`: which of the points `asked_at` are real, not padding."""
        q, k, v = (
            linear(features).unflatten(-1, (self.heads, self.head_width)).transpose(1, 2)  # (B, heads, Q or P, ·)
            for linear, features in ((self.query, asking), (self.key, asked), (self.value, asked))
        )
        there = mask[:, None, :, None].to(k.dtype)  # (B, 1, P, 1)
        k, v = (layer_norm(features, (self.head_width,)) for features in (k, v))
        q, k = self._turned(q, asking_at), self._turned(k, asked_at) * there
        answer = q @ (k.transpose(-1, -2) @ v) / there.sum(dim=2, keepdim=True)  # (B, heads, Q, ·)
        return self.out(answer.transpose(1, 2).flatten(2))

    def _turned(self, features: Float[Tensor, "B H P F"], at: Points) -> Float[Tensor, "B H P F"]:
        """Rotate the first half of the features by the first coordinate, the second half by the second.

        Within a half, features i and i + a quarter are the two components of a plane vector.
        """
        angles = at.unsqueeze(-1) * self.turns  # (B, P, 2, a quarter)
        angles = angles.unsqueeze(1)
        cosine, sine = angles.cos(), angles.sin()
        first, second = features.unflatten(-1, (2, 2, -1)).unbind(-2)  # (B, H, P, 2, a quarter), axes before
        turned = torch.stack([first * cosine - second * sine, second * cosine + first * sine], dim=-2)
        return turned.flatten(-3)


class FourierFeatures(nn.Module):
    """(B, P, 2) -> (B, P, width): sines and cosines of `width` / 2 random frequencies, N(0, scale²) per unit length."""

    frequencies: Float[Tensor, "2 half"]

    def __init__(self, width: int, scale: float) -> None:
        super().__init__()
        self.register_buffer("frequencies", scale * torch.randn(2, width // 2))

    def forward(self, at: Points) -> Float[Tensor, "B P W"]:
        angles = 2 * math.pi * at @ self.frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=-1)
