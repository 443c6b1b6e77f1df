"""Coarse grids, and the statistics of the stars on them."""

import astropy.units as u
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

import gpdust
from gpdust.grid.coarsen import coarsen
from gpdust.likelihood import ExtinctionStatistics
from gpdust.los import integrate, locate_stars

SKY = gpdust.Region((0, 360) * u.deg, (-90, 90) * u.deg, (0, 200) * u.pc)
PATCH = gpdust.Region((50, 90) * u.deg, (-10, 10) * u.deg, (180, 300) * u.pc, foreground_cells=3, background=40 * u.pc)
GRIDS = {
    "patch": PATCH.grid((6, 5, 12)),
    "logarithmic": PATCH.grid((4, 4, 15), distance_spacing="log"),
    "healpix": PATCH.healpix_grid(16, 12),
    "whole sky": SKY.grid((12, 8, 10)),
    "one ray": PATCH.grid((1, 1, 40)),
}


@pytest.fixture(params=GRIDS)
def grid(request):
    return GRIDS[request.param]


def statistics_of(grid, count: int = 400, seed: int = 0) -> ExtinctionStatistics:
    rng = np.random.default_rng(seed)
    rays = rng.integers(0, grid.n_rays, count)
    distance = rng.uniform(grid.edges[0], grid.edges[-1], count)
    stars = locate_stars(grid, np.rad2deg(grid.ray_l[rays]), np.rad2deg(grid.ray_b[rays]), distance)
    assert stars.inside.all()
    error = 10 ** rng.uniform(-3, 0, count)
    return ExtinctionStatistics.from_stars(grid.shape, stars, rng.uniform(0, 1, count), error)


def refined(extinction: torch.Tensor, grid, coarsening) -> torch.Tensor:
    """Extinction at fine edges from that at coarse ones: linear along rays, and equal in a group."""
    coarse = coarsening.grid
    rows = [np.interp(grid.edges[1:], coarse.edges, np.concatenate([[0.0], row])) for row in extinction.numpy()]
    return torch.from_numpy(np.array(rows)[coarsening.group])


@pytest.mark.parametrize("cells", [3, 20, 100])
def test_a_linear_extinction_has_the_same_likelihood(grid, cells):
    statistics, coarsening = statistics_of(grid), coarsen(grid, cells)
    coarse = statistics.coarsened(grid, coarsening)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        density = 5e-3 * torch.rand(*coarsening.grid.shape, dtype=torch.float64, generator=generator)
        extinction = integrate(density, torch.from_numpy(coarsening.grid.cell_lengths))
        expected = statistics.log_likelihood(refined(extinction, grid, coarsening))
        assert_allclose(coarse.log_likelihood(extinction), expected, rtol=1e-11)


@pytest.mark.parametrize("cells", [3, 20, 100])
def test_counts_and_the_constant_are_kept(grid, cells):
    statistics, coarsening = statistics_of(grid), coarsen(grid, cells)
    coarse = statistics.coarsened(grid, coarsening)
    assert coarse.constant == statistics.constant
    assert coarse.n_stars == statistics.n_stars
    by_group = np.zeros(coarsening.grid.n_rays, dtype=int)
    np.add.at(by_group, coarsening.group, statistics.counts.sum(-1).numpy())
    assert_array_equal(coarse.counts.sum(-1), by_group)
    assert_array_equal(coarse.coupling[:, 0], 0)
    for tensor in (coarse.diagonal, coarse.coupling, coarse.weighted):
        assert tensor.shape == coarsening.grid.shape


@pytest.mark.parametrize("cells", [3, 20, 100])
def test_a_coarse_grid_has_few_cells_of_the_same_volume(grid, cells):
    coarsening = coarsen(grid, cells)
    coarse = coarsening.grid
    assert coarse.n_rays * coarse.n_cells <= cells
    assert coarse.n_rays * coarse.n_cells >= cells / 3
    assert np.isin(coarse.edges, grid.edges).all()
    assert coarse.edges[0] == grid.edges[0] and coarse.edges[-1] == grid.edges[-1]
    solid_angle = np.zeros(coarse.n_rays)
    np.add.at(solid_angle, coarsening.group, grid.solid_angle.to_value(u.sr))
    assert_allclose(coarse.solid_angle.to_value(u.sr), solid_angle, rtol=1e-12)
    assert_array_equal(np.unique(coarsening.group), np.arange(coarse.n_rays))
    assert_allclose(coarse.cell_volumes.sum(), grid.cell_volumes.sum(), rtol=1e-9)


def test_rays_lie_amid_their_group():
    grid = GRIDS["patch"]
    coarsening = coarsen(grid, 30)
    far = grid.cell_points()[:, -1]
    fine = far / np.linalg.norm(far, axis=-1, keepdims=True)
    middle = coarsening.grid.cell_points()[:, -1]
    middle /= np.linalg.norm(middle, axis=-1, keepdims=True)
    for group, direction in enumerate(middle):
        own = fine[coarsening.group == group].mean(0)
        assert_allclose(direction, own / np.linalg.norm(own), atol=2e-3)


def test_a_grid_that_is_coarse_already_is_returned(grid):
    coarsening = coarsen(grid, grid.n_rays * grid.n_cells)
    assert coarsening.grid is grid
    assert_array_equal(coarsening.group, np.arange(grid.n_rays))
    statistics = statistics_of(grid)
    again = statistics.coarsened(grid, coarsening)
    for name in ("diagonal", "coupling", "weighted"):
        scale = getattr(statistics, name).abs().max()
        assert_allclose(getattr(again, name) / scale, getattr(statistics, name) / scale, atol=1e-12, err_msg=name)


def test_a_coarsened_model_has_the_same_stars_and_prior(small_model, mock_stars, region):
    model = gpdust.DustModel(mock_stars(200), region.grid((6, 6, 10)), gpdust.SpectralGP(length_scale=60 * u.pc))
    coarse = model.coarsened(60)
    assert coarse.likelihood.n_stars == model.likelihood.n_stars
    assert coarse.grid.n_rays * coarse.grid.n_cells <= 60
    assert coarse.prior.box.lengths == model.prior.box.lengths
    assert coarse.prior.latent_size < model.prior.latent_size
    assert coarse.prior.hyperparameters == model.prior.hyperparameters
    inducing = small_model()
    assert inducing.coarsened(8).prior is inducing.prior
