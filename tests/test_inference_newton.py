"""natural and mgvi: the linear-Gaussian limit, each other, and what any fit must do."""

from __future__ import annotations

import math

import astropy.units as u
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import gpdust
from gpdust.errors import InferenceError
from gpdust.fitting import ConvergenceWarning, choose_engine
from gpdust.inference import Newton, NewtonOptions, Progress, mean

TIGHT = {"tolerance": 1e-6, "solve_tolerance": 1e-4, "sample_tolerance": 1e-4}
ENGINES = ("natural", "mgvi")


def fit(model: gpdust.DustModel, engine: str, **options) -> gpdust.Posterior:
    return gpdust.fit(model, engine=engine, progress=False, **options)


# One algorithm, two kinds of linear algebra


@pytest.mark.parametrize("learn", [False, True])
def test_natural_and_mgvi_are_the_same_fit(small_model, learn):
    options = TIGHT | ({"theta_tolerance": 1e-3} if learn else {})
    natural, mgvi = (fit(small_model(learn=learn), engine, samples=400, **options) for engine in ENGINES)
    deviation = natural.scale.square().sum(-1).sqrt()
    known = 0.05 if learn else 1e-3  # θ to √(2 · 1e-3) of its error
    assert float(((mgvi.mean - natural.mean) / deviation).abs().max()) < known
    spread = mgvi.spread.draws.square().mean(0).sqrt()
    assert_allclose(spread / deviation, 1, atol=4 / math.sqrt(2 * 200))
    assert_allclose(mgvi.theta, natural.theta, atol=0.05)
    assert mgvi.report.elbo == pytest.approx(natural.report.elbo, abs=0.1 + 4 * mgvi.report.elbo_error)


@pytest.mark.parametrize("precondition", [False, True])
@pytest.mark.parametrize("coarse_start", [False, True])
def test_neither_preconditioner_nor_start_change_the_fit(small_model, monkeypatch, precondition, coarse_start):
    monkeypatch.setattr("gpdust.inference.coarse_start.COARSEST_CELLS", 8)
    natural = fit(small_model(), "natural", **TIGHT)
    mgvi = fit(small_model(), "mgvi", precondition=precondition, coarse_start=coarse_start, **TIGHT)
    deviation = natural.scale.square().sum(-1).sqrt()
    assert float(((mgvi.mean - natural.mean) / deviation).abs().max()) < 2e-3


def test_the_mean_is_where_the_gradient_vanishes_and_the_spread_that_of_the_metric(small_model):
    posterior = fit(small_model(), "natural", **TIGHT)
    model, nothing = small_model(), torch.zeros(0, dtype=torch.float64)
    newton = Newton(model, NewtonOptions(**TIGHT))
    state, bar = newton.init(0), Progress(1, shown=False)
    while state.phase != "done":
        state = newton.stage(state, bar)
    assert torch.equal(state.mean, posterior.mean)
    values = torch.cat([state.mean + state.draws, state.mean - state.draws]).requires_grad_()
    energy = -model.log_likelihood(values, nothing)
    (slopes,) = torch.autograd.grad(energy.sum(), values)
    gradient = state.mean + slopes.mean(0)
    deviation = posterior.scale.square().sum(-1).sqrt()
    assert float((gradient * deviation).abs().max()) < 1e-2
    information = torch.linalg.inv(posterior.scale @ posterior.scale.mT) - torch.eye(12)
    assert float(torch.linalg.eigvalsh(information)[0]) > -1e-9


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("learn", [False, True])
def test_the_same_seed_gives_the_same_fit(any_model, engine, learn):
    if engine == "natural" and isinstance(any_model().prior, gpdust.SpectralGP):
        with pytest.raises(InferenceError, match="needs an InducingGP; a SpectralGP is fitted by mgvi"):
            fit(any_model(), engine)
        return
    first, again = (fit(any_model(learn=learn), engine, seed=3) for _ in range(2))
    assert torch.equal(first.mean, again.mean) and torch.equal(first.theta, again.theta)
    for name, tensor in first.spread.tensors().items():
        assert torch.equal(again.spread.tensors()[name], tensor)
    assert first.trace.elbo == again.trace.elbo and first.report == again.report


@pytest.mark.parametrize("engine", ENGINES)
def test_another_seed_gives_nearly_the_same_fit(small_model, engine):
    one, other = (fit(small_model(), engine, seed=seed, samples=200) for seed in (0, 5))
    assert not torch.equal(one.mean, other.mean)
    deviation = one.spread.draw(400, 0).square().mean(0).sqrt()
    assert float(((other.mean - one.mean) / deviation).abs().max()) < 0.3


@pytest.mark.parametrize("dense", [True, False])
def test_steps_never_raise_the_objective(stiff, dense):
    newton = Newton(stiff(learn=False), NewtonOptions(tolerance=1e-4), dense)
    state, bar = newton.init(0), Progress(1, shown=False)
    while state.phase != "done":
        before = len(state.trace)
        state = newton.stage(state, bar)  # one set of draws
        elbo = np.array(state.trace.elbo[before:])
        assert (np.diff(elbo) >= -1e-9 * np.abs(elbo[:-1])).all()
    assert len(state.trace) >= 5


def test_a_climb_to_a_density_far_above_the_prior_is_short(catalogue, region, small_prior, monkeypatch):
    """A hundred times denser than its mean, more or less: without steps for that, a climb takes twice as many."""
    rng = np.random.default_rng(0)
    l, b, d = rng.uniform(50, 90, 400), rng.uniform(-10, 10, 400), rng.uniform(180, 300, 400)
    true = np.maximum(1.6e-3 * (d - 180) * np.exp(1.5 * np.sin(d / 10 + l / 5)), 1e-3)
    stars = catalogue(l, b, d, true * (1 + 0.05 * rng.standard_normal(400)), 0.05 * true)
    prior = small_prior(60, length_scale=30 * u.pc, amplitude=1.0, mean_density=1.6e-5 * u.mag / u.pc)
    model, steps = gpdust.DustModel(stars, region.grid((4, 4, 12)), prior), []
    for far in (mean.FAR, math.inf):
        monkeypatch.setattr(mean, "FAR", far)
        posterior = fit(model, "natural", coarse_start=False)
        assert posterior.report.converged
        steps.append(posterior.trace.phase.count("climb"))
    assert steps[0] <= 0.5 * steps[1]


@pytest.fixture(scope="module")
def stiff(catalogue, region, small_prior):
    """400 stars with errors from 1e-4 to 1 mag, of a density that the prior can make."""
    rng = np.random.default_rng(0)
    grid = region.grid((3, 3, 8))
    l, b, d = rng.uniform(50, 90, 400), rng.uniform(-10, 10, 400), rng.uniform(180, 300, 400)
    error = 10 ** rng.uniform(-4, 0, 400)

    def model(seen: np.ndarray, **options) -> gpdust.DustModel:
        return gpdust.DustModel(
            catalogue(l, b, d, seen, error), grid, small_prior(40, length_scale=30 * u.pc, **options)
        )

    empty = model(np.zeros(400))
    true = empty.density(torch.from_numpy(rng.standard_normal(40)), empty.prior.at(empty.points(slice(None))))
    rays, depth = grid.locate_rays(l, b), np.clip(d[:, None] - grid.edges[:-1], 0, grid.cell_lengths)
    seen = (true.numpy()[rays] * depth).sum(-1) + error * rng.standard_normal(400)

    def make(**options) -> gpdust.DustModel:
        return model(seen, **options)

    make.residuals = lambda posterior: (
        (
            seen
            - (
                make(learn=bool(len(posterior.theta)))
                .density(posterior.mean, posterior.prior.at(empty.points(slice(None)), posterior.theta))
                .detach()
                .numpy()[rays]
                * depth
            ).sum(-1)
        )
        / error
    )
    make.error = error
    return make


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("learn", [False, True])
def test_errors_over_four_decades_are_fitted_to_their_noise(stiff, engine, learn):
    posterior = fit(stiff(learn=learn), engine)
    residual, sharp = stiff.residuals(posterior), stiff.error < 1e-3
    assert posterior.report.converged and math.isfinite(posterior.report.elbo)
    assert 0.75 < np.mean(residual**2) < 1.1
    assert 0.4 < np.mean(residual[sharp] ** 2) < 1.3


# Limits


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("learn", [False, True])
def test_without_stars_the_posterior_is_the_prior(small_model, engine, learn):
    posterior = fit(small_model([], learn=learn), engine)
    assert_allclose(posterior.mean, 0, atol=1e-12)
    assert_allclose(posterior.theta, 0, atol=1e-12)
    if engine == "natural":
        assert_allclose(posterior.scale @ posterior.scale.mT, np.eye(12), atol=1e-12)
    else:
        assert_allclose(posterior.spread.draws.square().mean(), 1, atol=0.5)
    if learn:
        assert_allclose(posterior.theta_covariance, np.eye(5), atol=1e-9)
    assert posterior.report.converged and abs(posterior.report.elbo) < 1e-9


def test_without_stars_a_spectral_posterior_is_the_prior(spectral_model):
    posterior = fit(spectral_model([], amplitude=0.4), "mgvi", samples=100)
    assert_allclose(posterior.mean, 0, atol=1e-12)
    assert abs(posterior.report.elbo) < 1e-9 and posterior.report.converged
    density, _ = posterior.sample(count=100)
    assert_allclose(np.log10(density.value).std(axis=0).mean(), 0.4, rtol=0.15)


@pytest.mark.parametrize("engine", ENGINES)
def test_one_star_is_fitted(catalogue, small_model, engine):
    stars = catalogue(60, 3, 250, 0.3, 0.005)
    posterior = fit(small_model(stars), engine)
    assert posterior.report.converged
    assert abs(posterior.predict(stars, samples=20).mean.value[0] - 0.3) < 0.05


@pytest.mark.parametrize("engine", ENGINES)
def test_a_fit_that_runs_out_of_steps_says_so_and_warns(small_model, engine):
    with pytest.warns(ConvergenceWarning, match=r"NOT converged.*ran out of its 3 steps.*max_steps"):
        posterior = fit(small_model(), engine, max_steps=3, tolerance=1e-12)
    assert not posterior.report.converged
    assert posterior.report.steps == len(posterior.trace) == 3
    assert torch.isfinite(posterior.mean).all()


@pytest.mark.parametrize("samples", [0, 1, 7, "many"])
def test_an_odd_number_of_samples_is_refused(small_model, samples):
    with pytest.raises(InferenceError, match=f"must be .auto., or even.*got {samples!r}"):
        fit(small_model(), "mgvi", samples=samples)


def test_the_prior_decides_the_engine(small_prior, monkeypatch):
    assert choose_engine(small_prior(12))[0] == "natural"
    assert choose_engine(small_prior(5000))[0] == "mgvi"
    assert choose_engine(gpdust.SpectralGP())[0] == "mgvi"


def test_the_posterior_says_which_engine_and_why(small_model):
    automatic, asked = gpdust.fit(small_model(), progress=False), fit(small_model(), "mgvi")
    assert automatic.meta["engine"] == "natural" and "12 inducing points" in automatic.meta["engine_why"]
    assert asked.meta["engine"] == "mgvi" and asked.meta["engine_why"] == "as asked for"


@pytest.mark.parametrize("engine", ENGINES)
def test_the_trace_holds_every_hyperparameter_in_physical_units(small_model, engine):
    posterior = fit(small_model(learn=True), engine)
    trace = posterior.trace
    assert set(trace.hyperparameters) == set(posterior.hyperparameters)
    assert all(len(values) == len(trace) for values in trace.hyperparameters.values())
    for name, value in posterior.hyperparameters.items():
        assert trace.hyperparameters[name][-1] == pytest.approx(value, rel=1e-12)
    assert trace.hyperparameters["length_scale_x"][0] == pytest.approx(60, rel=1e-9)
    assert sum(len(trace.elbo_of(phase)) for phase in ("climb", "learn", "settle")) == len(trace)
    assert np.all(np.diff(trace.seconds) >= 0)
