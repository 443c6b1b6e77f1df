"""Mock surveys: where the stars are, what is true of them, and what is measured."""

import astropy.units as u
import numpy as np
import pytest
from scipy.stats import kstest

from gpdust.errors import ConfigError, GridError
from gpdust.grid import Region
from gpdust.simulate import (
    ErrorModel,
    ExponentialDisc,
    GridTruth,
    MagnitudeLimit,
    UniformDensity,
    clump_density,
    mock_survey,
    simulated_clumps,
)
from gpdust.simulate.streams import stream

RHO = u.mag / u.pc
REGION = Region(l=(350, 20) * u.deg, b=(-20, 40) * u.deg, distance=(100, 400) * u.pc)
DUST = UniformDensity(2e-3 * RHO)
N = 20_000


def survey(n=N, seed=3, region=REGION, dust=DUST, **options):
    return mock_survey(dust, region, n, seed, shape=(3, 4, 5), **options)


@pytest.fixture(scope="module")
def plain():
    return survey()


@pytest.fixture(scope="module")
def clumps():
    return simulated_clumps(7, n_stars=N)


def scaled(values, low, high):
    return (values - low) / (high - low)


def test_stars_are_uniform_in_space(plain):
    stars = plain.catalogue
    l = (stars.l.to_value(u.deg) - 350) % 360
    sin_b = np.sin(stars.b.to_value(u.rad))
    cube = plain.true_distance.to_value(u.pc) ** 3
    assert len(stars) == N
    assert kstest(scaled(l, 0, 30), "uniform").pvalue > 1e-3
    assert kstest(scaled(sin_b, np.sin(np.deg2rad(-20)), np.sin(np.deg2rad(40))), "uniform").pvalue > 1e-3
    assert kstest(scaled(cube, 100.0**3, 400.0**3), "uniform").pvalue > 1e-3
    assert np.abs(np.corrcoef([l, sin_b, cube])[np.triu_indices(3, 1)]).max() < 5 / np.sqrt(N)


def test_stars_fill_the_padding_and_spare_the_foreground():
    padded = Region(REGION.l, REGION.b, REGION.distance, foreground_cells=2, background=100 * u.pc)
    stars = survey(region=padded)
    distance = stars.true_distance.to_value(u.pc)
    assert distance.min() > 100
    assert 499 < distance.max() <= 500
    np.testing.assert_allclose(stars.true_extinction.to_value(u.mag), 2e-3 * distance, rtol=1e-10)


def test_noise_has_the_reported_error(clumps):
    stars = clumps.catalogue
    np.testing.assert_allclose(stars.extinction_error.value, np.maximum(0.1 * clumps.true_extinction.value, 1e-6))
    residual = ((stars.extinction - clumps.true_extinction) / stars.extinction_error).to_value("")
    assert kstest(residual, "norm").pvalue > 1e-3
    assert residual.std() == pytest.approx(1, abs=4 / np.sqrt(2 * N))
    assert residual.mean() == pytest.approx(0, abs=4 / np.sqrt(N))
    assert abs(np.corrcoef(residual, clumps.true_extinction.value)[0, 1]) < 5 / np.sqrt(N)


def test_distances_are_exact_by_default(plain):
    np.testing.assert_array_equal(plain.catalogue.distance.value, plain.true_distance.value)
    assert plain.catalogue.distance_error is None


def test_error_floor():
    stars = survey(errors=ErrorModel(fraction=0.1, floor=40 * u.mmag))
    sigma = stars.catalogue.extinction_error.to_value(u.mag)
    faint = stars.true_extinction.to_value(u.mag) < 0.4
    assert 0 < faint.sum() < N
    np.testing.assert_allclose(sigma[faint], 0.04)
    np.testing.assert_allclose(sigma[~faint], 0.1 * stars.true_extinction.value[~faint])


def test_stars_without_dust_in_front_stay_usable():
    stars = survey(dust=UniformDensity(0 * RHO))
    assert len(stars.catalogue) == N
    np.testing.assert_array_equal(stars.true_extinction.value, 0)
    np.testing.assert_array_equal(stars.catalogue.extinction_error.value, 1e-6)


def test_measured_distances_scatter_and_stay_positive():
    good = survey(errors=ErrorModel(distance_fraction=0.1))
    ratio = (good.catalogue.distance / good.true_distance).to_value("")
    assert ratio.std() == pytest.approx(0.1, rel=4 / np.sqrt(2 * N))
    assert ratio.mean() == pytest.approx(1, abs=4 * 0.1 / np.sqrt(N))
    np.testing.assert_allclose(good.catalogue.distance_error.value, 0.1 * good.true_distance.value)
    poor = survey(errors=ErrorModel(distance_fraction=0.8))  # one in ten would be negative
    assert len(poor.catalogue) == N
    assert poor.catalogue.distance.value.min() > 0


def test_scale_height_thins_the_stars_away_from_the_plane():
    region = Region(l=(0, 40) * u.deg, b=(0, 90) * u.deg, distance=(100, 400) * u.pc)
    stars = survey(200_000, region=region, scale_height=80 * u.pc)
    height = stars.true_distance.value * np.sin(stars.catalogue.b.to_value(u.rad))
    # at a height z of 100 pc or more, the region is a sector of a circle of radius √(400² − z²)
    low, high = (np.count_nonzero((height > z) & (height < z + 10)) for z in (100, 180))
    area = [400**2 - np.mean(np.linspace(z, z + 10, 50) ** 2) for z in (100, 180)]
    assert high / low == pytest.approx(np.exp(-1) * area[1] / area[0], rel=0.06)


def test_scale_height_far_from_the_plane_is_not_slow():
    region = Region(l=(0, 40) * u.deg, b=(-80, -60) * u.deg, distance=(2000, 2400) * u.pc)
    assert len(survey(100, region=region, scale_height=60 * u.pc).catalogue) == 100


def test_dust_hides_stars_from_a_magnitude_limited_survey():
    limit = MagnitudeLimit(17 * u.mag, 8 * u.mag, 1.5 * u.mag)
    clear, dusty = (survey(dust=UniformDensity(rho * RHO), limit=limit) for rho in (0, 6e-3))
    assert len(dusty.catalogue) == N
    assert np.mean(dusty.true_distance.value > 350) < 0.9 * np.mean(clear.true_distance.value > 350)
    # a star of 8 mag at 100 pc behind 4 mag of dust has 17 mag: half of such stars are seen
    assert limit.probability(np.array([100.0]), np.array([4.0])) == pytest.approx(0.5)
    assert limit.probability(np.array([100.0]), np.array([2.5])) == pytest.approx(0.8413, abs=1e-4)


def test_streams_of_one_seed_differ():
    names = ("density", "positions", "selection", "extinctions", "distances")
    numbers = np.array([stream(5, name).random(1000) for name in names])
    assert np.abs(np.corrcoef(numbers)[np.triu_indices(len(names), 1)]).max() < 0.15
    np.testing.assert_array_equal(stream(5, "density").random(1000), numbers[0])


def test_seeds_reproduce(clumps):
    again = simulated_clumps(7, n_stars=N)
    for name in ("l", "b", "distance", "extinction", "extinction_error"):
        np.testing.assert_array_equal(getattr(again.catalogue, name), getattr(clumps.catalogue, name))
    other = simulated_clumps(8, n_stars=N)
    assert not np.array_equal(other.truth.density, clumps.truth.density)
    assert not np.array_equal(other.catalogue.l, clumps.catalogue.l)


def test_truth_does_not_depend_on_the_stars(clumps):
    few = simulated_clumps(7, n_stars=50, noise=0.3)
    np.testing.assert_array_equal(few.truth.density, clumps.truth.density)
    # and a larger survey begins with the stars of a smaller one
    np.testing.assert_array_equal(few.true_extinction, clumps.true_extinction[:50])
    np.testing.assert_array_equal(few.catalogue.b, clumps.catalogue.b[:50])


def test_selected_surveys_begin_alike_too():
    limit = MagnitudeLimit(16 * u.mag, 8 * u.mag, 1.5 * u.mag)
    few, many = (survey(n, limit=limit, scale_height=100 * u.pc) for n in (50, 15_000))
    np.testing.assert_array_equal(few.true_distance, many.true_distance[:50])


def test_clumps_follow_the_paper(clumps):
    grid = clumps.truth.grid
    assert grid.sky_shape == (100, 100)
    assert grid.n_cells == 115
    np.testing.assert_allclose(grid.l_edges.value, np.linspace(50, 90, 101))
    np.testing.assert_allclose(grid.b_edges.value, np.linspace(-10, 10, 101), atol=1e-12)
    np.testing.assert_allclose(grid.edges, np.linspace(180, 500, 116))
    density, extinction = clumps.truth.density.value, clumps.truth.extinction.value
    assert density.min() == pytest.approx(1.6e-3, rel=1e-6)
    assert 4 * 1.6e-3 < density.max() < 3 * 11 * 1.6e-3
    assert extinction[:, -1].min() == pytest.approx(0.512, rel=1e-3)  # "a total background extinction of 0.5 mag"
    np.testing.assert_allclose(clumps.truth.extinction_at(clumps.catalogue), clumps.true_extinction)


def test_clumps_lie_in_the_region():
    background, *clumps = clump_density(11).parts
    assert len(clumps) == 3
    assert background.density == 1.6e-3 * RHO
    for clump in clumps:
        x, y, z = clump.centre.to_value(u.pc)
        distance = np.hypot(np.hypot(x, y), z)
        assert 180 <= distance <= 500
        assert 50 <= np.rad2deg(np.arctan2(y, x)) <= 90
        assert abs(np.rad2deg(np.arcsin(z / distance))) <= 10
        assert 10 <= clump.sigma.to_value(u.pc) <= 25
        assert 3 <= clump.peak / background.density <= 10


def test_survey_needs_a_truth_that_covers_it():
    truth = GridTruth.sample(DUST, Region((350, 10) * u.deg, (-20, 40) * u.deg, (100, 400) * u.pc).grid((2, 2, 2)))
    with pytest.raises(GridError, match="outside the grid"):
        mock_survey(truth, REGION, 100, 1)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: survey(0), "at least one star"),
        (lambda: survey(limit=MagnitudeLimit(0 * u.mag, 8 * u.mag, 1 * u.mag)), "can be seen"),
        (lambda: survey(scale_height=0 * u.pc), "scale_height must be positive"),
        (lambda: ErrorModel(fraction=-0.1), "fraction of an ErrorModel"),
        (lambda: ErrorModel(distance_fraction=np.nan), "distance_fraction"),
        (lambda: ErrorModel(floor=-1 * u.mag), "floor"),
        (lambda: MagnitudeLimit(17 * u.mag, 8 * u.mag, 0 * u.mag), "spread"),
    ],
)
def test_unusable_numbers_are_refused(make, words):
    with pytest.raises(ConfigError, match=words):
        make()


def test_a_disc_of_dust_can_be_surveyed_directly():
    stars = survey(100, dust=ExponentialDisc(1e-3 * RHO, 100 * u.pc))
    assert stars.truth.grid.shape == (12, 5)
    assert stars.catalogue.extinction.shape == (100,)
