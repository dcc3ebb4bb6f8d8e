"""ρ against its explicit sums, its edge cases, and the monitor that logs it."""

import math

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer

from kiti import weight_correlation
from kiti.models.fno import FNO1d, SpectralConv1d
from kiti.models.fno2d import SpectralConv2d
from kiti.neurons.condensation import filters
from kiti.training.callbacks.condensation_monitor import CondensationMonitor


def cosine(a, b):
    return abs(float(a @ b / (a.norm() * b.norm())))


def test_fully_connected_matches_equation_17():
    w = torch.randn(5, 7, dtype=torch.float64)
    pairs = [cosine(w[i], w[j]) for i in range(5) for j in range(5) if i != j]
    assert weight_correlation(w) == pytest.approx(sum(pairs) / len(pairs), rel=1e-12)


def test_convolution_matches_equation_18():
    w = torch.randn(4, 3, 2, 2, dtype=torch.float64)
    pairs = [
        cosine(w[i, z].flatten(), w[j, z].flatten())
        for i in range(4) for j in range(4) if i != j for z in range(3)
    ]  # fmt: skip
    assert weight_correlation(w) == pytest.approx(sum(pairs) / len(pairs), rel=1e-12)


def test_a_one_point_kernel_is_fully_connected():
    w = torch.randn(6, 4)
    assert weight_correlation(w[..., None, None]) == pytest.approx(weight_correlation(w), rel=1e-12)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[1.0, 0.0], [0.0, 2.0]], 0.0),  # at right angles
        ([[1.0, 1.0], [-3.0, -3.0]], 1.0),  # opposite counts as aligned
        ([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]], 1.0),  # a zero neuron has no direction
        ([[1.0, 0.0], [0.0, 0.0]], math.nan),
        ([[1.0, 0.0]], math.nan),
    ],
)
def test_edge_cases(rows, expected):
    assert weight_correlation(torch.tensor(rows)) == pytest.approx(expected, nan_ok=True)


def test_a_vector_is_refused():
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        weight_correlation(torch.zeros(3))


@pytest.mark.parametrize("conv", [SpectralConv1d(3, 4, modes=2), SpectralConv2d(3, 4, modes=2)])
def test_spectral_filters_are_modes_by_output_and_input_channel(conv):
    found = filters(conv)
    assert found.shape[:2] == (4, 3)
    weight = conv.weight if conv.weight.dim() == 4 else conv.weight[1]
    expected = weight[2, 1].flatten()
    torch.testing.assert_close(found[1, 2].flatten()[-expected.numel() :], expected)


def test_random_rows_are_as_similar_as_theory_predicts():
    """E|cos| in d dimensions is Γ(d/2) / (√π Γ((d+1)/2)): .1807 for FNO's width of 20 (A15)."""
    expected = math.exp(math.lgamma(10) - math.lgamma(10.5)) / math.sqrt(math.pi)
    assert expected == pytest.approx(0.1807, abs=1e-4)
    assert weight_correlation(torch.randn(400, 20)) == pytest.approx(expected, rel=0.03)


class Module(LightningModule):
    def __init__(self, model):
        super().__init__()
        self.model = model


@pytest.mark.parametrize(("name", "message"), [("layers.9.w", "no layer 'layers.9.w'"), ("layers", "no weight")])
def test_an_unknown_layer_is_named_before_training(name, message):
    with pytest.raises(ValueError, match=message):
        CondensationMonitor([name]).setup(
            Trainer(logger=False), Module(FNO1d(width=2, modes=2, n_layers=1, hidden=2)), "fit"
        )
