"""Scores of maps against a truth, by hand-made cases."""

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose

from gpdust import PercentileMaps, Region
from gpdust.errors import PosteriorError
from gpdust.scores import bias_and_scatter, coverage, crps, density_scores, relative_error

GRID = Region(l=(0, 10) * u.deg, b=(-5, 5) * u.deg, distance=(100, 200) * u.pc).grid((2, 1, 5))  # 20 pc cells
DENSITY = u.mag / u.pc


def make_maps(truth: np.ndarray, factor: float, width: float, shift: float = 0.0) -> PercentileMaps:
    density = truth * factor + width * truth * np.array([-1, 0, 1])[:, None, None]
    extinction = np.cumsum(truth * 20, axis=-1) + shift + 0.1 * np.array([-1, 0, 1])[:, None, None]
    return PercentileMaps(GRID, (16.0, 50.0, 84.0), density, extinction)


@pytest.fixture
def truth() -> np.ndarray:
    density = np.full(GRID.shape, 1e-3)
    density[1, 2] = 5e-3
    return density


def test_perfect_map(truth):
    scores = density_scores(make_maps(truth, 1.0, 0.1), truth * DENSITY)
    assert scores.error_median == scores.structure_error_p90 == pytest.approx(0, abs=1e-12)
    assert scores.density_coverage == scores.extinction_coverage == 1
    assert (scores.structure_cells, scores.cells) == (1, 10)
    assert scores.extinction_bias == pytest.approx(0, abs=1e-12)


def test_map_that_is_off(truth):
    scores = density_scores(make_maps(truth, 1.2, 0.1, shift=-0.15), truth * DENSITY)
    assert scores.error_median == pytest.approx(0.2)
    assert scores.error_p90 == pytest.approx(0.2)
    assert scores.density_coverage == 0
    assert scores.extinction_coverage == 0
    assert scores.extinction_bias == pytest.approx(-0.15)
    assert scores.extinction_scatter == pytest.approx(0, abs=1e-12)
    assert "median 20.0%" in str(scores)


def test_dense_cells_count_apart(truth):
    maps = make_maps(truth, 1.0, 0.1)
    maps.density_values[1, 1, 2] = 2.5e-3
    scores = density_scores(maps, truth * DENSITY)
    assert scores.structure_error_median == pytest.approx(0.5)
    assert scores.error_median == pytest.approx(0, abs=1e-12)
    nothing = density_scores(maps, truth * DENSITY, structure=1 * DENSITY)
    assert nothing.structure_error_median is None
    assert "there are none" in str(nothing)


def test_extinction_in_front_of_the_maps_can_be_given(truth):
    in_front = np.cumsum(truth * 20, axis=-1) + 0.3
    maps = make_maps(truth, 1.0, 0.1, shift=0.3)
    assert density_scores(maps, truth * DENSITY).extinction_bias == pytest.approx(0.3)
    assert density_scores(maps, truth * DENSITY, in_front * u.mag).extinction_bias == pytest.approx(0, abs=1e-12)


def test_truths_that_do_not_fit(truth):
    maps = make_maps(truth, 1.0, 0.1)
    with pytest.raises(PosteriorError, match=r"has shape \(2, 4\), but the maps have \(2, 5\)"):
        density_scores(maps, truth[:, :4] * DENSITY)
    with pytest.raises(PosteriorError, match="must be positive"):
        density_scores(maps, 0 * truth * DENSITY)


def test_formulas_on_arrays():
    assert_allclose(relative_error(np.array([1.0, 3.0]), np.array([2.0, 2.0])), [0.5, 0.5])
    assert coverage(np.array([0, 0]), np.array([1, 1]), np.array([1, 2])) == 0.5
    assert_allclose(bias_and_scatter(np.array([1.0, 3.0]), np.array([0.0, 0.0])), [2, 1])


def test_crps():
    assert_allclose(crps(np.array([[1.0, 4.0], [1.0, 4.0]]), np.array([3.0, 4.0])), [2, 0])
    # pairs of {0, 1}: E|X − y| = 1/2 and E|X − X'| = 1 for another draw
    assert_allclose(crps(np.array([0.0, 1.0]), np.array(0.5)), 0)
    draws = np.random.default_rng(0).standard_normal(20_000)
    assert_allclose(crps(draws, np.array(0.0)), 2 / np.sqrt(2 * np.pi) - 1 / np.sqrt(np.pi), atol=0.01)
