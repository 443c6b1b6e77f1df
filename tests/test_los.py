"""The line-of-sight operator and the extinction of stars."""

import astropy.units as u
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch.autograd import gradcheck

from gpdust.grid import SphericalGrid
from gpdust.los import StarPositions, adjoint, extinction_at, integrate, locate_stars

LENGTHS = torch.tensor([9.0, 0.5, 20.0, 3.0, 100.0], dtype=torch.float64)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5), (2, 3, 4, 5)])
def test_the_adjoint_is_the_adjoint(shape):
    x, y = random(*shape), random(*shape, seed=1)
    left = (integrate(x, LENGTHS) * y).sum((-1, -2))
    right = (x * adjoint(y, LENGTHS)).sum((-1, -2))
    assert_allclose(left, right, rtol=1e-12)


def test_the_operator_is_linear():
    x, y = random(3, 4, 5), random(3, 4, 5, seed=1)
    combined = integrate(2.5 * x - 7 * y, LENGTHS)
    assert_allclose(combined, 2.5 * integrate(x, LENGTHS) - 7 * integrate(y, LENGTHS), atol=1e-10)


def test_the_operator_is_a_running_sum_of_density_times_length():
    density = random(2, 4, 5).exp()
    expected = np.zeros((2, 4, 5))
    for k in range(5):
        expected[..., k] = sum(density[..., j].numpy() * float(LENGTHS[j]) for j in range(k + 1))
    assert_allclose(integrate(density, LENGTHS), expected, rtol=1e-14)


def test_derivatives_agree_with_finite_differences():
    assert gradcheck(lambda x: integrate(x, LENGTHS), random(2, 3, 5).requires_grad_())
    assert gradcheck(lambda x: adjoint(x, LENGTHS), random(2, 3, 5).requires_grad_())


def test_autograd_of_the_operator_is_its_adjoint():
    x, y = random(3, 4, 5).requires_grad_(), random(3, 4, 5, seed=1)
    (gradient,) = torch.autograd.grad(integrate(x, LENGTHS), x, y)
    assert_allclose(gradient, adjoint(y, LENGTHS), rtol=1e-13)


def test_single_precision_stays_single_precision():
    x = random(3, 4, 5)
    result = integrate(x.float(), LENGTHS.float())
    assert result.dtype == torch.float32
    assert_allclose(result, integrate(x, LENGTHS), rtol=1e-5, atol=1e-4)
    assert adjoint(x.float(), LENGTHS.float()).dtype == torch.float32


def nine_parsec_grid() -> SphericalGrid:
    return SphericalGrid([0, 10] * u.deg, [-5, 5] * u.deg, np.arange(0, 50, 9) * u.pc)


def stars_at(grid: SphericalGrid, distance: list[float]) -> StarPositions:
    distance = np.asarray(distance, dtype=float)
    return locate_stars(grid, np.full(len(distance), 5.0), np.zeros(len(distance)), distance)


@pytest.mark.parametrize("cell", range(5))
@pytest.mark.parametrize("fraction", [1 / 3, 0.5, 0.99])
def test_a_star_part_way_into_a_nine_parsec_cell_gets_that_part_of_its_extinction(cell, fraction):
    grid = nine_parsec_grid()
    density = random(1, 5).exp()
    extinction = integrate(density, torch.from_numpy(grid.cell_lengths))
    star = stars_at(grid, [9 * (cell + fraction)])
    expected = 9 * (density[0, :cell].sum() + fraction * density[0, cell])
    assert_allclose(extinction_at(extinction, star), [expected], rtol=1e-13)


def test_extinction_is_exact_at_edges_and_zero_at_the_near_end():
    grid = nine_parsec_grid()
    extinction = integrate(random(3, 1, 5).exp(), torch.from_numpy(grid.cell_lengths))
    at_edges = extinction_at(extinction, stars_at(grid, grid.edges))
    assert_allclose(at_edges[:, 0], 0)
    assert_allclose(at_edges[:, 1:], extinction[:, 0], rtol=1e-14)


def test_a_uniform_density_gives_density_times_distance():
    grid = SphericalGrid([0, 10] * u.deg, [-5, 5] * u.deg, [0, 3, 3.5, 40, 90] * u.pc)
    extinction = integrate(torch.full((1, 4), 2e-3, dtype=torch.float64), torch.from_numpy(grid.cell_lengths))
    distance = np.random.default_rng(0).uniform(0, 90, 50)
    assert_allclose(extinction_at(extinction, stars_at(grid, distance)), 2e-3 * distance, rtol=1e-12)


def test_extinction_of_stars_has_exact_derivatives_and_keeps_its_dtype():
    grid = nine_parsec_grid()
    stars = stars_at(grid, [0, 4, 9, 20, 45])
    assert gradcheck(lambda x: extinction_at(x, stars), random(2, 1, 5).requires_grad_())
    assert extinction_at(random(1, 5).float(), stars).dtype == torch.float32


def test_positions_can_be_chosen_from():
    stars = stars_at(nine_parsec_grid(), [1, 60, 30])
    chosen = stars[stars.inside]
    assert_allclose(chosen.cell, [0, 3])
    assert_allclose(chosen.fraction, [1 / 9, 1 / 3])
