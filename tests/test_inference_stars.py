"""Fits of stars as they are: uncertain distances, learned noise, outliers."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import gpdust
from gpdust.errors import InferenceError
from gpdust.inference import Newton, NewtonOptions, NewtonState, Progress
from gpdust.inference.checkpoint import fingerprint, load_state, save_state
from gpdust.inference.noise_step import best_noise
from gpdust.inference.response import Response
from gpdust.likelihood import FreeNoise

ENGINES = ("natural", "mgvi")
TIGHT = {"tolerance": 1e-8, "solve_tolerance": 1e-6, "sample_tolerance": 1e-6}


def measured(distance_share: float = 0.1, count: int = 400, scatter: float = 0.0, bad: float = 0.0, wave: float = 0.5):
    """Stars in a smooth density over the small region, with errors of both kinds, and which of them are bad."""
    rng = np.random.default_rng(0)
    true = 300 * rng.uniform((180 / 300) ** 3, 1, count) ** (1 / 3)
    extinction = 1.6e-3 * (true - 180) * (1 + wave * np.sin(true / 20))
    error = 0.05 * extinction + 5e-3
    wrong = rng.random(count) < bad
    noise = np.hypot(error, scatter) * rng.standard_normal(count) + np.where(wrong, 0.3, 0)
    stars = gpdust.StarCatalogue(
        l=rng.uniform(50, 90, count) * u.deg,
        b=rng.uniform(-10, 10, count) * u.deg,
        distance=np.clip(true * (1 + distance_share * rng.standard_normal(count)), 181, 299) * u.pc,
        distance_error=distance_share * true * u.pc if distance_share else None,
        extinction=(extinction + noise) * u.mag,
        extinction_error=error * u.mag,
    )
    return stars, wrong


def spread(posterior: gpdust.Posterior) -> torch.Tensor:
    return posterior.spread.draw(20, 0)


@pytest.mark.parametrize("engine", ENGINES)
def test_distances_that_become_exact_give_the_exact_posterior(small_model, engine):
    exact, _ = measured(0.0, 60)
    options = TIGHT if engine == "mgvi" else {"tolerance": 1e-10}
    posteriors = []
    for error in (None, 1e-7):
        stars = gpdust.StarCatalogue(
            **{name: getattr(exact, name) for name in ("l", "b", "distance", "extinction", "extinction_error")},
            distance_error=None if error is None else error * exact.distance,
        )
        posteriors.append(gpdust.fit(small_model(stars), engine=engine, progress=False, **options))
    known, nearly = posteriors
    scale = spread(known).std(0)
    assert float(((nearly.mean - known.mean) / scale).abs().max()) < 1e-6
    assert float(((spread(nearly) - spread(known)) / scale).abs().max()) < 1e-5  # draws of mgvi are known to 1e-6


@pytest.mark.parametrize("noise", [gpdust.GaussianNoise(), gpdust.StudentNoise(), gpdust.MixtureNoise()])
def test_the_gradient_is_that_of_differences(small_model, noise):
    stars, _ = measured(count=50)
    response = Response(small_model(stars, treatment=gpdust.StarTreatment(noise=noise)))
    generator = torch.Generator().manual_seed(0)
    log_density = -2.8 + 0.2 * torch.randn(24, dtype=torch.float64, generator=generator)
    gradient, step = response.energy_and_gradient(log_density)[1], 1e-5
    for cell in range(0, 24, 5):
        nudge = torch.zeros(24, dtype=torch.float64)
        nudge[cell] = step
        above, below = response.energy(log_density + nudge), response.energy(log_density - nudge)
        assert float(gradient[cell]) == pytest.approx(float(above - below) / (2 * step), rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("engine", ["natural", "mgvi", "svi"])
def test_all_engines_fit_uncertain_distances(small_model, engine):
    stars, _ = measured(0.05, 100)
    model = small_model(stars)
    posterior = gpdust.fit(model, engine=engine, progress=False, seed=1)
    reference = gpdust.fit(model, engine="natural", progress=False, samples=200)
    scale = reference.scale.square().sum(-1).sqrt()
    assert posterior.report.converged
    assert float(((posterior.mean - reference.mean) / scale).abs().max()) < 0.3
    assert abs(posterior.report.elbo - reference.report.elbo) < 1.0 + 4 * posterior.report.elbo_error


def test_the_best_noise_is_where_its_slope_vanishes(small_model):
    stars, _ = measured(0.05, 200, scatter=0.05)
    noise = gpdust.GaussianNoise(extra=0.02, proportional=0.1)
    model = small_model(stars, treatment=gpdust.StarTreatment(noise=noise, learn=("extra", "proportional")))
    free = model.free_noise
    extinction = (0.8e-3 * torch.arange(20.0, 140, 20, dtype=torch.float64)).expand(2, 4, 6) * torch.tensor(
        [1.9, 2.1], dtype=torch.float64
    ).reshape(2, 1, 1)

    def loss(x: np.ndarray) -> float:
        return 0.5 * x @ x - float(model.likelihood.with_noise(free.at(x)).log_likelihood(extinction).mean())

    best, covariance = best_noise(model.likelihood, free, extinction, np.zeros(2))
    step = 1e-3
    slopes = [(loss(best + s) - loss(best - s)) / (2 * step) for s in step * np.eye(2)]
    assert_allclose(slopes, 0, atol=0.05)
    assert (np.linalg.eigvalsh(covariance) > 0).all() and (np.linalg.eigvalsh(covariance) <= 1).all()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("learn", [False, True])
def test_a_scatter_that_errors_do_not_state_is_learned(small_model, engine, learn):
    stars, _ = measured(0.0, 1500, scatter=0.04)
    treatment = gpdust.StarTreatment(noise=gpdust.GaussianNoise(extra=0.01), learn=("extra",))
    posterior = gpdust.fit(
        small_model(stars, treatment=treatment, inducing=20, learn=learn), engine=engine, progress=False
    )
    assert posterior.report.converged
    assert posterior.treatment.noise.extra == pytest.approx(0.04, rel=0.1)
    assert "extra" in posterior.noise_table and "a factor of 3" in posterior.noise_table


@pytest.mark.parametrize("engine", ENGINES)
def test_a_coarser_grid_learns_no_noise(small_model, monkeypatch, engine):
    """Its cells are too large: their scatter is no star's."""
    monkeypatch.setattr("gpdust.inference.coarse_start.COARSEST_CELLS", 8)
    stars, _ = measured(0.0, 1500, scatter=0.04)
    treatment = gpdust.StarTreatment(noise=gpdust.GaussianNoise(extra=0.01), learn=("extra",))
    model, bar = small_model(stars, treatment=treatment, inducing=20, learn=True), Progress(1, shown=False)
    newton = Newton(model, dense=engine == "natural")
    state = newton.init(0)
    assert state.phase == "coarse"
    while state.phase == "coarse":
        state = newton.stage(state, bar)
    assert not len(state.coarse.noise) and state.coarse.misfit > 1.5 and torch.equal(state.noise, newton.init(0).noise)
    while state.phase != "done":
        state = newton.stage(state, bar)
    newton.finish(state)
    assert newton.model.likelihood.noise.extra == pytest.approx(0.04, rel=0.1)


def test_the_noise_survives_a_checkpoint(small_model, tmp_path):
    stars, _ = measured(0.0, 300, scatter=0.04)
    treatment = gpdust.StarTreatment(noise=gpdust.GaussianNoise(extra=0.01), learn=("extra",))
    model, path, bar = small_model(stars, treatment=treatment), tmp_path / "fit.checkpoint", Progress(1, shown=False)
    ends = []
    for interrupted in (False, True):
        newton = Newton(model)
        state = newton.stage(newton.stage(newton.init(0), bar), bar)
        if interrupted:
            mark = fingerprint(model, "natural", 0, newton.options)
            save_state(path, state, mark)
            state, newton = load_state(path, mark, NewtonState), Newton(model)
        while state.phase != "done":
            state = newton.stage(state, bar)
        ends.append(state)
    assert_allclose(ends[1].noise, ends[0].noise, rtol=1e-9)
    assert_allclose(ends[1].mean, ends[0].mean, atol=1e-7)


def test_outliers_are_found_and_do_little_harm(small_model):
    clean, _ = measured(0.0, 1500, wave=0.0)
    dirty, wrong = measured(0.0, 1500, bad=0.05, wave=0.0)
    mixture = gpdust.StarTreatment(noise=gpdust.MixtureNoise(bad_share=0.02, bad_width=0.3), learn=("bad_share",))
    known = gpdust.fit(small_model(clean), progress=False)
    harmed = gpdust.fit(small_model(dirty), progress=False)
    model = small_model(dirty, treatment=mixture)
    saved = gpdust.fit(model, progress=False)
    scale = known.scale.square().sum(-1).sqrt()
    off = {name: float(((p.mean - known.mean) / scale).abs().max()) for name, p in (("g", harmed), ("m", saved))}
    assert off["m"] < 0.3 * off["g"]
    assert saved.treatment.noise.bad_share == pytest.approx(0.05, abs=0.02)
    extinction = torch.from_numpy(saved.sample(count=20)[1].value)
    stars = model.with_noise(saved.treatment.noise).likelihood.star_results(extinction)
    flagged = stars.outlier > 0.5
    assert flagged[wrong[stars.number]].mean() > 0.95 and flagged[~wrong[stars.number]].mean() < 0.01


def test_svi_takes_the_noise_as_given(small_model):
    stars, _ = measured(0.0, 50)
    treatment = gpdust.StarTreatment(noise=gpdust.GaussianNoise(extra=0.01), learn=("extra",))
    with pytest.raises(InferenceError, match="can't learn the stars' noise"):
        gpdust.fit(small_model(stars, treatment=treatment), engine="svi", progress=False)
    assert FreeNoise(gpdust.GaussianNoise()).size == 0


def test_noise_that_still_moves_has_not_converged(small_model):
    stars, _ = measured(0.0, 200, scatter=0.04)
    treatment = gpdust.StarTreatment(noise=gpdust.GaussianNoise(extra=0.01), learn=("extra",))
    engine, bar = Newton(small_model(stars, treatment=treatment)), Progress(1, shown=False)
    state = engine.init(0)
    while state.phase != "done":
        state = engine.stage(state, bar)
    assert engine.finish(state)[1].converged
    report = engine.finish(replace(state, noise_left=2.0))[1]
    assert not report.converged and "noise still moved by 2 of its standard errors" in report.reason


def test_a_checkpoint_knows_what_is_learned_of_the_noise(small_model):
    stars, _ = measured(0.0, 50)
    noise = gpdust.GaussianNoise(extra=0.01, proportional=0.1)
    marks = {
        fingerprint(
            small_model(stars, treatment=gpdust.StarTreatment(noise=noise, learn=learn)), "mgvi", 0, NewtonOptions()
        )
        for learn in (("extra",), ("proportional",), ("extra", "proportional"))
    }
    assert len(marks) == 3
