"""The whole chain is calibrated where the truth is drawn from the very prior of the fit."""

import astropy.units as u
import numpy as np
import pytest

import gpdust
from gpdust.scores import LEVELS, posterior_scores
from gpdust.simulate import mock_survey, prior_truth
from gpdust.simulate.clumps import CLUMP_REGION


@pytest.mark.slow
def test_coverage_is_nominal_where_the_prior_is_right():
    grid = CLUMP_REGION.grid((6, 6, 10))
    # An inducing point on every cell: no residual is left, and the model of the fit is exactly how the truth was made.
    prior = gpdust.InducingGP(
        "matern32",
        inducing=grid.cell_points() * u.pc,
        length_scale=60 * u.pc,
        amplitude=0.3,
        mean_density=1.6e-3 * u.mag / u.pc,
        learn=False,
    )
    found = []
    for seed in range(6):
        truth = prior_truth(prior, grid, seed)
        model = gpdust.DustModel(mock_survey(truth, CLUMP_REGION, 5000, seed).catalogue, grid, prior)
        scores = posterior_scores(gpdust.fit(model, engine="svi", progress=False, seed=seed), truth)
        found.append([[scores.density_coverage[level], scores.extinction_coverage[level]] for level in LEVELS])
    assert np.abs(np.mean(found, axis=0) - np.array(LEVELS)[:, None] / 100).max() < 0.03
