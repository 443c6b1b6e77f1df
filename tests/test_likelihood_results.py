"""What a map says of single stars, against brute force."""

import astropy.units as u
import numpy as np
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import norm

from gpdust.grid import SphericalGrid
from gpdust.likelihood import (
    GaussianNoise,
    MarginalLikelihood,
    MeasuredDistances,
    MeasuredStars,
    MixtureNoise,
    NodeOptions,
    StudentNoise,
)

GRID = SphericalGrid([50, 60, 75] * u.deg, [-10, 10] * u.deg, np.linspace(100, 600, 51) * u.pc)
WALL = np.interp(GRID.edges[1:], [100, 250, 280, 600], [0, 0.1, 0.9, 1.1])


def likelihood(distance, distance_error, extinction, error=0.1, noise=None, **options) -> MarginalLikelihood:
    n = len(distance)
    l = np.resize([65.0, 55.0], n)
    distances = MeasuredDistances.with_error(distance, distance_error)
    stars = MeasuredStars.make(l, np.zeros(n), distances, np.array(extinction), np.full(n, error))
    return MarginalLikelihood.from_stars(GRID, stars, noise or GaussianNoise(), NodeOptions(**options))


def maps(*extinctions) -> torch.Tensor:
    return torch.from_numpy(np.stack([np.tile(each, (GRID.n_rays, 1)) for each in extinctions]))


def test_distances_are_those_of_brute_force():
    """Stars whose extinction says on which side of a wall of dust they are."""
    distance, measured = np.array([270.0, 240.0, 300.0, 400.0, 265.0]), np.array([0.9, 0.7, 0.05, 1.0, 0.5])
    draws = [WALL, 0.9 * WALL]
    found = likelihood(distance, 50.0, measured, parts=4).star_results(maps(*draws))
    d = np.linspace(100, 600, 200_001)
    prior = d**2 * norm.pdf(d, distance[:, None], 50)
    total = 0
    for each in draws:
        p = prior * norm.pdf(measured[:, None], np.interp(d, GRID.edges, np.append(0, each)), 0.1)
        total = total + p / p.sum(1, keepdims=True) / len(draws)
    levels = [np.interp([0.16, 0.5, 0.84], np.cumsum(p), d) for p in total]
    assert_array_equal(found.number, np.arange(5))
    assert_allclose(found.distance, levels, atol=0.7)
    mean = total @ d
    assert_allclose(found.distance_mean, mean, atol=0.3)
    assert_allclose(found.distance_error, np.sqrt(total @ d**2 - mean**2), rtol=0.02)
    seen = np.interp(found.distance[:, 1], GRID.edges, np.append(0, 0.95 * WALL))
    assert_allclose(found.extinction[:, 1], seen, atol=0.05)
    assert (np.diff(found.extinction, axis=1) >= 0).all()


def test_an_exact_star_keeps_its_distance_and_sees_one_extinction():
    found = likelihood([300.0, 245.0], 0.0, [1.0, 0.0]).star_results(maps(WALL))
    assert_allclose(found.distance, [[300] * 3, [245] * 3])
    assert_allclose(found.distance_error, 0)
    seen = np.interp([300, 245], GRID.edges, np.append(0, WALL))
    assert_allclose(found.extinction, seen[:, None].repeat(3, 1))
    assert_allclose(found.residual, ([1.0, 0.0] - seen) / 0.1)
    assert_array_equal(found.outlier, 0)


def test_a_narrow_distance_keeps_its_width():
    found = likelihood([304.0], 0.5, [0.9]).star_results(maps(WALL))
    assert_allclose(found.distance_error, 0.5, rtol=0.01)
    assert_allclose(found.distance[0], 304 + 0.5 * np.array([-1, 0, 1]), atol=0.15)


def test_extinctions_span_the_draws():
    draws = [scale * WALL for scale in np.linspace(0.8, 1.2, 101)]
    found = likelihood([500.0], 0.0, [1.0], error=100.0).star_results(maps(*draws))
    seen = np.interp(500, GRID.edges, np.append(0, WALL))
    assert_allclose(found.extinction[0] / seen, 0.8 + 0.4 * np.array([0.16, 0.5, 0.84]), atol=0.005)


def test_outliers_are_found():
    for noise in (MixtureNoise(bad_share=0.05, bad_width=2.0), StudentNoise(degrees_of_freedom=3.0)):
        found = likelihood([300.0, 400.0], 30.0, [0.9, 4.0], noise=noise).star_results(maps(WALL))
        assert found.outlier[0] < 0.2 and found.outlier[1] > 0.9


def test_a_star_beyond_the_grid_is_put_at_its_end():
    found = likelihood([700.0], 50.0, [1.5], beyond=2.0).star_results(maps(WALL))
    assert_allclose(found.distance[0, 1:], 600)
    assert WALL[-1] < found.extinction[0, 1] < 1.7
