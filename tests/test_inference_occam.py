"""The gradient by the hyperparameters: exact where extinction is linear, and without a bias where it is not."""

from __future__ import annotations

import math

import astropy.units as u
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from test_inference_calibration import drawn_model
from test_inference_linear import LinearResponse

import gpdust
from gpdust.inference import Newton, NewtonOptions, Progress
from gpdust.inference.occam import theta_gradient
from gpdust.simulate.clumps import CLUMP_REGION

TIGHT = {"tolerance": 1e-12, "solve_tolerance": 1e-8, "sample_tolerance": 1e-8}


def at_the_mean(model: gpdust.DustModel, theta: torch.Tensor, dense: bool, **options):
    """The engine, the objective and the place where the mean belongs to its draws, at given hyperparameters."""
    engine = Newton(model, NewtonOptions(coarse_start=False, **options), dense)
    engine._started, engine._progress = 0.0, Progress(1, shown=False)
    objective, state = engine._at(theta), engine.init(0)
    state, place = engine._find_mean(state, objective, engine.options.tolerance)
    for _ in range(4):
        state = engine._redraw(state, objective, engine.options.sample_tolerance)
        state, place = engine._find_mean(state, objective, engine.options.tolerance)
    return engine, objective, place, state


def gradient_at(model: gpdust.DustModel, theta: torch.Tensor, dense: bool, **options) -> torch.Tensor:
    engine, objective, place, state = at_the_mean(model, theta, dense, **options)
    return theta_gradient(objective, place, engine._curvature(state, 1e-6), engine._recent, 0)


@pytest.mark.parametrize(("kind", "dense"), [("small_model", True), ("small_model", False), ("spectral_model", False)])
def test_the_gradient_is_that_of_the_evidence_where_extinction_is_linear(request, monkeypatch, kind, dense):
    """−ln evidence is the least of the objective and half of ln |Λ|, exactly; with every latent for a probe."""
    monkeypatch.setattr("gpdust.inference.newton.Response", LinearResponse)
    monkeypatch.setattr("gpdust.inference.occam.MOST_PROBES", 10**6)
    monkeypatch.setattr("gpdust.inference.occam.PROBE_NUMBERS", 10**9)
    monkeypatch.setattr("gpdust.inference.occam.TOLERANCE", 1e-6)
    model = request.getfixturevalue(kind)(learn=True)
    theta = torch.linspace(-0.2, 0.3, model.prior.theta_size, dtype=torch.float64)

    def evidence(theta: torch.Tensor) -> float:
        _, objective, place, _ = at_the_mean(model, theta, dense, **TIGHT)
        root = torch.cat(
            [m.apply(torch.eye(len(place.mean), dtype=torch.float64)).mT for _, m in objective.cells.maps()]
        )
        stars = torch.block_diag(*objective.metric(place).blocks(slice(None)))
        information = torch.linalg.eigvalsh(root.mT @ stars @ root).clamp_min(0)
        nothing = torch.zeros(0, len(place.mean), dtype=torch.float64)
        value = objective.slope(objective.place(place.mean, nothing))[0]
        return value + 0.5 * float(torch.log1p(information).sum()) + 0.5 * float(theta.square().sum())

    expected = [
        (evidence(theta + step) - evidence(theta - step)) / 2e-4
        for step in 1e-4 * torch.eye(len(theta), dtype=torch.float64)
    ]
    found = gradient_at(model, theta, dense, **TIGHT)
    assert np.abs(expected).max() > 1
    assert_allclose(found, expected, atol=2e-3 * np.abs(expected).max())


@pytest.mark.parametrize(("kind", "dense"), [("inducing", True), ("inducing", False), ("spectral", False)])
def test_the_gradient_vanishes_on_average_at_the_truth(catalogue, kind, dense):
    """As the score of the evidence does under any model.

    Of its scatter a Gaussian q may get a third wrong, and as many skies leave another third open.

    From slopes at the draws an inducing prior's amplitude is off by more than its scatter: stray draws fit badly. With
    eight probes in place of many a spectral prior's length scale is off by nearly as much.
    """
    grid = CLUMP_REGION.grid((4, 4, 8))

    def prior(learn: bool) -> gpdust.InducingGP | gpdust.SpectralGP:
        words = {"length_scale": 60 * u.pc, "amplitude": 0.3, "mean_density": 1.6e-3 * u.mag / u.pc, "learn": learn}
        if kind == "spectral":
            return gpdust.SpectralGP("matern32", box_spacing=24 * u.pc, **words)
        return gpdust.InducingGP("matern32", grid.cell_points() * u.pc, **words)

    given, learned = (gpdust.DustModel([], grid, prior(learn)).prior for learn in (False, True))
    scores = []
    for seed in range(30):
        model = drawn_model(catalogue, grid, given, seed, 300, (0.1, 0.02))[0].with_prior(learned)
        scores.append(gradient_at(model, torch.zeros(learned.theta_size, dtype=torch.float64), dense, samples=100))
    scores = torch.stack(scores)
    error = scores.std(0) / math.sqrt(len(scores))
    assert (scores.mean(0).abs() < scores.std(0) / 3 + 2 * error).all()
