"""The compressed stars against the stars one by one."""

import astropy.units as u
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch.distributions import Normal

from gpdust.grid import SphericalGrid
from gpdust.likelihood import ExtinctionStatistics
from gpdust.los import StarPositions, integrate, locate_stars

GRID = SphericalGrid([50, 60, 75] * u.deg, [-10, 0, 10, 12] * u.deg, [100, 109, 110, 150, 151, 300] * u.pc)


class Stars:
    """A few hundred stars, errors over four decades, some at edges and one in front of everything."""

    def __init__(self, n: int = 300, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.l, self.b = rng.uniform(50, 75, n), rng.uniform(-10, 12, n)
        self.distance = rng.uniform(100, 300, n)
        self.distance[:7] = [100, 109, 110, 150, 151, 300, 100.001]
        self.error = 10 ** rng.uniform(-4, 0, n)
        self.extinction = 2e-3 * (self.distance - 100) + self.error * rng.standard_normal(n)
        self.positions = locate_stars(GRID, self.l, self.b, self.distance)
        assert self.positions.inside.all()

    def statistics(self, which=slice(None)) -> ExtinctionStatistics:
        return ExtinctionStatistics.from_stars(
            GRID.shape, self.positions[which], self.extinction[which], self.error[which]
        )

    def projections(self) -> np.ndarray:
        """a_i of every star, shape (stars, ray · cell), by a loop."""
        rows = np.zeros((len(self.l), *GRID.shape))
        for row, d, ray in zip(rows, self.distance, self.positions.ray, strict=True):
            k = min(np.searchsorted(GRID.edges, d, side="right") - 1, GRID.n_cells - 1)
            fraction = (d - GRID.edges[k]) / (GRID.edges[k + 1] - GRID.edges[k])
            row[ray, k] = fraction
            if k:
                row[ray, k - 1] = 1 - fraction
        return rows.reshape(len(rows), -1)

    def log_likelihood(self, extinction: torch.Tensor) -> torch.Tensor:
        seen = extinction.flatten(-2) @ torch.from_numpy(self.projections()).mT
        return Normal(seen, torch.from_numpy(self.error)).log_prob(torch.from_numpy(self.extinction)).sum(-1)


@pytest.fixture(scope="module")
def stars() -> Stars:
    return Stars()


@pytest.fixture
def extinction() -> torch.Tensor:
    density = 2e-3 * torch.rand(4, *GRID.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return integrate(density, torch.from_numpy(GRID.cell_lengths))


def assert_same(left: ExtinctionStatistics, right: ExtinctionStatistics, rtol: float = 1e-12) -> None:
    for name in ("diagonal", "coupling", "weighted", "constant"):
        assert_allclose(getattr(left, name), getattr(right, name), rtol=rtol, err_msg=name)
    assert_array_equal(left.counts, right.counts)


def test_the_likelihood_is_that_of_the_stars_one_by_one(stars, extinction):
    assert_allclose(stars.statistics().log_likelihood(extinction), stars.log_likelihood(extinction), rtol=1e-10)


def test_the_gradient_is_that_of_the_stars_one_by_one(stars, extinction):
    extinction.requires_grad_()
    (ours,) = torch.autograd.grad(stars.statistics().log_likelihood(extinction).sum(), extinction)
    (theirs,) = torch.autograd.grad(stars.log_likelihood(extinction).sum(), extinction)
    assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10 * theirs.abs().max())


def test_the_gradient_is_also_right_where_the_map_fits_the_stars(stars):
    """Near the truth, W A and h nearly cancel."""
    centres = torch.from_numpy(2e-3 * (GRID.edges[1:] - 100)).expand(1, *GRID.shape).clone().requires_grad_()
    (ours,) = torch.autograd.grad(stars.statistics().log_likelihood(centres).sum(), centres)
    (theirs,) = torch.autograd.grad(stars.log_likelihood(centres).sum(), centres)
    assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10 * theirs.abs().max())


def test_the_tridiagonal_matrix_is_the_dense_sum_over_stars(stars, extinction):
    rows = stars.projections()
    dense = (rows / stars.error[:, None] ** 2).T @ rows
    statistics = stars.statistics()
    assembled = np.zeros((GRID.n_rays, GRID.n_cells, GRID.n_rays, GRID.n_cells))
    for ray in range(GRID.n_rays):
        for k in range(GRID.n_cells):
            assembled[ray, k, ray, k] = statistics.diagonal[ray, k]
            if k:
                assembled[ray, k, ray, k - 1] = assembled[ray, k - 1, ray, k] = statistics.coupling[ray, k]
    assert_allclose(assembled.reshape(dense.shape), dense, rtol=1e-12, atol=1e-12 * dense.max())
    assert_array_equal(statistics.coupling[:, 0], 0)
    product = (extinction.flatten(-2).numpy() @ dense).reshape(extinction.shape)
    assert_allclose(statistics.precision.product(extinction), product, rtol=1e-12)
    linear = (rows * (stars.extinction / stars.error**2)[:, None]).sum(0)
    assert_allclose(statistics.weighted.flatten(), linear, rtol=1e-12, atol=1e-12 * np.abs(linear).max())


def test_statistics_add_up_over_chunks_of_stars(stars):
    parts = [stars.statistics(slice(start, start + 70)) for start in range(0, 300, 70)]
    assert_same(ExtinctionStatistics.total(GRID.shape, parts), stars.statistics())


def test_statistics_do_not_depend_on_the_order_of_stars(stars):
    order = np.random.default_rng(1).permutation(300)
    assert_same(stars.statistics(order), stars.statistics())


def test_statistics_count_the_stars_of_each_cell(stars):
    statistics = stars.statistics()
    expected = np.zeros(GRID.shape, dtype=int)
    for ray, cell in zip(stars.positions.ray, stars.positions.cell, strict=True):
        expected[ray, cell] += 1
    assert_array_equal(statistics.counts, expected)
    assert statistics.n_stars == 300


def test_no_star_has_a_likelihood_of_one(extinction):
    nobody = StarPositions(*np.zeros((2, 0), dtype=int), np.zeros(0))
    empty = ExtinctionStatistics.from_stars(GRID.shape, nobody, np.zeros(0), np.zeros(0))
    assert_same(empty, ExtinctionStatistics.empty(GRID.shape))
    assert_array_equal(empty.log_likelihood(extinction), np.zeros(4))


def test_the_likelihood_is_a_sum_over_rays(stars, extinction):
    statistics = stars.statistics()
    by_rays = sum(
        statistics[rays].log_likelihood(extinction[:, rays]) for rays in (slice(0, 2), slice(2, 3), slice(3, 6))
    )
    assert_allclose(by_rays - statistics.constant, statistics.log_likelihood(extinction), rtol=1e-12)


def test_larger_errors_are_those_of_the_same_stars(stars, extinction):
    positions, measured, error = stars.positions, stars.extinction, stars.error
    expected = ExtinctionStatistics.from_stars(GRID.shape, positions, measured, 3 * error)
    found = stars.statistics().with_errors_times(3.0)
    assert_same(found, expected)
    assert_allclose(found.log_likelihood(extinction), expected.log_likelihood(extinction), rtol=1e-12)
