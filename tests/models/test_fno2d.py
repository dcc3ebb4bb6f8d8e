"""FNO-2d against its explicit Fourier series, its published sizes, its seam and its roll-out."""

from functools import partial

import numpy as np
import pytest
import torch

from kiti.data.loading import evaluation_loader
from kiti.models.fno2d import FNO2d, SpectralConv2d
from kiti.residual import KITIResidual
from kiti.tasks.operator_learning import OperatorRollout, relative_l2

SMALL = {"t_in": 3, "width": 4, "modes": 2, "n_layers": 2, "hidden": 5}
COLLIDING = partial(KITIResidual, 2, 1.0)


def spectral_by_sums(h, weight):
    """K h mode by mode, no FFT: k2 from 0, k1 from 0 up and from -modes up; the real part of the sum, k2 > 0 twice."""
    modes, grid = weight.shape[3], h.shape[-2:]
    x1, x2 = (np.arange(points) / points for points in grid)
    out = np.zeros((len(h), weight.shape[2], *grid))
    for corner, first in enumerate((0, -modes)):
        for a in range(modes):
            for b in range(modes):
                wave = np.exp(2j * np.pi * ((first + a) * x1[:, None] + b * x2))
                coefficient = (h * wave.conj()).mean((-1, -2))  # (B, I)
                mixed = coefficient @ (weight[corner, :, :, a, b, 0] + 1j * weight[corner, :, :, a, b, 1])
                out += (1 if b == 0 else 2) * np.real(mixed[..., None, None] * wave)
    return out


@pytest.mark.parametrize("grid", [(6, 6), (7, 7), (12, 12), (8, 12), (12, 7)])
def test_spectral_convolution_matches_its_fourier_series(grid):
    conv = SpectralConv2d(2, 3, modes=3).double()
    torch.nn.init.normal_(conv.weight)
    h = torch.randn(2, 2, *grid, dtype=torch.float64)
    expected = spectral_by_sums(h.numpy(), conv.weight.detach().numpy())
    np.testing.assert_allclose(conv(h).detach().numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("grid", [(5, 5), (5, 12), (12, 5)])
def test_too_coarse_a_grid_is_named(grid):
    with pytest.raises(ValueError, match="at least 6 grid points along each axis, got 5"):
        SpectralConv2d(1, 1, modes=3)(torch.zeros(1, 1, *grid))


@pytest.mark.parametrize("channels", [1, 3])
def test_other_channels_are_named(channels):
    """Einsum would repeat a single channel."""
    with pytest.raises(ValueError, match=r"real numbers \(batch, 2, points, points\) are needed"):
        SpectralConv2d(2, 2, modes=3)(torch.zeros(1, channels, 8, 8))


def test_no_modes_are_refused_where_the_module_is_made():
    with pytest.raises(ValueError, match="modes=0: a positive int is needed"):
        SpectralConv2d(1, 1, modes=0)


@pytest.mark.parametrize("grid", [(8, 8), (6, 8)])
def test_network_matches_the_published_formula(grid):
    model = FNO2d(**SMALL).double()
    p = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    frames = torch.randn(2, 3, *grid, dtype=torch.float64)
    x1, x2 = np.meshgrid(*(np.arange(points) / points for points in grid), indexing="ij")
    place = np.broadcast_to(np.stack([x1, x2]), (2, 2, *grid))
    h = np.einsum("oi,bixy->boxy", p["fc0.weight"], np.concatenate([frames.numpy(), place], axis=1))
    h = h + p["fc0.bias"][:, None, None]
    for i in range(2):
        linear = np.einsum("oi,bixy->boxy", p[f"layers.{i}.w.weight"][..., 0, 0], h)
        h = linear + p[f"layers.{i}.w.bias"][:, None, None] + spectral_by_sums(h, p[f"layers.{i}.conv.weight"])
        h = np.maximum(h, 0) if i < 1 else h
    hidden = np.maximum(np.einsum("oi,bixy->bxyo", p["fc1.weight"], h) + p["fc1.bias"], 0)
    expected = hidden @ p["fc2.weight"].T + p["fc2.bias"]
    np.testing.assert_allclose(model(frames).detach().numpy(), expected[..., 0], atol=1e-12)


def test_official_sizes():
    """Width 20, 12 modes, 4 layers, 12 inputs, head 20-128-1; the authors' complex weights counted as two numbers."""
    expected = 4 * (2 * 20 * 20 * 12 * 12 * 2 + 20 * 20 + 20) + (12 * 20 + 20) + (20 * 128 + 128) + (128 + 1)
    assert sum(p.numel() for p in FNO2d().parameters()) == expected


def test_a_system_is_one_channel_over_space():
    """D = S²: channels do not collide, rows of the grid do."""
    model = FNO2d(**SMALL, residual=COLLIDING)
    seen = []
    for layer in model.layers:
        layer.residual.register_forward_pre_hook(lambda _m, inputs: seen.append([x.shape for x in inputs]))
    model(torch.randn(2, 3, 8, 8))
    assert seen == [[(2, 4, 64)] * 2] * 2


def test_every_parameter_gets_a_gradient():
    torch.manual_seed(0)  # few neurons: with some seeds a whole layer is dead
    model = FNO2d(**SMALL, residual=COLLIDING)
    model(torch.randn(2, 3, 8, 8)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


class Last(torch.nn.Module):
    """Predicts the last input frame plus the first."""

    def forward(self, frames):
        return frames[:, -1] + frames[:, 0]


def rollout(model):
    return OperatorRollout(model, optimizer=partial(torch.optim.Adam, lr=1e-3))


def test_predictions_are_fed_back():
    """Two frames in, next = last + first: Fibonacci numbers."""
    given = torch.tensor([1.0, 1.0])[None, :, None, None].expand(1, 2, 2, 2)
    prediction = rollout(Last()).predict(given, torch.zeros(1, 5, 2, 2))
    assert prediction[0, :, 0, 0].tolist() == [2, 3, 5, 8, 13]


def test_loss_is_the_sum_of_frame_errors():
    torch.manual_seed(0)
    model = FNO2d(**SMALL)
    given, target = torch.randn(2, 3, 8, 8), torch.randn(2, 4, 8, 8)
    task = rollout(model)
    predicted = task.predict(given, target)
    expected = sum(relative_l2(predicted[:, t], target[:, t]).sum() for t in range(4))
    torch.testing.assert_close(task.training_step((given, target), 0), expected)
    torch.testing.assert_close(task.train_loss.compute(), expected / 8)


def test_collisions_are_off_during_the_whole_roll_out(monkeypatch):
    """The authors' two-dimensional script never calls eval(): here no evaluation path may collide (P4)."""
    from pytorch_lightning import Trainer

    torch.manual_seed(0)
    model = FNO2d(**SMALL, residual=COLLIDING)
    vanilla = FNO2d(**SMALL)
    vanilla.load_state_dict(model.state_dict())
    pairs = (torch.randn(4, 3, 8, 8), torch.randn(4, 5, 8, 8))
    task = rollout(model)
    with torch.no_grad():  # in training they do collide, at every frame
        before = rollout(vanilla.eval()).predict(*pairs)
        assert not torch.allclose(task.train().predict(*pairs), before)

    def refuse(*_, **__):
        raise AssertionError("collided in an evaluation")

    monkeypatch.setattr("kiti.residual.collide_with_partners", refuse)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    [metrics] = Trainer(**quiet).test(task, evaluation_loader(pairs, 2), verbose=False)
    errors = relative_l2(before, pairs[1])
    assert metrics["test/relative_l2"] == pytest.approx(float(errors.mean()), rel=1e-5)
