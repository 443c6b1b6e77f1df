"""Spectral densities of stationary kernels in three dimensions, as functions of the wave number."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

MATERN = {"matern12": 0.5, "matern32": 1.5, "matern52": 2.5}
SPECTRUM_KNOTS = 8
SPECTRUM_RANGE = (0.3, 30.0)  # wave number times length scale, from the first knot to the last


def rbf(kappa_squared: torch.Tensor) -> torch.Tensor:
    """Spectral density of exp(−r²/2) at κ², for unit variance and length scale; its integral over d³κ/(2π)³ is one."""
    return (2 * math.pi) ** 1.5 * torch.exp(-0.5 * kappa_squared)


def matern(kappa_squared: torch.Tensor, nu: float) -> torch.Tensor:
    """Spectral density of the Matérn-ν kernel at κ², likewise (Rasmussen & Williams 2006, eq. 4.15)."""
    scale = 8 * math.pi**1.5 * math.gamma(nu + 1.5) / math.gamma(nu) * (2 * nu) ** nu
    return scale * (2 * nu + kappa_squared) ** (-(nu + 1.5))


def density_of(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """Spectral density of a kernel by name, as a function of κ² = Σ (k_i ℓ_i)²."""
    return rbf if name == "rbf" else lambda kappa_squared: matern(kappa_squared, MATERN[name])


def knot_positions() -> torch.Tensor:
    """Ln κ of the knots of a free-form spectrum, shape (SPECTRUM_KNOTS,)."""
    low, high = (math.log(value) for value in SPECTRUM_RANGE)
    return torch.linspace(low, high, SPECTRUM_KNOTS, dtype=torch.float64)


def free_form(kappa_squared: torch.Tensor, deviations: torch.Tensor) -> torch.Tensor:
    """A Matérn-3/2 spectrum times exp(g), where g is piecewise linear in ln κ and constant beyond the knots.

    Parameters
    ----------
    kappa_squared : Tensor
    deviations : Tensor, shape (SPECTRUM_KNOTS,)
        g at the knots.

    Returns
    -------
    Tensor
        Scaled so that the variance is still one: amplitude and shape are then told apart.
    """

    def shape(kappa_squared: torch.Tensor) -> torch.Tensor:
        return matern(kappa_squared, 1.5) * torch.exp(_interpolated(kappa_squared, deviations))

    log_kappa = torch.linspace(math.log(1e-3), math.log(1e4), 4000, dtype=torch.float64)
    kappa = log_kappa.exp()
    variance = torch.trapezoid(shape(kappa**2) * kappa**3, log_kappa) / (2 * math.pi**2)
    return shape(kappa_squared) / variance


def _interpolated(kappa_squared: torch.Tensor, deviations: torch.Tensor) -> torch.Tensor:
    knots = knot_positions()
    step = knots[1] - knots[0]
    position = ((0.5 * kappa_squared.clamp_min(1e-300).log() - knots[0]) / step).clamp(0, len(knots) - 1)
    left = position.detach().floor().long().clamp(max=len(knots) - 2)
    share = position - left
    return deviations[left] * (1 - share) + deviations[left + 1] * share
