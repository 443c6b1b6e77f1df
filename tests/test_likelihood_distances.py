"""Where stars may be: moments of their distances per cell, against adaptive quadrature."""

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import quad
from scipy.stats import norm

from gpdust.errors import CatalogueError, ConfigError
from gpdust.grid import RayGrid
from gpdust.likelihood import ExponentialDisc, MeasuredDistances, MeasuredParallaxes, NodeOptions
from gpdust.likelihood.distance_priors import distance_prior
from gpdust.likelihood.nodes import DROPPED, Nodes

GRID = RayGrid([30] * u.deg, [5] * u.deg, np.linspace(180, 1200, 31) * u.pc)
L, B = 30.0, 5.0


def nodes(distances, grid=GRID, **options) -> Nodes:
    n = len(distances)
    return Nodes.from_distances(grid, distances, np.full(n, L), np.full(n, B), NodeOptions(**options))


def halves(d: float) -> float:
    error = 50 if d < 500 else 90
    return np.exp(-0.5 * ((d - 500) / error) ** 2) / error


def parallax(d: float) -> float:
    return np.exp(-0.5 * ((1 / d - 1 / 500) / (0.15 / 500)) ** 2)


def test_percentiles_come_back_from_a_flat_prior():
    found = nodes(MeasuredDistances(np.array([600.0]), np.array([60.0]), np.array([180.0])), prior="flat", parts=1)
    edge, share = GRID.edges[found.cell + 1], np.cumsum(found.weight) * (1 - found.far[0])
    assert_allclose(share, norm.cdf((edge - 600) / np.where(edge < 600, 60, 180)), atol=1e-6)  # ½ at the median


@pytest.mark.parametrize("prior", ["flat", "uniform-density", "exponential-disc", lambda l, b, d: np.sqrt(d)])
@pytest.mark.parametrize(
    ("likelihood", "distances"),
    [
        (halves, MeasuredDistances(np.array([500.0]), np.array([50.0]), np.array([90.0]))),
        (parallax, MeasuredParallaxes(np.array([1 / 500]), np.array([0.15 / 500]))),
    ],
    ids=["percentiles", "parallax"],
)
def test_moments_are_those_of_adaptive_quadrature(prior, likelihood, distances):
    found = nodes(distances, prior=prior, parts=1)
    density = distance_prior(prior)

    def p(d: float) -> float:
        return likelihood(d) * density(L, B, np.array(d)) / density(L, B, np.array(500.0))

    def integral(function, low: float, high: float) -> float:
        points = [500.0] if low < 500 < high else None
        return quad(function, low, high, epsabs=0, epsrel=1e-11, limit=400, points=points)[0]

    weight = np.array([integral(p, *cell) for cell in zip(GRID.edges[:-1], GRID.edges[1:], strict=True)])
    near = integral(p, 1e-3, 180.0)
    far = sum(integral(p, *cell) for cell in [(1200, 2000), (2000, 5000), (5000, 30_000)])
    total = weight.sum() + near + far
    assert_allclose([found.near[0], found.far[0]], [near / total, far / total], atol=1e-8)
    assert_allclose(found.weight * (1 - found.dropped), weight[found.cell] / weight.sum(), atol=1e-7)
    for k in np.argsort(found.weight)[-6:]:
        low, high = GRID.edges[found.cell[k] : found.cell[k] + 2]
        moments = [integral(lambda d, n=n, low=low: p(d) * ((d - low) / 34) ** n, low, high) for n in (1, 2)]
        mean, square = np.array(moments) / weight[found.cell[k]]
        assert_allclose([found.fraction[k], found.variance[k]], [mean, square - mean**2], atol=1e-8)


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_parts_are_nodes_in_units_of_the_whole_cell(parts):
    found = nodes(MeasuredDistances.with_error([600.0], 80.0), parts=parts)
    assert_array_equal(np.unique(found.cell[1:-1], return_counts=True)[1].max(), parts)
    place = found.cell + found.fraction
    assert (np.diff(place) > 0).all()
    middle = np.abs(place - 12.4) < 2
    assert_allclose(found.variance[middle], 1 / 12 / parts**2, rtol=0.2)


def test_weights_sum_to_one_and_little_is_dropped():
    rng = np.random.default_rng(0)
    distance = rng.uniform(190, 1190, 300)
    found = nodes(MeasuredDistances.with_error(distance, distance * 10 ** rng.uniform(-4, -0.5, 300)))
    assert_allclose(np.add.reduceat(found.weight, found.start[:-1]), 1, rtol=1e-6)
    assert (found.dropped <= DROPPED).all() and found.dropped.max() > 0
    assert (found.weight > 0).all()


def test_a_small_error_is_the_exact_case():
    found = nodes(MeasuredDistances.with_error([495.3], 1e-5), parts=1)
    exact = nodes(MeasuredDistances.with_error([495.3], 0.0))
    assert_array_equal([found.cell, exact.cell], [[9], [9]])
    assert_allclose(found.fraction, exact.fraction, atol=1e-12)
    assert_allclose(exact.fraction, (495.3 - 486) / 34, atol=1e-13)
    assert_allclose(found.variance, (1e-5 / 34) ** 2, rtol=1e-6)
    assert exact.variance == 0


def test_exact_stars_at_edges_and_outside():
    found = nodes(MeasuredDistances.with_error([180.0, 214.0, 1200.0, 100.0, 1300.0], 0.0))
    assert_array_equal(np.diff(found.start), [1, 1, 1, 0, 0])
    assert_array_equal(found.cell, [0, 1, 29])
    assert_array_equal(found.fraction, [0, 0, 1])
    assert_array_equal(found.near, [0, 0, 0, 1, 0])
    assert_array_equal(found.far, [0, 0, 0, 0, 1])


def test_shares_outside_the_grid():
    distances = MeasuredDistances.with_error([180.0, 1200.0, 1150.0, 900.0], [20.0, 20.0, 50.0, 20.0])
    found = nodes(distances, prior="flat")
    assert_allclose(found.near, [0.5, 0, 0, 0], atol=1e-9)
    assert_allclose(found.far, [0, 0.5, norm.sf(1), 0], atol=1e-9)


def test_what_lies_beyond_may_be_kept():
    distances = MeasuredDistances.with_error([1150.0, 1300.0], [50.0, 0.0])
    found = nodes(distances, prior="flat", beyond=2.0)
    beyond = found.cell == GRID.n_cells
    assert_allclose(np.add.reduceat(found.weight * beyond, found.start[:-1]), [norm.sf(1), 1], rtol=1e-6)
    assert_allclose(found.fraction[beyond][:16].mean(), 0.5)


def test_stars_in_blocks_are_the_stars_one_by_one(monkeypatch):
    monkeypatch.setattr("gpdust.likelihood.quadrature.BLOCK", 3000)
    rng = np.random.default_rng(2)
    distances = MeasuredDistances.with_error(
        rng.uniform(150, 1300, 60), rng.uniform(0, 100, 60) * (rng.random(60) < 0.8)
    )
    found = nodes(distances)
    for star in range(60):
        one, some = nodes(distances[star : star + 1]), found[np.array([star])]
        assert_array_equal(one.cell, some.cell)
        assert_allclose(one.fraction, some.fraction, atol=1e-9)
        assert_allclose([one.near, one.far], [some.near, some.far], atol=1e-12)


def test_a_disc_has_fewer_stars_far_above_it():
    disc = ExponentialDisc()
    d = np.array([1000.0])
    assert disc(0.0, 90.0, d) < disc(0.0, 0.0, d)
    assert disc(180.0, 0.0, d) < disc(0.0, 0.0, d)
    assert_allclose(disc(0.0, 90.0, d), 1e6 * np.exp((8178 - np.hypot(8178, 0)) / 2600 - 1020.8 / 300), rtol=1e-6)


def test_no_star_has_no_nodes():
    found = nodes(MeasuredDistances.with_error(np.zeros(0), 0.0))
    assert_array_equal(found.start, [0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MeasuredDistances.with_error([100.0, -1.0], 1.0), "distances must be positive.*first is number 1"),
        (lambda: MeasuredDistances.with_error([100.0], -1.0), "distance errors must not be negative"),
        (lambda: MeasuredDistances(np.ones(1), np.zeros(1), np.ones(1)), "zero on one side only"),
        (lambda: MeasuredParallaxes(np.array([-1.0]), np.array([0.01])), "parallaxes lie 6.5 errors"),
        (lambda: MeasuredParallaxes(np.array([np.nan]), np.array([0.01])), "parallaxes must be finite"),
    ],
)
def test_impossible_distances_are_refused(make, message):
    with pytest.raises(CatalogueError, match=message):
        make()


@pytest.mark.parametrize("words", [{"prior": "none"}, {"parts": 0}, {"least_share": 2.0}, {"beyond": 0.0}])
def test_impossible_options_are_refused(words):
    with pytest.raises(ConfigError):
        NodeOptions(**words)


def test_a_prior_that_is_no_density_is_refused():
    with pytest.raises(ConfigError, match="must be a density"):
        nodes(MeasuredDistances.with_error([500.0], 50.0), prior=lambda l, b, d: -d)
