"""natural and mgvi against long chains, and against truths drawn from the prior: where a fit must be calibrated."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pyro
import pytest
import torch
from pyro.infer import MCMC, NUTS

import gpdust
from gpdust.los import extinction_at, integrate, locate_stars
from gpdust.prior.box import PeriodicBox

BOX = PeriodicBox((-20.0, 100.0, -80.0), (300.0, 300.0, 240.0), (8, 8, 6))
SIZE = 16
DRAWS = 2000  # whose scatter is known to 2 %


def drawn_model(
    catalogue, grid, prior, seed: int, count: int = 60, error: tuple[float, float] = (0.15, 0.01)
) -> tuple[gpdust.DustModel, np.ndarray]:
    """A model of stars whose density the prior has drawn, and the true log-density on its cells.

    Errors are a share of the extinction that the mean density makes, and a floor: in a share of the true one a reader
    could tell it.
    """
    rng = np.random.default_rng(seed)
    l, b, d = rng.uniform(50, 90, count), rng.uniform(-10, 10, count), rng.uniform(190, grid.edges[-1], count)
    empty = gpdust.DustModel([], grid, prior)
    linear_map = empty.prior.at(empty.points(slice(None)))
    latent = torch.from_numpy(rng.standard_normal(empty.prior.latent_size))
    with torch.no_grad():
        density = empty.density(torch.stack([latent, torch.zeros_like(latent)]), linear_map)
        log_density = linear_map.log_density(latent).numpy()
    extinction = integrate(density, torch.from_numpy(grid.cell_lengths))
    true, usual = extinction_at(extinction, locate_stars(grid, l, b, d)).numpy()
    sigma = error[0] * usual + error[1]
    stars = catalogue(l, b, d, true + sigma * rng.standard_normal(count), sigma)
    return gpdust.DustModel(stars, grid, empty.prior), log_density


def inducing(small_prior) -> gpdust.InducingGP:
    points = np.random.default_rng(1).uniform([20, 150, -40], [170, 280, 40], (SIZE, 3))
    return small_prior(points * u.pc, amplitude=0.4, length_scale=50 * u.pc)


def spectral() -> gpdust.SpectralGP:
    return gpdust.SpectralGP("matern32", 60 * u.pc, 0.4, 1.6e-3 * u.mag / u.pc, learn=False).with_box(BOX)


# Long chains


@pytest.fixture(scope="module")
def lognormal(catalogue, region, small_prior) -> gpdust.DustModel:
    """4 × 4 × 8 cells, 60 stars with errors of about 15 %, 16 inducing points, 0.4 dex."""
    return drawn_model(catalogue, region.grid((4, 4, 8)), inducing(small_prior), 0)[0]


def moments(model: gpdust.DustModel, v: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of v and of the log-density of every cell."""
    log_density = model.prior.at(model.points(slice(None))).log_density(v)
    values = torch.cat([v, log_density], dim=-1).detach().numpy()
    return values.mean(0), values.std(0)


def nuts(model: gpdust.DustModel, warmup: int, draws: int) -> tuple[np.ndarray, np.ndarray]:
    pyro.set_rng_seed(0)
    basis = model.basis(model.prior, None)
    kernel = NUTS(lambda: model.pyro_model(1, basis=basis), jit_compile=False)
    sampler = MCMC(kernel, num_samples=draws, warmup_steps=warmup, disable_progbar=True)
    sampler.run()
    return moments(model, sampler.get_samples()["latent"].reshape(-1, SIZE))


def differences(model: gpdust.DustModel, engine: str, chain: tuple[np.ndarray, np.ndarray]) -> tuple[float, float]:
    """Largest error of a mean in standard deviations, and of a standard deviation relative to it."""
    posterior = gpdust.fit(model, engine=engine, progress=False, samples=DRAWS)
    draws = posterior.mean + posterior.spread.draw(DRAWS, 0)
    mean, deviation = moments(model, draws)
    return np.abs((mean - chain[0]) / chain[1]).max(), np.abs(deviation / chain[1] - 1).max()


@pytest.fixture(scope="module")
def long_chain(lognormal):
    return nuts(lognormal, 300, 2000)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["natural", "mgvi"])
def test_moments_are_those_of_a_long_chain(lognormal, long_chain, engine):
    mean, deviation = differences(lognormal, engine, long_chain)
    assert mean < 0.2
    assert deviation < 0.2


@pytest.mark.parametrize("engine", ["natural", "mgvi"])
def test_moments_are_those_of_importance_sampling(lognormal, engine):
    """Exact for any fit: draws of a wide Student-t about it, weighted."""
    posterior = gpdust.fit(lognormal, engine="natural", progress=False)
    generator, freedom, wide, count = torch.Generator().manual_seed(0), 5, 1.2, 40_000
    normal = torch.randn(count, SIZE, dtype=torch.float64, generator=generator)
    chi2 = torch.randn(count, freedom, dtype=torch.float64, generator=generator).square().sum(-1, keepdim=True)
    student = wide * normal * (freedom / chi2).sqrt()
    v = posterior.mean + student @ posterior.scale.mT
    with torch.no_grad():
        log_joint = lognormal.log_likelihood(v) - 0.5 * v.square().sum(-1)
    log_proposal = -0.5 * (freedom + SIZE) * torch.log1p((student / wide).square().sum(-1) / freedom)
    weights = torch.softmax(log_joint - log_proposal, 0)
    assert float(1 / weights.square().sum()) > 3000
    index = torch.multinomial(weights, 20_000, replacement=True, generator=generator)
    mean, deviation = differences(lognormal, engine, moments(lognormal, v[index]))
    assert mean < 0.2
    assert deviation < 0.25


# Truths drawn from the prior


def coverage(catalogue, grid, prior, engine: str, seeds: range) -> np.ndarray:
    """Share of true log-densities within the central 50, 68 and 95 % intervals."""
    halves = np.array([0.6745, 0.9945, 1.9600])  # of a normal: 50, 68 and 95 %
    inside = []
    for seed in seeds:
        model, true = drawn_model(catalogue, grid, prior, seed)
        posterior = gpdust.fit(model, engine=engine, progress=False, seed=seed, samples=400)
        linear_map = posterior.prior.at(model.points(slice(None)))
        offsets = linear_map.apply(posterior.spread.draw(400, 0))
        deviation = offsets.square().mean(0).sqrt().detach().numpy()
        pull = np.abs(true - linear_map.log_density(posterior.mean).detach().numpy()) / deviation
        inside.append((pull[:, None] < halves).mean(0))
    return np.mean(inside, axis=0)


CASES = [("natural", "inducing"), ("mgvi", "inducing"), ("mgvi", "spectral")]


@pytest.mark.parametrize(("engine", "kind"), CASES)
def test_intervals_hold_their_share_of_truths(catalogue, region, small_prior, engine, kind):
    prior = inducing(small_prior) if kind == "inducing" else spectral()
    found = coverage(catalogue, region.grid((3, 3, 6)), prior, engine, range(25))
    np.testing.assert_allclose(found, [0.5, 0.68, 0.95], atol=0.07)


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "kind"), CASES)
def test_intervals_hold_their_share_of_many_truths(catalogue, region, small_prior, engine, kind):
    prior = inducing(small_prior) if kind == "inducing" else spectral()
    found = coverage(catalogue, region.grid((4, 4, 8)), prior, engine, range(250))
    np.testing.assert_allclose(found, [0.5, 0.68, 0.95], atol=0.03)
