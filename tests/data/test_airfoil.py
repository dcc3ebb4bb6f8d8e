"""The two airfoil data sets: MeshGraphNets' files, and the generated flows that replace them."""

import json
from pathlib import Path

import pytest
import torch
from meshgraphnets_cases import META, trajectory, write

from kiti.configuration.compose import check_files, compose
from kiti.configuration.explain import ConfigError
from kiti.data import DataError
from kiti.data.airfoil import AirfoilData
from kiti.data.airfoil_euler import AirfoilEulerData
from kiti.pde.airfoil_flow import airfoil_flows

SMALL = {"surface_size": 0.12, "growth": 0.5, "radius": 6.0, "spacing": 0.2}


def silent(done: int, total: int) -> None:
    pass


def euler(folder: Path, **options) -> AirfoilEulerData:
    defaults = {"n_train": 3, "n_test": 2, "frames_in": 1, "frames_out": 2, "flows_per_airfoil": 2}
    return AirfoilEulerData(folder, **{**defaults, **SMALL, "batch_size": 3, "progress": silent, **options})


@pytest.fixture(scope="module")
def flows(tmp_path_factory) -> AirfoilEulerData:
    return euler(tmp_path_factory.mktemp("data"))


def test_meshgraphnets_files_become_batches(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text(json.dumps(META))
    write(tmp_path / "train.tfrecord", [trajectory(7, 4, 0), trajectory(5, 9, 1), trajectory(6, 9, 2)])
    write(tmp_path / "test.tfrecord", [trajectory(4, 4, 3)])
    data = AirfoilData(tmp_path, tmp_path / "cache", n_train=2, n_test=1)
    (given, target, positions, kind, mask), test, content = data.load()
    assert (given.shape, target.shape) == ((2, 4, 7, 4), (2, 21, 7, 4))
    assert mask.sum(1).tolist() == [7, 5]
    assert given[0, 3, 2].tolist() == pytest.approx([72002.1, 72002.2, 72002.3, 72002.4])  # frame 3 is raw frame 72
    assert target[0, 0, 2, 0].item() == pytest.approx(96002.1)
    assert set(kind[0].tolist()) <= {0, 1, 2}
    assert positions[1, 5:].abs().sum() == 0
    assert test[0].shape == (1, 4, 4, 4)
    assert data.stand_in is None
    (tmp_path / "train.tfrecord").unlink()
    assert AirfoilData(tmp_path, tmp_path / "cache", n_train=2, n_test=1).load()[2] == content, "from the cache"


def test_without_the_set_the_error_says_where_to_get_it(tmp_path: Path) -> None:
    composed = compose(["experiment=airfoil", f"data.path={tmp_path}"])  # a plan does not need the set
    with pytest.raises(DataError, match=r"contains no airfoil set; scripts/fetch_airfoil\.py downloads it") as error:
        check_files(composed)
    assert "\n" not in str(error.value)
    (tmp_path / "meta.json").touch()
    check_files(composed)


def test_generated_flows_are_labelled_as_a_substitute(flows: AirfoilEulerData) -> None:
    (given, target, positions, kind, mask), test, _content = flows.load()
    assert "MeshGraphNets" in flows.stand_in
    assert given.shape[:2] == (3, 1)
    assert target.shape[:2] == (3, 2)
    for sample in range(3):
        there = mask[sample]
        assert (given[sample, 0, there, 2] > 0).all()
        mach = given[sample, 0, there & (kind[sample] == 2), :2].norm(dim=1)
        assert mach.std() < 0.02, "the far boundary holds the free stream"
        assert 0.3 <= mach.mean() <= 0.85
        assert {0, 1, 2} == set(kind[sample, there].tolist())
        assert positions[sample, there & (kind[sample] == 1)].norm(dim=1).max() == pytest.approx(1, abs=0.02)
        assert positions[sample, ~there].abs().sum() == target[sample][:, ~there].abs().sum() == 0
        assert not torch.equal(target[sample, 0], target[sample, 1])
    assert test[0].shape[0] == 2


def test_flows_match_the_solver(flows: AirfoilEulerData) -> None:
    """Two flows share an airfoil; from its code, mesh and stream, the solver computes the same frames."""
    (given, target, positions, _kind, mask), _test, _content = flows.load()
    assert torch.equal(positions[0], positions[1])
    assert not torch.equal(positions[0], positions[2][: len(positions[0])])
    import numpy as np

    draw = np.random.default_rng([0, 0, 1])  # the third flow: the first of the second airfoil
    camber, place, thickness = draw.integers(0, 5), draw.integers(3, 6), draw.integers(8, 17)
    machs, degrees = draw.uniform(0.3, 0.85, 2), draw.uniform(-4, 8, 2)
    seed = int(draw.integers(2**31))
    mesh = {name: value for name, value in SMALL.items() if name != "spacing"}
    code = f"{camber}{place if camber else 0}{thickness:02d}"
    expected = airfoil_flows(code, machs.tolist(), degrees.tolist(), [0.2, 0.4, 0.6], seed=seed, **mesh)
    ours = torch.cat([given[2], target[2]])[:, mask[2]]
    torch.testing.assert_close(ours, expected.frames[0].float(), rtol=1e-5, atol=1e-6)


def test_fewer_flows_are_a_prefix_of_more(flows: AirfoilEulerData, tmp_path: Path) -> None:
    fewer = euler(tmp_path, n_train=1, n_test=1)
    for ours, more in zip(fewer.load()[0][:1], flows.load()[0][:1], strict=True):
        assert torch.equal(ours[0], more[0][:, : ours.shape[2]])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.mach=[0.8,0.3]", "mach=[0.8, 0.3]: the minimum comes first"),
        ("data.mach=[0,0.3]", "the Mach number must be positive"),
        ("data.surface_size=0.5", "surface_size=0.5: input should be less than or equal to 0.2"),
        ("model.width=30", "width=30 is not a multiple of 4"),
        ("model.t_in=3", "model.t_in=3 is not data.frames_in=4"),
    ],
)
def test_errors_name_the_problem(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        compose(["experiment=airfoil_euler", override])
    assert message in str(error.value)
