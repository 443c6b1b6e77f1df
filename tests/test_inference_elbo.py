"""The model's likelihood and ELBO, against the stars one by one and Monte Carlo by hand."""

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from numpy.testing import assert_allclose
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO

import gpdust.model
from gpdust.inference import SVI, Progress, WhitenedGaussian


def log_likelihood_by_hand(model, stars, v: np.ndarray, theta: torch.Tensor | None = None) -> np.ndarray:
    """Σ log N(A_i; A(d_i), σ_i²), star by star, in numpy, for v of shape (draws, M)."""
    grid = model.grid
    linear_map = model.prior.at(torch.from_numpy(grid.cell_points()).reshape(-1, 3), theta)
    residual = linear_map.residual_variance.detach().numpy()
    log_density = float(linear_map.mean) + v @ linear_map.matrix.detach().numpy().T + 0.5 * math.log(10) * residual
    density = (10**log_density).reshape(len(v), *grid.shape)
    total = np.zeros(len(v))
    for l, b, d, seen, error in zip(
        stars.l.value,
        stars.b.value,
        stars.distance.value,
        stars.extinction.value,
        stars.extinction_error.value,
        strict=True,
    ):
        ray = np.searchsorted(grid.l_edges.value, l) - 1
        ray = ray * grid.sky_shape[1] + np.searchsorted(grid.b_edges.value, b) - 1
        crossed = np.clip(d - grid.edges[:-1], 0, grid.cell_lengths)
        extinction = density[:, ray] @ crossed
        total += -0.5 * ((seen - extinction) / error) ** 2 - math.log(error) - 0.5 * math.log(2 * math.pi)
    return total


@pytest.fixture
def guide(small_model) -> WhitenedGaussian:
    generator = torch.Generator().manual_seed(0)
    size = 12
    rotation, _ = torch.linalg.qr(torch.randn(size, size, dtype=torch.float64, generator=generator))
    scale = torch.rand(size, dtype=torch.float64, generator=generator) * 0.05 + 0.01
    mean = 0.3 * torch.randn(size, dtype=torch.float64, generator=generator)
    return WhitenedGaussian(mean, rotation, scale, torch.eye(size, dtype=torch.float64), generator)


def test_the_likelihood_of_the_model_is_that_of_the_stars_one_by_one(small_model, mock_stars):
    model, stars = small_model(learn=True), mock_stars()
    v = torch.randn(5, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    theta = torch.linspace(-0.5, 0.5, 5, dtype=torch.float64)
    for at in (None, theta):
        expected = log_likelihood_by_hand(model, stars, v.numpy(), at)
        assert_allclose(model.log_likelihood(v, at), expected, rtol=1e-10)
        assert_allclose(model.log_likelihood(v, at, basis=model.basis(model.prior, at)), expected, rtol=1e-10)


@pytest.mark.parametrize("theta_too", [False, True])
def test_chunks_of_rays_change_neither_likelihood_nor_gradient(small_model, monkeypatch, theta_too):
    model = small_model(learn=True)
    results = []
    for chunk_bytes in (1e9, 1):
        monkeypatch.setattr(gpdust.model, "CHUNK_BYTES", chunk_bytes)
        assert len(model.ray_chunks) == (1 if chunk_bytes > 1 else 4)
        v = torch.ones(3, 12, dtype=torch.float64).requires_grad_()
        theta = torch.full((5,), 0.1, dtype=torch.float64).requires_grad_(theta_too)
        points = model.prior.points.clone().requires_grad_(theta_too)
        value = model.log_likelihood(v, theta, prior=model.prior.with_points(points))
        inputs = (v, theta, points) if theta_too else (v,)
        results.append([value.detach(), *torch.autograd.grad(value.sum(), inputs)])
    for one, several in zip(*results, strict=True):
        assert_allclose(several, one, rtol=1e-9, atol=1e-9 * one.abs().max())


def test_a_basis_too_large_for_memory_is_not_kept(small_model):
    model = small_model()
    size = 8e-9 * model.prior.latent_size * model.grid.shape[0] * model.grid.shape[1]
    assert small_model(matrix_memory=1.01 * size).basis(model.prior, None) is not None
    without = small_model(matrix_memory=0.99 * size)
    assert without.basis(without.prior, None) is None


@pytest.mark.parametrize("tempering", [1.0, 0.01])
@pytest.mark.parametrize("learn", [False, True])
@pytest.mark.parametrize("elbo", [Trace_ELBO, TraceMeanField_ELBO])
def test_the_elbo_is_the_mean_log_likelihood_less_the_divergence(
    small_model, mock_stars, guide, elbo, learn, tempering
):
    model = small_model(learn=learn)
    theta = torch.linspace(-0.2, 0.2, model.prior.theta_size, dtype=torch.float64)

    def pyro_guide(particles, *_):
        if learn:
            pyro.sample("hyperparameters", dist.Delta(theta, event_dim=1))
        with pyro.plate("particles", particles), pyro.poutine.scale(scale=1 / particles):
            pyro.sample("latent", guide)

    by_pyro = [-elbo().loss(model.pyro_model, pyro_guide, 100, tempering) for _ in range(40)]
    draws = guide.rsample((4000,))
    likelihood = tempering * log_likelihood_by_hand(model, mock_stars(), draws.numpy(), theta if learn else None)
    covariance = guide.scale_matrix() @ guide.scale_matrix().mT
    q = torch.distributions.MultivariateNormal(guide.mean_vector, covariance)
    p = torch.distributions.MultivariateNormal(torch.zeros(12).double(), torch.eye(12).double())
    expected = likelihood.mean() - float(torch.distributions.kl_divergence(q, p))
    expected += float(torch.distributions.Normal(0.0, 1.0).log_prob(theta).sum())
    error = math.hypot(np.std(by_pyro) / math.sqrt(40), likelihood.std() / math.sqrt(4000))
    assert abs(np.mean(by_pyro) - expected) < 5 * error
    assert error < 0.1 + 0.02 * abs(expected)


def test_the_reported_elbo_of_a_fit_is_that_of_its_posterior(small_model, mock_stars):
    model = small_model()
    svi = SVI(model)
    state, bar = svi.init(0), Progress(1, shown=False)
    while state.phase != "done":
        state = svi.stage(state, bar)
    report = svi.finish(state)[1]
    elbo, error = report.elbo, report.elbo_error
    covariance = state.guide.scale_matrix() @ state.guide.scale_matrix().mT
    q = torch.distributions.MultivariateNormal(state.mean, covariance)
    p = torch.distributions.MultivariateNormal(torch.zeros(12).double(), torch.eye(12).double())
    likelihood = log_likelihood_by_hand(model, mock_stars(), q.sample((20_000,)).numpy())
    expected = likelihood.mean() - float(torch.distributions.kl_divergence(q, p))
    assert 0 < error < 0.5
    assert abs(elbo - expected) < 5 * math.hypot(error, likelihood.std() / math.sqrt(20_000))


@pytest.mark.parametrize("engine", ["natural", "mgvi"])
def test_the_draws_that_the_mean_was_fitted_to_do_not_flatter_the_elbo(small_model, mock_stars, engine):
    """Few stars, wide draws and one pair of them: its own draws would put the ELBO far above that of its posterior."""
    stars = mock_stars(8)
    model = small_model(stars, amplitude=0.6)
    options = {"samples": 2, "progress": False, "tolerance": 1e-3, "sample_tolerance": 1e-3, "seed": 1}
    posterior = gpdust.fit(model, engine="natural", **options)
    report = posterior.report if engine == "natural" else gpdust.fit(model, engine=engine, **options).report
    q = torch.distributions.MultivariateNormal(posterior.mean, posterior.scale @ posterior.scale.mT)
    p = torch.distributions.MultivariateNormal(torch.zeros(12).double(), torch.eye(12).double())
    likelihood = log_likelihood_by_hand(model, stars, q.sample((20_000,)).numpy())
    divergence = float(torch.distributions.kl_divergence(q, p))
    expected, error = likelihood.mean() - divergence, likelihood.std() / math.sqrt(20_000)
    assert abs(report.elbo - expected) < 0.3 + 4 * math.hypot(report.elbo_error, error)
    with_its_own_draws = posterior.trace.elbo[-1] + 0.5 * float(posterior.mean.square().sum()) - divergence
    assert with_its_own_draws > expected + 10 * report.elbo_error
