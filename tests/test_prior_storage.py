"""A prior as plain data: built again, it is the same prior, or an error says why it can't be."""

import json

import astropy.units as u
import gpytorch
import numpy as np
import pytest
import torch
from gpytorch.kernels import MaternKernel, PiecewisePolynomialKernel, RBFKernel, RQKernel, ScaleKernel
from numpy.testing import assert_allclose

from gpdust.prior import InducingGP

POINTS = torch.rand(12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 100


def again(prior: InducingGP) -> InducingGP:
    return InducingGP.from_description(json.loads(json.dumps(prior.description())), prior.points)


def assert_same(left: InducingGP, right: InducingGP) -> None:
    theta = torch.linspace(-1, 1, left.theta_size, dtype=torch.float64)
    places = POINTS + 7
    for one, other in ((left.at(places), right.at(places)), (left.at(places, theta), right.at(places, theta))):
        assert_allclose(one.matrix, other.matrix, rtol=1e-12, atol=1e-15)
        assert_allclose(one.residual_variance, other.residual_variance, rtol=1e-12, atol=1e-15)
        assert one.mean == other.mean


@pytest.mark.parametrize("name", ["rbf", "matern12", "matern32", "matern52"])
@pytest.mark.parametrize("learn", [True, ["length_scale"], False])
def test_a_named_prior_is_built_again(name, learn):
    prior = InducingGP(name, POINTS.numpy() * u.pc, [10, 20, 30] * u.pc, 0.37, learn=learn, placement="farthest")
    rebuilt = again(prior)
    assert rebuilt.hyperparameters == prior.hyperparameters
    assert str(rebuilt) == str(prior)
    assert_same(prior, rebuilt)


@pytest.mark.parametrize(
    "kernel",
    [
        ScaleKernel(RBFKernel(ard_num_dims=3)) + ScaleKernel(MaternKernel(nu=0.5)),
        ScaleKernel(RBFKernel() * MaternKernel(nu=1.5)),
        ScaleKernel(RQKernel(ard_num_dims=3)),
        ScaleKernel(RBFKernel(active_dims=[2])),
        ScaleKernel(RBFKernel(active_dims=[2]) * MaternKernel(active_dims=[0, 1], ard_num_dims=2)),
        ScaleKernel(PiecewisePolynomialKernel(q=0)),
    ],
    ids=["sum", "product", "rational quadratic", "one axis", "axes apart", "polynomial"],
)
def test_a_prior_with_a_gpytorch_kernel_is_built_again_or_refused(kernel):
    for parameter in kernel.parameters():
        torch.nn.init.constant_(parameter, 30.0)
    prior = InducingGP(kernel, POINTS.numpy() * u.pc)
    try:
        rebuilt = again(prior)
    except ValueError:
        return
    assert_same(prior, rebuilt)


def test_no_class_from_elsewhere_is_loaded():
    description = InducingGP("rbf", POINTS.numpy() * u.pc).description()
    for name in ("Secret", "os", "__builtins__", "keops"):
        description["kernel"]["class"] = name
        with pytest.raises(ValueError, match="not one of GPyTorch's"):
            InducingGP.from_description(description, POINTS)


class LinearFall(gpytorch.kernels.Kernel):
    """A user's own kernel."""

    has_lengthscale = True

    def forward(self, x1, x2, diag=False, **_):
        return torch.exp(-self.covar_dist(x1 / self.lengthscale, x2 / self.lengthscale, diag=diag, square_dist=False))


def test_a_users_own_kernel_is_built_again_where_it_is_given():
    prior = InducingGP(ScaleKernel(LinearFall()), POINTS.numpy() * u.pc)
    description = json.loads(json.dumps(prior.description()))
    with pytest.raises(ValueError, match="LinearFall"):
        InducingGP.from_description(description, POINTS)
    assert_same(prior, InducingGP.from_description(description, POINTS, ScaleKernel(LinearFall())))


def test_with_points_moves_a_copy():
    prior = InducingGP("rbf", POINTS.numpy() * u.pc)
    moved = prior.with_points(POINTS + 1)
    assert np.array_equal(prior.points, POINTS)
    assert np.array_equal(moved.points, POINTS + 1)
    assert moved.latent_size == 12
