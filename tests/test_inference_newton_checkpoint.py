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

ENGINES = ("natural", "mgvi")


def fit(model: gpdust.DustModel, engine: str, **options) -> gpdust.Posterior:
    return gpdust.fit(model, engine=engine, progress=False, **options)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("stages", [0, 1, 2, 4])
def test_a_state_written_and_read_goes_on_to_the_same_end(any_model, tmp_path, engine, stages):
    if engine == "natural" and isinstance(any_model().prior, gpdust.SpectralGP):
        pytest.skip("natural takes inducing points")
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


@pytest.mark.parametrize("engine", ENGINES)
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
