"""When a fit stops, and how honestly it says so."""

import numpy as np
import pytest

import gpdust
from gpdust.errors import InferenceError
from gpdust.fitting import ConvergenceWarning
from gpdust.inference import StoppingReport, StoppingRule, Trace


def shown(means: list[float], noise: float, tolerance: float = 1.0, seed: int = 0) -> StoppingRule:
    rng, rule = np.random.default_rng(seed), StoppingRule(tolerance)
    for mean in means:
        rule.see(list(mean + noise * rng.standard_normal(20)))
    return rule


@pytest.mark.parametrize("noise", [0.0, 0.5, 50.0])
@pytest.mark.parametrize("seed", range(5))
def test_a_flat_elbo_settles_however_noisy(noise, seed):
    assert shown([-100.0] * 8, noise, seed=seed).settled


@pytest.mark.parametrize("noise", [0.0, 0.5, 5.0])
@pytest.mark.parametrize("seed", range(5))
def test_a_rising_elbo_does_not_settle(noise, seed):
    assert not shown([-100.0 + 10 * step for step in range(8)], noise, seed=seed).settled


def test_nothing_settles_before_its_patience_is_over():
    assert not shown([0.0] * 3, 0.0).settled
    assert shown([0.0] * 4, 0.0).settled


def test_a_pause_of_one_stage_is_not_convergence():
    assert not shown([0, 10, 20, 20, 30, 40], 0.0).settled


def test_a_gain_below_the_tolerance_is_not_worth_a_stage():
    means = [0, 0.3, 0.6, 0.9]
    assert shown(means, 0.0, tolerance=1.0).settled
    assert not shown(means, 0.0, tolerance=0.1).settled


def test_a_trend_within_a_stage_is_not_taken_for_noise():
    rule = StoppingRule(1.0)
    rule.see(list(np.linspace(0, 1000, 101)))
    assert rule.errors[0] < 1


def test_a_loss_is_seen_only_where_noise_does_not_explain_it():
    rule = shown([0.0, 0.0], 0.1)
    assert rule.would_lose([-5.0] * 10, 3.0)
    assert not rule.would_lose([-0.5] * 10, 3.0)  # within the tolerance
    assert not rule.would_lose(list(-5 + 20 * np.random.default_rng(0).standard_normal(10)), 3.0)
    assert not StoppingRule(1.0).would_lose([-1e9], 3.0)


@pytest.mark.parametrize("converged", [True, False])
def test_the_report_says_in_words_how_it_ended(converged):
    report = str(StoppingReport(converged, "because", 10, -5.0, 0.1))
    assert report.startswith("NOT converged") != converged
    assert "10 steps: because; ELBO -5.00 ± 0.10" in report


def test_a_fit_that_converges_says_so(small_posterior):
    assert small_posterior.report.converged
    assert small_posterior.report.steps == len(small_posterior.trace)


def test_a_fit_that_runs_out_of_steps_says_so_and_warns(small_model):
    model = small_model(learn=True)
    with pytest.warns(ConvergenceWarning, match=r"NOT converged.*max_steps"):
        posterior = gpdust.fit(model, engine="svi", progress=False, max_steps=100)
    assert not posterior.report.converged


@pytest.mark.parametrize("most", [80, 90, 100, 120])
@pytest.mark.parametrize("natural", [True, False])
def test_a_fit_takes_no_more_steps_than_it_may(small_model, most, natural):
    options = {"max_steps": most, "natural_gradients": natural, "polish_steps": 20}
    with pytest.warns(ConvergenceWarning, match="while the ELBO still rose"):
        posterior = gpdust.fit(small_model(learn=True), engine="svi", progress=False, tolerance=1e-9, **options)
    assert len(posterior.trace) <= most


def test_too_few_steps_to_give_the_stars_their_weight_are_refused(small_model):
    with pytest.raises(InferenceError, match=r"max_steps = 60 is too few.*at least"):
        gpdust.fit(small_model(learn=True), engine="svi", progress=False, max_steps=60)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "newton"}, "newton.*auto, natural, mgvi, svi"),
        ({"engine": "svi", "learning_rat": 1}, "learning_rat.*learning_rate"),
    ],
)
def test_an_unknown_engine_or_option_is_an_error_that_names_the_known(small_model, options, message):
    with pytest.raises(InferenceError, match=message):
        gpdust.fit(small_model(), progress=False, **options)


def test_the_trace_holds_every_hyperparameter_in_physical_units_at_every_step(learned_posterior):
    trace = learned_posterior.trace
    assert set(trace.hyperparameters) == set(learned_posterior.hyperparameters)
    assert all(len(values) == len(trace) for values in trace.hyperparameters.values())
    assert trace.units["length_scale_x"] == "pc"
    for name, value in learned_posterior.hyperparameters.items():
        assert trace.hyperparameters[name][-1] == pytest.approx(value, rel=1e-12)
    assert trace.hyperparameters["length_scale_x"][0] == pytest.approx(60, rel=1e-9)
    assert sum(len(trace.elbo_of(phase)) for phase in ("temper", "climb", "learn", "settle", "polish")) == len(trace)
    assert np.all(np.diff(trace.seconds) >= 0)
    assert Trace.from_dict(trace.as_dict()) == trace
