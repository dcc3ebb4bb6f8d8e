"""OFormer of Li, Meidani and Farimani (KITINet's [22]) for flows on irregular points, with KITINet's seam.

    frames so far --encoder--> features at the points --cross-attention--> z_0 at the query points
    z_t = z_{t-1} + MLP(LN z_{t-1}, kind of point, place),   u_t = MLP(LN z_t, kind of point)

An encoder layer, as in the authors' code, with the normalised features as shortcut:

    h <- residual(x = LN h, v = attention(LN h));   h <- residual(x = LN h, v = feed_forward(LN h))

E.2 of the paper takes the outputs of attention and MLP as velocities, the residual connections as positions. Its text
describes Fourier layers, which the cited OFormer does not have; this is the cited one (A17). Sizes, initialisation and
order of operations are those of the authors' script for the airfoil.
"""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn.functional import gelu

from kiti.models.galerkin_attention import FourierFeatures, GalerkinAttention
from kiti.residual import Add, Residual, ResidualFactory
from kiti.seams.fitting import attach

KINDS_OF_POINT = 3
"""Inside, on the airfoil, on the far boundary."""

# Fastest rotary angles of encoder layers, first, middle and last, of the decoder, and frequencies of the query points.
_FIRST, _MIDDLE, _LAST, _DECODER, _QUERY = 32.0, 16.0, 1.0, 32.0, 2.0
_DECODER_HEADS = 4
_DECODER_DROPOUT = 0.1


def indices(mask: Bool[Tensor, "B P"]) -> Int64[Tensor, " points"]:
    """Indices of the points of `mask` among all B P points."""
    return mask.flatten().nonzero().squeeze(1)


class Scaling(nn.Module):
    """Converts physical units to the network's units and back. Saved with the weights, which depend on it.

    Fields get mean 0 and variance 1 per channel; positions are measured from the lowest corner, in their own unit.
    """

    mean: Float[Tensor, " C"]
    std: Float[Tensor, " C"]
    corner: Float[Tensor, "2"]
    extent: Float[Tensor, "2"]

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))
        self.register_buffer("corner", torch.zeros(2))
        self.register_buffer("extent", torch.ones(2))

    def fit(
        self, fields: Float[Tensor, "n T P C"], positions: Float[Tensor, "n P 2"], mask: Bool[Tensor, "n P"]
    ) -> None:
        """Set mean, standard deviation and bounding box from the points of `mask`."""
        at = positions[mask]
        # One channel at a time: indexing all of them would copy all the data.
        for channel in range(fields.shape[-1]):
            values = fields[..., channel].transpose(0, 1)[:, mask].double()  # (T, points)
            self.mean[channel], self.std[channel] = values.mean(), values.std(correction=0)
        self.corner.copy_(at.amin(dim=0))
        self.extent.copy_(at.amax(dim=0) - at.amin(dim=0))

    def normalised(self, fields: Float[Tensor, "*rows C"]) -> Float[Tensor, "*rows C"]:
        return (fields - self.mean) / self.std

    def physical(self, fields: Float[Tensor, "*rows C"]) -> Float[Tensor, "*rows C"]:
        return fields * self.std + self.mean


class FeedForward(nn.Module):
    """One gated hidden layer: W2 (GELU(a) ⊙ b), (a, b) = W1 h."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.into = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, h: Float[Tensor, "B P W"]) -> Float[Tensor, "B P W"]:
        gate, values = self.into(h).chunk(2, dim=-1)
        return self.out(gelu(gate) * values)


class EncoderLayer(nn.Module):
    """Attention and feed-forward, each after a LayerNorm whose output is also the shortcut: (B, P, W) -> (B, P, W)."""

    def __init__(self, width: int, turns: float, residual: ResidualFactory) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = GalerkinAttention(width, turns=turns)
        self.residual1 = attach(residual(), 2, {1: width})
        self.norm2 = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width)
        self.residual2 = attach(residual(), 2, {1: width})

    def forward(
        self, h: Float[Tensor, "B P W"], at: Float[Tensor, "B P 2"], mask: Bool[Tensor, "B P"]
    ) -> Float[Tensor, "B P W"]:
        there = indices(mask)
        h = self.norm1(h)
        h = _joined(self.residual1, h, self.attention(h, at, h, at, mask), there)
        h = self.norm2(h)
        return _joined(self.residual2, h, self.feed_forward(h), there)


class Encoder(nn.Module):
    """Frames at points -> features for the decoder: (B, T, P, C) and (B, P, 2) -> (B, P, W)."""

    def __init__(
        self, frames: int, channels: int, width: int, n_layers: int, points: int, residual: ResidualFactory
    ) -> None:
        super().__init__()
        self.embed = nn.Sequential(
            nn.Linear(frames * (channels + 2), width, bias=False), nn.GELU(), nn.Linear(width, width, bias=False)
        )
        self.kind = nn.Embedding(KINDS_OF_POINT, width)
        self.combine = nn.Linear(2 * width, width, bias=False)
        scales = [_FIRST, *[_MIDDLE] * (n_layers - 2), _LAST][:n_layers]
        self.layers = nn.ModuleList(EncoderLayer(width, points * scale, residual) for scale in scales)
        self.norm = nn.LayerNorm(width)
        self.out = nn.Sequential(nn.Linear(width, width, bias=False), nn.ReLU(), nn.Linear(width, width, bias=False))

    def forward(
        self,
        frames: Float[Tensor, "B T P C"],
        at: Float[Tensor, "B P 2"],
        in_unit_box: Float[Tensor, "B P 2"],
        kind: Int64[Tensor, "B P"],
        mask: Bool[Tensor, "B P"],
    ) -> Float[Tensor, "B P W"]:
        place = in_unit_box.unsqueeze(1).expand(-1, frames.shape[1], -1, -1)
        history = torch.cat([frames, place], dim=-1).transpose(1, 2).flatten(2)  # (B, P, T (C + 2))
        embedded = self.combine(torch.cat([self.embed(history), self.kind(kind)], dim=-1))
        h = embedded
        for layer in self.layers:
            h = layer(h, at, mask)
        return self.out(self.norm(h + embedded))


class Decoder(nn.Module):
    """Features at points -> fields at the same points, step by step: (B, P, W) -> (B, steps, P, C)."""

    def __init__(self, channels: int, width: int, points: int, propagator: ResidualFactory) -> None:
        super().__init__()
        self.kind = nn.Embedding(KINDS_OF_POINT, width)
        self.place = nn.Sequential(
            FourierFeatures(width, _QUERY),
            nn.Linear(width, width, bias=False),
            nn.GELU(),
            nn.Linear(width, width, bias=False),
        )
        self.combine = nn.Linear(2 * width, width, bias=False)
        self.dropout = nn.Dropout(_DECODER_DROPOUT)
        turns = points * _DECODER
        self.ask = GalerkinAttention(width, _DECODER_HEADS, width, turns=turns, self_attention=False)
        self.feed_forward = FeedForward(width)
        self.mix = GalerkinAttention(width, turns=turns)
        wide = 2 * width
        self.expand = nn.Linear(width, wide, bias=False)
        self.propagator_norm = nn.LayerNorm(wide)
        self.propagator = nn.Sequential(
            nn.Linear(3 * width + 2, wide, bias=False),
            nn.GELU(),
            nn.Linear(wide, wide, bias=False),
            nn.GELU(),
            nn.Linear(wide, wide, bias=False),
            nn.GELU(),
            nn.Linear(wide, wide, bias=False),
        )
        self.residual = attach(propagator(), 2, {1: wide})
        self.norm = nn.LayerNorm(wide)
        self.out = nn.Sequential(
            nn.Linear(3 * width, wide, bias=False),
            nn.ReLU(),
            nn.Linear(wide, width, bias=False),
            nn.ReLU(),
            nn.Linear(width, channels),
        )

    def forward(
        self,
        encoded: Float[Tensor, "B P W"],
        at: Float[Tensor, "B P 2"],
        kind: Int64[Tensor, "B P"],
        mask: Bool[Tensor, "B P"],
        steps: int,
    ) -> Float[Tensor, "B steps P C"]:
        kinds = self.kind(kind)
        query = self.combine(torch.cat([self.place(at), kinds], dim=-1))
        z = query + self.ask(query, at, self.dropout(encoded), at, mask)
        z = z + self.feed_forward(z)
        z = z + self.mix(z, at, z, at, mask)
        z = self.expand(z)  # (B, P, 2 W)
        predicted, there = [], indices(mask)
        for _ in range(steps):
            rate = self.propagator(torch.cat([self.propagator_norm(z), kinds, at], dim=-1))
            z = _joined(self.residual, z, rate, there)
            predicted.append(self.out(torch.cat([self.norm(z), kinds], dim=-1)))
        return torch.stack(predicted, dim=1)


class OFormer(nn.Module):
    """The last `t_in` frames of a flow at any points -> the next `steps` frames there, in physical units.

    Args:
        t_in: number of input frames. channels: fields per point.
        width: features per point. n_layers: layers of the encoder.
        points: rotary angles in radians per unit of length, before the factors 32, 16, …, 1 of the layers.
        propagator_seam: use `residual` in the decoder's time steps as well.
        residual: called once per seam to create the module that joins shortcut and branch, given (points, width).
    """

    def __init__(
        self,
        t_in: int = 4,
        channels: int = 4,
        width: int = 128,
        n_layers: int = 4,
        points: int = 200,
        propagator_seam: bool = False,
        residual: ResidualFactory = Add,
    ) -> None:
        super().__init__()
        self.scaling = Scaling(channels)
        self.encoder = Encoder(t_in, channels, width, n_layers, points, residual)
        self.decoder = Decoder(channels, width, points, residual if propagator_seam else Add)

    def forward(
        self,
        frames: Float[Tensor, "B T P C"],
        positions: Float[Tensor, "B P 2"],
        kind: Int64[Tensor, "B P"],
        mask: Bool[Tensor, "B P"],
        steps: int,
    ) -> Float[Tensor, "B steps P C"]:
        """`kind` says where a point lies, `mask` whether it is real; outputs at other points are meaningless."""
        at = positions - self.scaling.corner
        encoded = self.encoder(self.scaling.normalised(frames), at, at / self.scaling.extent, kind, mask)
        return self.scaling.physical(self.decoder(encoded, at, kind, mask, steps))


def _joined(residual: Residual, x: Tensor, v: Tensor, there: Int64[Tensor, " points"]) -> Tensor:
    """x joined with v at the points `there`; the others have no influence and become 0."""
    flat_x, flat_v = x.flatten(0, 1), v.flatten(0, 1)
    joined = residual(flat_x.index_select(0, there), flat_v.index_select(0, there))
    return torch.zeros_like(flat_x).index_copy(0, there, joined).view_as(x)
