"""Every family on two and on four gloo processes: equal replicas, exact test metrics, the gradients of one process.

BatchNorm is frozen where numbers of processes are compared: torch synchronises it on GPUs only.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ddp_cases
import pytest
import torch

from kiti.data.fashion_mnist import FashionMNISTData
from kiti.training import building

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
COLLIDING = [(family, switches) for family in ddp_cases.FAMILIES for switches in ("soft", "hard")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where all processes find their data; this one has the generated pictures too."""
    place = tmp_path_factory.mktemp("ddp")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(FashionMNISTData, "read", FashionMNISTData.read)  # to be restored
        ddp_cases.prepare(place)
        building.hush_lightning()
        yield place


@pytest.fixture(scope="module", params=[2, 4])
def ranks(request: pytest.FixtureRequest, folder: Path) -> list[dict[str, Any]]:
    """What each rank of one launch has, by '<family>-<switches>'."""
    command = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={request.param}"]
    done = subprocess.run(
        [sys.executable, *command, str(ROOT / "tests/cases/ddp_cases.py"), str(folder)],
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests/cases'}", "OMP_NUM_THREADS": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(folder / f"{request.param}-{rank}.pt") for rank in range(request.param)]


@pytest.fixture(scope="module")
def alone(folder: Path) -> dict[str, ddp_cases.Outcome]:
    """The runs without collisions in this process, by family."""
    return {family: ddp_cases.run(family, ddp_cases.PLAIN, folder) for family in ddp_cases.FAMILIES}


@pytest.mark.parametrize(("family", "switches"), COLLIDING)
def test_replicas_have_the_same_bits_after_fifty_steps(family: str, switches: str, ranks: list[dict[str, Any]]) -> None:
    first, *others = (of_rank[f"{family}-{switches}"] for of_rank in ranks)
    assert first["steps"] >= 50
    for other in others:
        for part in ("trained", "state"):
            assert first[part].keys() == other[part].keys()
            differing = [name for name, tensor in first[part].items() if not torch.equal(tensor, other[part][name])]
            assert differing == [], part
        assert first["metrics"] == other["metrics"]
        for ours, theirs in zip(first["of_replica"], other["of_replica"], strict=True):
            # Each rank measures distances, and from them Knudsen numbers, on its own share of a batch.
            shared = {name for name in ours if not name.startswith(("distance_", "knudsen/"))}
            assert {n: ours[n] for n in shared} == pytest.approx({n: theirs[n] for n in shared}, nan_ok=True)


@pytest.mark.parametrize(("family", "switches"), COLLIDING)
def test_features_collide_differently_on_each_rank(family: str, switches: str, ranks: list[dict[str, Any]]) -> None:
    of_ranks = [of_rank[f"{family}-{switches}"]["joined"] for of_rank in ranks]
    assert of_ranks[0]
    for name in of_ranks[0]:
        seen = {json.dumps(joined[name].tolist()) for joined in of_ranks}
        assert len(seen) == len(ranks), name


@pytest.mark.parametrize(("family", "switches"), COLLIDING)
def test_metrics_are_those_of_one_process_with_the_same_weights(
    family: str, switches: str, ranks: list[dict[str, Any]], folder: Path
) -> None:
    outcome = ranks[0][f"{family}-{switches}"]
    expected = ddp_cases.evaluated(family, switches, folder, outcome["state"])
    found = outcome["metrics"] | ddp_cases.of_each(outcome["of_replica"])
    assert {name for name in expected if name.startswith("test/")}
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("family", ddp_cases.FAMILIES)
def test_several_processes_train_as_one(
    family: str, ranks: list[dict[str, Any]], alone: dict[str, ddp_cases.Outcome]
) -> None:
    expected, outcomes = alone[family], [of_rank[f"{family}-{ddp_cases.PLAIN}"] for of_rank in ranks]
    held = [sum(step) for step in zip(*(outcome["samples"] for outcome in outcomes), strict=True)]
    assert held == expected.samples
    if family != "mixed":  # whose data drop the last, partial batch
        assert any(len(set(step)) > 1 for step in zip(*(outcome["samples"] for outcome in outcomes), strict=True))
    assert outcomes[0]["steps"] == expected.steps
    assert outcomes[0]["loss"] == pytest.approx(expected.loss, rel=1e-6)  # torchmetrics sums in float32
    for name, tensor in expected.trained.items():
        torch.testing.assert_close(outcomes[0]["trained"][name], tensor, rtol=1e-9, atol=1e-12, msg=name)
