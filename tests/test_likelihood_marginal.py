"""The marginal likelihood against brute force, differences and the compressed stars."""

import astropy.units as u
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import norm, t

from gpdust.errors import CatalogueError, GridError
from gpdust.grid import SphericalGrid
from gpdust.grid.coarsen import Coarsening, coarsen
from gpdust.likelihood import (
    ExtinctionStatistics,
    GaussianNoise,
    MarginalLikelihood,
    MeasuredDistances,
    MeasuredParallaxes,
    MeasuredStars,
    MixtureNoise,
    NodeOptions,
    StudentNoise,
)
from gpdust.likelihood.star_pass import log_likelihood_pass
from gpdust.los import locate_stars

GRID = SphericalGrid([50, 60, 75] * u.deg, [-10, 0, 10] * u.deg, [100, 109, 130, 150, 180, 220, 300, 320] * u.pc)
KINDS = [
    GaussianNoise(extra=0.01),
    StudentNoise(degrees_of_freedom=3.0, proportional=0.05),
    MixtureNoise(bad_share=0.1, bad_width=0.3, extra=0.02, proportional=0.1),
]
kinds = pytest.mark.parametrize("noise", KINDS, ids=lambda noise: type(noise).__name__)


FINE = SphericalGrid([50, 75] * u.deg, [-10, 10] * u.deg, np.linspace(100, 320, 23) * u.pc)


def make_stars(n=60, distance_error=0.1, error=0.02, asymmetric=False, seed=0) -> MeasuredStars:
    rng = np.random.default_rng(seed)
    distance = rng.uniform(110, 310, n)
    extinction = 2e-3 * (distance - 100) + error * rng.standard_normal(n)
    errors = error * 10 ** rng.uniform(-0.3, 0.3, (2, n))
    distances = MeasuredDistances.with_error(distance, distance_error * distance)
    l, b = rng.uniform(50, 75, n), rng.uniform(-10, 10, n)
    return MeasuredStars.make(l, b, distances, extinction, errors[0], errors[1 if asymmetric else 0])


def make_extinction(*draws: int, seed: int = 0) -> torch.Tensor:
    density = 4e-3 * torch.rand(*draws, *GRID.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return (density * torch.from_numpy(GRID.cell_lengths)).cumsum(-1)


def density_of(noise, residual, low, up) -> np.ndarray:
    """The books' densities, with split widths."""
    side, scale = np.where(residual < 0, up, low), 0.5 * (low + up)
    if isinstance(noise, StudentNoise):
        return t.pdf(residual / side, noise.degrees_of_freedom) / scale
    good = norm.pdf(residual / side) / scale
    if not isinstance(noise, MixtureNoise):
        return good
    wide = np.sqrt(0.5 * (low**2 + up**2) + noise.bad_width**2)
    return (1 - noise.bad_share) * good + noise.bad_share * norm.pdf(residual, 0, wide)


def fine_distances(edges: np.ndarray, per_cell: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Midpoints and lengths of a very fine grid."""
    fine = np.append((edges[:-1, None] + np.diff(edges)[:, None] * np.arange(per_cell) / per_cell).ravel(), edges[-1])
    return 0.5 * (fine[1:] + fine[:-1]), np.diff(fine)


def brute_force(grid, noise, stars: MeasuredStars, extinction: np.ndarray, prior=np.square) -> np.ndarray:
    """log L of each star on one ray, by the midpoint rule on a very fine grid."""
    d, length = fine_distances(grid.edges)
    p = np.exp(stars.distances.log_likelihood(np.broadcast_to(d, (len(stars), len(d))))) * prior(d) * length
    p /= p.sum(1, keepdims=True)
    seen = np.interp(d, grid.edges, np.append(0, extinction))
    added = noise.extra**2 + (noise.proportional * stars.extinction) ** 2
    low, up = np.sqrt(stars.lower_error**2 + added)[:, None], np.sqrt(stars.upper_error**2 + added)[:, None]
    return np.log((p * density_of(noise, stars.extinction[:, None] - seen, low, up)).sum(1))


def one_ray(grid, noise, stars: MeasuredStars, extinction: np.ndarray, **options) -> np.ndarray:
    """log L of each star on one ray, by the pass."""
    full = torch.from_numpy(np.tile(extinction, (grid.n_rays, 1)))
    each = (stars[np.array([star])] for star in range(len(stars)))
    options = NodeOptions(least_share=0, **options)
    return np.array([MarginalLikelihood.from_stars(grid, one, noise, options).log_likelihood(full) for one in each])


@kinds
def test_stars_by_themselves_are_one_star_at_a_time_and_add_up(noise):
    stars, extinction = make_stars(12, error=0.06), 1.2e-3 * (FINE.edges[1:] - 100)
    likelihood = MarginalLikelihood.from_stars(FINE, stars, noise, NodeOptions(least_share=0, parts=1))
    draws = torch.from_numpy(np.stack([np.tile(factor * extinction, (FINE.n_rays, 1)) for factor in (0.8, 1.0, 1.3)]))
    each = likelihood.log_likelihood_of_each(draws)
    assert_allclose(each.sum(1), likelihood.log_likelihood(draws), rtol=1e-12)
    assert_allclose(each[1], one_ray(FINE, noise, stars, extinction, parts=1)[likelihood.stars.number], rtol=1e-9)


@kinds
@pytest.mark.parametrize("asymmetric", [False, True])
def test_typical_stars_are_those_of_brute_force(noise, asymmetric):
    """Cells of 10 pc that hold a quarter of σ."""
    stars, extinction = make_stars(12, error=0.06, asymmetric=asymmetric), 1.2e-3 * (FINE.edges[1:] - 100)
    expected = brute_force(FINE, noise, stars, extinction)
    heat = not asymmetric and not isinstance(noise, StudentNoise)  # else broadening is no convolution
    tolerance = 2e-5 if heat else 1e-3
    assert_allclose(one_ray(FINE, noise, stars, extinction), expected, rtol=tolerance, atol=tolerance)
    expected = brute_force(GRID, noise, stars, 1.2e-3 * (GRID.edges[1:] - 100))
    found = one_ray(GRID, noise, stars, 1.2e-3 * (GRID.edges[1:] - 100), parts=8)
    assert_allclose(found, expected, rtol=50 * tolerance, atol=50 * tolerance)


def test_hard_stars_are_those_of_brute_force():
    """Three standard errors of extinction within a cell."""
    jumps = 0.02 * np.array([0.5, 3, 1, 3, 1, 2, 0.5])
    stars = make_stars(12, seed=3)
    extinction = np.cumsum(jumps)
    noise = GaussianNoise()
    seen = np.interp(stars.distances.distance, GRID.edges, np.append(0, extinction))
    stars = MeasuredStars.make(stars.l, stars.b, stars.distances, seen, np.full(12, 0.02))
    expected = brute_force(GRID, noise, stars, extinction)
    assert_allclose(one_ray(GRID, noise, stars, extinction), expected, atol=0.05)
    assert_allclose(one_ray(GRID, noise, stars, extinction, parts=4), expected, atol=1e-3)


def test_parallaxes_are_those_of_brute_force():
    stars = make_stars(8, error=0.06)
    parallax = 1 / stars.distances.distance
    distances = MeasuredParallaxes(parallax, 0.1 * parallax)
    stars = MeasuredStars.make(stars.l, stars.b, distances, stars.extinction, stars.lower_error)
    extinction = 1.2e-3 * (FINE.edges[1:] - 100)
    found = one_ray(FINE, GaussianNoise(), stars, extinction, prior="flat")
    assert_allclose(found, brute_force(FINE, GaussianNoise(), stars, extinction, np.ones_like), rtol=2e-4, atol=2e-4)


@kinds
@pytest.mark.parametrize("asymmetric", [False, True])
@pytest.mark.parametrize("beyond", [None, 0.4])
def test_the_slope_is_that_of_differences(noise, asymmetric, beyond):
    stars = make_stars(asymmetric=asymmetric)
    likelihood = MarginalLikelihood.from_stars(GRID, stars, noise, NodeOptions(beyond=beyond))
    extinction = make_extinction(2).requires_grad_()
    assert torch.autograd.gradcheck(likelihood.log_likelihood, extinction, eps=1e-7, rtol=1e-5, atol=1e-4)
    value, slope = likelihood.log_likelihood_and_slope(extinction)
    assert_array_equal(likelihood.slope(extinction), slope)
    assert_allclose(likelihood.log_likelihood(extinction.detach()), value, rtol=1e-14)


@kinds
def test_the_slope_by_the_noise_is_that_of_differences(noise):
    likelihood = MarginalLikelihood.from_stars(GRID, make_stars(asymmetric=True), noise)
    extinction, x, h = make_extinction(2), noise.parameters(), 1e-5
    found = likelihood.noise_slope(extinction)
    assert found.shape == (2, len(noise.names))
    for k in range(len(x)):
        moved = [likelihood.with_noise(noise.with_parameters(x + s * h * np.eye(len(x))[k])) for s in (1, -1)]
        plus, minus = (each.log_likelihood(extinction) for each in moved)
        assert_allclose(found[:, k], (plus - minus) / (2 * h), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("relative_error", [0.0, 1e-9])
def test_exact_distances_are_the_compressed_stars(relative_error):
    stars = make_stars(300, distance_error=relative_error)
    positions = locate_stars(GRID, stars.l, stars.b, stars.distances.distance)
    statistics = ExtinctionStatistics.from_stars(GRID.shape, positions, stars.extinction, stars.lower_error)
    likelihood = MarginalLikelihood.from_stars(GRID, stars, options=NodeOptions(parts=1))
    extinction = make_extinction(3)
    assert_allclose(likelihood.log_likelihood(extinction), statistics.log_likelihood(extinction), rtol=1e-7)
    slope = statistics.weighted - statistics.precision.product(extinction)
    assert_allclose(likelihood.slope(extinction), slope, rtol=1e-6, atol=1e-7 * slope.abs().max())
    expected = torch.diag_embed(statistics.diagonal)
    expected += torch.diag_embed(statistics.coupling[:, 1:], 1) + torch.diag_embed(statistics.coupling[:, 1:], -1)
    assert_allclose(likelihood.information(extinction[0]).matrices, expected, rtol=1e-6, atol=1e-7 * expected.max())
    assert_array_equal(likelihood.counts, statistics.counts)
    assert likelihood.n_stars == 300


@pytest.mark.parametrize("noise", [GaussianNoise(), GaussianNoise(extra=0.05, proportional=0.2)])
def test_exact_stars_with_gaussian_noise_are_compressed_and_nothing_changes(noise):
    likelihood = MarginalLikelihood.from_stars(GRID, make_stars(300, distance_error=0.0), noise)
    summed, extinction = likelihood.compressed(), make_extinction(3)
    assert isinstance(summed, ExtinctionStatistics) and summed.n_stars == 300
    value, slope = likelihood.log_likelihood_and_slope(extinction)
    assert_allclose(summed.log_likelihood(extinction), value, rtol=1e-12)
    assert_allclose(summed.log_likelihood_and_slope(extinction)[1], slope, rtol=1e-9, atol=1e-12 * slope.abs().max())
    expected = likelihood.information(extinction[0]).on_cells(slice(None))
    assert_allclose(summed.information().on_cells(slice(None)), expected, rtol=1e-9, atol=1e-12 * expected.max())
    louder = noise.times(2.0)
    assert_allclose(
        likelihood.with_noise(louder).compressed().log_likelihood(extinction),
        likelihood.with_noise(louder).log_likelihood(extinction),
        rtol=1e-12,
    )


@pytest.mark.parametrize(
    ("stars", "options"),
    [
        ({"distance_error": 0.1}, {}),
        ({"distance_error": 0.0, "asymmetric": True}, {}),
        ({"distance_error": 0.0}, {"noise": StudentNoise()}),
        ({"distance_error": 0.0}, {"options": NodeOptions(beyond=1.0)}),
    ],
)
def test_other_stars_stay_apart(stars, options):
    likelihood = MarginalLikelihood.from_stars(GRID, make_stars(300, **stars), **options)
    beyond = likelihood.nodes.cell.max() >= likelihood.shape[1]
    assert (likelihood.compressed() is likelihood) == (beyond or "options" not in options)


def test_the_information_of_an_exact_star_is_that_of_its_noise():
    stars = make_stars(200, distance_error=0.0)
    exact = MarginalLikelihood.from_stars(GRID, stars).information(make_extinction()).matrices
    student = MarginalLikelihood.from_stars(GRID, stars, StudentNoise(degrees_of_freedom=3.0))
    assert_allclose(student.information(make_extinction()).matrices, 4 / 6 * exact, rtol=1e-9, atol=1e-9 * exact.max())


@kinds
@pytest.mark.parametrize("distance_error", [0.02, 0.15])
def test_the_information_is_that_of_simulated_extinctions(noise, distance_error):
    """20 000 simulations of one star, seen by the density that a fit moves: A = L ρ, F_ρ = Lᵀ F L."""
    count, rng = 20_000, np.random.default_rng(5)
    distances = MeasuredDistances.with_error(np.full(count, 200.0), 200 * distance_error)
    extinction = 1.5e-3 * (GRID.edges[1:] - 100)
    place = np.full(count, 55.0), np.full(count, 5.0)
    blank = MarginalLikelihood.from_stars(
        GRID, MeasuredStars.make(*place, distances, np.full(count, 0.15), np.full(count, 0.05)), noise
    )
    first = blank.nodes[np.array([0])]
    edges = np.append(0, extinction)
    node = rng.choice(len(first.weight), count, p=first.weight / first.weight.sum(dtype=float))
    jump = np.diff(edges)[first.cell[node]]
    added = 0.05**2 + noise.extra**2 + (noise.proportional * 0.15) ** 2
    scale = np.sqrt(added + first.variance[node] * jump**2)
    deviate = rng.standard_t(3.0, count) if isinstance(noise, StudentNoise) else rng.standard_normal(count)
    if isinstance(noise, MixtureNoise):
        scale = np.where(rng.random(count) < noise.bad_share, np.hypot(scale, noise.bad_width), scale)
    simulated = edges[first.cell[node]] + first.fraction[node] * jump + scale * deviate

    # A ray for each simulation, so that the pass gives the scores one by one; the scatter stays that of the star.
    fixed = noise.__class__(**{k: v for k, v in vars(noise).items() if k not in ("extra", "proportional")})
    arrays = blank.arrays._replace(
        star_start=np.arange(count + 1),
        measured=simulated,
        low=np.full(count, added),
        up=np.full(count, added),
    )
    full = np.tile(extinction, (1, count, 1))
    scores = log_likelihood_pass(arrays, fixed.numbers(), full, True)[1][0]
    integrate = np.tril(np.ones((GRID.n_cells, GRID.n_cells)))
    expected = integrate.T @ (scores.T @ scores / count) @ integrate
    every_ray = torch.from_numpy(np.tile(extinction, (GRID.n_rays, 1)))
    found = (
        blank.information(every_ray).matrices.sum(0).numpy() / count
    )  # over many offsets of the golden-ratio sequence
    found = integrate.T @ found @ integrate
    tolerance = 0.1 if isinstance(noise, StudentNoise) else 0.06
    assert np.linalg.norm(found - expected) < tolerance * np.linalg.norm(expected)
    assert np.linalg.eigvalsh(found).min() > -1e-6 * np.trace(found)


def test_stars_far_off_stay_finite():
    """A hundred and ten thousand standard errors."""
    likelihood = MarginalLikelihood.from_stars(GRID, make_stars(40, error=1e-3))
    for shift, most in ((0.3, -1e3), (10.0, -1e4)):
        value, slope = likelihood.log_likelihood_and_slope(
            1e-3 * torch.from_numpy(GRID.edges[1:]).expand(GRID.shape) + shift
        )
        assert -torch.inf < value < most and torch.isfinite(slope).all()


@kinds
def test_an_infinite_extinction_leaves_only_what_is_in_front_of_it(noise):
    likelihood = MarginalLikelihood.from_stars(GRID, make_stars(), noise)
    extinction = make_extinction()
    extinction[:, 3:] = torch.inf
    value, slope = likelihood.log_likelihood_and_slope(extinction)
    assert not torch.isnan(value) and not torch.isnan(slope).any()
    assert torch.isfinite(likelihood.information(extinction).matrices).all()
    assert torch.isfinite(likelihood.noise_slope(extinction)).all()
    extinction[:] = torch.inf
    assert likelihood.log_likelihood(extinction) == -torch.inf
    assert torch.isnan(likelihood.log_likelihood(extinction * torch.nan))


def test_gaussian_limits():
    stars, extinction = make_stars(asymmetric=True), make_extinction(2)
    gaussian = MarginalLikelihood.from_stars(GRID, stars)
    for noise in (StudentNoise(degrees_of_freedom=1e8), MixtureNoise(bad_share=0.0)):
        other = gaussian.with_noise(noise)
        assert_allclose(other.log_likelihood(extinction), gaussian.log_likelihood(extinction), rtol=1e-5)
        assert_allclose(other.slope(extinction), gaussian.slope(extinction), rtol=1e-4, atol=1e-4)


def assert_same(left: MarginalLikelihood, right: MarginalLikelihood, rtol: float = 1e-12) -> None:
    extinction = make_extinction(2)[:, : left.n_rays]
    assert_allclose(left.log_likelihood(extinction), right.log_likelihood(extinction), rtol=rtol)
    scale = right.slope(extinction).abs().max()
    assert_allclose(left.slope(extinction), right.slope(extinction), rtol=rtol, atol=rtol * scale)
    ours, theirs = left.information(extinction[0]).matrices, right.information(extinction[0]).matrices
    assert_allclose(ours, theirs, rtol=rtol, atol=rtol * theirs.max())
    assert_allclose(left.counts, right.counts, rtol=rtol, atol=1e-6)
    assert left.n_stars == right.n_stars


def test_chunks_add_up_to_the_whole():
    stars = make_stars(90, asymmetric=True)
    whole = MarginalLikelihood.from_stars(GRID, stars)
    parts = [MarginalLikelihood.from_stars(GRID, stars[np.arange(s, s + 30)]) for s in (0, 30, 60)]
    assert_same(parts[0] + parts[1] + parts[2], whole, rtol=1e-6)
    total = MarginalLikelihood.total(parts)
    assert total.report == whole.report
    assert_array_equal(np.sort(total.stars.number), np.sort(whole.stars.number))


def test_the_likelihood_is_a_sum_over_rays():
    likelihood, extinction = MarginalLikelihood.from_stars(GRID, make_stars()), make_extinction(3)
    slices = [slice(0, 1), slice(1, 3), slice(3, 4)]
    by_rays = sum(likelihood[rays].log_likelihood(extinction[:, rays]) for rays in slices)
    assert_allclose(by_rays, likelihood.log_likelihood(extinction), rtol=1e-12)
    slopes = torch.cat([likelihood[rays].slope(extinction[:, rays]) for rays in slices], dim=1)
    assert_array_equal(slopes, likelihood.slope(extinction))
    assert sum(likelihood[rays].n_stars for rays in slices) == likelihood.n_stars


def test_the_same_grid_again_changes_nothing():
    likelihood = MarginalLikelihood.from_stars(GRID, make_stars())
    assert_same(likelihood.coarsened(GRID, Coarsening(GRID, np.arange(GRID.n_rays))), likelihood)


def test_a_coarse_grid_has_all_the_stars():
    likelihood = MarginalLikelihood.from_stars(GRID, make_stars())
    coarsening = coarsen(GRID, 8)
    coarse = likelihood.coarsened(GRID, coarsening)
    assert coarse.shape == coarsening.grid.shape and coarse.n_stars == likelihood.n_stars
    fine = torch.from_numpy(1e-3 * (GRID.edges[1:] - 100)).expand(GRID.shape)
    rough = torch.from_numpy(1e-3 * (coarsening.grid.edges[1:] - 100)).expand(coarse.shape)
    assert_allclose(coarse.log_likelihood(rough), likelihood.log_likelihood(fine), rtol=0.02)
    with pytest.raises(GridError, match="the stars lie on a grid"):
        coarse.coarsened(GRID, coarsening)


@kinds
def test_larger_errors_stretch_the_noise(noise):
    stars, extinction = make_stars(distance_error=0.0), make_extinction()
    stretched = MarginalLikelihood.from_stars(GRID, stars, noise).with_errors_times(3.0)
    shrunk = MeasuredStars.make(stars.l, stars.b, stars.distances, stars.extinction / 3, stars.lower_error)
    reference = MarginalLikelihood.from_stars(GRID, shrunk, noise)
    if noise.proportional:
        return  # goes with the measured extinction, which was shrunk
    expected = reference.log_likelihood(extinction / 3) - len(stars) * np.log(3)
    assert_allclose(stretched.log_likelihood(extinction), expected, rtol=1e-12)


def test_stars_outside_are_counted_by_reason():
    distances = MeasuredDistances.with_error(
        [200.0, 50.0, 600.0, 200.0, 95.0, 330.0], [10.0, 5.0, 50.0, 10.0, 0.0, 20.0]
    )
    l = np.array([55.0, 55, 55, 20, 55, 55])
    stars = MeasuredStars.make(l, np.zeros(6), distances, np.zeros(6), np.ones(6))
    report = MarginalLikelihood.from_stars(GRID, stars).report
    assert (report.used, report.outside, report.too_near, report.too_far) == (1, 1, 2, 2)
    assert 0 <= report.dropped <= 1e-6
    assert str(report) == (
        "1 stars on the grid; left out: 1 outside its sky, 2 nearer than its near end, 2 beyond its far end"
    )
    kept = MarginalLikelihood.from_stars(GRID, stars, options=NodeOptions(beyond=1.0))
    assert kept.report.used == 3
    assert_allclose(kept.counts.sum(), 3 - kept.nodes.far.sum(), atol=1e-5)


def test_no_star_has_a_likelihood_of_one():
    nobody = MeasuredStars.make(*np.zeros((2, 0)), MeasuredDistances.with_error([], 0.0), *np.zeros((2, 0)))
    empty = MarginalLikelihood.from_stars(GRID, nobody)
    extinction = make_extinction(2)
    assert_array_equal(empty.log_likelihood(extinction), 0)
    assert_array_equal(empty.slope(extinction), 0)
    assert_array_equal(empty.information(extinction[0]).matrices, 0)
    assert len(empty.star_results(extinction).number) == 0
    some = MarginalLikelihood.from_stars(GRID, make_stars())
    assert_same(empty + some, some)


def test_single_precision_comes_and_goes():
    likelihood, extinction = MarginalLikelihood.from_stars(GRID, make_stars()), make_extinction()
    value = likelihood.log_likelihood(extinction.float().requires_grad_())
    assert value.dtype == torch.float32 and value.shape == ()
    assert_allclose(value.detach(), likelihood.log_likelihood(extinction), rtol=1e-4)


def test_bad_input_is_refused():
    stars = make_stars(5)
    columns = stars.l, stars.b, stars.distances, stars.extinction
    with pytest.raises(CatalogueError, match="errors of the extinction must be positive"):
        MeasuredStars.make(*columns, np.zeros(5))
    with pytest.raises(CatalogueError, match="must be finite"):
        MeasuredStars.make(*columns, np.full(5, np.nan))
    with pytest.raises(CatalogueError, match="5 distances need as many"):
        MeasuredStars.make(*columns, np.ones(4))
    likelihood = MarginalLikelihood.from_stars(GRID, stars)
    with pytest.raises(GridError, match="does not end in"):
        likelihood.log_likelihood(torch.zeros(3, 3))
    with pytest.raises(CatalogueError, match="share their grid, noise and options"):
        likelihood + likelihood.with_noise(StudentNoise())
    with pytest.raises(CatalogueError, match="no chunks"):
        MarginalLikelihood.total([])
