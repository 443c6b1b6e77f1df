"""Stopping and going on: the same posterior bit for bit, and never that of another fit."""

import astropy.units as u
import pytest
import torch
from numpy.testing import assert_allclose

import gpdust
from gpdust.errors import InferenceError
from gpdust.fitting import FitInterrupted
from gpdust.inference import SVI, Newton, Progress, SVIOptions, SVIState
from gpdust.inference.checkpoint import fingerprint, load_state, save_state

OPTIONS = {"learn_steps": 6, "fading_stages": 2}


def assert_same(left: gpdust.Posterior, right: gpdust.Posterior) -> None:
    for name in ("mean", "scale", "theta", "theta_covariance"):
        assert torch.equal(getattr(left, name), getattr(right, name)), name
    assert torch.equal(left.prior.points, right.prior.points)
    assert left.trace.elbo == right.trace.elbo
    assert left.trace.hyperparameters == right.trace.hyperparameters
    assert left.report == right.report


@pytest.fixture(scope="module")
def whole(small_model) -> gpdust.Posterior:
    return gpdust.fit(small_model(learn=True), engine="svi", progress=False, **OPTIONS)


@pytest.mark.parametrize(
    ("natural", "stages"), [(True, 0), (True, 1), (True, 6), (True, 9), (True, 18), (False, 1), (False, 6)]
)
def test_a_state_written_and_read_goes_on_to_the_same_end(small_model, tmp_path, natural, stages):
    model, path = small_model(learn=True, learn_inducing=True), tmp_path / "fit.checkpoint"
    svi, bar = SVI(model, SVIOptions(natural_gradients=natural)), Progress(1, shown=False)
    ends = []
    for interrupted in (False, True):
        state = svi.init(7)
        for _ in range(stages):
            state = svi.stage(state, bar)
        if interrupted:
            mark = fingerprint(model, "svi", 7, svi.options)
            save_state(path, state, mark)
            state = load_state(path, mark, SVIState)
        while state.phase != "done":
            state = svi.stage(state, bar)
        ends.append(state)
    for name in ("mean", "theta", "points", "theta_covariance"):
        assert torch.equal(getattr(ends[0], name), getattr(ends[1], name)), name
    assert torch.equal(ends[0].guide.scale_matrix(), ends[1].guide.scale_matrix())
    assert ends[0].trace.elbo == ends[1].trace.elbo
    assert ends[0].rule == ends[1].rule


@pytest.mark.parametrize(
    ("phase", "step"),
    [("temper", 1), ("temper", 7), ("climb", 3), ("climb", 8), ("learn", 9), ("settle", 8), ("polish", 7)],
)
def test_an_interrupted_fit_leaves_a_checkpoint_and_goes_on_to_the_same_end(
    small_model, tmp_path, monkeypatch, whole, phase, step
):
    path = tmp_path / "fit.checkpoint"
    count = Progress.step
    seen = []

    def interrupt(self, *numbers):
        seen.append(numbers[0])
        if seen.count(phase) == step:
            raise KeyboardInterrupt
        count(self, *numbers)

    monkeypatch.setattr(Progress, "step", interrupt)
    with pytest.raises(FitInterrupted):
        gpdust.fit(small_model(learn=True), engine="svi", progress=False, checkpoint=path, **OPTIONS)
    assert path.exists()
    monkeypatch.undo()
    resumed = gpdust.fit(small_model(learn=True), engine="svi", progress=False, checkpoint=path, **OPTIONS)
    assert_same(resumed, whole)
    assert not path.exists()


def test_a_fit_with_a_checkpoint_is_the_fit_without(small_model, tmp_path, monkeypatch, whole):
    monkeypatch.setattr("gpdust.fitting.CHECKPOINT_SECONDS", 0.0)
    path = tmp_path / "fit.checkpoint"
    assert_same(gpdust.fit(small_model(learn=True), engine="svi", progress=False, checkpoint=path, **OPTIONS), whole)
    assert not path.exists()


@pytest.mark.parametrize("engine", ["natural", "mgvi", "svi"])
def test_a_checkpoint_of_a_fit_that_is_done_gives_its_posterior_without_a_step(
    small_model, tmp_path, monkeypatch, engine
):
    model, path = small_model(learn=True), tmp_path / "fit.checkpoint"
    options = OPTIONS if engine == "svi" else {}
    done = gpdust.fit(model, engine, progress=False, checkpoint=path, keep_checkpoint=True, **options)
    assert path.exists()
    for kind in (SVI, Newton):
        monkeypatch.setattr(kind, "stage", None)
    again = gpdust.fit(model, engine, progress=False, checkpoint=path, **options)
    assert not path.exists()
    assert torch.equal(again.mean, done.mean) and torch.equal(again.theta_covariance, done.theta_covariance)
    assert again.trace.elbo == done.trace.elbo
    assert again.report.reason == done.report.reason
    assert again.report.elbo == pytest.approx(done.report.elbo, abs=4 * done.report.elbo_error + 1e-6)
    for (name, tensor), kept in zip(again.spread.tensors().items(), done.spread.tensors().values(), strict=True):
        assert_allclose(tensor, kept, rtol=1e-10, atol=1e-12, err_msg=name)


@pytest.fixture
def stored(small_model, tmp_path):
    """A checkpoint of the usual problem after one stage."""
    model, path = small_model(learn=True), tmp_path / "fit.checkpoint"
    svi = SVI(model)
    save_state(path, svi.stage(svi.init(0), Progress(1, shown=False)), fingerprint(model, "svi", 0, svi.options))
    return path


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"tolerance": 2.0},
        {"stars": 4},
        {"kernel": "matern32"},
        {"amplitude": 0.4},
        {"length_scale": 61 * u.pc},
        {"learn": ["amplitude"]},
        {"learn_inducing": True},
        {"inducing": 11},
        {"grid": ((51, 91), (180, 300))},
        {"grid": ((50, 90), (180, 301))},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_checkpoint_of_another_fit_is_refused(small_model, mock_stars, stored, change):
    change = dict(change)
    how = {name: change.pop(name) for name in ("seed", "tolerance") if name in change}
    if "stars" in change:
        change["stars"] = mock_stars(seed=change["stars"])
    if "grid" in change:
        l, distance = change["grid"]
        change["grid"] = gpdust.Region(l * u.deg, (-10, 10) * u.deg, distance * u.pc).grid((2, 2, 6))
    model = small_model(**({"learn": True} | change))
    with pytest.raises(InferenceError, match="checkpoint of another fit"):
        gpdust.fit(model, engine="svi", progress=False, checkpoint=stored, **how)
    assert stored.exists()


@pytest.mark.parametrize("damage", ["truncated", "text", "empty"])
def test_a_damaged_checkpoint_is_refused(small_model, stored, damage):
    whole = stored.read_bytes()
    stored.write_bytes({"truncated": whole[: len(whole) // 2], "text": b"hello", "empty": b""}[damage])
    with pytest.raises(InferenceError, match="is not a checkpoint"):
        gpdust.fit(small_model(learn=True), engine="svi", progress=False, checkpoint=stored)
