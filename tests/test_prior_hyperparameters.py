"""Hyperparameters: physical values outside, a standardised vector inside."""

import math

import astropy.units as u
import pytest
import torch
from gpytorch.kernels import AdditiveKernel, MaternKernel, PeriodicKernel, ProductKernel, RBFKernel, ScaleKernel
from numpy.testing import assert_allclose

from gpdust.prior import Hyperparameter, Hyperparameters, InducingGP

NAMES = ["amplitude", "length_scale_x", "length_scale_y", "length_scale_z", "mean_log_density"]
POINTS = torch.rand(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 100


def rbf(*scales: float) -> RBFKernel:
    kernel = RBFKernel(ard_num_dims=3).double()
    kernel.lengthscale = torch.tensor([scales], dtype=torch.float64)
    return kernel


def matern(scale: float, nu: float = 1.5) -> MaternKernel:
    kernel = MaternKernel(nu=nu).double()
    kernel.lengthscale = scale
    return kernel


def scaled(kernel, amplitude: float) -> ScaleKernel:
    kernel = ScaleKernel(kernel).double()
    kernel.outputscale = amplitude**2
    return kernel


COMPOSED = {
    "sum": lambda: scaled(rbf(10, 20, 30), 0.3) + scaled(matern(70.0), 0.2),
    "product": lambda: scaled(rbf(10, 20, 30) * matern(70.0), 0.5),
    "sum of three": lambda: scaled(rbf(10, 20, 30), 0.3) + scaled(matern(70.0), 0.2) + scaled(matern(5.0, 0.5), 0.1),
    "product of sums": lambda: ProductKernel(
        AdditiveKernel(scaled(rbf(10, 20, 30), 0.3), scaled(matern(70.0), 0.2)), matern(50.0, 2.5)
    ),
    "sum of products": lambda: scaled(rbf(10, 20, 30) * PeriodicKernel(), 0.3) + scaled(matern(9) * matern(70), 0.2),
    "one axis": lambda: scaled(RBFKernel(active_dims=[2]), 0.3),
}


def test_length_scales_and_amplitude_are_reported_as_given():
    prior = InducingGP(length_scale=[0.02, 30, 45.3] * u.kpc, amplitude=0.37, mean_density=2 * u.mag / u.kpc)
    report = prior.hyperparameters.report(None)
    assert list(report) == NAMES
    assert_allclose(list(report.values()), [0.37, 20, 30000, 45300, math.log10(2e-3)], rtol=1e-12)
    assert prior.hyperparameters.units == dict(zip(NAMES, ["dex", "pc", "pc", "pc", "dex"], strict=True))


@pytest.mark.parametrize("learn", [True, False, ["amplitude"]])
def test_values_keep_double_precision_whether_learned_or_not(learn):
    prior = InducingGP(length_scale=[20.1, 30.3, 45.7] * u.pc, amplitude=0.3, learn=learn)
    values = list(prior.hyperparameters.report(None).values())
    assert_allclose(values, [0.3, 20.1, 30.3, 45.7, -3], rtol=1e-9)


@pytest.mark.parametrize(
    ("learn", "learned"),
    [
        (True, NAMES),
        (False, []),
        ([], []),
        (["length_scale"], NAMES[1:4]),
        (["length_scale_y", "mean_log_density"], ["length_scale_y", "mean_log_density"]),
    ],
)
def test_only_the_hyperparameters_asked_for_are_learned(learn, learned):
    prior = InducingGP(learn=learn)
    assert [parameter.name for parameter in prior.hyperparameters.learned()] == learned
    assert prior.theta_size == len(learned)
    theta = torch.ones(len(learned), dtype=torch.float64)
    moved, still = prior.hyperparameters.report(theta), prior.hyperparameters.report(None)
    assert [name for name in NAMES if not math.isclose(moved[name], still[name])] == learned


def test_a_name_that_no_hyperparameter_has_is_refused_and_the_known_are_named():
    with pytest.raises(ValueError, match=r"'lengthscale'.*length_scale_x"):
        InducingGP(learn=["lengthscale"])


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("physical", [0.02, 3.0, 71.0])
def test_physical_values_survive_the_way_through_theta(physical, positive):
    parameter = Hyperparameter("x", "pc", 20.0, 0.7, positive)
    theta = parameter.standardised(physical)
    assert_allclose(parameter.physical(torch.tensor(theta, dtype=torch.float64)), physical, rtol=1e-12)


def test_priors_are_a_factor_of_two_and_half_a_dex_wide():
    prior = InducingGP(length_scale=20 * u.pc)
    up = prior.hyperparameters.report(torch.ones(5, dtype=torch.float64))
    assert_allclose([up["length_scale_x"], up["mean_log_density"]], [40, -2.5], rtol=1e-12)
    assert "median 20 pc, a factor of 2" in prior.hyperparameters[1].describe_prior()


@pytest.mark.parametrize("positive", [True, False])
def test_errors_are_first_order_in_physical_units(positive):
    parameter = Hyperparameter("x", "pc", 20.0, 0.7, positive)
    listed = Hyperparameters([parameter])
    theta = torch.tensor([0.4], dtype=torch.float64)
    step = 1e-6
    slope = (parameter.physical(theta + step) - parameter.physical(theta - step)) / (2 * step)
    errors = listed.errors(theta, torch.tensor([[0.09]], dtype=torch.float64))
    assert_allclose(errors["x"], 0.3 * float(slope), rtol=1e-8)


def test_a_sum_of_kernels_lists_all_its_hyperparameters_in_physical_units():
    report = InducingGP(COMPOSED["sum"]()).hyperparameters.report(None)
    expected = {"amplitude_1": 0.3, "amplitude_2": 0.2, "length_scale_2": 70}
    expected |= {"length_scale_1_x": 10, "length_scale_1_y": 20, "length_scale_1_z": 30, "mean_log_density": -3}
    assert set(report) == set(expected)
    for name, value in expected.items():
        assert_allclose(report[name], value, rtol=1e-6, err_msg=name)


def test_length_scales_have_a_least_value_unless_they_start_below_it():
    prior = InducingGP(length_scale=[80, 20, 5] * u.pc, amplitude=0.3, mean_density=1e-3 * u.mag / u.pc)
    least = dict(zip(NAMES, prior.hyperparameters.with_length_scales_from(20).tolist(), strict=True))
    assert least["amplitude"] == least["mean_log_density"] == -math.inf
    assert_allclose([least[f"length_scale_{axis}"] for axis in "xyz"], [-2, 0, 0], atol=1e-12)


@pytest.mark.parametrize("name", COMPOSED)
def test_every_hyperparameter_has_a_name_of_its_own(name):
    names = [parameter.name for parameter in InducingGP(COMPOSED[name]()).hyperparameters]
    assert len(set(names)) == len(names), names


@pytest.mark.parametrize("name", COMPOSED)
@pytest.mark.parametrize("learn", [True, False])
def test_any_gpytorch_kernel_has_its_own_covariance(name, learn):
    kernel = COMPOSED[name]()
    prior = InducingGP(kernel, inducing=POINTS.numpy() * u.pc, learn=learn)
    linear_map = prior.at(POINTS)
    with torch.no_grad():
        expected = kernel(POINTS).to_dense()
    assert_allclose(linear_map.matrix @ linear_map.matrix.mT, expected, atol=1e-7)
    variance = linear_map.matrix.square().sum(-1) + linear_map.residual_variance
    assert_allclose(variance, expected.diagonal(), atol=1e-7)


def test_the_users_kernel_is_not_changed_by_a_fit_of_the_prior():
    kernel = COMPOSED["sum"]()
    before = {name: value.clone() for name, value in kernel.state_dict().items()}
    prior = InducingGP(kernel, inducing=POINTS.numpy() * u.pc)
    prior.at(POINTS, torch.ones(prior.theta_size, dtype=torch.float64))
    for name, value in kernel.state_dict().items():
        assert torch.equal(value, before[name])
