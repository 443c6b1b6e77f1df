"""Non-negative forward substitution: extinction of a cube to density, cell after cell."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from gpdust.encoder.neighbours import HIGHEST_INFORMATION, SMALLEST_VARIANCE
from gpdust.encoder.substitution import forward_substitution
from gpdust.errors import EncoderError
from gpdust.los.cartesian import cell_centres, cube_extinction
from gpdust.simulate.cubes import RECIPES

EXACT = HIGHEST_INFORMATION


@pytest.fixture
def density() -> torch.Tensor:
    """Three small Lévy cubes, two thirds empty, float64."""
    cubes = [RECIPES["small-region"].simulate(np.random.default_rng(seed), 8) for seed in range(3)]
    return torch.from_numpy(np.stack(cubes)).double()


@pytest.mark.parametrize("cells", [1, 2, 5, 8])
def test_exact_extinction_gives_the_density_back(cells):
    density = torch.from_numpy(np.random.default_rng(0).uniform(0, 0.01, (2,) + (cells,) * 3))
    extinction = cube_extinction(density, 6.0)
    found = forward_substitution(extinction, torch.full_like(extinction, EXACT), 6.0)
    assert_allclose(found, density, rtol=1e-7)


def test_rays_go_through_nearer_cells_only():
    """What makes the equations triangular: the extinction of a cell knows nothing of those farther from the Sun."""
    cells = 6
    distance = np.linalg.norm(cell_centres(cells) - (0, cells / 2, cells / 2), axis=1)
    unit = torch.eye(cells**3, dtype=torch.float64).reshape(-1, cells, cells, cells)
    matrix = cube_extinction(unit, 1.0).reshape(cells**3, -1).T.numpy()  # of extinctions by densities
    behind, before = np.nonzero(matrix)
    assert np.all((distance[before] < distance[behind]) | (before == behind))
    assert np.all(matrix.diagonal() > 0)


def test_rounding_does_not_grow_where_no_density_is_negative():
    density = np.stack([RECIPES["small-region"].simulate(np.random.default_rng(seed)) for seed in range(2)])
    extinction = cube_extinction(torch.from_numpy(density), 6.0).float()
    found = forward_substitution(extinction, torch.full_like(extinction, EXACT), 6.0)
    assert found.dtype == torch.float32
    assert float((found - torch.from_numpy(density)).std()) < 0.05 * density.std()


def test_a_variance_draws_a_cell_towards_zero(density):
    """One cell: the mean of a Gaussian about zero, as wide as the mean density, given one measurement."""
    extinction, variance, length = 0.3, 0.04, 6.0
    known = torch.full((1, 1, 1), 1 / (variance + SMALLEST_VARIANCE), dtype=torch.float64)
    found = forward_substitution(torch.full_like(known, extinction), known, length)
    path = length / 2
    typical = extinction / path
    expected = path * typical**2 / (path**2 * typical**2 + variance) * extinction
    assert float(found) == pytest.approx(expected, rel=1e-6)


def test_cells_of_which_nothing_is_known_are_empty_and_do_no_harm(density):
    extinction = cube_extinction(density, 6.0)
    known = torch.full_like(extinction, EXACT)
    extinction[:, -1], known[:, -1] = torch.rand(extinction[:, -1].shape, dtype=torch.float64), 0.0
    found = forward_substitution(extinction, known, 6.0)
    assert_allclose(found[:, -1], 0)
    nearer = np.linalg.norm(cell_centres(8) - (0, 4, 4), axis=1).reshape((8,) * 3) < 7
    assert_allclose(found[:, nearer], density[:, nearer], rtol=1e-6, atol=1e-9)


def test_only_extinction_counts_not_the_length_of_a_cell(density):
    extinction = cube_extinction(density, 6.0)
    known = torch.rand_like(extinction) * 100
    found = forward_substitution(extinction, known, 6.0)
    assert_allclose(forward_substitution(extinction, known, 60.0), found / 10)
    assert_allclose(forward_substitution(extinction[1], known[1], 6.0), found[1])


def test_noise_leaves_no_negative_density_nor_any_that_is_no_number(density):
    extinction = cube_extinction(density, 6.0)
    noisy = extinction + 0.1 * torch.randn(extinction.shape, generator=torch.Generator().manual_seed(0))
    for extinction in (noisy, -noisy, torch.zeros_like(noisy)):
        found = forward_substitution(extinction, torch.full_like(noisy, 100.0), 6.0)
        assert torch.isfinite(found).all()
        assert (found >= 0).all()


def test_cubes_of_different_shapes_are_refused():
    with pytest.raises(EncoderError, match="cubes of one shape"):
        forward_substitution(torch.zeros(2, 2, 2), torch.zeros(1, 2, 2, 2), 6.0)
    with pytest.raises(EncoderError, match="cubes of one shape"):
        forward_substitution(torch.zeros(2, 2, 3), torch.zeros(2, 2, 3), 6.0)
