"""Exact extinction of cubes: against closed forms, its adjoint, and the operator along spherical rays."""

import astropy.units as u
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch.autograd import gradcheck, gradgradcheck

from gpdust.encoder.cube import CubeGrid
from gpdust.errors import EncoderError
from gpdust.grid import SphericalGrid
from gpdust.los import cube_extinction, cube_extinction_adjoint, integrate
from gpdust.los.cartesian import BATCH, cell_centres, extinction_at, extinction_at_adjoint

SIZES = [1, 2, 3, 4, 5, 8]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def random_points(cells: int, count: int = 40) -> np.ndarray:
    return np.random.default_rng(1).uniform(0, cells, (count, 3))


def from_sun(cells: int) -> np.ndarray:
    return cell_centres(cells) - [0, cells / 2, cells / 2]


def sampled(function, cells: int) -> torch.Tensor:
    """A density on the cells of a cube of side 1 pc, Sun in the centre of the near face; mean of 3³ points a cell."""
    offsets = (cell_centres(3) / 3 - 0.5)[:, None]
    return torch.from_numpy(function((from_sun(cells) + offsets) / cells).mean(axis=0).reshape((cells,) * 3))


@pytest.mark.parametrize("cells", SIZES)
def test_a_uniform_density_gives_density_times_distance(cells):
    density = torch.full((cells,) * 3, 2e-3, dtype=torch.float64)
    distance = 6 * np.linalg.norm(from_sun(cells), axis=1)
    assert_allclose(cube_extinction(density, 6.0).ravel(), 2e-3 * distance, rtol=1e-13)
    points = random_points(cells)
    distance = 6 * np.linalg.norm(points - [0, cells / 2, cells / 2], axis=1)
    assert_allclose(extinction_at(density, points, 6.0), 2e-3 * distance, rtol=1e-13)


@pytest.mark.parametrize("cells", [3, 4])
def test_path_lengths_agree_with_fine_steps_along_the_ray(cells):
    density, points, steps = random(cells, cells, cells).exp(), random_points(cells), 200_000
    sun = np.array([0, cells / 2, cells / 2])
    for point, found in zip(points[:5], extinction_at(density, points[:5], 1.0), strict=True):
        t = (np.arange(steps) + 0.5) / steps
        i, j, k = np.floor(sun + t[:, None] * (point - sun)).astype(int).T
        expected = density.numpy()[i, j, k].mean() * np.linalg.norm(point - sun)
        assert_allclose(found, expected, rtol=1e-4)


def errors_of(density, extinction) -> list[float]:
    """Root mean square error of the extinction at cell centres of cubes of 8, 16 and 32 cells.

    It falls as the cells' length to the power of 1.5: rays between two cells see one of them only.
    """
    return [
        float(np.std(cube_extinction(sampled(density, n), 1 / n).numpy().ravel() - extinction(from_sun(n) / n)))
        for n in (8, 16, 32)
    ]


def test_a_linear_density_converges_to_its_integral():
    slope = np.array([1.0, 0.5, -0.7])
    errors = errors_of(lambda r: 2 + r @ slope, lambda r: np.linalg.norm(r, axis=1) * (2 + r @ slope / 2))
    assert errors[0] < 0.011 and errors[1] < errors[0] / 2.3 and errors[2] < errors[1] / 2.3


def test_an_exponential_density_converges_to_its_integral():
    def extinction(r):
        return np.linalg.norm(r, axis=1) * (1 - np.exp(-3 * r[:, 0])) / (3 * r[:, 0])

    errors = errors_of(lambda r: np.exp(-3 * r[..., 0]), extinction)
    assert errors[0] < 0.011 and errors[1] < errors[0] / 2.3 and errors[2] < errors[1] / 2.3


def test_a_sphere_dims_by_the_chord_through_it():
    centre, radius, cells = np.array([0.5, 0.1, -0.05]), 0.25, 32
    density = sampled(lambda r: 1.0 * (np.linalg.norm(r - centre, axis=-1) < radius), cells)
    r = from_sun(cells) / cells
    distance = np.linalg.norm(r, axis=1)
    along = r @ centre / distance
    half = np.sqrt(np.maximum(radius**2 - (centre @ centre - along**2), 0))
    expected = np.clip(np.minimum(distance, along + half) - (along - half), 0, 2 * half)
    error = cube_extinction(density, 1 / cells).numpy().ravel() - expected
    assert error.std() < 0.01  # the rim is blurred by a cell, 0.03, and grazing rays run along it
    assert abs(error.mean()) < 2e-4


@pytest.mark.parametrize("cells", [2, 3, 4, 7])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_the_adjoint_is_the_adjoint(cells, dtype, tolerance):
    x, y = random(3, cells, cells, cells).exp().to(dtype), random(3, cells, cells, cells, seed=1).exp().to(dtype)
    left, right = (cube_extinction(x, 6.0) * y).sum(), (x * cube_extinction_adjoint(y, 6.0)).sum()
    assert left.dtype == dtype
    assert_allclose(left, right, rtol=tolerance)
    points = random_points(cells)
    y = random(3, len(points), seed=2).exp().to(dtype)
    left = (extinction_at(x, points, 6.0) * y).sum()
    right = (x * extinction_at_adjoint(y, points, cells, 6.0)).sum()
    assert_allclose(left, right, rtol=tolerance)


def test_derivatives_agree_with_finite_differences():
    x, points = random(2, 4, 4, 4).requires_grad_(), random_points(4, 7)
    assert gradcheck(lambda x: cube_extinction(x, 1.5), x)
    assert gradcheck(lambda x: extinction_at(x, points, 1.5), x)
    assert gradgradcheck(lambda x: extinction_at(x, points, 1.5) ** 2, x)


def test_every_cube_of_a_batch_is_treated_alone_and_other_dimensions_stay():
    x = random(BATCH + 3, 3, 3, 3)
    alone = torch.stack([cube_extinction(cube, 2.0) for cube in x])
    assert_allclose(cube_extinction(x, 2.0), alone, rtol=1e-13)
    assert cube_extinction(x[:6].reshape(2, 3, 3, 3, 3), 2.0).shape == (2, 3, 3, 3, 3)
    assert extinction_at(x[:6].reshape(2, 3, 3, 3, 3), random_points(3, 5), 2.0).shape == (2, 3, 5)
    assert extinction_at(x[0], random_points(3, 5), 2.0).shape == (5,)


def test_nothing_in_gives_nothing_out():
    assert cube_extinction(torch.zeros(0, 3, 3, 3), 2.0).shape == (0, 3, 3, 3)
    assert extinction_at(random(2, 3, 3, 3), np.zeros((0, 3)), 2.0).shape == (2, 0)
    assert_allclose(extinction_at_adjoint(torch.zeros(2, 0), np.zeros((0, 3)), 3, 2.0), np.zeros((2, 3, 3, 3)))


def test_single_precision_is_close_to_double_precision():
    x = random(2, 16, 16, 16).exp()
    single = cube_extinction(x.float(), 6.0)
    assert single.dtype == torch.float32
    assert_allclose(single, cube_extinction(x, 6.0), rtol=2e-6)


def test_a_ray_between_cells_is_shared_equally():
    x = random(4, 4, 4).exp()
    on_axis = extinction_at(x, np.array([[4.0, 2.0, 2.0]]), 1.0)
    assert_allclose(on_axis, x[:, 1:3, 1:3].mean((1, 2)).sum().reshape(1), rtol=1e-14)
    point = np.array([[3.0, 2.0, 3.3]])
    beside = [extinction_at(x, point + np.array([0, e, 0]), 1.0) for e in (-1e-9, 1e-9)]
    assert_allclose(extinction_at(x, point, 1.0), (beside[0] + beside[1]) / 2, rtol=1e-7)


def test_a_ray_along_an_axis_of_an_odd_cube_stays_in_the_middle_cells():
    x = random(3, 3, 3).exp()
    assert_allclose(extinction_at(x, np.array([[3.0, 1.5, 1.5]]), 1.0), x[:, 1, 1].sum().reshape(1), rtol=1e-14)


@pytest.mark.parametrize("step_y, step_z, j, k", [(1, 1, 2, 2), (1, -1, 2, 1), (-1, 1, 1, 2), (-1, -1, 1, 1)])
def test_a_ray_through_edges_goes_from_cell_to_cell_across_them(step_y, step_z, j, k):
    x = random(4, 4, 4).exp()
    found = extinction_at(x, np.array([[2.0, 2.0 + 2 * step_y, 2.0 + 2 * step_z]]), 1.0)
    assert_allclose(found, [np.sqrt(3) * (x[0, j, k] + x[1, j + step_y, k + step_z])], rtol=1e-14)


def test_faces_corners_and_the_sun_belong_to_the_cube():
    x = random(4, 4, 4).exp()
    corners = np.array([[i, j, k] for i in (0, 4) for j in (0, 4) for k in (0, 4)], dtype=float)
    found = extinction_at(x, np.vstack([[[0, 2, 2]], corners]), 1.0)
    assert found[0] == 0
    assert (found[1:] > 0).all() and torch.isfinite(found).all()
    assert_allclose(extinction_at(x, np.array([[0.0, 2.0, 4.0]]), 1.0), x[0, 1:3, 2:].mean(0).sum().reshape(1))


def test_what_is_no_cube_or_lies_outside_is_refused():
    x = random(4, 4, 4)
    for outside in (4.001, -0.001, np.nan):
        with pytest.raises(EncoderError, match="1 of 2 points lie outside the cube of 4 cells"):
            extinction_at(x, np.array([[1.0, 1.0, 1.0], [1.0, outside, 1.0]]), 1.0)
    with pytest.raises(EncoderError, match=r"shape \(m, 3\)"):
        extinction_at(x, np.ones(3), 1.0)
    with pytest.raises(EncoderError, match="not \\(4, 4, 3\\)"):
        cube_extinction(x[..., :3], 1.0)
    with pytest.raises(EncoderError, match="float32 or float64"):
        cube_extinction(x.half(), 1.0)


@pytest.mark.parametrize("kind, tolerance", [("cells", 2e-3), ("smooth", 1e-2)])
def test_it_agrees_with_the_operator_along_spherical_rays(kind, tolerance):
    """On 49 rays of 4000 cells each, beyond 50 pc: the same cells to 0.2 %, a smooth density on 64³ cells to 1 %."""
    cube = CubeGrid(64, 7.5, 150.0, -20.0)

    def density(points):
        return 1e-3 * np.exp(0.3 * np.sin(points / cube.cells * (3, 4, 5)).sum(axis=-1))

    offsets = (cell_centres(3) / 3 - 0.5)[:, None]
    values = density(cell_centres(cube.cells) + offsets).mean(axis=0).reshape(cube.shape)

    l_edges, b_edges = np.linspace(135, 165, 8) * u.deg, np.linspace(-35, -5, 8) * u.deg
    grid = SphericalGrid(l_edges, b_edges, np.linspace(0, 400, 4001) * u.pc)
    l, b, lengths = np.rad2deg(grid.ray_l)[:, None], np.rad2deg(grid.ray_b)[:, None], grid.cell_lengths
    points = cube.to_cube(l, b, grid.edges[1:] - lengths / 2)
    on_rays = density(points) if kind == "smooth" else values[tuple(np.moveaxis(points.astype(int), -1, 0))]
    spherical = integrate(torch.from_numpy(on_rays), torch.from_numpy(lengths))[:, 500::50]
    ends = cube.to_cube(l, b, grid.edges[501::50]).reshape(-1, 3)
    cartesian = extinction_at(torch.from_numpy(values), ends, cube.cell_length).reshape(spherical.shape)
    off_axis = np.abs(l - cube.l)[:, 0] > 1e-6  # rays in between two cells are shared here, and choose there
    off_axis &= np.abs(b - cube.b)[:, 0] > 1e-6
    assert_allclose(cartesian[off_axis], spherical[off_axis], rtol=tolerance)
