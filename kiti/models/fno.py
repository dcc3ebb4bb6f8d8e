"""The Fourier neural operator of Li et al. (KITINet's [23]) in one dimension, with KITINet's seam in every layer.

    (u_0(x), x) --lift--> h --[ h <- relu( residual(x = W h, v = K h) ) ] * n_layers--> relu --> u_1(x)

K is the convolution by a truncated Fourier series, W a 1x1 linear map; E.1 of the paper takes K h as the velocity
and W h as the position. The last layer has no ReLU. Sizes and initialisation are those of the authors' script.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import relu

from kiti.collision.precision import without_autocast
from kiti.residual import Add, Residual, ResidualFactory
from kiti.seams.fitting import attach


def positive(name: str, number: int) -> int:
    """`number`, or ValueError unless it is at least 1."""
    if number < 1:
        raise ValueError(f"{name}={number}: a positive int is needed")
    return number


def check_channels(h: Tensor, dim: int, channels: int) -> None:
    """Raise ValueError unless h is a real (B, channels, …) of `dim` axes; einsum would repeat a single channel."""
    if h.dim() != dim or h.shape[1] != channels or h.is_complex():
        wanted = f"(batch, {channels}{', points' * (dim - 2)})"
        raise ValueError(f"spectral convolution of {tuple(h.shape)}, {h.dtype}: real numbers {wanted} are needed")


class SpectralConv1d(nn.Module):
    """K: (B, in, S) -> (B, out, S), (K h)^_o(k) = sum_i weight_io(k) h^_i(k) for the lowest `modes` k, 0 above.

    `weight` has real and imaginary parts on its last axis, as in the authors' code, so that every optimizer,
    collective and file format supports it. Raises ValueError if S has fewer than `modes` modes, or h other channels.
    """

    def __init__(self, in_channels: int, out_channels: int, modes: int) -> None:
        super().__init__()
        self.modes = positive("modes", modes)
        scale = 1 / (in_channels * out_channels)
        self.weight = nn.Parameter(scale * torch.rand(in_channels, out_channels, modes, 2))

    def filters(self) -> Float[Tensor, "O I modes 2"]:
        """The weights of each output channel for the modes of its inputs."""
        return self.weight.transpose(0, 1)

    def forward(self, h: Float[Tensor, "B I S"]) -> Float[Tensor, "B O S"]:
        points = h.shape[-1]
        check_channels(h, 3, self.weight.shape[0])
        if points // 2 + 1 < self.modes:
            raise ValueError(f"modes={self.modes} need at least {2 * (self.modes - 1)} grid points, got {points}")
        with without_autocast(h):  # no FFT in half precision
            spectrum = torch.fft.rfft(h.float() if h.dtype.itemsize < 4 else h)  # (B, I, S/2+1)
            weight = torch.view_as_complex(self.weight)  # (I, O, modes)
            kept = torch.einsum("bik,iok->bok", spectrum[..., : self.modes], weight)
            return torch.fft.irfft(kept, n=points).to(h.dtype)  # irfft pads the missing modes with zeros


class FourierLayer(nn.Module):
    """residual(x = W h, v = K h): (B, width, S) -> (B, width, S). The seam's last axis is space."""

    def __init__(self, width: int, modes: int, residual: Residual) -> None:
        super().__init__()
        self.conv = SpectralConv1d(width, width, modes)
        self.w = nn.Conv1d(width, width, kernel_size=1)
        self.residual = residual

    def forward(self, h: Float[Tensor, "B W S"]) -> Float[Tensor, "B W S"]:
        return self.residual(self.w(h), self.conv(h))


class FNO1d(nn.Module):
    """u_0 on any uniform periodic grid of (0, 1) -> u_1 on the same grid: (B, S) -> (B, S).

    Args:
        width: channels of a Fourier layer. modes: Fourier modes it keeps. n_layers: number of Fourier layers.
        hidden: neurons of the head's hidden layer.
        residual: called once per layer to create the module that joins shortcut and branch.
        resolution: points of the training grid, if known: D, which collision_heads must divide.
    """

    def __init__(
        self,
        width: int = 64,
        modes: int = 16,
        n_layers: int = 4,
        hidden: int = 128,
        residual: ResidualFactory = Add,
        resolution: int | None = None,
    ) -> None:
        super().__init__()
        self.fc0 = nn.Linear(2, width)
        seams = (attach(residual(), 3, {2: resolution, 1: width}) for _ in range(n_layers))
        self.layers = nn.ModuleList(FourierLayer(width, modes, seam) for seam in seams)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, 1)

    def forward(self, u0: Float[Tensor, "B S"]) -> Float[Tensor, "B S"]:
        points = u0.shape[-1]
        grid = torch.arange(points, device=u0.device, dtype=u0.dtype) / points
        h = self.fc0(torch.stack([u0, grid.expand_as(u0)], dim=-1))  # (B, S, width)
        h = h.transpose(1, 2)  # (B, width, S)
        for layer in self.layers[:-1]:
            h = relu(layer(h))
        h = self.layers[-1](h).transpose(1, 2)  # (B, S, width)
        return self.fc2(relu(self.fc1(h))).squeeze(-1)
