"""Triangle meshes: closed, positive, graded, irregular, reproducible; and what is refused."""

import pytest
import torch
from mesh_cases import box_mesh, cylinder_mesh

from kiti.pde.airfoil_flow import node_types
from kiti.pde.airfoil_mesh import airfoil_mesh, naca4_surface
from kiti.pde.triangles import FAR, INTERIOR, WALL, triangle_mesh

MESHES = {
    "0012": lambda: airfoil_mesh("0012"),
    "2412, finer": lambda: airfoil_mesh("2412", surface_size=0.04, growth=0.18, seed=5),
    "4406, thin": lambda: airfoil_mesh("4406", radius=15.0, seed=1),
    "6721, thick": lambda: airfoil_mesh("6721", surface_size=0.08, growth=0.3, radius=10.0, seed=2),
    "cylinder": lambda: cylinder_mesh(40),
    "box": lambda: box_mesh(2.0, 1.0, 12, 7, seed=3),
}
every_mesh = pytest.mark.parametrize("mesh", [pytest.param(make(), id=name) for name, make in MESHES.items()])
round_bodies = pytest.mark.parametrize(
    "mesh", [pytest.param(make(), id=name) for name, make in MESHES.items() if name != "box"]
)


def polygon_area(points):
    x, y = points.unbind(1)
    return (x * y.roll(-1) - y * x.roll(-1)).sum().abs() / 2


def angles(mesh):
    a, b, c = mesh.vertices[mesh.triangles].unbind(1)
    corners = []
    for at, one, other in ((a, b, c), (b, c, a), (c, a, b)):
        u, w = one - at, other - at
        corners.append(torch.rad2deg(torch.acos((u * w).sum(1) / (u.norm(dim=1) * w.norm(dim=1)))))
    return torch.stack(corners)


@every_mesh
def test_cells_are_closed(mesh):
    sides = (mesh.normals * mesh.lengths[:, None])[mesh.edges_of_cell] * mesh.outward[..., None]
    assert sides.sum(1).abs().max() < 1e-13
    torch.testing.assert_close(mesh.normals.norm(dim=1), torch.ones(len(mesh.tags), dtype=torch.float64))


@every_mesh
def test_normals_point_out_of_the_left_cell_and_into_the_right(mesh):
    from_left = mesh.midpoints - mesh.centroids[mesh.left_side // 3]
    assert ((from_left * mesh.normals).sum(1) > 0).all()
    inside = mesh.normals[mesh.tags == INTERIOR]
    to_right = mesh.centroids[mesh.right_side // 3] - mesh.midpoints[: len(mesh.right_side)]
    assert ((to_right * inside).sum(1) > 0).all()


@every_mesh
def test_divergence_theorem_for_linear_fields(mesh):
    """Σ x · n over a cell's edges is its area, likewise for y: areas, midpoints, lengths and signs are consistent."""
    through = mesh.midpoints * mesh.normals * mesh.lengths[:, None]
    outflow = (through[mesh.edges_of_cell] * mesh.outward[..., None]).sum(1)
    torch.testing.assert_close(outflow, mesh.areas[:, None].expand(-1, 2), rtol=1e-9, atol=1e-12)


@every_mesh
def test_edges_are_ordered_and_counted(mesh):
    assert (mesh.tags.diff() >= 0).all()
    assert len(mesh.right_side) == (mesh.tags == INTERIOR).sum()
    assert (mesh.tags[mesh.walls] == WALL).all()
    assert (mesh.tags[mesh.far] == FAR).all()
    assert mesh.far.stop == len(mesh.tags)
    holes = 1 if (mesh.tags == FAR).any() else 0
    assert len(mesh.vertices) - len(mesh.tags) + len(mesh.triangles) == 1 - holes  # Euler's formula


@every_mesh
def test_neighbours_share_a_corner(mesh):
    for cell in (0, len(mesh.triangles) // 2):
        shared = torch.isin(mesh.triangles, mesh.triangles[cell]).any(1)
        shared[cell] = False
        found = mesh.neighbours[cell]
        assert sorted(found[found != cell].tolist()) == shared.nonzero().ravel().tolist()


@every_mesh
def test_triangles_are_irregular_but_not_slivers(mesh):
    corners = angles(mesh)
    assert corners.min() > 14
    assert corners.max() < 140
    degrees = torch.bincount(mesh.triangles.ravel())[node_types(mesh) == 0]
    assert len(degrees.unique()) >= 3
    assert corners.std() > 8


@round_bodies
def test_the_boundary_is_the_surface_and_the_far_circle(mesh):
    types = node_types(mesh)
    far = mesh.vertices[types == 2]
    surface = mesh.vertices[types == 1]
    distance = (far - far.mean(0)).norm(dim=1)
    assert distance.min() > 9.9
    assert surface.abs().max() <= 1.0
    assert len(surface) == (mesh.tags == WALL).sum()  # one closed curve
    assert types.bincount().sum() == len(mesh.vertices)
    torch.testing.assert_close(mesh.areas.sum(), polygon_area(far) - polygon_area(surface), rtol=1e-12, atol=0)


@round_bodies
def test_edges_get_longer_away_from_the_surface(mesh):
    inside = mesh.tags == INTERIOR
    surface = mesh.midpoints[mesh.tags == WALL]
    distance = torch.cdist(mesh.midpoints[inside], surface).amin(1)
    lengths, near = mesh.lengths[inside], mesh.lengths[mesh.tags == WALL].mean()
    assert lengths[distance < 0.1].median() < 2 * near
    assert lengths[distance > 4].median() > 8 * near


def test_mesh_sizes_from_laptop_to_paper():
    found = [
        len(airfoil_mesh("0012", surface_size=size, growth=growth).vertices)
        for size, growth in ((0.1, 0.35), (0.06, 0.25), (0.04, 0.18))
    ]
    assert 200 < found[0] < 400 < found[1] < 800 < found[2] < 1500


@pytest.mark.slow
def test_a_mesh_of_the_papers_size():
    mesh = airfoil_mesh("0012", surface_size=0.02, growth=0.08)
    assert 4000 < len(mesh.vertices) < 6500
    assert angles(mesh).min() > 14


def test_equal_arguments_give_equal_meshes_and_seeds_different_ones():
    one, again, other = (airfoil_mesh("2412", seed=seed) for seed in (3, 3, 4))
    assert torch.equal(one.vertices, again.vertices)
    assert torch.equal(one.triangles, again.triangles)
    assert one.vertices.shape != other.vertices.shape or not torch.equal(one.vertices, other.vertices)


def test_surface_of_naca_0012_has_its_published_ordinates():
    """Abbott and von Doenhoff, Theory of Wing Sections, in % of the chord: ours differ by the closed trailing edge."""
    x, y = naca4_surface("0012", 0.005).unbind(1)
    for at, ordinate in ((0.05, 3.555), (0.1, 4.683), (0.3, 6.002), (0.5, 5.294), (0.8, 2.623)):
        upper, lower = (y[(x - at).abs().add((y * side < 0) * 1.0).argmin()] for side in (1, -1))
        assert 100 * upper == pytest.approx(ordinate, abs=0.06)
        assert 100 * lower == pytest.approx(-ordinate, abs=0.06)
    assert (x[0], y[0]) == (1, 0)


def test_camber_raises_the_middle():
    points = naca4_surface("4412", 0.005)
    count = len(points)
    lower, upper = points[1 : count // 2], points[count // 2 + 1 :].flip(0)
    middle = (lower + upper) / 2
    highest = middle[:, 1].argmax()
    assert middle[highest, 1] == pytest.approx(0.04, abs=1e-4)
    assert middle[highest, 0] == pytest.approx(0.4, abs=0.01)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: airfoil_mesh("12"), "four digits"),
        (lambda: airfoil_mesh("0000"), "thickness"),
        (lambda: airfoil_mesh("2012"), "camber"),
        (lambda: airfoil_mesh("0012", surface_size=0.5), "surface_size"),
        (lambda: airfoil_mesh("0012", growth=0.0), "growth"),
        (lambda: airfoil_mesh("0012", radius=1.0), "radius"),
        (lambda: cylinder_mesh(4), "8 points"),
        (lambda: box_mesh(1.0, 1.0, 4, 4, jitter=0.3), "jitter"),
    ],
)
def test_arguments_out_of_range_are_named(call, says):
    with pytest.raises(ValueError, match=says):
        call()


SQUARE = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("triangles", "tag", "says"),
    [
        ([[0, 1, 2], [0, 3, 2]], WALL, "clockwise"),
        ([[0, 1, 2], [0, 1, 2]], WALL, "belong to no triangle"),
        ([[0, 1, 2], [0, 2, 3], [0, 1, 3]], WALL, "overlap"),
        ([[0, 1, 2], [0, 2, 3], [0, 1, 2], [0, 1, 2]], WALL, "belongs to 4"),
        ([[0, 1, 2], [0, 2, 4]], WALL, "vertices 0 to 3"),
        ([[0, 1, 2], [0, 2, 3]], 7, "tagged"),
    ],
)
def test_invalid_meshes_are_refused(triangles, tag, says):
    with pytest.raises(ValueError, match=says):
        triangle_mesh(SQUARE, torch.tensor(triangles), lambda midpoints: torch.full((len(midpoints),), tag))


def test_a_square_of_two_triangles():
    mesh = triangle_mesh(SQUARE, torch.tensor([[0, 1, 2], [0, 2, 3]]), lambda m: torch.where(m[:, 0] > 0.9, FAR, WALL))
    assert mesh.areas.tolist() == [0.5, 0.5]
    assert mesh.tags.tolist() == [INTERIOR, WALL, WALL, WALL, FAR]
    assert mesh.normals[-1].tolist() == [1.0, 0.0]
    assert mesh.perimeters.tolist() == pytest.approx([2 + 2**0.5] * 2)
