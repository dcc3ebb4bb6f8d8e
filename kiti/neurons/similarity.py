"""Cosine matrices of neurons, the order in which KO B.1 draws them, and summary statistics.

A neuron is the vector of its input weights with its bias appended (A40). One paper considers alike neurons good, the
other bad (A21); here they are neither.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from kiti.neurons.condensation import filters

ALIKE = 0.6
"""KO B.1: neurons with a cosine above this are grouped."""

DRAWN = 256
"""The largest side of a drawn matrix."""


def neurons(layer: nn.Module) -> Float[Tensor, "R N D"]:
    """Input weights of a layer's neurons, flattened, with the bias, if any, as the last entry.

    R is 1, or `replicas` for a layer that contains several independent networks.
    """
    weight = filters(layer).detach()
    weight = weight.flatten(2) if hasattr(layer, "replicas") else weight.flatten(1).unsqueeze(0)
    bias = getattr(layer, "bias", None)
    return weight if bias is None else torch.cat([weight, bias.detach().view(*weight.shape[:2], 1)], dim=2)


def cosine_matrix(rows: Float[Tensor, "*batch N D"]) -> Float[Tensor, "*batch N N"]:
    """cos(w_i, w_j) in [-1, 1], 1 on the diagonal; 0 for a neuron that is zero and has no direction (A33)."""
    norms = rows.norm(dim=-1, keepdim=True)
    directions = torch.where(norms > 0, rows / norms, 0)
    return (directions @ directions.mT).clamp(-1, 1)


def clusters(cosines: Float[Tensor, "N N"]) -> list[list[int]]:
    """The groups of KO B.1 in the order they are found; the reference neuron comes first in its group.

    Starting with neuron 0, all ungrouped neurons whose cosine with the reference is above 0.6 form its group. The next
    reference is the first neuron left whose cosine with the last one is below -0.6, "if a negatively correlated neuron
    is found", otherwise the first one left.
    """
    table = cosines.tolist()
    left = list(range(len(table)))
    groups: list[list[int]] = []
    reference = 0
    while left:
        row = table[reference]
        groups.append([reference, *(i for i in left if i != reference and row[i] > ALIKE)])
        left = [i for i in left if i not in groups[-1]]
        reference = next((i for i in left if row[i] < -ALIKE), left[0] if left else 0)
    return groups


def reordered(cosines: Float[Tensor, "N N"]) -> Float[Tensor, "N N"]:
    """The matrix with its neurons sorted by group."""
    order = [i for group in clusters(cosines) for i in group]
    return cosines[order][:, order]


def thumbnail(matrix: Float[Tensor, "N N"]) -> Float[Tensor, "n n"]:
    """The matrix for drawing: itself up to N = 256, otherwise means over blocks, so that n <= 256."""
    block = -(-len(matrix) // DRAWN)
    return functional.avg_pool2d(matrix[None], block, ceil_mode=True)[0]


def mean_cosine(cosines: Float[Tensor, "*batch N N"]) -> Float[Tensor, "*batch"]:
    """ρ (17) of these cosines, the mean |cos| over pairs i ≠ j of nonzero neurons; nan if there is no pair."""
    nonzero = (cosines.diagonal(dim1=-2, dim2=-1) != 0).sum(-1)
    return (cosines.abs().sum((-2, -1)) - nonzero) / (nonzero * (nonzero - 1))


def share_alike(cosines: Float[Tensor, "*batch N N"], above: float = ALIKE) -> Float[Tensor, "*batch"]:
    """The share of pairs i ≠ j with |cos| > `above`; nan for a single neuron."""
    n = cosines.shape[-1]
    off_diagonal = ~torch.eye(n, dtype=torch.bool, device=cosines.device)
    alike = (cosines.abs() > above) & off_diagonal
    return alike.sum((-2, -1)) / torch.tensor(n * (n - 1), dtype=cosines.dtype)


def most_alike(cosines: Float[Tensor, "*batch N N"]) -> Float[Tensor, "*batch"]:
    """max |cos| over pairs i ≠ j: shown in KO's Figure 3."""
    return (cosines.abs() - 2 * torch.eye(cosines.shape[-1]).to(cosines)).amax((-2, -1))


def effective_rank(rows: Float[Tensor, "*batch N D"]) -> Float[Tensor, "*batch"]:
    """exp of the entropy of the squared singular values, as shares of their sum: how many directions the rows span.

    nan if a number is not finite.
    """
    finite = rows.isfinite().all(-1).all(-1)
    squares = torch.linalg.svdvals(torch.where(finite[..., None, None], rows, 0)).square()
    shares = squares / squares.sum(-1, keepdim=True)
    return torch.where(finite, torch.special.entr(shares).sum(-1).exp(), torch.nan)


def summary(rows: Float[Tensor, "R N D"]) -> list[dict[str, float]]:
    """For each replica: ρ (17), share of alike pairs, number of groups, effective rank, max |cos|."""
    rows = rows.double()
    cosines = cosine_matrix(rows)
    measured = {
        "rho": mean_cosine(cosines).tolist(),
        "share_alike": share_alike(cosines).tolist(),
        "clusters": [len(clusters(matrix)) for matrix in cosines],
        "effective_rank": effective_rank(rows).tolist(),
        "most_alike": most_alike(cosines).tolist(),
    }
    return [{what: float(values[r]) for what, values in measured.items()} for r in range(len(rows))]
