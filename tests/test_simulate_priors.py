"""Truths drawn from a prior have its moments, on any grid, and can be observed."""

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import gpdust
from gpdust.prior import InducingGP, SampledVolume, SpectralGP
from gpdust.simulate import mock_survey, prior_truth
from gpdust.simulate import priors as priors_module

MEAN = 1.6e-3 * u.mag / u.pc
OPTIONS = {"length_scale": 15 * u.pc, "amplitude": 0.3, "mean_density": MEAN}
PRIORS = [SpectralGP("matern32", **OPTIONS), InducingGP("rbf", inducing=40, **OPTIONS)]


@pytest.mark.parametrize("prior", PRIORS, ids=["spectral", "inducing"])
def test_a_truth_has_the_moments_of_its_prior(prior, region):
    grid = region.grid((12, 6, 10))
    placed = prior.placed(SampledVolume(grid, np.zeros(grid.shape, int)), 0)
    values = np.log10([prior_truth(placed, grid, seed).density.value for seed in range(20)])
    assert values.mean() == pytest.approx(np.log10(1.6e-3), abs=0.04)
    variance = 0.09
    if isinstance(placed, SpectralGP):  # length scales of a cell: what lies beyond the modes of the box is left out
        variance = float((placed.mode_variance(None) * placed.box.multiplicity()).sum())
        assert 1 - placed.misplaced_variance() < variance / 0.09 < 0.95
    assert values.std() == pytest.approx(variance**0.5, rel=0.08)
    deviation = values - np.log10(1.6e-3)
    neighbours = (deviation[..., 1:] * deviation[..., :-1]).mean() / 0.09
    assert 0.1 < neighbours < 0.95  # 12 pc apart


@pytest.mark.parametrize("prior", PRIORS, ids=["spectral", "inducing"])
def test_seeds_decide_truths(prior, region, monkeypatch):
    grid = region.grid((4, 3, 5))
    first, again, other = (prior_truth(prior, grid, seed).density.value for seed in (1, 1, 2))
    assert_array_equal(first, again)
    assert not np.isclose(first, other).any()
    monkeypatch.setattr(priors_module, "CHUNK_POINTS", 11)
    assert_allclose(prior_truth(prior, grid, 1).density.value, first, rtol=1e-10)


def test_a_truth_can_be_observed_and_fitted(region):
    grid = region.grid((3, 3, 5))
    options = OPTIONS | {"length_scale": 60 * u.pc}
    placed = InducingGP(inducing=20, learn=False, **options).placed(SampledVolume(grid, np.zeros(grid.shape, int)), 0)
    truth = prior_truth(placed, grid, 3)
    survey = mock_survey(truth, region, 2000, 4)
    posterior = gpdust.fit(gpdust.DustModel(survey.catalogue, grid, placed), engine="svi", progress=False)
    off = np.log10(posterior.percentiles([50], samples=60).density_values[0] / truth.density.value)
    assert np.median(np.abs(off)) < 0.1  # of a prior of 0.3 dex
