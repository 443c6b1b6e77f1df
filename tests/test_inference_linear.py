"""The linear-Gaussian limit: where the amplitude is tiny, density is linear in v and the posterior a closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass

import astropy.units as u
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.stats import multivariate_normal

import gpdust
from gpdust.inference.cells import PriorOnCells
from gpdust.inference.response import Response
from gpdust.los import extinction_at, integrate, locate_stars
from gpdust.model import LN10

MEAN_DENSITY = 1.6e-3 * gpdust.units.DENSITY
AMPLITUDE = 1e-7  # dex: A is linear in v to about this, and rounding of A stays far below what v moves
SIZE = 10


@dataclass
class LinearProblem:
    """Stars drawn from the prior, with errors as large as the signal that v makes."""

    model: gpdust.DustModel
    mean: np.ndarray
    covariance: np.ndarray
    information: np.ndarray
    log_evidence: float


@pytest.fixture(scope="module")
def problem(catalogue, small_grid, small_prior) -> LinearProblem:
    return linear_problem(catalogue, small_grid, small_prior, AMPLITUDE)


@pytest.fixture(scope="module")
def gentle(catalogue, small_grid, small_prior) -> LinearProblem:
    """Linear to 1e-3 only, but (A / σ)² is not 1e14, where a likelihood has no digit left after the point."""
    return linear_problem(catalogue, small_grid, small_prior, 1e-3)


def linear_problem(catalogue, small_grid, small_prior, amplitude: float) -> LinearProblem:
    rng = np.random.default_rng(0)
    l, b, d = rng.uniform(50, 90, 40), rng.uniform(-10, 10, 40), rng.uniform(190, 300, 40)
    points = rng.uniform(-1, 1, (SIZE, 3)) * 40 + small_grid.cell_points().reshape(-1, 3).mean(0)
    prior = small_prior(points * u.pc, amplitude=amplitude)
    cells = torch.from_numpy(small_grid.cell_points()).reshape(-1, 3)
    linear_map = prior.at(cells)
    lengths = torch.from_numpy(small_grid.cell_lengths)
    stars = locate_stars(small_grid, l, b, d)
    # In closed form: ρ = ρ₀ (1 + ln 10 B v), A = A₀ + J v, with ρ₀ the mean over the residual.
    rho = torch.pow(10.0, linear_map.mean + 0.5 * np.log(10) * linear_map.residual_variance)
    base = extinction_at(integrate(rho.reshape(small_grid.shape), lengths), stars).numpy()
    slopes = (np.log(10) * rho[:, None] * linear_map.matrix).mT.reshape(SIZE, *small_grid.shape)
    jacobian = extinction_at(integrate(slopes, lengths), stars).numpy().T
    error = amplitude * base * 10 ** rng.uniform(-1, 0.5, 40)
    seen = base + jacobian @ rng.standard_normal(SIZE) + error * rng.standard_normal(40)
    information = jacobian.T @ (jacobian / error[:, None] ** 2)
    covariance = np.linalg.inv(np.eye(SIZE) + information)
    mean = covariance @ (jacobian.T @ ((seen - base) / error**2))
    model = gpdust.DustModel(catalogue(l, b, d, seen, error), small_grid, prior)
    total = jacobian @ jacobian.T + np.diag(error**2)
    log_evidence = multivariate_normal(cov=total / amplitude**2).logpdf((seen - base) / amplitude)
    return LinearProblem(model, mean, covariance, information, log_evidence - len(seen) * np.log(amplitude))


def compare(posterior: gpdust.Posterior, problem: LinearProblem) -> tuple[float, float]:
    """Largest error of the mean in posterior standard deviations, and of the covariance relative to them."""
    scale = np.sqrt(np.diag(problem.covariance))
    mean = np.abs(posterior.mean.numpy() - problem.mean) / scale
    covariance = (posterior.scale @ posterior.scale.mT).numpy() - problem.covariance
    return mean.max(), np.abs(covariance / np.outer(scale, scale)).max()


def test_the_stars_of_the_linear_problem_say_something_but_not_everything(problem):
    scale = np.sqrt(np.diag(problem.covariance))
    assert scale.min() < 0.5
    assert scale.max() > 0.3
    assert np.linalg.eigvalsh(problem.information)[-1] > 100
    assert np.abs(problem.mean / scale).max() > 2


def test_the_posterior_is_the_closed_form_where_density_is_linear(problem):
    """The Hessian does not depend on the draws, and mirrored draws leave nothing of the gradient's noise."""
    mean, covariance = compare(gpdust.fit(problem.model, engine="svi", progress=False), problem)
    assert mean < 1e-6
    assert covariance < 1e-6


def test_where_adamw_moves_the_covariance_its_monte_carlo_noise_is_left(problem):
    posterior = gpdust.fit(problem.model, engine="svi", progress=False, natural_gradients=False)
    mean, covariance = compare(posterior, problem)
    assert mean < 1e-6
    assert covariance < 0.01


def test_extinctions_have_the_covariance_of_the_linear_map(problem):
    """Var A = J Σ Jᵀ and the residual's part; the sum of the cells' variances is another number."""
    posterior = gpdust.fit(problem.model, engine="svi", progress=False)
    grid = problem.model.grid
    linear_map = posterior.prior.at(torch.from_numpy(grid.cell_points()).reshape(-1, 3))
    root = linear_map.matrix @ posterior.scale
    covariance = (root @ root.mT + torch.diag(linear_map.residual_variance)).reshape(*grid.shape, *grid.shape)
    rho = 10 ** float(linear_map.mean)
    weights = torch.from_numpy(grid.cell_lengths) * np.log(10) * rho
    _, extinction = posterior.sample(count=4000, seed=1)
    spread = extinction.value.std(axis=0)
    differences = []
    for ray in range(grid.n_rays):
        block = covariance[ray, :, ray, :] * torch.outer(weights, weights)
        expected = np.sqrt([float(block[: k + 1, : k + 1].sum()) for k in range(grid.n_cells)])
        assert_allclose(spread[ray], expected, rtol=0.06)
        naive = np.sqrt(np.cumsum(block.diagonal().numpy()))
        differences.append(np.abs(naive / expected - 1).max())
    assert max(differences) > 0.1


# natural and mgvi


@pytest.mark.parametrize("engine", ["natural", "mgvi"])
def test_natural_and_mgvi_find_the_closed_form(problem, engine):
    """Nothing is left to chance: mean and metric do not depend on the draws where density is linear."""
    options = {"tolerance": 1e-12, "solve_tolerance": 1e-8, "sample_tolerance": 1e-8}
    posterior = gpdust.fit(problem.model, engine=engine, progress=False, **options)
    scale = np.sqrt(np.diag(problem.covariance))
    assert (np.abs(posterior.mean.numpy() - problem.mean) / scale).max() < 1e-6  # A itself is rounded
    if engine == "natural":
        assert compare(posterior, problem)[1] < 10 * AMPLITUDE  # linear to that much, and no more


class LinearResponse(Response):
    """ρ = ρ₀ (1 + ln 10 (φ − μ)) instead of 10^φ: linear for any amplitude, and so without a rounded difference."""

    def density(self, log_density: torch.Tensor) -> torch.Tensor:
        mean = math.log10(MEAN_DENSITY.value)
        return (MEAN_DENSITY.value * (1 + LN10 * (log_density - mean))).unflatten(-1, self.shape)

    def density_slope(self, density: torch.Tensor) -> torch.Tensor:
        return torch.full_like(density, LN10 * MEAN_DENSITY.value)

    def curvature(self, slope: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(slope)


@pytest.mark.parametrize("engine", ["natural", "mgvi"])
def test_natural_and_mgvi_are_exact_where_extinction_is_linear(small_model, monkeypatch, engine):
    """Against dense linear algebra, to 1e-8 of a posterior standard deviation."""
    monkeypatch.setattr("gpdust.inference.newton.Response", LinearResponse)
    model = small_model(amplitude=0.4)
    response, cells = LinearResponse(model), PriorOnCells(model, torch.zeros(0, dtype=torch.float64))
    matrix = torch.cat([linear_map.matrix for _, linear_map in cells.maps()])
    jacobian = torch.autograd.functional.jacobian(
        lambda v: response.extinction(matrix @ v + cells.offset).flatten(),
        torch.zeros(12, dtype=torch.float64),
    )
    base = response.extinction(cells.offset)
    weight = torch.stack([model.likelihood.precision.product(column.reshape(4, 6)) for column in jacobian.mT]).flatten(
        1
    )
    covariance = torch.linalg.inv(torch.eye(12, dtype=torch.float64) + weight @ jacobian)
    residual = (model.likelihood.weighted - model.likelihood.precision.product(base)).flatten()
    mean, scale = covariance @ (jacobian.mT @ residual), covariance.diagonal().sqrt()
    options = {"tolerance": 1e-20, "solve_tolerance": 1e-12, "sample_tolerance": 1e-12}
    posterior = gpdust.fit(model, engine=engine, progress=False, samples=20, **options)
    assert float(((posterior.mean - mean) / scale).abs().max()) < 1e-8
    if engine == "natural":
        found = posterior.scale @ posterior.scale.mT
        assert float(((found - covariance) / torch.outer(scale, scale)).abs().max()) < 1e-8


@pytest.mark.parametrize("engine", ["natural", "mgvi"])
def test_draws_have_the_covariance_of_the_closed_form(problem, engine):
    posterior = gpdust.fit(problem.model, engine=engine, progress=False, samples=4000, sample_tolerance=1e-4)
    offsets = posterior.spread.draw(4000, 0).numpy()
    scale = np.sqrt(np.diag(problem.covariance))
    difference = offsets.T @ offsets / 4000 - problem.covariance
    assert np.abs(difference / np.outer(scale, scale)).max() < 5 * np.sqrt(2 / 2000)


@pytest.mark.parametrize(("engine", "bound"), [("natural", 0.02), ("mgvi", 0.02), ("svi", 0.1)])
def test_the_elbo_is_the_evidence_where_density_is_linear(gentle, engine, bound):
    """log N(A; A₀, J Jᵀ + σ²), without the hyperparameters: the bound is tight where q has the posterior's form."""
    posterior = gpdust.fit(gentle.model, engine=engine, progress=False)
    assert abs(posterior.report.elbo - gentle.log_evidence) < bound + 4 * posterior.report.elbo_error
