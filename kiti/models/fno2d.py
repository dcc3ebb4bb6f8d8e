"""The Fourier neural operator of Li et al. in two dimensions, one time step at a time, with KITINet's seam.

    (u_{t-T}, …, u_{t-1}, x1, x2) --lift--> h --[ h <- relu( residual(x = W h, v = K h) ) ] * n_layers--> relu --> u_t

As in one dimension (`fno.py`); the seam's tensors are flattened over space, so that D is the grid's points, row by
row (A2). Sizes and initialisation are those of the authors' script for Navier-Stokes.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import relu

from kiti.collision.precision import without_autocast
from kiti.models.fno import check_channels, positive
from kiti.residual import Add, Residual, ResidualFactory
from kiti.seams.fitting import attach


class SpectralConv2d(nn.Module):
    """K: (B, in, S1, S2) -> (B, out, S1, S2), linear in each mode |k1|, |k2| < `modes`, 0 above.

    `weight` holds the modes with k1 >= 0, then those with k1 < 0, both with k2 >= 0, and real and imaginary parts on
    its last axis. Mode k1 = -modes is included, as in the authors' code. Raises ValueError if S1 or S2 has too few
    modes, or h other channels.
    """

    def __init__(self, in_channels: int, out_channels: int, modes: int) -> None:
        super().__init__()
        self.modes = positive("modes", modes)
        scale = 1 / (in_channels * out_channels)
        self.weight = nn.Parameter(scale * torch.rand(2, in_channels, out_channels, modes, modes, 2))

    def filters(self) -> Float[Tensor, "O I 2 modes modes 2"]:
        """The weights of each output channel for the modes of its inputs."""
        return self.weight.movedim((2, 1), (0, 1))

    def forward(self, h: Float[Tensor, "B I S1 S2"]) -> Float[Tensor, "B O S1 S2"]:
        grid, m = h.shape[-2:], self.modes
        check_channels(h, 4, self.weight.shape[1])
        if min(grid) < 2 * m:
            raise ValueError(f"modes={m} need at least {2 * m} grid points along each axis, got {min(grid)}")
        with without_autocast(h):  # no FFT in half precision
            spectrum = torch.fft.rfft2(h.float() if h.dtype.itemsize < 4 else h)[..., :m]  # (B, I, S1, m)
            weight = torch.view_as_complex(self.weight)  # (2, I, O, m, m)
            corners = torch.stack([spectrum[..., :m, :], spectrum[..., -m:, :]])  # (2, B, I, m, m)
            low, high = torch.einsum("cbikl,ciokl->cbokl", corners, weight)
            between = low.new_zeros(*low.shape[:2], grid[0] - 2 * m, m)
            return torch.fft.irfft2(torch.cat([low, between, high], dim=2), s=grid).to(h.dtype)


class FourierLayer2d(nn.Module):
    """residual(x = W h, v = K h): (B, width, S1, S2) -> (B, width, S1, S2). The seam's last axis is flattened space."""

    def __init__(self, width: int, modes: int, residual: Residual) -> None:
        super().__init__()
        self.conv = SpectralConv2d(width, width, modes)
        self.w = nn.Conv2d(width, width, kernel_size=1)
        self.residual = residual

    def forward(self, h: Float[Tensor, "B W S1 S2"]) -> Float[Tensor, "B W S1 S2"]:
        return self.residual(self.w(h).flatten(2), self.conv(h).flatten(2)).view_as(h)


class FNO2d(nn.Module):
    """The last `t_in` frames on any uniform periodic grid of (0, 1)² -> the next: (B, t_in, S1, S2) -> (B, S1, S2).

    Args:
        t_in: number of input frames.
        width: channels of a Fourier layer. modes: Fourier modes it keeps along each axis. n_layers: number of layers.
        hidden: neurons of the head's hidden layer.
        residual: called once per layer to create the module that joins shortcut and branch.
        resolution: points of a square training grid along an axis, if known; collision_heads must divide D, its square.
    """

    def __init__(
        self,
        t_in: int = 10,
        width: int = 20,
        modes: int = 12,
        n_layers: int = 4,
        hidden: int = 128,
        residual: ResidualFactory = Add,
        resolution: int | None = None,
    ) -> None:
        super().__init__()
        self.fc0 = nn.Linear(t_in + 2, width)
        points = resolution and resolution**2
        seams = (attach(residual(), 3, {2: points, 1: width}) for _ in range(n_layers))
        self.layers = nn.ModuleList(FourierLayer2d(width, modes, seam) for seam in seams)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, 1)

    def forward(self, frames: Float[Tensor, "B T S1 S2"]) -> Float[Tensor, "B S1 S2"]:
        grid = frames.shape[-2:]
        axes = [torch.arange(points, device=frames.device, dtype=frames.dtype) / points for points in grid]
        place = torch.stack(torch.meshgrid(*axes, indexing="ij")).expand(len(frames), 2, *grid)
        h = self.fc0(torch.cat([frames, place], dim=1).movedim(1, -1))  # (B, S1, S2, width)
        h = h.movedim(-1, 1)  # (B, width, S1, S2)
        for layer in self.layers[:-1]:
            h = relu(layer(h))
        h = self.layers[-1](h).movedim(1, -1)  # (B, S1, S2, width)
        return self.fc2(relu(self.fc1(h))).squeeze(-1)
