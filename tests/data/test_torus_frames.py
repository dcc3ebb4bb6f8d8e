"""Frames on the torus as data: inputs, targets, resolution, and the cache key."""

import pytest
import torch

from kiti.data.burgers import BurgersData
from kiti.data.generated import stream
from kiti.data.heat import HeatData
from kiti.data.navier_stokes import NavierStokesData
from kiti.pde.heat_solver import heat_source, solve_heat
from kiti.pde.navier_stokes_solver import INITIAL_VORTICITY, paper_forcing, solve_navier_stokes

KINDS = [NavierStokesData, HeatData]
SMALL = {
    "n_train": 3, "n_test": 2, "grid": 32, "resolution": 8, "test_resolution": 16, "frames_in": 2, "frames_out": 3,
    "batch_size": 2, "progress": lambda _done, _total: None,
}  # fmt: skip


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


def test_frames_are_solver_states_at_integer_times(kind, tmp_path):
    data = kind(data_dir=tmp_path, **SMALL)
    (given, target), (test_given, test_target), _ = data.load()
    assert (given.shape, target.shape) == ((3, 2, 8, 8), (3, 3, 8, 8))
    assert (test_given.shape, test_target.shape) == ((2, 2, 16, 16), (2, 3, 16, 16))
    w0 = INITIAL_VORTICITY.sample(32, (0, 0), range(3))
    times = [1.0, 2.0, 3.0, 4.0, 5.0]
    if kind is HeatData:
        expected = solve_heat(w0, 1e-4, times, heat_source("boundary", 32))
    else:
        expected = solve_navier_stokes(w0, 1e-3, times, paper_forcing(32))
    torch.testing.assert_close(torch.cat([given, target], 1), expected[:, :, ::4, ::4].float())


def test_train_and_test_functions_differ(kind, tmp_path):
    (train, _), (test, _), _ = kind(data_dir=tmp_path, **SMALL).load()
    assert (train[:2, 0] - test[:, 0, ::2, ::2]).abs().min() > 0


def test_fewer_samples_are_a_prefix_of_more(kind, tmp_path):
    more, fewer = (kind(data_dir=tmp_path, **{**SMALL, "n_train": n}).load()[0][1] for n in (3, 2))
    torch.testing.assert_close(more[:2], fewer, rtol=1e-5, atol=1e-7)  # NS: samples solved together share time steps


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (NavierStokesData, {"viscosity": 2e-3}),
        (NavierStokesData, {"grid": 64}),
        (HeatData, {"diffusivity": 2e-4}),
        (HeatData, {"source": "uniform"}),
        (HeatData, {"source_width": 0.02}),
        (HeatData, {"data_seed": 1}),
        (HeatData, {"frames_out": 4}),
    ],
)
def test_what_changes_the_frames_changes_the_recipe(kind, change, tmp_path):
    one, other = (kind(data_dir=tmp_path, **{**SMALL, **changed}) for changed in ({}, change))
    assert one.recipe_fingerprint != other.recipe_fingerprint
    assert one.recipe_fingerprint == kind(data_dir="elsewhere", **{**SMALL, "batch_size": 1}).recipe_fingerprint


def test_the_width_of_the_source_reaches_the_solver(tmp_path):
    target = HeatData(data_dir=tmp_path, source_width=0.1, **SMALL).load()[0][1]
    w0 = INITIAL_VORTICITY.sample(32, (0, 0), range(3))
    expected = solve_heat(w0, 1e-4, [5.0], heat_source("boundary", 32, 0.1))
    torch.testing.assert_close(target[:, -1], expected[:, 0, ::4, ::4].float())


@pytest.mark.parametrize("kind", [BurgersData, *KINDS])
def test_drawn_per_seed_each_seed_has_its_own_samples(kind, tmp_path):
    frames = {"frames_in", "frames_out"} if kind is BurgersData else set()
    small = {key: value for key, value in SMALL.items() if key not in frames}
    sets = {}
    for draw, seed in (("fixed", 0), ("fixed", 1), ("per_seed", 0), ("per_seed", 1)):
        data = kind(data_dir=tmp_path, **small, draw=draw, seed=seed)
        train, test, _ = data.load()
        first = [float(one.flatten()[0]) for one in (*train[0], *test[0])]
        sets[draw, seed] = (first, data.recipe_fingerprint)
    assert sets["fixed", 0] == sets["fixed", 1]
    drawn = [sets[key] for key in (("fixed", 0), ("per_seed", 0), ("per_seed", 1))]
    assert len({recipe for _, recipe in drawn}) == 3
    assert len({first for firsts, _ in drawn for first in firsts}) == 3 * 5, "no sample is in two sets"


def test_a_fixed_draw_has_the_recipe_it_always_had(tmp_path):
    """Recipes are in the records of finished runs."""
    assert stream("fixed", 3, 7, "train") == [3, 0]
    assert stream("fixed", 3, 7, "test") == [3, 1]
    assert (stream("per_seed", 3, 7, "train"), stream("per_seed", 3, 7, "test")) == ([3, 2, 7], [3, 3, 7])
    with pytest.raises(ValueError, match="draw='each': must be one of 'fixed', 'per_seed'"):
        stream("each", 3, 7, "train")


def test_a_resolution_that_does_not_divide_is_named(kind, tmp_path):
    with pytest.raises(ValueError, match="grid 32 is not a multiple of resolution 12"):
        kind(data_dir=tmp_path, **{**SMALL, "test_resolution": 12})


def test_a_solution_that_depends_on_the_step_size_is_rejected(tmp_path):
    data = NavierStokesData(data_dir=tmp_path, tolerance=1e-15, **SMALL)
    with pytest.raises(FloatingPointError, match="tolerance=1e-15: use a finer grid"):
        data.load()
    assert not list(tmp_path.glob("*/*/data.safetensors"))
