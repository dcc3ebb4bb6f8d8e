"""Linear reconstruction on triangles: exact where possible, bounded and positive everywhere."""

import torch
from mesh_cases import box_mesh

from kiti.pde.airfoil_mesh import airfoil_mesh
from kiti.pde.reconstruction import LinearReconstruction


def test_linear_fields_are_reconstructed_exactly_up_to_the_boundary():
    mesh = airfoil_mesh("2412", surface_size=0.1, growth=0.35)

    def linear(points):
        return 5 + torch.einsum(
            "ni,iv->vn", points, torch.tensor([[0.1, -0.2, 0.3, 0.05], [0.2, 0.1, -0.3, 0.2]]).double()
        )

    reconstruction = LinearReconstruction(mesh)
    cells = linear(mesh.centroids)[..., None]
    left, right = reconstruction.sides(cells)
    torch.testing.assert_close(left[..., 0], linear(mesh.midpoints), rtol=0, atol=1e-12)
    torch.testing.assert_close(right[..., 0], linear(mesh.midpoints)[:, : len(mesh.right_side)], rtol=0, atol=1e-12)
    torch.testing.assert_close(reconstruction.at_vertices(cells)[..., 0], linear(mesh.vertices), rtol=0, atol=1e-12)


def test_reconstruction_creates_no_extrema_and_keeps_density_and_pressure_positive():
    mesh = box_mesh(1.0, 1.0, 12, 12)
    random = torch.Generator().manual_seed(0)
    q = 10 ** (6 * torch.rand(4, len(mesh.triangles), 3, generator=random, dtype=torch.float64) - 4)
    reconstruction = LinearReconstruction(mesh)
    left, right = reconstruction.sides(q)
    rounding = 1e-13 * q.max()
    inside = len(mesh.right_side)
    for values, sides in ((left[:, :inside], mesh.left_side[:inside]), (right, mesh.right_side)):
        cells = sides // 3
        near = torch.cat([q[:, mesh.neighbours[cells]], q[:, cells][:, :, None]], dim=2)
        assert (values <= near.amax(2) + rounding).all()
        assert (values >= near.amin(2) - rounding).all()
    assert (left[[0, 3]] > 0).all()
    assert (reconstruction.at_vertices(q)[[0, 3]] > 0).all()
