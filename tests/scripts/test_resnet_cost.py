"""The cost of ResNets is counted correctly, and the committed table matches the count."""

from pathlib import Path

import pytest
from script_cases import script

from kiti.report.sheets import EXPERIMENTS

COST = script("resnet_cost")
VANILLA, DIT, *_ = COST.NETWORKS
KITI = {network.detail: network for network in COST.NETWORKS if network.row == "kiti"}


@pytest.mark.parametrize(
    ("depth", "imagenet", "cifar"),
    [(34, 74.765, 1159.402), (50, 83.431, 1297.830), (101, 159.191, 2509.984), (152, 234.951, 3722.138)],
)
def test_macs_match_the_formulas(depth: int, imagenet: float, cifar: float) -> None:
    """Reading A13, which calculates it layer by layer from kernel, channels and positions."""
    for stem, expected in {"imagenet": imagenet, "cifar": cifar}.items():
        assert round(COST.cost(depth, stem, VANILLA).inference / 1e6, 3) == expected


@pytest.mark.parametrize(("depth", "d"), [(34, 512), (50, 2048)])
@pytest.mark.parametrize(("stem", "positions"), [("imagenet", 1), ("cifar", 16)])
def test_collisions_cost_only_in_training(depth: int, d: int, stem: str, positions: int) -> None:
    plain = COST.cost(depth, stem, VANILLA)
    costs = {detail: COST.cost(depth, stem, network) for detail, network in KITI.items()}
    assert {detail: cost.collisions for detail, cost in costs.items()} == {
        "blocks=last, collision_heads=2": positions * d**2 // 2,
        "blocks=identity, collision_heads=4": positions * d**2 // 2,
        "blocks=all, collision_heads=4": positions * 3 * d**2 // 4,
    }
    assert {(cost.parameters, cost.inference) for cost in costs.values()} == {(plain.parameters, plain.inference)}


@pytest.mark.parametrize(("depth", "side"), [(34, 1), (50, 2)])  # of the input of conv2, with the ImageNet stem
def test_quadratic_forms_cost_as_much_as_the_outer_product_matrix(depth: int, side: int) -> None:
    plain, dit = COST.cost(depth, "imagenet", VANILLA), COST.cost(depth, "imagenet", DIT)
    assert dit.inference - plain.inference == 512**3
    assert dit.parameters - plain.parameters == 512**3 + 2 * side**2


@pytest.mark.slow
def test_the_committed_table_matches_the_count(tmp_path: Path) -> None:
    COST.main(["--into", str(tmp_path)])
    assert (tmp_path / "cost.md").read_text() == (EXPERIMENTS / "kitinet" / "outputs" / "cost.md").read_text()
