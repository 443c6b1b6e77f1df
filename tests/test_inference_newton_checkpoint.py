"""natural and mgvi, stopped and taken up again."""

from __future__ import annotations

import pytest
import torch
from numpy.testing import assert_allclose

import gpdust
from gpdust.errors import InferenceError
from gpdust.fitting import FitInterrupted
from gpdust.inference import Newton, NewtonState, Progress
from gpdust.inference.checkpoint import fingerprint, load_state, save_state

PRIORS_OF_ENGINES = (("inducing", "natural"), ("inducing", "mgvi"), ("spectral", "mgvi"))


def fit(model: gpdust.DustModel, engine: str, **options) -> gpdust.Posterior:
    return gpdust.fit(model, engine=engine, progress=False, **options)


@pytest.mark.parametrize(("any_model", "engine"), PRIORS_OF_ENGINES, indirect=["any_model"])
@pytest.mark.parametrize("stages", [0, 1, 2, 4])
def test_a_state_written_and_read_goes_on_to_the_same_end(any_model, tmp_path, engine, stages):
    model, path = any_model(learn=True), tmp_path / "fit.checkpoint"
    ends = []
    for interrupted in (False, True):
        newton, bar = Newton(model, dense=engine == "natural"), Progress(1, shown=False)
        state = newton.init(7)
        for _ in range(stages):
            state = newton.stage(state, bar)
        if interrupted:
            mark = fingerprint(model, engine, 7, newton.options)
            save_state(path, state, mark)
            state = load_state(path, mark, NewtonState)
            newton = Newton(model, dense=engine == "natural")
        while state.phase != "done":
            state = newton.stage(state, bar)
        ends.append((state, newton.finish(state)))
    (one, (spread, report)), (other, (spread_again, report_again)) = ends
    scale = spread.abs().max()
    assert_allclose(other.mean, one.mean, atol=2e-3)
    assert_allclose(other.theta, one.theta, atol=2e-3)
    assert_allclose(spread_again / scale, spread / scale, atol=0.02)  # mgvi knows draws to 0.03
    if engine == "natural":  # a fresh preconditioner may give mgvi another rounding
        assert torch.equal(other.mean, one.mean) and torch.equal(spread, spread_again)
        assert one.trace.elbo == other.trace.elbo and report == report_again


def test_a_fit_stopped_on_a_coarser_grid_goes_on_there_to_the_same_end(small_model, tmp_path, monkeypatch):
    monkeypatch.setattr("gpdust.inference.coarse_start.COARSEST_CELLS", 8)
    monkeypatch.setattr("gpdust.inference.newton.COARSE_GAIN", 1e-3)
    model, path = small_model(learn=True), tmp_path / "fit.checkpoint"
    newton, bar = Newton(model), Progress(1, shown=False)
    mark = fingerprint(model, "natural", 3, newton.options)
    whole, resumed = newton.init(3), newton.init(3)
    assert whole.phase == "coarse"
    stages = []
    while whole.phase != "done":
        whole = newton.stage(whole, bar)
        save_state(path, resumed, mark)  # written and read before every stage
        resumed = Newton(model).stage(load_state(path, mark, NewtonState), bar)
        stages.append((resumed.phase, resumed.coarse.phase if resumed.coarse else None))
        assert_allclose(resumed.mean, whole.mean, rtol=1e-10, atol=1e-10)
        assert_allclose(resumed.trace.elbo, whole.trace.elbo, rtol=1e-12)
        assert resumed.trace.phase == whole.trace.phase
        if resumed.coarse:
            assert_allclose(resumed.coarse.mean, whole.coarse.mean, rtol=1e-10, atol=1e-10)
            assert resumed.coarse.misfit == pytest.approx(whole.coarse.misfit, rel=1e-10)
    assert stages.count(("coarse", "learn")) > 2 and ("climb", "done") in stages and resumed.coarse is None


@pytest.mark.parametrize("steps", [1, 3])
def test_a_fit_that_runs_out_of_steps_on_a_coarser_grid_still_has_a_mean(small_model, monkeypatch, steps):
    monkeypatch.setattr("gpdust.inference.coarse_start.COARSEST_CELLS", 8)
    with pytest.warns(gpdust.fitting.ConvergenceWarning, match="ran out of its"):
        posterior = fit(small_model(learn=True), "natural", max_steps=steps)
    assert posterior.mean.any() and not posterior.report.converged


@pytest.mark.parametrize("engine", ["natural", "mgvi"])
def test_an_interrupted_fit_leaves_a_checkpoint_and_goes_on_to_the_same_end(small_model, tmp_path, monkeypatch, engine):
    path, step, seen = tmp_path / "fit.checkpoint", Progress.step, []
    whole = fit(small_model(learn=True), engine)

    def interrupt(self, *numbers):
        seen.append(numbers)
        if len(seen) == 6:
            raise KeyboardInterrupt
        step(self, *numbers)

    monkeypatch.setattr(Progress, "step", interrupt)
    with pytest.raises(FitInterrupted):
        fit(small_model(learn=True), engine, checkpoint=path)
    monkeypatch.undo()
    with pytest.raises(InferenceError, match="checkpoint of another fit"):
        fit(small_model(learn=True), "svi", checkpoint=path)
    resumed = fit(small_model(learn=True), engine, checkpoint=path)
    assert not path.exists()
    assert_allclose(resumed.mean, whole.mean, atol=2e-3)
    assert_allclose(resumed.theta, whole.theta, atol=2e-3)
