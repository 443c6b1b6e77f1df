"""The hard truths of the benchmark suite, and surveys in chunks."""

import astropy.units as u
import numpy as np
import pytest

import gpdust
from gpdust.errors import ConfigError
from gpdust.simulate import GridTruth, mock_catalogues, mock_survey, sheet_density, wide_range_density
from gpdust.simulate.clumps import CLUMP_REGION

GRID = CLUMP_REGION.grid((50, 50, 60))


@pytest.mark.parametrize("seed", range(4))
def test_sheets_and_filaments_are_thin_and_dense(seed):
    density = GridTruth.sample(sheet_density(seed), GRID).density.value
    assert density.min() >= 1.6e-3
    assert density.max() > 1.6e-3 * 8
    assert 0.03 < np.mean(density > 3.2e-3) < 0.4


@pytest.mark.parametrize("seed", range(4))
def test_wide_range_spans_four_decades(seed):
    density = GridTruth.sample(wide_range_density(seed), GRID).density.value
    assert np.log10(density.max() / density.min()) > 4
    assert density.max() == pytest.approx(0.1, rel=0.4)


@pytest.mark.parametrize("make", [sheet_density, wide_range_density])
def test_seeds_and_regions_decide(make):
    points = np.random.default_rng(0).uniform(-300, 300, (50, 3))
    np.testing.assert_array_equal(make(1)(points), make(1)(points))
    assert not np.array_equal(make(1)(points), make(2)(points))
    small = gpdust.Region((0, 20) * u.deg, (0, 20) * u.deg, (50, 90) * u.pc)
    assert not np.array_equal(make(1, small)(points), make(1)(points))


def test_chunks_of_a_survey():
    truth = GridTruth.sample(sheet_density(0), CLUMP_REGION.grid((10, 10, 12)))
    chunks = list(mock_catalogues(truth, CLUMP_REGION, 2500, 3, chunk=1000))
    assert [len(chunk) for chunk in chunks] == [1000, 1000, 500]
    distances = np.concatenate([chunk.distance.value for chunk in chunks])
    assert len(np.unique(distances)) == 2500
    again = list(mock_catalogues(truth, CLUMP_REGION, 5000, 3, chunk=1000))
    np.testing.assert_array_equal(again[1].extinction.value, chunks[1].extinction.value)
    assert not np.isin(mock_survey(truth, CLUMP_REGION, 1000, 3).catalogue.distance.value, distances).any()


def test_a_model_reads_chunks_as_they_come():
    truth = GridTruth.sample(sheet_density(0), CLUMP_REGION.grid((10, 10, 12)))
    chunks = mock_catalogues(truth, CLUMP_REGION, 2500, 3, chunk=1000)
    model = gpdust.DustModel(chunks, CLUMP_REGION.grid((3, 3, 4)), gpdust.InducingGP(inducing=10))
    assert model.stars_used.used == 2500
    with pytest.raises(ConfigError, match="at least one star"):
        next(mock_catalogues(truth, CLUMP_REGION, 0, 3))
