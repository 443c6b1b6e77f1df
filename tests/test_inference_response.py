"""What the stars say of the log-density on the cells, against autograd and dense matrices."""

import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from gpdust.inference import star_metric
from gpdust.inference.cells import PriorOnCells
from gpdust.inference.objective import Objective, Place
from gpdust.inference.response import Response
from gpdust.inference.star_metric import PlainMetric, StarMetric
from gpdust.likelihood import Blocks
from gpdust.los import integrate

GENERATOR = torch.Generator().manual_seed(0)
LOG_DENSITY = -2.8 + 0.3 * torch.randn(3, 24, dtype=torch.float64, generator=GENERATOR)


@pytest.fixture(params=["stars everywhere", "one ray", "near stars", "no star"])
def model(request, small_model, mock_stars):
    if request.param == "no star":
        return small_model([])
    reach = {"one ray": {"l": (50, 60), "b": (0, 10)}, "near stars": {"distance": (180, 215)}}
    return small_model(mock_stars(100, **reach.get(request.param, {})))


def dense_metric(model, log_density: torch.Tensor) -> torch.Tensor:
    """JᵀWJ of one draw, shape (ray, cell, cell), with J from autograd and W written out."""
    lengths = torch.from_numpy(model.grid.cell_lengths)
    blocks = []
    for row, diagonal, coupling in zip(
        log_density.reshape(model.grid.shape), model.likelihood.diagonal, model.likelihood.coupling, strict=True
    ):
        jacobian = torch.autograd.functional.jacobian(lambda phi: integrate(10**phi, lengths), row)
        weight = torch.diag(diagonal) + torch.diag(coupling[1:], 1) + torch.diag(coupling[1:], -1)
        blocks.append(jacobian.mT @ weight @ jacobian)
    return torch.stack(blocks)


def scaled(matrix: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Relative to the roots of the diagonal of another; what no star sees stays as it is."""
    scale = like.diagonal(dim1=-2, dim2=-1).sqrt()
    scale = torch.where(scale > 0, scale, 1.0)
    return matrix / (scale[..., :, None] * scale[..., None, :])


def test_the_energy_is_that_of_the_model(small_model):
    model = small_model()
    v = torch.randn(3, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    linear_map = model.prior.at(model.points(slice(None)))
    energy = Response(model).energy(model.mean_log_density(v, linear_map))
    assert_allclose(energy, -model.log_likelihood(v), rtol=1e-12)


def test_the_gradient_is_that_of_autograd(model):
    response = Response(model)
    log_density = LOG_DENSITY.clone().requires_grad_()
    (expected,) = torch.autograd.grad(response.energy(log_density).sum(), log_density)
    energy, gradient = response.energy_and_gradient(LOG_DENSITY)
    assert_allclose(energy, response.energy(LOG_DENSITY), rtol=1e-12)
    assert_allclose(gradient, expected, rtol=1e-10, atol=1e-12 * float(expected.abs().max()))


def metric_at(model, averaged: bool) -> StarMetric:
    return Response(model).metric(LOG_DENSITY if averaged else LOG_DENSITY[0], averaged)


def expected_blocks(model, averaged: bool) -> torch.Tensor:
    return torch.stack([dense_metric(model, draw) for draw in LOG_DENSITY[: None if averaged else 1]]).mean(0)


@pytest.mark.parametrize("averaged", [False, True])
@pytest.mark.parametrize("block_bytes", [64e6, 1.0])
def test_the_metric_is_that_of_the_dense_jacobian(model, monkeypatch, block_bytes, averaged):
    monkeypatch.setattr(star_metric, "BLOCK_BYTES", block_bytes)
    expected = expected_blocks(model, averaged)
    metric = metric_at(model, averaged)
    blocks = metric.blocks(slice(None))
    assert blocks.shape == (4, 6, 6) and metric.shape == (4, 6)
    assert_allclose(scaled(blocks, expected), scaled(expected, expected), atol=1e-12)
    assert_allclose(metric.blocks(slice(1, 3)), blocks[1:3], rtol=1e-12)


@pytest.mark.parametrize("averaged", [False, True])
@pytest.mark.parametrize("block_bytes", [64e6, 1.0])
def test_the_product_is_that_of_the_matrices(model, monkeypatch, block_bytes, averaged):
    monkeypatch.setattr(star_metric, "BLOCK_BYTES", block_bytes)
    metric = metric_at(model, averaged)
    dense = torch.block_diag(*metric.blocks(slice(None)))
    assert_allclose(metric.weigh(LOG_DENSITY), LOG_DENSITY @ dense, rtol=1e-10)


@pytest.mark.parametrize("averaged", [False, True])
def test_the_product_is_its_own_adjoint(model, averaged):
    metric = metric_at(model, averaged)
    x, y = torch.randn(2, 1, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    assert_allclose((metric.weigh(x) * y).sum(), (x * metric.weigh(y)).sum(), rtol=1e-12)


@pytest.mark.parametrize("averaged", [False, True])
@pytest.mark.parametrize("block_bytes", [64e6, 1.0])
def test_noise_has_the_metric_as_its_covariance(model, monkeypatch, block_bytes, averaged):
    monkeypatch.setattr(star_metric, "BLOCK_BYTES", block_bytes)
    metric = metric_at(model, averaged)
    blocks = metric.blocks(slice(None))
    root = metric.root(torch.eye(24, dtype=torch.float64))
    covariance = (root.mT @ root).reshape(4, 6, 4, 6)
    for ray in range(4):
        assert_allclose(scaled(covariance[ray, :, ray], blocks[ray]), scaled(blocks[ray], blocks[ray]), atol=1e-8)
        others = [other for other in range(4) if other != ray]
        assert_allclose(covariance[ray][:, others], 0, atol=1e-12)


@pytest.mark.parametrize("averaged", [False, True])
def test_the_root_has_an_adjoint(model, averaged):
    metric = metric_at(model, averaged)
    x, y = torch.randn(2, 1, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    assert_allclose((metric.root(x) * y).sum(), (x * metric.root_adjoint(y)).sum(), rtol=1e-12)


@pytest.mark.parametrize("far", [False, True])
def test_the_hessian_of_a_step_is_that_of_autograd_where_it_is_convex(model, far):
    """Of the energy averaged over two pairs of draws; F of Gaussian noise does not depend on the extinction."""
    place = Place(torch.zeros(12, dtype=torch.float64), LOG_DENSITY[0], 0.3 * LOG_DENSITY[1:] + 0.84)
    response, draws, shift = Response(model), place.log_densities(), torch.zeros(24, dtype=torch.float64)
    objective = Objective(PriorOnCells(model, torch.zeros(0, dtype=torch.float64)), response)
    expected = torch.autograd.functional.hessian(lambda x: response.energy(draws + x).mean(), shift)
    slope = objective.slope(place)[1]
    convex = objective.hessian(place, slope, averaged=True, far=far)
    changed = torch.diag((1.5 if far else 1.0) * math.log(10) * slope.clamp(max=0))  # −1 became 0, or a half
    dense = torch.block_diag(*convex.blocks(slice(None)))
    like = torch.block_diag(*objective.metric(place, averaged=True).blocks(slice(None))) + changed.abs()
    assert_allclose(scaled(dense + changed, like), scaled(expected, like), atol=1e-9)
    assert_allclose(convex.weigh(LOG_DENSITY), LOG_DENSITY @ dense, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("wanted", [0.01, 0.5, 0.99, 1.01, 2.0, 100.0, 1e6])
def test_a_far_step_of_one_cell_is_that_of_the_logarithm_to_second_order(small_model, catalogue, region, wanted):
    """A star that wants a single cell 1 + x times as dense as the mean has it."""
    grid, x, density = region.grid((1, 1, 1)), wanted - 1, 10 ** float(LOG_DENSITY[0, 0])
    depth = 40.0  # pc, of the star in the cell
    star = catalogue([70.0], [0.0], [grid.edges[0] + depth], [wanted * density * depth], [0.01 * density * depth])
    model = small_model(star, grid)
    place = Place(torch.zeros(12, dtype=torch.float64), LOG_DENSITY[0, :1], torch.zeros(0, 1, dtype=torch.float64))
    objective = Objective(PriorOnCells(model, torch.zeros(0, dtype=torch.float64)), Response(model))
    slope = objective.slope(place)[1]
    step = -float(slope / objective.hessian(place, slope, averaged=False, far=True).blocks(slice(None)).flatten())
    e_folds = x / (1 + x / 2) if x > 0 else x / (1 - x)
    assert step * math.log(10) == pytest.approx(e_folds, rel=1e-9)
    assert abs(e_folds) < min(2, 1.001 * abs(math.log(wanted)))  # never too far


def test_information_as_blocks_is_the_same_metric(model):
    """F written out, as stars whose distances are uncertain give it."""
    response, extinction = Response(model), torch.zeros(4, 6, dtype=torch.float64)
    plain = response.metric(LOG_DENSITY)
    unit = torch.eye(6, dtype=torch.float64)
    whole = model.likelihood.information(extinction).product(unit[:, None].expand(6, 4, 6)).movedim(1, 0)
    slope = response.density_slope(response.density(LOG_DENSITY)).square().mean(0).sqrt() * response.lengths
    blocks = PlainMetric(slope, Blocks(whole))
    scale = plain.blocks(slice(None))
    assert_allclose(scaled(blocks.blocks(slice(None)), scale), scaled(scale, scale), atol=1e-12)
    assert_allclose(blocks.weigh(LOG_DENSITY), plain.weigh(LOG_DENSITY), rtol=1e-9, atol=1e-9 * float(scale.max()))
    noise, expected = blocks.root(LOG_DENSITY), plain.root(LOG_DENSITY)
    assert_allclose(noise, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
    assert_allclose(Blocks(whole).product(unit[:, None].expand(6, 4, 6)).movedim(1, 0), whole, rtol=1e-12)


@pytest.mark.parametrize("averaged", [False, True])
def test_cells_that_no_star_sees_have_no_metric_and_no_noise(small_model, mock_stars, averaged):
    model = small_model(mock_stars(100, distance=(180, 215)))  # in the first two of six cells
    metric = metric_at(model, averaged)
    blocks = metric.blocks(slice(None))
    noise = metric.root(torch.ones(2, 24, dtype=torch.float64)).unflatten(-1, (4, 6))
    gradient = Response(model).energy_and_gradient(LOG_DENSITY)[1].unflatten(-1, (4, 6))
    for seen in (blocks[:, :2, :2], noise[..., :2], gradient[..., :2]):
        assert torch.isfinite(seen).all() and (seen != 0).all()
    assert (blocks[:, 2:] == 0).all() and (blocks[:, :, 2:] == 0).all()
    assert (noise[..., 2:] == 0).all() and (gradient[..., 2:] == 0).all()


@pytest.mark.parametrize("averaged", [False, True])
def test_errors_over_six_decades_leave_the_noise_finite(catalogue, small_grid, small_model, averaged):
    rng = np.random.default_rng(0)
    d = rng.uniform(180, 300, 300)
    stars = catalogue(rng.uniform(50, 90, 300), rng.uniform(-10, 10, 300), d, 0.01, 10 ** rng.uniform(-6, 0, 300))
    metric = metric_at(small_model(stars), averaged)
    blocks = metric.blocks(slice(None))
    root = metric.root(torch.eye(24, dtype=torch.float64))
    assert torch.isfinite(root).all()
    covariance = (root.mT @ root).reshape(4, 6, 4, 6)
    for ray in range(4):
        assert_allclose(scaled(covariance[ray, :, ray], blocks[ray]), scaled(blocks[ray], blocks[ray]), atol=1e-5)
