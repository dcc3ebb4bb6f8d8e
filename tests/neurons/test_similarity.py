"""Cosines, the grouping described in KO B.1, and the numbers beside a picture."""

import math

import pytest
import torch
from torch import nn

from kiti.models.chain import Dense
from kiti.neurons.condensation import weight_correlation
from kiti.neurons.similarity import (
    clusters,
    cosine_matrix,
    effective_rank,
    mean_cosine,
    most_alike,
    neurons,
    reordered,
    share_alike,
    summary,
    thumbnail,
)


def at(*degrees: float) -> torch.Tensor:
    """Vectors in the plane at these angles, with various lengths."""
    angles = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    lengths = torch.arange(1, len(degrees) + 1, dtype=torch.float64)
    return lengths[:, None] * torch.stack([angles.cos(), angles.sin()], dim=1)


def test_cosines():
    expected = torch.tensor([0.0, 60.0, 180.0]).double().deg2rad().cos()
    torch.testing.assert_close(cosine_matrix(at(0, 60, 180))[0], expected)
    with_zero = cosine_matrix(torch.tensor([[0.0, 0.0], [1.0, 2.0]]))
    assert with_zero.tolist() == [[0.0, 0.0], [0.0, pytest.approx(1.0)]]


def test_batches_match_their_members():
    rows = torch.randn(3, 6, 4)
    for whole, single in ((cosine_matrix(rows), cosine_matrix), (effective_rank(rows), effective_rank)):
        torch.testing.assert_close(whole, torch.stack([single(one) for one in rows]))
    cosines = cosine_matrix(rows)
    for statistic in (share_alike, most_alike):
        torch.testing.assert_close(statistic(cosines), torch.stack([statistic(one) for one in cosines]))


def test_groups_match_the_paper():
    """Neuron 0 takes those within 53 degrees; the next reference is opposite to it, then the first one left."""
    cosines = cosine_matrix(at(0, 90, 30, 185, 100, -40, 170, 270))
    assert clusters(cosines) == [[0, 2, 5], [3, 6], [1, 4], [7]]
    drawn = reordered(cosines)
    order = [0, 2, 5, 3, 6, 1, 4, 7]
    assert all(drawn[i, j] == cosines[order[i], order[j]] for i in range(8) for j in range(8))


def test_the_opposite_of_the_last_reference_comes_next():
    """Only 180 is opposite to 0: next comes the first one left, 60, then its opposite, 240."""
    assert clusters(cosine_matrix(at(0, 60, 300, 180, 120, 240))) == [[0], [3], [1], [5], [2], [4]]
    assert clusters(torch.ones(4, 4)) == [[0, 1, 2, 3]]
    assert clusters(torch.eye(3)) == [[0], [1], [2]]


@pytest.mark.parametrize("seed", range(5))
def test_every_neuron_is_in_one_group(seed):
    rows = torch.randn(40, 3, generator=torch.Generator().manual_seed(seed))
    cosines = cosine_matrix(rows)
    groups = clusters(cosines)
    assert sorted(i for group in groups for i in group) == list(range(40))
    assert all(cosines[group[0], i] > 0.6 for group in groups for i in group[1:])


def test_numbers_beside_a_picture():
    rows = at(0, 5, 180, 90)
    cosines = cosine_matrix(rows)
    assert share_alike(cosines).item() == pytest.approx(3 / 6)
    assert most_alike(cosines).item() == pytest.approx(1.0)
    assert math.isnan(share_alike(torch.ones(1, 1)).item())
    assert effective_rank(torch.eye(7)).item() == pytest.approx(7)
    assert effective_rank(at(30, 30, 210)).item() == pytest.approx(1)
    both = torch.stack([rows, at(10, 20, 30, 40)])
    found, others = summary(both)
    assert found["rho"] == pytest.approx(weight_correlation(rows), rel=1e-12)
    assert others["rho"] == pytest.approx(weight_correlation(both[1]), rel=1e-12)
    assert (found["clusters"], others["clusters"]) == (3, 1)


def test_a_zero_neuron_is_left_out_of_rho():
    rows = at(0, 5, 180, 90)
    rows[1] = 0
    assert mean_cosine(cosine_matrix(rows)).item() == pytest.approx(weight_correlation(rows), rel=1e-12)
    assert math.isnan(mean_cosine(cosine_matrix(rows * torch.tensor([[1.0], [0], [0], [0]]))).item())


def test_biases_are_appended_to_neurons():
    layer = nn.Linear(3, 5)
    assert torch.equal(neurons(layer)[0], torch.cat([layer.weight, layer.bias[:, None]], 1).detach())
    assert neurons(nn.Linear(3, 5, bias=False)).shape == (1, 5, 3)
    assert neurons(nn.Conv2d(2, 4, 3)).shape == (1, 4, 2 * 9 + 1)
    several = Dense(2, 3, 5)
    nn.init.normal_(several.weight)
    nn.init.normal_(several.bias)
    for replica, rows in enumerate(neurons(several)):
        assert torch.equal(rows, torch.cat([several.weight[replica], several.bias[replica, :, None]], 1).detach())


def test_a_picture_of_many_neurons_shows_block_means() -> None:
    few = torch.rand(256, 256)
    assert torch.equal(thumbnail(few), few)
    many = torch.rand(600, 600)
    assert thumbnail(many).shape == (200, 200)
    assert float(thumbnail(many)[3, 7]) == pytest.approx(float(many[9:12, 21:24].mean()))
    odd = thumbnail(torch.rand(257, 257))  # the last block holds a single row
    assert odd.shape == (129, 129)


def test_the_rank_of_neurons_that_are_not_finite_is_nan() -> None:
    rows = torch.randn(3, 4, 2)
    rows[1, 0, 0] = torch.nan
    found = effective_rank(rows)
    assert found.isnan().tolist() == [False, True, False]
    assert torch.equal(found[::2], effective_rank(rows[::2]))
    assert math.isnan(summary(rows)[1]["effective_rank"])
