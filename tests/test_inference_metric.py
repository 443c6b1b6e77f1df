"""The Gauss–Newton metric against dense Jacobians, and the coordinates made of it."""

import pytest
import torch
from numpy.testing import assert_allclose

import gpdust.model
from gpdust.inference.metric import expected_hessian, gauss_newton, whiten
from gpdust.los import integrate

V = 0.3 * torch.randn(12, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
THETA = torch.tensor([0.3, -0.2, 0.1, 0.4, -0.3], dtype=torch.float64)


def dense(model, v: torch.Tensor, theta: torch.Tensor, with_theta: bool) -> torch.Tensor:
    """JᵀWJ from autograd and a dense W."""
    points = model.points(slice(None))
    lengths = torch.from_numpy(model.grid.cell_lengths)

    def extinction(theta, v):
        return integrate(model.density(v, model.prior.at(points, theta)), lengths).flatten()

    of_theta, of_v = torch.autograd.functional.jacobian(extinction, (theta, v))
    jacobian = torch.cat([of_theta, of_v], dim=-1) if with_theta else of_v
    cells = model.grid.n_cells
    blocks = []
    for diagonal, coupling in zip(model.likelihood.diagonal, model.likelihood.coupling, strict=True):
        blocks.append(torch.diag(diagonal) + torch.diag(coupling[1:], 1) + torch.diag(coupling[1:], -1))
        assert blocks[-1].shape == (cells, cells)
    weight = torch.block_diag(*blocks)
    return jacobian.mT @ weight @ jacobian


@pytest.mark.parametrize("with_theta", [False, True])
@pytest.mark.parametrize("kept", [False, True])
def test_the_metric_is_that_of_the_dense_jacobian(small_model, with_theta, kept):
    model = small_model(learn=True)
    basis = model.basis(model.prior, THETA) if kept else None
    with torch.no_grad():
        ours = gauss_newton(model, model.prior, V, THETA, basis, with_theta)
    theirs = dense(model, V, THETA, with_theta)
    scale = theirs.diagonal().sqrt()
    assert_allclose(ours, ours.mT)
    assert_allclose(
        ours / torch.outer(scale, scale), theirs / torch.outer(scale, scale), atol=1e-10 + 2e-3 * with_theta
    )


def test_the_metric_is_averaged_over_draws(small_model):
    model = small_model()
    nothing = torch.zeros(0, dtype=torch.float64)
    draws = V + 0.5 * torch.randn(4, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    averaged = gauss_newton(model, model.prior, V, nothing, None, False, draws)
    each = [gauss_newton(model, model.prior, draw, nothing, None, False) for draw in draws]
    assert_allclose(averaged, torch.stack(each).mean(0), rtol=1e-10)


def test_the_hessian_is_that_of_automatic_differentiation(small_model):
    model = small_model()
    nothing = torch.zeros(0, dtype=torch.float64)
    draws = V + 0.5 * torch.randn(4, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    ours = expected_hessian(model, model.prior, nothing, None, draws)

    def energy(v):
        return -model.log_likelihood(v[None], nothing).sum()

    theirs = torch.stack([torch.autograd.functional.hessian(energy, draw) for draw in draws]).mean(0)
    assert_allclose(ours, theirs, rtol=1e-8, atol=1e-8 * theirs.abs().max())
    metric = gauss_newton(model, model.prior, V, nothing, None, False, draws)
    assert (ours - metric).abs().max() > 1e-3 * metric.abs().max()  # what the metric leaves out is not nothing


def test_chunks_of_rays_do_not_change_the_hessian(small_model, monkeypatch):
    model = small_model()
    nothing = torch.zeros(0, dtype=torch.float64)
    whole = expected_hessian(model, model.prior, nothing, None, V[None])
    monkeypatch.setattr(gpdust.model, "CHUNK_BYTES", 1)
    assert len(model.ray_chunks) == 4
    chunked = expected_hessian(model, model.prior, nothing, None, V[None])
    assert_allclose(chunked, whole, atol=1e-10 * whole.abs().max())


@pytest.mark.parametrize("with_theta", [False, True])
def test_chunks_of_rays_do_not_change_the_metric(small_model, monkeypatch, with_theta):
    model = small_model(learn=True)
    whole = gauss_newton(model, model.prior, V, THETA, None, with_theta)
    monkeypatch.setattr(gpdust.model, "CHUNK_BYTES", 1)
    assert len(model.ray_chunks) == 4
    chunked = gauss_newton(model, model.prior, V, THETA, None, with_theta)
    assert_allclose(chunked, whole, atol=1e-10 * whole.abs().max())


@pytest.mark.parametrize("tempering", [1.0, 1e-3])
@pytest.mark.parametrize("theta_size", [0, 5])
@pytest.mark.parametrize("strength", [0.0, 1.0, 1e6])
def test_in_the_whitened_coordinates_the_precision_is_the_identity(tempering, theta_size, strength):
    size = theta_size + 12
    root = torch.randn(size, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    information = strength * root @ root.mT
    whitening = whiten(information, tempering, theta_size)
    transform = torch.zeros(size, size, dtype=torch.float64)
    transform[:theta_size, :theta_size] = whitening.theta_factor
    transform[theta_size:, :theta_size] = whitening.compensation
    transform[theta_size:, theta_size:] = whitening.rotation * whitening.scale
    precision = tempering * information + torch.eye(size, dtype=torch.float64)
    assert_allclose(transform.mT @ precision @ transform, torch.eye(size), atol=1e-6)
    covariance = torch.linalg.inv(precision)[:theta_size, :theta_size]
    assert_allclose(whitening.theta_covariance, covariance, rtol=1e-5, atol=1e-8)


def test_the_mean_moves_along_the_whitened_axes():
    information = torch.diag(torch.tensor([99.0, 0.0, 3.0], dtype=torch.float64))
    whitening = whiten(information, 1.0, 0)
    origin = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    assert_allclose(whitening.scale.sort().values, [0.1, 0.5, 1.0])
    eta = torch.tensor([0.3, -0.4, 1.2], dtype=torch.float64)
    generator = torch.Generator()
    moved = whitening.gaussian(origin, generator).scaled(eta)
    precision = information + torch.eye(3)
    assert_allclose(moved @ precision @ moved, eta @ eta, rtol=1e-12)
