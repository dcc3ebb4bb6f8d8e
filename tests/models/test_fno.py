"""FNO-1d against an independent formula, layer by layer, and its seam."""

from functools import partial

import numpy as np
import pytest
import torch

from kiti.models.fno import FNO1d, SpectralConv1d, check_channels
from kiti.models.fno2d import FNO2d
from kiti.residual import Add, KITIResidual

SMALL = {"width": 6, "modes": 5, "n_layers": 3, "hidden": 7}


def spectral_by_sums(h: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """K h by its Fourier series, written out: sum over modes of cos and sin, no FFT."""
    batch, _, points = h.shape
    out = np.zeros((batch, weight.shape[1], points))
    j = np.arange(points)
    for k in range(weight.shape[2]):
        wave = np.exp(-2j * np.pi * k * j / points)
        coefficient = (h @ wave) / points  # (B, I)
        mixed = coefficient @ (weight[:, :, k, 0] + 1j * weight[:, :, k, 1])  # (B, O)
        twice = 1 if k == 0 or 2 * k == points else 2  # a real function has k and -k
        out += twice * np.real(mixed[:, :, None] * wave.conj())
    return out


@pytest.mark.parametrize("points", [16, 17, 33])
def test_spectral_convolution_matches_its_fourier_series(points: int) -> None:
    conv = SpectralConv1d(3, 4, modes=5).double()
    torch.nn.init.normal_(conv.weight)
    h = torch.randn(2, 3, points, dtype=torch.float64)
    expected = spectral_by_sums(h.numpy(), conv.weight.detach().numpy())
    np.testing.assert_allclose(conv(h).detach().numpy(), expected, atol=1e-12)


def test_network_matches_the_published_formula_layer_by_layer() -> None:
    model = FNO1d(**SMALL).double()
    p = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    u0 = torch.randn(2, 24, dtype=torch.float64)
    grid = np.broadcast_to(np.arange(24) / 24, (2, 24))
    h = np.stack([u0.numpy(), grid], axis=-1) @ p["fc0.weight"].T + p["fc0.bias"]
    h = h.transpose(0, 2, 1)
    layers: list[np.ndarray] = []
    hooks = [layer.register_forward_hook(lambda _m, _i, out: layers.append(out.numpy())) for layer in model.layers]
    with torch.no_grad():
        output = model(u0).numpy()
    for i in range(3):
        linear = np.einsum("oi,bis->bos", p[f"layers.{i}.w.weight"][:, :, 0], h) + p[f"layers.{i}.w.bias"][:, None]
        h = linear + spectral_by_sums(h, p[f"layers.{i}.conv.weight"])
        np.testing.assert_allclose(layers[i], h, atol=1e-12, err_msg=f"layer {i}")
        h = np.maximum(h, 0) if i < 2 else h
    hidden = np.maximum(h.transpose(0, 2, 1) @ p["fc1.weight"].T + p["fc1.bias"], 0)
    expected = hidden @ p["fc2.weight"].T + p["fc2.bias"]
    np.testing.assert_allclose(output, expected[..., 0], atol=1e-12)
    for hook in hooks:
        hook.remove()


def test_official_sizes() -> None:
    """Width 64, 16 modes, 4 layers, head 64-128-1: 4 (64·64·16·2 + 64·64 + 64) + 192 + 8320 + 129 parameters."""
    model = FNO1d()
    expected = 4 * (64 * 64 * 16 * 2 + 64 * 64 + 64) + (2 * 64 + 64) + (64 * 128 + 128) + (128 + 1)
    assert sum(p.numel() for p in model.parameters()) == expected == 549_569


@pytest.mark.parametrize("heads", [1, 2, 8])
def test_every_parameter_gets_a_gradient(heads: int) -> None:
    torch.manual_seed(0)  # few neurons: with some seeds a whole layer is dead
    model = FNO1d(**SMALL, residual=partial(KITIResidual, heads, 0.5))
    model(torch.randn(3, 32)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def trained(residual, steps: int = 5) -> FNO1d:
    torch.manual_seed(0)
    model = FNO1d(**SMALL, residual=residual)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    data = torch.randn(steps, 4, 32, generator=torch.Generator().manual_seed(1))
    for batch in data:
        optimizer.zero_grad()
        (model(batch) - batch.roll(1, -1)).square().sum().backward()
        optimizer.step()
    return model


def test_one_particle_per_system_trains_identically_to_addition() -> None:
    """collision_heads = D makes N = 1: Figure 2a's last point must equal vanilla bit for bit."""
    vanilla, single = trained(Add), trained(partial(KITIResidual, 32, 0.9))
    for name, value in vanilla.state_dict().items():
        assert torch.equal(value, single.state_dict()[name]), name


def test_collisions_change_training_but_not_inference() -> None:
    vanilla, colliding = trained(Add), trained(partial(KITIResidual, 2, 0.9))
    assert not torch.equal(vanilla.fc1.weight, colliding.fc1.weight)
    vanilla.load_state_dict(colliding.state_dict(), strict=True)
    u0 = torch.randn(2, 32)
    assert torch.equal(vanilla.eval()(u0), colliding.eval()(u0))


@pytest.mark.parametrize("points", [64, 48])
def test_evaluates_at_another_resolution(points: int) -> None:
    """A band-limited input gives the same output function on another grid."""
    model = FNO1d(width=6, modes=5, n_layers=1, hidden=7).eval().double()
    # One layer and no ReLU before it: the network's head sees band-limited functions sampled on either grid.
    torch.nn.init.zeros_(model.fc0.weight[:, 1])  # the sawtooth grid coordinate is not band-limited
    x = torch.arange(points, dtype=torch.float64) / points

    def u0(x: torch.Tensor) -> torch.Tensor:
        return (torch.sin(2 * torch.pi * x) + 0.5 * torch.cos(6 * torch.pi * x))[None]

    with torch.no_grad():
        fine = model(u0(x))
        coarse = model(u0(x[::2]))
    torch.testing.assert_close(fine[:, ::2], coarse)


def test_too_few_points_for_the_modes_is_a_clear_error() -> None:
    with pytest.raises(ValueError, match="modes=5 need at least 8 grid points, got 6"):
        FNO1d(**SMALL)(torch.randn(1, 6))


def test_what_a_spectral_convolution_cannot_take_is_named() -> None:
    for h in (torch.zeros(1, 1, 16), torch.zeros(1, 2, 16) + 0j, torch.zeros(1, 2, 16, 16)):
        with pytest.raises(ValueError, match=r"real numbers \(batch, 2, points\) are needed"):
            check_channels(h, 3, 2)  # the type checks of the tests would come first in a whole call
    with pytest.raises(ValueError, match=r"spectral convolution of \(1, 1, 16\)"):  # einsum would repeat the channel
        SpectralConv1d(2, 2, modes=3)(torch.zeros(1, 1, 16))
    with pytest.raises(ValueError, match="modes=0: a positive int is needed"):
        SpectralConv1d(2, 2, modes=0)


@pytest.mark.parametrize(
    ("model", "shape"), [(FNO1d, (2, 32)), (partial(FNO2d, t_in=3), (2, 3, 32, 24))], ids=["FNO1d", "FNO2d"]
)
@pytest.mark.parametrize("implementation", ["auto", "literal", "numba"])
def test_sizes_are_found_on_the_meta_device(model: partial, shape: tuple[int, ...], implementation: str) -> None:
    with pytest.importorskip("accelerate").init_empty_weights():
        empty = model(residual=partial(KITIResidual, 2, 0.5, implementation=implementation))
    state = torch.get_rng_state()
    out = empty(torch.empty(*shape, device="meta"))
    assert (out.device.type, out.shape) == ("meta", (2, *shape[len(shape) // 2 :]))
    out.sum().backward()
    assert empty.fc0.weight.grad.shape == empty.fc0.weight.shape
    assert torch.equal(torch.get_rng_state(), state)
