"""Few draws where stars are many; more where the mean follows those few."""

import warnings
from types import SimpleNamespace

import astropy.units as u
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import gpdust
from gpdust.fitting import ConvergenceWarning
from gpdust.inference.checkpoint import fingerprint, load_state, save_state
from gpdust.inference.elbo import NewDraws
from gpdust.inference.newton import EARLY_LOOK, Newton
from gpdust.inference.progress import Progress
from gpdust.inference.sample_size import FEW, MANY, MOST_NUMBERS, most_samples
from gpdust.inference.state import NewtonState
from gpdust.inference.theta_step import undone
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


def model_of(wild, region, stars: int, amplitude: float = 0.8, learn: bool | list[str] = False) -> gpdust.DustModel:
    grid, prior, truth = wild
    prior = gpdust.SpectralGP("matern32", SCALE, amplitude, 1e-3 * u.mag / u.pc, learn=learn).with_box(prior.box)
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


def test_many_stars_need_no_more(wild, region, monkeypatch):
    model = model_of(wild, region, MANY_STARS)
    looks, look = [], NewDraws.ask_for_more
    monkeypatch.setattr(NewDraws, "ask_for_more", lambda self: looks.append(self) or look(self))
    chosen, few = fit(model), fit(model, samples=FEW)
    assert len(looks) == 1
    assert 2 * len(chosen.spread.draws) == FEW
    assert_allclose(chosen.mean, few.mean, atol=1e-12)  # nor does looking change anything


def test_few_stars_show_it_after_two_rounds(wild, region, monkeypatch):
    model, bar = model_of(wild, region, FEW_STARS), Progress(1, shown=False)
    newton = Newton(model, dense=False)
    state = newton.init(0)
    while state.samples == FEW:
        before, state = state, newton.stage(state, bar)
    assert before.phase == "settle" and before.rounds == EARLY_LOOK - 1
    looks = []
    monkeypatch.setattr(NewDraws, "ask_for_more", lambda self: bool(looks.append(self)))
    assert_allclose(fit(model).mean, fit(model, samples=FEW).mean, atol=1e-12)
    assert len(looks) == 2  # and once more at the end, where it did not ask


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


def test_a_step_that_new_draws_contradict_is_taken_back(wild, region, monkeypatch):
    monkeypatch.setattr("gpdust.inference.newton.went_far", lambda state: len(state.theta_step) > 0)
    monkeypatch.setattr(NewDraws, "contradict_its_own", lambda self: True)
    with pytest.warns(ConvergenceWarning, match="contradicted"):
        posterior = fit(model_of(wild, region, 300, 0.3, learn=["amplitude"]), samples=FEW)
    assert abs(posterior.hyperparameters["amplitude"] - 0.3) < 1e-3  # no step was short enough


def test_more_draws_begin_where_a_step_that_is_not_judged_began_and_keep_one_that_is(wild, region):
    newton = Newton(model_of(wild, region, 300, learn=["amplitude"]), dense=False)
    state = newton.init(0)
    state.theta, state.mean_before = torch.tensor([0.5]).double(), torch.ones_like(state.mean)
    state.theta_step = torch.tensor([0.2]).double()
    kept, begun = newton._with_most_samples(state), newton._with_most_samples(undone(state))
    for grown in (kept, begun):
        assert grown.samples == MANY and grown.phase == "learn" and not len(grown.theta_step)
    assert_allclose((kept.theta[0], begun.theta[0]), (0.5, 0.3))
    assert not kept.mean.any() and (begun.mean == 1).all()


def test_natural_keeps_the_hyperparameters_that_it_has_learned(wild, region, monkeypatch):
    """It learns them with 200 draws, and needs not do so again when its mean takes more than 20."""
    grid, _, truth = wild
    monkeypatch.setattr(NewDraws, "ask_for_more", lambda self: True)
    prior = gpdust.InducingGP("rbf", 30, 40 * u.pc, 0.2, mean_density=1e-3 * u.mag / u.pc)
    model = gpdust.DustModel(mock_survey(truth, region, 300, 1).catalogue, grid, prior)
    trace = gpdust.fit(model, engine="natural", progress=False).trace
    last = len(trace.phase) - 1 - trace.phase[::-1].index("learn")
    for name, values in trace.hyperparameters.items():
        settled = values[last + 1 :]
        assert settled and np.ptp(settled) == 0, name


def new_draws(monkeypatch, own: float, *batches: list[float], known: float = 50.0) -> NewDraws:
    """Of given energies, nats, for 100 stars that know so many latents."""
    monkeypatch.setattr("gpdust.inference.elbo._known", lambda place, precision: known)
    monkeypatch.setattr("gpdust.inference.elbo._beyond_quadratic", lambda objective, place, precision: place.energies)
    objective = SimpleNamespace(
        place=lambda mean, draws: SimpleNamespace(energies=draws),
        response=SimpleNamespace(likelihood=SimpleNamespace(n_stars=100)),
    )
    precision = SimpleNamespace(draws=lambda latents, cells, tolerance: latents)
    place = SimpleNamespace(mean=torch.zeros(3).double(), energies=torch.tensor([own]))
    return NewDraws(objective, place, precision, iter([(torch.tensor(batch), None) for batch in batches]))


@pytest.mark.parametrize(
    ("batches", "asked"),
    [
        ([[1.0, 2.0, 3.0, 2.0]], False),
        ([[30.0, 32.0, 29.0, 31.0]], True),
        ([[5.0, 25.0, -15.0, 20.0], [1.0] * 40], False),  # open at first
        ([[5.0, 25.0, -15.0, 20.0], [30.0] * 40], True),
        ([[0.0, 0.0, 0.0, 4000.0]], True),  # one stray: as large as its own error
        ([[0.0, 0.0, 0.0, 80.0]], False),  # no nat a star
        ([[0.0, 0.0, 0.0, np.inf]], True),
        ([[0.0, 0.0, 0.0, np.nan]], True),
    ],
)
def test_new_draws_ask_for_more_where_they_say_less_than_the_means_own(monkeypatch, batches, asked):
    assert new_draws(monkeypatch, 0.0, *batches).ask_for_more() == asked


def test_many_latents_that_are_known_bear_more_nats(monkeypatch):
    batch = [30.0, 32.0, 29.0, 31.0]
    assert new_draws(monkeypatch, 0.0, batch, known=500.0).ask_for_more()
    assert not new_draws(monkeypatch, 0.0, batch, known=5000.0).ask_for_more()


@pytest.mark.parametrize(("nats", "contradicts"), [(99.0, False), (101.0, True), (np.nan, True), (np.inf, True)])
def test_a_nat_a_star_is_a_contradiction(monkeypatch, nats, contradicts):
    assert new_draws(monkeypatch, 0.0, [nats] * 4).contradict_its_own() == contradicts


@pytest.mark.parametrize("samples", [2, 20, 400, np.int64(20)])
def test_a_given_number_is_kept(samples):
    assert most_samples(samples, 1000, 1000) == samples


def test_memory_bounds_how_many_there_may_be():
    assert most_samples("auto", 1000, 1000) == MANY
    latents, cells = 1_000_000, 500_000
    assert FEW < most_samples("auto", latents, cells) < MANY
    assert most_samples("auto", latents, cells) / 2 * (latents + cells) <= MOST_NUMBERS
    assert most_samples("auto", 10**8, 10**8) == FEW
