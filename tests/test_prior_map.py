"""The inducing-point prior as a linear map, against the kernels written out by hand."""

import astropy.units as u
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.spatial.distance import cdist
from torch.autograd import gradcheck

from gpdust.prior import InducingGP

SCALES = (20.0, 30.0, 45.0)
KERNELS = {
    "rbf": lambda r: np.exp(-0.5 * r**2),
    "matern12": lambda r: np.exp(-r),
    "matern32": lambda r: (1 + np.sqrt(3) * r) * np.exp(-np.sqrt(3) * r),
    "matern52": lambda r: (1 + np.sqrt(5) * r + 5 / 3 * r**2) * np.exp(-np.sqrt(5) * r),
}
RNG = np.random.default_rng(0)
INDUCING = RNG.uniform(0, 100, (15, 3))
POINTS = torch.from_numpy(RNG.uniform(-20, 120, (40, 3)))


def by_hand(name: str, points: np.ndarray, others: np.ndarray, amplitude: float = 0.4) -> np.ndarray:
    return amplitude**2 * KERNELS[name](cdist(points / np.array(SCALES), others / np.array(SCALES)))


def make(name: str = "rbf", **options) -> InducingGP:
    options = {"inducing": INDUCING * u.pc, "length_scale": SCALES * u.pc, "amplitude": 0.4} | options
    return InducingGP(name, **options)


@pytest.mark.parametrize("name", KERNELS)
def test_the_map_has_the_covariance_of_its_kernel(name):
    linear_map = make(name).at(POINTS)
    inner, cross = by_hand(name, INDUCING, INDUCING), by_hand(name, POINTS.numpy(), INDUCING)
    covariance = linear_map.matrix @ linear_map.matrix.mT
    assert_allclose(covariance, cross @ np.linalg.solve(inner, cross.T), rtol=1e-5, atol=1e-8)
    assert_allclose(covariance.diagonal() + linear_map.residual_variance, 0.16, rtol=1e-12)
    assert (linear_map.residual_variance >= 0).all()


@pytest.mark.parametrize("name", KERNELS)
def test_the_covariance_is_exact_at_the_inducing_points(name):
    linear_map = make(name).at(torch.from_numpy(INDUCING))
    assert_allclose(linear_map.matrix @ linear_map.matrix.mT, by_hand(name, INDUCING, INDUCING), atol=1e-8)
    assert_allclose(linear_map.residual_variance, 0, atol=1e-8)


def test_apply_and_adjoint_are_adjoint_over_batches():
    linear_map = make().at(POINTS)
    v = torch.randn(3, 15, dtype=torch.float64)
    y = torch.randn(3, 40, dtype=torch.float64)
    assert_allclose((linear_map.apply(v) * y).sum(-1), (v * linear_map.adjoint(y)).sum(-1), rtol=1e-12)
    identity = torch.eye(40, dtype=torch.float64)
    assert_allclose(linear_map.rows(slice(3, 9)), linear_map.adjoint(identity)[3:9], rtol=1e-12)


def test_the_log_density_is_the_mean_plus_the_map():
    linear_map = make(mean_density=2e-3 * u.mag / u.pc).at(POINTS)
    v = torch.randn(15, dtype=torch.float64)
    assert_allclose(linear_map.log_density(v), np.log10(2e-3) + (linear_map.matrix @ v).numpy(), rtol=1e-12)


@pytest.mark.parametrize("name", KERNELS)
def test_the_map_is_differentiable_in_hyperparameters_and_inducing_points(name):
    prior = make(name)
    points = POINTS[:5]

    def parts(theta, inducing):
        linear_map = prior.with_points(inducing).at(points, theta)
        return linear_map.matrix, linear_map.mean, linear_map.residual_variance

    theta = 0.3 * torch.ones(prior.theta_size, dtype=torch.float64)
    inducing = torch.from_numpy(INDUCING[:4])
    assert gradcheck(parts, (theta.requires_grad_(), inducing.requires_grad_()), atol=1e-7)


def test_theta_changes_the_map_as_its_physical_values_say():
    prior = make()
    theta = torch.tensor([0.5, 1.0, -1.0, 0.2, -0.6], dtype=torch.float64)
    physical = prior.hyperparameters.report(theta)
    scales = [physical[f"length_scale_{axis}"] for axis in "xyz"]
    other = make(
        length_scale=scales * u.pc,
        amplitude=physical["amplitude"],
        mean_density=10 ** physical["mean_log_density"] * u.mag / u.pc,
    )
    moved, built = prior.at(POINTS, theta), other.at(POINTS)
    assert_allclose(moved.matrix, built.matrix, atol=1e-10)
    assert_allclose(moved.mean, built.mean, rtol=1e-12)
    assert_allclose(moved.residual_variance, built.residual_variance, atol=1e-10)


@pytest.mark.parametrize("name", KERNELS)
def test_far_from_all_inducing_points_the_prior_returns(name):
    linear_map = make(name).at(torch.tensor([[1e5, 0, 0]], dtype=torch.float64))
    assert_allclose(linear_map.residual_variance, 0.16, rtol=1e-12)
    assert_allclose(linear_map.matrix, 0, atol=1e-12)


def test_a_prior_evaluates_in_float64_and_leaves_gradients_to_those_who_ask():
    linear_map = make().at(POINTS)
    assert linear_map.matrix.dtype == linear_map.residual_variance.dtype == linear_map.mean.dtype == torch.float64


@pytest.mark.parametrize(
    "options",
    [
        {"name": "exponential"},
        {"placement": "random"},
        {"length_scale": -1 * u.pc},
        {"amplitude": 0},
        {"mean_density": 0 * u.mag / u.pc},
        {"inducing": 0},
        {"learn": ["lengthscale"]},
    ],
)
def test_an_unusable_prior_is_refused(options):
    with pytest.raises(ValueError, match=r"."):
        make(**options)
