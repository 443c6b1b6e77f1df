"""Hyperparameters and the ELBO in natural and mgvi."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import gpdust
from gpdust.errors import InferenceError
from gpdust.fitting import ConvergenceWarning
from gpdust.inference import Newton, NewtonOptions, Progress
from gpdust.inference.cells import PriorOnCells
from gpdust.inference.curvature import ThetaCurvature
from gpdust.inference.elbo import theta_divergence
from gpdust.inference.objective import Objective
from gpdust.inference.occam import theta_gradient
from gpdust.inference.response import Response
from gpdust.inference.state import NewtonState
from gpdust.inference.theta_step import step_back

ENGINES = ("natural", "mgvi")
PER_PC = u.mag / u.pc


def fit(model: gpdust.DustModel, engine: str, **options) -> gpdust.Posterior:
    return gpdust.fit(model, engine=engine, progress=False, **options)


def test_the_gradient_by_theta_is_that_of_the_objective(any_model):
    """At fixed v and draws of v, against differences of the likelihood."""
    model = any_model(learn=True)
    theta = torch.linspace(-0.3, 0.4, model.prior.theta_size, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    mean = 0.2 * torch.randn(model.prior.latent_size, dtype=torch.float64, generator=generator)
    draws = 0.1 * torch.randn(3, model.prior.latent_size, dtype=torch.float64, generator=generator)
    latents = torch.cat([mean + draws, mean - draws])
    cells = PriorOnCells(model, theta)
    objective = Objective(cells, Response(model))
    slopes = objective.response.energy_and_gradient(objective.place(mean, draws).log_densities())[1] / 6
    gradient = cells.theta_gradient(latents, slopes, slopes.sum(0))
    step = 1e-5
    for index, unit in enumerate(torch.eye(len(theta), dtype=torch.float64)):
        with torch.no_grad():
            above, below = (-model.log_likelihood(latents, theta + sign * step * unit).mean() for sign in (1, -1))
        assert float(gradient[index]) == pytest.approx(float(above - below) / (2 * step), rel=1e-4, abs=1e-3)


def test_derivatives_by_theta_are_those_of_autograd(any_model):
    model = any_model(learn=True)
    theta = torch.linspace(-0.3, 0.4, model.prior.theta_size, dtype=torch.float64)
    v = torch.randn(model.prior.latent_size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    points = model.points(slice(None))
    expected = torch.autograd.functional.jacobian(
        lambda theta: model.mean_log_density(v, model.prior.at(points, theta)), theta
    )
    derivatives = PriorOnCells(model, theta).theta_derivatives(v)
    assert_allclose(derivatives, expected.mT, atol=2e-3 * float(expected.abs().max()))


def truth(catalogue, grid, prior, count: int, error: float, seed: int = 0) -> gpdust.StarCatalogue:
    """Stars of a density drawn from a prior, on the cells of a grid."""
    empty = gpdust.DustModel([], grid, prior)
    rng = np.random.default_rng(seed)
    linear_map = empty.prior.at(empty.points(slice(None)))
    with torch.no_grad():
        log_density = linear_map.log_density(torch.from_numpy(rng.standard_normal(empty.prior.latent_size)))
        mean = 0.5 * math.log(10) * linear_map.residual_variance  # as the model has it: averaged over
    density = (10 ** (log_density + mean)).numpy().reshape(grid.shape)
    rays = rng.integers(0, grid.n_rays, count)
    d = rng.uniform(grid.edges[0], grid.edges[-1], count)
    seen = (density[rays] * np.clip(d[:, None] - grid.edges[:-1], 0, grid.cell_lengths)).sum(-1)
    sigma = error * seen + 1e-3
    l, b = np.rad2deg(grid.ray_l[rays]), np.rad2deg(grid.ray_b[rays])
    return catalogue(l, b, d, seen + sigma * rng.standard_normal(count), sigma)


@pytest.mark.parametrize("kind", ["inducing", "spectral"])
def test_hyperparameters_of_a_drawn_truth_are_recovered(catalogue, region, kind):
    grid = region.grid((5, 4, 8))

    def prior(**options):
        options = {"length_scale": 35 * u.pc, "amplitude": 0.35, "mean_density": 2e-3 * u.mag / u.pc} | options
        if kind == "spectral":
            return gpdust.SpectralGP("rbf", box_spacing=14 * u.pc, **options)
        return gpdust.InducingGP("rbf", inducing=120, **options)

    stars = truth(catalogue, grid, prior(), 3000, 0.1)
    elsewhere = {"length_scale": 50 * u.pc, "amplitude": 0.25, "mean_density": 1.4e-3 * u.mag / u.pc}
    posterior = fit(gpdust.DustModel(stars, grid, prior(**elsewhere)), "auto")
    assert posterior.report.converged
    listed = posterior.prior.hyperparameters
    errors = listed.errors(posterior.theta, posterior.theta_covariance)
    expected = {f"length_scale_{axis}": 35.0 for axis in "xyz"} | {
        "amplitude": 0.35,
        "mean_log_density": math.log10(2e-3),
    }
    for name, value in expected.items():
        assert abs(posterior.hyperparameters[name] - value) < 3 * errors[name], name
        assert errors[name] < (0.5 * value if value > 0 else 0.3), name


@pytest.mark.parametrize("kind", ["inducing", "spectral"])
def test_the_gradient_by_theta_forgives_a_mean_that_is_a_little_short(catalogue, region, kind):
    """To first order in what precise stars pull it by; at fixed v it does not."""
    grid, words = region.grid((4, 3, 6)), {"length_scale": 60 * u.pc, "amplitude": 0.3, "mean_density": 2e-3 * PER_PC}
    prior = gpdust.InducingGP("rbf", 40, **words)
    if kind == "spectral":
        prior = gpdust.SpectralGP("rbf", box_spacing=25 * u.pc, **words)
    model = gpdust.DustModel(truth(catalogue, grid, prior, 3000, 0.01), grid, prior)
    tight = NewtonOptions(solve_tolerance=1e-6, sample_tolerance=1e-6)
    engine = Newton(model, tight, dense=isinstance(model.prior, gpdust.InducingGP))
    engine._started, engine._progress = 0.0, Progress(1, shown=False)
    state = engine.init(0)
    objective = engine._at(state.theta)
    state = engine._redraw(engine._find_mean(state, objective, 1e-6)[0], objective, 1e-3)
    state, _ = engine._find_mean(state, objective, 1e-6)
    curvature = engine._curvature(state, 1e-3)

    def gradient(mean: torch.Tensor) -> torch.Tensor:
        place = objective.place(mean, state.draws)
        return theta_gradient(objective, place, curvature, engine._recent, 0)

    def gradient_at_fixed_v(mean: torch.Tensor) -> torch.Tensor:
        latents = torch.cat([mean + state.draws, mean - state.draws])
        at_draws = objective.place(mean, state.draws).log_densities()
        slopes = objective.response.energy_and_gradient(at_draws)[1] / len(latents)
        return objective.cells.theta_gradient(latents, slopes, slopes.sum(0))

    for off in 1e-4 * state.draws[:3]:
        moved = gradient(state.mean + off) - gradient(state.mean)
        at_fixed_v = gradient_at_fixed_v(state.mean + off) - gradient_at_fixed_v(state.mean)
        assert float(moved.norm()) < 0.01 * float(at_fixed_v.norm())


def test_a_step_of_theta_goes_no_farther_down_than_it_may():
    """The others make the best of what is left, and what is promised is what the quadratic then gives."""
    curvature = torch.tensor([[4.0, 1.0, 0.0], [1.0, 3.0, 0.5], [0.0, 0.5, 2.0]], dtype=torch.float64)
    gradient = torch.tensor([3.0, -2.0, 1.0], dtype=torch.float64)
    least = torch.tensor([-0.2, -math.inf, -0.1], dtype=torch.float64)
    step, promised = ThetaCurvature(curvature, torch.zeros(3, 0)).step(gradient, 10.0, least)
    assert step[0] == -0.2 and step[2] == -0.1
    assert float((gradient + curvature @ step)[1]) == pytest.approx(0, abs=1e-12)
    assert promised == pytest.approx(-float(gradient @ step + 0.5 * step @ curvature @ step))
    assert (gradient + curvature @ step)[[0, 2]].min() > 0  # farther down it would have gained
    shorter, same = ThetaCurvature(curvature, torch.zeros(3, 0)).step(gradient, 0.1, least)
    assert_allclose(shorter, 0.1 * step / float(step.abs().max()))
    assert same == promised


@pytest.mark.parametrize("engine", ENGINES)
def test_length_scales_stay_within_what_cells_can_tell(catalogue, region, engine):
    """Extinctions that scatter more than their errors say would be explained by ever smaller structure."""
    grid = region.grid((5, 4, 8))
    stars = truth(catalogue, grid, gpdust.InducingGP("rbf", 120, length_scale=40 * u.pc, amplitude=0.3), 600, 0.1)
    rng = np.random.default_rng(1)
    wrong = stars.extinction.value * np.exp(0.5 * rng.standard_normal(len(stars)))
    stars = catalogue(stars.l.value, stars.b.value, stars.distance.value, wrong, stars.extinction_error.value)
    prior = gpdust.SpectralGP("rbf", length_scale=40 * u.pc, amplitude=0.3, box_spacing=20 * u.pc)
    if engine == "natural":
        prior = gpdust.InducingGP("rbf", 150, length_scale=40 * u.pc, amplitude=0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        posterior = fit(gpdust.DustModel(stars, grid, prior), engine, samples=20)
    scales = [value for name, value in posterior.hyperparameters.items() if name.startswith("length_scale")]
    assert min(scales) < 20
    assert min(scales) >= grid.typical_cell / 3 - 1e-9


# The ELBO


def test_the_elbo_of_all_engines_is_the_same(small_model):
    reports = {engine: fit(small_model(), engine, samples=200).report for engine in ENGINES}
    reports["svi"] = fit(small_model(), "svi").report
    for one in reports.values():
        for other in reports.values():
            assert abs(one.elbo - other.elbo) < 0.2 + 4 * math.hypot(one.elbo_error, other.elbo_error)


@pytest.mark.parametrize("engine", ENGINES)
def test_learning_hyperparameters_gains_evidence(small_model, engine):
    # What a fit may leave of the evidence, 0.3 nats of its last prediction by default, is as much as there is to gain.
    options = {"samples": 100, "theta_tolerance": 0.03}
    fixed, learned = (fit(small_model(learn=learn), engine, **options) for learn in (False, True))
    error = math.hypot(learned.report.elbo_error, fixed.report.elbo_error)
    assert learned.report.elbo > fixed.report.elbo - 0.1 - 4 * error
    assert learned.theta_covariance.diagonal().min() > 0
    assert learned.theta_covariance.diagonal().max() <= 1 + 1e-9


def test_learned_inducing_points_move(small_model):
    model = small_model(learn_inducing=True)
    posterior = fit(model, "svi", max_steps=500)
    assert float((posterior.prior.points - model.prior.points).norm(dim=-1).max()) > 0.1  # pc


@pytest.mark.parametrize("engine", ENGINES)
def test_learned_inducing_points_are_refused_where_they_would_stay(small_model, engine):
    with pytest.raises(InferenceError, match=f"engine '{engine}' can't learn where inducing points are .*; svi can"):
        fit(small_model(learn_inducing=True), engine)


def chi_squared(model: gpdust.DustModel, mean: torch.Tensor) -> float:
    """Per star, from the stars' sums."""
    cells = PriorOnCells(model, torch.zeros(0, dtype=torch.float64))
    density = 10 ** cells.log_density(mean).reshape(model.grid.shape)
    extinction = (density * torch.from_numpy(model.grid.cell_lengths)).cumsum(-1)
    statistics = model.likelihood
    explained = (extinction * (2 * statistics.weighted - statistics.precision.product(extinction))).sum()
    return (statistics.squares - float(explained)) / statistics.n_stars


def test_a_coarse_grid_knows_what_its_cells_cannot_show(spectral_model):
    """Errors of the stars are inflated by as much as the stars deviate from the best density; never deflated."""
    model = spectral_model()
    engine, bar = Newton(model, dense=False), Progress(1, shown=False)
    state = engine.init(0)
    while state.phase == "climb":
        state = engine.stage(state, bar)
    misfit = engine.misfit(state)
    wilder = Newton(model.with_errors_times(0.2), dense=False)
    assert wilder.misfit(state) == pytest.approx(5 * math.sqrt(chi_squared(model, state.mean)), rel=1e-9)
    assert misfit == pytest.approx(max(1.0, math.sqrt(chi_squared(model, state.mean))))
    calmer = Newton(model.with_errors_times(10.0), dense=False)
    assert calmer.misfit(state) == 1.0


def test_a_search_of_hyperparameters_that_got_stuck_has_not_converged(small_model):
    """Steps that lose are cut to a third until they are too short; what was promised then counts."""
    model = small_model(learn=True)
    engine, bar = Newton(model), Progress(1, shown=False)
    state = engine.init(0)
    while state.phase in ("climb", "learn") and not len(state.theta_step):
        state = engine.stage(state, bar)
    promised = state.theta_left
    assert promised > 3 * engine.options.theta_tolerance
    while state.phase == "learn":
        state = step_back(state)
    while state.phase != "done":
        state = engine.stage(state, bar)
    report = engine.finish(state)[1]
    assert not report.converged
    assert f"promised {promised:.2g} nats" in report.reason


def with_a_step_of_theta(model: gpdust.DustModel) -> tuple[Newton, NewtonState]:
    """A fit that has just made its first step of the hyperparameters."""
    engine, bar = Newton(model), Progress(1, shown=False)
    state = engine.init(0)
    while not len(state.theta_step):
        state = engine.stage(state, bar)
    return engine, state


def test_a_step_that_the_mean_cannot_follow_is_taken_back(small_model, monkeypatch):
    """To a third; the next ones grow from there."""
    engine, state = with_a_step_of_theta(small_model(learn=True))
    before = state.theta - state.theta_step
    monkeypatch.setattr("gpdust.inference.newton.NEAR", -1.0)
    shorter = engine._learn(state)
    assert_allclose(shorter.theta_step, state.theta_step / 3)
    assert_allclose(shorter.theta, before + state.theta_step / 3)
    assert_allclose(shorter.mean, state.mean_before + state.mean_step / 3)
    assert shorter.theta_reach == pytest.approx(2 / 3 * float(state.theta_step.abs().max()))
    monkeypatch.undo()
    found = engine._learn(shorter)
    assert float(found.theta_step.abs().max()) <= shorter.theta_reach + 1e-12
    assert found.theta_reach == pytest.approx(2 * shorter.theta_reach)


def test_a_mean_that_cannot_be_found_does_not_move_the_hyperparameters(small_model, monkeypatch):
    engine, state = with_a_step_of_theta(small_model(learn=True))
    state = replace(state, theta_step=torch.zeros(0, dtype=torch.float64))
    monkeypatch.setattr("gpdust.inference.newton.NEAR", -1.0)
    found = engine._learn(state)
    assert torch.equal(found.theta, state.theta) and found.phase == "learn"
    assert found.mixing < state.mixing and not torch.equal(found.mean, state.mean)


def test_the_report_says_which_length_scales_ended_on_their_least_value(spectral_model):
    engine, bar = Newton(spectral_model(learn=["length_scale"]), dense=False), Progress(1, shown=False)
    state = engine.init(0)
    while state.phase == "climb":
        state = engine.stage(state, bar)
    assert "ended on" not in engine.finish(state)[1].reason
    theta = torch.stack([engine._least[0], engine._least[1] + 0.1, engine._least[2] + 1.0])
    reason = engine.finish(replace(state, theta=theta))[1].reason
    shortest = engine.model.grid.typical_cell / 3
    assert f"; length_scale_x ({shortest:.3g} pc) ended on the least" in reason and "length_scale_y" not in reason


@pytest.mark.parametrize("engine", ENGINES)
def test_a_fit_that_runs_out_of_steps_knows_its_errors_too(any_model, engine):
    model = any_model(learn=True)
    if engine == "natural" and isinstance(model.prior, gpdust.SpectralGP):
        return
    with pytest.warns(ConvergenceWarning, match="ran out of its 2 steps"):
        posterior = fit(model, engine, max_steps=2)
    deviation = posterior.theta_covariance.diagonal().sqrt()
    assert len(deviation) == 5 and deviation.min() > 0 and deviation.max() <= 1 + 1e-9
    table = posterior.hyperparameter_table()
    assert table.count("±") >= 5 and "(fixed)" not in table and "unknown" not in table


@pytest.mark.parametrize("dense", [True, False])
def test_covariances_made_at_the_end_are_those_of_a_fit_that_had_the_time(small_model, mock_stars, dense):
    """With them the ELBO is the same as well: what θ and the noise cost is in it."""
    treatment = gpdust.StarTreatment(noise=gpdust.GaussianNoise(extra=0.01), learn=("extra",))
    engine, bar = (
        Newton(small_model(mock_stars(), treatment=treatment, learn=True), dense=dense),
        Progress(1, shown=False),
    )
    state = engine.init(0)
    while state.phase != "done":
        state = engine.stage(state, bar)
    unknown = torch.zeros(0, 0, dtype=torch.float64)
    stopped = replace(state, theta_covariance=unknown, noise_covariance=unknown)
    known, report = engine.finish(state)[1], engine.finish(stopped)[1]
    assert_allclose(stopped.theta_covariance, state.theta_covariance, rtol=0.1, atol=0.01)
    assert_allclose(stopped.noise_covariance, state.noise_covariance, rtol=0.1)
    assert report.elbo == pytest.approx(known.elbo, abs=0.1)
    assert theta_divergence(state.theta, state.theta_covariance) > 1  # which would have been left out
