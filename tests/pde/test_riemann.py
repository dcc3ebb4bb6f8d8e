"""The exact Riemann solution against published values and the conservation laws; HLLC against what it must preserve."""

import pytest
import torch
from exact_riemann import exact_riemann, star_state

from kiti.pde.ideal_gas import GAMMA, free_stream, to_conserved, to_primitive
from kiti.pde.riemann import hllc, wall_pressure

# Toro, Riemann Solvers and Numerical Methods for Fluid Dynamics, 3rd edition, tables 4.1 to 4.3:
# left, right, p*, u*, density left and right of the contact.
TORO = [
    ((1.0, 0.0, 1.0), (0.125, 0.0, 0.1), 0.30313, 0.92745, 0.42632, 0.26557),
    ((1.0, -2.0, 0.4), (1.0, 2.0, 0.4), 0.00189, 0.0, 0.02185, 0.02185),
    ((1.0, 0.0, 1000.0), (1.0, 0.0, 0.01), 460.894, 19.5975, 0.57506, 5.99924),
    ((1.0, 0.0, 0.01), (1.0, 0.0, 100.0), 46.0950, -6.19633, 5.99242, 0.57511),
    ((5.99924, 19.5975, 460.894), (5.99242, -6.19633, 46.0950), 1691.64, 8.68975, 14.2823, 31.0426),
]


def random_states(count, seed):
    random = torch.Generator().manual_seed(seed)
    rho, p = torch.rand(2, count, generator=random, dtype=torch.float64) + 0.2
    u, v = 4 * torch.rand(2, count, generator=random, dtype=torch.float64) - 2
    return torch.stack([rho, u, v, p], dim=-1)


def unit_normals(count):
    angle = torch.linspace(0, 6, count, dtype=torch.float64)
    return torch.stack([angle.cos(), angle.sin()], dim=-1)


def flux(q, normal):
    rho, u, v, p = q.unbind(-1)
    nx, ny = normal.unbind(-1)
    un, energy = u * nx + v * ny, to_conserved(q)[..., 3]
    return torch.stack([rho * un, rho * un * u + p * nx, rho * un * v + p * ny, un * (energy + p)], dim=-1)


@pytest.mark.parametrize(("left", "right", "p", "u", "rho_left", "rho_right"), TORO)
def test_star_states_match_toros_tests(left, right, p, u, rho_left, rho_right):
    found_p, found_u = star_state(left, right)
    assert found_p == pytest.approx(p, rel=1e-5, abs=6e-6)
    assert found_u == pytest.approx(u, rel=1e-5, abs=6e-6)
    beside = torch.tensor([found_u - 1e-6, found_u + 1e-6], dtype=torch.float64)
    density = exact_riemann(left, right, beside)[:, 0]
    assert density[0] == pytest.approx(rho_left, rel=1e-5, abs=6e-6)
    assert density[1] == pytest.approx(rho_right, rel=1e-5, abs=6e-6)


@pytest.mark.parametrize(("left", "right"), [test[:2] for test in TORO])
def test_the_waves_contain_what_flowed_in(left, right):
    """At t = 1 the content of (−L, L) is the initial one plus F(left) − F(right)."""
    half = 60.0
    n = 400_000
    speed = (torch.arange(n, dtype=torch.float64) + 0.5) * (2 * half / n) - half
    rho, u, p = exact_riemann(left, right, speed).unbind(-1)

    def conserved(q):
        return to_conserved(torch.stack([q[0], q[1], torch.zeros_like(q[0]), q[2]], dim=-1))[..., [0, 1, 3]]

    content = conserved((rho, u, p)).mean(0) * 2 * half
    first, second = (torch.tensor([[rho, u, 0.0, p]], dtype=torch.float64) for rho, u, p in (left, right))
    x = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    expected = half * (to_conserved(first) + to_conserved(second)) + flux(first, x) - flux(second, x)
    scale = half * (to_conserved(first) + to_conserved(second))[0, [0, 3, 3]]
    assert ((content - expected[0, [0, 1, 3]]) / scale).abs().max() < 1e-4


def test_a_vacuum_and_negative_pressure_are_refused():
    with pytest.raises(ValueError, match="vacuum"):
        star_state((1.0, -20.0, 1.0), (1.0, 20.0, 1.0))
    with pytest.raises(ValueError, match="positive"):
        star_state((1.0, 0.0, -1.0), (1.0, 0.0, 1.0))


def test_variables_round_trip():
    q = random_states(50, 0)
    torch.testing.assert_close(to_primitive(to_conserved(q)), q, rtol=1e-13, atol=1e-13)


def test_free_stream_has_its_mach_number_and_angle():
    rho, u, v, p = free_stream(torch.tensor([0.5, 0.8]).double(), torch.tensor([0.0, 30.0]).double()).unbind(-1)
    torch.testing.assert_close(torch.hypot(u, v) / (GAMMA * p / rho).sqrt(), torch.tensor([0.5, 0.8]).double())
    torch.testing.assert_close(v / u, torch.tensor([0.0, 3**-0.5], dtype=torch.float64))


def test_hllc_of_equal_states_is_the_flux():
    q, normal = random_states(200, 1), unit_normals(200)
    torch.testing.assert_close(hllc(q, q, normal), flux(q, normal), rtol=1e-13, atol=1e-13)


def test_hllc_changes_sign_from_the_other_side():
    left, right, normal = random_states(200, 2), random_states(200, 3), unit_normals(200)
    torch.testing.assert_close(hllc(left, right, normal), -hllc(right, left, -normal), rtol=1e-12, atol=1e-12)


def test_hllc_rotates_with_its_normal():
    left, right, normal = random_states(200, 4), random_states(200, 5), unit_normals(200)
    nx, ny = normal.unbind(-1)

    def along(q):
        rho, u, v, p = q.unbind(-1)
        return torch.stack([rho, u * nx + v * ny, -u * ny + v * nx, p], dim=-1)

    turned = hllc(along(left), along(right), torch.tensor([1.0, 0.0], dtype=torch.float64))
    torch.testing.assert_close(along(hllc(left, right, normal)), turned, rtol=1e-12, atol=1e-12)


def test_contacts_and_shears_at_rest_have_no_flux_but_pressure():
    normal = unit_normals(50)
    nx, ny = normal.unbind(-1)

    def slip(rho, speed):
        return torch.stack([torch.full_like(nx, rho), -speed * ny, speed * nx, torch.full_like(nx, 0.7)], dim=-1)

    zero = torch.zeros_like(nx)
    expected = torch.stack([zero, 0.7 * nx, 0.7 * ny, zero], dim=-1)
    torch.testing.assert_close(hllc(slip(1.0, 0.3), slip(9.0, -2.0), normal), expected, rtol=0, atol=1e-14)


def test_a_moving_contact_is_upwinded():
    x = torch.tensor([1.0, 0.0], dtype=torch.float64)
    left = torch.tensor([1.0, 0.3, 0.5, 0.7], dtype=torch.float64)
    right = torch.tensor([9.0, 0.3, -2.0, 0.7], dtype=torch.float64)
    torch.testing.assert_close(hllc(left, right, x), flux(left, x), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("mach", [1.5, 3.0])
@pytest.mark.parametrize("moving", [-0.4, 0.0, 0.4])
def test_a_single_shock_is_preserved(mach, moving):
    """Roe's average makes it a single wave, whose flux at rest is that of the side at x = 0.

    Rankine-Hugoniot, for a shock moving at `moving` into gas of speed `mach` relative to it.
    """
    density = (GAMMA + 1) * mach**2 / ((GAMMA - 1) * mach**2 + 2)
    pressure = 1 + 2 * GAMMA / (GAMMA + 1) * (mach**2 - 1)
    left = torch.tensor([1.0, mach + moving, 0.0, 1 / GAMMA], dtype=torch.float64)
    right = torch.tensor([density, mach / density + moving, 0.0, pressure / GAMMA], dtype=torch.float64)
    x = torch.tensor([1.0, 0.0], dtype=torch.float64)
    here = left if moving >= 0 else right
    torch.testing.assert_close(hllc(left, right, x), flux(here, x), rtol=1e-13, atol=1e-13)
    mirror = torch.tensor([1.0, -1.0, 1.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(hllc(right * mirror, left * mirror, x), flux(here * mirror, x), rtol=1e-13, atol=1e-13)


def test_supersonic_flux_is_the_upwind_flux():
    x = torch.tensor([1.0, 0.0], dtype=torch.float64)
    left = torch.tensor([1.0, 3.0, 0.2, 0.8], dtype=torch.float64)
    right = torch.tensor([0.8, 3.2, -0.1, 0.9], dtype=torch.float64)
    torch.testing.assert_close(hllc(left, right, x), flux(left, x), rtol=1e-14, atol=0)
    mirror = torch.tensor([1.0, -1.0, 1.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(hllc(left * mirror, right * mirror, x), flux(right * mirror, x), rtol=1e-14, atol=0)


@pytest.mark.parametrize("into_wall", [-1.5, -0.2, 0.0, 0.2, 2.0])
def test_wall_pressure_is_exact_for_the_mirrored_state(into_wall):
    rho, p = 0.9, 0.6
    expected, at_rest = star_state((rho, into_wall, p), (rho, -into_wall, p))
    assert at_rest == pytest.approx(0, abs=1e-12)
    found = wall_pressure(*(torch.tensor(value, dtype=torch.float64) for value in (rho, into_wall, p)))
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_wall_pressure_of_a_vacuum_is_zero():
    found = wall_pressure(*(torch.tensor(value, dtype=torch.float64) for value in (1.0, -20.0, 1.0)))
    assert found.item() == 0
