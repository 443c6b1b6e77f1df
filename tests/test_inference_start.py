"""A fit that goes on from another one's posterior, of any engine and either prior, ends where it would have ended."""

from __future__ import annotations

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import gpdust
from gpdust.inference import SVI, Newton
from gpdust.inference.cells import PriorOnCells
from gpdust.inference.start import CLOSENESS, Start, projected, start_from
from gpdust.prior.box import PeriodicBox

SMALL_BOX = PeriodicBox((-20.0, 100.0, -80.0), (300.0, 300.0, 240.0), (8, 8, 6))
OTHER_BOX = PeriodicBox((-30.0, 90.0, -90.0), (360.0, 320.0, 280.0), (10, 10, 8))


@pytest.fixture(scope="module")
def models(small_model, mock_stars, small_grid):
    def spectral(box: PeriodicBox) -> gpdust.DustModel:
        prior = gpdust.SpectralGP("rbf", 60 * u.pc, 0.3, 1.6e-3 * u.mag / u.pc, learn=False)
        return gpdust.DustModel(mock_stars(), small_grid, prior.with_box(box))

    return {
        "inducing": small_model(),
        "more inducing": small_model(inducing=20),
        "spectral": spectral(SMALL_BOX),
        "other box": spectral(OTHER_BOX),
    }


def fit(model: gpdust.DustModel, engine: str, start: gpdust.Posterior | Start | None = None) -> gpdust.Posterior:
    options = {} if engine == "svi" else {"tolerance": 1e-4, "solve_tolerance": 1e-3, "sample_tolerance": 1e-3}
    return gpdust.fit(model, engine=engine, progress=False, start=start, **options)


@pytest.fixture(scope="module")
def posteriors(models) -> dict[tuple[str, str], gpdust.Posterior]:
    known = {}

    def of(name: str, engine: str) -> gpdust.Posterior:
        if (name, engine) not in known:
            known[name, engine] = fit(models[name], engine)
        return known[name, engine]

    return of


def field(posterior: gpdust.Posterior) -> np.ndarray:
    points = torch.from_numpy(posterior.grid.cell_points()).reshape(-1, 3)
    return posterior.prior.fields(posterior.mean[None], posterior.theta).read(points)[0][0].detach().numpy()


PAIRS = [
    (("inducing", "svi"), ("inducing", "natural")),
    (("inducing", "natural"), ("inducing", "svi")),
    (("inducing", "natural"), ("inducing", "mgvi")),
    (("inducing", "mgvi"), ("inducing", "mgvi")),
    (("inducing", "natural"), ("more inducing", "natural")),
    (("more inducing", "svi"), ("inducing", "svi")),
    (("inducing", "natural"), ("spectral", "mgvi")),
    (("inducing", "svi"), ("spectral", "mgvi")),
    (("spectral", "mgvi"), ("inducing", "natural")),
    (("spectral", "mgvi"), ("inducing", "svi")),
    (("spectral", "mgvi"), ("other box", "mgvi")),
    (("spectral", "mgvi"), ("spectral", "mgvi")),
]


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=str)
def test_a_start_changes_the_way_and_not_the_end(models, posteriors, source, target):
    expected = posteriors(*target)
    found = fit(models[target[0]], target[1], posteriors(*source))
    density, _ = expected.sample(count=20)
    deviation = np.log10(density.value).std(axis=0).ravel()
    assert float((np.abs(field(found) - field(expected)) / deviation).max()) < (0.15 if target[1] == "svi" else 0.05)
    assert found.report.elbo == pytest.approx(expected.report.elbo, abs=0.3 + 4 * expected.report.elbo_error)


def test_a_start_from_the_same_latents_is_their_mean(models, posteriors):
    posterior = posteriors("inducing", "natural")
    start = start_from(posterior, models["inducing"])
    assert torch.equal(start.mean, posterior.mean) and len(start.theta) == 0


def off(posterior: gpdust.Posterior, source: gpdust.DustModel, model: gpdust.DustModel, start: Start) -> float:
    """How far a start's density is from the posterior's, dex; averaged over residuals, as stars see it."""
    expected = PriorOnCells(source, posterior.theta).log_density(posterior.mean)
    return float((PriorOnCells(model, start.theta).log_density(start.mean) - expected).abs().mean())


def test_a_start_under_another_prior_follows_the_density(models, posteriors):
    posterior = posteriors("inducing", "natural")
    start = start_from(posterior, models["spectral"])
    assert len(start.mean) == SMALL_BOX.latent_size
    assert off(posterior, models["inducing"], models["spectral"], start) < 0.02


OTHERS = [{"mean_density": 1.6e-2 * u.mag / u.pc}, {"amplitude": 0.6}, {"length_scale": 30 * u.pc}]


@pytest.mark.parametrize("other", OTHERS, ids=lambda other: next(iter(other)))
def test_the_same_latents_under_another_prior_are_another_density(any_model, other):
    """Same box or points, same length of v: but what v means has changed."""
    source, model = any_model(), any_model(**other)
    posterior = gpdust.fit(source, progress=False)
    start = start_from(posterior, model)
    assert len(start.mean) == len(posterior.mean)
    assert off(posterior, source, model, replace(start, mean=posterior.mean)) > 0.03
    assert off(posterior, source, model, start) < CLOSENESS
    cold, warm = (gpdust.fit(model, progress=False, start=at) for at in (None, start))
    assert warm.report.steps < cold.report.steps or "mean_density" not in other
    assert warm.report.elbo == pytest.approx(cold.report.elbo, abs=0.3 + 4 * cold.report.elbo_error)


@pytest.mark.parametrize("engine", ["natural", "mgvi"])
def test_learned_noise_carries_over(small_model, mock_stars, engine):
    def model(extra: float) -> gpdust.DustModel:
        noise = gpdust.GaussianNoise(extra=extra, proportional=0.01)
        return small_model(mock_stars(), treatment=gpdust.StarTreatment(noise=noise, learn=("extra",)))

    posterior = gpdust.fit(model(0.01), engine=engine, progress=False)
    elsewhere = model(0.05)
    start = start_from(posterior, elsewhere)
    carried = elsewhere.free_noise.at(start.noise.numpy())
    assert carried.extra == pytest.approx(posterior.treatment.noise.extra, rel=1e-9)
    assert carried.proportional == pytest.approx(0.01, rel=1e-9)  # which the model takes as given
    assert torch.equal(Newton(elsewhere).init(0, start).noise, start.noise)
    assert torch.equal(Newton(elsewhere).init(0).noise, torch.zeros(1, dtype=torch.float64))
    assert len(start_from(posterior, small_model()).noise) == 0
    robust = gpdust.StarTreatment(noise=gpdust.StudentNoise(), learn=("degrees_of_freedom",))
    assert torch.equal(start_from(posterior, small_model(treatment=robust)).noise, torch.zeros(1, dtype=torch.float64))


def test_a_good_start_saves_steps(models, posteriors):
    posterior = posteriors("inducing", "mgvi")
    again = fit(models["inducing"], "mgvi", posterior)
    assert again.report.steps < posterior.report.steps


def test_hyperparameters_of_the_same_name_carry_over(small_model, mock_stars, small_grid, learned_posterior):
    prior = gpdust.SpectralGP("rbf", 60 * u.pc, learn=["length_scale_x", "amplitude"])
    model = gpdust.DustModel(mock_stars(), small_grid, prior.with_box(SMALL_BOX))
    theta = start_from(learned_posterior, model).theta
    report = model.prior.hyperparameters.report(theta)
    for name in ("length_scale_x", "amplitude"):
        assert_allclose(report[name], learned_posterior.hyperparameters[name], rtol=1e-9)
    assert report["length_scale_y"] == 60
    theta = start_from(learned_posterior, small_model(learn=True)).theta
    assert_allclose(theta, learned_posterior.theta, atol=1e-9)


def test_a_guess_is_followed_where_it_is_sure_and_nowhere_else(models):
    model = models["spectral"]
    cells = PriorOnCells(model, torch.zeros(0, dtype=torch.float64))
    guess = cells.offset + 0.2 * torch.sin(torch.arange(len(cells.offset), dtype=torch.float64) / 30)
    known = torch.arange(len(guess)) < len(guess) // 2
    nothing = projected(guess, torch.tensor(torch.inf, dtype=torch.float64), cells)
    assert torch.equal(nothing, torch.zeros_like(nothing))
    mean = projected(guess, torch.where(known, 0.01, torch.inf).double(), cells)
    assert float((cells.log_density(mean) - guess)[known].abs().mean()) < 0.05
    assert float((cells.log_density(mean) - cells.offset)[~known].abs().mean()) < 0.1


def test_svi_tempers_a_start_that_is_far_and_no_other(models, posteriors):
    engine, posterior = SVI(models["inducing"]), posteriors("inducing", "svi")
    near = start_from(posterior, models["inducing"])
    state = engine.init(0, near)
    assert state.phase == "settle" and state.tempering == 1.0
    far = replace(near, mean=near.mean + 3.0)
    state = engine.init(0, far)
    assert state.phase == "temper" and state.tempering < 1
    end = fit(models["inducing"], "svi", far)
    assert end.report.converged
    assert end.report.elbo == pytest.approx(posterior.report.elbo, abs=1.0)
