"""A small lognormal problem against samplers that know nothing of Gaussians: importance sampling and NUTS."""

from __future__ import annotations

import math

import astropy.units as u
import numpy as np
import pyro
import pytest
import torch
from pyro.infer import MCMC, NUTS

import gpdust

SIZE = 12


@pytest.fixture(scope="module")
def model(catalogue, small_grid, small_prior) -> gpdust.DustModel:
    """2 × 2 × 6 cells, 30 stars with errors of 20 %, 12 inducing points, 0.4 dex."""
    rng = np.random.default_rng(2)
    l, b, d = rng.uniform(50, 90, 30), rng.uniform(-10, 10, 30), rng.uniform(190, 300, 30)
    true = 1.6e-3 * (d - 180) * (1 + 0.5 * np.sin(l / 10))
    error = 0.2 * true + 0.01
    stars = catalogue(l, b, d, true + error * rng.standard_normal(30), error)
    return gpdust.DustModel(stars, small_grid, small_prior(SIZE, amplitude=0.4, length_scale=40 * u.pc))


@pytest.fixture(scope="module")
def posterior(model) -> gpdust.Posterior:
    return gpdust.fit(model, engine="svi", progress=False)


def log_joint(model: gpdust.DustModel, v: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.log_likelihood(v) - 0.5 * v.square().sum(-1)


def summaries(model: gpdust.DustModel, v: torch.Tensor, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean and standard deviation of v and of the log-density of every cell."""
    log_density = model.prior.at(model.points(slice(None))).log_density(v)
    values = torch.cat([v, log_density], dim=-1).detach().numpy()
    mean = weights @ values
    return mean, np.sqrt(weights @ (values - mean) ** 2)


def importance_sample(
    model: gpdust.DustModel, posterior: gpdust.Posterior, draws: int
) -> tuple[torch.Tensor, np.ndarray]:
    """Draws of a wide Student-t (5 degrees of freedom) about the fit, and their weights: exact for any fit."""
    generator = torch.Generator().manual_seed(0)
    freedom, wide = 5.0, 1.2
    normal = torch.randn(draws, SIZE, dtype=torch.float64, generator=generator)
    chi2 = torch.randn(draws, int(freedom), dtype=torch.float64, generator=generator).square().sum(-1, keepdim=True)
    student = wide * normal * (freedom / chi2).sqrt()
    v = posterior.mean + student @ posterior.scale.mT
    log_proposal = -0.5 * (freedom + SIZE) * torch.log1p((student / wide).square().sum(-1) / freedom)
    weights = torch.softmax(log_joint(model, v) - log_proposal, 0).numpy()
    return v, weights


def agree(ours: tuple[np.ndarray, np.ndarray], theirs: tuple[np.ndarray, np.ndarray]) -> None:
    assert np.abs((ours[0] - theirs[0]) / theirs[1]).max() < 0.2
    assert np.abs(ours[1] / theirs[1] - 1).max() < 0.2


def of_fit(model: gpdust.DustModel, posterior: gpdust.Posterior, draws: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    return summaries(model, posterior.draw_latents(draws), np.full(draws, 1 / draws))


def test_the_fit_agrees_with_importance_sampling(model, posterior):
    v, weights = importance_sample(model, posterior, 100_000)
    assert 1 / np.sum(weights**2) > 10_000  # effective draws
    theirs = summaries(model, v, weights)
    assert theirs[1][:SIZE].min() < 0.9 and np.abs(theirs[0][:SIZE]).max() > 0.5  # the stars say something
    agree(of_fit(model, posterior), theirs)


def test_the_elbo_lies_below_the_evidence_and_not_far(model, posterior):
    """log Z by importance sampling from the fit itself; the gap is KL(q ‖ posterior)."""
    draws = posterior.draw_latents(50_000, seed=3)
    noise = torch.linalg.solve(posterior.scale, (draws - posterior.mean).mT).mT
    log_q = -0.5 * noise.square().sum(-1) - torch.linalg.slogdet(posterior.scale)[1]
    log_evidence = float(torch.logsumexp(log_joint(model, draws) - log_q, 0)) - math.log(len(draws))
    gap = log_evidence - posterior.report.elbo
    assert -3 * posterior.report.elbo_error < gap < 0.3


def nuts(model: gpdust.DustModel, warmup: int, draws: int) -> torch.Tensor:
    pyro.set_rng_seed(0)
    basis = model.basis(model.prior, None)
    kernel = NUTS(lambda: model.pyro_model(1, basis=basis), jit_compile=False)
    sampler = MCMC(kernel, num_samples=draws, warmup_steps=warmup, disable_progbar=True)
    sampler.run()
    return sampler.get_samples()["latent"].reshape(-1, SIZE)


def test_a_short_nuts_run_of_the_pyro_model_agrees(model, posterior):
    v = nuts(model, 60, 100)
    theirs = summaries(model, v, np.full(len(v), 1 / len(v)))
    ours = of_fit(model, posterior)
    assert np.abs((ours[0] - theirs[0]) / theirs[1]).max() < 0.5  # 100 draws of 36 numbers
    assert np.abs(ours[1] / theirs[1] - 1).max() < 0.4


@pytest.mark.slow
def test_a_long_nuts_run_of_the_pyro_model_agrees(model, posterior):
    v = nuts(model, 500, 4000)
    agree(of_fit(model, posterior), summaries(model, v, np.full(len(v), 1 / len(v))))
