"""Spectral densities in three dimensions."""

import math

import pytest
import torch
from numpy.testing import assert_allclose

from gpdust.prior.spectra import MATERN, SPECTRUM_KNOTS, density_of, free_form, knot_positions

LOG_KAPPA = torch.linspace(math.log(1e-4), math.log(1e6), 40_001, dtype=torch.float64)


def integral(density: torch.Tensor, kernel: torch.Tensor | float = 1.0) -> float:
    """∫ S(κ) f(κ) d³κ / (2π)³."""
    kappa = LOG_KAPPA.exp()
    return float(torch.trapezoid(density * kernel * kappa**3, LOG_KAPPA)) / (2 * math.pi**2)


def deviations(seed: int) -> torch.Tensor:
    return torch.randn(SPECTRUM_KNOTS, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ["rbf", *MATERN])
def test_a_spectral_density_integrates_to_one(name):
    density = density_of(name)(torch.exp(2 * LOG_KAPPA))
    assert_allclose(integral(density), 1, rtol=1e-5)  # Matérn-1/2 falls as κ⁻⁴: 1e-6 of it lies beyond


@pytest.mark.parametrize(
    ("name", "covariance"),
    [
        ("rbf", lambda r: math.exp(-0.5 * r**2)),
        ("matern12", lambda r: math.exp(-r)),
        ("matern32", lambda r: (1 + math.sqrt(3) * r) * math.exp(-math.sqrt(3) * r)),
        ("matern52", lambda r: (1 + math.sqrt(5) * r + 5 / 3 * r**2) * math.exp(-math.sqrt(5) * r)),
    ],
)
@pytest.mark.parametrize("r", [0.3, 1.0, 2.5])
def test_its_transform_is_the_covariance(name, covariance, r):
    """∫ S(κ) sin(κ r)/(κ r) d³κ/(2π)³, on a mesh that resolves the waves."""
    kappa = torch.linspace(1e-6, 400, 400_001, dtype=torch.float64)
    density = density_of(name)(kappa**2) * torch.sinc(kappa * r / math.pi)
    found = float(torch.trapezoid(density * kappa**2, kappa)) / (2 * math.pi**2)
    assert_allclose(found, covariance(r), atol=2e-4 if name == "matern12" else 1e-6)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("strength", [0.0, 1.0, 3.0])
def test_a_free_form_spectrum_integrates_to_one_whatever_its_shape(seed, strength):
    density = free_form(torch.exp(2 * LOG_KAPPA), strength * deviations(seed))
    assert (density > 0).all()
    assert_allclose(integral(density), 1, rtol=2e-3)


def test_a_free_form_spectrum_starts_as_a_matern():
    kappa_squared = torch.exp(2 * LOG_KAPPA)
    flat = free_form(kappa_squared, torch.zeros(SPECTRUM_KNOTS, dtype=torch.float64))
    assert_allclose(flat, density_of("matern32")(kappa_squared), rtol=2e-4)


def test_deviations_are_those_of_the_logarithm_at_the_knots_and_linear_between():
    knots, g = knot_positions(), deviations(0)
    between = 0.5 * (knots[1:] + knots[:-1])
    beyond = torch.stack([knots[0] - 2, knots[-1] + 2])

    def excess(log_kappa: torch.Tensor) -> torch.Tensor:
        kappa_squared = torch.exp(2 * log_kappa)
        return (free_form(kappa_squared, g) / density_of("matern32")(kappa_squared)).log()

    at_knots = excess(knots)
    assert_allclose(at_knots - at_knots[0], g - g[0], atol=1e-10)
    assert_allclose(excess(between), 0.5 * (at_knots[1:] + at_knots[:-1]), atol=1e-10)
    assert_allclose(excess(beyond), at_knots[[0, -1]], atol=1e-10)


def test_zero_wave_number_is_finite_in_value_and_gradient():
    g = deviations(1).requires_grad_()
    kappa_squared = torch.tensor([0.0, 1.0], dtype=torch.float64, requires_grad=True)
    value = free_form(kappa_squared, g)
    gradients = torch.autograd.grad(value.sum(), (g, kappa_squared))
    assert torch.isfinite(value).all()
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
