"""The calibration counts the pairs that the collision accepts."""

import pytest
import torch

from kiti.calibration.acceptance import Tap, acceptance
from kiti.calibration.calibration_report import comma_separated, draw, markdown, recommended
from kiti.collision.dispatch import collide_with_statistics

COEFFICIENTS = [0.1, 0.3, 0.5, 0.7, 0.9, 1.0]


@pytest.mark.parametrize("heads", [1, 2, 8])
def test_counts_match_the_collision(heads: int) -> None:
    torch.manual_seed(0)
    x, v = torch.randn(50, 32), torch.randn(50, 32)
    measured = acceptance((x, v), heads, COEFFICIENTS)
    for coefficient in COEFFICIENTS:
        _, collisions = collide_with_statistics(x, v, collision_heads=heads, coll_coef=coefficient)
        assert measured.partners(coefficient) == pytest.approx(float(collisions.partners), rel=1e-4, abs=1e-6)


def test_the_coefficient_for_one_pair_yields_one_pair() -> None:
    torch.manual_seed(1)
    x, v = torch.randn(100, 64), torch.randn(100, 64)
    one_pair = acceptance((x, v), 2, [0.5]).one_pair
    just_above = acceptance((x, v), 2, [one_pair + 1e-4]).pairs_per_system[one_pair + 1e-4]
    assert just_above == pytest.approx(1.0, abs=0.02)


def test_the_tap_sees_the_systems_and_changes_nothing() -> None:
    tap = Tap(system_axis=1)
    x, v = torch.randn(3, 4, 5), torch.randn(3, 4, 5)
    assert torch.equal(tap(x, v), x + v)
    assert not tap.systems
    tap.open = True
    assert torch.equal(tap(x, v), x + v)
    [(seen, _)] = tap.systems
    assert torch.equal(seen, x.transpose(1, 2).reshape(15, 4))
    tap.eval()(x, v)
    assert len(tap.systems) == 1


def test_the_report_gives_the_median_over_modules() -> None:
    torch.manual_seed(2)
    measured = {
        f"layers.{i}": [acceptance((torch.randn(40, 32), torch.randn(40, 32)), h, COEFFICIENTS) for h in (1, 4)]
        for i in range(3)
    }
    chosen = recommended(measured)
    assert chosen[4] == sorted(rows[1].one_pair for rows in measured.values())[1]
    assert f"`collision_heads=4 coll_coef={chosen[4]:.3g}`" in markdown(measured, "a test")
    assert len(comma_separated(measured).splitlines()) == 1 + 3 * 2 * len(COEFFICIENTS)
    pictures = draw(measured, "a test")
    assert pictures["png"].startswith(b"\x89PNG")
    assert b"<svg" in pictures["svg"][:2000]
