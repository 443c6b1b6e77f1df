"""What the stars say of the log-density on the cells: energy, gradient and Gauss–Newton metric, ray by ray."""

from __future__ import annotations

import torch

from gpdust.inference.star_metric import AveragedMetric, PlainMetric, StarMetric
from gpdust.los import adjoint, integrate
from gpdust.model import LN10, DustModel


class Response:
    """−log L as a function of φ, log10 density on all cells, which lie ray after ray.

    Parameters
    ----------
    model : DustModel
    """

    def __init__(self, model: DustModel) -> None:
        self.likelihood = model.likelihood.compressed()
        self.shape = model.grid.shape
        self.lengths = torch.from_numpy(model.grid.cell_lengths)

    def density(self, log_density: torch.Tensor) -> torch.Tensor:
        """ρ, mag/pc: (..., cells) to (..., ray, cell)."""
        return torch.exp(LN10 * log_density).unflatten(-1, self.shape)

    def density_slope(self, density: torch.Tensor) -> torch.Tensor:
        """dρ/dφ, mag/pc per dex."""
        return LN10 * density

    def curvature(self, slope: torch.Tensor) -> torch.Tensor:
        """What d²ρ/dφ² adds to the Hessian of −log L, from its slope by φ: both (cells,), since d²ρ/dφ² ∝ dρ/dφ."""
        return LN10 * slope

    def extinction(self, log_density: torch.Tensor) -> torch.Tensor:
        """Extinction at the outer edges of all cells, mag: (..., cells) to (..., ray, cell)."""
        return integrate(self.density(log_density), self.lengths)

    def energy(self, log_density: torch.Tensor) -> torch.Tensor:
        """−log L, nats: (..., cells) to (...)."""
        return -self.likelihood.log_likelihood(self.extinction(log_density))

    def energy_and_gradient(self, log_density: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """−log L and its derivative by φ: (..., cells) to (...) and (..., cells)."""
        density = self.density(log_density)
        value, slope = self.likelihood.log_likelihood_and_slope(integrate(density, self.lengths))
        gradient = self.density_slope(density) * adjoint(slope, self.lengths)
        return -value, -gradient.flatten(-2)

    def metric(self, log_density: torch.Tensor, averaged: bool = False) -> StarMetric:
        """The metric at one log-density, shape (cells,) or (1, cells), or for draws, shape (draws, cells).

        For draws, D is the root mean square of theirs unless the metric is to be `averaged`, and F is taken at their
        mean extinction.
        """
        density = self.density(log_density).reshape(-1, *self.shape)
        slopes = self.density_slope(density) * self.lengths
        information = self.likelihood.information(integrate(density.mean(0), self.lengths))
        if averaged and len(slopes) > 1:
            return AveragedMetric(slopes, information)
        return PlainMetric(slopes[0] if len(slopes) == 1 else slopes.square().mean(0).sqrt(), information)
