"""Ridge regression in closed form."""

import torch
from jaxtyping import Float, Float64
from torch import Tensor

# Relative to the square of the largest singular value.
_PENALTIES = torch.logspace(-14, 2, 33, dtype=torch.float64)


class Ridge:
    """y ≈ ȳ + (x − x̄) W, with the W that minimises Σ |y − ŷ|² + λ |W|², in float64.

    Of a grid of λ it takes the one with the least generalised cross-validation score on these samples,

        Σ |y − ŷ|² / (n − 1 − tr H)²,   where ŷ − ȳ = H (y − ȳ),

    which is leave-one-out validation with each sample's leverage replaced by the mean one. W is never formed: with the
    singular value decomposition x − x̄ = U S Vᵀ, of min(n, p) values, it is V S / (S² + λ) Uᵀ (y − ȳ), which is the dual
    form where there are fewer samples than features.

    Args:
        x: features, one row per sample.
        y: targets.
    """

    def __init__(self, x: Float[Tensor, "n p"], y: Float[Tensor, "n q"]) -> None:
        x, y = x.double(), y.double()
        self._x_mean, self._y_mean = x.mean(0), y.mean(0)
        u, s, self._v = torch.linalg.svd(x - self._x_mean, full_matrices=False)
        there = s > s.amax() * max(x.shape) * torch.finfo(s.dtype).eps
        u, s, self._v = u[:, there], s[there], self._v[there]  # (n, r), (r,), (r, p)
        centred = y - self._y_mean
        self._along = u.T @ centred  # (r, q)
        self.penalty = _least_score(s.square(), self._along.square().sum(1), centred.square().sum(), len(x))
        self._gain = s / (s.square() + self.penalty)

    def predict(self, x: Float[Tensor, "m p"]) -> Float64[Tensor, "m q"]:
        return self._y_mean + (x.double() - self._x_mean) @ self._v.T * self._gain @ self._along


def _least_score(squares: Tensor, explained: Tensor, total: Tensor, samples: int) -> float:
    """The λ with the least score, from S², the squared norms of the rows of Uᵀ(y − ȳ), and that of y − ȳ."""
    if not len(squares):
        return 0.0
    unexplained = (total - explained.sum()).clamp(min=0)  # no W reaches it
    penalties = _PENALTIES * squares.amax()
    missed = penalties[:, None] / (squares + penalties[:, None])  # 1 − the eigenvalues of H, (penalties, r)
    errors = unexplained + (missed.square() * explained).sum(1)
    freedom = samples - 1 - len(squares) + missed.sum(1)
    return float(penalties[(errors / freedom.square()).argmin()])
