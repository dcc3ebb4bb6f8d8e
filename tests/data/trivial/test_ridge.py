"""Ridge regression: exact on linear maps, its own normal equations, a penalty that helps and is chosen in training."""

import pytest
import torch
from sklearn.linear_model import Ridge as TheirRidge

from kiti.data.trivial.ridge import Ridge


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_linear_map_with_an_offset_is_recovered() -> None:
    x, w, offset = normal(40, 6), normal(6, 3, seed=1), normal(3, seed=2)
    new = normal(9, 6, seed=3)
    torch.testing.assert_close(Ridge(x, x @ w + offset).predict(new), new @ w + offset, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("samples", "features"), [(30, 8), (8, 30)])
def test_it_is_scikit_learns_with_the_same_penalty(samples: int, features: int) -> None:
    x, y, new = normal(samples, features), normal(samples, 4, seed=1), normal(5, features, seed=2)
    ours = Ridge(x, y)
    theirs = TheirRidge(alpha=ours.penalty, solver="cholesky").fit(x.numpy(), y.numpy()).predict(new.numpy())
    torch.testing.assert_close(ours.predict(new), torch.from_numpy(theirs), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("samples", "features"), [(40, 12), (25, 60)])
def test_the_penalty_has_the_least_score_of_the_grid(samples: int, features: int) -> None:
    """The score by its definition, with the hat matrix formed."""
    x, y = normal(samples, features), normal(samples, features) @ normal(features, 2, seed=1)
    y += 5 * normal(samples, 2, seed=2)
    centred, target = x - x.mean(0), y - y.mean(0)
    scores = {}
    for penalty in torch.logspace(-14, 2, 33, dtype=torch.float64) * torch.linalg.svdvals(centred)[0] ** 2:
        hat = centred @ torch.linalg.solve(centred.T @ centred + penalty * torch.eye(features), centred.T)
        freedom = samples - 1 - hat.trace()
        if freedom > 1e-6:  # below, the hat matrix is too inexact to compare
            scores[float(penalty)] = float((target - hat @ target).square().sum() / freedom**2)
    assert Ridge(x, y).penalty == pytest.approx(min(scores, key=lambda penalty: scores[penalty]))


def test_noise_raises_the_penalty_and_the_penalty_helps() -> None:
    x, w = normal(30, 25), normal(25, 1, seed=1)
    noisy = Ridge(x, x @ w + 10 * normal(30, 1, seed=2))
    assert noisy.penalty > 1e6 * Ridge(x, x @ w).penalty
    new = normal(500, 25, seed=3)
    least_squares = torch.linalg.lstsq(x, x @ w + 10 * normal(30, 1, seed=2)).solution
    error = (noisy.predict(new) - new @ w).square().mean()
    assert error < 0.5 * (new @ least_squares - new @ w).square().mean()


def test_features_that_never_vary_leave_the_mean() -> None:
    y = normal(4, 2)
    found = Ridge(torch.ones(4, 3), y).predict(normal(5, 3))
    torch.testing.assert_close(found, y.mean(0).expand(5, -1))
