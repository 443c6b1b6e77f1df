"""Cubes of simulated dust follow their laws: jumps, kernels, discs and scales."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from gpdust.errors import EncoderError
from gpdust.simulate.cubes import RECIPES, LevyFlights, log_normal_density
from gpdust.simulate.cubes.disc import SCALE_HEIGHT, convolved, multiplied
from gpdust.simulate.cubes.recipes import LARGE_REGION_FLIGHTS, MOST, SMALL_REGION_FLIGHTS

JUMPS = 100_000


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module", params=[1.7, 0.8])
def flight(request) -> tuple[float, np.ndarray, np.ndarray]:
    """Exponent, lengths and directions of the jumps of a long flight, whose smallest jump is 1."""
    smallest, exponent = 1e-3, request.param
    if exponent == 1.7:
        positions = LevyFlights(1, 1, JUMPS, exponent, smallest).flight([0, 0, 0], 5).astype(float)
        jumps = np.diff(positions, axis=0, prepend=0)
    else:  # jumps so long that float32 forgets the short ones between them: first jumps of many flights
        one = LevyFlights(1, 1, 1, exponent, smallest)
        jumps = np.concatenate([one.flight([0, 0, 0], seed) for seed in range(20_000)]).astype(float)
    lengths = np.linalg.norm(jumps, axis=1)
    return exponent, lengths / smallest, jumps / lengths[:, None]


def test_jumps_follow_the_law(flight):
    exponent, lengths, _ = flight
    pareto = stats.pareto(exponent)
    assert stats.kstest(lengths, pareto.cdf).pvalue > 0.01
    tail = pareto.isf(1 / 32)  # beyond it powers aren't interpolated; a tail of a Pareto law is one again
    assert stats.kstest(lengths[lengths > tail] / tail, pareto.cdf).pvalue > 0.01
    assert abs((lengths > tail).mean() * 32 - 1) < 5 * np.sqrt(32 / lengths.size)
    assert lengths.min() > 0.99


def test_jumps_are_isotropic(flight):
    _, lengths, directions = flight
    for component in directions.T:  # of a point on a sphere, each is uniform
        assert stats.kstest(component, stats.uniform(-1, 2).cdf).pvalue > 0.01
    error = 5 / np.sqrt(len(directions))
    assert_allclose(directions.T @ directions / len(directions), np.eye(3) / 3, atol=error)
    azimuth = np.arctan2(directions[:, 1], directions[:, 0])
    assert stats.kstest(azimuth, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 0.01
    assert abs((directions[1:] * directions[:-1]).sum(1).mean()) < error
    assert abs(stats.spearmanr(lengths, np.abs(directions[:, 2])).statistic) < error


def test_particles_are_counted_where_they_are():
    flights = LevyFlights(3, 2, 500, smallest=0.01, half_height=0.1)
    generator = rng(4)
    starts = generator.random((3, 3))
    starts[:, 2] = 0.4 + 0.2 * starts[:, 2]
    seeds = generator.integers(0, 2**64, (3, 2), dtype=np.uint64)
    positions = np.concatenate([flights.flight(starts[i], seeds[i, j]) for i in range(3) for j in range(2)])
    expected = np.histogramdd(positions, bins=3 * [np.linspace(0, 1, 9)])[0]
    assert 0 < expected.sum() < 3000
    assert_array_equal(flights.particles(rng(4), 8), expected)


@pytest.mark.parametrize("flights", [SMALL_REGION_FLIGHTS, LARGE_REGION_FLIGHTS], ids=["small", "large"])
def test_more_cells_show_the_same_flights(flights):
    coarse, fine = flights.particles(rng(1), 32), flights.particles(rng(1), 64)
    assert_array_equal(fine.reshape(32, 2, 32, 2, 32, 2).sum((1, 3, 5)), coarse)
    assert 0.2 < coarse.sum() / (flights.starts * flights.flights * flights.jumps) < 0.7


@pytest.mark.parametrize("centred", [True, False])
def test_log_normal_dust_has_no_seam(centred):
    length, draws = 5.0, 30
    logs = np.stack([np.log(log_normal_density(rng(s), 32, length, 1.0, centred)) for s in range(draws)])
    for axis in (1, 2, 3):
        planes = np.moveaxis(logs, axis, 0).reshape(32, -1)
        beside = (planes[1:] * planes[:-1]).mean(1) / (planes**2).mean(1)[:-1]
        assert beside.min() > 0.85  # nowhere a cut
        assert abs((planes[0] * planes[-1]).mean() / planes.var()) < 0.15  # the far side isn't the neighbour


def test_log_normal_dust_has_its_kernel():
    length, amplitude = 3.0, 1.5
    logs = np.stack([np.log(log_normal_density(rng(s), 16, length, amplitude, centred=False)) for s in range(150)])
    assert abs(logs.mean()) < 0.1
    assert logs.var() == pytest.approx(amplitude**2, rel=0.05)
    for axis in (1, 2, 3):
        planes = np.moveaxis(logs, axis, 0)
        for lag in (3, 6):
            scaled = np.sqrt(3) * lag / length
            found = (planes[lag:] * planes[:-lag]).mean() / amplitude**2
            assert found == pytest.approx((1 + scaled) * np.exp(-scaled), abs=0.04)


def test_the_densest_height_is_the_plane():
    for seed in range(10):
        planes = log_normal_density(rng(seed), 16, 2.0, 1.0).mean((0, 1))
        assert np.argmax(planes[1:] + planes[:-1]) == 7  # planes 7 and 8, on both sides of Z = 0


def test_a_disc_has_its_scale_height():
    uniform = np.ones((2, 2, 640), np.float32)
    profile = multiplied(uniform, 3.0)[0, 0]
    height = (np.arange(640) + 0.5) * 3 - 960
    assert_allclose(profile, np.exp(-np.abs(height) / SCALE_HEIGHT), rtol=2e-4)
    coarse = multiplied(uniform[..., :32], 60.0)[0, 0]
    assert_allclose(coarse, profile.reshape(32, 20).mean(1), rtol=1e-5)
    assert_allclose(convolved(uniform, 3.0), 1, rtol=1e-5)  # a convolution makes no disc
    sheet = np.zeros((2, 2, 640), np.float32)
    sheet[..., 320] = 1
    spread = convolved(sheet, 3.0)[0, 0]
    inner = slice(160, 480)  # at the faces the weights are those of the cells that are left
    assert_allclose(
        (spread / spread[320])[inner], np.exp(-np.abs(height - height[320]) / SCALE_HEIGHT)[inner], rtol=0.02
    )
    assert spread.sum() == pytest.approx(1, rel=1e-2)


@pytest.mark.parametrize("name", ["large-region", "large-region-levy"])
def test_large_regions_are_discs_around_the_plane(name):
    cubes = np.stack([RECIPES[name].simulate(rng(seed)) for seed in range(16)])
    profile = (cubes / cubes.mean((1, 2, 3), keepdims=True)).mean((0, 1, 2))
    centres = (np.arange(32) - 15.5) * 60
    assert abs((profile * centres).sum() / profile.sum()) < 25  # pc
    assert profile[14:18].sum() > 0.6 * profile.sum()
    assert profile[:4].sum() + profile[-4:].sum() < 0.01 * profile.sum()


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("cells", [32, 64])
def test_recipes_scale_their_cubes(recipe, cells):
    low, high = recipe.bounds
    for seed in range(3):
        density = recipe.simulate(rng(seed), cells)
        assert density.dtype == np.float32
        assert density.shape == 3 * (cells,)
        assert np.isfinite(density).all()
        assert density.min() >= 0
        bound = rng(seed).uniform(low, high)
        assert np.quantile(density, MOST) == pytest.approx(bound, rel=1e-3)
        assert (density <= bound * 1.001).mean() > 0.999
        assert_array_equal(density, recipe.simulate(rng(seed), cells))
    assert not np.array_equal(density, recipe.simulate(rng(9), cells))


def test_small_regions_are_about_a_magnitude_deep():
    depths = [RECIPES["small-region"].simulate(rng(seed)).sum(0).max() * 6 for seed in range(10)]
    assert 0.3 < np.median(depths) < 1.5
    assert max(depths) < 3
    assert [recipe.cell_length for recipe in RECIPES.values()] == [6, 60, 60]


@pytest.mark.parametrize("cells", [2, 33, -8])
def test_a_cube_needs_a_middle(cells):
    with pytest.raises(EncoderError, match="even number of cells"):
        RECIPES["small-region"].simulate(rng(), cells)
