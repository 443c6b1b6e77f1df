"""Few draws where stars are many; more where the mean follows those few."""

import warnings

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose

import gpdust
from gpdust.fitting import ConvergenceWarning
from gpdust.inference.checkpoint import fingerprint, load_state, save_state
from gpdust.inference.newton import Newton
from gpdust.inference.progress import Progress
from gpdust.inference.sample_size import FEW, MANY, MOST_NUMBERS, most_samples
from gpdust.inference.state import NewtonState
from gpdust.prior import SampledVolume
from gpdust.simulate import mock_survey, prior_truth

FEW_STARS, MANY_STARS = 100, 5000
SCALE = 25 * u.pc


@pytest.fixture(scope="module")
def wild(region):
    """A truth of 0.8 dex, drawn from the prior of the fits, on 6 × 6 × 10 cells: grid, prior and truth."""
    grid = region.grid((6, 6, 10))
    prior = gpdust.SpectralGP("matern32", SCALE, 0.8, 1e-3 * u.mag / u.pc, learn=False)
    prior = prior.placed(SampledVolume(grid, np.zeros(grid.shape, dtype=np.int64)))
    return grid, prior, prior_truth(prior, grid, 0)


def model_of(wild, region, stars: int, **options) -> gpdust.DustModel:
    grid, prior, truth = wild
    if options:
        prior = gpdust.SpectralGP("matern32", SCALE, 0.8, 1e-3 * u.mag / u.pc, **options).with_box(prior.box)
    return gpdust.DustModel(mock_survey(truth, region, stars, 1).catalogue, grid, prior)


def fit(model: gpdust.DustModel, **options) -> gpdust.Posterior:
    return gpdust.fit(model, engine="mgvi", progress=False, **options)


def test_few_stars_and_wide_draws_get_more_of_them_and_a_better_fit(wild, region):
    model = model_of(wild, region, FEW_STARS)
    chosen, few = fit(model), fit(model, samples=FEW)
    assert 2 * len(chosen.spread.draws) == MANY and 2 * len(few.spread.draws) == FEW
    assert "more samples would fit better" in few.report.reason
    assert chosen.report.converged
    error = np.hypot(chosen.report.elbo_error, few.report.elbo_error)
    assert chosen.report.elbo > few.report.elbo + error
    # The same place as with as many from the beginning, to what 100 draws know of it.
    many = fit(model, samples=MANY)
    assert abs(chosen.report.elbo - many.report.elbo) < 5 * np.hypot(chosen.report.elbo_error, many.report.elbo_error)


def test_many_stars_need_no_more(wild, region):
    model = model_of(wild, region, MANY_STARS)
    chosen, few = fit(model), fit(model, samples=FEW)
    assert 2 * len(chosen.spread.draws) == FEW
    assert_allclose(chosen.mean, few.mean, atol=1e-12)  # nor does looking change anything


@pytest.mark.parametrize("few", [True, False])
def test_hyperparameters_are_found_with_more_draws(wild, region, monkeypatch, few):
    """From the first where stars are few; else they are found again."""
    monkeypatch.setattr(Newton, "_has_few_stars", few)
    posterior = fit(model_of(wild, region, 300, learn=["amplitude"]))
    phases = posterior.trace.phase
    assert 2 * len(posterior.spread.draws) == MANY and posterior.report.converged
    assert ("learn" in phases[phases.index("settle") :]) != few and phases[-1] == "settle"
    error = posterior.theta_covariance[0, 0].sqrt() * 0.8 * np.log(2)
    assert abs(posterior.hyperparameters["amplitude"] - 0.8) < 3 * error


@pytest.mark.parametrize("seed", [0, 1])
def test_an_amplitude_does_not_run_away_from_few_stars(wild, region, seed):
    """Where draws are too wide for their number, slopes by θ at them pull ever harder: to 2 dex and more, unchecked."""
    grid, prior, _ = wild
    world = grid, prior, prior_truth(prior, grid, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it may well say that it has not
        posterior = fit(model_of(world, region, 100, learn=["amplitude"]))
    assert posterior.hyperparameters["amplitude"] < 1.6


def test_a_fit_that_is_stopped_when_it_takes_more_goes_on_to_the_same_end(wild, region, tmp_path):
    model, path, bar = model_of(wild, region, FEW_STARS), tmp_path / "fit.checkpoint", Progress(1, shown=False)
    newton = Newton(model, dense=False)
    mark, state = fingerprint(model, "mgvi", 0, newton.options), newton.init(0)
    while state.samples == FEW:
        state = newton.stage(state, bar)
    save_state(path, state, mark)
    ends = []
    for engine, begun in ((newton, state), (Newton(model, dense=False), load_state(path, mark, NewtonState))):
        assert begun.samples == MANY and begun.phase == "settle"
        while begun.phase != "done":
            begun = engine.stage(begun, bar)
        ends.append((begun, engine.finish(begun)[1]))
    (one, report), (other, report_again) = ends
    assert_allclose(other.mean, one.mean, atol=2e-3)
    assert report.elbo == pytest.approx(report_again.elbo, abs=1.0)


@pytest.mark.parametrize("samples", [2, 20, 400])
def test_a_given_number_is_kept(samples):
    assert most_samples(samples, 1000, 1000) == samples


def test_memory_bounds_how_many_there_may_be():
    assert most_samples("auto", 1000, 1000) == MANY
    latents, cells = 1_000_000, 500_000
    assert FEW < most_samples("auto", latents, cells) < MANY
    assert most_samples("auto", latents, cells) / 2 * (latents + cells) <= MOST_NUMBERS
    assert most_samples("auto", 10**8, 10**8) == FEW
